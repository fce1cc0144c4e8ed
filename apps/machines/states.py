"""The states of machines and join tokens: for each a shape of the interface, a word, and a sentence.

Shapes are the closed list of `apps.reconcile.conditions.State`.
"""

from datetime import datetime, timedelta

from apps.machines.models import Agent, AgentTarget, JoinToken, Link, Machine, MachineObservation
from apps.reconcile.conditions import Shown

STALE_AFTER = timedelta(seconds=120)
"""Silence after which what a disconnected machine last said is shown as stale."""

ENDS_SOON = timedelta(days=3)
"""How long before its end a join token is shown as ending."""

UNUSED_AFTER = timedelta(days=7)
"""Age at which a join token that nobody used is worth a word."""

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


def agent_state(agent: Agent) -> Shown:
    """Whether an agent is there."""
    observed = agent.observation
    if observed.connected:
        return Shown("ok", "Connected", "The agent holds its connection to us.")
    if observed.connected_changed_at is None:
        return Shown("unknown", "Enrolled", "The agent was let in and has not connected yet.")
    return Shown("off", "Not connected", f"The agent is away: {observed.problem or 'it said nothing'}.")


def target_state(target: AgentTarget) -> Shown:
    """What an agent found at an address."""
    if target.problem:
        if not target.api_mode:
            return Shown("off", "No answer", target.problem)
        return Shown("warn", "Not ours" if target.api_mode == "foreign" else "Conflict", target.problem)
    if target.machine_id is not None:
        return Shown("ok", "Joined", "It is a machine of this organisation.")
    if target.uuid:
        return Shown("ask", "New", "In maintenance mode; accept it to make it a machine of this organisation.")
    return Shown("work", "Looking", "What answers there is being looked at.")


def token_state(token: JoinToken, now: datetime) -> Shown:
    """Whether machines may join with a token."""
    if token.revoked_at is not None:
        return Shown("off", "Revoked", "Nobody can join with this token any more.")
    if token.expires_at is not None and token.expires_at <= now:
        return Shown("off", "Expired", "The time of this token is over.")
    if token.expires_at is not None and token.expires_at - now < ENDS_SOON:
        return Shown("warn", "Ends soon", "This token expires within three days.")
    return Shown("ok", "Active", "Machines can join with this token.")


def token_warnings(token: JoinToken, pending: int, now: datetime) -> list[str]:
    """What a person should know of a join token, in sentences. `pending`: machines that called with it and are not
    registered."""
    shown, found = token_state(token, now), []
    ended = shown.shape == "off"
    if ended and token.is_default:
        found.append("It is the default and over: make another token the default.")
    if ended and pending:
        whom = "1 machine that called with it is" if pending == 1 else f"{pending} machines that called with it are"
        found.append(f"{whom} not registered, and refused from now on. Boot them with another token.")
    if shown.shape == "warn":
        found.append("It ends soon; machines that boot with it afterwards are refused. Move its end, or make another.")
    if not ended and not token.use_count and now - token.created_at > UNUSED_AFTER:
        found.append("No machine has joined with it so far. Revoke it if nobody needs it.")
    return found


def stale(observed: MachineObservation, now: datetime) -> bool:
    """Whether the values shown are old: the machine is silent and has been for a while."""
    if observed.connected and observed.reachable:
        return False
    return observed.observed_at is None or now - observed.observed_at > STALE_AFTER


def cluster_of(machine: Machine) -> str | None:
    """Name of the cluster that a machine is in, or None."""
    member = getattr(machine, "cluster_machine", None)
    return member.cluster.name if member is not None else None
