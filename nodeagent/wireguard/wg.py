"""The programs `wg`, `ip` and `nft`: how they are called, and what `wg show NAME dump` says (wg(8))."""

import asyncio
import base64
import errno
from dataclasses import dataclass

from nodeagent.wireguard.engine import UdpAddress

_FIELDS = 8


@dataclass(frozen=True, slots=True)
class PeerRow:
    """A peer as `wg` shows it. `last_handshake` is in Unix seconds, None before the first."""

    public_key: bytes
    endpoint: UdpAddress | None
    last_handshake: float | None
    received: int
    sent: int


def parse_dump(text: str) -> list[PeerRow]:
    """The peers of a dump; its first line is the interface's own. Raises ValueError for another form."""
    rows = []
    for line in text.splitlines()[1:]:
        fields = line.split("\t")
        if len(fields) != _FIELDS:
            raise ValueError(f"`wg show dump` gave a line of {len(fields)} fields, not {_FIELDS}")
        key, _, endpoint, _, handshake, received, sent, _ = fields
        at = float(handshake) or None
        rows.append(PeerRow(base64.b64decode(key), parse_endpoint(endpoint), at, int(received), int(sent)))
    return rows


def parse_endpoint(text: str) -> UdpAddress | None:
    """`HOST:PORT`, `[IPV6]:PORT` or `(none)`."""
    if text == "(none)":
        return None
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def endpoint_text(endpoint: UdpAddress) -> str:
    """The form that `wg` takes."""
    host, port = endpoint
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def key_text(key: bytes) -> str:
    """A key as `wg` takes it."""
    return base64.b64encode(key).decode()


async def run(*command: str, stdin: str = "") -> str:
    """What the program printed. Raises OSError with its own words when it fails or is not there."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        package = {"wg": "wireguard-tools", "ip": "iproute2", "nft": "nftables"}.get(command[0], command[0])
        raise OSError(errno.ENOENT, f"{command[0]} is not installed (Debian package {package})") from None
    out, error = await process.communicate(stdin.encode())
    if process.returncode:
        words = " ".join(error.decode(errors="replace").split()) or f"it ended with {process.returncode}"
        raise OSError(errno.EIO, f"{' '.join(command[:3])}: {words}")
    return out.decode()
