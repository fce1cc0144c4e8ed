"""Every change of a policy: check, write, audit, and tell whoever holds something open by it."""

import re
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError

from apps.access import spec
from apps.access.actor import ROLES, Actor
from apps.access.check import check
from apps.access.models import Policy
from apps.access.policy import GRANT, LIMIT, Rule, reaches
from apps.audit.actions import record
from apps.reconcile.outbox import changed

LONGEST_DESCRIPTION = 200

RESERVED = ("new", "preview")

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def read_policy(actor: Actor, name: str, given: Mapping[str, Any]) -> Rule:
    """The policy that somebody wrote, provided that they may. Raises `Denied`, `ValidationError`; changes nothing."""
    check(actor, "policy.write", name)
    if not _NAME.fullmatch(name):
        raise ValidationError({"name": f"“{name[:80]}” cannot be a name; use 1 to 63 of a-z, 0-9 and inner hyphens"})
    if name in RESERVED:
        raise ValidationError({"name": f"“{name}” is the name of a page; take another one"})
    try:
        rule = spec.read(name, given)
    except spec.Wrong as wrong:
        raise ValidationError(wrong.errors) from None
    _check_reach(actor, rule)
    return rule


def write_policy(
    actor: Actor, name: str, given: Mapping[str, Any], description: str = "", row: Policy | None = None
) -> Policy:
    """Make a policy, or change `row`. Raises `Denied`, `ValidationError`.

    Nobody gives by a policy more than their own role, or changes one that limits themselves.
    """
    rule = read_policy(actor, name, given)
    description = " ".join(description.split())
    if len(description) > LONGEST_DESCRIPTION or not description.isprintable():
        raise ValidationError({"description": f"at most {LONGEST_DESCRIPTION} characters that can be printed"})
    if row is None:
        if Policy.objects.filter(name=name).exists():
            raise ValidationError({"name": f"there is a policy {name} already"})
        row = Policy.new(name=name, description=description, spec=spec.written(rule))
        _record(actor, "create", row, after=row.spec)
        return row
    if row.name != name:
        raise ValidationError({"name": f"a policy keeps its name: {row.name}"})
    _check_undone(actor, row.rule)
    before, row.spec, row.description = row.spec, spec.written(rule), description
    row.save()
    _record(actor, "update", row, before=before, after=row.spec)
    return row


def delete_policy(actor: Actor, row: Policy) -> None:
    """End a policy; what was open by it ends too. Raises `Denied`, `ValidationError`."""
    check(actor, "policy.write", row.name)
    _check_undone(actor, row.rule)
    _record(actor, "delete", row, before=row.spec)
    row.delete()


def _check_reach(actor: Actor, rule: Rule) -> None:
    """Raise ValidationError where a grant gives more than its writer has."""
    if rule.effect != GRANT or actor.role is None:
        return
    if rule.role and not reaches(actor.role, rule.role):
        raise ValidationError({"role": f"you are {actor.role} and cannot give {rule.role}"})
    for group in rule.kubernetes_groups:
        needed = group.removeprefix("omni:") if group.startswith("omni:") else ""
        if group.startswith("system:") or needed == ROLES[-1]:
            if not reaches(actor.role, ROLES[-1]):
                raise ValidationError({"kubernetes_groups": f"{group} rules a whole cluster; only an owner gives it"})
        elif needed and needed not in ROLES:
            known = ", ".join(f"omni:{role}" for role in ROLES)
            raise ValidationError({"kubernetes_groups": f"there is no group {group}; those of roles are {known}"})


def _check_undone(actor: Actor, rule: Rule) -> None:
    """Raise ValidationError where somebody would undo what an owner holds over them."""
    if reaches(actor.role or ROLES[0], ROLES[-1]):
        return
    if rule.effect == LIMIT and rule.names(actor.subject, actor.own_role):
        raise ValidationError(f"policy {rule.name} limits you; an owner can change it")
    if rule.effect == GRANT and rule.role and not reaches(actor.role or ROLES[0], rule.role):
        raise ValidationError(f"policy {rule.name} gives {rule.role}, and you are {actor.role}; an owner can change it")


def _record(actor: Actor, act: str, row: Policy, **details: Any) -> None:
    record(actor, f"policy.{act}", "policy", row.id, row.name, **details)
    changed("policy", row.id, actor.organisation_id)
