"""Events and kernel log lines: filtered, paged, followed, and whatever machines may say."""

import contextlib
import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from apps.machines import history
from apps.machines.history import EventFilter, LogFilter
from apps.machines.models import LogChunk, Machine, MachineEvent
from tests.apps.machines.desk import Desk

NOW = datetime(2026, 8, 21, 10, 30, tzinfo=UTC)
ALL = LogFilter()


@pytest.fixture
def logged(desk: Desk) -> Machine:
    """A machine with ten lines in three chunks."""
    link, _ = desk.joined()
    for first, count in ((1, 4), (5, 1), (6, 5)):
        data = zlib.compress(b"\n".join(b"line %d" % n for n in range(first, first + count)))
        desk.ask(
            lambda first=first, count=count, data=data: LogChunk.new(
                machine_id=link.machine_id, first_line=first, lines=count, at=timezone.now(), data=data
            )
        )
    return desk.ask(Machine.objects.get)


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({}, range(1, 11)),
        ({"tail": 3}, range(8, 11)),
        ({"tail": 0}, []),
        ({"tail": 100}, range(1, 11)),
        ({"after": 4}, range(5, 11)),
        ({"after": 7, "tail": 2}, range(9, 11)),
        ({"after": 10}, []),
        ({"after": 999}, []),
    ],
)
def test_log_lines(desk: Desk, logged: Machine, options: dict[str, int], numbers: Any) -> None:
    lines = desk.ask(lambda: history.log_lines(logged, **options))
    assert lines == [(n, b"line %d" % n) for n in numbers]


def test_a_line_taken_apart() -> None:
    line = {"msg": "[talos] up\nSUBSYSTEM=x\n", "talos-time": "2026-08-21T10:12:03.511Z", "talos-level": "warn"}
    assert history.read_log_line(json.dumps(line).encode()) == history.LogLine(
        "2026-08-21T10:12:03.511Z", "warn", "[talos] up"
    )
    for odd in (b"plain text", b"[]", b"3", b"{}", b'{"msg": 3}', b"\xff\xfe", b"[" * 10_000):
        assert history.read_log_line(odd).level == ""


def kmsg(text: str, sequence: int, level: str = "info", facility: str = "kern") -> bytes:
    fields = {"msg": f"{text}\n", "seq": sequence, "talos-level": level, "facility": facility, "talos-time": "T"}
    return json.dumps(fields).encode()


@pytest.fixture
def say(desk: Desk) -> Callable[..., Machine]:
    """`say([lines], [more])`: a machine that sent these chunks."""

    def write(*chunks: list[bytes], at: datetime | None = None) -> Machine:
        machine = desk.ask(Machine.objects.first) or desk.ask(
            lambda: Machine.objects.get(id=desk.joined()[0].machine_id)
        )
        for lines in chunks:
            newest = desk.ask(lambda: LogChunk.objects.order_by("-first_line").first())
            first = newest.first_line + newest.lines if newest else 1
            data = zlib.compress(b"\n".join(lines))
            desk.ask(
                lambda first=first, lines=lines, data=data: LogChunk.new(
                    machine=machine, first_line=first, lines=len(lines), at=at or timezone.now(), data=data
                )
            )
        return machine

    return write


def test_filters_of_lines(desk: Desk, say: Callable[..., Machine]) -> None:
    lines = [kmsg("one", 0), kmsg("two", 1, "warn", "user"), kmsg("Three", 2, "error"), b"four, as it came"]
    machine = say(lines[:2], lines[2:])

    def found(**given: str) -> list[int]:
        wanted = LogFilter.read(given, timezone.now())
        return [item.number for item in desk.ask(lambda: history.log(machine, wanted, 100)).lines]

    assert found() == [1, 2, 3, 4]
    assert found(level="warn") == [2, 3]
    assert found(facility="user") == [2]
    assert found(q="tHree") == [3]
    assert found(q="o", level="info") == [1, 2]
    assert found(q="nothing") == []


def test_pages_go_back_without_gap_or_overlap(desk: Desk, say: Callable[..., Machine]) -> None:
    machine = say(*([kmsg(f"{n}", n) for n in range(start, start + 7)] for start in range(0, 70, 7)))
    numbers: list[int] = []
    before, cut = None, True
    while cut:
        page = desk.ask(lambda before=before: history.log(machine, ALL, 9, before=before))
        numbers = [item.number for item in page.lines] + numbers
        before, cut = page.lines[0].number, page.cut
    assert numbers == list(range(1, 71))


