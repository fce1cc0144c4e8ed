"""Several services of one process: one order, copies, splits, a process that is gone or hangs."""

import asyncio
import contextlib
import socket

import pytest

from kubespan.discovery.limits import AFFILIATES, ENDPOINTS, Refused
from kubespan.discovery.records import Record
from kubespan.discovery.replicas import link as links
from kubespan.discovery.replicas import meeting
from kubespan.discovery.replicas.frames import TIME, VERSION, Greeting, Kind, frame
from kubespan.discovery.watching import Watch
from talos.gen.sidero import discovery_pb2 as pb
from tests.kubespan.discovery.circles import Service, Wires, circle, copied, eventually


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for each other often."""
    monkeypatch.setattr(meeting, "BEAT", 0.05)
    monkeypatch.setattr(meeting, "SILENCE", 1.0)
    monkeypatch.setattr(links, "GREETING_SECONDS", 0.5)


# One order.


async def test_a_write_is_seen_everywhere_when_it_is_acknowledged() -> None:
    async with circle("one", "two", "three") as (_, services):
        for n, service in enumerate(services * 4):
            await service.update(f"a{n}", b"data", b"endpoint", cluster=f"c{n}")
            assert all(one.seen(f"c{n}") == {f"a{n}": (b"data", {b"endpoint"})} for one in services)
            await services[n % 2].delete(f"a{n}", cluster=f"c{n}")
            assert all(one.seen(f"c{n}") == {} for one in services)


async def test_watchers_are_told_the_same_in_the_same_order() -> None:
    async with circle("one", "two", "three") as (_, services):
        told = {service.name: list[str]() for service in services}

        class Teller(Watch):
            def __init__(self, name: str) -> None:
                super().__init__()
                self.name = name

            def tell(self, affiliate_id, event, change) -> None:
                told[self.name].append(f"{affiliate_id} {event.hex()}")

        for service in services:
            service.core.state.subscribe("c", Teller(service.name))
        writes = [
            services[n % 3].update(f"a{n % 5}", b"%d" % n, b"%d" % (n % 7))
            if n % 4
            else services[n % 3].delete(f"a{n % 5}")
            for n in range(120)
        ]
        await asyncio.gather(*writes)
        await services[0].update("last", b"data")
        assert told["one"] == told["two"] == told["three"]
        assert len(told["one"]) > 60
        assert all(service.replicas.merged == 0 for service in services)


async def test_data_sent_again_is_told_everywhere_and_endpoints_sent_again_nowhere() -> None:
    async with circle("one", "two") as (_, (one, two)):
        await one.update("a", b"data", b"e")
        watches = [service.core.watch("c")[0] for service in (one, two)]
        await two.update("a", b"", b"e")
        assert [len(watch) for watch in watches] == [0, 0]
        await two.update("a", b"data", b"e")
        assert [len(watch) for watch in watches] == [1, 1]


async def test_limits_hold_for_all_together() -> None:
    async with circle("one", "two") as (_, services):
        await asyncio.gather(*(services[n % 2].update(f"a{n}", b"x") for n in range(AFFILIATES)))
        for service in services:
            with pytest.raises(Refused, match="too many affiliates"):
                await service.update("one more", b"x")
        for service in services:
            endpoints = [f"{service.name}{n}".encode() for n in range(ENDPOINTS + 3)]
            with pytest.raises(Refused, match="too many endpoints"):
                await service.update("a1", b"", *endpoints)
        assert services[0].seen() == services[1].seen()
        assert len(services[0].seen()) == AFFILIATES
        assert len(services[0].seen()["a1"][1]) == ENDPOINTS


async def test_what_a_client_does_not_wait_for_happens_all_the_same() -> None:
    async with circle("one", "two") as (_, services):
        writes = [asyncio.create_task(services[n % 2].update(f"a{n}", b"x")) for n in range(10)]
        await asyncio.sleep(0)
        for write in writes:
            write.cancel()
        await asyncio.gather(*writes, return_exceptions=True)
        await asyncio.gather(*(service.update("last", b"x") for service in services))
        assert services[0].seen() == services[1].seen()
        assert len(services[0].seen()) == 11


# Coming and going.


async def test_one_that_starts_has_everything_before_it_serves_and_nothing_that_is_gone() -> None:
    async with circle("one", "two") as (wires, services):
        writes = (services[n % 2].update(f"a{n}", b"x", b"1", b"2", cluster=f"c{n % 7}") for n in range(300))
        await asyncio.gather(*writes)
        third = Service(wires, "three")
        third.core.put(_record("c0", "old", b"from a file"))
        third.core.put(_record("c0", "a0", b"older", b"3"))
        writing = asyncio.create_task(_keep_writing(services[0]))
        await asyncio.wait_for(third.core.start(), 20)
        try:
            for n in range(7):
                assert set(third.seen(f"c{n}")) == set(services[0].seen(f"c{n}"))
            assert third.seen("c0")["a0"] in ((b"x", {b"1", b"2"}), (b"newer", {b"1", b"2"}))
            await asyncio.wait_for(writing, 20)
            await eventually(lambda: all(len(service.linked) == 2 for service in (*services, third)))
            await third.update("mine", b"x", cluster="c0")
            await eventually(lambda: all(third.seen(f"c{n}") == services[0].seen(f"c{n}") for n in range(7)))
            assert all(third.seen(f"c{n}") == services[1].seen(f"c{n}") for n in range(7))
        finally:
            await third.core.close()


@pytest.mark.parametrize("_", range(5))
async def test_all_that_start_at_once_put_together_what_they_have(_) -> None:
    wires = Wires(together=3)
    services = [Service(wires, name) for name in ("one", "two", "three")]
    for service in services:
        service.core.put(_record("c", service.name, b"x"))
        service.core.put(_record("c", "shared", b"x", service.name.encode()))
    await asyncio.gather(*(service.core.start() for service in services))
    try:
        await eventually(lambda: all(len(service.linked) == 2 for service in services))
        await copied(services)
        together = {"one", "two", "three", "shared"}
        assert all(set(service.seen()) == together for service in services)
        assert all(service.seen()["shared"][1] == {b"one", b"two", b"three"} for service in services)
    finally:
        for service in services:
            await service.core.close()


async def test_writes_go_on_while_one_after_the_other_is_restarted() -> None:
    """No write fails, none is lost, and nobody who watches hears of a deletion."""
    async with circle("one", "two", "three") as (wires, services):
        watches = [service.core.watch("c")[0] for service in services]
        events = [asyncio.create_task(_deletions(watch)) for watch in watches]
        living = list(services)
        written: list[str] = []
        ended = asyncio.Event()

        async def write(offset: int) -> None:
            n = offset
            while not ended.is_set():
                await living[n % len(living)].update(f"a{n % 100}", b"%d" % n)
                written.append(f"a{n % 100}")
                n += 3
                await asyncio.sleep(0)

        writers = [asyncio.create_task(write(n)) for n in range(3)]
        for at in range(3):
            leaving = services[at]
            living.remove(leaving)
            await leaving.core.drain()
            await leaving.core.close()
            count = len(written)
            await eventually(lambda count=count: len(written) > count + 20)
            services[at] = Service(wires, leaving.name)
            await asyncio.wait_for(services[at].core.start(), 20)
            living.append(services[at])
        ended.set()
        await asyncio.gather(*writers)
        await copied(services)
        assert set(services[0].seen()) == set(written)
        assert services[0].seen() == services[1].seen() == services[2].seen()
        for watch in watches:
            watch.end()
        assert [await told for told in events] == [[], [], []]


# Splits, and those that hang.


async def test_both_sides_of_a_split_go_on_and_find_together_again() -> None:
    async with circle("one", "two", "three") as (wires, services):
        one, two, three = services
        for n in range(20):
            await one.update(f"a{n}", b"before", b"e")
        watches = [service.core.watch("c")[0] for service in services]
        told = [asyncio.create_task(_deletions(watch)) for watch in watches]
        wires.split(["one", "two"], ["three"])
        await eventually(lambda: not three.linked and two.linked == {"one"})
        await two.update("a0", b"there", b"there")
        await three.update("a1", b"here", b"here")
        await one.update("a2", b"", b"one side")
        await three.update("a2", b"", b"other side")
        await three.update("new", b"here")
        await two.delete("a3")
        await three.update("a4", b"moved", ttl=90)
        await one.delete("a4")
        wires.heal()
        await eventually(lambda: len(three.linked) == 2)
        await copied(services)
        expected = {f"a{n}": (b"before", {b"e"}) for n in range(20)}
        expected["a0"] = b"there", {b"e", b"there"}
        expected["a1"] = b"here", {b"e", b"here"}
        expected["a2"] = b"before", {b"e", b"one side", b"other side"}
        expected["new"] = b"here", set()
        expected["a4"] = b"moved", set()
        del expected["a3"]
        assert [service.seen() for service in services] == [expected] * 3
        for watch in watches:
            watch.end()
        assert set().union(*[await one for one in told]) <= {"a3", "a4"}
        await one.update("a0", b"after")
        assert [service.seen()["a0"] for service in services] == [(b"after", {b"e", b"there"})] * 3


async def test_who_orders_at_the_same_time_as_another_loses_nothing() -> None:
    """Two that do not know yet that the other one lives."""
    async with circle("one", "two") as (_, (one, two)):
        await one.update("a", b"old", b"0")
        for service in (one, two):
            for link in service.replicas.meeting.links.values():
                link.serving = False
        await asyncio.gather(
            one.update("a", b"", b"1"), two.update("a", b"", b"2"), one.update("b", b"1"), two.delete("c")
        )
        await eventually(lambda: one.seen() == two.seen() == {"a": (b"old", {b"0", b"1", b"2"}), "b": (b"1", set())})
        assert one.replicas.merged
        assert two.replicas.merged


async def test_one_that_hangs_keeps_writes_waiting_only_until_it_counts_as_gone() -> None:
    async with circle("one", "two") as (wires, (one, two)):
        wires.cut.add(frozenset(("one", "two")))
        for link in two.replicas.meeting.links.values():
            link._reader._transport.pause_reading()  # type: ignore[attr-defined]
            link.send = lambda data: None  # type: ignore[method-assign]
            link.have = lambda number: None  # type: ignore[method-assign]
        for n in range(8):
            await one.update("a", b"x", cluster=f"c{n}")
            assert one.seen(f"c{n}")


async def test_one_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "SILENCE", 60.0)
    monkeypatch.setattr(links, "HELD", 100_000)
    async with circle("one", "two") as (wires, (one, two)):
        wires.cut.add(frozenset(("one", "two")))
        for link in two.replicas.meeting.links.values():
            link._reader._transport.pause_reading()  # type: ignore[attr-defined]
        for link in one.replicas.meeting.links.values():
            link._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        writes = [asyncio.create_task(one.update(f"a{n}", bytes(2000), cluster=f"c{n % 9}")) for n in range(2000)]
        await asyncio.gather(*writes)
        assert not one.linked


async def test_who_sends_rubbish_is_sent_away_and_nobody_else_is_disturbed() -> None:
    async with circle("one", "two") as (wires, (one, two)):
        address = wires.servers["one"].sockets[0].getsockname()[:2]
        greeting = Greeting(77, "rubbish", True).encode() + b"chosen\n"
        one.replicas.meeting.id = 1 << 63  # the other end chooses
        for said in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01" + bytes(300),
            greeting.replace(b'"omni-discovery": %d' % VERSION, b'"omni-discovery": 0'),
            b"x" * 100_000 + b"\n",
            greeting + b"\xff" * 9,
            greeting + frame(Kind.RECORD, b"short"),
            greeting + frame(Kind.HAVE, b"short"),
            greeting + frame(Kind.REQUEST, bytes(9) + b"\xff\xff"),
            greeting + frame(Kind.COPY, TIME.pack(1.0) + b"\x0a\xff"),
            greeting + frame(Kind.ANSWER, bytes(8) + b"\xff"),
            greeting + frame(Kind.COPY, TIME.pack(1.0) + b"\x0a\x02\xff\xff"),
            greeting + frame(Kind.ALIVE, b""),
        ):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(said)
            await asyncio.wait_for(_until_end(reader), 10)
            writer.close()
            await one.update("a", said[:20])
            assert two.seen() == one.seen() == {"a": (said[:20], set())}
        await eventually(lambda: one.linked == {"two"})


async def test_a_service_does_not_take_itself_for_another_one() -> None:
    wires = Wires()
    service = Service(wires, "one")
    await service.core.start()
    try:
        await asyncio.sleep(0.2)
        assert service.linked == set()
        await service.update("a", b"x")
    finally:
        await service.core.close()


@pytest.mark.parametrize("_", range(5))
async def test_two_that_find_each_other_at_once_keep_one_stream(_) -> None:
    wires = Wires()
    services = [Service(wires, name) for name in ("one", "two")]
    await asyncio.gather(*(service.core.start() for service in services))
    try:
        await eventually(lambda: all(len(service.linked) == 1 for service in services))
        await services[0].update("a", b"x")
        assert services[1].seen() == {"a": (b"x", set())}
    finally:
        for service in services:
            await service.core.close()


def _record(cluster: str, affiliate: str, data: bytes, *endpoints: bytes) -> Record:
    return Record(cluster, affiliate, data, tuple((endpoint, 30.0) for endpoint in endpoints), 30.0)


async def _keep_writing(service: Service) -> None:
    for n in range(200):
        await service.update(f"a{n}", b"newer", cluster=f"c{n % 7}")


async def _deletions(watch: Watch) -> list[str]:
    """Ids that a watcher was told are gone, until its end."""
    gone = []
    while (event := await watch.next()) is not None:
        response = pb.WatchResponse.FromString(event)
        if response.deleted:
            gone.append(response.affiliates[0].id)
    return gone


async def _until_end(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionResetError):
        while await reader.read(65536):
            pass
