"""The network below KubeSpan: which machines' WireGuard devices can shake hands, and what goes through.

No packet flows. Two devices that know each other have a session as long as one of them can reach the other; its
handshakes and bytes follow from its age, so a mesh of a thousand machines costs nothing while nothing changes.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from nodeagent.simulator.figures import Wave
from nodeagent.simulator.mesh import Seen

PORT = 51820
"""Where every device listens."""
REKEY = 120.0
"""Seconds between two handshakes of a session."""
HANDSHAKE = 0.05
"""Seconds that one takes."""

CALL_RATE = 148 / 5
"""Bytes a second that go to a peer that does not answer: the first message of a handshake, again and again."""

MEAN_RATE = 20_000.0
"""Bytes a second between two machines, in the middle of all."""


@dataclass
class Faults:
    """What is wrong with the network, by UUID of machines; tests and demonstrations set it, and call `changed`."""

    cut: set[frozenset[str]] = field(default_factory=set)
    """Pairs between which no packet passes."""
    nat: dict[str, str] = field(default_factory=dict)
    """Machines behind a translator of addresses: IP:PORT as which others see them. Machines with one IP are behind the
    same, and reach each other directly.
    """
    clock: dict[str, float] = field(default_factory=dict)
    """Seconds by which a machine's clock is wrong."""


class Underlay:
    """All devices that are up. `clock` is the right time."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.clock: Callable[[], float] = time.time
        self.generation = 0
        """Counts changes that may end a session."""
        self._devices: dict[str, Device] = {}

    def changed(self) -> None:
        """Some sessions may end: a fault came or went, a device is elsewhere or gone."""
        self.generation += 1

    def time_of(self, uuid: str) -> float:
        """What a machine thinks that it is now."""
        return self.clock() + self.faults.clock.get(uuid, 0.0)

    def up(self, uuid: str, public_key: str, secret: str) -> Device:
        """A new device. Only devices with the same preshared `secret` understand each other."""
        device = self._devices[public_key] = Device(self, uuid, public_key, secret)
        return device

    def down(self, device: Device) -> None:
        """The device is gone, and with it its sessions."""
        device.drop(list(device.peers))
        if self._devices.get(device.public_key) is device:
            del self._devices[device.public_key]

    def find(self, public_key: str) -> Device | None:
        return self._devices.get(public_key)


class Session:
    """Two devices that understand each other: since when, and which of them began the last handshake."""

    __slots__ = ("by", "latest", "since")

    def __init__(self, since: float, by: Device) -> None:
        self.since = self.latest = since
        self.by = by


class Edge:
    """A peer as one device knows it."""

    __slots__ = ("called", "calling", "carried", "endpoint", "handshake", "seen", "session", "stamp")

    def __init__(self) -> None:
        self.endpoint = ""
        """Configured, or learned from the peer's packets."""
        self.session: Session | None = None
        self.handshake = 0.0
        """By this machine's clock; 0: never."""
        self.seen = 0.0
        """The same by the right one."""
        self.carried = 0.0
        """Seconds that former sessions lasted."""
        self.calling: float | None = None
        """Since when the peer is called and does not answer."""
        self.called = 0.0
        """Seconds that it was called in vain before."""
        self.stamp = -math.inf
        """When the peer last began a handshake, by the peer's clock: it takes none that was begun earlier."""


