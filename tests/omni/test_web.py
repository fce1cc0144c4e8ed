"""Who called, as the web process learns it: from relays and proxies that are ours, and from nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from nodeagent import internal
from nodeagent.caller import Caller, announce
from nodeagent.internal import Identity
from omni import keys, web
from omni.config import Config

CALLER = Caller("https", "203.0.113.9", 40000)
FORGED = {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "https"}


async def tell(scope: Any, receive: Any, send: Any) -> None:
    """Answers who called, and how."""
    body = json.dumps([scope["client"][0], scope["scheme"]]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(path: Path, trusted_proxies: Sequence[str] = ()) -> AsyncIterator[Path]:
    server = web.server(trusted_proxies)
    server.config.app, server.config.lifespan = tell, "off"
    running = asyncio.create_task(server._serve([web.unix_socket(path)]))
    yield path
    server.should_exit = True
    await running


async def ask(stream: tuple[asyncio.StreamReader, asyncio.StreamWriter], **headers: str) -> list[str]:
    reader, writer = stream
    head = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "omni", "Connection": "close", **headers}.items())
    writer.write(f"GET / HTTP/1.1\r\n{head}\r\n".encode())
    answer = await reader.read()
    writer.close()
    return json.loads(answer.partition(b"\r\n\r\n")[2])


async def by_relay(path: Path, **headers: str) -> list[str]:
    return await ask(await asyncio.open_unix_connection(sock=await CALLER.connect(path)), **headers)


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    config = Config(data=tmp_path / "keys")
    keys.prepare(config)
    return keys.identity(config)


async def test_a_relay_on_this_host_tells_who_called_and_headers_do_not(tmp_path: Path) -> None:
    async with serving(tmp_path / "web") as path:
        assert await by_relay(path) == ["203.0.113.9", "https"]
        assert await by_relay(path, **FORGED) == ["203.0.113.9", "https"]


async def test_a_relay_on_another_host_tells_it_too(tmp_path: Path, identity: Identity) -> None:
    async with serving(tmp_path / "web") as path:
        relays = await web.take_relayed("127.0.0.1", 0, identity, path)
        host, port = relays.sockets[0].getsockname()[:2]
        stream = await internal.connect(host, port, identity)
        await announce(CALLER, stream[1])
        assert await ask(stream, **FORGED) == ["203.0.113.9", "https"]
        relays.close()


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"{}\n", b"[]\n", b"GET / HTTP/1.1\r\n\r\n", b'{"address": "x"}\n', b"x" * 70_000]
)
async def test_a_relay_that_names_nobody_is_hung_up_on(tmp_path: Path, identity: Identity, line: bytes) -> None:
    async with serving(tmp_path / "web") as path:
        relays = await web.take_relayed("127.0.0.1", 0, identity, path)
        reader, writer = await internal.connect(*relays.sockets[0].getsockname()[:2], identity)
        writer.write(line)
        if not line:
            writer.close()
        with suppress(OSError):
            assert await reader.read() == b""
        writer.close()
        relays.close()


async def test_only_trusted_proxies_speak_for_others(tmp_path: Path) -> None:
    async with serving(tmp_path / "web", ["203.0.113.0/24"]) as path:
        assert await by_relay(path, **FORGED) == ["198.51.100.7", "https"]
        assert await by_relay(path) == ["203.0.113.9", "https"]
    async with serving(tmp_path / "other", ["192.0.2.0/24"]) as path:
        assert await by_relay(path, **FORGED) == ["203.0.113.9", "https"]
