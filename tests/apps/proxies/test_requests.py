"""What the audit says of requests to Kubernetes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.proxies.requests import describe

PODS = "/api/v1/namespaces/default/pods"


@pytest.mark.parametrize(
    ("method", "target", "kind", "plain"),
    [
        ("GET", "/version", "/version", True),
        ("GET", "/openapi/v3?hash=1", "/openapi", True),
        ("GET", "/api", "/api", True),
        ("GET", "/api/v1/namespaces", "namespaces", True),
        ("GET", "/api/v1/namespaces/default", "namespaces", True),
        ("GET", f"{PODS}?watch=true", "pods", True),
        ("GET", f"{PODS}/web", "pods", True),
        ("GET", f"{PODS}/web/log?follow=true", "pods/log", True),
        ("GET", "/api/v1/watch/namespaces/default/pods", "pods", True),
        ("GET", "/apis/apps/v1/deployments", "deployments.apps", True),
        ("GET", "/apis/apps/v1/namespaces/default/deployments/web/scale", "deployments.apps/scale", True),
        ("DELETE", f"{PODS}/web", "pods", False),
        ("POST", f"{PODS}/web/exec?command=secret", "pods/exec", False),
        ("GET", "/api/v1/namespaces/default/services/web:80/proxy/token/secret", "services/proxy", False),
        ("GET", "/api/v1/nodes/n1/proxy/run", "nodes/proxy", False),
        ("GET", "//api/v1/nodes//n1/%70roxy/secret", "nodes/proxy", False),
        ("GET", "/api/v1/nodes/n1%2Fproxy%2Fsecret", "nodes/proxy", False),
    ],
)
def test_kinds(method: str, target: str, kind: str, plain: bool) -> None:
    described = describe(method, target, upgrade=False)
    assert (described.kind, described.plain_read) == (kind, plain)
    assert "secret" not in described.text
    assert "?" not in described.text


def test_an_upgrade_is_no_plain_read() -> None:
    assert not describe("GET", f"{PODS}/web/exec?command=ls", upgrade=True).plain_read


@given(st.sampled_from(["GET", "POST"]), st.text(), st.booleans())
def test_any_target(method: str, target: str, upgrade: bool) -> None:
    described = describe(method, target, upgrade)
    assert len(described.text) <= 300
    assert described.text.isascii()
    assert described.text.isprintable()
