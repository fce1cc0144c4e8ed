"""A network that loses, repeats, delays and reorders packets, falls silent, and lets a stranger put in its own."""

from __future__ import annotations

from dataclasses import dataclass

from nodeagent.wireguard.packet import ACK, FIN, PSH, RST, SYN, Route, Segment, decode_tcp, encode_tcp
from nodeagent.wireguard.tcp.connection import Connection, Phase
from tests.nodeagent.simulation.world import Host, World

_SACK_PERMITTED, _WINDOW_SCALE = b"\4\2", b"\3\3\5"


@dataclass
class Conditions:
    loss: float
    duplication: float
    reordering: float
    delay: float
    jitter: float
    silence: float
    """Chance per packet that the network falls silent for a while."""
    intrusion: float
    """Chance per packet that something malformed or unsolicited follows it."""
    splitting: float
    """Chance per segment that a middlebox cuts it in two, or adds a copy of its first part."""
    strips: tuple[bytes, ...]
    """Options that a middlebox blanks out in SYNs."""

    @classmethod
    def draw(cls, world: World) -> Conditions:
        rng = world.random
        mood = rng.choice(("calm", "ordinary", "ordinary", "bad", "awful"))
        loss = {"calm": 0.0, "ordinary": 0.01, "bad": 0.08, "awful": 0.25}[mood]
        return cls(
            loss=loss * rng.random(),
            duplication=rng.choice((0, 0, 0.02, 0.2)) if mood != "calm" else 0,
            reordering=rng.choice((0, 0.05, 0.5)) if mood != "calm" else 0,
            delay=rng.choice((0.0001, 0.005, 0.05, 0.3)),
            jitter=rng.choice((0, 0.001, 0.02)),
            silence=0.002 if mood in ("bad", "awful") and rng.random() < 0.3 else 0,
            intrusion=rng.choice((0, 0, 0.05, 0.3)),
            splitting=rng.choice((0, 0, 0.1)),
            strips=rng.choice(((), (), (), (_SACK_PERMITTED,), (_WINDOW_SCALE,), (_SACK_PERMITTED, _WINDOW_SCALE))),
        )

    @property
    def is_harsh(self) -> bool:
        """So bad that ordinary timeouts may pass without anybody's fault."""
        return self.loss > 0.01 or self.silence > 0


class Network:
    def __init__(self, world: World, conditions: Conditions, a: Host, b: Host) -> None:
        self.world = world
        self.conditions = conditions
        self.a, self.b = a, b
        self.packets = 0
        self.is_cut = False
        self._silent_until = 0.0
        for host, other in ((a, b), (b, a)):
            host.remote = other.address
            host.network = self.send

    def send(self, source: Host, packet: bytes) -> None:
        world, conditions = self.world, self.conditions
        chance = world.random.random
        target = self.b if source is self.a else self.a
        self.packets += 1
        if conditions.strips and packet[53] & SYN:
            for option in conditions.strips:
                packet = packet[:60] + packet[60:].replace(option, b"\1" * len(option))
        if conditions.intrusion and chance() < conditions.intrusion:
            world.after(conditions.delay * chance(), self._intrude, source, target, packet)
        if conditions.silence and chance() < conditions.silence:
            self._silent_until = world.now + 8 * chance()
        if self.is_cut or world.now < self._silent_until or chance() < conditions.loss:
            return
        packets = [packet, packet] if conditions.duplication and chance() < conditions.duplication else [packet]
        if conditions.splitting and chance() < conditions.splitting:
            packets += self._pieces(source, target, packets.pop())
        for packet in packets:
            delay = conditions.delay + conditions.jitter
            if conditions.reordering and chance() < conditions.reordering:
                delay += (conditions.delay + conditions.jitter) * 4 * chance()
            world.after(delay, target.arrive, packet)

    def _pieces(self, source: Host, target: Host, packet: bytes) -> list[bytes]:
        segment = decode_tcp(packet)
        if segment is None or len(segment.payload) < 2:
            return [packet]
        cut = self.world.random.randrange(1, len(segment.payload))
        route = Route(source.address, target.address)
        numbers = segment.source, segment.destination, segment.seq, segment.ack, segment.flags & ~FIN, segment.window
        head = encode_tcp(route, Segment(*numbers, segment.payload[:cut], segment.options))
        if self.world.chance(0.5):
            return [packet, head]
        segment.seq = (segment.seq + cut) & 0xFFFFFFFF
        segment.payload = segment.payload[cut:]
        return [head, encode_tcp(route, segment)]

    def _intrude(self, source: Host, target: Host, packet: bytes) -> None:
        """At once, past the inbox: a forgery knows the state of its victim, which must not change on the way."""
        if not target.is_dead:
            target.stack.receive(self.world.now, source.address, self._intruder(source, target, packet))
            target.wake()

    def _intruder(self, source: Host, target: Host, packet: bytes) -> bytes:
        """A packet that must change nothing: no byte of it is both expected and acknowledged correctly."""
        rng = self.world.random
        kind = rng.randrange(6)
        if kind == 0:
            return rng.randbytes(rng.randrange(120))
        if kind == 1:
            return packet[: rng.randrange(len(packet))]
        if kind == 2:  # of another machine, or to another
            wrong = rng.randbytes(16)
            return packet[:8] + wrong + packet[24:] if rng.random() < 0.5 else packet[:24] + wrong + packet[40:]
        route = Route(source.address, target.address)
        connections = list(target.stack.connections.values())
        if kind == 3 or not connections:
            ports = rng.randrange(65536), rng.randrange(1000)
            numbers = rng.getrandbits(32), rng.getrandbits(32)
            payload, options = rng.randbytes(rng.randrange(50)), rng.randbytes(4 * rng.randrange(10))
            stray = Segment(*ports, *numbers, rng.getrandbits(6), rng.randrange(65536), payload, options)
            return encode_tcp(route, stray)
        return encode_tcp(route, self._forgery(rng.choice(connections)))

    def _forgery(self, victim: Connection) -> Segment:
        """A segment for this connection with a number that must not be believed."""
        rng = self.world.random
        receiver, sender = victim.receiver, victim.sender
        _, remote_port, local_port = victim.key
        far = rng.choice((-1, 1)) * rng.randrange(1 << 22, 1 << 30)
        payload = rng.randbytes(rng.randrange(40))
        seq, ack = receiver.next + far, sender.unacknowledged
        flags = rng.choice((ACK, ACK | PSH, ACK | FIN, RST, RST | ACK, SYN, SYN | ACK, FIN, 0, SYN | FIN | RST))
        choice = rng.randrange(4)
        if victim.phase is Phase.SYN_SENT or victim.phase is Phase.SYN_RECEIVED:
            flags, ack = ACK | (flags & ~(RST | SYN)), sender.next + far
            if victim.phase is Phase.SYN_SENT:
                flags |= rng.choice((0, RST, SYN))
        elif choice == 1:  # a reset inside the window, but not at its start
            seq, flags = receiver.next + 1 + rng.randrange(1000), RST
        elif choice == 2:  # acknowledges what was never sent, or long before
            seq, ack, flags = receiver.next, sender.next + far, ACK | PSH
        elif choice == 3 and victim.phase is Phase.OPEN:
            seq, flags = receiver.next + rng.randrange(1000), SYN
        if victim.phase is Phase.TIME_WAIT:
            flags |= ACK  # a bare SYN may rightly open the connection anew
        options = rng.randbytes(4 * rng.randrange(5))
        mask = 0xFFFFFFFF
        return Segment(remote_port, local_port, seq & mask, ack & mask, flags, rng.randrange(65536), payload, options)
