"""Giving out what kubectl shows: tokens of people and of service accounts. Each checks, writes and audits."""

from dataclasses import dataclass
from datetime import timedelta

from django.core.exceptions import ValidationError

from apps.access.actor import ROLES, Actor
from apps.access.check import check
from apps.accounts.actions import check_role
from apps.accounts.identity import Identity
from apps.accounts.models import AccessKey, ServiceAccount, User
from apps.clusters.models import Cluster
from apps.proxies import kubeconfigs, tokens
from apps.tenants.models import Organisation

PLUGIN_LIFE = timedelta(hours=1)
"""How long a token of the exec plugin is good."""


@dataclass(frozen=True)
class Given:
    """A new access key, and what proves it: a token or a file with one. It is there this once."""

    key: AccessKey
    content: str


def plugin_token(actor: Actor, identity: Identity, cluster: Cluster, session_key: str = "") -> Given:
    """A token of an hour for whoever asks. It ends with the credential or session that asked. Raises `Denied`."""
    name = f"kubectl, {cluster.name}"
    given = tokens.issue(actor, holder_of(identity), cluster, name, PLUGIN_LIFE, session_key, api_token=identity.token)
    return Given(*given)


def person_kubeconfig(actor: Actor, identity: Identity, cluster: Cluster, proof: str) -> str:
    """A kubeconfig without a secret, for one of `kubeconfigs.PROOFS`. Raises `Denied`."""
    check(actor, "cluster.access", cluster)
    return kubeconfigs.for_person(_slug(actor), cluster.name, name_of(holder_of(identity)), proof).to_yaml()


def service_account_kubeconfig(
    actor: Actor, account: ServiceAccount, cluster: Cluster, name: str, lifetime: timedelta, role: str = ""
) -> Given:
    """A kubeconfig with a token in it, for a program. `role` may be less than the account's own, never more.

    Raises `Denied`, `ValidationError`. Nobody gives out a role above their own.
    """
    check(actor, "service-account.write", account.name)
    check_role(actor, account.role)
    role = role or account.role
    if ROLES.index(role) > ROLES.index(account.role):
        raise ValidationError({"role": f"{account.name} is {account.role}; its keys cannot be more"})
    key, token = tokens.issue(actor, account, cluster, name, lifetime, role=role)
    file = kubeconfigs.through_us(_slug(actor), cluster.name, account.name, {"token": token})
    return Given(key, file.to_yaml())


def holder_of(identity: Identity) -> User | ServiceAccount:
    """Whose credentials an identity can get."""
    holder = identity.user or identity.service_account
    assert holder is not None, "an identity is somebody's"
    return holder


def name_of(holder: User | ServiceAccount) -> str:
    """As kubeconfigs call somebody."""
    return holder.email if isinstance(holder, User) else holder.name


def _slug(actor: Actor) -> str:
    return str(Organisation.objects.get(id=actor.organisation_id).slug)
