"""Texts of errors in the form Talos and its tools use."""

from __future__ import annotations

from collections.abc import Iterable

_SHORT = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
    "\\": "\\\\",
}


def error_list(errors: Iterable[str]) -> str:
    """Several errors as one text: a count, then one line each."""
    lines = list(errors)
    title = "1 error occurred:" if len(lines) == 1 else f"{len(lines)} errors occurred:"
    return "\n\t* ".join([title, *lines]) + "\n\n"


def quote(text: str) -> str:
    """Text in double quotes, with what cannot be printed escaped."""
    return '"' + "".join(_SHORT.get(char) or (char if char.isprintable() else _escape(char)) for char in text) + '"'


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
