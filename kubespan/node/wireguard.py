"""KubeSpan's network interface: the kernel's WireGuard, or `wireguard-go` on a TUN device; both are told by `wg`.

Peers are compared with what the interface has, so that those that stay as they are never notice.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address, ip_network
from pathlib import Path
from typing import Self

from kubespan.affiliates import Endpoint, Network
from kubespan.node import programs
from kubespan.node.specs import PeerSpec
from kubespan.node.status import Observed, PeerStatus

MARK = 0x20
"""On WireGuard's own packets, which never go into the tunnel."""
KEEPALIVE = 25
"""Seconds."""
START_TIMEOUT = 10.0
"""Seconds that `wireguard-go` may take to open its control socket."""

_CONTROL_SOCKETS = Path("/var/run/wireguard")
_FIELDS = 8


class Kind(StrEnum):
    """What carries the packets."""

    KERNEL = "kernel"
    WIREGUARD_GO = "wireguard-go"


_NEEDS = {
    Kind.KERNEL: "it needs the right NET_ADMIN and WireGuard in the kernel; wireguard-go needs only the former",
    Kind.WIREGUARD_GO: "it needs the right NET_ADMIN and /dev/net/tun",
}


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer as the interface is told; no endpoint leaves the one that it has."""

    allowed_ips: frozenset[Network]
    endpoint: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class Present:
    """A peer as the interface has it."""

    allowed_ips: frozenset[Network]
    observed: Observed


def parse_dump(text: str) -> dict[str, Present]:
    """The peers of `wg show NAME dump`, by public key. Raises ValueError for another form.

    `wg` tells whole seconds, the last handshake's is taken for over: so a handshake is never older than the endpoint
    that was set just before it.
    """
    peers = {}
    for line in text.splitlines()[1:]:  # the first one is about the interface
        fields = line.split("\t")
        if len(fields) != _FIELDS:
            raise ValueError(f"`wg show dump` gave a line of {len(fields)} fields, not {_FIELDS}")
        key, _, endpoint, allowed, handshake, received, sent, _ = fields
        peers[key] = Present(
            frozenset(ip_network(network) for network in allowed.split(",") if network != "(none)"),
            Observed(
                None if endpoint == "(none)" else Endpoint.parse(endpoint),
                int(handshake) + 1.0 if int(handshake) else None,
                int(received),
                int(sent),
            ),
        )
    return peers


def wanted(specs: Iterable[PeerSpec], statuses: Mapping[str, PeerStatus]) -> dict[str, Peer]:
    """The peers that the interface shall have, by public key."""
    return {
        spec.public_key: Peer(frozenset(spec.allowed_ips), statuses[spec.public_key].wanted_endpoint) for spec in specs
    }


def changes(wanted: Mapping[str, Peer], present: Mapping[str, Present]) -> tuple[dict[str, Peer], list[str]]:
    """The peers that have to be told, and the keys of those that have to go."""
    told = {}
    for key, peer in wanted.items():
        has = present.get(key)
        if has is None or peer.allowed_ips != has.allowed_ips or peer.endpoint not in (None, has.observed.endpoint):
            told[key] = peer
    return told, [key for key in present if key not in wanted]


def configuration(peers: Mapping[str, Peer], preshared_key: str) -> str:
    """The peers as `wg addconf` takes them: for each, the allowed networks are replaced."""
    lines = []
    for key, peer in peers.items():
        lines += ["[Peer]", f"PublicKey = {key}", f"PresharedKey = {preshared_key}"]
        lines += [f"PersistentKeepalive = {KEEPALIVE}"]
        if peer.allowed_ips:
            lines.append(f"AllowedIPs = {', '.join(sorted(map(str, peer.allowed_ips)))}")
        if peer.endpoint is not None:
            lines.append(f"Endpoint = {peer.endpoint}")
    return "".join(f"{line}\n" for line in lines)


class Interface:
    """The interface, up. Made by `open`."""

    def __init__(self, name: str, secret: bytes, port: int) -> None:
        self.name, self._port = name, port
        self._preshared_key = base64.b64encode(secret).decode()
        self._process: asyncio.subprocess.Process | None = None

    @classmethod
    async def open(
        cls, name: str, kind: Kind, *, private_key: str, secret: bytes, address: IPv6Address, port: int, mtu: int
    ) -> Self:
        """Make it, whatever an earlier process left under its name. Raises OSError with the reason.

        `secret` is the cluster's: it is the preshared key of all peers.
        """
        self = cls(name, secret, port)
        await self._delete()
        try:
            if kind is Kind.KERNEL:
                await programs.run("ip", "link", "add", name, "type", "wireguard")
            else:
                await self._start()
            words = ("listen-port", str(port), "fwmark", hex(MARK), "private-key", "/dev/stdin")
            await programs.run("wg", "set", name, *words, stdin=private_key)
            await programs.run("ip", "address", "add", f"{address}/64", "dev", name, "nodad")
            await programs.run("ip", "link", "set", name, "mtu", str(mtu), "up")
        except BaseException as error:
            await self.close()
            if isinstance(error, OSError):
                raise OSError(
                    error.errno, f"no WireGuard interface {name}: {error.strerror} ({_NEEDS[kind]})"
                ) from None
            raise
        return self

    async def peers(self) -> dict[str, Present]:
        """The peers that it has. Raises OSError."""
        return parse_dump(await programs.run("wg", "show", self.name, "dump"))

    async def apply(self, told: Mapping[str, Peer], removed: Iterable[str]) -> None:
        """Take over changes. Raises OSError."""
        if removals := [word for key in removed for word in ("peer", key, "remove")]:
            await programs.run("wg", "set", self.name, *removals)
        if told:
            await programs.run("wg", "addconf", self.name, "/dev/stdin", stdin=configuration(told, self._preshared_key))

    async def forget_sources(self) -> None:
        """The host has other addresses now. `wireguard-go` else tries for 15 s to send from the one that it used last.

        Raises OSError.
        """
        await programs.run("wg", "set", self.name, "listen-port", str(self._port))

    async def watch(self) -> None:
        """Does not return. Raises OSError when `wireguard-go` ends."""
        if self._process is None:
            await asyncio.Event().wait()
            return
        status = await self._process.wait()
        raise OSError(errno.EIO, f"wireguard-go of {self.name} ended with {status}")

    async def close(self) -> None:
        """Take it away."""
        await self._delete()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            await self._process.wait()

    async def _delete(self) -> None:
        with contextlib.suppress(OSError):
            await programs.run("ip", "link", "delete", self.name)

    async def _start(self) -> None:
        """Start `wireguard-go` and wait until it takes orders; it dies with this process."""
        control = _CONTROL_SOCKETS / f"{self.name}.sock"
        control.unlink(missing_ok=True)
        environment = os.environ | {"LOG_LEVEL": "error", "WG_PROCESS_FOREGROUND": "1"}
        try:
            self._process = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL", "wireguard-go", "--foreground", self.name),
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
            )
        except FileNotFoundError:
            raise programs.missing("setpriv") from None
        try:
            async with asyncio.timeout(START_TIMEOUT):
                while not control.exists():
                    if self._process.returncode is not None:
                        raise OSError(errno.EIO, "wireguard-go does not start: is it installed?")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise OSError(errno.ETIMEDOUT, "wireguard-go opened no control socket") from None


def observed(present: Mapping[str, Present]) -> dict[str, Observed]:
    """What the interface says of its peers."""
    return {key: peer.observed for key, peer in present.items()}
