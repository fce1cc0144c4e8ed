"""Types of CEL: a name, or a tuple of a constructor and its parameters. Single capital letters are variables."""

from __future__ import annotations

Type = str | tuple[object, ...]
Bindings = dict[str, "Type"]

DYN = "dyn"
NULL = "null_type"
ERROR = "!error!"


def list_of(item: Type) -> Type:
    return ("list", item)


def map_of(key: Type, value: Type) -> Type:
    return ("map", key, value)


def optional(value: Type) -> Type:
    return ("optional_type", value)


def name(type_: Type) -> str:
    """The type as CEL prints it."""
    if isinstance(type_, tuple):
        return f"{type_[0]}({', '.join(name(part) for part in type_[1:])})"  # type: ignore[arg-type]
    return "null" if type_ == NULL else type_


def substitute(type_: Type, bindings: Bindings) -> Type:
    """The type with its variables replaced; unbound ones are `dyn`."""
    if isinstance(type_, tuple):
        return (type_[0], *(substitute(part, bindings) for part in type_[1:]))  # type: ignore[arg-type]
    return bindings.get(type_, DYN) if is_variable(type_) else type_


def is_variable(type_: Type) -> bool:
    return isinstance(type_, str) and len(type_) == 1 and type_.isupper()


def matches(wanted: Type, actual: Type, bindings: Bindings) -> bool:
    """Whether a value of type `actual` can stand where `wanted` is asked; binds variables."""
    if is_variable(wanted):
        assert isinstance(wanted, str)
        if wanted in bindings:
            if bindings[wanted] == DYN:
                bindings[wanted] = actual
            return matches(bindings[wanted], actual, bindings)
        bindings[wanted] = actual
        return True
    if DYN in (wanted, actual) or ERROR in (wanted, actual):
        return True
    if actual == NULL or wanted == NULL:
        other = wanted if actual == NULL else actual
        return other == NULL or other in ("timestamp", "duration") or (isinstance(other, str) and "." in other)
    if isinstance(wanted, tuple) and isinstance(actual, tuple):
        return (
            wanted[0] == actual[0]
            and len(wanted) == len(actual)
            and all(matches(w, a, bindings) for w, a in zip(wanted[1:], actual[1:], strict=True))  # type: ignore[arg-type]
        )
    return wanted == actual
