"""Rules of the documents of disks, volumes and encryption."""

from __future__ import annotations

import re
from collections.abc import Iterator

from talos.config import cel
from talos.config.errors import quote
from talos.config.rules.common import Context, Rule, Values, at, first, nanoseconds
from talos.config.schema.storage import ENCRYPTION_SPEC, FILESYSTEM_SPEC, PARTITION_PROVISIONING
from talos.config.schema.texts import parse_bytes

_SYSTEM_VOLUMES = ("STATE", "EPHEMERAL", "IMAGECACHE", "ETCD", "CRI", "KUBELET", "LOG")
_MAX_VOLUME_NAME = 34  # a partition label, less the prefix of the volume's kind
_MIN_SCRUB_INTERVAL = 10 * 10**9
_HYPHENS = re.compile("[A-Za-z0-9-]*")
_UNDERSCORES = re.compile("[A-Za-z0-9_-]*")


def _name(values: Values, longest: int | None = _MAX_VOLUME_NAME) -> Iterator[str]:
    """A volume's name: letters, digits and hyphens."""
    name = values.get("name", "")
    if not name:
        yield "name is required"
    if longest is not None and not 0 < len(name.encode()) <= longest:
        yield f"name must be between 1 and {longest} characters long"
    if not _HYPHENS.fullmatch(name):
        yield "name can only contain lowercase and uppercase ASCII letters, digits, and hyphens"


def _storage_name(values: Values, longest: int) -> Iterator[str]:
    """The name of a volume group, logical volume or array: underscores too."""
    name = values.get("name", "")
    if not name:
        yield "name is required"
    if not 0 < len(name.encode()) <= longest:
        yield f"name must be between 1 and {longest} characters long"
    if not _UNDERSCORES.fullmatch(name):
        yield "name can only contain ASCII letters, digits, hyphens and underscores"


def _bytes(size: str | None) -> int:
    """The absolute bytes of a size, whatever its sign; 0 for a percentage."""
    return parse_bytes(size.removeprefix("-")) if size and "%" not in size else 0


def _provisioning(values: Values, required: bool, sized: bool = True) -> Iterator[str]:
    spec = values.get("provisioning") or {}
    smallest, largest = spec.get("minSize"), spec.get("maxSize")
    if match := at(spec, "diskSelector.match"):
        if problem := cel.problem(match, cel.DISK):
            yield f"disk selector is invalid: {problem}"
    elif required:
        yield "disk selector is required"
    if not sized:
        if smallest or largest or spec.get("grow") is not None:
            yield "min size, max size and grow are not supported"
        return
    if smallest and largest and "%" not in largest and not largest.startswith("-"):
        if _bytes(smallest) > _bytes(largest):
            yield "min size is greater than max size"
    elif required and not smallest and not largest:
        yield "min size or max size is required"
    if smallest and smallest.startswith("-"):
        yield "min size cannot be negative"


def _encryption(values: Values) -> Iterator[str]:
    spec = values.get("encryption") or {}
    if ENCRYPTION_SPEC.empty(spec):
        return
    if (provider := spec.get("provider", "none")) != "luks2":
        yield f"unsupported encryption provider: {provider}"
    if not spec.get("keys"):
        yield "encryption keys are required"
    slots: set[int] = set()
    for key in spec.get("keys") or []:
        slot = key.get("slot", 0)
        if slot in slots:
            yield f"duplicate key slot {slot}"
        slots.add(slot)
        if all(key.get(method) is None for method in ("static", "nodeID", "kms", "tpm")):
            yield f"at least one encryption key type must be specified for slot {slot}"
        for pcr in at(key, "tpm.options.pcrs") or []:
            if not 0 <= pcr <= 23:
                yield f"TPM PCR {pcr} is out of range (0-23)"


def _filesystem(values: Values) -> Iterator[str]:
    spec = values.get("filesystem") or {}
    kind = spec.get("type", "none")
    if kind not in ("none", "xfs", "ext4", "btrfs"):
        yield f"unsupported filesystem type: {kind}"
    elif spec.get("projectQuotaSupport") and kind not in ("none", "xfs"):
        yield "project quota support is only available for xfs filesystem"
    elif spec.get("xfs") is not None and kind not in ("none", "xfs"):
        yield "xfs options are only available for xfs filesystem"


def _maintenance(values: Values) -> Iterator[str]:
    """The intervals of trimming and scrubbing."""
    if nanoseconds(at(values, "trim.interval")) < 0:
        yield "trim interval cannot be negative"
    yield from _scrub_interval(at(values, "scrub.interval"))


def _scrub_interval(interval: str | None) -> Iterator[str]:
    if interval and nanoseconds(interval) < _MIN_SCRUB_INTERVAL:
        yield "scrub interval: minimum value is 10s"


def _volume(values: Values, _: Context) -> Iterator[str]:
    name = values.get("name", "")
    if name not in _SYSTEM_VOLUMES:
        yield f"only [{' '.join(map(quote, _SYSTEM_VOLUMES))}] volumes are supported"
        return
    yield from _system_volume(name, values)
    yield from _provisioning(values, required=False)
    yield from _encryption(values)
    yield from _maintenance(values)


