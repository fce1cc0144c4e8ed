"""Node ids: 32 random bytes as base62 text, 43 to 52 letters and digits.

The bytes are one big number, read from its low end. A digit stands for 6 bits, except that 62 and 63 are no digits:
where bits 1 to 4 are all set, a digit stands for 5 bits. The last digit stands for as many bits as are left.
"""

import secrets

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_SHORT = 0b011110
"""Bits that are all set in the digits of 5 bits."""

SIZE = 32


def generate() -> str:
    """A new node's id."""
    return encode(secrets.token_bytes(SIZE))


def encode(data: bytes) -> str:
    """The text of some bytes."""
    number, left = int.from_bytes(data), len(data) * 8
    digits = []
    while left > 0:
        digit = number & 0x3F
        size = 6
        if digit & _SHORT == _SHORT:
            if left > 6 or digit > 0x1F:
                size = 5
            digit &= 0x1F
        digits.append(_DIGITS[digit])
        number >>= size
        left -= size
    return "".join(digits)


def decode(text: str) -> bytes:
    """The bytes of a text. Raises ValueError when it has another character than letters and digits."""
    number = offset = 0
    for index, character in enumerate(text):
        value = _VALUES.get(character)
        if value is None:
            raise ValueError(f"{character!r} is not a letter or digit of a node id")
        number |= value << offset
        if index == len(text) - 1:
            offset += value.bit_length()
        else:
            offset += 5 if value & _SHORT == _SHORT else 6
    return number.to_bytes((offset + 7) // 8)


def machine_id(node_id: str) -> str:
    """What is in the node's `/etc/machine-id`. Raises ValueError when the node id is not one."""
    data = decode(node_id)
    if len(data) < 16:
        raise ValueError(f"node id {node_id!r} is too short")
    return data[:16].hex()
