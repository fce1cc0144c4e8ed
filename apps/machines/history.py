"""Reading what machines told of themselves: events and kernel log lines, filtered, from their newest end.

Lines are numbered over a machine's life, so whoever knows a number can go on behind it, whatever rebooted meanwhile.
Reading on costs what is new, not what is kept.
"""

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet

from apps.machines.models import LogChunk, Machine, MachineEvent

LEVELS = ("debug", "info", "warn", "error")

FACILITIES = ("kern", "user", "daemon", "auth", "syslog", "cron", "authpriv", "mail", "local0")
"""Facilities that Talos machines use; a filter takes any word."""

EVENT_KINDS = {
    "MachineStatusEvent": "Status",
    "SequenceEvent": "Sequence",
    "PhaseEvent": "Phase",
    "TaskEvent": "Task",
    "ServiceStateEvent": "Service",
    "ConfigLoadErrorEvent": "Config",
    "ConfigValidationErrorEvent": "Config",
    "AddressEvent": "Address",
    "RestartEvent": "Restart",
}
"""Kinds of events that Talos has, each with a word for it."""

LONGEST_TEXT = 200
"""Characters of the longest text that is searched for."""

_CHUNKS_AT_ONCE = 20
_SPAN = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class LogLine:
    """A kernel log line taken apart; `level` is one of `LEVELS`. What a line does not say is empty."""

    at: str
    level: str
    text: str
    facility: str = ""
    sequence: int | None = field(default=None, compare=False)  # the kernel's number; begins anew with each boot


@dataclass(frozen=True)
class NumberedLine:
    """A line with its number over the machine's life. `boot`: between it and the line before, the machine booted."""

    number: int
    line: LogLine
    boot: bool = False


@dataclass(frozen=True)
class LogPage:
    """Lines in their order. `last` is the newest number there is; `cut`: older ones that match may be left out."""

    lines: list[NumberedLine]
    last: int
    cut: bool


@dataclass(frozen=True)
class LogFilter:
    """Which lines are wanted: with a text in them, of at least a level, of a facility, received since a time."""

    text: str = ""
    level: str = ""
    facility: str = ""
    since: datetime | None = None

    @classmethod
    def read(cls, given: Mapping[str, str], now: datetime) -> "LogFilter":
        """The filter of an address (`q`, `level`, `facility`, `since`). Raises ValidationError naming the field."""
        level = given.get("level", "")
        if level and level not in LEVELS:
            raise ValidationError({"level": f"{level[:20]!r} is no level; choose one of {', '.join(LEVELS)}."})
        text = _text(given)
        return cls(text.lower(), level, given.get("facility", "")[:20], read_since(given.get("since", ""), now))

    def wants(self, line: LogLine) -> bool:
        """Whether a line is wanted. A line that names no level or facility is not, where one is asked for."""
        if self.level and (not line.level or LEVELS.index(line.level) < LEVELS.index(self.level)):
            return False
        if self.facility and line.facility != self.facility:
            return False
        return not self.text or self.text in line.text.lower()


@dataclass(frozen=True)
class EventFilter:
    """Which events are wanted: with a text in their summary, of a kind, received since a time."""

    text: str = ""
    kind: str = ""
    since: datetime | None = None

    @classmethod
    def read(cls, given: Mapping[str, str], now: datetime) -> "EventFilter":
        """The filter of an address (`q`, `kind`, `since`). Raises ValidationError naming the field."""
        kind = given.get("kind", "")
        if kind and kind not in EVENT_KINDS:
            raise ValidationError({"kind": f"{kind[:40]!r} is no kind; choose one of {', '.join(EVENT_KINDS)}."})
        return cls(_text(given), kind, read_since(given.get("since", ""), now))


def _text(given: Mapping[str, str]) -> str:
    text = given.get("q", "").strip()
    if "\0" in text or len(text) > LONGEST_TEXT:
        raise ValidationError({"q": f"Search for at most {LONGEST_TEXT} characters, without NUL."})
    return text


