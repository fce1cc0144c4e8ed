"""Who may call which Talos method on a machine, and as whom somebody is known to a cluster's Kubernetes API."""

from apps.access.actor import Actor
from apps.access.check import kept_out, refusal, standing_of
from apps.access.facts import Facts
from apps.access.methods import Need, need_of
from apps.access.verbs import OPERATOR, READER, VERBS

KUBERNETES = "kubernetes"
"""What refusals call a request to a Kubernetes API."""


def role_for(method: str, on: Facts) -> str:
    """The least role for a method on this machine.

    One in no cluster or in maintenance mode needs an operator for anything: its resources show the join token.
    """
    role = need_of(method).role
    return OPERATOR if role == READER and (on.maintenance or not on.cluster) else role


def check_call(actor: Actor, method: str, on: Facts) -> Need:
    """What a Talos method (`machine.MachineService/Logs`) takes, once `actor` may call it on a machine.

    Raises Denied: `hidden` when a policy shuts them out of the machine.
    """
    needed = role_for(method, on)
    found = standing_of(actor, on)
    if not found.may_call(method, needed):
        limits = found.limits_without(method)
        if limits and found.reaches(needed):
            raise kept_out(actor, method, needed, on, "other methods only", limits)
        raise refusal(actor, method, needed, on, found)
    return need_of(method)


def kubernetes_groups(actor: Actor, on: Facts) -> tuple[str, ...]:
    """The Kubernetes groups of `actor` in a cluster: never none. Raises Denied."""
    needed = VERBS["cluster.access"]
    found = standing_of(actor, on)
    if not found.reaches(needed):
        raise refusal(actor, KUBERNETES, needed, on, found)
    if not found.groups:
        raise kept_out(actor, KUBERNETES, needed, on, "none of their groups", found.limits_on_groups)
    return found.groups
