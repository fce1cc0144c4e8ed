"""The standard functions of CEL and their overloads."""

from __future__ import annotations

from talos.config.cel.types import DYN, Type, list_of, map_of, optional

Overload = tuple[tuple[Type, ...], Type]

_NUMBERS = ("int", "uint", "double")
_A_LIST, _A_MAP = list_of("A"), map_of("A", "B")
_ORDERED = ("bool", *_NUMBERS, "string", "bytes", "timestamp", "duration")


def _same(types: tuple[str, ...], result: str | None = None) -> list[Overload]:
    return [((type_, type_), result or type_) for type_ in types]


def _from(result: str, *types: str) -> list[Overload]:
    return [((type_,), result) for type_ in types]


_ORDER = _same(_ORDERED, "bool")
_DATE_PARTS = ("getFullYear", "getMonth", "getDayOfYear", "getDayOfMonth", "getDate", "getDayOfWeek")
_TIME_PARTS = ("getHours", "getMinutes", "getSeconds", "getMilliseconds")
_TEXT_PREDICATE: list[Overload] = [(("string", "string"), "bool")]

GLOBAL: dict[str, list[Overload]] = {
    "_?_:_": [(("bool", "A", "A"), "A")],
    "!_": [(("bool",), "bool")],
    "-_": _from("int", "int") + _from("double", "double"),
    "_==_": [(("A", "A"), "bool")],
    "_!=_": [(("A", "A"), "bool")],
    "_<_": _ORDER,
    "_<=_": _ORDER,
    "_>_": _ORDER,
    "_>=_": _ORDER,
    "@in": [(("A", _A_LIST), "bool"), (("A", _A_MAP), "bool")],
    "_+_": [
        *_same((*_NUMBERS, "string", "bytes", "duration")),
        ((_A_LIST, _A_LIST), _A_LIST),
        (("timestamp", "duration"), "timestamp"),
        (("duration", "timestamp"), "timestamp"),
    ],
    "_-_": [
        *_same((*_NUMBERS, "duration")),
        (("timestamp", "timestamp"), "duration"),
        (("timestamp", "duration"), "timestamp"),
    ],
    "_*_": _same(_NUMBERS),
    "_/_": _same(_NUMBERS),
    "_%_": _same(("int", "uint")),
    "_[_]": [((_A_LIST, "int"), "A"), ((_A_MAP, "A"), "B")],
    "size": [((type_,), "int") for type_ in ("string", "bytes", _A_LIST, _A_MAP)],
    "matches": [(("string", "string"), "bool")],
    "int": _from("int", *_NUMBERS, "string", "timestamp", "duration"),
    "uint": _from("uint", *_NUMBERS, "string"),
    "double": _from("double", *_NUMBERS, "string"),
    "string": _from("string", "bool", *_NUMBERS, "string", "bytes", "timestamp", "duration"),
    "bytes": _from("bytes", "bytes", "string"),
    "bool": _from("bool", "bool", "string"),
    "timestamp": _from("timestamp", "timestamp", "string", "int"),
    "duration": _from("duration", "duration", "string", "int"),
    "dyn": [(("A",), DYN)],
    "type": [(("A",), ("type", "A"))],
}
"""Functions and operators, by their name in messages."""

MEMBER: dict[str, list[Overload]] = {
    "contains": _TEXT_PREDICATE,
    "startsWith": _TEXT_PREDICATE,
    "endsWith": _TEXT_PREDICATE,
    "matches": _TEXT_PREDICATE,
    "size": GLOBAL["size"],
    **{
        part: [
            (("timestamp",), "int"),
            (("timestamp", "string"), "int"),
            *([(("duration",), "int")] if part in _TIME_PARTS else []),
        ]
        for part in (*_DATE_PARTS, *_TIME_PARTS)
    },
}
"""Functions called on a value, which is their first argument."""

_OPTIONAL = optional("A")
OPTIONAL_GLOBAL: dict[str, list[Overload]] = {
    "_[_]": [
        *GLOBAL["_[_]"],
        ((optional(_A_LIST), "int"), _OPTIONAL),
        ((optional(_A_MAP), "A"), optional("B")),
    ],
    "_[?_]": [
        ((_A_LIST, "int"), _OPTIONAL),
        ((optional(_A_LIST), "int"), _OPTIONAL),
        ((_A_MAP, "A"), optional("B")),
        ((optional(_A_MAP), "A"), optional("B")),
    ],
    "optional.of": [(("A",), _OPTIONAL)],
    "optional.ofNonZeroValue": [(("A",), _OPTIONAL)],
    "optional.none": [((), _OPTIONAL)],
}
OPTIONAL_MEMBER: dict[str, list[Overload]] = {
    "hasValue": [((_OPTIONAL,), "bool")],
    "value": [((_OPTIONAL,), "A")],
    "or": [((_OPTIONAL, _OPTIONAL), _OPTIONAL)],
    "orValue": [((_OPTIONAL, "A"), "A")],
}
"""What the optional types add, where they are on."""
