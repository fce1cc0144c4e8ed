"""Where the nodes of a cluster find each other: what its features ask for, and how nodes are told."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from apps.clusters.models import Cluster
from talos import siderolink
from talos.config import discovery
from talos.contract import VersionContract

EMBEDDED, NOT_PUBLIC = "use_embedded_discovery_service", "disable_public_discovery_service"
"""The two features, as they are stored."""

_EMBEDDED, _NOT_PUBLIC = "features.useEmbeddedDiscoveryService", "features.disablePublicDiscoveryService"

Features = Mapping[str, Any]


@dataclass(frozen=True)
class Services:
    """Which services the nodes of a cluster use: that of this installation, the public one, or both."""

    embedded: bool
    public: bool

    def meets(self, other: "Services") -> bool:
        """Whether a node with these and a node with those find each other."""
        return (self.embedded and other.embedded) or (self.public and other.public)


def there_is_ours() -> bool:
    """Whether this installation has a discovery service."""
    return bool(settings.CONFIG.discovery)


def overlay_url() -> str:
    """Where machines reach our service over SideroLink, in plain text: only they are there."""
    return f"http://[{siderolink.server_address()}]:{siderolink.DISCOVERY_PORT}"


def public_url() -> str:
    """Where everybody reaches it, over TLS."""
    return str(settings.CONFIG.public_url)


def services(features: Features, began_with: str) -> Services:
    """What is done of what features ask for, in a cluster that began with this version of Talos.

    Configurations of contracts before 1.14 name one service, so ours takes the place of the public one there.
    """
    embedded = bool(features.get(EMBEDDED)) and there_is_ours()
    alone = bool(features.get(NOT_PUBLIC)) or not _several(began_with)
    return Services(embedded, not (embedded and alone))


def patch_name(cluster: str) -> str:
    """Its place among the patches of the whole cluster is by this name."""
    return f"950-discovery-service-{cluster}"


def patch(features: Features, began_with: str, *, reaches_us: bool = True) -> str:
    """The patch that has nodes use our service, or an empty text.

    Machines that are reached through an agent are not on the overlay: they call the public port and are given the
    authority to know it by.
    """
    wanted = services(features, began_with)
    if not wanted.embedded:
        return ""
    contract = VersionContract.parse(began_with)
    if reaches_us:
        return discovery.patch(contract, overlay_url(), public=wanted.public)
    return discovery.patch(contract, public_url(), public=wanted.public, roots=_authority())


def refusals(features: Features, before: Features, began_with: str) -> Iterator[str]:
    """Why a cluster cannot have these features, a sentence each. `before` are those that it has."""
    if features.get(EMBEDDED) and not before.get(EMBEDDED) and not there_is_ours():
        yield f"{_EMBEDDED} needs the discovery service of this installation, which is off (OMNI_DISCOVERY=false)"
    if features.get(NOT_PUBLIC) and not features.get(EMBEDDED):
        yield f"{_NOT_PUBLIC} leaves nodes no service to find each other by: set {_EMBEDDED}, too"
    elif features.get(NOT_PUBLIC) and not _several(began_with):
        yield (
            f"{_NOT_PUBLIC} is for clusters that began with Talos 1.14 or later; before, {_EMBEDDED} alone puts the "
            "service of this installation in the place of the public one: leave it out"
        )


def warnings(features: Features, before: Features | None, began_with: str) -> Iterator[str]:
    """What to know of these features. `before` are those of a cluster that there is."""
    if features.get(EMBEDDED) and not there_is_ours():
        yield (
            f"{_EMBEDDED} has no effect while the discovery service of this installation is off "
            "(OMNI_DISCOVERY=false): nodes use the public one"
        )
    if before is not None and not services(features, began_with).meets(services(before, began_with)):
        yield (
            "nodes move to another discovery service one after another; until all have, those at the old one and those "
            "at the new one do not find each other: with KubeSpan on, they cannot reach each other meanwhile"
        )


def urls(wanted: Services) -> list[str]:
    """Where machines on the overlay find these services."""
    public = [discovery.PUBLIC_SERVICE.rstrip("/")] if wanted.public else []
    return [*([overlay_url()] if wanted.embedded else []), *public]


def told(cluster: Cluster) -> Services:
    """The services that nodes of a cluster are told to use, its own patches left aside."""
    return services(cluster.features, cluster.initial_talos_version)


def _several(began_with: str) -> bool:
    return VersionContract.parse(began_with).discovery_service_multidoc_config


def _authority() -> str:
    """Our own authority, where it signed the certificate of the public port."""
    config = settings.CONFIG
    file = config.key_folder / "ca.crt"
    return "" if config.trusted_certificate or not file.exists() else str(file.read_text())
