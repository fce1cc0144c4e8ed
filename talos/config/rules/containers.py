"""Rules of containers that run outside Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from talos.config.errors import quote
from talos.config.rules.common import Context, Values, Warn, at
from talos.config.schema.texts import parse_bytes

_MAX_NAME = 63
_NAME = re.compile("[a-z0-9-]+")
_MOUNT_OPTIONS = ("ro", "rw", "noexec", "nosuid", "nodev", "noatime", "rbind", "rshared")
_NETWORK_CONDITIONS = ("addresses", "connectivity", "hostname", "etcfiles")
_REPOSITORY = re.compile("[a-z0-9_./-]{2,255}")
_REGISTRY = re.compile(r"[A-Za-z0-9._~-]+|[A-Za-z0-9._~:-]*:[0-9]*|\[[0-9A-Fa-f:.]+\](?::[0-9]*)?")
_TAG = re.compile("[A-Za-z0-9_.-]{1,128}")
_DIGEST = re.compile("sha256:[0-9a-f]{64}")


def container(values: Values, _: Context) -> Iterator[str]:
    """Findings about one container."""
    name = values.get("name", "")
    yield from _name(name)
    yield from _image(name, values.get("image", ""))
    for index, variable in enumerate(values.get("environment") or []):
        if "=" not in variable:
            yield f"environment[{index}]: {quote(variable)} must be in KEY=value form"
    yield from _mounts(values)
    if (security := values.get("security")) is not None:
        yield from _security(security)
    mode = at(values, "network.mode") or "none"
    if mode not in ("none", "host"):
        yield f"unsupported network mode {quote(mode)}, expected none or host"
    yield from _limits(at(values, "resources.limits") or {})
    if (depends_on := values.get("dependsOn")) is not None:
        yield from _depends_on(name, depends_on)
    for key in ("uid", "gid"):
        if (number := at(values, f"runAs.{key}")) is not None and number < 0:
            yield f"runAs.{key} must be non-negative, got {number}"


def _name(name: str) -> Iterator[str]:
    if not name:
        yield "name is required"
    elif len(name.encode()) > _MAX_NAME:
        yield f"name {quote(name)} must be {_MAX_NAME} characters or fewer"
    elif not _NAME.fullmatch(name):
        yield f"name {quote(name)}: name can only contain lowercase ASCII letters, digits and hyphens"


def _image(name: str, image: str) -> Iterator[str]:
    if not image:
        yield "image is required"
        return
    repository, at_sign, digest = image.partition("@")
    tag = "latest"
    head, colon, tail = repository.rpartition(":")
    if colon and "/" not in tail:
        repository, tag = head, tail
    if not (_is_repository(repository) and _TAG.fullmatch(tag) and (not at_sign or _DIGEST.fullmatch(digest))):
        yield f"invalid image reference {quote(image)}: could not parse reference: {image}"
    elif not at_sign:
        yield Warn(
            f"container {quote(name)}: image {quote(image)} is not digest-pinned, "
            "the running image may change on restart"
        )


def _is_repository(text: str) -> bool:
    first, slash, rest = text.partition("/")
    if slash and (any(char in first for char in ".:") or first == "localhost"):
        return _REGISTRY.fullmatch(first) is not None and _REPOSITORY.fullmatch(rest) is not None
    return _REPOSITORY.fullmatch(text) is not None


def _mounts(values: Values) -> Iterator[str]:
    destinations: set[str] = set()
    for index, mount in enumerate(values.get("mounts") or []):
        sources = [kind for kind in ("userVolume", "tmpfs", "hostPath") if mount.get(kind) is not None]
        if len(sources) != 1:
            yield f"mounts[{index}]: exactly one of userVolume, tmpfs or hostPath must be set"
            continue
        kind = sources[0]
        if problems := list(_mount(kind, mount[kind])):
            yield f"mounts[{index}]: " + "\n".join(problems)
            continue
        destination = mount[kind].get("destination", "")
        if destination in destinations:
            yield f"mounts[{index}]: duplicate destination {quote(destination)}"
        destinations.add(destination)


def _mount(kind: str, mount: Values) -> Iterator[str]:
    if kind == "userVolume" and not mount.get("name"):
        yield "userVolume.name is required"
    if kind == "hostPath":
        yield from _absolute("hostPath.source", mount.get("source", ""))
    yield from _absolute(f"{kind}.destination", mount.get("destination", ""))
    options = mount.get("options") or []
    for option in options:
        if option not in _MOUNT_OPTIONS:
            yield f"unsupported mount option {quote(option)}"
    if "ro" in options and "rw" in options:
        yield "mount options ro and rw are mutually exclusive"


def _absolute(what: str, path: str) -> Iterator[str]:
    if not path:
        yield f"{what} is required"
    elif not path.startswith("/"):
        yield f"{what} {quote(path)} must be an absolute path"


def _security(security: Values) -> Iterator[str]:
    profile = security.get("profile") or "restricted"
    if profile not in ("restricted", "privileged"):
        yield f"unsupported security profile {quote(profile)}, expected restricted or privileged"
    added, dropped = (at(security, f"capabilities.{key}") or [] for key in ("add", "drop"))
    for capability in added:
        if capability == "ALL":
            yield "capabilities.add does not accept ALL, use profile: privileged instead"
        else:
            yield from _capability("capabilities.add", capability)
    for capability in dropped:
        if capability != "ALL":
            yield from _capability("capabilities.drop", capability)
    for capability in added:
        if capability in dropped:
            yield f"capability {quote(capability)} appears in both add and drop"


def _capability(field: str, capability: str) -> Iterator[str]:
    if not capability:
        yield f"{field}: capability name must not be empty"
    elif capability.startswith("CAP_"):
        yield f"{field}: capability {quote(capability)} must be given without the CAP_ prefix"
    elif capability.upper() != capability:
        yield f"{field}: capability {quote(capability)} must be upper case"
    elif not re.fullmatch("[A-Z_]+", capability):
        yield f"{field}: capability {quote(capability)} may only contain upper case letters and underscores"


def _limits(limits: Values) -> Iterator[str]:
    if memory := limits.get("memory"):
        try:
            parse_bytes(memory)
        except ValueError as error:
            yield f"limits.memory {quote(memory)} is not a valid size: {error}"
    if cpu := limits.get("cpu"):
        number = cpu.removesuffix("m")
        if not cpu.endswith("m"):
            yield f"limits.cpu {quote(cpu)} must be expressed in millicores, e.g. 1500m"
        elif not (number.isascii() and number.isdigit()):
            yield (
                f"limits.cpu {quote(cpu)} is not a valid millicore quantity: "
                f"strconv.ParseUint: parsing {quote(number)}: invalid syntax"
            )
        elif int(number) == 0:
            yield f"limits.cpu {quote(cpu)} must be greater than zero"


def _depends_on(name: str, depends_on: Values) -> Iterator[str]:
    for path in depends_on.get("paths") or []:
        yield from _absolute("dependsOn.paths entry", path)
    for condition in depends_on.get("networks") or []:
        if condition not in _NETWORK_CONDITIONS:
            yield f"unsupported dependsOn.networks condition {quote(condition)}"
    for other in depends_on.get("containers") or []:
        if not other:
            yield "dependsOn.containers entry must not be empty"
        elif other == name:
            yield f"container {quote(name)} cannot depend on itself"


def dependencies(containers: Mapping[str, list[str]]) -> Iterator[str]:
    """Findings about the containers (by name) and those each depends on: all exist, and there is no cycle."""
    for name, others in containers.items():
        for other in others:
            if other not in containers:
                yield f"container {quote(name)} depends on container {quote(other)}, which is not configured"
    if cycles := sorted(set(_cycles(containers))):
        yield f"container dependsOn cycle detected: {', '.join(cycles)}"


def _cycles(containers: Mapping[str, list[str]]) -> Iterator[str]:
    """Each cycle, met from the first container in alphabetical order, as `a -> b -> a`."""
    done: set[str] = set()
    for start in sorted(containers):
        path: list[str] = []
        todo = [iter([start])]
        while todo:
            name = next(todo[-1], None)
            if name is None:
                todo.pop()
                if path:
                    done.add(path.pop())
            elif name in path:
                yield " -> ".join([*path[path.index(name) :], name])
            elif name in containers and name not in done:
                path.append(name)
                todo.append(iter(containers[name]))
