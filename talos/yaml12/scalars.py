"""Plain scalars of the YAML 1.2 core schema, with the exact rules of the Go library Talos uses.

`off`, `yes` and `n` are strings; `0600` and `0o600` are octal numbers; `1_000` is a number; dates are timestamps.
"""

from __future__ import annotations

import re
from datetime import date

STR, INT, FLOAT, BOOL, NULL, TIMESTAMP, BINARY, MERGE, SEQ, MAP = (
    "!!str",
    "!!int",
    "!!float",
    "!!bool",
    "!!null",
    "!!timestamp",
    "!!binary",
    "!!merge",
    "!!seq",
    "!!map",
)

OLD_TRUE = frozenset(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON"))
OLD_FALSE = frozenset(("n", "N", "no", "No", "NO", "off", "Off", "OFF"))

_INF = float("inf")
_WORDS: dict[str, tuple[str, object]] = {
    **dict.fromkeys(("true", "True", "TRUE"), (BOOL, True)),
    **dict.fromkeys(("false", "False", "FALSE"), (BOOL, False)),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), (NULL, None)),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), (FLOAT, float("nan"))),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), (FLOAT, _INF)),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), (FLOAT, -_INF)),
    **dict.fromkeys(("-0", "-0.0"), (FLOAT, -0.0)),
    "<<": (MERGE, "<<"),
}

_DIGITS = "0123456789"
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|([1-9][0-9]*|0))")
_LONGEST = len(str(1 << 64))
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_DOTTED = re.compile(r"\.[0-9]+(?:[eE][-+]?[0-9]+)?")
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})"
    r"(?:([Tt ])(\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9})\d*)?(Z|[-+]\d{2}:\d{2})?)?"
)


class Timestamp(str):
    """A date or time as Go prints it (RFC 3339, fraction without trailing zeros)."""

    __slots__ = ()


def resolve(text: str) -> tuple[str, object]:
    """Tag and value of a plain scalar."""
    if not text:
        return NULL, None
    first = text[0]
    if first in "yYnNtTfFoO~<":
        return _WORDS.get(text, (STR, text))
    if first == ".":
        if text in _WORDS:
            return _WORDS[text]
        return (FLOAT, float(text)) if _DOTTED.fullmatch(text) else (STR, text)
    if first in _DIGITS or first in "+-":
        return _number(text)
    return STR, text


def _number(text: str) -> tuple[str, object]:
    if text in _WORDS:
        return _WORDS[text]
    if text[4:5] == "-" and (stamp := timestamp(text)) is not None:
        return TIMESTAMP, stamp
    plain = text.replace("_", "")
    if match := _INTEGER.fullmatch(plain):
        sign, hexadecimal, binary, octal, decimal = match.groups()
        if decimal is not None:
            value = int(decimal) if len(decimal) <= _LONGEST else 1 << 64  # Python itself reads 4300 digits at most
        elif octal is not None:
            value = int(octal, 8)
        else:
            value = int(hexadecimal, 16) if hexadecimal is not None else int(binary, 2)
        value = -value if sign == "-" else value
        if -(1 << 63) <= value < (1 << 63) or (not sign and value < (1 << 64)):
            return INT, value
    if _FLOAT.fullmatch(plain):
        value_float = float(plain)
        if abs(value_float) != _INF:
            return FLOAT, value_float
    return STR, text


def timestamp(text: str) -> Timestamp | None:
    """The time `text` stands for, or None when it is not one of the forms Go accepts."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return None
    year, month, day, separator, hour, minute, second, fraction, zone = match.groups()
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return None
    stamp = f"{year}-{int(month):02}-{int(day):02}T"
    if separator is None:
        return Timestamp(stamp + "00:00:00Z")
    if (separator == " ") != (zone is None) or int(hour) > 23 or int(minute) > 59 or int(second) > 59:
        return None
    stamp += f"{int(hour):02}:{int(minute):02}:{int(second):02}"
    if fraction and (digits := fraction.rstrip("0")):
        stamp += "." + digits
    return Timestamp(stamp + ("Z" if zone in (None, "Z", "+00:00", "-00:00") else zone))


def format_float(value: float) -> str:
    """A float in Go's shortest form: `0.5`, `1e+06`, `.inf`."""
    if value != value:
        return ".nan"
    if value in (_INF, -_INF):
        return ".inf" if value > 0 else "-.inf"
    mantissa, _, exponent = f"{value!r}".partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if not digits:
        return sign + "0"
    power = point - 1
    if power < -4 or power >= 6:
        tail = "." + digits[1:] if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{tail}e{'-' if power < 0 else '+'}{abs(power):02}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if len(digits) <= point:
        return sign + digits + "0" * (point - len(digits))
    return f"{sign}{digits[:point]}.{digits[point:]}"
