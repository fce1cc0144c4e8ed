"""What to answer to `Provision`: facts in, decision out.

The procedure is Talos' join as its machines expect it, with two differences for safety: a pending machine always has an
address of its own, so a second machine with a known UUID never disturbs the first; and a proven node unique token beats
the join token, so revoking a token cuts nobody who already belongs here.

A machine that is known by way of an agent has no unique token yet. When it calls here with a good join token it was
pending first, and its hardware was read over the WireGuard link itself: if that is the hardware known, its link becomes
this one, unless it is installed or in a cluster. Then only its cluster could tell that it is the same, and whoever
copies a UUID and a serial number must not come to receive a cluster's secrets: it is refused, and the agent goes on.
"""

import re
from dataclasses import dataclass
from enum import Enum

from talos import versions
from talos.jointoken import NodeUniqueToken

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Act(Enum):
    """What to do with the link record."""

    KEEP = "keep"  # same machine, same key: answer as before
    PEND = "pend"  # make or refresh a pending link under this key
    PEND_CONFLICT = "pend-conflict"  # the same, and give the machine another UUID
    RETURN = "return"  # a registered machine comes back: its link takes the new key
    ADOPT_TOKEN = "adopt-token"  # noqa: S105  the same, and the new unique token replaces the stored one
    REGISTER = "register"  # a new machine


@dataclass(frozen=True)
class KnownLink:
    """What is stored of a registered machine."""

    node_uuid: str
    public_key: str
    unique_token: NodeUniqueToken | None
    installed: bool  # Talos is on its disk, so META survives reboots
    over_agent: bool = False  # reached through an agent, without key and unique token
    in_cluster: bool = False
    same_hardware: bool | None = None  # as that of the pending machine which calls now; None: not read yet


@dataclass(frozen=True)
class Facts:
    """What is known when a machine calls. Links are those of one organisation, the one the call belongs to."""

    node_uuid: str
    public_key: str
    unique_token: NodeUniqueToken | None
    talos_version: str | None
    token_valid: bool  # a join token of this organisation was given and is active
    by_unique_token: KnownLink | None  # the registered machine that holds exactly this unique token
    by_uuid: KnownLink | None  # the registered machine of this UUID
    key_elsewhere: bool  # this key belongs to a link that this call has no claim to


@dataclass(frozen=True)
class Refusal:
    """A gRPC status code name and a text for the machine's log."""

    code: str
    text: str


def valid_uuid(value: str) -> bool:
    """Whether this is a UUID as a machine's firmware prints it."""
    return _UUID.fullmatch(value) is not None


def decide(facts: Facts) -> Act | Refusal:
    """The one answer to a `Provision` call."""
    known = facts.by_unique_token
    if not (facts.token_valid or known):
        return Refusal("PERMISSION_DENIED", "unauthorized: the join token is unknown, revoked or expired")
    if not versions.secure_join_supported(facts.talos_version or ""):
        return Refusal("FAILED_PRECONDITION", "Talos 1.6 or newer is needed to join")
    if facts.key_elsewhere:
        return Refusal("PERMISSION_DENIED", "this WireGuard key belongs to another link; reboot to get a new key")
    if known:
        return _returning(facts, known)
    same = facts.by_uuid
    if same and same.public_key == facts.public_key and facts.unique_token is None:
        return Act.KEEP
    if facts.unique_token is None:
        return Act.PEND
    if same is not None and same.over_agent:
        return _from_agent(same)
    if same is None or same.unique_token is None:
        return Act.RETURN if same else Act.REGISTER
    if facts.unique_token.same_fingerprint(same.unique_token):
        if same.installed:
            return Refusal(
                "PERMISSION_DENIED", "unauthorized: the unique token of this installed machine is another one"
            )
        return Act.ADOPT_TOKEN
    return Act.PEND_CONFLICT


def _returning(facts: Facts, known: KnownLink) -> Act | Refusal:
    if known.node_uuid != facts.node_uuid:
        return Refusal(
            "FAILED_PRECONDITION",
            f"this machine is registered as {known.node_uuid}; remove it there before it joins under another UUID",
        )
    return Act.KEEP if known.public_key == facts.public_key else Act.RETURN


def _from_agent(same: KnownLink) -> Act | Refusal:
    """A machine calls that has the UUID of one that an agent reaches."""
    if same.same_hardware is None:
        return Act.PEND
    if not same.same_hardware:
        return Act.PEND_CONFLICT
    if same.installed or same.in_cluster:
        return Refusal(
            "FAILED_PRECONDITION",
            f"machine {same.node_uuid} is installed and reached through an agent; reset it before it joins this way",
        )
    return Act.RETURN
