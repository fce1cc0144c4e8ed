"""A little internet of network namespaces: hosts on one Ethernet, and one behind a translator of addresses."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import struct
import subprocess
import threading
from ipaddress import ip_address

HOME = "198.51.100.1"
"""This namespace's own address on the Ethernet, which hosts have for their router."""
SWITCH = "switch"
ETH_P_ALL = 3
CLONE_NEWNET = 0x40000000
WORDS = b"who can read this was not kept out: "
"""What a ping carries; an even number of bytes."""
DATA_PACKET = b"\x04\x00\x00\x00"
"""Begins WireGuard's packets of data."""

_ECHO = {4: (8, 0), 6: (128, 129)}
"""Types of request and answer."""
_AGAIN = 0.25


def run(*command: str, stdin: str | None = None) -> str:
    done = subprocess.run(command, input=stdin, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def inside(host: str, *command: str) -> str:
    """Run something on a host."""
    return run("ip", "netns", "exec", host, *command)


def make() -> None:
    """The Ethernet, without hosts."""
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", SWITCH, "type", "bridge")
    run("ip", "address", "add", f"{HOME}/24", "dev", SWITCH)
    run("ip", "link", "set", SWITCH, "up")


def add_host(name: str, address: str) -> None:
    """A host with an address on the Ethernet."""
    _plug(name, "eth0", f"to-{name}", address)
    run("ip", "link", "set", f"to-{name}", "master", SWITCH, "up")
    inside(name, "ip", "route", "add", "default", "via", HOME)


def add_host_behind(router: str, name: str, address: str, gateway: str) -> None:
    """A host that reaches the others through a router of its own, which gives its packets other ports."""
    run("ip", "netns", "add", name)
    run("ip", "link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", "eth1", "netns", router)
    for host, link, own in ((router, "eth1", gateway), (name, "eth0", address)):
        inside(host, "ip", "address", "add", f"{own}/24", "dev", link)
        inside(host, "ip", "link", "set", link, "up")
    inside(name, "ip", "link", "set", "lo", "up")
    inside(name, "ip", "route", "add", "default", "via", gateway)
    inside(router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    inside(router, "nft", "add table ip nat")
    inside(router, "nft", "add chain ip nat out { type nat hook postrouting priority srcnat; }")
    inside(router, "nft", 'add rule ip nat out oifname "eth0" ip protocol udp masquerade to :40000-40999')
    inside(router, "nft", 'add rule ip nat out oifname "eth0" masquerade')


def move(name: str, old: str, new: str) -> None:
    """Give a host another address."""
    inside(name, "ip", "address", "delete", f"{old}/24", "dev", "eth0")
    inside(name, "ip", "address", "add", f"{new}/24", "dev", "eth0")
    inside(name, "ip", "route", "replace", "default", "via", HOME)


def _plug(name: str, link: str, other: str, address: str) -> None:
    run("ip", "netns", "add", name)
    run("ip", "link", "add", other, "type", "veth", "peer", "name", link, "netns", name)
    inside(name, "ip", "link", "set", "lo", "up")
    inside(name, "ip", "address", "add", f"{address}/24", "dev", link)
    inside(name, "ip", "link", "set", link, "up")


def socket_on(host: str, family: int, kind: int, protocol: int) -> socket.socket:
    """A socket of a host, to be used from here."""
    made: list[socket.socket | OSError] = []

    def enter() -> None:  # a thread has its own network namespace
        library = ctypes.CDLL(None, use_errno=True)
        with open(f"/run/netns/{host}") as namespace:
            if library.setns(namespace.fileno(), CLONE_NEWNET):
                made.append(OSError(ctypes.get_errno(), f"setns of {host}"))
            else:
                made.append(socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


async def ping(host: str, target: str, seconds: float) -> bool:
    """Whether a host is answered by an address within some time; asks until then."""
    version = ip_address(target).version
    family, protocol = {
        4: (socket.AF_INET, socket.IPPROTO_ICMP),
        6: (socket.AF_INET6, socket.IPPROTO_ICMPV6),
    }[version]
    request, answer = _ECHO[version]
    token = WORDS + os.urandom(8)
    loop = asyncio.get_running_loop()
    with socket_on(host, family, socket.SOCK_RAW, protocol) as raw, contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                with contextlib.suppress(OSError):  # no route yet
                    await loop.sock_sendto(raw, _echo(request, token), (target, 0))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_AGAIN):
                        while True:
                            packet = await loop.sock_recv(raw, 2048)
                            said = packet[(packet[0] & 0xF) * 4 :] if version == 4 else packet
                            if said[0] == answer and said[8:] == token:
                                return True
    return False


def _echo(kind: int, payload: bytes) -> bytes:
    message = struct.pack("!BBHHH", kind, 0, 0, 1, 1) + payload
    total = sum(struct.unpack(f"!{len(message) // 2}H", message))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return message[:2] + struct.pack("!H", ~total & 0xFFFF) + message[4:]  # the kernel makes that of ICMPv6 anew


class Eavesdropper:
    """Hears all that goes over the Ethernet."""

    def __init__(self) -> None:
        self.plain = self.sealed = 0
        self._raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ETH_P_ALL))
        asyncio.get_running_loop().add_reader(self._raw, self.hear)

    def hear(self) -> None:
        """Count what came by now."""
        with contextlib.suppress(BlockingIOError):
            while True:
                frame = self._raw.recv(4096)
                self.plain += WORDS in frame
                self.sealed += frame[12:14] == b"\x08\x00" and frame[23] == 17 and frame[42:46] == DATA_PACKET

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._raw)
        self._raw.close()
