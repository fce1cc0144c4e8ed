"""How a machine leaves its cluster: wiped, seen in maintenance mode, and only then free. Pure, like `plan_machine`."""

from datetime import datetime, timedelta

from apps.clusters.decision import Decision
from apps.clusters.machine_look import SHOW, SOON, STAY, Look, away, just_installed, settle_reboot, silent, within
from apps.clusters.machine_steps import Close, Facts, ForgetNode, Live, Reboot, Release, Reset, Silent, Step

INSTALLS = timedelta(minutes=10)
"""How long a machine that installs itself by its config is left alone."""

GRACEFUL_RESETS = 4
"""Tries of a reset that first drains the machine; later ones skip that."""


def leave(facts: Facts, now: datetime, look: Look) -> Decision[Step]:
    """The next step of a machine that leaves. Control planes leave only together with their cluster."""
    if not facts.touched:
        return look.do("leaving", Release(f"{facts.name} was not touched yet: it is free."))
    if facts.role == "controlplane" and not facts.cluster_leaving:
        message = f"{facts.name} is a control plane of a cluster that stays; taking single ones out is not done yet."
        return look.stop("leaving", "bad", message)
    if not facts.connected:
        if facts.open is not None and facts.open.kind in ("reset", "reboot"):
            return away(facts, look, "leaving", "")
        message = f"Waiting for {facts.name} to connect: it has to be wiped before it is free."
        return look.stop("leaving", "off", message)
    if facts.live is None:
        return look.stop("leaving", "work", f"Asking {facts.name} for its state.", SOON, ask="machine")
    if isinstance(facts.live, Silent):
        return silent(facts, facts.live, look)
    if facts.open is not None and facts.open.kind not in ("reset", "reboot"):
        # The call may still be at work; what it leaves behind is judged below, after it had its time.
        if facts.open.kind == "install" and within(facts.open.tried_at, now, _install_time(facts.live)):
            return look.stop("leaving", "work", f"Waiting for {facts.name} to end its installation.", SOON)
        written = facts.open.kind in ("install", "upgrade") and facts.live.system_disk != ""
        error = "" if written else "given up: the machine leaves the cluster"
        return look.do("leaving", Close(f"{facts.name} leaves.", error))
    if facts.live.mode == "maintenance":
        return _leave_in_maintenance(facts, facts.live, now, look)
    return _wipe(facts, facts.live, now, look)


def _install_time(live: Live) -> timedelta:
    """How long an installation may still be at work: long while the machine follows its config and has no disk yet."""
    by_config = live.mode == "secure" and not live.system_disk and not live.install_error
    return INSTALLS if by_config else SHOW


def _leave_in_maintenance(facts: Facts, live: Live, now: datetime, look: Look) -> Decision[Step]:
    call = facts.open
    if call is not None and call.kind == "reboot":
        return settle_reboot(facts, call, live, now, look)
    if live.stage not in ("maintenance", ""):
        return look.stop("leaving", "work", f"Waiting for {facts.name} to reach maintenance mode.", SOON)
    if call is not None:
        return look.do("leaving", Close(f"{facts.name} is wiped and in maintenance mode."))
    if within(facts.applied_at, now, STAY):
        return look.stop("leaving", "work", f"Making sure that {facts.name} stays in maintenance mode.", SOON)
    if just_installed(facts, live):
        return look.do("leaving", Reboot(f"Rebooting {facts.name} from its disk."))
    if facts.node_name and not facts.cluster_leaving and facts.forget_until and now < facts.forget_until:
        return look.do("leaving", ForgetNode(f"Deleting the Kubernetes node {facts.node_name}."))
    return look.do("leaving", Release(f"{facts.name} is clean and in maintenance mode: it is free."))


def _wipe(facts: Facts, live: Live, now: datetime, look: Look) -> Decision[Step]:
    call = facts.open
    if call is not None and call.kind == "reboot":
        return settle_reboot(facts, call, live, now, look)
    if live.stage == "resetting":
        return look.stop("leaving", "work", f"Waiting for {facts.name} to be wiped.", SOON)
    if call is not None and live.boot_id == call.boot_id and within(call.tried_at, now, SHOW):
        because = f" It said: {call.error}." if call.error else ""
        return look.stop("leaving", "work", f"Waiting for {facts.name} to be wiped.{because}", SOON)
    if not live.system_disk and live.stage in ("running", "booting"):
        return look.do("leaving", Reboot(f"Rebooting {facts.name}: it is not installed, its config is in memory."))
    graceful = not facts.cluster_leaving and (call.tries if call else 0) < GRACEFUL_RESETS
    stages = ("running", "booting") if facts.role == "worker" or not graceful else ("running",)
    if live.stage not in stages:
        message = f"Waiting for {facts.name} before it is wiped: it is {live.stage or 'starting'}."
        return look.stop("leaving", "work", message, SOON)
    return look.do("leaving", Reset(f"Wiping {facts.name}.", graceful))
