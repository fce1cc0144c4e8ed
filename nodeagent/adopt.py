"""Giving a machine that just joined its identity: a node unique token in META, another UUID where its own is taken.

The machine answers each write with another `Provision`. Everything may be repeated: the values come from above and are
the same on each call.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nodeagent.client import NodeClient
from talos.jointoken import NetworkLink, NodeUniqueToken, machine_fingerprint
from talos.resources import Resource, types

META_UUID_OVERRIDE = 0x0F
META_UNIQUE_TOKEN = 0x10


@dataclass(frozen=True)
class Identity:
    """What a pending machine is to be given."""

    unique_token: NodeUniqueToken
    override_uuid: str | None


async def adopt(client: NodeClient, choose: Callable[[str], Awaitable[Identity]]) -> None:
    """Read the hardware's fingerprint, let `choose(fingerprint)` decide and store, then write it to META.

    Raises `errors.NodeError`.
    """
    links = await client.list(types.LINK_STATUS)
    identity = await choose(machine_fingerprint(_network_link(link) for link in links))
    # The token goes first: under its new UUID the machine must not be registered with a token from elsewhere.
    await client.meta_write(META_UNIQUE_TOKEN, identity.unique_token.encode().encode())
    if identity.override_uuid is not None:
        await client.meta_write(META_UUID_OVERRIDE, identity.override_uuid.encode())


def _network_link(resource: Resource) -> NetworkLink:
    spec = resource.spec if isinstance(resource.spec, dict) else {}
    return NetworkLink(
        type=str(spec.get("type", "")),
        kind=str(spec.get("kind", "")),
        hardware_address=_mac(spec.get("hardwareAddr")),
        permanent_address=_mac(spec.get("permanentAddr")),
    )


def _mac(text: object) -> bytes:
    """The bytes of an address, none of what is no address."""
    try:
        return bytes.fromhex(str(text).replace(":", "")) if text else b""
    except ValueError:
        return b""
