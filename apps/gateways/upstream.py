"""Where the public port's connections go on to: sockets on this host, or web processes on others."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from nodeagent import internal
from nodeagent.caller import Caller, announce
from nodeagent.dial import Stream
from nodeagent.internal import Identity

Upstream = Callable[[Caller], Awaitable[Stream]]
"""Opens a connection in the name of a caller. Raises OSError."""

log = logging.getLogger(__name__)


def on_socket(path: Path) -> Upstream:
    """A server on this host, which learns the caller from the name of the socket."""

    async def connect(caller: Caller) -> Stream:
        return await asyncio.open_unix_connection(sock=await caller.connect(path))

    return connect


def on_hosts(addresses: Sequence[tuple[str, int]], identity: Identity) -> Upstream:
    """Web processes in turn; one that does not answer is passed over. The caller is told in a first line."""
    turn = itertools.count()

    async def connect(caller: Caller) -> Stream:
        start = next(turn)
        failure = OSError("no web process is named")
        for offset in range(len(addresses)):
            host, port = addresses[(start + offset) % len(addresses)]
            try:
                stream = await internal.connect(host, port, identity)
            except OSError as error:
                log.warning("web process at %s:%d does not answer: %s", host, port, error)
                failure = error
            else:
                await announce(caller, stream[1])
                return stream
        raise failure

    return connect
