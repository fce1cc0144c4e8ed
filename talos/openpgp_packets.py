"""OpenPGP's outer forms, as far as keys and detached signatures need them (RFC 9580): armor, packets, numbers."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass

SIGNATURE, SECRET_KEY, PUBLIC_KEY, SECRET_SUBKEY, USER_ID, PUBLIC_SUBKEY = 2, 5, 6, 7, 13, 14

_LONGEST = 64 * 1024
_BEGIN, _END, _DASHES = "-----BEGIN PGP ", "-----END PGP ", "-----"


class OpenPGPError(ValueError):
    """Bytes that are no OpenPGP of the kind that is used here. The text never holds them."""


@dataclass(frozen=True)
class Packet:
    """One packet."""

    tag: int
    body: bytes

    def __bytes__(self) -> bytes:
        return bytes([0xC0 | self.tag]) + _length(len(self.body)) + self.body


class Reader:
    """Takes fields off the front of some bytes. Each read raises OpenPGPError where they end too early."""

    def __init__(self, data: bytes) -> None:
        self._data, self.position = data, 0

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return self.position < len(self._data)

    def take(self, count: int) -> bytes:
        """So many bytes."""
        taken = self._data[self.position : self.position + count]
        if len(taken) < count:
            raise OpenPGPError("it ends too early; was it cut off?")
        self.position += count
        return taken

    def number(self, size: int) -> int:
        """A number of so many bytes."""
        return int.from_bytes(self.take(size))

    def mpi(self, longest: int) -> bytes:
        """A multiprecision integer of at most so many bytes, without its leading zero bits."""
        size = (self.number(2) + 7) // 8
        if size > longest:
            raise OpenPGPError("a number in it is too long for its kind of key")
        return self.take(size)

    def length(self) -> int:
        """A length as packets of the current format and subpackets write it."""
        first = self.number(1)
        if first < 192:
            return first
        if first < 224:
            return ((first - 192) << 8) + self.number(1) + 192
        if first == 255:
            return self.number(4)
        raise OpenPGPError("a packet in it is split into parts, which keys and signatures are not")


def packets(data: bytes) -> Iterator[Packet]:
    """The packets of binary data. Raises OpenPGPError, for too much of it as well."""
    if len(data) > _LONGEST:
        raise OpenPGPError(f"it is longer than {_LONGEST // 1024} KiB")
    reader = Reader(data)
    while reader:
        header = reader.number(1)
        if not header & 0x80:
            raise OpenPGPError("it is no OpenPGP data")
        if header & 0x40:
            tag, size = header & 0x3F, reader.length()
        else:
            tag, kind = header >> 2 & 0x0F, header & 3
            if kind == 3:
                raise OpenPGPError("a packet in it does not say how long it is")
            size = reader.number(1 << kind)
        yield Packet(tag, reader.take(size))


def subpackets(area: bytes) -> Iterator[tuple[int, bool, bytes]]:
    """Type, whether it is critical, and value of each subpacket of a signature's area."""
    reader = Reader(area)
    while reader:
        size = reader.length()
        if size == 0:
            raise OpenPGPError("a part of a signature in it is empty")
        kind, *value = reader.take(size)
        yield kind & 0x7F, bool(kind & 0x80), bytes(value)


def subpacket(kind: int, value: bytes) -> bytes:
    """A subpacket that is not critical."""
    return _length(len(value) + 1) + bytes([kind]) + value


def mpi(value: bytes) -> bytes:
    """A big-endian number as a multiprecision integer."""
    number = value.lstrip(b"\0")
    bits = int.from_bytes(number).bit_length()
    return bits.to_bytes(2) + number


def dearmor(data: bytes) -> bytes:
    """The bytes within armor, or what was given if it is binary. A checksum is passed over, as the standard asks."""
    if data[:1] and data[0] & 0x80:
        return data
    lines = [line.strip() for line in data.decode("ascii", "replace").splitlines()]
    begin = next((at for at, line in enumerate(lines) if line.startswith(_BEGIN) and line.endswith(_DASHES)), None)
    if begin is None:
        raise OpenPGPError("it is neither armored (-----BEGIN PGP ...) nor binary OpenPGP data")
    label = lines[begin].removeprefix(_BEGIN)
    try:
        end = lines.index(f"{_END}{label}", begin)
    except ValueError:
        raise OpenPGPError(f"its last line, {_END}{label[:40]}, is missing; was it cut off?") from None
    body = lines[begin + 1 : end]
    if "" in body:  # ends the armor's own headers
        body = body[body.index("") + 1 :]
    try:
        return base64.b64decode("".join(line for line in body if not line.startswith("=")), validate=True)
    except ValueError:
        raise OpenPGPError("what is within its armor is not base64") from None


def armor(label: str, data: bytes) -> str:
    """Armored text: `PUBLIC KEY BLOCK`, `PRIVATE KEY BLOCK`."""
    text = base64.b64encode(data).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    checksum = base64.b64encode(_crc24(data).to_bytes(3)).decode()
    whole = [f"{_BEGIN}{label}{_DASHES}", "", *lines, f"={checksum}", f"{_END}{label}{_DASHES}"]
    return "\n".join(whole) + "\n"


def _length(size: int) -> bytes:
    if size < 192:
        return bytes([size])
    if size < 8384:
        return bytes([(size - 192 >> 8) + 192, size - 192 & 0xFF])
    return b"\xff" + size.to_bytes(4)


def _crc24(data: bytes) -> int:
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return crc
