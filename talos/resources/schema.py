"""Specs of resources in three forms: protobuf message, Python value, YAML text.

The Python value is what the YAML form says: mappings with its keys, addresses, durations and enumerated values as
text. How a message maps to it (keys, words, what is left out when empty) stands in the options of our protobuf
sources, see `talos/proto/yaml.proto`; this module only reads them.
"""

import base64
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from talos import goduration, yaml12
from talos.gen import yaml_pb2
from talos.gen.definitions import enums_pb2

Value = Any
"""A spec or a part of one: mapping, list, text, number, bool or None."""

ZERO_TIME = yaml12.Timestamp("0001-01-01T00:00:00Z")
"""How a time that was never set is written."""


class SpecError(ValueError):
    """A spec does not have the shape of its type; the text names the key."""


# --- single values that have a message of their own ---------------------------------------------------------------


def _address(packed: bytes) -> str:
    if not packed:
        return ""
    if len(packed) <= 4:
        return str(ipaddress.IPv4Address(packed))
    address, zone = ipaddress.IPv6Address(packed[:16]), packed[16:].decode()
    text = f"::ffff:{address.ipv4_mapped}" if address.ipv4_mapped else str(address)
    return f"{text}%{zone}" if zone else text


def _packed(text: str) -> bytes:
    if not text:
        return b""
    bare, _, zone = text.partition("%")
    return ipaddress.ip_address(bare).packed + zone.encode()


def _read_prefix(message: Any) -> str:
    return f"{_address(message.ip)}/{message.prefix_length}" if message.ip else ""


def _write_prefix(text: str, message: Any) -> None:
    if text:
        address, _, length = text.partition("/")
        message.ip, message.prefix_length = _packed(address), int(length)


def _read_endpoint(message: Any) -> str:
    if not message.ip:
        return ""
    address = _address(message.ip)
    return f"[{address}]:{message.port}" if ":" in address else f"{address}:{message.port}"


def _write_endpoint(text: str, message: Any) -> None:
    if text:
        address, _, port = text.rpartition(":")
        message.ip, message.port = _packed(address.strip("[]")), int(port)


def _write_address(text: str, message: Any) -> None:
    message.ip = _packed(text)


def _write_url(text: str, message: Any) -> None:
    message.full_path = text


def _read_time(message: Any) -> str:
    if not (message.seconds or message.nanos):
        return ZERO_TIME
    seconds, point, fraction = message.ToJsonString().removesuffix("Z").partition(".")
    return yaml12.Timestamp(seconds + (point + fraction).rstrip("0").rstrip(".") + "Z")


def _write_time(text: str, message: Any) -> None:
    if text != ZERO_TIME:
        message.FromJsonString(text)


def _write_duration(text: str, message: Any) -> None:
    message.FromNanoseconds(goduration.parse(text))


def _read_struct(message: Any) -> dict[str, Value]:
    return {key: _read_struct_value(value) for key, value in message.fields.items()}


def _read_struct_value(value: Any) -> Value:
    match value.WhichOneof("kind"):
        case "struct_value":
            return _read_struct(value.struct_value)
        case "list_value":
            return [_read_struct_value(item) for item in value.list_value.values]
        case "number_value":
            return int(value.number_value) if value.number_value.is_integer() else value.number_value
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
    return None


def _write_struct(mapping: Mapping[str, Value], message: Any) -> None:
    message.update(mapping)


@dataclass(frozen=True)
class _Single:
    """A message that stands for one value."""

    read: Callable[[Any], Value]
    write: Callable[[Any, Any], None]


_SINGLES = {
    "common.NetIP": _Single(lambda message: _address(message.ip), _write_address),
    "common.NetIPPrefix": _Single(_read_prefix, _write_prefix),
    "common.NetIPPort": _Single(_read_endpoint, _write_endpoint),
    "common.URL": _Single(lambda message: message.full_path, _write_url),
    "google.protobuf.Timestamp": _Single(_read_time, _write_time),
    "google.protobuf.Duration": _Single(lambda message: goduration.format(message.ToNanoseconds()), _write_duration),
    "google.protobuf.Struct": _Single(_read_struct, _write_struct),
}


# --- enumerations -------------------------------------------------------------------------------------------------


def _option(descriptor: Any, option: Any) -> Any:
    return descriptor.GetOptions().Extensions[option]


@cache
def _words(enum: EnumDescriptor) -> dict[int, str]:
    return {value.number: _option(value, yaml_pb2.text) for value in enum.values}


def _word(enum: EnumDescriptor, number: int) -> str:
    return _words(enum).get(number, str(number))


def _number(enum: EnumDescriptor, word: str) -> int:
    for number, known in _words(enum).items():
        if known == word:
            return number
    return int(word)  # values without a word are written as their number


def _bit_words(enum: EnumDescriptor, bits: int) -> str:
    words, rest = [], bits
    for bit, word in _words(enum).items():
        if bit and bits & bit:
            words.append(word)
            rest &= ~bit
    return ",".join([*words, hex(rest)] if rest else words)


def _bits(enum: EnumDescriptor, text: str) -> int:
    numbers = {word: bit for bit, word in _words(enum).items()}
    return sum(numbers[word] if word in numbers else int(word, 16) for word in text.split(",") if word)


# --- fields -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Field:
    """How one field of a message is written; made once per message type."""

    name: str
    key: str
    kind: str  # "one", "list" or "map"
    omit_empty: bool
    nested: bool
    single: bool
    read: Callable[[Any], Value]
    """The Python value of one element; for an empty field too."""
    scalar: Callable[[Any], Any]
    """The element of a scalar field from its Python value."""
    write: Callable[[Any, Any], None]
    """Fills the message of a field whose elements are messages."""


