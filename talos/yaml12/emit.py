"""YAML text from plain values, byte for byte as Talos' Go encoder writes it (comments off).

Block style with four spaces of indentation, lists indented below their key, lines of any length. Strings that would
read as another type are double-quoted, YAML 1.1 words single-quoted, text of several lines is a literal block.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cmp_to_key, lru_cache
from typing import Any

from talos.yaml12 import scalars
from talos.yaml12.nodes import Node

_WORDS_1_1 = scalars.OLD_TRUE | scalars.OLD_FALSE | {"<<"}
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_SAFE = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*(?::[A-Za-z0-9_./-]+)*")
_NOT_PRINTABLE = re.compile("[^\n\t\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd]")
_BREAKS = "\n\u2028\u2029"
_ESCAPES = {
    "\0": "0",
    "\a": "a",
    "\b": "b",
    "\t": "t",
    "\n": "n",
    "\v": "v",
    "\f": "f",
    "\r": "r",
    "\x1b": "e",
    '"': '"',
    "\\": "\\",
    "\x85": "N",
    "\xa0": "_",
    "\u2028": "L",
    "\u2029": "P",
}
_TO_ESCAPE = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]")
_MAX_SIMPLE_KEY = 128  # bytes


class Octal(int):
    """A number written as `0o644`."""

    __slots__ = ()


class Bare(str):
    """Text that is quoted only where YAML 1.2 needs it; other text also where YAML 1.1 would."""

    __slots__ = ()


def dump(value: Any, indent: int = 4) -> str:
    """One document. Dict order is kept; see `sort_keys` for Go's order of map keys."""
    out: list[str] = []
    _Emitter(out, indent).node(value, -1, in_list=False)
    return "".join(out).removeprefix("\n").removeprefix(" ") + "\n"


def sort_keys(value: Any) -> Any:
    """A copy of `value` with all keys in the order Go writes maps: numbers inside text count as numbers."""
    if isinstance(value, dict):
        return {key: sort_keys(value[key]) for key in sorted(value, key=natural)}
    if isinstance(value, list):
        return [sort_keys(item) for item in value]
    return value


class _Emitter:
    def __init__(self, out: list[str], step: int) -> None:
        self._out = out
        self._step = step

    def node(self, value: Any, indent: int, in_list: bool) -> None:
        """Append `value` after a key or a dash that stands at column `indent` (-1: document root)."""
        if isinstance(value, Node) and (value.kind == "scalar" or value.flow):
            self._out.append(
                " " + (self._flow(value) if value.kind != "scalar" else self._scalar(value, indent, in_list))
            )
        elif isinstance(value, dict):
            self._mapping(value.items(), indent, in_list)
        elif isinstance(value, list):
            self._sequence(value, indent, in_list)
        elif isinstance(value, Node):
            if value.kind == "mapping":
                self._mapping(value.pairs, indent, in_list)
            else:
                self._sequence(value.items, indent, in_list)
        else:
            self._out.append(" " + self._scalar(value, indent, in_list))

    def _child(self, indent: int, in_list: bool) -> int:
        if indent < 0:
            return 0
        return indent + 2 if in_list else self._step * ((indent + self._step) // self._step)

    def _mapping(self, pairs: Iterable[tuple[Any, Any]], indent: int, in_list: bool, first: str = "") -> None:
        out, child = self._out, self._child(indent, in_list)
        start = first or (" " if in_list else "\n" + " " * child)
        empty = True
        for key, value in pairs:
            empty = False
            text = _key_text(key)
            if text is None:
                self._complex_pair(key, value, start, child)
            else:
                out.append(f"{start}{text}:")
                self.node(value, child, in_list=False)
            start = "\n" + " " * child
        if empty:
            out.append(" {}")

    def _complex_pair(self, key: Any, value: Any, start: str, indent: int) -> None:
        """A key of several lines or of many bytes: `? key`, and `: value` below it."""
        self._out.append(f"{start}?")
        self.node(key, indent, in_list=False)
        self._out.append("\n" + " " * indent + ":")
        first = " " * (self._child(indent, in_list=False) - indent - 1)
        if isinstance(value, dict) and value:
            self._mapping(value.items(), indent, False, first)
        elif isinstance(value, list) and value:
            self._sequence(value, indent, False, first)
        else:
            self.node(value, indent, in_list=False)

    def _sequence(self, items: list[Any], indent: int, in_list: bool, first: str = "") -> None:
        if not items:
            self._out.append(" []")
            return
        child = self._child(indent, in_list)
        start = first or (" " if in_list else "\n" + " " * child)
        for item in items:
            self._out.append(start + "-")
            self.node(item, child, in_list=True)
            start = "\n" + " " * child

    def _scalar(self, value: Any, indent: int, in_list: bool) -> str:
        if isinstance(value, Node):
            text, style = value.value, _node_style(value)
        elif type(value) is str or (isinstance(value, Bare) and "\n" in value):
            text, style = str(value), "|" if isinstance(value, Bare) else _style(value)
        else:
            return _plain(value)
        if style == "|" and _block_allowed(text):
            margin = self._child(indent, in_list) if indent >= 0 else self._step
            return _literal(text, margin, self._step)
        return _inline(text, style, flow=False)

    def _flow(self, node: Node) -> str:
        if node.kind == "sequence":
            return "[" + ", ".join(self._flow(item) for item in node.items) + "]"
        if node.kind == "mapping":
            return "{" + ", ".join(f"{self._flow(key)}: {self._flow(value)}" for key, value in node.pairs) + "}"
        return _inline(node.value, _node_style(node), flow=True)


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, Octal):
        return f"0o{value:o}"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return scalars.format_float(value)
    if isinstance(value, scalars.Timestamp):
        return str(value)
    if isinstance(value, Bare):
        return _inline(str(value), "" if scalars.resolve(value)[0] == scalars.STR else '"', flow=False)
    if isinstance(value, str):
        return _inline(str(value), _style(value), flow=False)
    raise TypeError(f"cannot write a {type(value).__name__} as YAML")


