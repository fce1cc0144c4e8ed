"""JSON between Talos' tools and us, where the bytes matter (they are signed) or where the reader is more forgiving
than ours.

Those tools are written in Go: writing escapes a few more characters than JSON needs and sorts the keys of maps; reading
matches the names of fields without regard to case and turns broken text into U+FFFD.
"""

import json
from typing import NoReturn

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_TABLE = str.maketrans(_ESCAPES)


def dumps(value: object) -> str:
    """Compact JSON in Go's escaping, keys in the order of the given mappings (sort them first where they are Go
    maps).
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_TABLE)


def loads(data: bytes | str) -> object:
    """Parse JSON; raises ValueError for anything Go's reader refuses too."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def field(fields: dict[str, object], name: str) -> object:
    """The value of a struct's field: the last key equal to ``name`` without regard to case; None if there is none."""
    found = [value for key, value in fields.items() if key.lower() == name.lower()]
    return found[-1] if found else None


def string(value: object, what: str) -> str:
    """A string field's value, where null counts as empty; raises ValueError for any other type."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{what} has to be a string")
    # An unpaired surrogate, possible in JSON escapes only, is no text.
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
