"""Who is at the other end of a relayed connection, told by the name of a unix socket.

grpcio accepts only connections that it makes itself, so connections from elsewhere are relayed to a unix socket of its
own. The relaying end is bound to an abstract name that holds scheme and address of the caller; the server reads it as
`context.peer()`. The socket lies in a private folder: nobody else can connect and claim a name.

Between hosts the relaying end says it in a first line instead, on a connection that only our own processes can make.
"""

import asyncio
import itertools
import json
import os
import socket
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote

_PREFIX = "omni"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Caller:
    """Scheme, address and port of the one who called, and the serial number of the client certificate they proved."""

    scheme: str
    address: str
    port: int
    certificate: str = ""  # hex, of at least 32 digits; empty without one

    async def connect(self, target: Path) -> socket.socket:
        """A connected, non-blocking unix socket under this caller's name. Raises OSError."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            unique = f"{os.getpid():x}.{next(_numbers):x}"  # a name has 107 bytes at most
            shown = f"{self.scheme}/{self.address}/{self.port}/{self.certificate}"
            connection.bind(f"\0{_PREFIX}/{shown}/{unique}")
            await asyncio.get_running_loop().sock_connect(connection, str(target))
        except BaseException:
            connection.close()
            raise
        return connection


def caller_of(peer: object) -> Caller | None:
    """The caller named by grpcio's `context.peer()` or by a socket's peer name; None when it was not relayed."""
    text = peer.decode(errors="replace") if isinstance(peer, bytes) else str(peer or "")
    parts = unquote(text.removeprefix("unix-abstract:").lstrip("\0")).split("/")
    if len(parts) != 6 or parts[0] != _PREFIX or not parts[3].isdecimal():
        return None
    return Caller(parts[1], parts[2], int(parts[3]), parts[4])


async def announce(caller: Caller, writer: asyncio.StreamWriter) -> None:
    """Say in a first line for whom the connection is."""
    writer.write(json.dumps(asdict(caller)).encode() + b"\n")
    await writer.drain()


async def announced(reader: asyncio.StreamReader) -> Caller:
    """Read what `announce` said. Raises ValueError."""
    try:
        told = json.loads(await reader.readline())
        address = ip_address(told["address"])
        certificate = f"{int(told['certificate'], 16):032x}" if told.get("certificate") else ""
        return Caller("https" if told["scheme"] == "https" else "http", str(address), int(told["port"]), certificate)
    except (KeyError, TypeError) as error:
        raise ValueError(f"a connection without a caller: {error}") from None
