"""The one function that decides who may do what."""

from uuid import UUID

from apps.access.actor import ROLES, Actor
from apps.access.facts import Facts, Governed
from apps.access.policy import GRANT, Standing, standing
from apps.access.verbs import VERBS


class Denied(PermissionError):
    """The actor may not do this. The text names the role needed and the role held."""

    def __init__(self, actor: Actor, verb: str, target: object, needed: str, found: Standing) -> None:
        self.verb, self.needed = verb, needed
        held = f"{actor.name} is {found.role}" if found.role else f"{actor.name} has no role"
        because = f" there by policy {', '.join(found.why)}" if found.why else ""
        super().__init__(f"{verb} on {target or 'this organisation'} needs {needed}; {held}{because}")


def standing_of(actor: Actor, on: Governed | Facts | None = None) -> Standing:
    """What an actor is towards an object, or in its organisation."""
    if on is None:
        return Standing(actor.role)
    facts = on if isinstance(on, Facts) else on.facts
    return standing(actor.role, actor.subject, actor.ceiling, actor.rules, facts)


def allowed(actor: Actor, verb: str, organisation_id: UUID | None = None, on: Governed | Facts | None = None) -> bool:
    """Whether `actor` may use `verb` in its own organisation, on an object of it if one is given.

    Raises KeyError for a verb that is not in the table.
    """
    needed = VERBS[verb]
    if organisation_id is not None and organisation_id != actor.organisation_id:
        return False
    return actor.kind == "system" or standing_of(actor, on).reaches(needed)


def allowed_somewhere(actor: Actor, verb: str) -> bool:
    """Whether `actor` may use `verb` in the organisation, or a policy may let it on some object."""
    needed = ROLES.index(VERBS[verb])
    if allowed(actor, verb):
        return True
    if actor.role is None or ROLES.index(actor.ceiling) < needed:
        return False
    grants = [rule for rule in actor.rules if rule.effect == GRANT and rule.names(actor.subject, actor.role)]
    return any(rule.role and ROLES.index(rule.role) >= needed for rule in grants)


def check(actor: Actor, verb: str, target: str | Governed | Facts = "", organisation_id: UUID | None = None) -> None:
    """Raise `Denied` unless `actor` may use `verb` on `target`: an object that policies are about, or just its name."""
    on = None if isinstance(target, str) else target
    if not allowed(actor, verb, organisation_id, on):
        named = target if on is None else (on if isinstance(on, Facts) else on.facts)
        raise Denied(actor, verb, named, VERBS[verb], standing_of(actor, on))
