"""Where events and kernel log go, following the configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from nodeagent.ending import end
from nodeagent.simulator import events, kmsg
from nodeagent.simulator.link import backoff
from nodeagent.simulator.unarygrpc import PlainStream, UnaryChannel

if TYPE_CHECKING:
    from nodeagent.simulator.boot import Boot

Target = TypeVar("Target")


async def push_events(boot: Boot) -> None:
    """Send every event of this boot to the event sink, once there is one."""
    pusher = events.Pusher(boot.events, backoff)

    async def to(target: tuple[str, int]) -> None:
        async def connect() -> UnaryChannel:
            host, port = target
            reader, writer = await boot.machine.dial(host, port)
            return UnaryChannel(PlainStream(reader, writer), f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

        await pusher.run(connect)

    await _follow(boot, lambda: boot.join.events, to)


async def send_kernel_log(boot: Boot) -> None:
    """Send every line of this boot to the kernel log receiver, once there is one."""
    sender = kmsg.Sender(boot.kernel_log)

    async def to(target: tuple[str, int]) -> None:
        await sender.run(lambda: boot.machine.dial(*target))

    await _follow(boot, lambda: boot.join.logs, to)


async def _follow(boot: Boot, target: Callable[[], Target | None], work: Callable[[Target], Awaitable[None]]) -> None:
    """Do the work for the present target, anew for each other one."""
    while True:
        await boot.until(lambda: target() is not None)
        present = target()
        assert present is not None
        task = asyncio.ensure_future(work(present))
        try:
            await boot.until(lambda present=present: target() != present)  # type: ignore[misc]
        finally:
            await end([task])
