"""Giving a machine that just joined its identity: a node unique token in META, another UUID where its own is taken.

The machine answers each write with another `Provision`. Everything may be repeated: the values come from above and are
the same on each call.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nodeagent.client import NodeClient
from nodeagent.identity import Hardware, read_hardware
from talos.jointoken import NodeUniqueToken

META_UUID_OVERRIDE = 0x0F
META_UNIQUE_TOKEN = 0x10


@dataclass(frozen=True)
class Identity:
    """What a pending machine is to be given."""

    unique_token: NodeUniqueToken
    override_uuid: str | None


async def adopt(client: NodeClient, choose: Callable[[Hardware], Awaitable[Identity]]) -> None:
    """Read the hardware, let `choose(hardware)` decide and store, then write it to META. Raises `errors.NodeError`."""
    identity = await choose(await read_hardware(client))
    # The token goes first: under its new UUID the machine must not be registered with a token from elsewhere.
    await client.meta_write(META_UNIQUE_TOKEN, identity.unique_token.encode().encode())
    if identity.override_uuid is not None:
        await client.meta_write(META_UUID_OVERRIDE, identity.override_uuid.encode())
