"""Reading what machines say that cannot call us: lines of Dmesg, and where one left off."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import grpc
import pytest

from nodeagent import errors
from nodeagent.overhear import LINE_LIMIT, Overhearing, as_json
from nodeagent.simulator.kmsg import KernelLog
from talos.gen.machine import machine_pb2


async def test_a_line_of_dmesg_says_the_same_as_the_line_a_machine_sends() -> None:
    log = KernelLog()
    log.talos("hello: [world]")
    message = await anext(aiter(log.read()))
    at, line = as_json(message.dmesg_line())
    sent = json.loads(message.json_line())
    told = json.loads(line)
    assert at is not None
    assert abs((at - datetime.fromisoformat(sent["talos-time"])).total_seconds()) < 1e-5
    assert told == {key: sent[key] for key in told} | {"msg": message.text}


@pytest.mark.parametrize(
    ("line", "level"),
    [
        (b"kern:    info: [2026-01-02T03:04:05.123456789Z]: text\n", "info"),
        (b"kern: warning: [2026-01-02T03:04:05Z]: text", "warn"),
        (b"user:     err: [2026-01-02T03:04:05.1Z]: text", "error"),
    ],
)
def test_levels(line: bytes, level: str) -> None:
    at, told = as_json(line)
    assert at is not None
    assert at.replace(microsecond=0) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert json.loads(told)["talos-level"] == level


@pytest.mark.parametrize("line", [b"", b"no form at all", b"kern: info: [yesterday, at about noon]: x", b"\xff: \xff"])
def test_other_lines_are_told_as_they_are(line: bytes) -> None:
    assert as_json(line) == (None, line)


@pytest.mark.parametrize("head", [b"", b"kern: info: [2026-01-02T03:04:05.123456789Z]: "])
def test_a_line_stays_one_line_of_bounded_length(head: bytes) -> None:
    _, told = as_json(head + b"one\ntwo\n" + b"x" * (4 << 20))
    assert b"one two" in told
    assert b"\n" not in told
    assert len(told) < LINE_LIMIT + 200


class FakeClient:
    """Says the same at each connection, then breaks."""

    def __init__(self, *ids: str) -> None:
        self.ids, self.asked = ids, list[int]()

    async def events(self, *, tail: int) -> AsyncIterator[machine_pb2.Event]:
        self.asked.append(tail)
        for id in self.ids:
            yield machine_pb2.Event(id=id)
        raise errors.WatchLost("m1", "Events", grpc.StatusCode.OK, "gone")


async def test_nothing_is_told_twice() -> None:
    told: list[str] = []

    async def take(event: machine_pb2.Event) -> None:
        told.append(event.id)

    client, heard = FakeClient("a", "b"), Overhearing(new=True)
    for ids in (("a", "b"), ("b", "c"), ("c", "d")):
        client.ids = ids
        with pytest.raises(errors.WatchLost):
            await heard.events(client, take)  # type: ignore[arg-type]
    assert told == ["a", "b", "c", "d"]
    assert client.asked == [-1, -1, -1]
    known = FakeClient()
    with pytest.raises(errors.WatchLost):
        await Overhearing(new=False).events(known, take)  # type: ignore[arg-type]
    assert known.asked == [0]


async def test_a_machine_that_does_not_offer_it_is_left_in_peace() -> None:
    class Old:
        async def events(self, *, tail: int) -> AsyncIterator[machine_pb2.Event]:
            raise errors.Unsupported("m1", "Events", grpc.StatusCode.UNIMPLEMENTED, "no")
            yield

    task = asyncio.ensure_future(Overhearing(new=True).events(Old(), None))  # type: ignore[arg-type]
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
