"""Types made of other types: pointers, lists, maps and structs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from talos import yaml12
from talos.config.schema.types import STRING, Decoded, MergeError, Problems, Scalar, String, Type, copy
from talos.yaml12 import Node, scalars


class Pointer(Type):
    """A value that may be absent, so that zero values (`false`, `0`, `""`) are values too."""

    def __init__(self, target: Type) -> None:
        self.target = target
        self.go = "*" + target.go

    def decode(self, node: Node, problems: Problems) -> Decoded:
        if node.is_null:
            return None
        value = self.target.decode(node, problems)
        if value is None:
            return {} if isinstance(self.target, Struct) else self.target.zero
        return value

    def encode(self, value: Decoded) -> Any:
        return None if value is None else self.target.encode(value)

    def merge(self, left: Decoded, right: Decoded, *, replace: bool = False) -> Decoded:
        if right is None or left is None:
            return left if right is None else copy(right)
        if isinstance(self.target, Scalar) and not self.target.has_parts:
            return right
        return self.target.merge(left, right, replace=replace)

    def unknown(self, node: Node) -> Any:
        return self.target.unknown(node)

    def nulls(self, node: Node, path: str) -> Iterable[str]:
        return self.target.nulls(node, path)


class List(Type):
    """A list; a patch appends to it."""

    def __init__(self, item: Type, go: str = "", *, keeps_empty: bool = False) -> None:
        self.item = item
        self.go = go or "[]" + item.go
        self._keeps_empty = keeps_empty

    zero = ()

    def decode(self, node: Node, problems: Problems) -> Decoded:
        if node.is_null:
            return None
        if node.kind != "sequence":
            problems.wrong_type(node, self.go)
            return None
        items = []
        for child in node.items:
            if child.is_null and not isinstance(self.item, Pointer):
                continue
            value = self.item.decode(child, problems)
            items.append(_zero_item(self.item) if value is None else value)
        return items

    def encode(self, value: Decoded) -> Any:
        return [self.item.encode(item) for item in value or ()]

    def empty(self, value: Decoded) -> bool:
        return value is None or (not value and not self._keeps_empty)

    def merge(self, left: Decoded, right: Decoded, *, replace: bool = False) -> Decoded:
        if right is None:
            return left
        return copy(right) if replace else (left or []) + copy(right)

    def unknown(self, node: Node) -> Any:
        if node.kind == "scalar":
            return None
        if node.kind == "mapping":
            return super().unknown(node)
        return [part for child in node.items if (part := self.item.unknown(child)) is not None] or None

    def nulls(self, node: Node, path: str) -> Iterable[str]:
        for index, child in enumerate(node.items):
            yield from _element_nulls(self.item, child, f"{path}[{index}]")


class KeyedList(List):
    """A list whose items a patch finds again: `find(items, item)` gives the index to merge into, or None."""

    def __init__(
        self,
        item: Type,
        go: str,
        find: Callable[[list[Any], Any], int | None],
        *,
        replace_items: bool = False,
    ) -> None:
        super().__init__(item, go)
        self._find = find
        self._replace_items = replace_items

    def merge(self, left: Decoded, right: Decoded, *, replace: bool = False) -> Decoded:
        if not right:
            return left
        items = list(left or [])
        known = items if not self._replace_items else list(items)
        for item in right:
            index = self._find(known, item)
            if index is None:
                items.append(copy(item))
            else:
                items[index] = copy(item) if self._replace_items else self.item.merge(items[index], item)
        return items


class Map(Type):
    """A map from text; a patch merges entry by entry."""

    zero: Any = None

    def __init__(self, value: Type) -> None:
        self.value = value
        self.go = "map[string]" + value.go

    def decode(self, node: Node, problems: Problems) -> Decoded:
        if node.is_null:
            return None
        if node.kind != "mapping":
            problems.wrong_type(node, self.go)
            return None
        if not unique_keys(node, problems):
            return None
        result = {}
        for key_node, child in node.pairs:
            if key_node.is_null or key_node.tag == scalars.MERGE:
                continue
            key = STRING.decode(key_node, problems)
            value = self.value.decode(child, problems)
            result[key or ""] = _zero_item(self.value) if value is None else value
        return result

    def encode(self, value: Decoded) -> Any:
        value = value or {}
        return {key: self.value.encode(value[key]) for key in sorted(value, key=yaml12.natural)}

    def empty(self, value: Decoded) -> bool:
        return not value

    def merge(self, left: Decoded, right: Decoded, *, replace: bool = False) -> Decoded:
        if right is None:
            return left
        if replace:
            return copy(right)
        result = dict(left or {})
        for key, value in right.items():
            result[key] = self._merge_value(result[key], value) if result.get(key) is not None else copy(value)
        return result

    def _merge_value(self, left: Any, right: Any) -> Any:
        if isinstance(self.value, String):
            return right or left
        return self.value.merge(left, right)

    def unknown(self, node: Node) -> Any:
        if node.kind == "scalar":
            return None
        if node.kind == "sequence":
            return super().unknown(node)
        parts = {}
        for key, child in node.pairs:
            if (part := self.value.unknown(child)) is not None:
                parts[key.value] = part
        return parts or None

    def nulls(self, node: Node, path: str) -> Iterable[str]:
        for key, child in node.pairs:
            yield from _element_nulls(self.value, child, f"{path}.{key.value}")


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One key of a struct. `omit`: not written when empty. `replace`: a patch replaces it as a whole."""

    key: str
    go: str
    type: Type
    omit: bool = True
    replace: bool = False


