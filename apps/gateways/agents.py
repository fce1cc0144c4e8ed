"""Agents connected to this gateway, and the ways through them to machines.

What an agent offers is looked at before anything else (`nodeagent.probe`), and again whenever there is doubt; a way
leads to a machine only while its identity there is told (`apps.machines.targets`). A machine that several ways lead to
is reached through whichever works.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

from django.db import DatabaseError, InterfaceError, OperationalError

from apps.gateways.directory import Known
from apps.gateways.roster import LIFE, Roster
from apps.machines import agents, targets
from apps.machines.agents import AGENT_REMOVED, Enrolled
from apps.machines.models import AgentTarget
from apps.machines.models import Link as LinkRow
from apps.tenants.threads import in_thread
from nodeagent.client import API_PORT
from nodeagent.dial import Stream
from nodeagent.ports import AgentHello
from nodeagent.probe import probe
from nodeagent.siderolink.turns import Turns
from nodeagent.tls import Credentials
from nodeagent.tunnel.server import AgentServer

T = TypeVar("T")

AT_ONCE = 32
"""Addresses that are looked at at the same time, of all agents; organisations take turns."""

LOOK_AGAIN = 60.0
"""Seconds after which what leads to no machine is looked at again."""

FIRST_LOOK_AGAIN = 1.0
"""Seconds after which what did not answer is looked at again; twice as many each time: it may be starting."""

GATHER = 0.2
"""Seconds in which changes of an agent are gathered before its targets are read."""

RETRY = 1.0
"""Seconds between tries while the database is away."""

NO_WAY = "no agent that reaches this machine is connected"

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Way:
    """A host that a connected agent reaches."""

    agent: Enrolled
    address: str
    named: bool
    machine_id: UUID | None = None
    """The machine it leads to; None while that is not certain."""
    opens: bool = False
    """The port of the machine's API accepted the last connection."""
    gone: bool = False
    looking: asyncio.Task[None] | None = None
    pause: float = 0.0
    """Seconds from the last look to the next, while nothing answers."""
    again: asyncio.TimerHandle | None = None
    """The next look, while nothing answers."""


@dataclass(eq=False)
class _Connected:
    """An agent, while its stream is open here."""

    agent: Enrolled
    hello: AgentHello
    ways: dict[str, Way] = field(default_factory=dict)
    losing: dict[str, str] = field(default_factory=dict)
    """Addresses that were lost, why, and that is not noted yet."""


