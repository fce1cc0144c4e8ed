"""What the holder of an access key is in a cluster itself: one of Kubernetes' own roles, or nobody."""

from apps.access.actor import ROLES, Actor
from apps.access.calls import kubernetes_groups
from apps.access.check import Denied
from apps.access.policy import group_of
from apps.accounts.identity import Identity, actor_in
from apps.accounts.models import AccessKey
from apps.clusters.models import Cluster
from apps.proxies.objects import CLUSTER_ROLES


def cluster_role(actor: Actor, cluster: Cluster) -> str:
    """The Kubernetes role of an actor. Groups that policies add have no place in it. Raises `Denied`."""
    groups = kubernetes_groups(actor, cluster.facts)
    own = [role for role in ROLES if group_of(role) in groups]
    if not own:
        text = f"policies leave {actor.name} no group of a role in {cluster.facts}, so that nothing of it can be given"
        raise Denied(text, "cluster.access", ROLES[0])
    return CLUSTER_ROLES[own[-1]]


def holders_role(key: AccessKey, cluster: Cluster) -> str:
    """The Kubernetes role that an access key's holder has now; empty when the key has ended or they have none."""
    identity = Identity(key.user, service_account=key.service_account, key=key)
    actor = actor_in(identity, key.organisation_id, "", "")
    if actor is None:
        return ""
    try:
        return cluster_role(actor, cluster)
    except Denied:
        return ""
