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

from apps.tenants import lookups
from apps.tenants.threads import in_thread
from nodeagent.client import NodeClient
from nodeagent.dial import NoWay, Stream, through, through_host
from nodeagent.identity import once, require
from nodeagent.internal import Identity
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
    """The `dial` socket of the gateway on this host."""
    return Path(settings.CONFIG.run) / "gateway.sock"


@cache
def _identity() -> Identity:
    folder = Path(settings.CONFIG.key_folder)
    return Identity(folder / "ca.crt", folder / "internal.crt", folder / "internal.key")


async def dial(address: str, port: int) -> Stream:
    """A byte stream to a machine: by the gateway on this host, else by the one that holds the link, else by any.

    Raises OSError with the gateway's reason.
    """
    try:
        return await through(gateway_socket(), address, port)
    except (FileNotFoundError, ConnectionRefusedError):
        gateways = await in_thread(lambda: lookups.gateways(address))
    failure: OSError = ConnectionRefusedError("no gateway runs; it is being started, or see its log")
    for _, where, _ in gateways:
        host, _, gateway_port = where.rpartition(":")
        try:
            return await through_host((host.strip("[]"), int(gateway_port)), _identity(), address, port)
        except NoWay:
            raise
        except OSError as error:  # it is gone, or cut off from here; another one may know the way
            failure = error
    raise failure


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
