"""What survives a reboot: META, what is installed, the machine configuration, etcd's member."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class Installation:
    """Talos on a disk: where, which release (tag with `v`), and the schematic it was built from."""

    disk: str
    version: str
    schematic: str


@dataclass(frozen=True)
class EtcdData:
    """A member as its data directory knows it; `cluster` is the etcd authority's fingerprint."""

    cluster: str
    member: int
    name: str
    address: str


@dataclass(frozen=True)
class Contents:
    """Everything on the disks. A machine that is not installed has an empty one."""

    installation: Installation | None = None
    meta: dict[int, bytes] = field(default_factory=dict)
    config: bytes = b""
    etcd: EtcdData | None = None
    node_id: str = ""
    """Discovery identity (base62); made with STATE, gone with it."""
    previous: Installation | None = None
    """The boot entry before the last upgrade."""


class Disk:
    """The contents, kept in a JSON file when a path is given. Every change is written before it counts."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._contents = _read(path) if path and path.exists() else Contents()

    @property
    def contents(self) -> Contents:
        return self._contents

    @property
    def installation(self) -> Installation | None:
        return self._contents.installation

    def update(
        self,
        *,
        meta: dict[int, bytes] | None = None,
        config: bytes | None = None,
        node_id: str | None = None,
    ) -> None:
        """Write some of it. A machine that is not installed has nothing to write to: nothing happens."""
        if self.installation is None:
            return
        now = self._contents
        self._replace(
            replace(
                now,
                meta=now.meta if meta is None else dict(meta),
                config=now.config if config is None else config,
                node_id=now.node_id if node_id is None else node_id,
            )
        )

    def install(self, installation: Installation, meta: dict[int, bytes], config: bytes) -> None:
        """Install, or upgrade in place. What the running system holds in memory comes along."""
        before = self._contents
        self._replace(
            replace(before, installation=installation, previous=before.installation, meta=dict(meta), config=config)
        )

    def roll_back(self) -> None:
        """Boot the entry before the last upgrade from now on, if there is one."""
        now = self._contents
        if now.previous is not None:
            self._replace(replace(now, installation=now.previous, previous=now.installation))

    def set_etcd(self, etcd: EtcdData | None) -> None:
        self._replace(replace(self._contents, etcd=etcd))

    def wipe_state(self) -> None:
        """The STATE partition: configuration and node identity."""
        self._replace(replace(self._contents, config=b"", node_id=""))

    def wipe_everything(self) -> None:
        """The whole system disk."""
        self._replace(Contents())

    def _replace(self, contents: Contents) -> None:
        if self._path:
            _write(self._path, contents)
        self._contents = contents


def _read(path: Path) -> Contents:
    stored = json.loads(path.read_text())
    return Contents(
        installation=Installation(**stored["installation"]) if stored["installation"] else None,
        previous=Installation(**stored["previous"]) if stored["previous"] else None,
        meta={int(key): base64.b64decode(value) for key, value in stored["meta"].items()},
        config=base64.b64decode(stored["config"]),
        etcd=EtcdData(**stored["etcd"]) if stored["etcd"] else None,
        node_id=stored["node_id"],
    )


def _write(path: Path, contents: Contents) -> None:
    text = json.dumps(
        {
            "installation": vars(contents.installation) if contents.installation else None,
            "previous": vars(contents.previous) if contents.previous else None,
            "meta": {str(key): base64.b64encode(value).decode() for key, value in contents.meta.items()},
            "config": base64.b64encode(contents.config).decode(),
            "etcd": vars(contents.etcd) if contents.etcd else None,
            "node_id": contents.node_id,
        }
    )
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)
