"""YAML files whose values are all text, such as secrets and talosconfig."""

from __future__ import annotations

from typing import Any

from talos import yaml12
from talos.yaml12.nodes import Node
from talos.yaml12.scalars import STR


def load_texts(text: bytes | str) -> Any:
    """The first document, each scalar as the text it is written with (`123.50` is `"123.50"`), null as None.

    None for an empty stream. Raises YAMLError.
    """
    for document in yaml12.compose(text):
        return yaml12.construct(_as_text(document))
    return None


def _as_text(node: Node) -> Node:
    if node.kind == "scalar" and not node.is_null:
        node.tag = STR
    for child in node.items:
        _as_text(child)
    for key, value in node.pairs:
        _as_text(key)
        _as_text(value)
    return node
