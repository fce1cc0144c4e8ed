"""Text formats and free-form values of configuration fields."""

from __future__ import annotations

import re
from typing import Any

from talos import goduration, yaml12
from talos.config.schema import texts
from talos.config.schema.composite import Field, Map, Struct, unique_keys
from talos.config.schema.types import STRING, URL, Decoded, Enum, Int, MergeError, Problems, Scalar, Text, Type, copy
from talos.yaml12 import Node, Octal, scalars


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
        super().__init__("block.Size", texts.size)

    def merge(self, left: Decoded, right: Decoded, *, replace: bool = False) -> Decoded:
        if left is not None and right is not None and "%" in right and "%" not in left:
            return left
        return super().merge(left, right)


class SizeCondition(Text):
    """A condition such as `>= 100GB`. Talos cannot patch one that is set."""

    has_parts = True

    def __init__(self) -> None:
        super().__init__("v1alpha1.InstallDiskSizeMatcher", texts.size_condition, takes_string=True)

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
ADDRESS = Text("meta.Addr", texts.address)
PREFIX = Text("meta.Prefix", texts.prefix)
ADDRESS_PORT = Text("meta.AddrPort", texts.address_port)
HARDWARE_ADDRESS = Text("nethelpers.HardwareAddr", texts.hardware_address)
CEL = Text("cel.Expression", str, always=True)
BYTE_SIZE = Text("block.ByteSize", texts.byte_size, always=True)
SIZE = Size()
DISK_SIZE = Text("v1alpha1.DiskSize", texts.disk_size, 0, takes_string=True)
SIZE_CONDITION = SizeCondition()
BASE64 = Text("v1alpha1.Base64Bytes", texts.base64_text, takes_string=True)
FAIL_OVER_MAC = Text("nethelpers.FailOverMAC", texts.fail_over_mac)
FILE_MODE = FileMode("v1alpha1.FileMode")
ARGUMENTS = Arguments()
FREE_FORM = FreeForm()
PORT_RANGE = PortRange()

_CERTIFICATE = Field("crt", "Crt", Text("[]uint8", texts.base64_text, takes_string=True), omit=False)
_KEY = Field("key", "Key", Text("[]uint8", texts.base64_key, takes_string=True), omit=False)
CERTIFICATE_AND_KEY = Whole("x509.PEMEncodedCertificateAndKey", _CERTIFICATE, _KEY)
CERTIFICATE = Whole("x509.PEMEncodedCertificate", _CERTIFICATE)
KEY = Whole("x509.PEMEncodedKey", _KEY)

MANIFEST_TEXT = Text("string", lambda text: text.lstrip("\t\n\v\f\r"), takes_string=True)
"""Text of a manifest, without leading line breaks and tabs."""

ROUTING_TABLE = Enum(
    "nethelpers.RoutingTable", ["unspec", *map(str, range(1, 253)), "default", "main", "local"], "unspec"
)
