"""Schematics and the Image Factory: computed here, registered when it answers."""

from collections.abc import Callable

import httpx
import pytest

from apps.images import factory
from apps.images.actions import want
from apps.images.models import Schematic
from apps.images.reconcilers import reconcile_schematic
from apps.reconcile.models import Outbox
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from talos.schematic import of_extensions

EXTENSIONS = of_extensions(["siderolabs/iscsi-tools"])

Answer = Callable[[], httpx.Response]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the factory was sent; it takes everything."""
    sent: list[bytes] = []

    def post(url: str, content: bytes, **_: object) -> httpx.Response:
        assert url == "https://factory.talos.dev/schematics"
        sent.append(content)
        return httpx.Response(201, json={"id": EXTENSIONS.id()})

    monkeypatch.setattr(httpx, "post", post)
    return sent


def wanted(organisation: Organisation) -> Schematic:
    with tenant_scope(organisation.id):
        return want(EXTENSIONS)


def stored(organisation: Organisation) -> Schematic:
    with tenant_scope(organisation.id):
        return Schematic.objects.get()


def test_a_schematic_is_registered_once(organisation: Organisation, asked: list[bytes]) -> None:
    row = wanted(organisation)
    assert wanted(organisation).id == row.id
    assert [(item.kind, item.object_id) for item in Outbox.objects.all()] == [("schematic", row.id)]
    assert reconcile_schematic(organisation.id, row.id).again_in is None
    assert stored(organisation).registered_at is not None
    assert reconcile_schematic(organisation.id, row.id).again_in is None
    assert asked == [EXTENSIONS.canonical().encode()]


def refuse() -> httpx.Response:
    raise httpx.ConnectError("name not known")


def late() -> httpx.Response:
    raise httpx.ReadTimeout("late")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refuse, "factory.talos.dev does not answer: name not known"),
        (late, "did not answer within 30 s"),
        (lambda: httpx.Response(503, text="busy"), "factory.talos.dev answered 503: busy"),
        (lambda: httpx.Response(200, text="<html>"), "is it an Image Factory?"),
        (lambda: httpx.Response(201, json={"id": "f" * 64}), "calls this schematic ffffffff"),
    ],
)
def test_what_is_in_the_way_is_said(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch, answer: Answer, words: str
) -> None:
    monkeypatch.setattr(httpx, "post", lambda *_, **__: answer())
    row = wanted(organisation)
    assert reconcile_schematic(organisation.id, row.id).again_in == 30
    assert words in stored(organisation).last_error
    assert stored(organisation).registered_at is None


def test_the_registry_of_installers() -> None:
    assert factory.host() == "factory.talos.dev"
