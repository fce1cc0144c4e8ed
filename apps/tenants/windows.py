"""A part of a long list, whatever its order."""

from typing import TypeVar

from django.db.models import Model, QuerySet

M = TypeVar("M", bound=Model)


def window(rows: QuerySet[M], start: int, stop: int) -> list[M]:
    """The rows from `start` to `stop` of an ordered query.

    Which rows these are is found first, by their keys alone: sorting thousands of whole, joined rows to throw nearly
    all of them away takes ten times as long.
    """
    keys = list(rows.values_list("pk", flat=True)[start:stop])
    found = {row.pk: row for row in rows.order_by().filter(pk__in=keys)}
    return [found[key] for key in keys if key in found]
