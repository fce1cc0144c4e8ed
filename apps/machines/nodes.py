"""How synchronous code (reconcilers, views) reaches a machine: one event loop in a thread of its own.

Connections go through the gateway that holds the machine's link; TLS and the check of the machine's identity are ours.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings

from nodeagent.client import NodeClient
from nodeagent.dial import Stream, through
from nodeagent.identity import once, require
from nodeagent.tls import Credentials

T = TypeVar("T")

API_PORT = 50000


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="nodes", daemon=True).start()
    return loop


def run(work: Coroutine[Any, Any, T], timeout: float) -> T:
    """Run a coroutine on the shared loop and wait for it. Raises what it raises, or TimeoutError after `timeout` s."""
    future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout), _loop())
    return future.result()


def gateway_socket() -> Path:
    """The gateway's `dial` socket."""
    return Path(settings.CONFIG.run) / "gateway.sock"


async def dial(address: str, port: int) -> Stream:
    """A byte stream to a machine. Raises OSError with the gateway's reason."""
    return await through(gateway_socket(), address, port)


def call(
    address: str,
    credentials: Credentials | None,
    work: Callable[[NodeClient], Awaitable[T]],
    uuid: str,
    fingerprint: str = "",
    timeout: float = 60,
) -> T:
    """Connect to a machine's API, check that it is machine `uuid`, run `work(client)` and return its result.

    `credentials` None means maintenance mode; then the hardware has to have the `fingerprint` too, if one is given.
    Raises `WrongMachine`, the errors of `NodeClient`, OSError, TimeoutError.
    """

    async def connected() -> T:
        async with NodeClient(once(lambda: dial(address, API_PORT)), credentials) as client:
            await require(client, uuid, "" if credentials else fingerprint)
            return await work(client)

    return run(connected(), timeout)
