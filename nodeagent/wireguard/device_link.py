"""Making and removing the network interface of a device engine, and the packet filter in front of it.

Both kinds need NET_ADMIN. A machine reaches our own overlay address and there the ports we listen on, nothing else;
nobody but its holder reaches that address from another interface; nothing is forwarded to or from the interface. Of
this host only the engine connects to machines, not whoever else may open a socket here: in maintenance mode a machine
obeys whoever comes over its link.
"""

import asyncio
import contextlib
import errno
import os
from enum import StrEnum
from pathlib import Path

from nodeagent.wireguard.engine import MTU
from nodeagent.wireguard.wg import key_text, run

START_TIMEOUT = 5.0
"""Seconds that wireguard-go may take to open its control socket."""

MARK = 0x6F6D6E69
"""On sockets that connect to machines (SO_MARK); setting it takes NET_ADMIN."""

CONTROL_SOCKETS = Path("/var/run/wireguard")


class Kind(StrEnum):
    """What carries the packets."""

    WIREGUARD_GO = "wireguard-go"
    KERNEL = "kernel"


def filter_rules(interface: str, address: str) -> str:
    """The packet filter as nft takes it. It looks at new connections only and keeps no state of its own."""
    return f"""
table inet {table(interface)} {{
  set ports {{ type inet_service; }}
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname != {{ "{interface}", "lo" }} ip6 daddr {address} drop
    iifname != "{interface}" accept
    ip6 daddr != {address} drop
    meta l4proto != {{ tcp, ipv6-icmp }} drop
    tcp flags & (syn | ack) == syn tcp dport != @ports reject with tcp reset
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname "{interface}" drop
    oifname "{interface}" drop
  }}
  chain output {{
    type filter hook output priority filter; policy accept;
    oifname != "{interface}" accept
    meta l4proto != {{ tcp, ipv6-icmp }} drop
    tcp flags & (syn | ack) == syn meta mark != {MARK} reject with tcp reset
  }}
}}
"""


def table(interface: str) -> str:
    """The name of the filter's table."""
    return f"omni_{interface}"


async def open_port(interface: str, port: int) -> None:
    """Let machines connect to a port of ours."""
    await run("nft", "add", "element", "inet", table(interface), "ports", f"{{ {port} }}")


async def close_port(interface: str, port: int) -> None:
    """Refuse new connections to a port of ours."""
    await run("nft", "delete", "element", "inet", table(interface), "ports", f"{{ {port} }}")


async def create(kind: Kind, interface: str, private_key: bytes, address: str, port: int) -> "DeviceProcess | None":
    """Make the interface, whatever an earlier process left under its name, and bring it up behind its filter.

    The answer is the process that carries it, None for the kernel's own. Raises OSError with the reason.
    """
    await remove(interface)
    process = None
    try:
        if kind is Kind.KERNEL:
            await run("ip", "link", "add", interface, "type", "wireguard")
        else:
            process = await DeviceProcess.start(interface)
        await run("nft", "-f", "-", stdin=filter_rules(interface, address))
        await run(
            "wg", "set", interface, "listen-port", str(port), "private-key", "/dev/stdin", stdin=key_text(private_key)
        )
        await run("ip", "address", "add", f"{address}/64", "dev", interface, "nodad")
        await run("ip", "link", "set", interface, "mtu", str(MTU), "up")
    except BaseException as error:
        if process is not None:
            await process.stop()
        await remove(interface)
        if isinstance(error, OSError):
            hint = "it needs the right NET_ADMIN; --wireguard userspace needs none"
            raise OSError(error.errno, f"no WireGuard interface {interface}: {error.strerror} ({hint})") from None
        raise
    return process


async def remove(interface: str) -> None:
    """Take the interface and its filter away; one that is not there is no error."""
    for command in (("ip", "link", "delete", interface), ("nft", "delete", "table", "inet", table(interface))):
        with contextlib.suppress(OSError):
            await run(*command)


class DeviceProcess:
    """A running `wireguard-go`; it ends when its interface is deleted."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, interface: str) -> "DeviceProcess":
        """Start one and wait until it takes orders. Raises OSError."""
        environment = os.environ | {"LOG_LEVEL": "error", "WG_PROCESS_FOREGROUND": "1"}
        try:
            process = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL", "wireguard-go", "--foreground", interface),  # it dies with us
                env=environment,
                stdout=asyncio.subprocess.DEVNULL,
            )
        except FileNotFoundError:
            raise OSError(errno.ENOENT, "setpriv is not installed (Debian package util-linux)") from None
        self = cls(process)
        try:
            async with asyncio.timeout(START_TIMEOUT):
                while not (CONTROL_SOCKETS / f"{interface}.sock").exists():
                    if process.returncode is not None:
                        raise OSError(errno.EIO, "wireguard-go does not start: is it installed? Its message is above")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            await self.stop()
            raise OSError(errno.ETIMEDOUT, "wireguard-go opened no control socket") from None
        return self

    async def stop(self) -> None:
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        await self._process.wait()

    async def ended(self) -> int:
        """Wait for its end; its exit status."""
        return await self._process.wait()
