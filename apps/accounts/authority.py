"""An organisation's own certificate authority, and the client certificates by which talosctl proves its person.

A certificate's serial number is the id of its access key, so that it can be listed, and revoked at once.
"""

from datetime import timedelta

from django.core.exceptions import ValidationError
from django.utils import timezone

from apps.access.actor import ROLES, Actor
from apps.access.check import check
from apps.accounts.actions import check_role
from apps.accounts.keys import check_room, holder_of
from apps.accounts.models import AccessKey, ApiToken, Authority, ServiceAccount, User
from apps.audit.actions import record
from apps.reconcile.outbox import changed
from apps.tenants.ids import uuid7
from apps.tenants.models import Organisation
from apps.tenants.sealing import seal, unseal
from talos import pki
from talos.pem import CertKey

DEFAULT_LIFETIME, LONGEST = timedelta(hours=8), timedelta(hours=24)
SHORTEST = timedelta(minutes=1)

AUTHORITY_CHANGED = "authority"
"""Kind of change: there is a new authority."""


def authority(actor: Actor) -> CertKey:
    """The authority of the organisation in scope, made when it is first asked for."""
    organisation = Organisation.objects.select_for_update().get(id=actor.organisation_id)  # made by one only
    row = Authority.objects.first()
    if row is not None:
        return CertKey(bytes(row.certificate), unseal(row.sealed_key, organisation.id, row.id))
    row_id = uuid7()
    made = pki.organisation_ca(f"{organisation.slug} {row_id.hex[-8:]}", timezone.now())
    Authority.new(id=row_id, certificate=made.crt, sealed_key=seal(made.key, organisation.id, row_id))
    changed(AUTHORITY_CHANGED, row_id, organisation.id)
    return made


def issue_certificate(
    actor: Actor,
    holder: User | ServiceAccount,
    name: str,
    lifetime: timedelta = DEFAULT_LIFETIME,
    session_key: str = "",
    *,
    api_token: ApiToken | None = None,
) -> tuple[AccessKey, CertKey]:
    """A client certificate that proves `holder`, with its key: the one time that this is there.

    Whoever is not the holder may issue it for service accounts only. It acts with no more than the credential that
    asked for it, and ends with the browser session or API token that did. Raises `Denied`, `ValidationError`.
    """
    role = _most(actor, holder, name)
    if not SHORTEST <= lifetime <= LONGEST:
        raise ValidationError({"lifetime": f"from one minute to {LONGEST // timedelta(hours=1)} hours"})
    whose = {"user": holder} if isinstance(holder, User) else {"service_account": holder}
    check_room(**whose)
    now, row_id = timezone.now(), uuid7()
    ends = min(now + lifetime, (api_token and api_token.expires_at) or now + lifetime)
    key = AccessKey.new(
        id=row_id,
        kind=AccessKey.CERTIFICATE,
        fingerprint=row_id.hex,
        name=name.strip()[:120] or "talosctl",
        role=role,
        expires_at=ends,
        session_key=session_key,
        api_token=api_token,
        source=actor.source[:64],
        **whose,
    )
    slug = Organisation.objects.get(id=actor.organisation_id).slug
    subject = holder.email if isinstance(holder, User) else holder.name
    made = pki.organisation_client(authority(actor), subject, slug, row_id.int, now, ends)
    record(
        actor, "access-key.create", "access-key", key.id, key.name, key=key.fingerprint, role=key.role,
        holder=holder_of(key), kind=key.kind,
    )  # fmt: skip
    changed("access-key", key.id, actor.organisation_id)
    return key, made


def _most(actor: Actor, holder: User | ServiceAccount, name: str) -> str:
    """The most that `actor` may let a certificate of `holder` do. Raises `Denied`, `ValidationError`."""
    if actor.id == str(holder.id):
        check(actor, "access-key.create", name)
        return actor.role or ROLES[0]
    if isinstance(holder, User):
        raise ValidationError("a person's certificate is issued to nobody else")
    check(actor, "service-account.write", holder.name)
    check_role(actor, holder.role)
    return holder.role
