"""IPv6, TCP and ICMPv6 echo packets as bytes.

Packets come out of WireGuard, which has authenticated every byte, so checksums are written but not verified.
"""

from __future__ import annotations

import struct

IPV6_HEADER_SIZE = 40
TCP_HEADER_SIZE = 20
TCP = 6
ICMPV6 = 58

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

_HOP_LIMIT = 64
_ECHO_REQUEST, _ECHO_REPLY = 128, 129
_unpack_tcp = struct.Struct("!HHIIHH").unpack_from
_pack_tcp = struct.Struct("!HHIIHHHH").pack
_pack_size = struct.Struct("!H").pack


class Segment:
    """A TCP segment; numbers as on the wire, options still encoded."""

    __slots__ = ("ack", "destination", "flags", "options", "payload", "seq", "source", "window")

    def __init__(
        self,
        source: int,
        destination: int,
        seq: int,
        ack: int,
        flags: int,
        window: int,
        payload: bytes = b"",
        options: bytes = b"",
    ) -> None:
        self.source = source
        self.destination = destination
        self.seq = seq
        self.ack = ack
        self.flags = flags
        self.window = window
        self.payload = payload
        self.options = options


class Route:
    """From one overlay address to another (16 bytes each): the constant parts of headers and checksums."""

    __slots__ = ("_addresses", "_checksum")

    def __init__(self, source: bytes, destination: bytes) -> None:
        self._addresses = source + destination
        self._checksum = int.from_bytes(self._addresses, "big") % 0xFFFF

    def header(self, size: int, protocol: int) -> bytes:
        """IPv6 header of a packet with `size` bytes after it."""
        return b"\x60\0\0\0" + _pack_size(size) + bytes((protocol, _HOP_LIMIT)) + self._addresses

    def checksum(self, data: bytes, protocol: int) -> bytes:
        """Internet checksum of `data` (its checksum field zero) and the pseudo header: ones' complement arithmetic is
        arithmetic modulo 65535."""
        size = len(data)
        value = int.from_bytes(data, "big")
        if size & 1:
            value <<= 8
        return _pack_size(0xFFFF - (value + self._checksum + size + protocol) % 0xFFFF)


def inner_packet(plaintext: bytes) -> bytes | None:
    """The IPv6 packet without WireGuard's padding; None when there is no whole one."""
    if len(plaintext) < IPV6_HEADER_SIZE or plaintext[0] >> 4 != 6:
        return None
    size = IPV6_HEADER_SIZE + (plaintext[4] << 8 | plaintext[5])
    if size > len(plaintext):
        return None
    return plaintext if size == len(plaintext) else plaintext[:size]


def decode_tcp(packet: bytes) -> Segment | None:
    """The TCP segment in an IPv6 packet; None when its header is cut or lies about its size."""
    if len(packet) < IPV6_HEADER_SIZE + TCP_HEADER_SIZE:
        return None
    source, destination, seq, ack, offset_and_flags, window = _unpack_tcp(packet, IPV6_HEADER_SIZE)
    offset = IPV6_HEADER_SIZE + (offset_and_flags >> 10 & 0x3C)
    options = b""
    if offset != IPV6_HEADER_SIZE + TCP_HEADER_SIZE:
        if not IPV6_HEADER_SIZE + TCP_HEADER_SIZE < offset <= len(packet):
            return None
        options = packet[IPV6_HEADER_SIZE + TCP_HEADER_SIZE : offset]
    return Segment(source, destination, seq, ack, offset_and_flags & 0x3F, window, packet[offset:], options)


def encode_tcp(route: Route, segment: Segment) -> bytes:
    """The IPv6 packet with this segment; the options' length must be a multiple of 4."""
    options = segment.options
    header = _pack_tcp(
        segment.source,
        segment.destination,
        segment.seq,
        segment.ack,
        (TCP_HEADER_SIZE + len(options)) << 10 | segment.flags,
        segment.window,
        0,
        0,
    )
    data = header + options + segment.payload
    return b"".join((route.header(len(data), TCP), data[:16], route.checksum(data, TCP), data[18:]))


def answer_echo(packet: bytes, back: Route) -> bytes | None:
    """The reply to an ICMPv6 echo request; None for any other packet."""
    message = packet[IPV6_HEADER_SIZE:]
    if len(message) < 8 or message[0] != _ECHO_REQUEST:
        return None
    data = bytes((_ECHO_REPLY, 0, 0, 0)) + message[4:]
    return b"".join((back.header(len(data), ICMPV6), data[:2], back.checksum(data, ICMPV6), data[4:]))