def test_a_boot_is_marked_and_following_goes_over_it(desk: Desk, say: Callable[..., Machine]) -> None:
    machine = say([kmsg("a", 840), kmsg("b", 841)])
    seen = desk.ask(lambda: history.log(machine, ALL, 100)).last
    say([kmsg("c", 842), kmsg("Linux version", 0), kmsg("d", 1, "warn")])
    page = desk.ask(lambda: history.log(machine, ALL, 100, after=seen))
    assert [(item.number, item.boot) for item in page.lines] == [(3, False), (4, True), (5, False)]
    graver = desk.ask(lambda: history.log(machine, LogFilter(level="warn"), 100))
    assert [(item.number, item.boot) for item in graver.lines] == [(5, True)], "the line shown first after the boot"
    assert desk.ask(lambda: history.log(machine, ALL, 2)).lines[0].boot, "known from the line before the page"


def test_what_is_left_out_is_said(desk: Desk, say: Callable[..., Machine]) -> None:
    machine = say([kmsg(f"{n}", n) for n in range(10)])
    page = desk.ask(lambda: history.log(machine, ALL, 3, after=2))
    assert ([item.number for item in page.lines], page.last, page.cut) == ([8, 9, 10], 10, True)
    page = desk.ask(lambda: history.log(machine, ALL, 8, after=2))
    assert (len(page.lines), page.cut) == (8, False)
    assert desk.ask(lambda: history.log(machine, ALL, 8, after=10)) == history.LogPage([], 10, False)
    nothing = desk.ask(lambda: history.log(machine, LogFilter("nothing"), 8, after=2))
    assert (nothing.lines, nothing.last) == ([], 10), "whoever follows goes on behind what was not wanted"


def test_following_reads_what_is_new(desk: Desk, say: Callable[..., Machine]) -> None:
    """However much is kept: the chunks before are not fetched."""
    machine = say(*([kmsg(f"{n}", n)] for n in range(50)))

    taken: list[int] = []
    original = zlib.decompress
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history.zlib, "decompress", lambda data: taken.append(1) or original(data))
        page = desk.ask(lambda: history.log(machine, ALL, 100, after=48))
    assert [item.number for item in page.lines] == [49, 50]
    assert len(taken) == 2, "the two new chunks"


def test_since_is_when_it_was_received(desk: Desk, say: Callable[..., Machine]) -> None:
    now = timezone.now()
    machine = say([kmsg("old", 0)], at=now - timedelta(hours=2))
    say([kmsg("new", 1)], at=now)
    for text in ("1h", (now - timedelta(hours=1)).isoformat()):
        page = desk.ask(lambda text=text: history.log(machine, LogFilter.read({"since": text}, now), 10))
        assert [item.line.text for item in page.lines] == ["new"]


def test_filters_of_events(desk: Desk) -> None:
    desk.joined()
    machine = desk.ask(Machine.objects.get)
    now = timezone.now()
    for n, kind in enumerate(("PhaseEvent", "TaskEvent", "PhaseEvent")):
        at = now - timedelta(minutes=10 * (2 - n))
        desk.ask(lambda n=n, kind=kind, at=at: MachineEvent.new(machine=machine, at=at, kind=kind, summary=f"say {n}"))

    def found(**given: str) -> list[str]:
        return [row.summary for row in desk.ask(lambda: history.events(machine, EventFilter.read(given, now), 100))]

    assert found() == ["say 2", "say 1", "say 0"]
    assert found(kind="PhaseEvent") == ["say 2", "say 0"]
    assert found(q="SAY 1") == ["say 1"]
    assert found(since="15m") == ["say 2", "say 1"]
    newest = desk.ask(lambda: history.events(machine, EventFilter(), 1))[0]
    assert desk.ask(lambda: history.events(machine, EventFilter(), 10, newest.id)) == []


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("", None),
        ("90s", NOW - timedelta(seconds=90)),
        ("15m", NOW - timedelta(minutes=15)),
        ("3d", NOW - timedelta(days=3)),
        ("2026-08-21T10:12", datetime(2026, 8, 21, 10, 12, tzinfo=UTC)),
        ("2026-08-21T12:12:00+02:00", datetime(2026, 8, 21, 10, 12, tzinfo=UTC)),
        ("2026-08-21", datetime(2026, 8, 21, tzinfo=UTC)),
    ],
)
def test_since(text: str, moment: datetime | None) -> None:
    assert history.read_since(text, NOW) == moment


@given(st.text())
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    for name in ("q", "level", "facility", "kind", "since"):
        for kind in (LogFilter, EventFilter):
            with contextlib.suppress(ValidationError):
                kind.read({name: text}, NOW)


@pytest.mark.parametrize("text", ["yesterday", "999999d", "1w", "-5m", "2026-13-01", "٣m"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValidationError, match="is no time"):
        history.read_since(text, NOW)