def _node_style(node: Node) -> str:
    if node.style:
        return '"' if node.style == ">" else node.style
    return "" if "\n" not in node.value else "|"


def _style(text: str) -> str:
    """The wanted style: "" plain, single or double quote, "|" literal block."""
    if "\n" in text:
        return "|" if len(text.encode()) > 1 and not text.isspace() else '"'
    if text in _WORDS_1_1 or (":" in text and _BASE_60.fullmatch(text)):
        return "'"
    return "" if scalars.resolve(text)[0] == scalars.STR else '"'


@lru_cache(maxsize=4096)
def _key_text(key: Any) -> str | None:
    """A key on one line, or None when it needs the `? ` form."""
    if isinstance(key, Node):
        if key.kind != "scalar":
            return None
        text, style = key.value, _node_style(key)
    elif type(key) is str:
        text, style = key, _style(key)
    else:
        return _plain(key)
    if len(text.encode()) > _MAX_SIMPLE_KEY or any(char in text for char in "\r\x85" + _BREAKS):
        return None
    return _inline(text, style, flow=False) if text else '""'


def _inline(text: str, style: str, flow: bool) -> str:
    """Plain if asked and possible, otherwise quoted."""
    if style == "":
        if _SAFE.fullmatch(text) or _plain_allowed(text, flow):
            return text
        style = "'"
    if style == "'" and _single_allowed(text):
        return "'" + text.replace("'", "''") + "'"
    return '"' + _TO_ESCAPE.sub(_escape, text) + '"'


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    if short := _ESCAPES.get(char):
        return "\\" + short
    code = ord(char)
    return f"\\x{code:02X}" if code <= 0xFF else f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def _plain_allowed(text: str, flow: bool) -> bool:
    if not text:
        return not flow
    if text[0] in " " + _BREAKS or text[-1] in " " + _BREAKS or "\t" in text or _NOT_PRINTABLE.search(text):
        return False
    if any(char in text for char in _BREAKS) or text.startswith(("---", "...")):
        return False
    if text[0] in "#,[]{}&*!|>'\"%@`" or re.search(r"[ \t]#", text) or re.search(r":(?:[ \t]|$)", text):
        return False
    if text[0] in "?-" and text[1:2] in ("", " ", "\t"):
        return False
    return not flow or not (text[0] in "?:" or any(char in text[1:] for char in ",?[]{}:"))


def _single_allowed(text: str) -> bool:
    return not ("\t" in text or _NOT_PRINTABLE.search(text) or re.search(f" [{_BREAKS}]|[{_BREAKS}] ", text))


def _block_allowed(text: str) -> bool:
    return not (text.endswith(" ") or re.search(f" [{_BREAKS}]", text) or _NOT_PRINTABLE.search(text))


def _literal(text: str, margin: int, step: int) -> str:
    hint = str(step) if text.startswith(" ") else ""
    if not text.endswith(tuple(_BREAKS)):
        chomp = "-"
    else:
        chomp = "+" if len(text) == 1 or text[-2] in _BREAKS else ""
    pad = " " * margin
    body = re.sub(f"(?<![^{_BREAKS}])(?=[^{_BREAKS}])", pad, text)
    return f"|{hint}{chomp}\n{body.removesuffix(chr(10))}"


def _digits(text: str, start: int) -> int:
    end = start
    while end < len(text) and text[end].isdecimal():
        end += 1
    return end


def _compare(left: Any, right: Any) -> int:
    if not isinstance(left, str) or not isinstance(right, str):
        numbers = [isinstance(side, (int, float)) for side in (left, right)]
        if all(numbers):
            return (left > right) - (left < right)
        return -1 if numbers[0] else 1
    digits = False
    for i, (a, b) in enumerate(zip(left, right, strict=False)):
        if a == b:
            digits = a.isdecimal()
            continue
        if a.isalpha() and b.isalpha():
            return -1 if a < b else 1
        if a.isalpha() or b.isalpha():
            return -1 if (a.isalpha() if digits else b.isalpha()) else 1
        return _compare_digits(left, right, i)
    return len(left) - len(right)


def _compare_digits(left: str, right: str, i: int) -> int:
    lead = ""
    if left[i] == "0" or right[i] == "0":
        j = i - 1
        while j >= 0 and left[j].isdecimal():
            if left[j] != "0":
                lead = "1"
                break
            j -= 1
    left_end, right_end = _digits(left, i), _digits(right, i)
    a, b = int(lead + left[i:left_end] or "0"), int(lead + right[i:right_end] or "0")
    if a != b:
        return -1 if a < b else 1
    if left_end != right_end:
        return -1 if left_end < right_end else 1
    return -1 if left[i] < right[i] else 1


natural = cmp_to_key(_compare)
