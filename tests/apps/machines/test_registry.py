"""The registry of links, as the server side of links asks it."""

import time

import pytest

from apps.machines import adapters, joining
from apps.machines.adapters import REFUSED_FOR, DatabaseLinkRegistry
from nodeagent.ports import ProvisionRequest
from tests.apps.machines.desk import SOURCE, UUID, key


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Join tokens about which the database was asked; none lets anybody in."""
    tokens: list[str | None] = []

    def refuse(request: ProvisionRequest, *_: object) -> None:
        tokens.append(request.join_token)
        raise joining.NoToken

    monkeypatch.setattr(joining, "provision", refuse)
    return tokens


async def refused(registry: DatabaseLinkRegistry, token: str, unique: str | None = None) -> None:
    request = ProvisionRequest(UUID, key(1), token, unique, "v1.13.8", False, SOURCE)
    with pytest.raises(joining.NoToken, match="unknown, revoked or expired"):
        await registry.provision(request, lambda name: False)


async def test_tokens_that_let_nobody_in_are_asked_about_now_and_then(
    asked: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    registry = DatabaseLinkRegistry("here", lambda row, link: None)
    for _ in range(3):
        await refused(registry, "bad")
        await refused(registry, "worse")
    assert asked == ["bad", "worse"]
    await refused(registry, "bad", unique="another claim")
    assert asked == ["bad", "worse", "bad"]
    now += REFUSED_FOR
    await refused(registry, "bad")
    assert asked == ["bad", "worse", "bad", "bad"]


async def test_the_memory_of_them_is_bounded(asked: list[str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "REFUSED_LIMIT", 5)
    registry = DatabaseLinkRegistry("here", lambda row, link: None)
    for number in range(20):
        await refused(registry, str(number))
    assert len(registry._refused) == 5
    await refused(registry, "19")
    assert len(asked) == 20
