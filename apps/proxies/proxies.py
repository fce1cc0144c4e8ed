"""Both proxies of a gateway, and what they share."""

import asyncio
import contextlib
import logging
from pathlib import Path
from uuid import UUID

from django.db import Error as DatabaseError

from apps.proxies.audit import Journal
from apps.proxies.callers import Callers
from apps.proxies.kubernetes import KubernetesGate
from apps.proxies.live import Live
from apps.proxies.names import Names
from apps.proxies.talos import TalosGate
from nodeagent.dial import Dial
from nodeagent.kubeproxy.server import KubernetesProxy
from nodeagent.proxy.server import TalosProxy

PEOPLE = ("access-key", "api-token", "member", "service-account", "policy", "session", "organisation")
"""Kinds of changes that are about who may do what."""

MACHINES = ("machine", "machine-removed")

NOTE_USES = 10.0
"""Seconds between notes of which keys were used."""

log = logging.getLogger(__name__)


class Proxies:
    """talosctl's and kubectl's ways in."""

    def __init__(self, dial: Dial) -> None:
        """`dial` opens a connection to a port of any machine."""
        self.live, self._journal = Live(self._forget), Journal()
        self._callers, self._names = Callers(), Names()
        self._clusters = KubernetesGate(self._callers, self._names, self.live, self._journal)
        self.talos = TalosProxy(TalosGate(self._callers, self._names, self.live, self._journal), dial)
        self.kubernetes = KubernetesProxy(self._clusters, dial)

    def heard(self, kind: str, object_id: UUID, organisation_id: UUID) -> None:
        """Something changed."""
        if kind in PEOPLE or kind == "cluster":
            self._forget(organisation_id)
            self.live.organisation_changed(organisation_id)
        elif kind in MACHINES:
            self._names.machine_changed(organisation_id, object_id)
            self.live.object_changed(object_id)

    def missed(self) -> None:
        """Something may have changed while nobody listened."""
        for memory in (self._callers, self._names, self._clusters):
            memory.clear()
        self.live.all_changed()

    def _forget(self, organisation_id: UUID) -> None:
        for memory in (self._callers, self._names, self._clusters):
            memory.changed(organisation_id)

    async def start(self, socket: Path) -> None:
        """Answer requests for clusters on a unix socket. Those for machines come by the server that `talos` is on."""
        await self.kubernetes.start(socket)

    async def run(self) -> None:
        """Watch over what is under way and write the audit, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.live.run())
            tasks.create_task(self._journal.run())
            tasks.create_task(self._note_uses())

    async def close(self) -> None:
        """End what is under way, and write what is still to be written."""
        await self.talos.close()
        await self.kubernetes.close()
        try:
            await self._journal.flush()
            await self._callers.note_uses()
        except DatabaseError as error:
            log.error("the last of the audit of proxied calls is lost: %s", error)

    async def _note_uses(self) -> None:
        while True:
            await asyncio.sleep(NOTE_USES)
            with contextlib.suppress(DatabaseError):
                await self._callers.note_uses()
