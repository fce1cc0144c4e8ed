"""The state of each peer, and where to look for it next: Talos' state machine. Pure; times are Unix seconds.

WireGuard says when it last shook hands with a peer. A peer has some seconds to do so after its endpoint was set; one
that does not is down, and its next endpoint is tried in the next pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from kubespan.affiliates import Endpoint, Network
from kubespan.node.specs import PeerSpec
from talos import siderolink
from talos.siderolink import Purpose


class State(StrEnum):
    """How a peer is, in Talos' words."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: between two passes, to connect to an endpoint, and without a handshake until a peer is down."""

    between: float = 30.0
    connect: float = 15.0
    down: float = 275.0


TIMING = Timing()
"""Talos' own. WireGuard makes a new handshake after 120 s, so that of a peer that is up is never 275 s old."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What WireGuard says of a peer."""

    endpoint: Endpoint | None = None
    last_handshake: float | None = None
    received: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """A peer as it is. `last_used_endpoint` is the one that this node chose last, at `last_endpoint_change`."""

    label: str
    state: State = State.UNKNOWN
    observed: Observed = Observed()
    last_used_endpoint: Endpoint | None = None
    last_endpoint_change: float | None = None

    @property
    def wanted_endpoint(self) -> Endpoint | None:
        """The endpoint to configure; None leaves the one that WireGuard has, where the peer went by itself."""
        actual = self.observed.endpoint
        return self.last_used_endpoint if actual in (None, self.last_used_endpoint) else None


def advance(
    statuses: Mapping[str, PeerStatus],
    specs: Iterable[PeerSpec],
    observed: Mapping[str, Observed],
    now: float,
    timing: Timing = TIMING,
) -> dict[str, PeerStatus]:
    """One pass over all peers, by public key: what is known of them now, and the next endpoint of those in need."""
    return {
        spec.public_key: _choose(
            observe(
                replace(statuses[spec.public_key], label=spec.label)
                if spec.public_key in statuses
                else PeerStatus(spec.label),
                observed.get(spec.public_key),
                now,
                timing,
            ),
            spec.endpoints,
            now,
        )
        for spec in specs
    }


def observe(status: PeerStatus, observed: Observed | None, now: float, timing: Timing = TIMING) -> PeerStatus:
    """The status with what WireGuard says of the peer; None while it does not have it."""
    observed = observed or status.observed
    state = state_of(observed.last_handshake, status.last_endpoint_change, now, timing)
    if state is State.DOWN and status.last_used_endpoint is None:
        state = State.UNKNOWN
    return replace(status, observed=observed, state=state)


def state_of(handshake: float | None, changed: float | None, now: float, timing: Timing = TIMING) -> State:
    """The state by the last handshake and the last change of the endpoint; None where there was none."""
    since_change = now - (changed or 0.0)
    if since_change > timing.down:
        return State.UP if now - (handshake or 0.0) < timing.down else State.DOWN
    if handshake is not None and handshake > (changed or 0.0):
        return State.UP
    return State.UNKNOWN if since_change < timing.connect else State.DOWN


def _choose(status: PeerStatus, endpoints: Sequence[Endpoint], now: float) -> PeerStatus:
    if status.state is not State.DOWN and status.last_used_endpoint is not None:
        return status
    chosen = next_endpoint(status, endpoints)
    if chosen is None:
        return status
    return replace(
        status,
        state=State.UNKNOWN,
        observed=replace(status.observed, endpoint=chosen),
        last_used_endpoint=chosen,
        last_endpoint_change=now,
    )


def next_endpoint(status: PeerStatus, endpoints: Sequence[Endpoint]) -> Endpoint | None:
    """The endpoint after the last used one, in a circle; None when there is no other to try."""
    last = status.last_used_endpoint
    if not endpoints or list(endpoints) == [last] == [status.observed.endpoint]:
        return None
    try:
        return endpoints[(endpoints.index(last) + 1) % len(endpoints)] if last is not None else endpoints[0]
    except ValueError:
        return endpoints[0]


def routed(specs: Iterable[PeerSpec], statuses: Mapping[str, PeerStatus], *, only_up: bool = False) -> list[Network]:
    """The networks that go into the tunnel, of all peers or `only_up`; KubeSpan addresses have a route of their own."""
    return [
        network
        for spec in specs
        if not only_up or statuses[spec.public_key].state is State.UP
        for network in spec.allowed_ips
        if not siderolink.has_purpose(str(network.network_address), Purpose.KUBESPAN)
    ]
