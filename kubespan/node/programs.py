"""The programs `ip`, `wg` and `nft`: how they are called."""

import asyncio
import errno
import os

_PACKAGES = {"ip": "iproute2", "nft": "nftables", "wg": "wireguard-tools", "setpriv": "util-linux"}


async def run(*command: str, stdin: str = "") -> str:
    """What the program printed. Raises OSError with its own words when it fails or is not there."""
    given = os.memfd_create("stdin")  # a file, because `wg` opens /dev/stdin; in memory, because it may hold keys
    try:
        os.write(given, stdin.encode())
        os.lseek(given, 0, os.SEEK_SET)
        process = await asyncio.create_subprocess_exec(
            *command, stdin=given, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        raise missing(command[0]) from None
    finally:
        os.close(given)
    out, error = await process.communicate()
    if process.returncode:
        words = " ".join(error.decode(errors="replace").split()) or f"it ended with {process.returncode}"
        raise OSError(errno.EIO, f"{' '.join(command[:3])}: {words}")
    return out.decode()


def missing(program: str) -> OSError:
    """That a program is not installed, and in which package it is."""
    return OSError(errno.ENOENT, f"{program} is not installed (Debian package {_PACKAGES.get(program, program)})")
