"""Who a node is: what it keeps over restarts."""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from kubespan import nodeid
from kubespan.address import address
from kubespan.node.specs import KEY_SIZE

_UNICAST, _LOCAL = 0xFE, 0x02
"""Bits of a MAC's first byte: without the bit of groups, and with that of addresses nobody sold."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A node id, a private key of WireGuard in base64, and the MAC that the KubeSpan address is made of.

    A Talos node takes the MAC of its first network card. One that is drawn does as well, and two hosts with one card's
    image do not meet.
    """

    node_id: str
    private_key: str
    mac: bytes

    def __repr__(self) -> str:
        return f"Identity({self.node_id})"

    @classmethod
    def generate(cls) -> Identity:
        """A new node's."""
        mac = bytearray(secrets.token_bytes(6))
        mac[0] = mac[0] & _UNICAST | _LOCAL
        return cls(
            nodeid.generate(), base64.b64encode(X25519PrivateKey.generate().private_bytes_raw()).decode(), bytes(mac)
        )

    @classmethod
    def load(cls, path: Path) -> Identity:
        """From a file, which is written with a new one if it is not there. Raises OSError, ValueError."""
        try:
            return cls._parse(path.read_text())
        except FileNotFoundError:
            self = cls.generate()
            self._store(path)
            return self
        except ValueError:
            raise ValueError(f"{path} is no identity of a node; delete it to become a new one") from None

    @property
    def public_key(self) -> str:
        """The key by which peers know this node, in base64."""
        private = X25519PrivateKey.from_private_bytes(base64.b64decode(self.private_key))
        return base64.b64encode(private.public_key().public_bytes_raw()).decode()

    def address(self, cluster_id: str) -> IPv6Address:
        """The KubeSpan address in a cluster."""
        return address(cluster_id, self.mac)

    @classmethod
    def _parse(cls, text: str) -> Identity:
        data = json.loads(text)
        try:
            self = cls(data["nodeId"], data["privateKey"], bytes.fromhex(data["mac"].replace(":", "")))
            if len(nodeid.decode(self.node_id)) != nodeid.SIZE or len(self.mac) != 6:
                raise ValueError
            if len(base64.b64decode(self.private_key, validate=True)) != KEY_SIZE:
                raise ValueError
        except (KeyError, TypeError, binascii.Error):
            raise ValueError from None
        return self

    def _store(self, path: Path) -> None:
        """Atomically, and for nobody else to read."""
        record = {"nodeId": self.node_id, "privateKey": self.private_key, "mac": self.mac.hex(":")}
        text = json.dumps(record, indent=2) + "\n"
        part = path.with_name(f"{path.name}.new")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        part.replace(path)
