"""The types a configuration field can have: how each is read, written, merged and told empty.

Values are plain Python in one canonical form, the form they are written in: text, numbers, booleans, lists and dicts.
`None` (or a missing key) is the zero value of the field: Go's `""`, `0`, `nil`, a struct without content. An empty list
or dict is a value of its own ("set, but empty"), as in Go.

`go` names are those of Talos' public structs. They appear in error texts that talosctl users know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from talos import yaml12
from talos.config import gourl
from talos.yaml12 import Node, scalars

Decoded = Any


class MergeError(ValueError):
    """A patch value does not fit the value it is merged into."""


class Problems:
    """What a decoder found wrong, with lines."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, node: Node, text: str) -> None:
        self.texts.append(f"line {node.line}: {text}")

    def wrong_type(self, node: Node, go: str) -> None:
        if node.tag == scalars.MERGE:  # a merge key where a value stands is no value
            return
        if node.kind != "scalar":
            self.add(node, f"cannot construct {node.tag} into {go}")
            return
        shown = (
            node.value if len(node.value.encode()) <= 10 else node.value.encode()[:7].decode(errors="ignore") + "..."
        )
        self.add(node, f"cannot construct {node.tag} `{shown}` into {go}")


class Type:
    """One field type. The defaults here are those of a scalar."""

    go: str = ""
    zero: Any = None
    """What is written for a field that is always written and has no value."""

    def decode(self, node: Node, problems: Problems) -> Decoded:
        """The canonical value of a node; None for null and for what `problems` got."""
        raise NotImplementedError

    def encode(self, value: Decoded) -> Any:
        """What is written for a value; `zero` for None."""
        return self.zero if value is None else value

    def empty(self, value: Decoded) -> bool:
        """Whether an omit-empty field leaves the value out."""
        return value is None

    def merge(self, left: Decoded, right: Decoded, *, replace: bool = False) -> Decoded:
        """The value of `left` patched with `right`. Raises MergeError."""
        return left if right is None else copy(right)

    def unknown(self, node: Node) -> Any:
        """The part of the node this type has no field for (dicts, lists, nodes), or None.

        Raises ValueError for a mapping or list where none can stand.
        """
        if node.kind == "scalar":
            return None
        what = "mapping" if node.kind == "mapping" else "sequence"
        raise ValueError(f"unexpected type for yaml {what}: {self.go}")

    def nulls(self, node: Node, path: str) -> Iterable[str]:
        """One message for each null that stands for a whole list item or map entry."""
        return ()


def copy(value: Any) -> Any:
    """A deep copy of a plain value."""
    if isinstance(value, dict):
        return {key: copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy(item) for item in value]
    return value


class Scalar(Type):
    has_parts = False
    """Whether a patch of a set value is more than replacing it."""

    def __init__(self, go: str, zero: Any) -> None:
        self.go = go
        self.zero = zero

    def decode(self, node: Node, problems: Problems) -> Decoded:
        if node.is_null:
            return None
        value = self._scalar(node, problems) if node.kind == "scalar" else None
        if node.kind != "scalar":
            problems.wrong_type(node, self.go)
        return None if value == self.zero else value

    def _scalar(self, node: Node, problems: Problems) -> Any:
        raise NotImplementedError


class String(Scalar):
    def __init__(self, go: str = "string") -> None:
        super().__init__(go, "")

    def _scalar(self, node: Node, problems: Problems) -> Any:
        if node.tag == scalars.TIMESTAMP:
            problems.wrong_type(node, self.go)
            return None
        return str(yaml12.construct(node)) if node.tag == scalars.BINARY else node.value


class Bool(Scalar):
    """A plain boolean always takes the patch's value, even an absent (false) one."""

    def __init__(self) -> None:
        super().__init__("bool", False)

    def _scalar(self, node: Node, problems: Problems) -> Any:
        if node.tag == scalars.BOOL:
            return scalars.resolve(node.value)[1]
        if node.tag == scalars.STR and node.value in scalars.OLD_TRUE:
            return True
        if node.tag == scalars.STR and node.value in scalars.OLD_FALSE:
            return False
        problems.wrong_type(node, self.go)
        return None

    def merge(self, left: Decoded, right: Decoded, *, replace: bool = False) -> Decoded:
        return right


class Int(Scalar):
    def __init__(self, go: str) -> None:
        super().__init__(go, 0)
        bits = int(go.removeprefix("u").removeprefix("int") or 64)
        self._range = (0, (1 << bits) - 1) if go.startswith("u") else (-1 << (bits - 1), (1 << (bits - 1)) - 1)

    def _scalar(self, node: Node, problems: Problems) -> Any:
        value = yaml12.construct(node) if node.tag in (scalars.INT, scalars.FLOAT) else None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and self._range[0] <= value <= self._range[1]:
            return value
        problems.wrong_type(node, self.go)
        return None


class Text(Scalar):
    """Text in a format of its own: `parse` gives the canonical text or raises ValueError.

    `takes_string` formats are read from what decodes into a string, the others from any scalar's text.
    """

    def __init__(
        self, go: str, parse: Callable[[str], Any], zero: Any = "", *, takes_string: bool = False, always: bool = False
    ) -> None:
        super().__init__(go, zero)
        self.parse = parse
        self._takes_string = takes_string
        self._always = always

    def _scalar(self, node: Node, problems: Problems) -> Any:
        text: str | None = node.value
        if self._takes_string:
            text = STRING.decode(node, problems) or ""
        try:
            return self.parse(text or "")
        except ValueError as error:
            problems.add(node, str(error))
            return None

    def merge(self, left: Decoded, right: Decoded, *, replace: bool = False) -> Decoded:
        return right if self._always else super().merge(left, right)


class Enum(Text):
    """One of a few words, in any case; `zero` is what Go prints for an unset value."""

    def __init__(self, go: str, words: Iterable[str], zero: str = "") -> None:
        super().__init__(go, self._word, zero)
        self.words = tuple(words)
        self._canonical = {word.lower(): word for word in self.words} | {word: word for word in self.words}

    def _word(self, text: str) -> str:
        try:
            return self._canonical.get(text) or self._canonical[text.lower()]
        except KeyError:
            raise ValueError(f"{text} does not belong to {self.go.rpartition('.')[2]} values") from None


class URL(Text):
    """A URL. A patch replaces the parts it has and keeps the others; the user cannot be patched."""

    has_parts = True

    def __init__(self, go: str) -> None:
        super().__init__(go, gourl.canonical, takes_string=True)

    def merge(self, left: Decoded, right: Decoded, *, replace: bool = False) -> Decoded:
        if left is None or right is None:
            return super().merge(left, right)
        user = gourl.parse(left).user
        if user is not None and gourl.parse(right).user is not None:
            raise MergeError(
                f"merge field {self.go}.URL: merge field url.URL.User: merge field url.Userinfo.username: "
                f"merge not possible, left {user} is not settable"
            )
        return gourl.merge(left, right)


STRING = String()
BOOL = Bool()
