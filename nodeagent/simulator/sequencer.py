"""Sequences: the long jobs of a machine, one at a time, and which of them may interrupt which."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from talos.gen import common_pb2
from talos.gen.machine import events_pb2

if TYPE_CHECKING:
    from nodeagent.simulator.boot import Boot

Body = Callable[["Boot", "Sequence"], Coroutine[Any, Any, None]]

#: Running sequence to those that may take over. Shutdown may always.
_INTERRUPTED_BY = {
    "initialize": {"maintenanceUpgrade", "reboot"},
    "boot": {"upgrade", "reset", "reboot"},
    "reboot": {"reboot"},
    "reset": {"reboot"},
}


class SequenceFailed(Exception):
    """A sequence cannot go on. The machine reboots."""


class Sequence:
    """One run of a sequence. `actor_id` names the call that asked for it, empty for the machine's own."""

    def __init__(self, boot: Boot, name: str, actor_id: str = "") -> None:
        self._boot, self.name, self.actor_id = boot, name, actor_id

    def tell(
        self, action: events_pb2.SequenceEvent.Action, code: common_pb2.Code | None = None, message: str = ""
    ) -> None:
        event = events_pb2.SequenceEvent(sequence=self.name, action=action)
        if code is not None:
            event.error.CopyFrom(common_pb2.Error(code=code, message=message))
        self._boot.events.publish(event, self.actor_id)

    @asynccontextmanager
    async def phase(self, name: str) -> AsyncIterator[None]:
        """A phase that is one task of the same name."""
        publish = self._boot.events.publish
        publish(events_pb2.PhaseEvent(phase=name, action=events_pb2.PhaseEvent.START), self.actor_id)
        publish(events_pb2.TaskEvent(task=name, action=events_pb2.TaskEvent.START), self.actor_id)
        yield
        publish(events_pb2.TaskEvent(task=name, action=events_pb2.TaskEvent.STOP), self.actor_id)
        publish(events_pb2.PhaseEvent(phase=name, action=events_pb2.PhaseEvent.STOP), self.actor_id)


class Sequencer:
    """Runs one sequence at a time."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._running: Sequence | None = None
        self._task: asyncio.Task[Any] | None = None

    @property
    def running(self) -> str | None:
        return self._running.name if self._running else None

    async def run(self, name: str, body: Body, actor_id: str = "") -> None:
        """In the caller's own task. Raises SequenceFailed after saying so."""
        sequence = Sequence(self._boot, name, actor_id)
        self._running, self._task = sequence, asyncio.current_task()
        sequence.tell(events_pb2.SequenceEvent.START)
        try:
            await body(self._boot, sequence)
        except SequenceFailed as failure:
            sequence.tell(events_pb2.SequenceEvent.STOP)
            sequence.tell(events_pb2.SequenceEvent.NOOP, common_pb2.FATAL, f"sequence failed: {failure}")
            raise
        finally:
            if self._running is sequence:
                self._running = None
        sequence.tell(events_pb2.SequenceEvent.STOP)

    def request(self, name: str, body: Body, on_failure: Callable[[], Awaitable[None]]) -> str:
        """Start a sequence for an API call, which is answered whatever happens; the result is its actor id.

        When another one runs that it may not interrupt, an event says so and that is all.
        """
        actor_id = str(uuid.uuid4())
        running = self._running
        if running and name != "shutdown" and name not in _INTERRUPTED_BY.get(running.name, ()):
            Sequence(self._boot, name, actor_id).tell(
                events_pb2.SequenceEvent.NOOP,
                common_pb2.LOCKED,
                f"sequence not started: {running.name} sequence is already running",
            )
            return actor_id
        if running and self._task:
            self._task.cancel()
            running.tell(events_pb2.SequenceEvent.STOP)
            running.tell(events_pb2.SequenceEvent.NOOP, common_pb2.CANCELED, "sequence failed: context canceled")

        async def run() -> None:
            try:
                await self.run(name, body, actor_id)
            except SequenceFailed:
                await on_failure()

        self._boot.spawn(run(), name)
        return actor_id
