"""Conditions: what is true of one object, why, and since when. Plain data, stored as JSON by the reconcilers.

The states are the closed list of the interface (`apps/dashboard` maps each to a shape): `ok`, `work` moves by itself,
`wait` stands still until something named happens, `ask` until a person decides, `warn` works but less than wanted,
`bad` stopped and a person has to act, `off` not there, `idle` not in use, `unknown` never reported.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal

State = Literal["ok", "work", "wait", "ask", "warn", "bad", "off", "idle", "unknown"]
WORST_FIRST: tuple[State, ...] = ("bad", "ask", "warn", "wait", "work", "off", "unknown", "idle", "ok")


@dataclass(frozen=True)
class Shown:
    """The state of an object as people see it: a shape of the interface, a word, a sentence."""

    shape: State
    word: str
    sentence: str


@dataclass(frozen=True)
class Condition:
    """One named fact of an object. `message` is a sentence for people; `since` an RFC 3339 stamp, set by `merge`."""

    name: str
    state: State
    message: str
    since: str = ""


def merge(old: Iterable[dict[str, Any]], new: Iterable[Condition], now: datetime) -> list[dict[str, Any]]:
    """The new conditions as JSON, each keeping its `since` while name and state stay the same."""
    known = {(item["name"], item["state"]): item["since"] for item in old}
    stamp = now.isoformat()
    return [asdict(replace(item, since=known.get((item.name, item.state), stamp))) for item in new]
