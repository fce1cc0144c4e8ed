from talos.gen.definitions import enums_pb2 as _enums_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ImageCacheConfigSpec(_message.Message):
    __slots__ = ("status", "roots", "copy_status")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ROOTS_FIELD_NUMBER: _ClassVar[int]
    COPY_STATUS_FIELD_NUMBER: _ClassVar[int]
    status: _enums_pb2.CriImageCacheStatus
    roots: _containers.RepeatedScalarFieldContainer[str]
    copy_status: _enums_pb2.CriImageCacheCopyStatus
    def __init__(self, status: _Optional[_Union[_enums_pb2.CriImageCacheStatus, str]] = ..., roots: _Optional[_Iterable[str]] = ..., copy_status: _Optional[_Union[_enums_pb2.CriImageCacheCopyStatus, str]] = ...) -> None: ...
