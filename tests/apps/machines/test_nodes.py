"""The way to a machine for reconcilers and pages: whichever gateway can be reached."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from apps.gateways.models import Gateway
from apps.machines import nodes
from apps.machines.models import Link
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread
from nodeagent import dial
from nodeagent.dial import NoWay, Stream
from omni import keys
from tests.apps.gateways.lab import free_port

MACHINE = "fdae:41e4:649b:9303::7"


class Installation:
    """Gateways that know what they are asked, in a database and a folder of keys."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, organisation: Organisation) -> None:
        self.config = replace(settings.CONFIG, data=folder, keys="")
        keys.prepare(self.config)
        monkeypatch.setattr(settings, "CONFIG", self.config)
        nodes._identity.cache_clear()
        self.organisation = organisation
        self.asked: list[tuple[str, str, int]] = []

    def machine(self, name: str) -> Callable[[str, int], Awaitable[Stream]]:
        async def answer(address: str, port: int) -> Stream:
            self.asked.append((name, address, port))
            raise OSError(f"{name} says so")

        return answer

    async def gateway(self, name: str, runs: bool = True, holds: bool = False, age: float = 0.0) -> None:
        port = free_port(1)
        if runs:
            answer = self.machine(name)
            await dial.serve_internal("127.0.0.1", port, keys.identity(self.config), answer, answer)

        def store() -> None:
            seen = timezone.now() - timedelta(seconds=age)
            Gateway.objects.create(name=name, address=f"127.0.0.1:{port}", session=1, seen_at=seen)
            if holds:
                with tenant_scope(self.organisation.id):
                    Link.new(claimed_uuid="u", transport="udp", public_key="k", address=MACHINE, gateway=name)

        await in_thread(store)

    async def says(self, words: str) -> None:
        with pytest.raises(OSError, match=words):
            await nodes.dial(MACHINE, 50000)


@pytest.fixture
def installation(
    transactional_db: None, organisation: Organisation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    return Installation(tmp_path, monkeypatch, organisation)


async def test_the_gateway_of_this_host_is_asked_first(installation: Installation) -> None:
    await installation.gateway("elsewhere", holds=True)
    server = await dial.serve(nodes.gateway_socket(), installation.machine("here"))
    await installation.says("here says so")
    assert installation.asked == [("here", MACHINE, 50000)]
    server.close()


async def test_the_gateway_that_holds_the_link_is_asked_and_its_answer_counts(installation: Installation) -> None:
    await installation.gateway("one")
    await installation.gateway("two", holds=True, age=3)
    with pytest.raises(NoWay, match="two says so"):
        await nodes.dial(MACHINE, 50000)
    assert installation.asked == [("two", MACHINE, 50000)]


async def test_another_is_asked_while_the_holder_is_away(installation: Installation) -> None:
    await installation.gateway("one")
    await installation.gateway("two", runs=False, holds=True)
    await installation.says("one says so")


async def test_nobody_is_there(installation: Installation) -> None:
    await installation.gateway("gone", holds=True, age=60)
    async with asyncio.timeout(20):
        await installation.says("no gateway runs")
    assert installation.asked == []
