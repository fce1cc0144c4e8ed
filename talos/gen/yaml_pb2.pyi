from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class Format(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PLAIN: _ClassVar[Format]
    MAC: _ClassVar[Format]
    INLINE: _ClassVar[Format]
    NUMBERS: _ClassVar[Format]
PLAIN: Format
MAC: Format
INLINE: Format
NUMBERS: Format
OMIT_EMPTY_FIELD_NUMBER: _ClassVar[int]
omit_empty: _descriptor.FieldDescriptor
FORMAT_FIELD_NUMBER: _ClassVar[int]
format: _descriptor.FieldDescriptor
FLAGS_FIELD_NUMBER: _ClassVar[int]
flags: _descriptor.FieldDescriptor
YAML_ONLY_FIELD_NUMBER: _ClassVar[int]
yaml_only: _descriptor.FieldDescriptor
TEXT_FIELD_NUMBER: _ClassVar[int]
text: _descriptor.FieldDescriptor
