"""YAML as Talos reads and writes it: the 1.2 core schema, and the byte-exact style of its Go encoder.

- `load(text)`, `load_all(text)`: plain Python values. Repeated keys, merge keys (`<<`), unknown or endless aliases and
  alias bombs are refused with YAMLError.
- `dump(value, indent=4)`: text as Talos' encoder writes it. Dict order is kept; `sort_keys(value)` gives the order of
  Go's maps.
- `compose(text)`: nodes with lines and styles, for decoders that need them.

`Octal(0o644)` is written `0o644`; a `Timestamp` is written bare.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from talos.yaml12 import scalars
from talos.yaml12.emit import Bare, Octal, dump, natural, sort_keys
from talos.yaml12.nodes import Node, YAMLError, compose
from talos.yaml12.scalars import Timestamp

__all__ = [
    "Bare",
    "Node",
    "Octal",
    "Timestamp",
    "YAMLError",
    "compose",
    "construct",
    "dump",
    "load",
    "load_all",
    "natural",
    "node_of",
    "sort_keys",
]


def load(text: bytes | str) -> Any:
    """The value of the only document; None for an empty stream. Raises YAMLError."""
    documents = list(compose(text))
    if len(documents) > 1:
        raise YAMLError("expected one YAML document", documents[1].line)
    return construct(documents[0]) if documents else None


def load_all(text: bytes | str) -> Iterator[Any]:
    """The value of each document of the stream. Raises YAMLError."""
    return (construct(node) for node in compose(text))


def construct(node: Node) -> Any:
    """The plain value of a node: dict, list, str, int, float, bool, None or Timestamp. Raises YAMLError."""
    if node.kind == "sequence":
        return [construct(item) for item in node.items]
    if node.kind == "mapping":
        result: dict[Any, Any] = {}
        lines: dict[Any, int] = {}
        for key_node, value in node.pairs:
            if key_node.kind != "scalar":
                raise YAMLError(f"a list or map cannot be a key (line {key_node.line})", key_node.line)
            if key_node.tag == scalars.MERGE:
                raise YAMLError(f"merge keys are not supported (line {key_node.line})", key_node.line)
            key = construct(key_node)
            if key in result:
                raise YAMLError(
                    f'line {key_node.line}: mapping key "{key_node.value}" already defined at line {lines[key]}',
                    key_node.line,
                )
            lines[key] = key_node.line
            result[key] = construct(value)
        return result
    return _construct_scalar(node)


def _construct_scalar(node: Node) -> Any:
    if node.tag == scalars.STR or (node.style and not node.explicit_tag):
        return node.value
    if node.tag == scalars.BINARY:
        try:
            return base64.b64decode(node.value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise YAMLError(f"!!binary value contains invalid base64 data (line {node.line})", node.line) from None
    if node.tag == scalars.MERGE:  # only a key is one; as a value it is nothing
        return None
    tag, value = scalars.resolve(node.value)
    if tag == node.tag or not node.tag.startswith("!!"):
        return value if tag == node.tag else node.value
    if node.tag == scalars.FLOAT and tag == scalars.INT:
        return float(str(value))
    raise YAMLError(f"cannot construct {tag} `{node.value}` as a {node.tag} (line {node.line})", node.line)


def node_of(value: Any) -> Node:
    """The node a plain value stands for, as if it had been read from text (line 0)."""
    if isinstance(value, dict):
        node = Node("mapping", scalars.MAP, 0)
        node.pairs = [(node_of(key), node_of(item)) for key, item in value.items()]
        return node
    if isinstance(value, list | tuple):
        node = Node("sequence", scalars.SEQ, 0)
        node.items = [node_of(item) for item in value]
        return node
    if value is None:
        return Node("scalar", scalars.NULL, 0, "null")
    if isinstance(value, bool):
        return Node("scalar", scalars.BOOL, 0, "true" if value else "false")
    if isinstance(value, Octal):
        return Node("scalar", scalars.INT, 0, f"0o{value:o}")
    if isinstance(value, int):
        return Node("scalar", scalars.INT, 0, str(value))
    if isinstance(value, float):
        return Node("scalar", scalars.FLOAT, 0, scalars.format_float(value))
    if isinstance(value, Timestamp):
        return Node("scalar", scalars.TIMESTAMP, 0, str(value))
    if isinstance(value, str):
        return Node("scalar", scalars.STR, 0, value, '"')
    raise TypeError(f"cannot use a {type(value).__name__} in a configuration")
