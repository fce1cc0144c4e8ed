"""Which resources a label query or an id query selects."""

import re
from collections.abc import Mapping, Sequence

from talos.gen.cosi.resource_pb2 import IDQuery, LabelQuery, LabelTerm

_NUMBER = re.compile(r"(-?\d+)\s*([ptgmk]i?)?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


class QueryError(ValueError):
    """A query that cannot be evaluated."""


def matches(labels: Mapping[str, str], queries: Sequence[LabelQuery]) -> bool:
    """Whether one of the queries holds, or there is none. All terms of a query must hold. Raises QueryError."""
    return not queries or any(all(_holds(labels, term) for term in query.terms) for query in queries)


def matches_id(identifier: str, query: IDQuery) -> bool:
    """Whether the expression is found in the id; an empty one is. Raises QueryError."""
    try:
        return re.search(query.regexp, identifier) is not None
    except re.error as error:
        raise QueryError(f"the regular expression {query.regexp!r} is not valid: {error}") from error


def number(text: str) -> int | None:
    """The integer of a label value; units such as k, M, Gi multiply it, and what follows the unit is not read."""
    found = _NUMBER.match(text.strip())
    if not found or (not found[2] and found.end() != len(text.strip())):
        return None
    unit = (found[2] or "").lower()
    return int(found[1]) * (1024 if unit.endswith("i") else 1000) ** _POWERS[unit.removesuffix("i")]


def _holds(labels: Mapping[str, str], term: LabelTerm) -> bool:
    result = _compare(labels, term)
    return False if result is None else result != term.invert


def _compare(labels: Mapping[str, str], term: LabelTerm) -> bool | None:
    """Whether a term holds before inversion; None when it can hold neither way."""
    ordered = term.op in (LabelTerm.LT, LabelTerm.LTE, LabelTerm.LT_NUMERIC, LabelTerm.LTE_NUMERIC)
    if term.op == LabelTerm.NOT_EXISTS:
        return term.key not in labels
    if term.key not in labels:
        return None if ordered else False
    value = labels[term.key]
    if term.op == LabelTerm.EXISTS:
        return True
    if term.op == LabelTerm.IN:
        return value in term.value
    if not term.value:
        raise QueryError(f"the query for label {term.key!r} has no value to compare with")
    operand = term.value[0]
    if term.op == LabelTerm.EQUAL:
        return value == operand
    if term.op == LabelTerm.LT:
        return value < operand
    if term.op == LabelTerm.LTE:
        return value <= operand
    left, right = number(value), number(operand)
    if left is None or right is None:
        return None
    return left < right if term.op == LabelTerm.LT_NUMERIC else left <= right
