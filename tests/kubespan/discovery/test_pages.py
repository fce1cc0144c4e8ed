"""Pages and numbers, over a plain connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kubespan.discovery import pages, web
from kubespan.discovery.core import Discovery
from kubespan.discovery.store import Store
from tests.kubespan.discovery.lab import serving, update


@asynccontextmanager
async def served(routes: web.Routes) -> AsyncIterator[int]:
    """Serve pages; gives the port."""
    server = await web.serve("127.0.0.1", 0, routes)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def ask(port: int, request: bytes) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head, _, body = (await asyncio.wait_for(reader.read(), 10)).decode().partition("\r\n\r\n")
    writer.close()
    status, *lines = head.split("\r\n")
    return int(status.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body


async def get(port: int, target: str) -> tuple[int, dict[str, str], str]:
    return await ask(port, f"GET {target} HTTP/1.1\r\nHost: here\r\n\r\n".encode())


async def test_a_cluster_is_looked_up_by_its_id_and_nothing_in_it_is_taken_for_html() -> None:
    core = Discovery()
    core.update(update("<b>first", b"\x01\xff", [b"\x02"], cluster="a/b+c=&"))
    core.update(update("second", b"\x03", cluster="a/b+c=&"))
    async with served(pages.public(core)) as port:
        status, headers, body = await get(port, "/inspect?clusterID=a%2Fb%2Bc%3D%26")
        assert status == 200
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert "&lt;b&gt;first" in body
        assert "<b>" not in body
        assert "01ff" in body
        assert 'value="a/b+c=&amp;"' in body
        _, _, nobody = await get(port, "/inspect?clusterID=%22%3E%3Cscript%3E")
        assert "Nobody is known" in nobody
        assert "<script>" not in nobody
        status, _, form = await get(port, "/inspect")
        assert (status, "<form" in form) == (200, True)


async def test_looking_up_clusters_is_no_way_to_keep_the_service_busy() -> None:
    async with served(pages.public(Discovery())) as port:
        answers = [(await get(port, "/inspect?clusterID=c"))[0] for _ in range(50)]
        assert answers[: pages.LOOKS_AT_ONCE] == [200] * pages.LOOKS_AT_ONCE
        assert 429 in answers
        assert (await get(port, "/"))[0] == 200


async def test_what_it_is_and_how_many() -> None:
    core = Discovery()
    core.update(update("a"))
    async with served(pages.public(core)) as port:
        status, headers, body = await get(port, "/stats")
        assert (status, json.loads(body)) == (200, {"affiliates": 1})
        assert headers["content-type"] == "application/json"
        assert headers["access-control-allow-origin"] == "*"
        status, _, body = await get(port, "/")
        assert status == 200
        assert "1 nodes of 1 clusters" in body
        assert (await get(port, "/metrics"))[0] == 404


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"HEAD / HTTP/1.1\r\n\r\n", 200),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"GET /nothing HTTP/1.1\r\n\r\n", 404),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.1\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 400),
    ],
)
async def test_requests_of_every_kind(request_: bytes, status: int) -> None:
    async with served(pages.public(Discovery())) as port:
        got, headers, body = await ask(port, request_)
        assert got == status
        assert headers["connection"] == "close"
        assert (len(body.encode()) == int(headers["content-length"])) == (not request_.startswith(b"HEAD"))
        assert (await get(port, "/"))[0] == 200


async def test_who_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "SECONDS", 0.05)
    async with served(pages.public(Discovery())) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


async def test_readiness(tmp_path: Path) -> None:
    core = Discovery()
    async with served(pages.operators(core, None)) as port:
        assert (await get(port, "/healthz"))[0] == 200
        assert (await get(port, "/readyz"))[0] == 503
        await core.start()
        assert (await get(port, "/readyz"))[0] == 200
        await core.drain()
        assert (await get(port, "/readyz"))[0] == 503
        await core.close()


NAMES = {
    "discovery_state_clusters": 1,
    "discovery_state_affiliates": 2,
    "discovery_state_endpoints": 3,
    "discovery_state_subscriptions": 1,
    "discovery_state_gc_runs_total": 2,
    "discovery_state_gc_clusters_total": 0,
    "discovery_state_gc_affiliates_total": 1,
    'discovery_server_hello_requests_total{"client_version": "v1.14"}': 2,
    'discovery_storage_operations_total{"operation": "load", "status": "success"}': 1,
    'discovery_storage_operations_total{"operation": "save", "status": "success"}': 1,
    'discovery_storage_last_operation_affiliates{"operation": "save"}': 2,
    'discovery_storage_last_operation_endpoints{"operation": "save"}': 3,
    'discovery_storage_last_operation_clusters{"operation": "save"}': 1,
    'grpc_server_started_total{"grpc_method": "Hello", "grpc_service": "sidero.discovery.server.Cluster", "grpc_type": "unary"}': 2,  # noqa: E501
}


async def test_numbers_have_the_names_that_dashboards_know(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.binpb")
    async with serving(store) as service, served(pages.operators(service.core, store)) as port:
        assert "discovery_state_clusters 0.0" in (await get(port, "/metrics"))[2]
        await service.hello()
        await service.hello()
        await service.update("a", b"d", [b"e1", b"e2"])
        await service.update("b", b"d", [b"e"])
        await service.update("short", b"d", ttl=1)
        await service.watch()
        await service.pass_time(2)
        await store.save(service.core.state, service.core.clock)
        status, headers, body = await get(port, "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    values, kinds = {}, {}
    for family in text_string_to_metric_families(body):
        kinds[family.name] = family.type
        for sample in family.samples:
            labels = dict(sorted(sample.labels.items()))
            values[sample.name + (json.dumps(labels) if labels else "")] = sample.value
    assert {name: values.get(name) for name in NAMES} == NAMES
    assert kinds["grpc_server_handling_seconds"] == "histogram"
    assert kinds["discovery_storage_last_snapshot_size_bytes"] == "gauge"
    assert values['discovery_storage_last_snapshot_size_bytes{"operation": "save"}'] > 0
    handled = {
        name: value for name, value in values.items() if name.startswith("grpc_server_handled") and '"OK"' in name
    }
    assert sum(handled.values()) == 5
