"""One affiliate as it goes over the wire: its `Affiliate` message with the tag and length of a field 1 before it.

So an entry is, as it is, the `WatchResponse` that tells of it; and entries one after another are the `ListResponse`, or
the first `WatchResponse`, of a cluster. They are kept in this form and never built again to be sent.
"""

from collections.abc import Iterable

_ID, _DATA, _ENDPOINT = b"\x0a", b"\x12", 0x1A
_DELETED = b"\x10\x01"

_SIZES = [bytes([n]) if n < 0x80 else bytes([n & 0x7F | 0x80, n >> 7]) for n in range(0x4000)]


def size(length: int) -> bytes:
    """A length as protobuf writes it before what is so long."""
    if length < 0x4000:
        return _SIZES[length]
    written = bytearray()
    while length > 0x7F:
        written.append(length & 0x7F | 0x80)
        length >>= 7
    written.append(length)
    return bytes(written)


def field(tag: bytes, value: bytes) -> bytes:
    """A field that holds bytes, a string or a message; `tag` is its number and type."""
    return b"%b%b%b" % (tag, size(len(value)), value)


def encode(affiliate_id: str, data: bytes, endpoints: Iterable[bytes]) -> bytes:
    """An entry. Endpoints are of at most 127 bytes."""
    parts = [field(_ID, affiliate_id.encode())]
    if data:
        parts.append(field(_DATA, data))
    parts.extend(b"\x1a%c%b" % (len(endpoint), endpoint) for endpoint in endpoints)
    return field(b"\x0a", b"".join(parts))


def decode(entry: bytes) -> tuple[bytes, list[bytes]]:
    """Data and endpoints of an entry that `encode` made."""
    _, at = _length(entry, 1)
    length, at = _length(entry, at + 1)
    at += length  # behind the id
    data = b""
    if entry[at : at + 1] == _DATA:
        length, at = _length(entry, at + 1)
        data = entry[at : at + length]
        at += length
    endpoints = []
    end = len(entry)
    while at < end:
        assert entry[at] == _ENDPOINT
        start = at + 2
        at = start + entry[at + 1]
        endpoints.append(entry[start:at])
    return data, endpoints


def deletion(affiliate_id: str) -> bytes:
    """The `WatchResponse` that says that an affiliate is gone."""
    return field(b"\x0a", field(_ID, affiliate_id.encode())) + _DELETED


def _length(entry: bytes, at: int) -> tuple[int, int]:
    """The length written at `at`, and where what is so long begins."""
    low = entry[at]
    return (low, at + 1) if low < 0x80 else (low & 0x7F | entry[at + 1] << 7, at + 2)