def _system_volume(name: str, values: Values) -> Iterator[str]:
    """Which sections a system volume may have."""
    provisioned = not PARTITION_PROVISIONING.empty(values.get("provisioning"))
    if name == "STATE":
        if provisioned:
            yield f'provisioning config is not allowed for the "{name}" volume'
        for key in at(values, "encryption.keys") or []:
            if key.get("lockToState"):
                yield f'state-locked key is not allowed for the "{name}" volume'
    if name in ("STATE", "IMAGECACHE"):
        if values.get("mount"):
            yield f'mount config is not allowed for the "{name}" volume'
    elif name != "EPHEMERAL" and values.get("mount") and not provisioned:
        yield (
            f'mount config for the "{name}" volume is only supported when it is provisioned onto a dedicated partition'
        )
    if name == "IMAGECACHE" and at(values, "filesystem.xfs") is not None:
        yield f'filesystem config is not allowed for the "{name}" volume'


def _user_volume(values: Values, _: Context) -> Iterator[str]:
    yield from _name(values)
    kind = values.get("volumeType") or "partition"
    if kind == "directory":
        for key, empty in (
            ("provisioning", PARTITION_PROVISIONING.empty),
            ("encryption", ENCRYPTION_SPEC.empty),
            ("filesystem", FILESYSTEM_SPEC.empty),
        ):
            if not empty(values.get(key)):
                yield f"{key} spec is invalid for volumeType directory"
        if at(values, "mount.disableAccessTime") is not None:
            yield "mount.disableAccessTime is invalid for volumeType directory"
    elif kind in ("disk", "partition"):
        yield from _provisioning(values, required=True, sized=kind == "partition")
        yield from _filesystem(values)
        yield from _encryption(values)
    else:
        yield f"unsupported volume type {quote(kind)}"
    yield from _maintenance(values)


def _partition_volume(values: Values, _: Context) -> Iterator[str]:
    yield from _name(values)
    yield from _provisioning(values, required=True)
    yield from _encryption(values)


def _existing_volume(values: Values, _: Context) -> Iterator[str]:
    yield from _name(values, longest=None)
    if match := at(values, "discovery.volumeSelector.match"):
        if problem := cel.problem(match, cel.VOLUME):
            yield f"volume selector is invalid: {problem}"
    else:
        yield "volume selector is required"
    yield from _maintenance(values)


def _external_volume(values: Values, _: Context) -> Iterator[str]:
    yield from _name(values)
    if (kind := values.get("filesystemType", "none")) != "virtiofs":
        yield f"invalid filesystem type: {kind}"
    elif at(values, "mount.virtiofs") is None:
        yield "virtiofs mount spec is required"
    elif not at(values, "mount.virtiofs.tag"):
        yield "virtiofs tag is required"


def _filesystem_trim(values: Values, _: Context) -> Iterator[str]:
    if nanoseconds(values.get("interval")) < 0:
        yield "interval cannot be negative"


def _filesystem_scrub(values: Values, _: Context) -> Iterator[str]:
    yield from _scrub_interval(values.get("interval"))


def _member_selector(values: Values) -> Iterator[str]:
    path = "provisioning.volumeSelector.match"
    if not (match := at(values, path)):
        yield f"{path} is required"
    elif problem := cel.problem(match, cel.MEMBER_VOLUME):
        yield f"{path}: {problem}"


def _logical_volume(values: Values, _: Context) -> Iterator[str]:
    yield from _storage_name(values, 63)
    kind = values.get("type", "linear")
    for key, kinds, least in (("mirrors", ("raid1", "raid10"), 1), ("stripes", ("raid0", "raid10"), 2)):
        if (count := values.get(key)) is None:
            continue
        if kind not in kinds:
            yield f"{key} is only valid for {'/'.join(kinds)}, not {kind}"
        elif count < least:
            yield f"{key} must be at least {least}"
    spec = values.get("provisioning") or {}
    smallest, largest = spec.get("minSize"), spec.get("maxSize")
    if not spec.get("volumeGroup"):
        yield "provisioning.volumeGroup is required"
    if not largest:
        yield "provisioning.maxSize is required"
    elif largest.startswith("-"):
        yield "provisioning.maxSize must not be negative"
    if smallest and "%" not in (largest or "") and _bytes(smallest) > _bytes(largest):
        yield "provisioning.minSize must not exceed provisioning.maxSize"


def _volume_group(values: Values, _: Context) -> Iterator[str]:
    yield from _storage_name(values, 63)
    yield from first(_member_selector(values))


def _raid_array(values: Values, _: Context) -> Iterator[str]:
    yield from _storage_name(values, 32)
    yield from first(_member_selector(values))


def _zswap(values: Values, _: Context) -> Iterator[str]:
    if not 0 <= (values.get("maxPoolPercent") or 0) <= 100:
        yield "maxPoolPercent must be between 0 and 100"


RULES: dict[str, Rule] = {
    "ExistingVolumeConfig": _existing_volume,
    "ExternalVolumeConfig": _external_volume,
    "FilesystemScrubConfig": _filesystem_scrub,
    "FilesystemTrimConfig": _filesystem_trim,
    "LVMLogicalVolumeConfig": _logical_volume,
    "LVMVolumeGroupConfig": _volume_group,
    "RAIDArrayConfig": _raid_array,
    "RawVolumeConfig": _partition_volume,
    "SwapVolumeConfig": _partition_volume,
    "UserVolumeConfig": _user_volume,
    "VolumeConfig": _volume,
    "ZswapConfig": _zswap,
}