def _element(field: FieldDescriptor) -> tuple[Callable, Callable, Callable]:
    """read, scalar, write of the elements of a field."""

    def same(value: Any) -> Any:
        return value

    def unused(value: Any, message: Any) -> None:
        raise SpecError(f"{field.full_name} is not a message")

    if field.message_type:
        single = _SINGLES.get(field.message_type.full_name)
        if single:
            return single.read, same, single.write
        return to_spec, same, fill
    if field.enum_type:
        enum = field.enum_type
        return (lambda number: _word(enum, number)), (lambda word: _number(enum, word)), unused
    if name := _option(field, yaml_pb2.flags):
        enum = enums_pb2.DESCRIPTOR.enum_types_by_name[name]
        return (lambda bits: _bit_words(enum, bits)), (lambda text: _bits(enum, text)), unused
    if field.type == FieldDescriptor.TYPE_BYTES:
        if _option(field, yaml_pb2.format) == yaml_pb2.MAC:
            return (lambda packed: packed.hex(":")), (lambda text: bytes.fromhex(text.replace(":", ""))), unused
        if _option(field, yaml_pb2.format) == yaml_pb2.NUMBERS:
            return list, bytes, unused
        return (lambda packed: base64.b64encode(packed).decode()), base64.b64decode, unused
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return (lambda number: int(number) if number.is_integer() else number), same, unused
    return same, same, unused


@cache
def _fields(descriptor: Descriptor) -> tuple[_Field, ...]:
    fields = []
    for field in descriptor.fields:
        entry = field.message_type if field.message_type and field.message_type.GetOptions().map_entry else None
        element = entry.fields_by_name["value"] if entry else field
        kind = "map" if entry else "list" if field.is_repeated else "one"
        read, scalar, write = _element(element)
        fields.append(
            _Field(
                name=field.name,
                key=field.json_name,
                kind=kind,
                omit_empty=_option(field, yaml_pb2.omit_empty),
                nested=element.message_type is not None,
                single=element.message_type is not None and element.message_type.full_name in _SINGLES,
                read=read,
                scalar=scalar,
                write=write,
            )
        )
    return tuple(fields)


@cache
def _inline(descriptor: Descriptor) -> _Field | None:
    """The field that is the whole spec, for the few types that have one."""
    for field, plan in zip(descriptor.fields, _fields(descriptor), strict=True):
        if _option(field, yaml_pb2.format) == yaml_pb2.INLINE:
            if field.type != FieldDescriptor.TYPE_BYTES:
                return plan
            return _Field(**{**vars(plan), "read": bytes.decode, "scalar": str.encode})
    return None


def to_spec(message: Message) -> Value:
    """The Python value of a message: every key of its type, but those that are left out when empty."""
    if whole := _inline(message.DESCRIPTOR):
        return whole.read(getattr(message, whole.name))
    spec: dict[str, Value] = {}
    for field in _fields(message.DESCRIPTOR):
        value = getattr(message, field.name)
        if field.omit_empty and (not message.HasField(field.name) if _has_presence(field) else not value):
            continue
        if field.kind == "list":
            spec[field.key] = [field.read(item) for item in value]
        elif field.kind == "map":
            spec[field.key] = {key: field.read(value[key]) for key in sorted(value)}
        else:
            spec[field.key] = field.read(value)
    return spec


def _has_presence(field: _Field) -> bool:
    return field.nested and field.kind == "one"


def fill(spec: Value, message: Message) -> None:
    """Set the fields of an empty message from a Python value. Raises SpecError, which names the key."""
    if whole := _inline(message.DESCRIPTOR):
        _set(message, whole, spec)
        return
    if not isinstance(spec, Mapping):
        raise SpecError(f"{message.DESCRIPTOR.name} is a mapping, not {spec!r:.60}")
    fields = {field.key: field for field in _fields(message.DESCRIPTOR)}
    only_yaml = _option(message.DESCRIPTOR, yaml_pb2.yaml_only)
    for key, value in spec.items():
        if key in only_yaml or value is None:
            continue
        if key not in fields:
            raise SpecError(f"{message.DESCRIPTOR.name} has no key {key!r}")
        try:
            _set(message, fields[key], value)
        except SpecError:
            raise
        except (ValueError, TypeError, AttributeError) as error:
            raise SpecError(f"{message.DESCRIPTOR.name}.{key}: {value!r:.60} does not fit: {error}") from error


def _set(message: Any, field: _Field, value: Value) -> None:
    target = getattr(message, field.name)
    if field.kind == "list":
        for item in value:
            if field.nested:
                field.write(item, target.add())
            else:
                target.append(field.scalar(item))
    elif field.kind == "map":
        for key, item in value.items():
            if field.nested:
                field.write(item, target[key])
            else:
                target[key] = field.scalar(item)
    elif field.nested:
        field.write(value, target)
        if target.ByteSize():
            return
        if field.omit_empty and not field.single:
            target.SetInParent()  # an object that may be absent, and is not
        else:
            message.ClearField(field.name)
    else:
        setattr(message, field.name, field.scalar(value))


# --- YAML text ----------------------------------------------------------------------------------------------------


def from_yaml(text: str) -> Value:
    """The Python value of the YAML form. Raises SpecError."""
    try:
        return yaml12.load(text)
    except (yaml12.YAMLError, RecursionError) as error:
        raise SpecError(f"the YAML form cannot be read: {error}") from error


def to_yaml(spec: Value) -> str:
    """The YAML form of a Python value."""
    return yaml12.dump(spec)
