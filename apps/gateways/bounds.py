"""What machines say, cut to what the tables take: one that talks nonsense must not keep others from being written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import connection, models

from apps.machines.models import MachineObservation

TEXT_LIMIT = 16 * 1024
"""Characters of the longest text that is kept."""

JSON_LIMIT = 256 * 1024
"""Characters of the largest structure that is kept of a machine; of a larger one nothing is."""

LIST_LIMIT = 256
"""Items of an array column."""

_COLUMNS: dict[str, models.Field[Any, Any]] = {field.name: field for field in MachineObservation._meta.local_fields}

TYPES = {name: str(field.db_type(connection)) for name, field in _COLUMNS.items()}
"""What PostgreSQL calls the type of each column."""


def fitting(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of observation columns as the columns take them. Raises KeyError for a column that does not exist."""
    return {name: _fit(_COLUMNS[name], value) for name, value in values.items()}


def _fit(column: models.Field[Any, Any], value: Any) -> Any:
    match column:
        case models.JSONField():
            return structure(value, JSON_LIMIT)
        case ArrayField():
            return [text(str(item), column.base_field.max_length or TEXT_LIMIT) for item in value[:LIST_LIMIT]]
        case models.BigIntegerField():
            return max(-(2**63), min(int(value), 2**63 - 1))
        case models.IntegerField():
            return max(-(2**31), min(int(value), 2**31 - 1))
        case models.CharField() | models.TextField():
            return text(str(value), column.max_length or TEXT_LIMIT)
    return value


def text(value: str, limit: int) -> str:
    """A text that PostgreSQL stores: without NUL and unpaired surrogates, at most `limit` characters."""
    if len(value) <= limit and value.isascii() and "\0" not in value:
        return value  # nearly always: the very object, not another one beside it
    return value[:limit].replace("\0", "").encode("utf-8", "replace").decode()


def structure(value: Any, limit: int) -> Any:
    """A JSON value that PostgreSQL stores; the empty one of its kind when its text is longer than `limit`."""
    kept = _plain(value)
    return kept if len(json.dumps(kept, ensure_ascii=False)) <= limit else type(kept)()


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {text(str(key), TEXT_LIMIT): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case None | bool() | int():
            return value
        case float() if isfinite(value):
            return value
    return text(str(value), TEXT_LIMIT)
