"""Who called, told from one process to another by the name of a unix socket.

The gateway relays bytes without reading them, so scheme and address of the caller cannot travel in a header. The socket
it connects with is bound to an abstract name that holds them; only processes in the private folder can connect at all.
"""

import asyncio
import itertools
import os
import socket
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "omni"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Caller:
    """Scheme and address of the one at the other end of a relayed connection."""

    scheme: str
    address: str
    port: int

    async def connect(self, target: Path) -> socket.socket:
        """A connected, non-blocking unix socket under this caller's name. Raises OSError."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            unique = f"{os.getpid()}.{next(_numbers)}"
            connection.bind(f"\0{_PREFIX}/{self.scheme}/{self.address}/{self.port}/{unique}")
            await asyncio.get_running_loop().sock_connect(connection, str(target))
        except BaseException:
            connection.close()
            raise
        return connection


def caller_of(peername: object) -> Caller | None:
    """The caller that a unix socket's peer name tells, or None for any other name."""
    text = peername.decode(errors="replace") if isinstance(peername, bytes) else str(peername)
    parts = text.lstrip("\0").split("/")
    if len(parts) != 5 or parts[0] != _PREFIX or not parts[3].isdecimal():
        return None
    return Caller(parts[1], parts[2], int(parts[3]))
