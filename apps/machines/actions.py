"""Every change to join tokens, machines and machine classes: check, write, audit, hint."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone

from apps.access.actor import Actor
from apps.access.check import check, check_labels
from apps.audit.actions import record
from apps.machines.joining import read_unique_token, token_hash, usable, write_unique_token
from apps.machines.models import JoinToken, Link, Machine, MachineClass
from apps.machines.states import token_state
from apps.reconcile.outbox import changed, hint
from apps.tenants.ids import uuid7
from apps.tenants.sealing import seal, unseal
from talos import jointoken
from talos.jointoken import NodeUniqueToken
from talos.selectors import parse_selector

MACHINE_REMOVED = "machine-removed"
"""Kind of the change that tells the gateway to drop a link."""

_LABEL_KEY = re.compile(r"([a-z0-9A-Z.-]+/)?[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?")
_LABEL_VALUE = re.compile(r"|[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?")
_TOKEN_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,40}")


@dataclass(frozen=True)
class NewToken:
    """A join token just made, with its secret text."""

    row: JoinToken
    token: str


def create_join_token(
    actor: Actor, name: str, expires_at: datetime | None = None, make_default: bool = False
) -> NewToken:
    """Make a join token. The first of an organisation becomes its default. Raises ValidationError."""
    check(actor, "join-token.create", name)
    name = _free_token_name(name)
    _require_future(expires_at)
    default = make_default or not JoinToken.objects.filter(is_default=True).exists()
    if default:
        JoinToken.objects.filter(is_default=True).update(is_default=False)
    text, token_id = jointoken.generate(), uuid7()
    row = JoinToken.new(
        id=token_id,
        name=name,
        sealed=seal(text.encode(), actor.organisation_id, token_id),
        token_hash=token_hash(text),
        expires_at=expires_at,
        is_default=default,
        created_by=actor.name,
    )
    record(actor, "join-token.create", "join-token", row.id, name, expires_at=str(expires_at or ""), default=default)
    changed("join-token", row.id, actor.organisation_id)
    return NewToken(row, text)


def _free_token_name(name: str) -> str:
    name = name.strip()
    if not _TOKEN_NAME.fullmatch(name):
        raise ValidationError({"name": "Give the token a name of 1 to 40 characters."})
    if JoinToken.objects.filter(name=name).exists():
        raise ValidationError({"name": f"A join token named {name} exists already; choose another name."})
    return name


def _require_future(expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= timezone.now():
        raise ValidationError({"expires_at": "This time is past; choose one in the future."})


def reveal_join_token(actor: Actor, row: JoinToken) -> str:
    """The secret text of a token, for kernel arguments and join documents. Audited."""
    check(actor, "join-token.reveal", row.name)
    record(actor, "join-token.reveal", "join-token", row.id, row.name)
    return unseal(bytes(row.sealed), row.organisation_id, row.id).decode()


def revoke_join_token(actor: Actor, row: JoinToken) -> None:
    """Let nobody in with this token any more. Machines that joined stay; agents that came with it are turned away.

    Raises ValidationError for the default token.
    """
    check(actor, "join-token.revoke", row.name)
    if row.is_default:
        raise ValidationError(f"{row.name} is the default join token; make another token the default first.")
    if row.revoked_at is None:
        row.revoked_at = timezone.now()
        row.save(update_fields=["revoked_at"])
        record(actor, "join-token.revoke", "join-token", row.id, row.name)
        changed("join-token", row.id, actor.organisation_id)


def update_join_token(
    actor: Actor,
    row: JoinToken,
    name: str | None = None,
    expires_at: datetime | None = None,
    clear_expiry: bool = False,
    make_default: bool = False,
) -> None:
    """Rename, set or clear the expiry, or make this the default. Raises ValidationError."""
    check(actor, "join-token.update", row.name)
    if name is not None and name.strip() != row.name:
        row.name = _free_token_name(name)
    if clear_expiry or expires_at is not None:
        _require_future(expires_at)
        row.expires_at = expires_at
    if make_default and not row.is_default:
        if not usable(row):
            word = token_state(row, timezone.now()).word.lower()
            raise ValidationError(f"{row.name} is {word}, so it cannot be the default join token.")
        JoinToken.objects.filter(is_default=True).update(is_default=False)
        row.is_default = True
    row.save()
    record(
        actor, "join-token.update", "join-token", row.id, row.name, expires_at=str(row.expires_at or ""),
        default=row.is_default,
    )  # fmt: skip
    changed("join-token", row.id, actor.organisation_id)


def set_machine_labels(actor: Actor, machine: Machine, labels: dict[str, str]) -> None:
    """Replace the user's labels of a machine. Raises ValidationError for a key or value Kubernetes would refuse."""
    check(actor, "machine.label", machine)
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key):
            raise ValidationError({"labels": f"“{key}” is no label key: use letters, digits, '-', '_', '.'."})
        if not isinstance(value, str) or not _LABEL_VALUE.fullmatch(value):
            raise ValidationError({"labels": f"“{value}” is no label value for {key}: at most 63 letters, digits, -_."})
    was, before, machine.labels = machine.facts, machine.labels, labels
    check_labels(actor, "machine.label", was, machine.facts)
    machine.save(update_fields=["labels"])
    record(actor, "machine.label", "machine", machine.id, machine.uuid, before=before, after=labels)
    hint("machine", machine.id, actor.organisation_id)
    changed("machine", machine.id, actor.organisation_id)