class Device:
    """Implements `mesh.Wire`."""

    def __init__(self, underlay: Underlay, uuid: str, public_key: str, secret: str) -> None:
        self._underlay = underlay
        self.uuid, self.public_key = uuid, public_key
        self._secret = secret
        self.addresses: tuple[str, ...] = ()
        """Where it can be reached, and what its packets come from."""
        self._edges: dict[str, Edge] = {}

    @property
    def generation(self) -> int:
        """As long as it stays the same and not negative, a session goes on."""
        return self._underlay.generation if not self._underlay.faults.clock else -1

    @property
    def peers(self) -> Collection[str]:
        """Public keys of those that it has."""
        return self._edges.keys()

    def move(self, addresses: Sequence[str]) -> None:
        """The machine has these addresses now."""
        if self.addresses != tuple(addresses):
            self.addresses = tuple(addresses)
            self._underlay.changed()

    def configure(self, endpoints: Mapping[str, str]) -> None:
        for key, endpoint in endpoints.items():
            edge = self._edges.get(key)
            if edge is None:
                edge = self._edges[key] = Edge()
            edge.endpoint = endpoint or edge.endpoint
            self._settle(key, edge)

    def drop(self, keys: Iterable[str]) -> None:
        for key in keys:
            if key in self._edges:
                self._lose(key)
                del self._edges[key]
                self._underlay.changed()

    def read(self, keys: Iterable[str]) -> Mapping[str, Seen]:
        return {key: self._seen(key, self._edges[key]) for key in keys if key in self._edges}

    def _seen(self, key: str, edge: Edge) -> Seen:
        self._settle(key, edge)
        alive = edge.carried
        if edge.session is not None:
            alive += max(0.0, self._underlay.clock() - edge.session.since)
        received = _rate(key, self.public_key).between(0, alive)
        calling = edge.called + (self._underlay.clock() - edge.calling if edge.calling is not None else 0.0)
        sent = _rate(self.public_key, key).between(0, alive) + CALL_RATE * calling
        return Seen(edge.endpoint, edge.handshake, int(received), int(sent))

    # --- sessions

    def _settle(self, key: str, edge: Edge) -> None:
        """Begin, renew or end the session with a peer, as things are now."""
        underlay, session = self._underlay, edge.session
        now, peer = underlay.clock(), underlay.find(key)
        if session is None:
            if peer is not None:
                self._begin(peer, now)
        elif peer is None or not self._understands(peer):
            self._lose(key)
        else:
            while session.latest + REKEY <= now:
                first, second = (session.by, self if session.by is peer else peer)
                by = first if first._can_call(second) else second if second._can_call(first) else None
                if by is None:
                    self._lose(key)
                    break
                by._called(first if by is second else second, session.latest + REKEY)
                session.latest, session.by = session.latest + REKEY, by
        if edge.session is None:
            if edge.calling is None and edge.endpoint:
                edge.calling = now
        elif edge.calling is not None:
            edge.called += max(0.0, edge.session.since - HANDSHAKE - edge.calling)
            edge.calling = None
        if edge.session is not None and edge.session.latest != edge.seen:
            edge.seen = edge.session.latest
            edge.handshake = edge.seen + underlay.faults.clock.get(self.uuid, 0.0)

    def _begin(self, peer: Device, now: float) -> None:
        by, other = (self, peer) if self._can_call(peer) else (peer, self)
        if by is peer and not peer._can_call(self):
            return
        when = now + HANDSHAKE
        session = Session(when, by)
        by._edges[other.public_key].session = other._edges[by.public_key].session = session
        by._called(other, when)

    def _lose(self, key: str) -> None:
        """End the session with a peer, on both sides."""
        edge, peer = self._edges[key], self._underlay.find(key)
        theirs = peer._edges.get(self.public_key) if peer else None
        session = edge.session
        for side in (edge, theirs):
            if side is not None and side.session is session is not None:
                side.carried += max(0.0, self._underlay.clock() - session.since)
                side.session = None
                side.calling = self._underlay.clock()

    def _called(self, peer: Device, when: float) -> None:
        """A handshake that this device began succeeded: the peer learns where it comes from."""
        theirs, faults = peer._edges[self.public_key], self._underlay.faults
        theirs.stamp = when + faults.clock.get(self.uuid, 0.0)
        if not peer._reaches(self):
            theirs.endpoint = self._source(peer)

    def _understands(self, peer: Device) -> bool:
        """Whether packets between the two would pass, and say something to the other end."""
        if self.public_key not in peer._edges or peer.public_key not in self._edges or self._secret != peer._secret:
            return False
        cut = self._underlay.faults.cut
        return not cut or frozenset((self.uuid, peer.uuid)) not in cut

    def _can_call(self, peer: Device) -> bool:
        """Whether a handshake that this device begins would succeed."""
        if not self._understands(peer) or not self._reaches(peer):
            return False
        return self._underlay.time_of(self.uuid) > peer._edges[self.public_key].stamp

    def _reaches(self, peer: Device) -> bool:
        """Whether packets go to the peer where this device sends them."""
        endpoint = self._edges[peer.public_key].endpoint
        if not endpoint:
            return False
        outside = self._underlay.faults.nat.get(peer.uuid)
        if outside is None or self._beside(peer):
            return endpoint in peer._direct()
        # A translator lets in what answers something: the peer has to be calling here, wherever it gets by that.
        back = peer._edges.get(self.public_key)
        calling = self._underlay.faults.nat.get(self.uuid)
        at = (calling,) if calling else self._direct()
        return endpoint == outside and back is not None and back.endpoint in at

    def _beside(self, peer: Device) -> bool:
        """Whether both are behind the same translator."""
        nat = self._underlay.faults.nat
        mine, theirs = nat.get(self.uuid), nat.get(peer.uuid)
        return mine is not None and theirs is not None and mine.rpartition(":")[0] == theirs.rpartition(":")[0]

    def _direct(self) -> tuple[str, ...]:
        return tuple(_with_port(address) for address in self.addresses)

    def _source(self, peer: Device) -> str:
        """Where packets of this device come from, for a peer."""
        outside = self._underlay.faults.nat.get(self.uuid)
        if outside is not None and not self._beside(peer):
            return outside
        version = ip_address(peer.addresses[0]).version
        fitting = (address for address in self.addresses if ip_address(address).version == version)
        return _with_port(next(fitting, self.addresses[0]))


def _with_port(address: str) -> str:
    return f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}"


def _rate(source: str, target: str) -> Wave:
    """Bytes a second from one machine to another."""
    chance = zlib.crc32(f"{source}{target}".encode()) / 2**32
    return Wave(MEAN_RATE * (0.1 + 2 * chance**3), 0.5, 40 + 90 * chance, math.tau * chance)
