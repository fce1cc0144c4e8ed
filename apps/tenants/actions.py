"""Changing an organisation."""

from django.core.exceptions import ValidationError

from apps.access.actor import Actor
from apps.access.check import check
from apps.audit.actions import record
from apps.reconcile.outbox import changed
from apps.tenants.models import Organisation

LONGEST_NAME = 120


def rename_organisation(actor: Actor, organisation: Organisation, name: str) -> None:
    """Give an organisation another name; its slug, and so its addresses, stay. Raises `Denied`, `ValidationError`."""
    check(actor, "organisation.update", organisation.slug)
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise ValidationError({"name": f"Give the organisation a name of 1 to {LONGEST_NAME} characters."})
    before, organisation.name = organisation.name, name
    organisation.save(update_fields=["name"])
    record(actor, "organisation.update", "organisation", organisation.id, organisation.slug, before=before, after=name)
    changed("organisation", organisation.id, actor.organisation_id)
