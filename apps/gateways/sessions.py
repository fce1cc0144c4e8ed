"""One task for each link: adopt the machine while it is pending, then follow what it says for as long as it says it."""

import asyncio
import contextlib
import logging
import uuid as uuids
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

from apps.gateways.batcher import Batcher
from apps.gateways.directory import Directory, Known
from apps.gateways.listening import Listening
from apps.machines import actions
from apps.machines.models import Link as LinkRow
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread
from nodeagent import errors
from nodeagent.adopt import Identity, adopt
from nodeagent.client import API_PORT, NodeClient
from nodeagent.dial import Dial
from nodeagent.follow import follow
from nodeagent.identity import Hardware, WrongMachine, once, require
from nodeagent.tls import Credentials

CredentialsOf = Callable[[UUID, UUID], Awaitable[Credentials | None]]
"""(organisation, machine) -> what proves us to it once its cluster's configuration is on it; None in no cluster."""

FIRST_RETRY, LONGEST_RETRY = 0.5, 15.0
"""Seconds between attempts; a call of the machine itself ends the wait."""

ADOPT_AGAIN = 20.0
"""Seconds to wait for the machine's second Provision before its META is written once more."""


BEGINNING = 32
"""Machines that are read from the beginning at once. A thousand may come back at the same moment: each by turns is done
soon, all at once are slow together, and those that answer too late begin again.
"""

log = logging.getLogger(__name__)


class Sessions:
    """The sessions of all links of this gateway."""

    def __init__(
        self,
        dial: Dial,
        directory: Directory,
        batcher: Batcher,
        credentials: CredentialsOf,
        answered: Callable[[Known], None],
        failed: Callable[[Known], None],
    ) -> None:
        """`answered` hears of each machine whose API answered, with its identity checked; `failed` of each that did
        not, stopped to, or is another one."""
        self.dial, self.directory, self.batcher, self.credentials = dial, directory, batcher, credentials
        self.answered, self.failed = answered, failed
        self.turns = asyncio.Semaphore(BEGINNING)
        self._running: dict[str, Session] = {}

    def start(self, link_id: str) -> None:
        """Make sure the link has a session, and let it look at once."""
        session = self._running.get(link_id)
        if session is None:
            session = self._running[link_id] = Session(self, link_id)
        session.poke()

    def stop(self, link_id: str) -> None:
        """End the session of a link that is gone."""
        session = self._running.pop(link_id, None)
        if session is not None:
            session.cancel()

    def poke(self, link_id: str) -> None:
        """The machine spoke: a session that waits tries again now."""
        session = self._running.get(link_id)
        if session is not None:
            session.poke()

    def silent(self, link_id: str) -> None:
        """The link is down: what runs over it will not get through."""
        session = self._running.get(link_id)
        if session is not None:
            session.lose()

    async def close(self) -> None:
        """End all sessions."""
        sessions, self._running = list(self._running.values()), {}
        for session in sessions:
            session.cancel()
        await asyncio.gather(*(session.ended for session in sessions), return_exceptions=True)


