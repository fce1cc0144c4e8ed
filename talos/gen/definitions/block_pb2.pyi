import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from talos.gen.definitions import enums_pb2 as _enums_pb2
from talos.gen import yaml_pb2 as _yaml_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DiskSpec(_message.Message):
    __slots__ = ("size", "io_size", "sector_size", "readonly", "model", "serial", "modalias", "wwid", "bus_path", "sub_system", "transport", "rotational", "cdrom", "dev_path", "pretty_size", "secondary_disks", "uuid", "symlinks", "firmware_version")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    IO_SIZE_FIELD_NUMBER: _ClassVar[int]
    SECTOR_SIZE_FIELD_NUMBER: _ClassVar[int]
    READONLY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    MODALIAS_FIELD_NUMBER: _ClassVar[int]
    WWID_FIELD_NUMBER: _ClassVar[int]
    BUS_PATH_FIELD_NUMBER: _ClassVar[int]
    SUB_SYSTEM_FIELD_NUMBER: _ClassVar[int]
    TRANSPORT_FIELD_NUMBER: _ClassVar[int]
    ROTATIONAL_FIELD_NUMBER: _ClassVar[int]
    CDROM_FIELD_NUMBER: _ClassVar[int]
    DEV_PATH_FIELD_NUMBER: _ClassVar[int]
    PRETTY_SIZE_FIELD_NUMBER: _ClassVar[int]
    SECONDARY_DISKS_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    SYMLINKS_FIELD_NUMBER: _ClassVar[int]
    FIRMWARE_VERSION_FIELD_NUMBER: _ClassVar[int]
    size: int
    io_size: int
    sector_size: int
    readonly: bool
    model: str
    serial: str
    modalias: str
    wwid: str
    bus_path: str
    sub_system: str
    transport: str
    rotational: bool
    cdrom: bool
    dev_path: str
    pretty_size: str
    secondary_disks: _containers.RepeatedScalarFieldContainer[str]
    uuid: str
    symlinks: _containers.RepeatedScalarFieldContainer[str]
    firmware_version: str
    def __init__(self, size: _Optional[int] = ..., io_size: _Optional[int] = ..., sector_size: _Optional[int] = ..., readonly: _Optional[bool] = ..., model: _Optional[str] = ..., serial: _Optional[str] = ..., modalias: _Optional[str] = ..., wwid: _Optional[str] = ..., bus_path: _Optional[str] = ..., sub_system: _Optional[str] = ..., transport: _Optional[str] = ..., rotational: _Optional[bool] = ..., cdrom: _Optional[bool] = ..., dev_path: _Optional[str] = ..., pretty_size: _Optional[str] = ..., secondary_disks: _Optional[_Iterable[str]] = ..., uuid: _Optional[str] = ..., symlinks: _Optional[_Iterable[str]] = ..., firmware_version: _Optional[str] = ...) -> None: ...

class DeviceSpec(_message.Message):
    __slots__ = ("type", "major", "minor", "partition_name", "partition_number", "generation", "device_path", "parent", "secondaries")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    MAJOR_FIELD_NUMBER: _ClassVar[int]
    MINOR_FIELD_NUMBER: _ClassVar[int]
    PARTITION_NAME_FIELD_NUMBER: _ClassVar[int]
    PARTITION_NUMBER_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_PATH_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    SECONDARIES_FIELD_NUMBER: _ClassVar[int]
    type: str
    major: int
    minor: int
    partition_name: str
    partition_number: int
    generation: int
    device_path: str
    parent: str
    secondaries: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, type: _Optional[str] = ..., major: _Optional[int] = ..., minor: _Optional[int] = ..., partition_name: _Optional[str] = ..., partition_number: _Optional[int] = ..., generation: _Optional[int] = ..., device_path: _Optional[str] = ..., parent: _Optional[str] = ..., secondaries: _Optional[_Iterable[str]] = ...) -> None: ...

