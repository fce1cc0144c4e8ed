"""The services of one boot: their states, the events of each change, and the resources of those that run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from nodeagent.simulator.events import EventLog
from nodeagent.simulator.kmsg import KernelLog
from nodeagent.simulator.store import Store
from talos.gen.machine import events_pb2, services_pb2
from talos.resources import types

_HISTORY = 20


class State(StrEnum):
    """A service's state, as ServiceList names it."""

    INITIALIZED = "Initialized"
    PREPARING = "Preparing"
    WAITING = "Waiting"
    RUNNING = "Running"
    STOPPING = "Stopping"
    FINISHED = "Finished"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    STARTING = "Starting"

    @property
    def action(self) -> events_pb2.ServiceStateEvent.Action:
        return getattr(events_pb2.ServiceStateEvent, self.name)


@dataclass
class Service:
    """One service. `healthy` is None while its health is unknown."""

    id: str
    state: State = State.INITIALIZED
    healthy: bool | None = None
    message: str = ""
    changed: float = 0.0
    events: list[tuple[float, State, str]] = field(default_factory=list)

    @property
    def up(self) -> bool:
        return self.state is State.RUNNING and self.healthy is not False

    def health(self) -> services_pb2.ServiceHealth:
        health = services_pb2.ServiceHealth(
            unknown=self.healthy is None, healthy=bool(self.healthy), last_message=self.message
        )
        health.last_change.FromNanoseconds(int(self.changed * 1e9))
        return health

    def info(self) -> services_pb2.ServiceInfo:
        info = services_pb2.ServiceInfo(id=self.id, state=str(self.state), health=self.health())
        for at, state, message in self.events:
            event = info.events.events.add(msg=message, state=str(state))
            event.ts.FromNanoseconds(int(at * 1e9))
        return info


class Services:
    """All services of a boot, by id. `changed` is called after each change."""

    def __init__(self, store: Store, events: EventLog, kernel_log: KernelLog, changed: Callable[[], None]) -> None:
        self._store, self._events, self._kernel_log, self._changed = store, events, kernel_log, changed
        self._services: dict[str, Service] = {}

    def all(self) -> list[Service]:
        return [self._services[id] for id in sorted(self._services)]

    def get(self, id: str) -> Service | None:
        return self._services.get(id)

    def up(self, id: str) -> bool:
        service = self._services.get(id)
        return service is not None and service.up

    def set(self, id: str, state: State, message: str, *, healthy: bool | None = None) -> None:
        """Change a service's state; one that is not there yet appears."""
        service = self._services.setdefault(id, Service(id))
        now = time.time()
        service.state, service.message, service.healthy, service.changed = state, message, healthy, now
        service.events = [*service.events[1 - _HISTORY :], (now, state, message)]
        self._kernel_log.talos(f"service[{id}]({state}): {message}")
        self._events.publish(
            events_pb2.ServiceStateEvent(service=id, action=state.action, message=message, health=service.health())
        )
        if state is State.RUNNING:
            self._store.put(
                types.SERVICE, {"running": True, "healthy": healthy is True, "unknown": healthy is None}, id
            )
        else:
            self._store.remove(types.SERVICE, id)
        self._changed()

    def start(self, id: str) -> None:
        """Straight to Running and healthy."""
        self.set(id, State.PREPARING, "Running pre state")
        self.set(id, State.RUNNING, "Health check successful", healthy=True)

    def stop(self, id: str) -> None:
        """To Finished, if it is anything else."""
        service = self._services.get(id)
        if service is not None and service.state is not State.FINISHED:
            self.set(id, State.STOPPING, "Sending SIGTERM")
            self.set(id, State.FINISHED, "Service finished successfully")
