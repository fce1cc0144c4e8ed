"""Why somebody may do something, or may not: the same decision as the checks make, told. Pure."""

from dataclasses import dataclass

from apps.access.actor import Actor
from apps.access.calls import KUBERNETES, check_call, kubernetes_groups, role_for
from apps.access.check import Denied, allowed_somewhere, check, is_governed, standing_of
from apps.access.facts import Facts
from apps.access.methods import METHODS
from apps.access.policy import Standing
from apps.access.verbs import VERBS

TALOS = "talos:"
"""What begins a verb that is a Talos method: `talos:machine.MachineService/Logs`, or `talos:Logs`."""


@dataclass(frozen=True)
class Explanation:
    """A decision with its reasons. Policies are named in the order of their names."""

    verb: str
    object: str  # empty: the organisation
    allowed: bool
    hidden: bool  # for them it is not there
    needed: str
    held: str | None  # role there, by this credential
    own: str | None  # role in the organisation
    ceiling: str  # of the credential
    decided_by: tuple[str, ...]  # policies without which the role would be another one
    policies: tuple[str, ...]  # all that are about them and the object
    groups: tuple[str, ...]  # of Kubernetes, for clusters
    sentence: str


def resolve(verb: str, on: Facts | None) -> str:
    """The verb that is meant, a Talos method in full. Raises ValueError with what would be right."""
    if verb == KUBERNETES:
        if on is None or on.kind != "cluster":
            raise ValueError(f"{KUBERNETES} is about a cluster; name one: cluster/NAME")
        return verb
    if verb.startswith(TALOS):
        if on is None or on.kind != "machine":
            raise ValueError("a Talos method is called on a machine; name one: machine/NAME")
        return TALOS + _method(verb.removeprefix(TALOS).removeprefix("/"))
    if verb not in VERBS:
        raise ValueError(f"there is no verb “{verb}”; it is one of docs/permissions.md, {TALOS}METHOD, or {KUBERNETES}")
    if on is not None and verb.partition(".")[0] == "machine" and on.kind != "machine":
        raise ValueError(f"{verb} is about a machine; name one: machine/NAME")
    return verb


def _method(name: str) -> str:
    if "/" in name:
        return name
    found = [method for method in METHODS if method.endswith(f"/{name}")]
    if len(found) != 1:
        raise ValueError(
            f"“{name}” is {'several methods: ' + ', '.join(found) if found else 'no Talos method'}; "
            "write one in full, like machine.MachineService/Logs"
        )
    return found[0]


def explain(actor: Actor, verb: str, on: Facts | None = None) -> Explanation:
    """Whether `actor` may use a verb, call a Talos method or the Kubernetes API of `on`, and why.

    The verb is one that `resolve` gave. An object that the verb is not about changes nothing.
    """
    on = on if verb == KUBERNETES or verb.startswith(TALOS) or is_governed(verb) else None
    found = standing_of(actor, on)
    needed, refusal = VERBS["cluster.access"] if verb == KUBERNETES else VERBS.get(verb, ""), None
    try:
        if verb == KUBERNETES and on is not None:
            kubernetes_groups(actor, on)
        elif verb.startswith(TALOS) and on is not None:
            needed = role_for(verb.removeprefix(TALOS), on)
            check_call(actor, verb.removeprefix(TALOS), on)
        else:
            check(actor, verb, on or "")
    except Denied as denied:
        refusal = denied
    return Explanation(
        verb=verb,
        object=str(on or ""),
        allowed=refusal is None,
        hidden=refusal is not None and refusal.hidden,
        needed=needed,
        held=found.role,
        own=actor.own_role,
        ceiling=actor.ceiling,
        decided_by=found.decided_by,
        policies=found.why,
        groups=found.groups if on and on.kind == "cluster" else (),
        sentence=f"{refusal}{_rest(actor, verb, on)}." if refusal else _yes(actor, verb, on, needed, found),
    )


def _yes(actor: Actor, verb: str, on: Facts | None, needed: str, found: Standing) -> str:
    where = f"on {on}" if on else "in this organisation"
    held = f"{actor.name} is {found.role}"
    if found.decided_by:
        held += f" there by {', '.join(found.decided_by)} ({found.own} in the organisation)"
    if not found.reaches(needed):
        named = [rule.name for rule in found.grants if rule.talos_methods]
        held += f", and may call it by {', '.join(named)}"
    return f"{verb.removeprefix(TALOS)} needs {needed} {where}; {held}."


def _rest(actor: Actor, verb: str, on: Facts | None) -> str:
    """What else a refusal without an object leaves to say."""
    return ", but a policy may let them on some object" if on is None and allowed_somewhere(actor, verb) else ""
