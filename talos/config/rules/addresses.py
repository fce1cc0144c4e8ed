"""Addresses, URLs, keys and other encoded values, checked with the error texts of Go's standard library."""

from __future__ import annotations

import base64
import ipaddress
import re

from talos.config import gourl
from talos.config.errors import quote

_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def parse_address(text: str) -> Address:
    """An IP address. Raises ValueError with Go's words."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"ParseAddr({quote(text)}): {_address_problem(text)}") from None


def _address_problem(text: str) -> str:
    if ":" in text:
        return "unable to parse IP" if not re.search("[0-9a-fA-F]", text) else "each group must have 4 or less digits"
    if "." not in text:
        return "unable to parse IP"
    fields = text.split(".")
    for field in fields:
        if not field or not field.isdigit():
            break
        if len(field) > 1 and field[0] == "0":
            return "IPv4 field has octet with leading zero"
        if int(field) > 255:
            return "IPv4 field has value >255"
    if bad := re.search(r"[^0-9.]", text):
        return f"unexpected character (at {quote(text[bad.start() :])})"
    if "" in fields:
        return f"IPv4 field must have at least one digit (at {quote(text[max(0, text.find('..')) :])})"
    return "IPv4 address too long" if len(fields) > 4 else "IPv4 address too short"


def is_address(text: str) -> bool:
    """Whether the text is an IP address without a zone."""
    return "%" not in text and _is(text, "address")


def is_prefix(text: str) -> bool:
    """Whether the text is an IP prefix in CIDR form."""
    return _is(text, "prefix")


def is_subnet(text: str) -> bool:
    """Whether the text is an IP prefix or a single address."""
    return _is(text, "prefix") or _is(text, "address")


def _is(text: str, what: str) -> bool:
    try:
        if what == "address":
            ipaddress.ip_address(text)
            return True
        address, slash, bits = text.rpartition("/")
        return (
            bool(slash)
            and "%" not in address
            and re.fullmatch(r"0|[1-9]\d*", bits) is not None
            and int(bits) <= ipaddress.ip_address(address).max_prefixlen
        )
    except ValueError:
        return False


def prefix(text: str) -> Network:
    """A prefix that is known to be one; it keeps its host bits."""
    return ipaddress.ip_interface(text)


def overlap(left: str, right: str) -> bool:
    """Whether two prefixes share an address."""
    a, b = prefix(left), prefix(right)
    return a.version == b.version and (b.ip in a.network or a.ip in b.network)


def address_or_prefix_problem(text: str) -> str | None:
    """Why the text is neither an address nor a prefix; None if it is."""
    if "/" in text:
        return None if is_prefix(text) else f"invalid CIDR address: {text}"
    return None if is_address(text) else f"failed to parse IP address {quote(text)}"


def endpoint_problem(url: str) -> str | None:
    """Why the URL is not one of an endpoint; None if it is."""
    try:
        parts = gourl.parse(url)
    except ValueError as error:
        return str(error)
    if parts.host.count(":") > 2 and not ("[" in parts.host and "]" in parts.host):
        return "IPv6 addresses MUST be enclosed by square brackets"
    if not parts.hostname:
        return "hostname must not be blank"
    if parts.port and not 1 <= int(parts.port) <= 65535:
        return "port number must be between 1 and 65535"
    return None


def split_host_port(text: str) -> tuple[str, str]:
    """Host and port of `host:port`. Raises ValueError with Go's words."""

    def refuse(why: str) -> ValueError:
        return ValueError(f"address {text}: {why}" if text else why)

    host, colon, port = text.rpartition(":")
    if not colon:
        raise refuse("missing port in address")
    if text.startswith("["):
        end = text.find("]")
        if end < 0:
            raise refuse("missing ']' in address")
        if end + 1 == len(text):
            raise refuse("missing port in address")
        if end + 1 != len(host):
            raise refuse("too many colons in address" if text[end + 1] == ":" else "missing port in address")
        host = host[1:-1]
    elif ":" in host:
        raise refuse("too many colons in address")
    if "[" in host or "[" in port:
        raise refuse("unexpected '[' in address")
    if "]" in host or "]" in port:
        raise refuse("unexpected ']' in address")
    return host, port


def has_port(text: str) -> bool:
    """Whether the text is `host:port`, with an IPv6 address in brackets."""
    try:
        host, _ = split_host_port(text)
        return ":" not in host or bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def decode_base64(text: str) -> bytes:
    """Standard base64 with padding. Raises ValueError naming the offset of the first wrong byte."""
    data = text.encode()
    symbols = [(index, byte) for index, byte in enumerate(data) if byte not in b"\r\n"]
    for position, (index, byte) in enumerate(symbols):
        if byte in _BASE64:
            continue
        rest = [other for _, other in symbols[position:]]
        last = position % 4 == 3 and rest == [ord("=")]
        if not last and not (position % 4 == 2 and rest == [ord("="), ord("=")]):
            offset = index
            if byte == ord("=") and position % 4 >= 2:
                offset = symbols[position + (1 if position % 4 == 3 else 0)][0] if len(rest) > 1 else len(data)
            raise ValueError(f"illegal base64 data at input byte {offset}")
        break
    else:
        if left := len(symbols) % 4:
            raise ValueError(f"illegal base64 data at input byte {len(data) - left}")
    return base64.b64decode(data)
