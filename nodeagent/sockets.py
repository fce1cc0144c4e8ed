"""Unix sockets between parts of a process, where nobody else can reach them, and resets of TCP connections."""

import asyncio
import atexit
import contextlib
import itertools
import shutil
import socket
import struct
import tempfile
from functools import cache
from pathlib import Path

RESET = struct.pack("ii", 1, 0)
"""Value of SO_LINGER with which closing a socket resets its connection."""

_numbers = itertools.count()


@cache
def private_folder() -> Path:
    """A folder for unix sockets that only this user can enter; removed when the process ends."""
    path = Path(tempfile.mkdtemp(prefix="node-"))  # mkdtemp makes it with mode 0700
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def new_socket_path() -> Path:
    """A path for one more unix socket in the private folder."""
    return private_folder() / str(next(_numbers))


def reset(transport: asyncio.WriteTransport) -> None:
    """Break a TCP connection so that the other end learns it now: `abort` alone ends the kernel's politely.

    Closing one that only ever receives goes unnoticed by who sends; the first it sends after that is lost.
    """
    link = transport.get_extra_info("socket")
    if link is not None:
        if link.fileno() == -1:
            return  # it has ended; asyncio's own transports cannot be aborted then
        with contextlib.suppress(OSError):  # it is closed already
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    transport.abort()
