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
    if name == organisation.name:
        return
    before, organisation.name = organisation.name, name
    organisation.save(update_fields=["name"])
    record(actor, "organisation.update", "organisation", organisation.id, organisation.slug, before=before, after=name)
    changed("organisation", organisation.id, actor.organisation_id)


def require_second_factor(actor: Actor, organisation: Organisation, required: bool, has_one: bool) -> None:
    """Ask members for a second factor before they see the organisation in a browser, or no more.

    `has_one`: whether whoever asks has one, or they would shut themselves out. Raises `Denied`, `ValidationError`.
    """
    check(actor, "organisation.update", organisation.slug)
    if required and not has_one:
        raise ValidationError("Set up a second factor of your own first; you would shut yourself out.")
    if organisation.second_factor_required == required:
        return
    organisation.second_factor_required = required
    organisation.save(update_fields=["second_factor_required"])
    name = organisation.slug
    record(actor, "organisation.update", "organisation", organisation.id, name, second_factor_required=required)
    changed("organisation", organisation.id, actor.organisation_id)