class Struct(Type):
    """Named fields, written in their order. As a field's own type it may be absent but is never null.

    `path_visible`: its fields can be named in the path of a `$patch: delete`.
    """

    path_visible = True

    def __init__(self, go: str, *fields: Field, required_for_output: tuple[str, ...] = ()) -> None:
        self.go = go
        self.fields = fields
        self.by_key = {field.key: field for field in fields}
        self._required_for_output = required_for_output

    def decode(self, node: Node, problems: Problems) -> Decoded:
        if node.is_null:
            return None
        if node.kind != "mapping":
            problems.wrong_type(node, self.go)
            return None
        if not unique_keys(node, problems):
            return None
        found: dict[str, Any] = {}
        for key_node, child in node.pairs:
            field = self.by_key.get(key_node.value) if key_node.kind == "scalar" else None
            if field is not None and (value := field.type.decode(child, problems)) is not None:
                found[field.key] = value
        return {field.key: found[field.key] for field in self.fields if field.key in found}

    def encode(self, value: Decoded) -> Any:
        value = value or {}
        result = {}
        for field in self.fields:
            content = value.get(field.key)
            if not (field.omit and field.type.empty(content)):
                result[field.key] = field.type.encode(content)
        return result

    def empty(self, value: Decoded) -> bool:
        if not value:
            return True
        keys = self._required_for_output or tuple(self.by_key)
        return all(self.by_key[key].type.empty(value.get(key)) for key in keys)

    def merge(self, left: Decoded, right: Decoded, *, replace: bool = False) -> Decoded:
        if replace and right is not None:
            return copy(right)
        if left is None and right is None:
            return None
        left, right = left or {}, right or {}
        result = {}
        for field in self.fields:
            try:
                value = field.type.merge(left.get(field.key), right.get(field.key), replace=field.replace)
            except MergeError as error:
                raise MergeError(f"merge field {self.go}.{field.go}: {error}") from None
            if value is not None:
                result[field.key] = value
        return result

    def unknown(self, node: Node) -> Any:
        if node.kind == "scalar":
            return None
        if node.kind == "sequence":
            return super().unknown(node)
        parts: dict[str, Any] = {}
        for key, child in node.pairs:
            if key.kind != "scalar":
                raise ValueError("unexpected mapping key type")
            field = self.by_key.get(key.value)
            part = child if field is None else field.type.unknown(child)
            if part is not None:
                parts[key.value] = part
        return parts or None

    def nulls(self, node: Node, path: str) -> Iterable[str]:
        for key, child in node.pairs:
            if field := self.by_key.get(key.value):
                yield from field.type.nulls(child, f"{path}.{key.value}" if path else key.value)


def unique_keys(node: Node, problems: Problems) -> bool:
    """Report keys that are repeated; False if there are any."""
    lines: dict[str, int] = {}
    unique = True
    for key, _ in node.pairs:
        if key.kind != "scalar":
            continue
        if key.value in lines:
            problems.add(key, f'mapping key "{key.value}" already defined at line {lines[key.value]}')
            unique = False
        else:
            lines[key.value] = key.line
    return unique


def _zero_item(item: Type) -> Any:
    if isinstance(item, Struct):
        return {}
    return [] if isinstance(item, List) else item.zero


def _element_nulls(item: Type, node: Node, path: str) -> Iterable[str]:
    if isinstance(item, Pointer) and node.is_null:
        yield f'null value is not allowed at "{path}" (line {node.line})'
    else:
        yield from item.nulls(node, path)


def always(key: str, go: str, type: Type, *, replace: bool = False) -> Field:
    """A field that is written even when it is empty."""
    return Field(key, go, type, omit=False, replace=replace)


def field(key: str, go: str, type: Type, *, replace: bool = False) -> Field:
    """A field that is left out when it is empty."""
    return Field(key, go, type, replace=replace)


def same(key: str, *, last: bool = False) -> Callable[[list[Any], Any], int | None]:
    """The search of a KeyedList by one key: the first item that has the same value, or the last."""

    def find(items: list[Any], item: Any) -> int | None:
        indexes = [index for index, other in enumerate(items) if other.get(key) == item.get(key)]
        return indexes[-1 if last else 0] if indexes else None

    return find
