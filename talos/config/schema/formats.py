"""Text formats and free-form values of configuration fields."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import math
import re
from typing import Any

from talos import goduration, yaml12
from talos.config.schema.types import (
    STRING,
    URL,
    Decoded,
    Enum,
    Field,
    Int,
    Map,
    MergeError,
    Problems,
    Scalar,
    Struct,
    Text,
    Type,
    copy,
    unique_keys,
)
from talos.yaml12 import Node, Octal, scalars

REDACTED = "******"
"""A key with this value is kept literally where base64 is expected."""

_BYTE_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgtpe", start=1):
    _BYTE_UNITS |= {_letter: 1000**_power, f"{_letter}b": 1000**_power}
    _BYTE_UNITS |= {f"{_letter}i": 1024**_power, f"{_letter}ib": 1024**_power}


def parse_bytes(text: str) -> int:
    """Bytes of a size such as `10GiB`, `1.5 TB` or `1024`. Raises ValueError."""
    match = re.match(r"[\d.,]*", text)
    number = match.group() if match else ""
    unit = text[len(number) :].strip().lower()
    digits = number.replace(",", "")
    if not re.fullmatch(r"\d+\.?\d*|\.\d+", digits):
        raise ValueError(f'strconv.ParseFloat: parsing "{digits}": invalid syntax')
    if unit not in _BYTE_UNITS:
        raise ValueError(f"unhandled size name: {unit}")
    size = float(digits) * _BYTE_UNITS[unit]
    if size >= 2.0**64:
        raise ValueError(f"too large: {text}")
    return int(size)


def _byte_size(text: str) -> str:
    if text:
        parse_bytes(text.removeprefix("-"))
    return text


def _percentage(text: str) -> str:
    digits = text.removeprefix("-").removesuffix("%")
    if not text.endswith("%"):
        raise ValueError("percentage must end with '%'")
    try:
        value = float(digits)
    except ValueError:
        raise ValueError(f"invalid percentage value: {digits!r}") from None
    if not 0 <= value <= 100:
        raise ValueError(f"percentage must be between 0 and 100, got {scalars.format_float(value)}")
    return text


def _size(text: str) -> str:
    return _percentage(text) if "%" in text else _byte_size(text)


def human_bytes(size: int) -> str:
    """A size with a decimal unit, rounded: `10 GB`, `1.5 kB`."""
    if size < 10:
        return f"{size} B"
    exponent = min(int(math.log(size) / math.log(1000)), 6)
    value = math.floor(size / 1000**exponent * 10 + 0.5) / 10
    return f"{value:.{1 if value < 10 else 0}f} {('B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB')[exponent]}"


def _disk_size(text: str) -> str | int:
    size = parse_bytes(text)
    if size % 1000 == 0 and parse_bytes(human_bytes(size)) == size:
        return human_bytes(size) if size else 0
    return size


def _size_condition(text: str) -> str:
    condition = text.strip()
    match = re.search(r"(>=|<=|>|<|==)?(.*)$", condition)
    assert match is not None
    amount = match.group(2)
    try:
        parse_bytes(amount.strip())
    except ValueError as error:
        raise ValueError(f"failed to parse disk size {amount}: {error}") from None
    return condition


def _base64(text: str) -> str:
    stripped = text.replace("\r", "").replace("\n", "")
    try:
        return base64.b64encode(base64.b64decode(stripped, validate=True)).decode()
    except (binascii.Error, ValueError):
        raise ValueError("illegal base64 data") from None


def _base64_key(text: str) -> str:
    return text if text == REDACTED else _base64(text)


def format_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """An address as Go prints it: IPv4-mapped ones keep their dotted part."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        zone = f"%{address.scope_id}" if address.scope_id else ""
        return f"::ffff:{address.ipv4_mapped}{zone}"
    return str(address)


def _address(text: str) -> str:
    if not text:
        return ""
    try:
        return format_address(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f'ParseAddr("{text}"): unable to parse IP') from None


def _prefix(text: str) -> str:
    if not text:
        return ""
    address, slash, bits = text.rpartition("/")
    try:
        parsed = ipaddress.ip_address(address)
        length = int(bits)
        if not slash or "%" in address or not re.fullmatch(r"0|[1-9]\d*", bits) or length > parsed.max_prefixlen:
            raise ValueError
    except ValueError:
        raise ValueError(f'netip.ParsePrefix("{text}"): not a prefix such as 10.0.0.0/8') from None
    return f"{format_address(parsed)}/{length}"


