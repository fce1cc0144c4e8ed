"""What a link over an agent does not bring by itself: whether the machine is still there, its events, its kernel log.

A machine behind an agent cannot call us, and no keepalive comes over its link: both are asked for through its API, on
the connection that its resources are followed on.
"""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from apps.gateways.batcher import Batcher
from apps.gateways.directory import Known
from apps.machines import history
from apps.machines.models import Machine, MachineEvent
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread
from nodeagent.client import NodeClient
from nodeagent.overhear import Overhearing
from nodeagent.siderolink.events import read_payload
from talos.gen.machine import machine_pb2

ASK_AGAIN = 30.0
"""Seconds between questions whether the machine is still there."""


class Listening:
    """One machine behind agents, over many connections."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._overhearing: Overhearing | None = None

    async def beside(self, following: Coroutine[Any, Any, None], client: NodeClient, known: Known) -> None:
        """Listen to a machine as long as it is followed. Raises what ended either."""
        address = known.link.address

        async def event(said: machine_pb2.Event) -> None:
            payload = read_payload(said.data)
            await self._batcher.event(address, said.id, said.actor_id, payload, said.data.type_url)

        async def lines(said: list[bytes]) -> None:
            await self._batcher.lines(address, said)

        tasks = [asyncio.ensure_future(following)]
        try:
            if self._overhearing is None:
                self._overhearing = await in_thread(lambda: _from_where(known))
            work = (_ask(client), self._overhearing.events(client, event), self._overhearing.log(client, lines))
            tasks += [asyncio.ensure_future(part) for part in work]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _ask(client: NodeClient) -> None:
    while True:
        await asyncio.sleep(ASK_AGAIN)
        await client.identity()


def _from_where(known: Known) -> Overhearing:
    """Go on behind what is stored of a machine."""
    with tenant_scope(known.organisation_id):
        machine = Machine.objects.filter(id=known.machine_id).first()
        if machine is None:
            return Overhearing(new=True)
        new = not MachineEvent.objects.filter(machine=machine).exists()
        times = (_time(line) for _, line in reversed(history.log_lines(machine, tail=1)))
        return Overhearing(new, next(times, None))


def _time(line: bytes) -> datetime | None:
    try:
        at = datetime.fromisoformat(history.read_log_line(line).at)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    except ValueError:
        return None
