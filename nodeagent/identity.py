"""Which machine is at the other end of a connection: read on that connection, before anything is done over it."""

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from nodeagent import errors
from nodeagent.client import NodeClient
from nodeagent.dial import Stream
from talos.jointoken import NetworkLink, machine_fingerprint
from talos.resources import Resource, types

Connect = Callable[[], Awaitable[Stream]]

_BOARD = ("manufacturer", "productName", "serialnumber")


class WrongMachine(RuntimeError):
    """Another machine than the expected one answers; nothing was done to it."""


@dataclass(frozen=True)
class Hardware:
    """What a machine is made of, as every role may read it in any mode."""

    uuid: str = ""  # lower case; empty when the firmware reports none
    fingerprint: str = ""  # 64 hex digits; empty when the hardware shows nothing to tell it by
    network_fingerprint: str = ""  # of the network cards alone: what node unique tokens carry


async def read_hardware(client: NodeClient) -> Hardware:
    """Read the UUID, the board and the network cards. Raises `errors.NodeError`."""
    try:
        system = (await client.get(types.SYSTEM_INFORMATION)).spec
    except errors.NotFound:  # firmware without SMBIOS
        system = None
    links = [_network_link(link) for link in await client.list(types.LINK_STATUS)]
    board = system if isinstance(system, dict) else {}
    return Hardware(str(board.get("uuid") or "").lower(), fingerprint(board, links), machine_fingerprint(links))


def fingerprint(board: dict[str, Any], links: list[NetworkLink]) -> str:
    """64 hex digits over the board (manufacturer, product, serial number) and the permanent addresses of its physical
    network cards; empty for a machine without serial number and cards, which nothing tells from another.

    Addresses alone would be known to all who share a network with the machine.
    """
    cards = sorted(
        (link.permanent_address or link.hardware_address).hex()
        for link in links
        if link.type == "ether" and not link.kind and (link.permanent_address or link.hardware_address)
    )
    described = [str(board.get(key) or "").strip() for key in _BOARD]
    if not cards and not described[-1]:
        return ""
    return hashlib.sha256(json.dumps([described, cards]).encode()).hexdigest()


async def require(client: NodeClient, uuid: str, fingerprint: str = "") -> None:
    """Raises `WrongMachine` unless machine `uuid`, with hardware of this fingerprint if one is given, answers."""
    if not fingerprint:
        said = await client.identity()
        if said != uuid.lower():
            raise WrongMachine(f"the machine that answers says it is {said}, not {uuid}")
        return
    hardware = await read_hardware(client)
    if hardware.uuid != uuid.lower():
        raise WrongMachine(f"the machine that answers says it is {hardware.uuid or 'nobody'}, not {uuid}")
    if hardware.fingerprint != fingerprint:
        raise WrongMachine(f"the machine that answers says it is {uuid}, but its hardware is another")


def once(connect: Connect) -> Connect:
    """`connect` that works once: what was read of the machine on one connection must not be believed of another."""
    used = False

    async def first() -> Stream:
        nonlocal used
        if used:
            raise ConnectionAbortedError("the connection to the machine broke")
        used = True
        return await connect()

    return first


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
