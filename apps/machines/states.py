"""The states of machines and join tokens: for each a shape of the interface, a word, and a sentence.

Shapes are the closed list of `apps.reconcile.conditions.State`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.machines.models import JoinToken, Link, Machine, MachineObservation
from apps.reconcile.conditions import State

STALE_AFTER = timedelta(seconds=120)
"""Silence after which what a disconnected machine last said is shown as stale."""

ENDS_SOON = timedelta(days=3)
"""How long before its end a join token is shown as ending."""


@dataclass(frozen=True)
class Shown:
    """A state as people see it."""

    shape: State
    word: str
    sentence: str


_STAGES: dict[str, Shown] = {
    "booting": Shown("work", "Booting", "Talos is starting."),
    "installing": Shown("work", "Installing", "Talos is being written to the disk."),
    "rebooting": Shown("work", "Rebooting", "The machine is restarting."),
    "upgrading": Shown("work", "Upgrading", "Talos is being replaced by another version."),
    "resetting": Shown("work", "Wiping", "The machine is being wiped."),
    "shutting down": Shown("off", "Shutting down", "The machine is powering off."),
}


def machine_state(observed: MachineObservation, cluster: str | None) -> Shown:
    """What a machine is doing, from what it last said and whether it belongs to a cluster."""
    if not observed.connected:
        if observed.observed_at is None:
            return Shown("unknown", "Unknown", "The machine has never reported.")
        return Shown("off", "Not connected", "The link is silent; what is shown is what the machine last said.")
    if observed.stage in _STAGES:
        return _STAGES[observed.stage]
    if observed.stage == "maintenance":
        if cluster:
            return Shown("wait", "Waiting", f"Taken by {cluster}, waiting for its configuration.")
        return Shown("idle", "Free", "In maintenance mode, ready to be given to a cluster.")
    if observed.stage == "running":
        if observed.ready:
            return Shown("ok", "Running", "Everything Talos watches on this machine is as it should be.")
        unmet = ", ".join(item["name"] for item in observed.unmet)
        return Shown("warn", "Degraded", f"Running, but not ready: {unmet or 'no reason given'}.")
    if observed.error:
        return Shown("warn", "Unreachable", observed.error)
    return Shown("unknown", "Connecting", "The link is up; the machine's API has not answered yet.")


def link_state(link: Link) -> Shown:
    """Where a link is on its way to be a machine."""
    if link.state == Link.ESTABLISHED:
        return Shown("ok", "Joined", "The machine is registered.")
    if link.conflict:
        return Shown("warn", "Conflict", "Another machine has this UUID; this one is being given a new UUID.")
    return Shown("work", "Joining", "The machine called; its identity is being established.")


def token_state(token: JoinToken, now: datetime) -> Shown:
    """Whether machines may join with a token."""
    if token.revoked_at is not None:
        return Shown("off", "Revoked", "Nobody can join with this token any more.")
    if token.expires_at is not None and token.expires_at <= now:
        return Shown("off", "Expired", "The time of this token is over.")
    if token.expires_at is not None and token.expires_at - now < ENDS_SOON:
        return Shown("warn", "Ends soon", "This token expires within three days.")
    return Shown("ok", "Active", "Machines can join with this token.")


def stale(observed: MachineObservation, now: datetime) -> bool:
    """Whether the values shown are old: the machine is silent and has been for a while."""
    if observed.connected and observed.reachable:
        return False
    return observed.observed_at is None or now - observed.observed_at > STALE_AFTER


def cluster_of(machine: Machine) -> str | None:
    """Name of the cluster that a machine is in, or None."""
    member = getattr(machine, "cluster_machine", None)
    return member.cluster.name if member is not None else None