class DiscoveredVolumeSpec(_message.Message):
    __slots__ = ("size", "sector_size", "io_size", "name", "uuid", "label", "block_size", "filesystem_block_size", "probed_size", "partition_uuid", "partition_type", "partition_label", "partition_index", "type", "device_path", "parent", "dev_path", "parent_dev_path", "pretty_size", "offset")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SECTOR_SIZE_FIELD_NUMBER: _ClassVar[int]
    IO_SIZE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    BLOCK_SIZE_FIELD_NUMBER: _ClassVar[int]
    FILESYSTEM_BLOCK_SIZE_FIELD_NUMBER: _ClassVar[int]
    PROBED_SIZE_FIELD_NUMBER: _ClassVar[int]
    PARTITION_UUID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_TYPE_FIELD_NUMBER: _ClassVar[int]
    PARTITION_LABEL_FIELD_NUMBER: _ClassVar[int]
    PARTITION_INDEX_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_PATH_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    DEV_PATH_FIELD_NUMBER: _ClassVar[int]
    PARENT_DEV_PATH_FIELD_NUMBER: _ClassVar[int]
    PRETTY_SIZE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    size: int
    sector_size: int
    io_size: int
    name: str
    uuid: str
    label: str
    block_size: int
    filesystem_block_size: int
    probed_size: int
    partition_uuid: str
    partition_type: str
    partition_label: str
    partition_index: int
    type: str
    device_path: str
    parent: str
    dev_path: str
    parent_dev_path: str
    pretty_size: str
    offset: int
    def __init__(self, size: _Optional[int] = ..., sector_size: _Optional[int] = ..., io_size: _Optional[int] = ..., name: _Optional[str] = ..., uuid: _Optional[str] = ..., label: _Optional[str] = ..., block_size: _Optional[int] = ..., filesystem_block_size: _Optional[int] = ..., probed_size: _Optional[int] = ..., partition_uuid: _Optional[str] = ..., partition_type: _Optional[str] = ..., partition_label: _Optional[str] = ..., partition_index: _Optional[int] = ..., type: _Optional[str] = ..., device_path: _Optional[str] = ..., parent: _Optional[str] = ..., dev_path: _Optional[str] = ..., parent_dev_path: _Optional[str] = ..., pretty_size: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class VolumeStatusSpec(_message.Message):
    __slots__ = ("phase", "location", "error_message", "uuid", "partition_uuid", "pre_fail_phase", "parent_location", "partition_index", "size", "filesystem", "mount_location", "encryption_provider", "pretty_size", "encryption_failed_syncs", "mount_spec", "type", "configured_encryption_keys", "symlink_spec", "parent_id", "encryption_locked_to_state", "encryption_slot", "tpm_encryption_options", "encryption_allow_discards", "trim_enabled", "trim_interval", "scrub_enabled", "scrub_interval")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_UUID_FIELD_NUMBER: _ClassVar[int]
    PRE_FAIL_PHASE_FIELD_NUMBER: _ClassVar[int]
    PARENT_LOCATION_FIELD_NUMBER: _ClassVar[int]
    PARTITION_INDEX_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    FILESYSTEM_FIELD_NUMBER: _ClassVar[int]
    MOUNT_LOCATION_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTION_PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PRETTY_SIZE_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTION_FAILED_SYNCS_FIELD_NUMBER: _ClassVar[int]
    MOUNT_SPEC_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CONFIGURED_ENCRYPTION_KEYS_FIELD_NUMBER: _ClassVar[int]
    SYMLINK_SPEC_FIELD_NUMBER: _ClassVar[int]
    PARENT_ID_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTION_LOCKED_TO_STATE_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTION_SLOT_FIELD_NUMBER: _ClassVar[int]
    TPM_ENCRYPTION_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTION_ALLOW_DISCARDS_FIELD_NUMBER: _ClassVar[int]
    TRIM_ENABLED_FIELD_NUMBER: _ClassVar[int]
    TRIM_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    SCRUB_ENABLED_FIELD_NUMBER: _ClassVar[int]
    SCRUB_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    phase: _enums_pb2.BlockVolumePhase
    location: str
    error_message: str
    uuid: str
    partition_uuid: str
    pre_fail_phase: _enums_pb2.BlockVolumePhase
    parent_location: str
    partition_index: int
    size: int
    filesystem: _enums_pb2.BlockFilesystemType
    mount_location: str
    encryption_provider: _enums_pb2.BlockEncryptionProviderType
    pretty_size: str
    encryption_failed_syncs: _containers.RepeatedScalarFieldContainer[str]
    mount_spec: MountSpec
    type: _enums_pb2.BlockVolumeType
    configured_encryption_keys: _containers.RepeatedScalarFieldContainer[str]
    symlink_spec: SymlinkProvisioningSpec
    parent_id: str
    encryption_locked_to_state: bool
    encryption_slot: int
    tpm_encryption_options: TPMEncryptionOptionsInfo
    encryption_allow_discards: bool
    trim_enabled: bool
    trim_interval: _duration_pb2.Duration
    scrub_enabled: bool
    scrub_interval: _duration_pb2.Duration
    def __init__(self, phase: _Optional[_Union[_enums_pb2.BlockVolumePhase, str]] = ..., location: _Optional[str] = ..., error_message: _Optional[str] = ..., uuid: _Optional[str] = ..., partition_uuid: _Optional[str] = ..., pre_fail_phase: _Optional[_Union[_enums_pb2.BlockVolumePhase, str]] = ..., parent_location: _Optional[str] = ..., partition_index: _Optional[int] = ..., size: _Optional[int] = ..., filesystem: _Optional[_Union[_enums_pb2.BlockFilesystemType, str]] = ..., mount_location: _Optional[str] = ..., encryption_provider: _Optional[_Union[_enums_pb2.BlockEncryptionProviderType, str]] = ..., pretty_size: _Optional[str] = ..., encryption_failed_syncs: _Optional[_Iterable[str]] = ..., mount_spec: _Optional[_Union[MountSpec, _Mapping]] = ..., type: _Optional[_Union[_enums_pb2.BlockVolumeType, str]] = ..., configured_encryption_keys: _Optional[_Iterable[str]] = ..., symlink_spec: _Optional[_Union[SymlinkProvisioningSpec, _Mapping]] = ..., parent_id: _Optional[str] = ..., encryption_locked_to_state: _Optional[bool] = ..., encryption_slot: _Optional[int] = ..., tpm_encryption_options: _Optional[_Union[TPMEncryptionOptionsInfo, _Mapping]] = ..., encryption_allow_discards: _Optional[bool] = ..., trim_enabled: _Optional[bool] = ..., trim_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., scrub_enabled: _Optional[bool] = ..., scrub_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SystemDiskSpec(_message.Message):
    __slots__ = ("disk_id", "dev_path")
    DISK_ID_FIELD_NUMBER: _ClassVar[int]
    DEV_PATH_FIELD_NUMBER: _ClassVar[int]
    disk_id: str
    dev_path: str
    def __init__(self, disk_id: _Optional[str] = ..., dev_path: _Optional[str] = ...) -> None: ...

class MountStatusSpec(_message.Message):
    __slots__ = ("spec", "target", "source", "filesystem", "read_only", "project_quota_support", "encryption_provider", "detached")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FILESYSTEM_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    PROJECT_QUOTA_SUPPORT_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTION_PROVIDER_FIELD_NUMBER: _ClassVar[int]
    DETACHED_FIELD_NUMBER: _ClassVar[int]
    spec: MountRequestSpec
    target: str
    source: str
    filesystem: _enums_pb2.BlockFilesystemType
    read_only: bool
    project_quota_support: bool
    encryption_provider: _enums_pb2.BlockEncryptionProviderType
    detached: bool
    def __init__(self, spec: _Optional[_Union[MountRequestSpec, _Mapping]] = ..., target: _Optional[str] = ..., source: _Optional[str] = ..., filesystem: _Optional[_Union[_enums_pb2.BlockFilesystemType, str]] = ..., read_only: _Optional[bool] = ..., project_quota_support: _Optional[bool] = ..., encryption_provider: _Optional[_Union[_enums_pb2.BlockEncryptionProviderType, str]] = ..., detached: _Optional[bool] = ...) -> None: ...

class MountRequestSpec(_message.Message):
    __slots__ = ("volume_id", "parent_mount_id", "requesters", "requester_i_ds", "read_only", "detached", "disable_access_time", "secure", "no_exec")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_MOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    REQUESTERS_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_I_DS_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    DETACHED_FIELD_NUMBER: _ClassVar[int]
    DISABLE_ACCESS_TIME_FIELD_NUMBER: _ClassVar[int]
    SECURE_FIELD_NUMBER: _ClassVar[int]
    NO_EXEC_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    parent_mount_id: str
    requesters: _containers.RepeatedScalarFieldContainer[str]
    requester_i_ds: _containers.RepeatedScalarFieldContainer[str]
    read_only: bool
    detached: bool
    disable_access_time: bool
    secure: bool
    no_exec: bool
    def __init__(self, volume_id: _Optional[str] = ..., parent_mount_id: _Optional[str] = ..., requesters: _Optional[_Iterable[str]] = ..., requester_i_ds: _Optional[_Iterable[str]] = ..., read_only: _Optional[bool] = ..., detached: _Optional[bool] = ..., disable_access_time: _Optional[bool] = ..., secure: _Optional[bool] = ..., no_exec: _Optional[bool] = ...) -> None: ...

class MountSpec(_message.Message):
    __slots__ = ("target_path", "selinux_label", "project_quota_support", "parent_id", "file_mode", "uid", "gid", "recursive_relabel", "bind_target", "parameters", "secure", "no_exec")
    TARGET_PATH_FIELD_NUMBER: _ClassVar[int]
    SELINUX_LABEL_FIELD_NUMBER: _ClassVar[int]
    PROJECT_QUOTA_SUPPORT_FIELD_NUMBER: _ClassVar[int]
    PARENT_ID_FIELD_NUMBER: _ClassVar[int]
    FILE_MODE_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    GID_FIELD_NUMBER: _ClassVar[int]
    RECURSIVE_RELABEL_FIELD_NUMBER: _ClassVar[int]
    BIND_TARGET_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    SECURE_FIELD_NUMBER: _ClassVar[int]
    NO_EXEC_FIELD_NUMBER: _ClassVar[int]
    target_path: str
    selinux_label: str
    project_quota_support: bool
    parent_id: str
    file_mode: int
    uid: int
    gid: int
    recursive_relabel: bool
    bind_target: str
    parameters: _containers.RepeatedCompositeFieldContainer[ParameterSpec]
    secure: bool
    no_exec: bool
    def __init__(self, target_path: _Optional[str] = ..., selinux_label: _Optional[str] = ..., project_quota_support: _Optional[bool] = ..., parent_id: _Optional[str] = ..., file_mode: _Optional[int] = ..., uid: _Optional[int] = ..., gid: _Optional[int] = ..., recursive_relabel: _Optional[bool] = ..., bind_target: _Optional[str] = ..., parameters: _Optional[_Iterable[_Union[ParameterSpec, _Mapping]]] = ..., secure: _Optional[bool] = ..., no_exec: _Optional[bool] = ...) -> None: ...

class SymlinkProvisioningSpec(_message.Message):
    __slots__ = ("symlink_target_path", "force")
    SYMLINK_TARGET_PATH_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    symlink_target_path: str
    force: bool
    def __init__(self, symlink_target_path: _Optional[str] = ..., force: _Optional[bool] = ...) -> None: ...

class TPMEncryptionOptionsInfo(_message.Message):
    __slots__ = ("pc_rs", "pub_key_pc_rs")
    PC_RS_FIELD_NUMBER: _ClassVar[int]
    PUB_KEY_PC_RS_FIELD_NUMBER: _ClassVar[int]
    pc_rs: _containers.RepeatedScalarFieldContainer[int]
    pub_key_pc_rs: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, pc_rs: _Optional[_Iterable[int]] = ..., pub_key_pc_rs: _Optional[_Iterable[int]] = ...) -> None: ...

class ParameterSpec(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