class Session:
    """One machine's connection, kept for as long as its link exists."""

    def __init__(self, sessions: Sessions, link_id: str) -> None:
        self._all, self._link_id = sessions, link_id
        self._spoke = asyncio.Event()
        self._pause = FIRST_RETRY
        self._talk: asyncio.Timeout | None = None
        self._listening = Listening(sessions.batcher)
        self.ended = asyncio.create_task(self._run())

    def poke(self) -> None:
        """Do not wait any longer."""
        self._spoke.set()

    def lose(self) -> None:
        """Give up the connection at hand and make another."""
        if self._talk is not None:
            self._talk.reschedule(asyncio.get_running_loop().time())

    def cancel(self) -> None:
        """End."""
        self.ended.cancel()

    async def _run(self) -> None:
        known = self._all.directory.link(self._link_id)
        if known is not None and known.machine_id is not None:
            self._all.batcher.observe(known, {"reachable": False})  # until it answers this gateway
        while (known := self._all.directory.link(self._link_id)) is not None:
            self._spoke.clear()
            pause = await self._attempt(known)
            try:
                async with asyncio.timeout(pause):
                    await self._spoke.wait()
                self._pause = FIRST_RETRY
            except TimeoutError:
                pass

    async def _attempt(self, known: Known) -> float:
        """Talk to the machine for as long as it does; then the seconds to wait before the next attempt."""
        try:
            async with asyncio.timeout(None) as self._talk:
                if known.machine_id is None:
                    await self._adopt(known)
                    return ADOPT_AGAIN
                await self._follow(known)
        except (errors.NodeError, WrongMachine) as error:
            self._failed(known, str(error))
        except TimeoutError:
            self._failed(known, "the link is silent")
        except Exception:
            log.exception("session of link %s failed", self._link_id)
            return LONGEST_RETRY
        finally:
            self._talk = None
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST_RETRY)
        return pause

    def _client(self, known: Known, credentials: Credentials | None) -> NodeClient:
        address = known.link.address
        return NodeClient(once(lambda: self._all.dial(address, API_PORT)), credentials, name=known.uuid)

    def _failed(self, known: Known, reason: str) -> None:
        log.info("%s: %s", known.uuid, reason)
        current = self._all.directory.link(self._link_id) or known
        self._all.batcher.observe(current, {"reachable": False, "error": reason[:400]})
        self._all.failed(current)

    # A pending machine

    async def _adopt(self, known: Known) -> None:
        async def choose(hardware: Hardware) -> Identity:
            return await in_thread(lambda: _choose(known, hardware))

        with contextlib.suppress(LinkRow.DoesNotExist):  # the machine became, or belongs to, another link meanwhile
            async with self._client(known, None) as client, self._turn(client):
                await adopt(client, choose)

    # A registered one

    async def _follow(self, known: Known) -> None:
        assert known.machine_id is not None
        credentials = await self._all.credentials(known.organisation_id, known.machine_id)
        if credentials is not None:
            try:
                return await self._follow_as(known, credentials)
            except errors.WrongTrust:
                pass  # not configured yet, or not any more
        await self._follow_as(known, None)

    async def _follow_as(self, known: Known, credentials: Credentials | None) -> None:
        async with self._client(known, credentials) as client, self._turn(client) as turn:
            # Without credentials a link that proves nothing leaves only the hardware to tell the machine by.
            await require(client, known.uuid, "" if credentials else known.fingerprint)
            fields = {
                "reachable": True,
                "error": "",
                "api_mode": "secure" if credentials else "maintenance",
                "boot_id": await _boot_id(client),
                **await _version(client),
            }
            self._all.answered(known)
            self._all.batcher.observe(known, fields)

            def told(fields: dict[str, Any]) -> None:
                turn.close()
                self._told(known, fields)

            following = follow(client, told)
            if known.link.transport == LinkRow.AGENT:
                following = self._listening.beside(following, client, known)
            await following

    @contextlib.asynccontextmanager
    async def _turn(self, client: NodeClient) -> AsyncIterator[contextlib.ExitStack]:
        """Connect, then wait until it is this machine's turn; it lasts until the stack is closed, at most the block.

        A machine that does not answer never has one.
        """
        await client.connect()
        await self._all.turns.acquire()
        with contextlib.ExitStack() as turn:
            turn.callback(self._all.turns.release)
            yield turn

    def _told(self, known: Known, fields: dict[str, Any]) -> None:
        self._pause = FIRST_RETRY
        current = self._all.directory.link(self._link_id) or known
        self._all.batcher.observe(current, fields)


async def _version(client: NodeClient) -> dict[str, str]:
    try:
        version = await client.version()
    except (errors.Denied, errors.Unsupported):
        return {}  # Talos up to 1.12 tells readers nothing in maintenance mode; its resources say the same
    return {"talos_version": version.tag, "arch": version.arch}


async def _boot_id(client: NodeClient) -> str:
    try:
        return await client.boot_id()
    except (errors.Denied, errors.Unsupported, errors.NotFound):
        return ""  # Talos up to 1.12 tells it to nobody in maintenance mode


def _choose(known: Known, hardware: Hardware) -> Identity:
    with tenant_scope(known.organisation_id):
        link = LinkRow.objects.select_for_update().get(id=known.link_id)
        if link.fingerprint != hardware.fingerprint:
            link.fingerprint = hardware.fingerprint
            link.save(update_fields=["fingerprint"])
        token = actions.issue_unique_token(link, hardware.network_fingerprint)
        override = actions.issue_override_uuid(link, str(uuids.uuid4())) if link.conflict else None
    return Identity(token, override)
