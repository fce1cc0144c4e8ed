"""The one function that decides who may do what."""

from uuid import UUID

from apps.access.actor import ROLES, Actor
from apps.access.verbs import VERBS


class Denied(PermissionError):
    """The actor may not do this. The text names the role needed and the role held."""

    def __init__(self, actor: Actor, verb: str, target: str) -> None:
        self.verb, self.needed = verb, VERBS[verb]
        held = f"{actor.name} is {actor.role}" if actor.role else f"{actor.name} has no role"
        super().__init__(f"{verb} on {target or 'this organisation'} needs {self.needed}; {held}")


def allowed(actor: Actor, verb: str, organisation_id: UUID | None = None) -> bool:
    """Whether `actor` may use `verb` in its own organisation. Raises KeyError for a verb that is not in the table."""
    needed = VERBS[verb]
    if organisation_id is not None and organisation_id != actor.organisation_id:
        return False
    if actor.kind == "system":
        return True
    return actor.role is not None and ROLES.index(actor.role) >= ROLES.index(needed)


def check(actor: Actor, verb: str, target: str = "", organisation_id: UUID | None = None) -> None:
    """Raise `Denied` unless `actor` may use `verb`; `target` names the object for the refusal's text."""
    if not allowed(actor, verb, organisation_id):
        raise Denied(actor, verb, target)