class Agents:
    """Implements `nodeagent.ports.AgentRegistry` and dials machines through the agents."""

    def __init__(
        self,
        roster: Roster,
        authorities: Callable[[UUID], Awaitable[dict[str, Credentials]]],
        arrived: Callable[[LinkRow], None],
    ) -> None:
        """`authorities` gives what proves us to each cluster of an organisation, by the cluster's id; `arrived` hears
        of each link that this gateway holds now.
        """
        self.server = AgentServer(self)
        self._roster, self._running = roster, set(roster.live)
        self._authorities, self._arrived = authorities, arrived
        self._enrolled: dict[str, Enrolled] = {}
        self._connected: dict[str, _Connected] = {}
        self._ways: defaultdict[UUID, list[Way]] = defaultdict(list)  # to each machine
        self._notes: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        """What is noted of an agent is noted in order."""
        self._held: dict[UUID, UUID] = {}
        """Machines whose link this gateway holds, and whose they are."""
        self._settles: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        self._looks = Turns(AT_ONCE)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._changed: set[str] = set()

    async def start(self) -> None:
        """Take the links up that this gateway held before it was stopped; whoever reaches their machines takes them."""
        for link in await in_thread(lambda: agents.start(self._roster.name)):
            self._arrived(link)

    async def run(self) -> None:
        """Look again and again at what is not certain, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_AGAIN)
            for connected in list(self._connected.values()):
                for way in connected.ways.values():
                    if way.machine_id is None or not way.opens:
                        self._look(way)
            for machine_id in self._ways.keys() - self._held:  # their gateway may not run any more
                self._settle(machine_id)

    async def close(self) -> None:
        """Let all agents go, and note so."""
        self.server.close()
        noting = [task for task in self._tasks if not task.done()]
        if noting:
            await asyncio.wait(noting, timeout=2)
        for task in noting:
            task.cancel()
        await asyncio.gather(*noting, return_exceptions=True)

    # --- to machines --------------------------------------------------------------------------------------------------

    def reaches(self, machine_id: UUID | None) -> bool:
        """Whether the machine's API port accepts connections through some agent."""
        return machine_id is not None and any(way.opens for way in self._ways.get(machine_id, ()))

    def address_of(self, machine_id: UUID | None) -> str:
        """The address at which an agent reaches the machine."""
        ways = self._ways.get(machine_id, []) if machine_id else []
        return next((way.address for way in ways if way.opens), "")

    async def dial(self, machine_id: UUID, port: int) -> Stream:
        """Connect to a port of a machine, by the first way that works. Raises OSError or TimeoutError."""
        failure: OSError = ConnectionRefusedError(NO_WAY)
        for way in sorted(self._ways.get(machine_id, ()), key=lambda way: not way.opens):
            try:
                stream = await self.server.dial(str(way.agent.id), way.address, port)
            except OSError as error:
                failure = error
                if port == API_PORT:
                    way.opens = False
            else:
                way.opens = True
                return stream
        raise failure

    def failed(self, known: Known) -> None:
        """Something was wrong with a machine over one of its ways: look at all of them."""
        for way in self._ways.get(known.machine_id, ()) if known.machine_id else ():
            self._look(way)

    # --- what the tunnel tells (`nodeagent.ports.AgentRegistry`) ------------------------------------------------------

    async def enrol(self, hello: AgentHello) -> str:
        agent = await in_thread(lambda: agents.enrol(hello))
        async with self._notes.setdefault(agent.id, asyncio.Lock()):
            pass  # who comes again and again is let in when all is noted of the last time
        self._enrolled[str(agent.id)] = agent
        return str(agent.id)

    def connected(self, agent_id: str, hello: AgentHello) -> None:
        if (older := self._connected.get(agent_id)) is not None:
            self._withdraw(older)
        connected = self._connected[agent_id] = _Connected(self._enrolled[agent_id], hello)
        agent = connected.agent
        self._note(agent, lambda: agents.note_connected(agent, hello, self._roster.name))
        self._spawn(self._check([connected]))  # it may have been turned away while it came in

    def disconnected(self, agent_id: str, reason: str) -> None:
        connected = self._connected.pop(agent_id, None)
        self._enrolled.pop(agent_id, None)
        if connected is not None:
            self._withdraw(connected)
            agent = connected.agent
            self._note(agent, lambda: agents.note_disconnected(agent, self._roster.name, reason))

    def found(self, agent_id: str, address: str) -> None:
        connected = self._connected[agent_id]
        if (older := connected.ways.pop(address, None)) is not None:
            self._drop(older)
        way = Way(connected.agent, address, address in connected.hello.nodes)
        connected.ways[address] = way
        self._look(way)

    def lost(self, agent_id: str, address: str, reason: str) -> None:
        connected = self._connected[agent_id]
        if (way := connected.ways.pop(address, None)) is not None:
            self._drop(way)
        if address not in connected.losing:  # else it is about to be noted, with what is said last
            self._spawn(self._lose(connected, address))
        connected.losing[address] = reason

    async def _lose(self, connected: _Connected, address: str) -> None:
        agent = connected.agent
        async with self._notes.setdefault(agent.id, asyncio.Lock()):
            reason = connected.losing.pop(address)
            await self._store(lambda: targets.note_lost(agent.organisation_id, agent.id, address, reason))

    # --- what other processes changed ---------------------------------------------------------------------------------

    def heard(self, kind: str, object_id: str, organisation_id: UUID) -> None:
        """A change was committed somewhere."""
        if kind in ("join-token", AGENT_REMOVED):
            self.check(organisation_id)
        elif kind == "agent" and object_id in self._connected and object_id not in self._changed:
            self._changed.add(object_id)
            self._spawn(self._reload(object_id))

    def check(self, organisation_id: UUID | None = None) -> None:
        """Turn away who may not be connected any more, of one organisation or of all."""
        connected = self._connected.values()
        asked = [one for one in connected if organisation_id in (None, one.agent.organisation_id)]
        if asked:
            self._spawn(self._check(asked))

    def link_changed(self, machine_id: UUID) -> None:
        """The link of a machine is held by another gateway now, or by none."""
        self._held.pop(machine_id, None)
        self._settle(machine_id)

    def look_for_orphans(self) -> None:
        """Who runs is known anew: what was at gateways that are gone is shared among the others."""
        left, self._running = self._running - self._roster.live.keys(), set(self._roster.live)
        if left:
            self._spawn(self._inherit())

    async def _inherit(self) -> None:
        roster = self._roster
        await asyncio.sleep(LIFE)  # until it is certain that they are gone
        for link in await self._store(lambda: agents.inherit(roster.name, roster.gone, roster.heir)):
            self._arrived(link)

    def removed(self, machine_id: UUID) -> None:
        """The machine was forgotten: what leads to it is looked at as if for the first time."""
        for way in list(self._ways.get(machine_id, ())):
            self._lead(way, None)
            self._look(way)

    async def _check(self, connected: list[_Connected]) -> None:
        known = [(one.agent.organisation_id, one.agent.id) for one in connected]
        reasons = await self._store(lambda: agents.not_welcome(known))
        for agent_id, reason in reasons.items():
            self.server.drop(str(agent_id), reason)

    async def _reload(self, agent_id: str) -> None:
        """Follow what a person decided of an agent's targets."""
        await asyncio.sleep(GATHER)
        self._changed.discard(agent_id)
        connected = self._connected.get(agent_id)
        if connected is None:
            return
        agent = connected.agent
        for row in await self._store(lambda: targets.of(agent.organisation_id, agent.id)):
            way = connected.ways.get(row.address)
            if way is not None and way.looking is None:
                self._follow(way, row)

    # --- looking ------------------------------------------------------------------------------------------------------

    def _look(self, way: Way) -> None:
        """Find out what answers there, unless that is under way."""
        if way.looking is None and not way.gone:
            way.looking = self._spawn(self._looking(way))

    async def _looking(self, way: Way) -> None:
        agent = way.agent
        try:
            async with self._looks.of(str(agent.organisation_id)):
                if way.gone:
                    return
                found = await probe(
                    lambda: self.server.dial(str(agent.id), way.address, API_PORT),
                    lambda: self._authorities(agent.organisation_id),
                    way.address,
                )
            async with self._notes.setdefault(agent.id, asyncio.Lock()):
                if way.gone:
                    return
                note = partial(targets.note, agent.organisation_id, agent.id, way.address, way.named, found)
                row = await self._store(note)
            way.opens = found.opens
            if not way.gone and row is not None:
                self._follow(way, row)
                self._look_again(way, bool(found.mode))
        except DatabaseError as error:
            log.warning("what answers at %s cannot be looked up, trying again later: %s", way.address, error)
        finally:
            way.looking = None

    def _look_again(self, way: Way, answered: bool) -> None:
        """A machine that starts anew is found soon, one that is off costs next to nothing."""
        if way.again is not None:
            way.again.cancel()
            way.again = None
        way.pause = 0.0 if answered else min(max(2 * way.pause, FIRST_LOOK_AGAIN), LOOK_AGAIN)
        if not answered:
            way.again = asyncio.get_running_loop().call_later(way.pause, self._look, way)

    def _follow(self, way: Way, row: AgentTarget) -> None:
        """Let a way lead where its row says; not while there is a problem with it."""
        machine_id = None if row.problem else row.machine_id
        if machine_id != way.machine_id:
            self._lead(way, machine_id)
        if machine_id is not None and machine_id not in self._held:
            self._settle(machine_id)

    def _settle(self, machine_id: UUID) -> None:
        """Hold the link of a machine while ways lead to it and no other gateway that runs holds it."""
        self._spawn(self._settling(machine_id))

    async def _settling(self, machine_id: UUID) -> None:
        async with self._settles.setdefault(machine_id, asyncio.Lock()):
            ways, held = self._ways.get(machine_id), self._held.get(machine_id)
            if ways and held is None:
                organisation_id = ways[0].agent.organisation_id
                hold = partial(agents.hold, organisation_id, machine_id, self._roster.name, self._roster.gone)
                if (link := await self._store(hold)) is not None:
                    self._held[machine_id] = organisation_id
                    self._arrived(link)
            elif not ways and held is not None:
                del self._held[machine_id]
                await self._store(lambda: agents.release(held, machine_id, self._roster.name))

    def _lead(self, way: Way, machine_id: UUID | None) -> None:
        if way.machine_id is not None:
            self._ways[way.machine_id].remove(way)
            if not self._ways[way.machine_id]:
                del self._ways[way.machine_id]
                self._settle(way.machine_id)
        way.machine_id = machine_id
        if machine_id is not None:
            self._ways[machine_id].append(way)

    def _drop(self, way: Way) -> None:
        way.gone = True
        self._lead(way, None)

    def _withdraw(self, connected: _Connected) -> None:
        for way in connected.ways.values():
            self._drop(way)
        connected.ways.clear()

    # --- storing ------------------------------------------------------------------------------------------------------

    def _note(self, agent: Enrolled, work: Callable[[], object]) -> None:
        async def note() -> None:
            async with self._notes.setdefault(agent.id, asyncio.Lock()):
                await self._store(work)

        self._spawn(note())

    async def _store(self, work: Callable[[], T]) -> T:
        """Database work, again and again while the database is away."""
        while True:
            try:
                return await in_thread(work)
            except (OperationalError, InterfaceError, OSError) as error:
                log.warning("what is known of agents cannot be stored or read, trying again: %s", error)
                await asyncio.sleep(RETRY)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        async def guarded() -> None:
            try:
                await work
            except Exception:
                log.exception("following an agent failed")

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
