"""The talosconfigs that lead to machines through this installation, and the two ways to say in them who one is."""

import base64
from datetime import timedelta

from django.conf import settings

from apps.access.actor import Actor
from apps.access.check import check
from apps.accounts import authority
from apps.accounts.identity import Identity
from apps.accounts.models import AccessKey
from apps.clusters.models import Cluster
from apps.proxies import kubeconfigs
from apps.proxies.actions import holder_of, name_of
from apps.tenants.models import Organisation
from talos.talosconfig import Context, TalosConfig

KEY, CERTIFICATE = "key", "certificate"

PROOFS = {
    KEY: "talosctl makes a key and has it accepted in the browser; the file holds no secret",
    CERTIFICATE: "a client certificate in the file, for hours",
}


def give(
    actor: Actor, identity: Identity, cluster: Cluster | None, proof: str, lifetime: timedelta, session_key: str = ""
) -> tuple[TalosConfig, AccessKey | None]:
    """A talosconfig of one context for whoever asks, for one cluster or for all that they reach.

    With a certificate it is there this once, and ends with the credential or session that asked. Raises `Denied`,
    `ValidationError`.
    """
    check(actor, "cluster.access", cluster or "")
    slug = Organisation.objects.get(id=actor.organisation_id).slug
    holder, key = holder_of(identity), None
    context = Context(endpoints=[settings.CONFIG.public_url], ca=_base64(kubeconfigs.authority()))
    if cluster is not None:
        context.cluster = cluster.name
    if proof == CERTIFICATE:
        named = f"talosctl, {cluster.name}" if cluster else "talosctl"
        key, made = authority.issue_certificate(actor, holder, named, lifetime, session_key, api_token=identity.token)
        context.crt, context.key = _base64(made.crt), _base64(made.key)
    else:
        context.identity = name_of(holder)
    name = f"{slug}-{cluster.name}" if cluster else slug
    return TalosConfig(name, {name: context}), key


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
