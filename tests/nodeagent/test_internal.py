"""Connections between our own processes: who holds the internal certificate is let in, nobody else."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nodeagent import dial, internal
from nodeagent.dial import Stream
from nodeagent.internal import Identity
from omni import keys
from omni.config import Config

HOST, MACHINE = "127.0.0.1", "fdae:41e4:649b:9303::7"


def identity(folder: Path) -> Identity:
    """A new installation's."""
    config = Config(data=folder)
    keys.prepare(config)
    return keys.identity(config)


@asynccontextmanager
async def gateway(who: Identity, dials: dial.Dial, here: dial.Dial) -> AsyncIterator[tuple[str, int]]:
    server = await dial.serve_internal(HOST, 0, who, dials, here)
    yield server.sockets[0].getsockname()[:2]
    server.close()


async def echo(address: str, port: int) -> Stream:
    """Any machine, whose ports say what they hear."""
    return await asyncio.open_connection(HOST, await _echo_port())


async def _echo_port() -> int:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await dial.pump(reader, writer)

    server = await asyncio.start_server(answer, HOST, 0)
    return int(server.sockets[0].getsockname()[1])


async def said_to(host: str, port: int, context: ssl.SSLContext) -> bytes:
    """What somebody with these certificates is answered."""
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=internal.NAME)
        writer.write(json.dumps({"address": MACHINE, "port": 50000}).encode() + b"\n")
        return await reader.readline()
    except OSError:
        return b""


async def nobody(address: str, port: int) -> Stream:
    raise OSError(113, "not held here")


async def test_a_machine_is_reached_through_another_hosts_gateway(tmp_path: Path) -> None:
    who = identity(tmp_path)
    async with gateway(who, echo, nobody) as address:
        reader, writer = await dial.through_host(address, who, MACHINE, 50000)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()


async def test_a_gateway_that_was_asked_by_another_asks_no_third(tmp_path: Path) -> None:
    who = identity(tmp_path)
    async with gateway(who, echo, nobody) as address:
        with pytest.raises(OSError, match="not held here"):
            await dial.through_host(address, who, MACHINE, 50000, here=True)


async def test_others_are_not_heard(tmp_path: Path) -> None:
    """Without a certificate, with another installation's, or with this one's certificate for the public port."""
    who, stranger = identity(tmp_path / "ours"), identity(tmp_path / "theirs")
    public = Identity(who.authority, tmp_path / "ours" / "server.crt", tmp_path / "ours" / "server.key")
    async with gateway(who, echo, echo) as (host, port):
        nameless = ssl.create_default_context(cafile=str(who.authority))
        foreign = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        foreign.load_verify_locations(who.authority)
        foreign.load_cert_chain(stranger.certificate, stranger.key)
        for context in (nameless, foreign, public.client):
            assert await said_to(host, port, context) == b""


async def test_nobody_else_is_spoken_to(tmp_path: Path) -> None:
    """Whoever took over a gateway's address shows no certificate of ours."""
    who, stranger = identity(tmp_path / "ours"), identity(tmp_path / "theirs")
    async with gateway(stranger, echo, echo) as address:
        with pytest.raises(ssl.SSLError):
            await dial.through_host(address, who, MACHINE, 50000)
