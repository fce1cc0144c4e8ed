"""Every way into the product, read from the code that answers: addresses, websockets, gRPC methods."""

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from django.contrib.admindocs.views import simplify_regex
from django.urls import URLPattern, URLResolver, get_resolver

from apps.api.registry import watched
from apps.dashboard.consumers import KINDS
from kubespan.discovery.core import Discovery
from kubespan.discovery.service import Face
from nodeagent.authservice import AuthServer
from nodeagent.siderolink import server as siderolink
from nodeagent.tunnel.server import AgentServer
from omni.websockets import websocket_urls

WATCH = "/api/v1/organisations/<slug>/<resource>/watch"
LIVE = "/o/<slug>/live"
TAILS = {"/o/<slug>/machines/<uuid>/events/tail", "/o/<slug>/machines/<uuid>/logs/tail"}


@dataclass(frozen=True)
class Route:
    """One method of one address. `action` is the viewset's, for REST."""

    method: str
    path: str
    view: Any
    action: str = ""

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


def http() -> dict[str, Route]:
    """REST by method, pages as `PAGE` (whatever their methods)."""
    found = [route for path, view in _walk(get_resolver().url_patterns) for route in _routes(path, view)]
    return {route.name: route for route in found}


def websocket_names() -> set[str]:
    """`WS ...`: a watch for each list, what a page may hear of, for each kind, and what a machine says."""
    known = {f"/{_plain(str(pattern.pattern))}" for pattern in websocket_urls()}
    assert known == {WATCH, LIVE, *TAILS}, "a websocket address is new; add its names here"
    watches = {f"WS {WATCH.replace('<resource>', resource)}" for resource in watched()}
    return watches | {f"WS {LIVE} {kind}" for kind in KINDS} | {f"WS {path}" for path in TAILS}


async def grpc_methods() -> set[str]:
    """`GRPC ...`: what the gateway's servers answer, on the public port and on the overlay."""
    recorder = Recorder()
    engine = mock.AsyncMock()
    engine.public_key, engine.address = b"k" * 32, "fdae:41e4:649b:9303::1"
    registry = mock.AsyncMock()
    registry.links.return_value = []
    aio = SimpleNamespace(aio=SimpleNamespace(server=lambda **options: recorder))
    with mock.patch.object(siderolink, "grpc", aio), tempfile.TemporaryDirectory() as folder:
        server = siderolink.SideroLinkServer(
            engine=engine,
            registry=registry,
            events=mock.AsyncMock(),
            logs=mock.AsyncMock(),
            trust=mock.Mock(),
            endpoint="192.0.2.1:1",
            socket=Path(folder) / "grpc",
            services=[AgentServer(mock.Mock()).add_to, AuthServer(mock.Mock(), "").add_to, Face(Discovery()).add_to],
        )
        await server.start()
    return {f"GRPC {method}" for method in recorder.methods}


class Recorder:
    """Stands for a grpcio server and remembers which methods it was given."""

    def __init__(self) -> None:
        self.methods: set[str] = set()

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        for handler in handlers:
            self.methods |= set(handler._method_handlers)

    def add_registered_method_handlers(self, service: str, methods: dict[str, Any]) -> None:
        self.methods |= {f"/{service}/{method}" for method in methods}

    def add_insecure_port(self, address: str) -> None:
        pass

    async def start(self) -> None:
        pass


def _walk(patterns: list[URLPattern | URLResolver], base: str = "") -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        path = base + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns, path)
        else:
            yield _plain(simplify_regex(path)), pattern.callback


def _plain(path: str) -> str:
    """Parameters without their converters."""
    return re.sub(r"<\w+:(\w+)>", r"<\1>", path)


def _routes(path: str, view: Any) -> Iterator[Route]:
    if actions := getattr(view, "actions", None):
        yield from (Route(method.upper(), path, view, action) for method, action in actions.items() if method != "head")
    elif cls := getattr(view, "cls", None):
        yield from (Route(m.upper(), path, view) for m in cls.http_method_names if hasattr(cls, m) and m != "head")
    else:
        yield Route("PAGE", path, view)