def remove_machine(actor: Actor, machine: Machine) -> None:
    """Forget a machine and its link. Raises ValidationError while it is in a cluster.

    The machine itself is not touched: with a valid join token it comes back as a new one.
    """
    check(actor, "machine.remove", machine)
    member = getattr(machine, "cluster_machine", None)
    if member is not None:
        raise ValidationError(
            f"Machine {machine.uuid} belongs to cluster {member.cluster.name}; remove it from the cluster first."
        )
    record(actor, "machine.remove", "machine", machine.id, machine.uuid)
    changed(MACHINE_REMOVED, machine.id, actor.organisation_id)
    changed("machine", machine.id, actor.organisation_id)
    machine.delete()


def issue_unique_token(link: Link, fingerprint: str) -> NodeUniqueToken:
    """The unique token to write into the pending machine's META; the same one on every call."""
    stored = read_unique_token(link)
    if stored is not None and stored.fingerprint == fingerprint:
        return stored
    token = jointoken.new_node_token(fingerprint)
    write_unique_token(link, token)
    link.save(update_fields=["sealed_unique_token", "unique_token_hash"])
    return token


def issue_override_uuid(link: Link, new_uuid: str) -> str:
    """The UUID that a machine with another machine's UUID gets instead: chosen once, the same on every call."""
    if not link.override_uuid:
        link.override_uuid = new_uuid
        link.save(update_fields=["override_uuid"])
    return link.override_uuid


def write_machine_class(actor: Actor, name: str, match_labels: list[str], spec: dict[str, Any]) -> MachineClass:
    """Create or replace a machine class. Raises ValidationError for a selector that does not parse."""
    check(actor, "machine-class.write", name)
    if not re.fullmatch(r"[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?", name):
        raise ValidationError({"name": "Use up to 63 letters, digits, '-', '_' and '.'."})
    for selector in match_labels:
        try:
            parse_selector(selector)
        except ValueError as error:
            raise ValidationError({"match_labels": str(error)}) from None
    row = MachineClass.objects.filter(name=name).first()
    if row is None:
        row = MachineClass.new(name=name, match_labels=match_labels, spec=spec)
    else:
        row.match_labels, row.spec = match_labels, spec
        row.save()
    record(actor, "machine-class.write", "machine-class", row.id, name, match_labels=match_labels)
    changed("machine-class", row.id, actor.organisation_id)
    return row


def delete_machine_class(actor: Actor, row: MachineClass) -> None:
    """Remove a machine class; machines already picked by it stay."""
    check(actor, "machine-class.write", row.name)
    record(actor, "machine-class.delete", "machine-class", row.id, row.name)
    changed("machine-class", row.id, actor.organisation_id)
    row.delete()
