"""YAML files whose values are all text, such as secrets and talosconfig."""

from __future__ import annotations

from typing import Any

from talos import yaml12
from talos.yaml12.nodes import Node
from talos.yaml12.scalars import BOOL, FLOAT, INT, STR


def load_texts(text: bytes | str) -> Any:
    """The first document, numbers and booleans as the text they are written with (`123.50` is `"123.50"`).

    None for an empty stream. Dates stay Timestamps: Talos takes none for text. Raises YAMLError.
    """
    for document in yaml12.compose(text):
        return yaml12.construct(_as_text(document))
    return None


def _as_text(node: Node) -> Node:
    if node.tag in (INT, FLOAT, BOOL) and not node.explicit_tag:
        node.tag = STR
    for child in node.items:
        _as_text(child)
    for key, value in node.pairs:
        _as_text(key)
        _as_text(value)
    return node
