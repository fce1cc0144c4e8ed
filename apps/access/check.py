"""The one function that decides who may do what, and how it says no."""

from uuid import UUID

from apps.access.actor import ROLES, Actor
from apps.access.facts import Facts, Governed
from apps.access.policy import Rule, Standing, hiding, lifted_anywhere, standing
from apps.access.verbs import VERBS

GOVERNED = ("cluster", "machine", "template")
"""Verbs about one cluster or machine: these nouns. What somebody may do with them, policies change from object to
object; all other verbs are for the role in the organisation alone."""


class Denied(PermissionError):
    """The actor may not do this. The text says what it takes and what they have.

    `hidden`: a policy shuts them out of the object, which for them is not there.
    """

    def __init__(self, text: str, verb: str, needed: str, hidden: bool = False) -> None:
        self.verb, self.needed, self.hidden = verb, needed, hidden
        super().__init__(text)


def refusal(actor: Actor, verb: str, needed: str, target: object, found: Standing) -> Denied:
    """The refusal of somebody whose role is not enough for a verb or a method."""
    where = f"on {target}" if target else "in this organisation"
    held = f"{actor.name} is {found.role}" if found.role else f"{actor.name} has no role"
    if found.shut_out:
        held = f"{actor.name} is shut out by {_policies(found.decided_by)}"
    elif found.decided_by:
        held += f" there by {_policies(found.decided_by)}"
    elif found.role == found.ceiling != found.uncapped:
        held += " with this credential"
    return Denied(f"{verb} needs {needed} {where}; {held}", verb, needed, found.shut_out)


def kept_out(actor: Actor, verb: str, needed: str, target: object, what: str, limits: tuple[str, ...]) -> Denied:
    """The refusal of somebody to whom limits leave other methods or groups only."""
    text = f"{verb} on {target} is not open to {actor.name}: {_policies(limits)} leaves {what}"
    return Denied(text, verb, needed)


def _policies(names: tuple[str, ...]) -> str:
    return f"polic{'ies' if len(names) > 1 else 'y'} {', '.join(names)}"


def standing_of(actor: Actor, on: Governed | Facts | None = None) -> Standing:
    """What an actor is towards an object, or in its organisation."""
    if on is None:
        return Standing(actor.role, actor.own_role, actor.own_role, actor.ceiling, actor.ceiling)
    facts = on if isinstance(on, Facts) else on.facts
    return standing(actor.own_role, actor.subject, actor.ceiling, actor.rules, facts)


def hidden_by(actor: Actor) -> tuple[Rule, ...]:
    """The policies that shut an actor out of what they cover: lists leave that out."""
    return () if actor.kind == "system" else hiding(actor.own_role, actor.subject, actor.rules)


def is_governed(verb: str) -> bool:
    """Whether policies decide about a verb, object by object."""
    return verb.partition(".")[0] in GOVERNED


def allowed(actor: Actor, verb: str, organisation_id: UUID | None = None, on: Governed | Facts | None = None) -> bool:
    """Whether `actor` may use `verb` in its own organisation, on an object of it if one is given.

    Raises KeyError for a verb that is not in the table.
    """
    needed = VERBS[verb]
    if organisation_id is not None and organisation_id != actor.organisation_id:
        return False
    return actor.kind == "system" or standing_of(actor, on).reaches(needed)


def allowed_somewhere(actor: Actor, verb: str) -> bool:
    """Whether `actor` may use `verb` in the organisation, or a policy may let it on some object.

    What stands before the check of the object itself, where the object is not known yet.
    """
    if allowed(actor, verb):
        return True
    if not is_governed(verb) or actor.own_role is None:
        return False
    reach = lifted_anywhere(actor.own_role, actor.subject, actor.ceiling, actor.rules)
    return ROLES.index(reach) >= ROLES.index(VERBS[verb])


def check(actor: Actor, verb: str, target: str | Governed | Facts = "", organisation_id: UUID | None = None) -> None:
    """Raise `Denied` unless `actor` may use `verb` on `target`: an object that policies are about, or just its name."""
    on = None if isinstance(target, str) else target
    if not allowed(actor, verb, organisation_id, on):
        raise _denied(actor, verb, target, on)


def check_somewhere(actor: Actor, verb: str, target: str = "") -> None:
    """Raise `Denied` unless `actor` may use `verb` somewhere; `target` is a name for the text."""
    if not allowed_somewhere(actor, verb):
        raise _denied(actor, verb, target, None)


def _denied(actor: Actor, verb: str, target: str | Governed | Facts, on: Governed | Facts | None) -> Denied:
    named = target if on is None else (on if isinstance(on, Facts) else on.facts)
    return refusal(actor, verb, VERBS[verb], named, standing_of(actor, on))


def check_labels(actor: Actor, verb: str, before: Facts, after: Facts) -> None:
    """Raise `Denied` where new labels or another cluster decide anew which policies are about the actor there.

    Only who may write policies may do by labels what a policy would.
    """
    check(actor, verb, after)
    was, will = standing_of(actor, before), standing_of(actor, after)
    gained, escaped = {*will.grants} - {*was.grants}, {*was.limits} - {*will.limits}
    if not (gained or escaped) or allowed(actor, "policy.write"):
        return
    moved = {rule.name for rule in gained | escaped}
    text = (
        f"{verb} on {before}: with these labels {_policies(tuple(sorted(moved)))} would be otherwise about {actor.name}"
    )
    raise Denied(f"{text}; let an admin do that", verb, VERBS["policy.write"])