def _address_port(text: str) -> str:
    if not text:
        return ""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
        if not colon or bracketed != (address.version == 6) or not re.fullmatch(r"\d+", port) or int(port) > 65535:
            raise ValueError
    except ValueError:
        raise ValueError(f'invalid ip:port "{text}"') from None
    shown = format_address(address)
    return f"[{shown}]:{int(port)}" if bracketed else f"{shown}:{int(port)}"


def _hardware_address(text: str) -> str:
    try:
        return ":".join(f"{byte:02x}" for byte in bytes.fromhex(text.replace(":", "")))
    except ValueError:
        raise ValueError("encoding/hex: invalid hardware address") from None


def _fail_over_mac(text: str) -> str:
    words = {
        "": "none",
        "none": "none",
        "active": "active",
        "follow": "follow",
        "0": "none",
        "1": "active",
        "2": "follow",
    }
    if text not in words:
        raise ValueError(f"invalid fail_over_mac value {text}")
    return words[text]


class Duration(Scalar):
    """A Go duration, `1h30m0s` in canonical form."""

    def __init__(self) -> None:
        super().__init__("time.Duration", "0s")

    def _scalar(self, node: Node, problems: Problems) -> Any:
        if node.tag == scalars.STR:
            try:
                return goduration.format(goduration.parse(node.value))
            except ValueError:
                pass
        elif node.tag in (scalars.INT, scalars.FLOAT):
            value = yaml12.construct(node)
            if value == 0 or (isinstance(value, float) and value.is_integer()):
                return goduration.format(int(value))
        problems.wrong_type(node, self.go)
        return None


class FileMode(Int):
    """Permissions, written in octal."""

    def __init__(self, go: str) -> None:
        super().__init__("uint32")
        self.go = go
        self.zero = Octal(0)

    def _scalar(self, node: Node, problems: Problems) -> Any:
        value = super()._scalar(node, problems)
        return None if value is None else Octal(value)


class PortRange(Scalar):
    """One port (a number) or a range (`low-high`)."""

    def __init__(self) -> None:
        super().__init__("network.PortRange", 0)

    def _scalar(self, node: Node, problems: Problems) -> Any:
        quiet = Problems()
        port = _PORT.decode(node, quiet)
        if not quiet.texts:
            return port
        text = STRING.decode(node, problems) or ""
        match = re.fullmatch(r"(\d+)-(\d+)", text)
        if match is None or int(match[1]) > 65535 or int(match[2]) > 65535:
            problems.add(node, f'invalid port range: "{text}"')
            return None
        low, high = int(match[1]), int(match[2])
        return low if low == high else f"{low}-{high}"


_PORT = Int("uint16")


class Argument(Type):
    """The value of a command-line argument: one text or a list of texts. Empty text is written as null."""

    go = "meta.ArgValue"

    def decode(self, node: Node, problems: Problems) -> Decoded:
        if node.is_null:
            return None
        quiet = Problems()
        if node.kind == "scalar":
            value: Any = STRING.decode(node, quiet)
        elif node.kind == "sequence":
            value = [STRING.decode(child, quiet) or "" for child in node.items if not child.is_null]
        else:
            quiet.wrong_type(node, self.go)
            value = None
        if quiet.texts:
            problems.add(node, "arg value must be a string or list of strings")
        return value

    def encode(self, value: Decoded) -> Any:
        if isinstance(value, list):
            return [yaml12.Bare(item) for item in value]
        return yaml12.Bare(value) if value else None

    def unknown(self, node: Node) -> Any:
        return None


class Arguments(Map):
    """Command-line arguments; a patch replaces single arguments."""

    def __init__(self) -> None:
        super().__init__(Argument())
        self.go = "meta.Args"

    def merge(self, left: Decoded, right: Decoded, *, replace: bool = False) -> Decoded:
        return {**(left or {}), **copy(right)} if right else left


class FreeForm(Type):
    """A map with any content. A patch merges maps, appends lists and replaces scalars of the same type."""

    go = "meta.Unstructured"
    zero: Any = None

    def decode(self, node: Node, problems: Problems) -> Decoded:
        if node.is_null:
            return None
        if node.kind != "mapping":
            problems.wrong_type(node, self.go)
            return None
        if not unique_keys(node, problems):
            return None
        result = {}
        for key, child in node.pairs:
            if name := STRING.decode(key, problems):
                result[name] = self._any(child, problems)
        return result or None

    def _any(self, node: Node, problems: Problems) -> Any:
        try:
            return yaml12.construct(node)
        except yaml12.YAMLError as error:
            problems.add(node, str(error))
            return None

    def encode(self, value: Decoded) -> Any:
        return yaml12.sort_keys(value or {})

    def empty(self, value: Decoded) -> bool:
        return not value

    def merge(self, left: Decoded, right: Decoded, *, replace: bool = False) -> Decoded:
        if right is None:
            return left
        if replace:
            return copy(right)
        try:
            return _merge_any(left or {}, right)
        except MergeError as error:
            raise MergeError(f"merge field {self.go}.Object: {error}") from None

    def unknown(self, node: Node) -> Any:
        return super().unknown(node) if node.kind == "sequence" else None


