"""One look at a machine: how conditions are collected, and the judgements that joining and leaving share."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from apps.clusters.decision import Decision, Question
from apps.clusters.machine_steps import Call, Close, Facts, Live, Reboot, Silent, Step
from apps.reconcile.conditions import Condition, State

SHOW = timedelta(seconds=60)
"""How long a machine may take to show that it heard a call (reboot, reset, a config that installs)."""

STAY = timedelta(seconds=20)
"""How long after a full config maintenance mode may still be on its way out."""

SOON, LATER = 5.0, 30.0
"""Seconds until the next look at a machine that moves by itself, or stands still."""

_MOVES = {
    "install": "installing",
    "upgrade": "upgrading",
    "reboot": "rebooting",
    "restart": "rebooting",
    "reset": "being wiped",
}


@dataclass
class Look:
    """Collects conditions in the order in which they are met, and ends the look."""

    conditions: list[Condition] = field(default_factory=list)

    def met(self, name: str, message: str) -> None:
        self.conditions.append(Condition(name, "ok", message))

    def stop(
        self, name: str, state: State, message: str, again_in: float | None = LATER, ask: Question = ""
    ) -> Decision[Step]:
        """Nothing to do now, for this reason."""
        return Decision((*self.conditions, Condition(name, state, message)), None, ask, again_in)

    def do(self, name: str, step: Step) -> Decision[Step]:
        return Decision((*self.conditions, Condition(name, "work", step.sentence)), step, again_in=SOON)


def within(moment: datetime | None, now: datetime, span: timedelta) -> bool:
    return moment is not None and now - moment < span


def away(facts: Facts, look: Look, name: str, message: str) -> Decision[Step]:
    """The machine cannot be reached: because of what we did, or for the reason that `message` gives."""
    if facts.open is not None and facts.open.kind in _MOVES:
        doing = _MOVES[facts.open.kind]
        return look.stop(name, "work", f"Waiting for {facts.name} to come back: it is {doing}.", SOON)
    return look.stop(name, "off", message)


def silent(facts: Facts, answer: Silent, look: Look) -> Decision[Step]:
    if answer.foreign:
        message = f"{facts.name} does not take our credentials: {answer.reason}. Wipe it by hand, then add it again."
        return look.stop("answers", "bad", message)
    if facts.open is not None and facts.open.kind in _MOVES:
        return away(facts, look, "answers", "")
    return look.stop("answers", "wait", f"Waiting for {facts.name} to answer: {answer.reason}.", SOON)


def just_installed(facts: Facts, live: Live) -> bool:
    """Whether the last installation ended during this very boot, so that the machine still runs from elsewhere.

    One that installs itself by its config reboots by itself.
    """
    if not facts.admin_in_maintenance:
        return False
    done = facts.installed
    return done is not None and not done.error and done.boot_id != "" and done.boot_id == live.boot_id


def settle_reboot(facts: Facts, call: Call, live: Live, now: datetime, look: Look) -> Decision[Step]:
    """A reboot was asked for: over when the boot id is another one, asked for again when nothing happens for long."""
    if live.boot_id and live.boot_id != call.boot_id:
        return look.do("installed", Close(f"{facts.name} has rebooted."))
    if within(call.tried_at, now, SHOW):
        return look.stop("installed", "work", f"Waiting for {facts.name} to reboot.", SOON)
    if call.kind == "restart":  # a config said that it would reboot; applying it again tells
        return look.do("configured", Close(f"{facts.name} did not need to reboot."))
    return look.do("installed", Reboot(f"Rebooting {facts.name} from its disk."))
