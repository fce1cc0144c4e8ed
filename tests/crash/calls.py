"""What simulated machines were told to do, and a hand in it: kill somebody just then, or swallow the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from nodeagent.simulator import fleet
from nodeagent.simulator.api import Services
from nodeagent.simulator.calls import Call, Implementation

CHANGING = {
    "MachineService": {"ApplyConfiguration", "Bootstrap", "MetaWrite", "Reboot", "Reset", "Upgrade"},
    "LifecycleService": {"Install", "Upgrade"},
}
"""Calls that change a machine, by service."""


@dataclass(frozen=True)
class Made:
    """A call that a machine took and did not refuse."""

    uuid: str
    method: str  # without its service
    request: Any


async def nothing(moment: str, method: str, number: int) -> None:
    """Let every call pass."""


@dataclass
class Record:
    """The calls of all machines, in order. `meanwhile(moment, method, number)` is awaited `before` and `after` each
    one, which has that number, from 1 on; what it raises is answered in the machine's place."""

    meanwhile: Callable[[str, str, int], Awaitable[None]] = nothing
    made: list[Made] = field(default_factory=list)
    begun: int = 0

    def count(self, uuid: str, method: str) -> int:
        return sum((made.uuid, made.method) == (uuid, method) for made in self.made)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Fleets that are made from now on are recorded."""
        services = fleet.all_services
        patch.setattr(fleet, "all_services", lambda: self._around(services()))

    def _around(self, services: Services) -> Services:
        return {
            service: {
                name: self._wrapped(name, implementation, service.methods_by_name[name].server_streaming)
                if name in CHANGING.get(service.name, ())
                else implementation
                for name, implementation in calls.items()
            }
            for service, calls in services.items()
        }

    def _wrapped(self, name: str, implementation: Implementation, streaming: bool) -> Implementation:
        async def unary(call: Call, request: Any) -> Any:
            number = await self._begin(name)
            # A machine does what it was told, though the caller is gone meanwhile.
            answer = await asyncio.shield(asyncio.ensure_future(self._done(name, implementation, call, request)))
            await self.meanwhile("after", name, number)
            return answer

        async def stream(call: Call, request: Any) -> Any:
            number = await self._begin(name)
            async for answer in implementation(call, request):
                yield answer
            self.made.append(Made(call.boot.machine.hardware.uuid, name, request))
            await self.meanwhile("after", name, number)

        return stream if streaming else unary

    async def _begin(self, name: str) -> int:
        self.begun += 1
        number = self.begun
        await self.meanwhile("before", name, number)
        return number

    async def _done(self, name: str, implementation: Implementation, call: Call, request: Any) -> Any:
        answer = await implementation(call, request)
        self.made.append(Made(call.boot.machine.hardware.uuid, name, request))
        return answer
