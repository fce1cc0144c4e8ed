"""YAML text to a tree of nodes: libyaml's scanner, Go's tags, bounded aliases.

A tree keeps what the typed decoder and its error texts need: lines, styles and aliases.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import yaml

from talos.yaml12 import scalars

MAX_DEPTH = 500
MAX_EXPANDED_NODES = 400_000

Kind = Literal["scalar", "sequence", "mapping"]

_SECONDARY_TAG = "tag:yaml.org,2002:"


class YAMLError(ValueError):
    """Text that is not acceptable YAML. `line` counts from 1 (0: unknown)."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class Node:
    """One node: `value` holds a scalar's text, `items` a sequence's nodes, `pairs` a mapping's keys and values.

    `style` is the quote or block character of a scalar; `flow` marks `[...]` and `{...}`. `document_line` is the line
    where the document starts, known for root nodes.
    """

    __slots__ = ("document_line", "explicit_tag", "flow", "items", "kind", "line", "pairs", "style", "tag", "value")

    def __init__(self, kind: Kind, tag: str, line: int, value: str = "", style: str = "", flow: bool = False) -> None:
        self.kind = kind
        self.tag = tag
        self.line = line
        self.value = value
        self.style = style
        self.flow = flow
        self.explicit_tag = False
        self.document_line = line
        self.items: list[Node] = []
        self.pairs: list[tuple[Node, Node]] = []

    @property
    def is_null(self) -> bool:
        return self.kind == "scalar" and self.tag == scalars.NULL

    def get(self, key: str) -> Node | None:
        """The value below the scalar key, in a mapping."""
        for name, value in self.pairs:
            if name.kind == "scalar" and name.value == key:
                return value
        return None


def compose(text: bytes | str) -> Iterator[Node]:
    """The root node of each document of the stream.

    Raises YAMLError for bad syntax, unknown or self-containing aliases, and alias bombs.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    try:
        parser: Any = yaml.cyaml.CParser(data)  # type: ignore[attr-defined]
        parser.get_event()  # stream start
        while not parser.check_event(yaml.StreamEndEvent):
            start = parser.get_event()  # document start
            root = _Composer(parser).node(0)
            root.document_line = start.start_mark.line + 1
            yield root
            parser.get_event()  # document end
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise YAMLError(f"{error.problem or error.context} (line {line})", line) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise YAMLError(str(getattr(error, "reason", None) or error)) from None


class _Composer:
    """Builds the tree of one document."""

    def __init__(self, parser: Any) -> None:
        self._next = parser.get_event
        self._anchors: dict[str, Node] = {}
        self._sizes: dict[int, int] = {}
        self._open: set[int] = set()
        self._expanded = 0

    def node(self, depth: int) -> Node:
        node = self._node(self._next(), depth)
        assert node is not None
        return node

    def _node(self, event: Any, depth: int) -> Node | None:
        line = event.start_mark.line + 1
        if depth > MAX_DEPTH:
            raise YAMLError(f"nesting is deeper than {MAX_DEPTH} levels (line {line})", line)
        kind = type(event)
        if kind is yaml.ScalarEvent:
            node = self._scalar(event, line)
            self._count(1, line)
        elif kind is yaml.AliasEvent:
            return self._alias(event.anchor, line)
        elif kind is yaml.SequenceStartEvent:
            node = self._begin(Node("sequence", scalars.SEQ, line, flow=bool(event.flow_style)), event)
            before = self._expanded
            while (item := self._node(self._next(), depth + 1)) is not None:
                node.items.append(item)
            self._end(node, self._expanded - before + 1, line)
            return node
        elif kind is yaml.MappingStartEvent:
            node = self._begin(Node("mapping", scalars.MAP, line, flow=bool(event.flow_style)), event)
            before = self._expanded
            while (key := self._node(self._next(), depth + 1)) is not None:
                value = self._node(self._next(), depth + 1)
                assert value is not None
                node.pairs.append((key, value))
            self._end(node, self._expanded - before + 1, line)
            return node
        else:
            return None
        if event.anchor is not None:
            self._anchors[event.anchor] = node
            self._sizes[id(node)] = 1
        return node

    def _scalar(self, event: Any, line: int) -> Node:
        style = event.style or ""
        node = Node("scalar", scalars.STR, line, event.value, style)
        if event.tag is not None and event.tag != "!":
            node.tag = _short(event.tag)
            node.explicit_tag = True
        elif not style and event.tag is None:
            node.tag = scalars.resolve(event.value)[0]
        return node

    def _begin(self, node: Node, event: Any) -> Node:
        if event.tag is not None and event.tag != "!":
            node.tag = _short(event.tag)
            node.explicit_tag = True
        if event.anchor is not None:
            self._anchors[event.anchor] = node
            self._open.add(id(node))
        return node

    def _end(self, node: Node, size: int, line: int) -> None:
        self._count(1, line)
        if id(node) in self._open:
            self._open.discard(id(node))
            self._sizes[id(node)] = size

    def _alias(self, anchor: str, line: int) -> Node:
        node = self._anchors.get(anchor)
        if node is None:
            raise YAMLError(f"unknown anchor '{anchor}' referenced (line {line})", line)
        if id(node) in self._open:
            raise YAMLError(f"anchor '{anchor}' value contains itself (line {line})", line)
        self._count(self._sizes[id(node)], line)
        return node

    def _count(self, nodes: int, line: int) -> None:
        self._expanded += nodes
        if self._expanded > MAX_EXPANDED_NODES:
            raise YAMLError(f"document has too many nodes after expanding its aliases (line {line})", line)


def _short(tag: str) -> str:
    return "!!" + tag[len(_SECONDARY_TAG) :] if tag.startswith(_SECONDARY_TAG) else tag
