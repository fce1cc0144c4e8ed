"""One simulated run, all of it drawn from its seed."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass

from nodeagent.wireguard.stack import Limits
from nodeagent.wireguard.tcp.connection import Connection
from nodeagent.wireguard.tcp.settings import Settings
from nodeagent.wireguard.transport import TcpTransport
from tests.nodeagent.simulation.network import Conditions, Network
from tests.nodeagent.simulation.program import Ending, Program
from tests.nodeagent.simulation.world import Host, SimulationFailure, World

PORT = 80
ADDRESS_A, ADDRESS_B = b"\xfd" + bytes(14) + b"\x01", b"\xfd" + bytes(14) + b"\x02"
LARGEST_TRANSFER = 100_000
MOST_EVENTS = 60_000
LONGEST = 4 * 3600.0
_NOISE = random.Random(0).randbytes(2 * LARGEST_TRANSFER)


@dataclass(frozen=True)
class Report:
    """What a run was like; equal for equal seeds."""

    packets: int
    transferred: int
    seconds: float
    retransmissions: int


class Scenario:
    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        rng = self.world.random
        self.conditions = Conditions.draw(self.world)
        self.programs: list[Program] = []
        self.hosts = [
            Host(self.world, address, self._draw_settings(), self._limits) for address in (ADDRESS_A, ADDRESS_B)
        ]
        self.network = Network(self.world, self.conditions, *self.hosts)
        self.is_gentle = rng.random() < 0.85
        for number in range(rng.choice((1, 1, 1, 2, 3))):
            self._draw_connection(number)
        for host in self.hosts:
            for _ in range(rng.choice((0, 0, 3))):
                self.world.after(rng.random() * 2, host.stall, rng.random() * rng.choice((0.01, 1)))

    _limits = Limits(window_pool=100_000)

    def _draw_settings(self) -> Settings:
        rng = self.world.random
        window = rng.choice((3000, 20_000, 65536))
        settings = Settings(
            mtu=rng.choice((200, 576, 1280, 1280)), receive_window=window, receive_window_limit=4 * window
        )
        if self.conditions.is_harsh:
            settings = dataclasses.replace(settings, user_timeout=900, half_open_timeout=900, time_wait=900)
        return settings

    def _draw_connection(self, number: int) -> None:
        world, rng = self.world, self.world.random
        endings = [Ending.ORDERLY] * 2
        if not self.is_gentle:
            endings[rng.randrange(2)] = rng.choice((Ending.CLOSE, Ending.ABORT, Ending.VANISH))
        sizes = [
            rng.choice((0, rng.randrange(200), rng.randrange(20_000), rng.randrange(LARGEST_TRANSFER)))
            for _ in range(2)
        ]
        streams = []
        for size in sizes:
            start = rng.randrange(LARGEST_TRANSFER)
            streams.append(_NOISE[start : start + size])
        client = Program(world, f"client {number}", streams[0], streams[1], endings[0])
        server = Program(world, f"server {number}", streams[1], streams[0], endings[1])
        client.peer, server.peer = server, client
        self.programs += [client, server]
        dialler, listener = rng.sample(self.hosts, 2)

        def opened(connection: Connection) -> None:
            TcpTransport(world, listener.stack, connection, server, listener.wake)  # type: ignore[arg-type]

        listener.stack.listen(PORT + number, opened)
        for program, host in ((client, dialler), (server, listener)):
            if program.ending is Ending.VANISH:
                world.after(rng.random() ** 3 * 20, self._vanish, host)
        world.after(rng.random(), self._dial, dialler, listener, number, client)

    def _vanish(self, host: Host) -> None:
        host.is_dead = True
        self.network.is_cut = True

    def _dial(self, dialler: Host, listener: Host, number: int, client: Program) -> None:
        connection = dialler.stack.connect(self.world.now, listener.address, PORT + number)
        TcpTransport(self.world, dialler.stack, connection, client, dialler.wake)  # type: ignore[arg-type]
        dialler.wake()

    def run(self) -> Report:
        """Raises SimulationFailure."""
        self.world.run(self.check_memory, MOST_EVENTS, self.world.now + LONGEST)
        vanished = any(program.ending is Ending.VANISH for program in self.programs)
        for program in self.programs:
            if not vanished:
                program.judge()
        for host in self.hosts:
            self._check_nothing_left(host)
        return Report(
            self.network.packets,
            sum(program.received for program in self.programs),
            self.world.now,
            sum(host.stack.counters.segments_retransmitted for host in self.hosts),
        )

    def check_memory(self) -> None:
        """Nobody holds more than its settings and limits allow."""
        for host in self.hosts:
            limit = host.stack.settings.receive_window_limit
            for connection in host.stack.connections.values():
                receiver = connection.receiver
                if receiver.held > limit or receiver.unread + max(receiver.edge - receiver.next, 0) > limit:
                    raise SimulationFailure(f"{receiver.held} bytes held, {limit} allowed")
            for usage in host.stack._usage.values():
                granted = sum(connection.receiver._granted for connection in usage.connections)
                if usage.pool.free < 0 or usage.pool.free + granted != self._limits.window_pool:
                    raise SimulationFailure(f"{granted} bytes granted, {usage.pool.free} free")

    def _check_nothing_left(self, host: Host) -> None:
        if host.is_dead:
            return
        if host.stack.connections or host.stack._usage or host.stack.needs_flush:
            raise SimulationFailure(f"left behind: {list(host.stack.connections.values())} {host.stack._usage}")


def run(seed: int) -> Report:
    return Scenario(seed).run()
