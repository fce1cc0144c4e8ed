"""Reading bodies: JSON whose texts can be stored."""

from collections.abc import Iterator, Mapping
from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser


class StorableJSONParser(JSONParser):
    """JSON that PostgreSQL can hold: texts without NUL and half characters, nested no deeper than Python reads."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """Raises ParseError."""
        try:
            data = super().parse(stream, media_type, parser_context)
            for text in _texts(data):
                _check(text)
        except RecursionError:
            raise ParseError("JSON parse error - nested too deeply") from None
        return data


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _check(text: str) -> None:
    if "\0" in text:
        raise ParseError("JSON parse error - a text holds a NUL character (\\u0000), which cannot be stored")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ParseError("JSON parse error - a text holds half of a surrogate pair, which is no character") from None
