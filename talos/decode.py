"""Typed reading of YAML into dataclasses: strict about fields, forgiving about scalars exactly as Talos' tools are.

A dataclass says what a mapping may hold. Its field ``extra_kernel_args`` is the key ``extraKernelArgs``; another key
is given by ``field(metadata={"key": ...})``. Understood types: str, int, bool, Any, dataclasses, ``list[T]``,
``dict[str, T]``, ``T | None``, ``Annotated[int, range(...)]`` and classes with a ``from_node`` class method. Null
leaves the default, and is dropped from lists of anything but Any.
"""

import dataclasses
import functools
import types
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from talos import yaml12
from talos.yaml12 import Node, scalars

T = TypeVar("T")

_NULL = object()


class DecodeError(ValueError):
    """Everything that is wrong with a document, one reason with its line each."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = reasons


def decode(node: Node, cls: type[T]) -> T:
    """Read a document into a dataclass; an empty one gives its defaults.

    Raises DecodeError for unknown fields and wrong types, YAMLError for repeated keys, merge keys and the like.
    """
    yaml12.construct(node)
    decoder = _Decoder()
    value = decoder.value(node, cls)
    if decoder.reasons:
        raise DecodeError(decoder.reasons)
    return cls() if value is _NULL else value


class _Decoder:
    def __init__(self) -> None:
        self.reasons: list[str] = []

    def value(self, node: Node, kind: Any) -> Any:
        """The value of a node as a type, _NULL for null and for what was refused (with the reason noted)."""
        if kind is Any:
            return yaml12.construct(node)
        if node.is_null and not hasattr(kind, "from_null"):
            return _NULL
        if hasattr(kind, "from_node"):
            try:
                return kind.from_node(node)
            except ValueError as error:
                return self._refuse(node, str(error))
        origin = get_origin(kind)
        if origin in (Union, types.UnionType):
            return self.value(node, next(arm for arm in get_args(kind) if arm is not types.NoneType))
        if origin is Annotated:
            return self._in_range(node, *get_args(kind))
        if origin is list:
            return self._list(node, get_args(kind)[0])
        if origin is dict:
            return self._dict(node, get_args(kind)[1])
        if dataclasses.is_dataclass(kind):
            return self._dataclass(node, kind)
        return self._scalar(node, kind)

    def _refuse(self, node: Node, reason: str) -> object:
        self.reasons.append(f"line {node.line}: {reason}")
        return _NULL

    def _wrong(self, node: Node, wanted: str) -> object:
        found = {"mapping": "a map", "sequence": "a list"}.get(node.kind, f"`{node.value[:40]}`")
        return self._refuse(node, f"{found} is not {wanted}")

    def _list(self, node: Node, kind: Any) -> Any:
        if node.kind != "sequence":
            return self._wrong(node, "a list")
        return [item for item in (self.value(item, kind) for item in node.items) if item is not _NULL]

    def _dict(self, node: Node, kind: Any) -> Any:
        if node.kind != "mapping":
            return self._wrong(node, "a map")
        result = {}
        for key_node, value_node in node.pairs:
            key, value = self.value(key_node, str), self.value(value_node, kind)
            if key is not _NULL:
                result[key] = ("" if kind is str else None) if value is _NULL else value
        return result

    def _dataclass(self, node: Node, cls: Any) -> Any:
        if node.kind != "mapping":
            return self._wrong(node, f"a map ({cls.__name__})")
        known = _keys(cls)
        values = {}
        for key_node, value_node in node.pairs:
            found = known.get(key_node.value)
            if found is None:
                self._refuse(key_node, f"field {key_node.value} not found in {cls.__name__}")
            elif (value := self.value(value_node, found[1])) is not _NULL:
                values[found[0]] = value
        return cls(**values)

    def _in_range(self, node: Node, kind: Any, allowed: range) -> Any:
        value = self._scalar(node, kind)
        if value is _NULL or value in allowed:
            return value
        return self._refuse(node, f"`{node.value}` is not within {allowed.start} to {allowed.stop - 1}")

    def _scalar(self, node: Node, kind: Any) -> Any:
        if node.kind != "scalar":
            return self._wrong(node, {str: "a single value", int: "a number", bool: "true or false"}[kind])
        if kind is str:
            # Numbers and booleans count as the text they were written with; dates do not.
            if node.tag == scalars.TIMESTAMP:
                return self._wrong(node, "text: a date needs quotes")
            return yaml12.construct(node) if node.tag == scalars.BINARY else node.value
        value = yaml12.construct(node)
        if kind is bool:
            if node.tag == scalars.STR and not node.style and node.value in scalars.OLD_TRUE | scalars.OLD_FALSE:
                return node.value in scalars.OLD_TRUE
            return value if isinstance(value, bool) else self._wrong(node, "true or false")
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) else self._wrong(node, "a whole number")


@functools.cache
def _keys(cls: Any) -> dict[str, tuple[str, Any]]:
    """The keys of a mapping: field name and type of each."""
    hints = get_type_hints(cls, include_extras=True)
    return {
        field.metadata.get("key") or camel(field.name): (field.name, hints[field.name])
        for field in dataclasses.fields(cls)
    }


def camel(name: str) -> str:
    """``extra_kernel_args`` as ``extraKernelArgs``."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
