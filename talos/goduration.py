"""Durations as Go writes them: `1h0m0s`, `1.5s`, `100ms`. In Python they are integers of nanoseconds."""

import re
from decimal import Decimal

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


def parse(text: str) -> int:
    """Nanoseconds of a duration. Raises ValueError for anything else, a bare number too (but `0` is zero)."""
    sign = -1 if text.startswith("-") else 1
    rest = text.removeprefix("-") if sign < 0 else text.removeprefix("+")
    if rest == "0":
        return 0
    if not rest or _PART.sub("", rest):
        raise ValueError(f"{text!r} is not a duration such as 1h30m or 25s")
    return sign * sum(int(Decimal(number) * _UNITS[unit]) for number, unit in _PART.findall(rest))


def format(nanoseconds: int) -> str:
    """The text of a duration: hours, minutes, seconds; below one second the largest unit that fits."""
    if nanoseconds == 0:
        return "0s"
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if rest < 10**9:
        unit = next(name for name in ("ms", "µs", "ns") if rest >= _UNITS[name])
        return f"{sign}{_decimal(rest, _UNITS[unit])}{unit}"
    minutes, rest = divmod(rest, _UNITS["m"])
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, 10**9)}s"
    if minutes or hours:
        text = f"{minutes}m{text}"
    return f"{sign}{hours}h{text}" if hours else sign + text


def _decimal(value: int, unit: int) -> str:
    whole, fraction = divmod(value, unit)
    return f"{whole}.{str(fraction).zfill(len(str(unit)) - 1).rstrip('0')}" if fraction else str(whole)
