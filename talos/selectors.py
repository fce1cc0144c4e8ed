"""Label selectors as Kubernetes and the template format write them: `key`, `!key`, `key = value`, `key in (a, b)`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

LENGTH_LIMIT = 1024
"""Characters of the longest selector."""

_TERM = re.compile(
    r"""\s*(?:
        (?P<absent>!)\s*(?P<absent_key>[^\s!=<>,()]+)
      | (?P<key>[^\s!=<>,()]+)\s*(?:
            (?P<set>in|notin)\s*\(\s*(?P<values>[^()]*)\)
          | (?P<op>==|=|!=|<=|>=|<|>)\s*(?P<value>[^\s,()=!<>]*)
        )?
    )\s*(?:,|$)""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Term:
    """One requirement. `op`: exists, absent, in, notin, <, <=, >, >=."""

    key: str
    op: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        held = labels.get(self.key)
        match self.op:
            case "exists":
                return held is not None
            case "absent":
                return held is None
            case "in":
                return held in self.values
            case "notin":
                return held not in self.values
        return held is not None and _compare(held, self.op, self.values[0])


def _compare(held: str, op: str, wanted: str) -> bool:
    left, right = _number(held), _number(wanted)
    if left is None or right is None:
        return False
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[op]


def _number(text: str) -> float | None:
    match = re.match(r"-?\d+(\.\d+)?", text)
    return float(match[0]) if match else None


def parse_selector(text: str) -> tuple[Term, ...]:
    """Read one selector; its terms must all match. Raises ValueError with the place that does not parse."""
    if len(text) > LENGTH_LIMIT:
        raise ValueError(f"the selector has {len(text)} characters; at most {LENGTH_LIMIT} are read")
    terms, position = [], 0
    while position < len(text):
        match = _TERM.match(text, position)
        if match is None or match.end() == position:
            raise ValueError(f"the selector “{text}” does not parse at “{text[position:].strip()}”")
        terms.append(_term(match))
        position = match.end()
    if not terms:
        raise ValueError("the selector is empty; write for example “zone = a”")
    return tuple(terms)


def _term(match: re.Match[str]) -> Term:
    if match["absent"]:
        return Term(match["absent_key"], "absent")
    key, op = match["key"], match["op"]
    if match["set"]:
        values = tuple(value.strip() for value in match["values"].split(",") if value.strip())
        if not values:
            raise ValueError(f"{key} {match['set']} (…) needs at least one value")
        return Term(key, match["set"], values)
    if op is None:
        return Term(key, "exists")
    if op in ("=", "=="):
        return Term(key, "in", (match["value"],))
    if op == "!=":
        return Term(key, "notin", (match["value"],))
    return Term(key, op, (match["value"],))


def matches_any(selectors: Iterable[str], labels: Mapping[str, str]) -> bool:
    """Whether any of the selectors matches these labels."""
    return any(all(term.matches(labels) for term in parse_selector(selector)) for selector in selectors)
