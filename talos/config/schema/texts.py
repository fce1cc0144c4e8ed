"""Formats of text fields. Each function gives the canonical text (or number) of a value, or raises ValueError."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import math
import re

from talos.yaml12 import scalars

REDACTED = "******"
"""A key with this value is kept literally where base64 is expected."""

_BYTE_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgtpe", start=1):
    _BYTE_UNITS |= {_letter: 1000**_power, f"{_letter}b": 1000**_power}
    _BYTE_UNITS |= {f"{_letter}i": 1024**_power, f"{_letter}ib": 1024**_power}


def parse_bytes(text: str) -> int:
    """Bytes of a size such as `10GiB`, `1.5 TB` or `1024`. Raises ValueError."""
    match = re.match(r"[0-9.,]*", text)
    number = match.group() if match else ""
    unit = text[len(number) :].strip().lower()
    digits = number.replace(",", "")
    if not re.fullmatch(r"[0-9]+\.?[0-9]*|\.[0-9]+", digits):
        raise ValueError(f'strconv.ParseFloat: parsing "{digits}": invalid syntax')
    if unit not in _BYTE_UNITS:
        raise ValueError(f"unhandled size name: {unit}")
    size = float(digits) * _BYTE_UNITS[unit]
    if size >= 2.0**64:
        raise ValueError(f"too large: {text}")
    return int(size)


def byte_size(text: str) -> str:
    if text:
        parse_bytes(text.removeprefix("-"))
    return text


def percentage(text: str) -> str:
    digits = text.removeprefix("-").removesuffix("%")
    if not text.endswith("%"):
        raise ValueError("percentage must end with '%'")
    if not re.fullmatch(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", digits):
        raise ValueError(f'invalid percentage value: strconv.ParseFloat: parsing "{digits}": invalid syntax')
    value = float(digits)
    if not 0 <= value <= 100:
        raise ValueError(f"percentage must be between 0 and 100, got {scalars.format_float(value)}")
    return text


def size(text: str) -> str:
    return percentage(text) if "%" in text else byte_size(text)


def human_bytes(size: int) -> str:
    """A size with a decimal unit, rounded: `10 GB`, `1.5 kB`."""
    if size < 10:
        return f"{size} B"
    exponent = min(int(math.log(size) / math.log(1000)), 6)
    value = math.floor(size / 1000**exponent * 10 + 0.5) / 10
    return f"{value:.{1 if value < 10 else 0}f} {('B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB')[exponent]}"


def disk_size(text: str) -> str | int:
    size = parse_bytes(text)
    if size % 1000 == 0 and parse_bytes(human_bytes(size)) == size:
        return human_bytes(size) if size else 0
    return size


def size_condition(text: str) -> str:
    condition = text.strip()
    match = re.search(r"(>=|<=|>|<|==)?(.*)$", condition)
    assert match is not None
    amount = match.group(2)
    try:
        parse_bytes(amount.strip())
    except ValueError as error:
        raise ValueError(f"failed to parse disk size {amount}: {error}") from None
    return condition


def base64_text(text: str) -> str:
    stripped = text.replace("\r", "").replace("\n", "")
    try:
        return base64.b64encode(base64.b64decode(stripped, validate=True)).decode()
    except (binascii.Error, ValueError):
        raise ValueError("illegal base64 data") from None


def base64_key(text: str) -> str:
    return text if text == REDACTED else base64_text(text)


def format_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """An address as Go prints it: IPv4-mapped ones keep their dotted part."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        zone = f"%{address.scope_id}" if address.scope_id else ""
        return f"::ffff:{address.ipv4_mapped}{zone}"
    return str(address)


def address(text: str) -> str:
    if not text:
        return ""
    try:
        return format_address(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f'ParseAddr("{text}"): unable to parse IP') from None


def prefix(text: str) -> str:
    if not text:
        return ""
    address, slash, bits = text.rpartition("/")
    try:
        parsed = ipaddress.ip_address(address)
        length = int(bits)
        if not slash or "%" in address or not re.fullmatch(r"0|[1-9][0-9]*", bits) or length > parsed.max_prefixlen:
            raise ValueError
    except ValueError:
        raise ValueError(f'netip.ParsePrefix("{text}"): not a prefix such as 10.0.0.0/8') from None
    return f"{format_address(parsed)}/{length}"


def address_port(text: str) -> str:
    if not text:
        return ""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
        if not colon or bracketed != (address.version == 6) or not re.fullmatch(r"[0-9]+", port) or int(port) > 65535:
            raise ValueError
    except ValueError:
        raise ValueError(f'invalid ip:port "{text}"') from None
    shown = format_address(address)
    return f"[{shown}]:{int(port)}" if bracketed else f"{shown}:{int(port)}"


def hardware_address(text: str) -> str:
    digits = text.replace(":", "")
    if len(digits) % 2 or not re.fullmatch("[0-9A-Fa-f]*", digits):
        raise ValueError("encoding/hex: invalid hardware address")
    return ":".join(f"{byte:02x}" for byte in bytes.fromhex(digits))


def fail_over_mac(text: str) -> str:
    words = {
        "": "none",
        "none": "none",
        "active": "active",
        "follow": "follow",
        "0": "none",
        "1": "active",
        "2": "follow",
    }
    if text not in words:
        raise ValueError(f"invalid fail_over_mac value {text}")
    return words[text]
