"""Changing an organisation."""

from apps.access.actor import Actor
from apps.access.check import check
from apps.audit.actions import record
from apps.tenants.models import Organisation


def rename_organisation(actor: Actor, organisation: Organisation, name: str) -> None:
    """Give an organisation another name; its slug, and so its addresses, stay. Raises `Denied`."""
    check(actor, "organisation.update", organisation.slug)
    before, organisation.name = organisation.name, name
    organisation.save(update_fields=["name"])
    record(actor, "organisation.update", "organisation", organisation.id, organisation.slug, before=before, after=name)