def _merge_any(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    result = dict(left)
    for key, value in right.items():
        old = result.get(key)
        if old is None:
            result[key] = copy(value)
            continue
        if value is None:
            raise MergeError(f'null cannot replace the value of "{key}": use $patch: delete')
        if _go_type(old) != _go_type(value):
            raise MergeError(f"merge type mismatch left {_go_type(old)} right {_go_type(value)}")
        if isinstance(old, dict):
            try:
                result[key] = _merge_any(old, value)
            except MergeError as error:
                raise MergeError(f"merge map key map[string]interface {{}}[{key}]: {error}") from None
        elif isinstance(old, list):
            result[key] = old + copy(value)
        elif value or isinstance(value, bool):
            result[key] = value
    return result


def _go_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if value < 1 << 63 else "uint64"
    if isinstance(value, yaml12.Timestamp):
        return "time.Time"
    if isinstance(value, dict):
        return (
            "map[string]interface {}" if all(isinstance(key, str) for key in value) else "map[interface {}]interface {}"
        )
    return {float: "float64", str: "string", list: "[]interface {}"}[type(value)]


class Size(Text):
    """Bytes or a percentage. A percentage in a patch does not replace bytes: both stay set and bytes win."""

    def __init__(self) -> None:
        super().__init__("block.Size", _size)

    def merge(self, left: Decoded, right: Decoded, *, replace: bool = False) -> Decoded:
        if left is not None and right is not None and "%" in right and "%" not in left:
            return left
        return super().merge(left, right)


class SizeCondition(Text):
    """A condition such as `>= 100GB`. Talos cannot patch one that is set."""

    has_parts = True

    def __init__(self) -> None:
        super().__init__("v1alpha1.InstallDiskSizeMatcher", _size_condition, takes_string=True)

    def merge(self, left: Decoded, right: Decoded, *, replace: bool = False) -> Decoded:
        if left is not None and right is not None:
            raise MergeError(f"merge field {self.go}.condition: merge not possible, left {left} is not settable")
        return super().merge(left, right)


class Whole(Struct):
    """A struct that a patch replaces as a whole; single fields of it cannot be deleted."""

    path_visible = False

    def merge(self, left: Decoded, right: Decoded, *, replace: bool = False) -> Decoded:
        return left if right is None else copy(right)


DURATION = Duration()
META_URL = URL("meta.URL")
ENDPOINT = URL("v1alpha1.Endpoint")
ADDRESS = Text("meta.Addr", _address)
PREFIX = Text("meta.Prefix", _prefix)
ADDRESS_PORT = Text("meta.AddrPort", _address_port)
HARDWARE_ADDRESS = Text("nethelpers.HardwareAddr", _hardware_address)
CEL = Text("cel.Expression", str, always=True)
BYTE_SIZE = Text("block.ByteSize", _byte_size, always=True)
SIZE = Size()
DISK_SIZE = Text("v1alpha1.DiskSize", _disk_size, 0, takes_string=True)
SIZE_CONDITION = SizeCondition()
BASE64 = Text("v1alpha1.Base64Bytes", _base64, takes_string=True)
FAIL_OVER_MAC = Text("nethelpers.FailOverMAC", _fail_over_mac)
FILE_MODE = FileMode("v1alpha1.FileMode")
ARGUMENTS = Arguments()
FREE_FORM = FreeForm()
PORT_RANGE = PortRange()

_CERTIFICATE = Field("crt", "Crt", Text("[]uint8", _base64, takes_string=True), omit=False)
_KEY = Field("key", "Key", Text("[]uint8", _base64_key, takes_string=True), omit=False)
CERTIFICATE_AND_KEY = Whole("x509.PEMEncodedCertificateAndKey", _CERTIFICATE, _KEY)
CERTIFICATE = Whole("x509.PEMEncodedCertificate", _CERTIFICATE)
KEY = Whole("x509.PEMEncodedKey", _KEY)

MANIFEST_TEXT = Text("string", lambda text: text.lstrip("\t\n\v\f\r"), takes_string=True)
"""Text of a manifest, without leading line breaks and tabs."""

ROUTING_TABLE = Enum(
    "nethelpers.RoutingTable", ["unspec", *map(str, range(1, 253)), "default", "main", "local"], "unspec"
)
