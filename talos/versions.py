"""Which versions of Talos and Kubernetes go together, and which may follow which.

Talos: compatibility matrix of the machine library 1.14.1. A Talos release supports six minor versions of Kubernetes
and accepts an upgrade or a downgrade from a window of other releases. Only the three numbers count; pre-release parts
do not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from talos.semver import Version, parse

Minor = tuple[int, int]
"""A release line: (major, minor)."""


@dataclass(frozen=True)
class Release:
    """What one minor release of Talos accepts; both ends of a pair are minor releases, see the field."""

    kubernetes: tuple[Minor, Minor]
    """First and last Kubernetes minor version, both included."""
    hosts: tuple[Minor, Minor]
    """Running Talos versions that may be up- or downgraded to this one: the first included, the last excluded."""


RELEASES: dict[Minor, Release] = {
    (1, 2): Release(kubernetes=((1, 23), (1, 25)), hosts=((1, 0), (1, 3))),
    (1, 3): Release(kubernetes=((1, 24), (1, 26)), hosts=((1, 0), (1, 5))),
    (1, 4): Release(kubernetes=((1, 25), (1, 27)), hosts=((1, 0), (1, 6))),
    (1, 5): Release(kubernetes=((1, 26), (1, 28)), hosts=((1, 2), (1, 7))),
    (1, 6): Release(kubernetes=((1, 27), (1, 29)), hosts=((1, 3), (1, 8))),
    (1, 7): Release(kubernetes=((1, 25), (1, 30)), hosts=((1, 4), (1, 9))),
    (1, 8): Release(kubernetes=((1, 26), (1, 31)), hosts=((1, 5), (1, 10))),
    (1, 9): Release(kubernetes=((1, 27), (1, 32)), hosts=((1, 8), (1, 11))),
    (1, 10): Release(kubernetes=((1, 28), (1, 33)), hosts=((1, 8), (1, 12))),
    (1, 11): Release(kubernetes=((1, 29), (1, 34)), hosts=((1, 9), (1, 13))),
    (1, 12): Release(kubernetes=((1, 30), (1, 35)), hosts=((1, 10), (1, 14))),
    (1, 13): Release(kubernetes=((1, 31), (1, 36)), hosts=((1, 11), (1, 15))),
    (1, 14): Release(kubernetes=((1, 32), (1, 37)), hosts=((1, 12), (1, 16))),
}

CURRENT_TALOS = "1.14.1"
"""The release whose rules this library follows, and the default for new clusters."""

OLDEST_TALOS: Minor = (1, 8)
"""The oldest release line for which configurations are generated."""

UPGRADABLE_KUBERNETES: tuple[Minor, Minor] = ((1, 19), (1, 37))
"""Kubernetes minor versions between which a step of one is a supported upgrade."""

_DEFAULT_KUBERNETES: dict[Minor, str] = {
    (1, 8): "1.31.1",
    (1, 9): "1.32.0",
    (1, 10): "1.33.6",
    (1, 11): "1.34.1",
    (1, 12): "1.35.4",
    (1, 13): "1.36.3",
    (1, 14): "1.37.0",
}

_LAST_TALOS_PATCH: dict[Minor, int] = {
    (1, 8): 4, (1, 9): 5, (1, 10): 9, (1, 11): 6, (1, 12): 11, (1, 13): 9, (1, 14): 1,
}  # fmt: skip
_LAST_KUBERNETES_PATCH: dict[Minor, int] = {
    (1, 26): 15, (1, 27): 16, (1, 28): 15, (1, 29): 15, (1, 30): 14, (1, 31): 14, (1, 32): 13, (1, 33): 13, (1, 34): 13,
    (1, 35): 10, (1, 36): 6, (1, 37): 2,
}  # fmt: skip

DENIED_TALOS = frozenset({"1.13.1"})
"""Releases that must not be offered: they were published broken."""


def built_in_talos_versions() -> list[str]:
    """Talos releases known without asking an Image Factory, oldest first, without ``v``."""
    return _every_patch(_LAST_TALOS_PATCH)


def built_in_kubernetes_versions() -> list[str]:
    """Kubernetes releases known without asking a registry, oldest first, without ``v``."""
    return _every_patch(_LAST_KUBERNETES_PATCH)


def _every_patch(last: dict[Minor, int]) -> list[str]:
    every = (f"{major}.{minor}.{patch}" for (major, minor), end in last.items() for patch in range(end + 1))
    return [version for version in every if version not in DENIED_TALOS]


def default_kubernetes(talos: str) -> str:
    """The Kubernetes version that a Talos release comes with (of its line's newest known patch), without ``v``.

    Raises ValueError for a release line outside the supported ones.
    """
    version = parse(talos)
    try:
        return _DEFAULT_KUBERNETES[version.major, version.minor]
    except KeyError:
        raise ValueError(f"compatibility with version {version} is not supported") from None


def check_kubernetes(kubernetes: str, talos: str) -> None:
    """Raise ValueError, with the reason, unless this Kubernetes runs on this Talos."""
    wanted, on = parse(kubernetes), parse(talos)
    release = RELEASES.get((on.major, on.minor))
    if release is None:
        raise ValueError(f"compatibility with version {on} is not supported")
    oldest, newest = release.kubernetes
    if wanted.core < (*oldest, 0):
        raise ValueError(f"version of Kubernetes {wanted} is too old to be used with Talos {on}")
    if wanted.core >= (*newest, 99):
        raise ValueError(f"version of Kubernetes {wanted} is too new to be used with Talos {on}")


def compatible_kubernetes(talos: str, available: Iterable[str]) -> list[str]:
    """Those of the available Kubernetes versions that run on this Talos, oldest first."""
    fitting = []
    for version in available:
        try:
            check_kubernetes(version, talos)
        except ValueError:
            continue
        fitting.append(version)
    return sorted(fitting, key=parse)


def check_talos_upgrade(current: str, target: str) -> None:
    """Raise ValueError, with the reason, unless a machine on ``current`` may be moved to ``target`` (up or down)."""
    host, new = parse(current), parse(target)
    release = RELEASES.get((new.major, new.minor))
    if release is None:
        raise ValueError(f"upgrades to version {new} are not supported")
    oldest, beyond = release.hosts
    if host.core < (*oldest, 0):
        raise ValueError(f"host version {host} is too old to upgrade to Talos {new}")
    if host.core >= (*beyond, 0):
        raise ValueError(f"host version {host} is too new to downgrade to Talos {new}")


def talos_upgrades(current: str, kubernetes: str, initial: str, available: Sequence[str]) -> list[str]:
    """The available Talos versions a cluster may move to, oldest first.

    The target accepts the running version, supports the running Kubernetes, and is not of an older line than the one
    the cluster was created with (``initial``), whose configuration format it keeps for ever.
    """
    first = parse(initial)
    fitting = []
    for version in available:
        new = parse(version)
        if new == parse(current) or (new.major, new.minor) < (first.major, first.minor):
            continue
        try:
            check_talos_upgrade(current, version)
            check_kubernetes(kubernetes, version)
        except ValueError:
            continue
        fitting.append(version)
    return sorted(fitting, key=parse)


def kubernetes_upgrade_supported(current: str, target: str) -> bool:
    """Whether Kubernetes may go from one version to the other in one step: any patch of the same minor, or one minor
    up.

    Raises ValueError when a version does not parse, naming which.
    """
    old, new = _parse_named(current, "from"), _parse_named(target, "to")
    first, last = UPGRADABLE_KUBERNETES
    start, end = (old.major, old.minor), (new.major, new.minor)
    return first <= start and end <= last and start[0] == end[0] and end[1] - start[1] in (0, 1)


def _parse_named(text: str, name: str) -> Version:
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"error parsing {name} version: {error}") from None


def kubernetes_upgrades(current: str, talos: str, available: Iterable[str]) -> list[str]:
    """The available Kubernetes versions to which a cluster on this Talos may go in one step, oldest first."""
    return [
        version
        for version in compatible_kubernetes(talos, available)
        if parse(version) != parse(current) and kubernetes_upgrade_supported(current, version)
    ]


def secure_join_supported(talos: str) -> bool:
    """Whether machines of this release have a node unique token (1.6 and newer); false if unparsable."""
    try:
        return parse(talos.removeprefix("v")) >= Version(1, 6, 0)
    except ValueError:
        return False


def disables_predictable_interfaces(talos: str) -> bool:
    """Whether an upgrade from this release has to keep the kernel's own network interface names (1.4 and older)."""
    version = parse(talos)
    return version.major <= 1 and version.minor <= 4


def precreates_state_partition(talos: str) -> bool:
    """Whether an upgrade from this release needs the STATE partition made beforehand (1.7 and older)."""
    version = parse(talos)
    return version.major <= 1 and version.minor <= 7


def syncs_manifests_by_server_side_apply(talos: str) -> bool:
    """Whether this release applies bootstrap manifests by server-side apply (1.13 and newer)."""
    version = parse(talos)
    return (version.major, version.minor) >= (1, 13)
