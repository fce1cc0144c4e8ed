"""What is asked of a cluster's own Kubernetes API, which may be anybody's program."""

import httpcore
import pytest

from apps.clusters import kubernetes
from apps.clusters.kubernetes import Call, ControlPlane, KubernetesError
from nodeagent.tls import Credentials
from talos.pem import CertKey

NOBODY = ControlPlane("fdae::1", Credentials(b"", CertKey(b"", b"")))


def answers(monkeypatch: pytest.MonkeyPatch, *parts: bytes) -> None:
    backend = httpcore.AsyncMockBackend([b"HTTP/1.1 200 OK\r\n", *parts])
    monkeypatch.setattr(kubernetes, "_pool", lambda _: httpcore.AsyncConnectionPool(network_backend=backend))


async def test_an_answer_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, b"Content-Length: 2\r\n\r\n", b"{}")
    assert await kubernetes._calls(NOBODY, [Call("GET", "/api")]) == [{}]


async def test_an_answer_without_end_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes, "LARGEST", 1000)
    answers(monkeypatch, b"Transfer-Encoding: chunked\r\n\r\n", *[b"64\r\n" + bytes(100) + b"\r\n"] * 20)
    with pytest.raises(KubernetesError, match="GET /api was answered with more than 1,000 bytes"):
        await kubernetes._calls(NOBODY, [Call("GET", "/api?limit=1")])
