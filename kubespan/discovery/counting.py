"""What calls are counted by. Counting is cheap; `metrics.py` makes something readable of it."""

from bisect import bisect_left
from collections import Counter
from functools import lru_cache

BUCKETS = (0.01, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds; bounds of the histogram of how long calls take."""

VERSIONS = 200
"""Versions of clients that are told apart; there are fewer of Talos."""

UNKNOWN = "unknown"


class Method:
    """Calls of one method."""

    __slots__ = ("handled", "received", "seconds", "sent", "slots", "started")

    def __init__(self) -> None:
        self.started = self.received = self.sent = 0
        self.handled: Counter[str] = Counter()  # by name of the code
        self.slots = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0

    def ended(self, code: str, seconds: float) -> None:
        """A call that had started is over."""
        self.handled[code] += 1
        self.slots[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds


class Calls:
    """All methods, and who said hello."""

    def __init__(self) -> None:
        self.methods: dict[str, Method] = {}
        self.versions: Counter[str] = Counter()

    def method(self, name: str) -> Method:
        """The counters of one method."""
        return self.methods.setdefault(name, Method())

    def hello(self, version: str) -> None:
        """A client of this version said hello."""
        label = version_label(version)
        if label not in self.versions and len(self.versions) >= VERSIONS:
            label = UNKNOWN
        self.versions[label] += 1


@lru_cache(1024)
def version_label(version: str) -> str:
    """A version without what there is too much of: `v1.8` for `v1.8.3`, `v1.8-pre` for `v1.8.0-beta.1`."""
    parts = version[1:].split(".", 2)
    if not version.startswith("v") or len(parts) < 3 or not all(_short_number(part) for part in parts[:2]):
        return UNKNOWN
    return f"v{parts[0]}.{parts[1]}" + ("-pre" if "-" in parts[2] else "")


def _short_number(text: str) -> bool:
    return len(text) <= 3 and text.isascii() and text.isdigit()
