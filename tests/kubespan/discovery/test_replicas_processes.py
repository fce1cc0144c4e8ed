"""Processes that know of each other: killed, restarted one by one, split; and strangers that would like to be one."""

import asyncio
import contextlib
import ssl
import sys
from pathlib import Path

import pytest

from kubespan.discovery.replicas.frames import Greeting, Kind, frame
from kubespan.discovery.service import SERVICE
from talos.gen.sidero import discovery_pb2 as pb
from tests.kubespan.discovery.circles import eventually
from tests.kubespan.discovery.processes import HOST, Process, Relay, Writers, identity, processes, start

WRITERS = 6


async def test_a_process_that_is_killed_takes_nothing_with_it(tmp_path: Path) -> None:
    async with processes(tmp_path, 3) as all_three, asyncio.TaskGroup() as tasks:
        await start(all_three)
        writers = Writers(list(all_three))
        for number in range(WRITERS):
            tasks.create_task(writers.write(number, f"c{number}"))
        for process in all_three:  # among them is the owner of each cluster
            await writers.more(100)
            writers.living.remove(process)
            await process.kill()
            known = dict(writers.acknowledged)
            for other in writers.living:
                for number in range(WRITERS):
                    data = (await other.list(f"c{number}"))[f"a{number}"]
                    assert int(data) >= known[f"a{number}"]
            await writers.more(100)
            await process.start()
            writers.living.append(process)
        writers.end()


async def test_a_rolling_restart_fails_no_write_and_deletes_nothing(tmp_path: Path) -> None:
    async with processes(tmp_path, 2) as both, asyncio.TaskGroup() as tasks:
        await start(both)
        writers = Writers(list(both))
        for number in range(WRITERS):
            tasks.create_task(writers.write(number, "c"))
        await writers.more(50)
        for process, other in (both, both[::-1]):
            watching = tasks.create_task(_watch(other))
            writers.living.remove(process)
            await process.stop()
            await writers.more(50)
            await process.start()
            assert set(await process.list("c")) == {f"a{number}" for number in range(WRITERS)}
            writers.living.append(process)
            await writers.more(50)
            assert watching.cancel()
        writers.end()


async def test_a_split_heals(tmp_path: Path) -> None:
    async with processes(tmp_path, 2) as (one, other):
        relays = [Relay(other.peer), Relay(one.peer)]
        one.peers, other.peers = [relays[0].port], [relays[1].port]
        for relay in relays:
            await relay.open()
        await start([one, other])
        await eventually(lambda: _together(one, other))
        for relay in relays:
            relay.cut()
        await one.update("c", "here", b"x")
        await other.update("c", "there", b"x")
        await other.update("c", "a", b"newer")
        assert await one.list("c") == {"a": b"x", "here": b"x"}
        for relay in relays:
            await relay.open()
        expected = {"a": b"newer", "here": b"x", "there": b"x"}
        await eventually(lambda: _lists([one, other], expected))
        await one.delete("c", "a")
        assert "a" not in await other.list("c")


async def test_strangers_are_refused(tmp_path: Path) -> None:
    identity(tmp_path / "foreign")
    async with processes(tmp_path, 1) as (process,):
        await start([process])
        foreign = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        foreign.check_hostname, foreign.verify_mode = False, ssl.CERT_NONE
        anonymous = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anonymous.check_hostname, anonymous.verify_mode = False, ssl.CERT_NONE
        foreign.load_cert_chain(tmp_path / "foreign" / "peer.crt", tmp_path / "foreign" / "peer.key")
        said = Greeting(5, "stranger", True).encode() + frame(Kind.COPY, b"") + frame(Kind.COPIED)
        for tls in (None, anonymous, foreign):
            assert b"omni-discovery" not in await _answer(process.peer, tls, said)
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        own.check_hostname, own.verify_mode = False, ssl.CERT_NONE
        own.load_cert_chain(tmp_path / "peer.crt", tmp_path / "peer.key")
        assert b"omni-discovery" in await _answer(process.peer, own, b"GET / HTTP/1.0\r\n\r\n")
        await process.update("c", "a", b"x")
        assert await process.list("c") == {"a": b"x"}


async def _answer(port: int, tls: ssl.SSLContext | None, said: bytes) -> bytes:
    """All that a process says to somebody, until it has enough of them."""
    answer = b""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(HOST, port, ssl=tls)
        writer.write(said)
        with contextlib.suppress(OSError):
            async with asyncio.timeout(20):
                while data := await reader.read(4096):
                    answer += data
        writer.transport.abort()
    return answer


async def _together(one: Process, other: Process) -> bool:
    await one.update("c", "a", b"x")
    return await other.list("c") == {"a": b"x"}


async def _lists(some: list[Process], expected: dict[str, bytes]) -> bool:
    return all([await process.list("c") == expected for process in some])


async def _watch(process: Process) -> None:
    """Fails when it hears of a deletion, or of fewer affiliates than there are."""
    request = pb.WatchRequest(cluster_id="c").SerializeToString()
    first = True
    async for event in process.channel.unary_stream(f"/{SERVICE}/Watch")(request):
        told = pb.WatchResponse.FromString(event)
        assert not told.deleted
        if first:
            assert len(told.affiliates) == WRITERS
        first = False


@pytest.mark.parametrize("files", [("authority",), ("authority", "certificate")])
async def test_half_an_identity_is_none(files: tuple[str, ...]) -> None:
    arguments = [part for file in files for part in (f"--peer-{file}", "x.pem")]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "omni", "discovery", "--peer-listen", "127.0.0.1:1", *arguments),
        stderr=asyncio.subprocess.PIPE,
    )
    _, error = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    assert b"given together" in error