def read_since(text: str, now: datetime) -> datetime | None:
    """The time that `90s`, `15m`, `2h` or `3d` ago was, or a time in ISO 8601 (UTC unless it says otherwise).

    None for an empty text. Raises ValidationError.
    """
    if not text:
        return None
    try:
        if span := _SPAN.fullmatch(text):
            return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        wanted = "give a span like 15m, 2h or 3d, or a time like 2026-08-21T10:12"
        raise ValidationError({"since": f"{text[:40]!r} is no time; {wanted}."}) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def events(machine: Machine, wanted: EventFilter, limit: int, after: UUID | None = None) -> list[MachineEvent]:
    """The newest events, newest first; with `after` only those behind that one."""
    rows: QuerySet[MachineEvent] = MachineEvent.objects.filter(machine=machine).order_by("-id")
    narrowed = Q(summary__icontains=wanted.text) if wanted.text else Q()
    if wanted.kind:
        narrowed &= Q(kind=wanted.kind)
    if wanted.since:
        narrowed &= Q(at__gte=wanted.since)
    if after:
        narrowed &= Q(id__gt=after)
    return list(rows.filter(narrowed)[:limit])


def log(machine: Machine, wanted: LogFilter, limit: int, after: int = 0, before: int | None = None) -> LogPage:
    """The newest `limit` lines that are wanted, of those between the numbers `after` and `before`."""
    found: list[NumberedLine] = []  # newest first
    last, newer, cut = after, None, False
    for number, raw in backwards(machine, after, before, wanted.since):
        last = max(last, number)
        line = read_log_line(raw)
        if line.sequence is not None:
            if newer is not None and newer < line.sequence and found:
                found[-1] = replace(found[-1], boot=True)
            newer = line.sequence
        if len(found) == limit:
            cut = True
            break
        if wanted.wants(line):
            found.append(NumberedLine(number, line))
    return LogPage(found[::-1], last, cut)


def log_lines(machine: Machine, tail: int | None = None, after: int = 0) -> list[tuple[int, bytes]]:
    """Lines as the machine sent them, with their numbers: those behind `after`, at most the last `tail` of them."""
    lines: list[tuple[int, bytes]] = []
    for item in backwards(machine, after):
        if tail is not None and len(lines) >= tail:
            break
        lines.append(item)
    return lines[::-1]


def backwards(
    machine: Machine, after: int = 0, before: int | None = None, since: datetime | None = None
) -> Iterator[tuple[int, bytes]]:
    """Numbered lines as the machine sent them, the newest first, read chunk by chunk: those between the numbers `after`
    and `before`, received since a time."""
    chunks: QuerySet[LogChunk] = LogChunk.objects.filter(machine=machine).order_by("-first_line")
    if after:
        begun = chunks.filter(first_line__lte=after + 1).values_list("first_line", flat=True).first()
        chunks = chunks.filter(first_line__gte=begun or 0)
    if before is not None:
        chunks = chunks.filter(first_line__lt=before)
    if since is not None:
        chunks = chunks.filter(at__gte=since)
    for chunk in chunks.iterator(chunk_size=_CHUNKS_AT_ONCE):
        lines = zlib.decompress(bytes(chunk.data)).split(b"\n")
        for number in range(chunk.first_line + len(lines) - 1, chunk.first_line - 1, -1):
            if number <= after:
                return
            if before is None or number < before:
                yield number, lines[number - chunk.first_line]


def read_log_line(line: bytes) -> LogLine:
    """Read a line as Talos sends it (JSON); anything else is shown as it came."""
    try:
        fields = json.loads(line)
        text = str(fields["msg"]).split("\n")[0]
        level, sequence = fields.get("talos-level"), fields.get("seq")
        return LogLine(
            str(fields.get("talos-time", "")),
            level if level in LEVELS else "",
            text,
            str(fields.get("facility", "")),
            sequence if isinstance(sequence, int) else None,
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return LogLine("", "", line.decode(errors="replace"))
