from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class StorageServiceStatfsRequest(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class StorageServiceStatfsResponse(_message.Message):
    __slots__ = ("size", "used", "available", "inodes", "inodes_used", "inodes_free")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    INODES_FIELD_NUMBER: _ClassVar[int]
    INODES_USED_FIELD_NUMBER: _ClassVar[int]
    INODES_FREE_FIELD_NUMBER: _ClassVar[int]
    size: int
    used: int
    available: int
    inodes: int
    inodes_used: int
    inodes_free: int
    def __init__(self, size: _Optional[int] = ..., used: _Optional[int] = ..., available: _Optional[int] = ..., inodes: _Optional[int] = ..., inodes_used: _Optional[int] = ..., inodes_free: _Optional[int] = ...) -> None: ...

class LVMServiceLogicalVolumeRemoveRequest(_message.Message):
    __slots__ = ("volume_group", "logical_volume")
    VOLUME_GROUP_FIELD_NUMBER: _ClassVar[int]
    LOGICAL_VOLUME_FIELD_NUMBER: _ClassVar[int]
    volume_group: str
    logical_volume: str
    def __init__(self, volume_group: _Optional[str] = ..., logical_volume: _Optional[str] = ...) -> None: ...

class LVMServiceVolumeGroupRemoveRequest(_message.Message):
    __slots__ = ("volume_group",)
    VOLUME_GROUP_FIELD_NUMBER: _ClassVar[int]
    volume_group: str
    def __init__(self, volume_group: _Optional[str] = ...) -> None: ...

class LVMServicePhysicalVolumeRemoveRequest(_message.Message):
    __slots__ = ("device",)
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    device: str
    def __init__(self, device: _Optional[str] = ...) -> None: ...

class MDDestroyRequest(_message.Message):
    __slots__ = ("device",)
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    device: str
    def __init__(self, device: _Optional[str] = ...) -> None: ...
