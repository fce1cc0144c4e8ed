"""`$patch: delete`: finding the statements in a patch, cutting them out, and applying them to a document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from talos.config.document import LEGACY, ConfigError, Document, scalar_text
from talos.config.schema.composite import List, Map, Pointer, Struct
from talos.config.schema.formats import Duration, FileMode, FreeForm
from talos.config.schema.types import Enum, String, Text, Type
from talos.yaml12 import Node

_UNSET = {"meta.Addr": "invalid IP", "meta.Prefix": "invalid Prefix", "meta.AddrPort": "invalid AddrPort"}
"""What unset addresses are compared as."""
_DROPPED_KEYS = frozenset(("version", "kind", "name"))


class DeletionError(ConfigError):
    """What is to be deleted is not there or cannot be deleted."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """Delete `path` (empty: the whole document) or, with `item`, the list item whose key has the text."""

    api_version: str
    kind: str
    name: str
    path: tuple[str, ...]
    item: tuple[str, str] | None = None

    def apply(self, document: Document) -> Document | None:
        """The document without what is deleted; None if nothing is left of it. Raises DeletionError."""
        if not self.path:
            return None
        path = ".".join(self.path)
        try:
            values = _delete(document.struct, dict(document.values), self.path, self.item)
        except DeletionError as error:
            failure = f"failed to delete path '{path}': {error}"
            where = f"{document.api_version}/{document.kind}"
            if self.name:
                raise DeletionError(f"named patch delete: document {where}: {failure}") from None
            raise DeletionError(f"patch delete: path '{path}' in document '{where}': {failure}") from None
        return Document(document.kind, values)


def cut_deletions(root: Node) -> tuple[list[Deletion], bool]:
    """Remove the delete statements from a patch document and return them.

    The second value tells whether nothing else of the document is left. Raises ConfigError.
    """
    found: list[Deletion] = []
    gone = _cut(root, None, (), root, found)
    return found, gone or _says_nothing(root)


def _cut(node: Node, parent: Node | None, path: tuple[str, ...], root: Node, found: list[Deletion]) -> bool:
    """Collect the statements at and below a node; True if the node itself goes."""
    if node.kind == "mapping":
        for key, value in node.pairs:
            if key.value == "$patch" and value.kind == "scalar" and value.value == "delete":
                found.append(_deletion(node, parent, path, root))
                return True
            if _cut(value, node, (*path, key.value), root, found):
                node.pairs = [pair for pair in node.pairs if pair[0] is not key]
                if not node.pairs:
                    return True
    elif node.kind == "sequence":
        index = 0
        for item in list(node.items):
            if _cut(item, node, (*path, f"[{index}]"), root, found):
                node.items.pop(index)
                if not node.items:
                    return True
            else:
                index += 1
    return False


def _deletion(node: Node, parent: Node | None, path: tuple[str, ...], root: Node) -> Deletion:
    dotted = ".".join(path)
    item = None
    if parent is not None and parent.kind == "sequence":
        for key, value in node.pairs:
            if not (key.value == "$patch" and value.kind == "scalar" and value.value == "delete"):
                item = (key.value, value.value)
                break
        else:
            raise ConfigError(f"no key:val found in sequence node for path {dotted}")
    elif "" in path:
        raise ConfigError(f"cannot delete a key without a name in '{dotted}'")
    elif any(part.startswith("[") for part in path):
        raise ConfigError(f"cannot delete an inner key in '{dotted}'")
    if not path:
        for key_name in ("apiVersion", "kind"):
            if root.get(key_name) is None:
                raise ConfigError(f"missing {key_name} in document for which $patch: delete is used")
    api_version, kind = scalar_text(root, "apiVersion"), scalar_text(root, "kind")
    if bool(api_version) != bool(kind):
        raise ConfigError(f"kind and apiVersion must be both set for path {dotted}")
    return Deletion(api_version, kind or LEGACY, scalar_text(root, "name"), path, item)


def _says_nothing(root: Node) -> bool:
    return root.kind == "mapping" and all(
        key.kind == value.kind == "scalar" and key.value in _DROPPED_KEYS for key, value in root.pairs
    )


def _delete(type_: Type, value: Any, path: tuple[str, ...], item: tuple[str, str] | None) -> Any:
    """`value` without what lies at `path`; `value` itself is not changed."""
    key, rest = path[0], path[1:]
    if isinstance(type_, Pointer):
        if value is None:
            raise DeletionError("lookup failed")
        return _delete(type_.target, value, path, item)
    if isinstance(type_, Struct) and type_.path_visible:
        field = type_.by_key.get(key)
        if field is None:
            raise DeletionError("lookup failed")
        child_type: Type = field.type
        value = value or {}
    elif isinstance(type_, Map | FreeForm):
        if value is None or key not in value:
            raise DeletionError("lookup failed")
        child_type = type_.value if isinstance(type_, Map) else type_
    elif isinstance(type_, List) or (isinstance(type_, FreeForm) and isinstance(value, list)):
        return _delete_item(type_, value, rest, item)
    else:
        raise DeletionError("lookup failed")
    if not rest:
        return {name: content for name, content in value.items() if name != key}
    changed = _delete(child_type, value.get(key), rest, item)
    return value if changed is None else {**value, key: changed}


def _delete_item(type_: List | FreeForm, items: list[Any] | None, rest: tuple[str, ...], item: Any) -> list[Any]:
    if rest:
        raise DeletionError("searching for complex paths in slices is not supported")
    if item is None:
        raise DeletionError("searching for non-integer keys in slices is not supported")
    key, text = item
    struct = type_.item if isinstance(type_, List) else None
    struct = struct.target if isinstance(struct, Pointer) else struct
    if isinstance(struct, Struct) and struct.path_visible and key in struct.by_key:
        for index, candidate in enumerate(items or []):
            if _text(struct.by_key[key].type, candidate.get(key)) == text:
                return [*(items or [])[:index], *(items or [])[index + 1 :]]
    raise DeletionError("lookup failed")


def _text(type_: Type, value: Any) -> str | None:
    """The text a field is compared by; None for types that never match."""
    if isinstance(type_, Pointer):
        return None if value is None or isinstance(type_.target, String) else _text(type_.target, value)
    if isinstance(type_, FileMode):
        return f"0o{value or 0:o}"
    if isinstance(type_, String | Enum | Duration | Text):
        return str(_UNSET.get(type_.go, type_.zero) if value is None else value)
    return None
