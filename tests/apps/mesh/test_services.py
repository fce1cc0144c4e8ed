"""Calls to discovery services elsewhere: what is deleted, what is said where it is not, who is not called."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import grpc
import pytest

from apps.mesh import services
from kubespan.discovery.core import Discovery
from kubespan.discovery.service import OPTIONS, Face
from nodeagent.tunnel.reach import PlainStream
from talos.gen.sidero import discovery_pb2 as pb

HOST = "127.0.0.1"


@dataclass
class Elsewhere:
    """A service on a loop of its own, as the caller is on another."""

    core: Discovery
    url: str
    run: Callable[..., object]

    def nodes(self) -> bytes:
        return self.core.state.listing("cluster")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Elsewhere]:
    """It is on loopback, which is let through for once."""
    monkeypatch.setattr(services, "_check", lambda target: None)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(work: object) -> object:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)  # type: ignore[arg-type]

    async def start() -> tuple[Discovery, grpc.aio.Server, int]:
        core, server = Discovery(), grpc.aio.server(options=OPTIONS)
        Face(core).add_to(server)
        port = server.add_insecure_port(f"{HOST}:0")
        await core.start()
        await server.start()
        for name in ("n1", "n2"):
            core.update(pb.AffiliateUpdateRequest(cluster_id="cluster", affiliate_id=name, ttl={"seconds": 60}))
        return core, server, port

    async def stop() -> None:
        await server.stop(None)
        await core.close()

    core, server, port = run(start())  # type: ignore[misc]
    yield Elsewhere(core, f"http://{HOST}:{port}", run)
    run(stop())
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_affiliates_are_deleted_and_only_they(elsewhere: Elsewhere) -> None:
    assert services.forget([(elsewhere.url, "cluster", "n1"), (elsewhere.url, "cluster", "unheard-of")]) == ["", ""]
    assert b"n1" not in elsewhere.nodes()
    assert b"n2" in elsewhere.nodes()


def test_each_that_does_not_do_it_says_why_and_holds_up_no_other(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "CALL", 0.5)
    silent = elsewhere.run(asyncio.start_server(lambda reader, writer: None, HOST, 0))
    port = silent.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    wanted = [f"http://{HOST}:{port}", f"http://{HOST}:1", "ftp://nonsense", elsewhere.url, elsewhere.url]
    ids = ["n1", "n1", "n1", "", "n2"]
    found = services.forget([(url, "cluster", node_id) for url, node_id in zip(wanted, ids, strict=True)])
    assert found[0] == "it did not answer in time"
    assert "refused" in found[1].lower() or "111" in found[1]
    assert "no discovery service" in found[2]
    assert found[3] == "it answered INVALID_ARGUMENT: affiliate ID can't be empty"
    assert found[4] == ""
    assert b"n2" not in elsewhere.nodes()
    silent.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "169.254.169.254", "0.0.0.0", "224.0.0.1", "[::1]", "[fe80::1]", "[::ffff:127.0.0.1]",
        "[fdae:41e4:649b:9303::5]", "localhost",
    ],
)  # fmt: skip
def test_what_is_next_to_us_is_not_called(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes a configuration must not have this process call where they cannot: metadata, databases, machines."""

    called: list[object] = []

    async def connect(*arguments: object, **options: object) -> PlainStream:
        called.append(arguments)
        raise OSError("nobody is there")

    monkeypatch.setattr(asyncio, "open_connection", connect)
    (problem,) = services.forget([(f"http://{address}:80", "cluster", "n1")])
    assert "is no address of a service" in problem
    assert called == []
