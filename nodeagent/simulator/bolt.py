"""A bbolt database file, as etcd keeps its data in.

Format (public: go.etcd.io/bbolt): pages of equal size, all numbers little-endian. Pages 0 and 1 are meta pages of the
last two transactions, closed by an FNV-1a checksum; they name the page of the root bucket and that of the free list. A
leaf page is a header, then an element per key (flags, offset from the element, lengths of key and value), then keys and
values. A bucket is an element with flag 1, whose value is a root page number and a sequence; with root 0 its only page
follows there, without a place in the file.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

PAGE = 4096
_MAGIC, _VERSION = 0xED0CDAED, 2
_LEAF, _META, _FREE = 0x02, 0x04, 0x10
_BUCKET = 1
_FREE_PAGE, _ROOT_PAGE = 2, 3
IN_USE = 4 * PAGE
"""Bytes that hold something: two meta pages, the free list, the root."""


def database(buckets: Mapping[str, Mapping[bytes, bytes]], pages: int) -> bytes:
    """A file of so many pages. Raises ValueError when the buckets need more than one."""
    elements = [
        (_BUCKET, name.encode(), struct.pack("<QQ", 0, 0) + _leaf(0, [(0, *pair) for pair in sorted(content.items())]))
        for name, content in sorted(buckets.items())
    ]
    free = list(range(_ROOT_PAGE + 1, pages))
    content = [
        _meta(0, pages),
        _meta(1, pages),
        _header(_FREE_PAGE, _FREE, len(free)) + struct.pack(f"<{len(free)}Q", *free),
        _leaf(_ROOT_PAGE, elements),
    ]
    if any(len(page) > PAGE for page in content):
        raise ValueError(f"buckets and free list have to fit into pages of {PAGE} bytes")
    return b"".join(page.ljust(PAGE, b"\0") for page in content) + bytes(PAGE * len(free))


def _header(number: int, flags: int, count: int) -> bytes:
    return struct.pack("<QHHI", number, flags, count, 0)


def _leaf(number: int, elements: list[tuple[int, bytes, bytes]]) -> bytes:
    table, data = b"", b""
    for index, (flags, key, value) in enumerate(elements):
        offset = 16 * (len(elements) - index) + len(data)
        table += struct.pack("<IIII", flags, offset, len(key), len(value))
        data += key + value
    return _header(number, _LEAF, len(elements)) + table + data


def _meta(transaction: int, pages: int) -> bytes:
    body = struct.pack("<IIIIQQQQQ", _MAGIC, _VERSION, PAGE, 0, _ROOT_PAGE, 0, _FREE_PAGE, pages, transaction)
    return _header(transaction, _META, 0) + body + struct.pack("<Q", _fnv1a(body))


def _fnv1a(data: bytes) -> int:
    """FNV-1a, 64 bits."""
    digest = 0xCBF29CE484222325
    for byte in data:
        digest = (digest ^ byte) * 0x100000001B3 % 2**64
    return digest
