"""Who is served when more call than can be served at once: sources take turns, so a crowd holds up its own only."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from ipaddress import IPv6Network, ip_address


class Turns:
    """At most `at_once` turns at a time. Those who wait are let in one source after the other, each in its order."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # the first source is next

    @contextlib.asynccontextmanager
    async def of(self, source: str) -> AsyncIterator[None]:
        """Wait for a turn, and hold it for the block."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(source)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, source: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(source, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()  # it came too late for us
            raise

    def _pass_on(self) -> None:
        """Give a turn to the next source, which then goes to the end."""
        while self._waiting:
            source = next(iter(self._waiting))
            line = self._waiting.pop(source)
            turn = line.popleft()
            if line:
                self._waiting[source] = line
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


def origin(source: str) -> str:
    """What counts as one source: an IPv4 address, a /64 of IPv6; whatever else as it is."""
    try:
        address = ip_address(source)
    except ValueError:
        return source
    return source if address.version == 4 else str(IPv6Network((address, 64), strict=False))
