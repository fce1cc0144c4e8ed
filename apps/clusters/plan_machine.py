"""What to do next with one machine of a cluster: facts and the time in, conditions and at most one step out.

Pure: no I/O and no clock of its own. What it never does, whatever the facts:

- touch a machine without an answer read from it just now, on a connection that proved which machine it is;
- install on a machine that is installed, runs a configuration, or ever took one from us as a member of this cluster;
- wipe a machine that is not leaving, or a control plane of a cluster that stays;
- change the configuration of a healthy control plane while another one of its cluster is not healthy or in change;
- repeat a call that may have worked, before the machine had its time to show it;
- repeat an upgrade that came back on the old version.
"""

from datetime import datetime, timedelta

from apps.clusters.decision import Decision, listed
from apps.clusters.machine_look import SHOW, SOON, STAY, Look, away, just_installed, settle_reboot, silent, within
from apps.clusters.machine_steps import (
    Apply,
    Call,
    Close,
    Facts,
    FreeSlot,
    Install,
    Live,
    Reboot,
    Render,
    Silent,
    Step,
    TakeSlot,
    Upgrade,
)
from apps.clusters.picking import LIFECYCLE, version_problem
from apps.clusters.plan_leaving import leave
from talos import semver

COME_BACK = timedelta(minutes=10)
"""How long an upgrade by the machine itself (Talos before 1.13) may take until it counts as failed."""

SETTLE = timedelta(seconds=5)
"""How long a machine must have been left alone before what it shows counts as the effect of the last change."""

INSTALL_TRIES = 5
"""How often a machine is given a config that installs before that counts as failed."""


def plan(facts: Facts, now: datetime) -> Decision[Step]:
    """Decide. Asks for `machine` or `control-planes` when it needs them fresh in `live` or `unhealthy`."""
    return leave(facts, now, Look()) if facts.leaving else _join(facts, now, Look())


# Joining and staying


def _join(facts: Facts, now: datetime, look: Look) -> Decision[Step]:
    if not facts.connected:
        return away(facts, look, "connected", f"Waiting for {facts.name} to connect: its link is silent.")
    look.met("connected", f"{facts.name} is connected.")
    if facts.render_error:
        message = f"The config of {facts.name} cannot be made: {facts.render_error}. It keeps the one it has."
        return look.stop("configured", "bad", message)
    if facts.render_needed:
        return look.do("configured", Render(f"Making the config of {facts.name}."))
    if facts.live is None and facts.seen is not None and _at_rest(facts):
        return _rest(facts, facts.seen, look)
    if facts.live is None:
        return look.stop("answers", "work", f"Asking {facts.name} for its state.", SOON, ask="machine")
    if isinstance(facts.live, Silent):
        return silent(facts, facts.live, look)
    if facts.open is not None and facts.open.kind != "bootstrap":
        return _settle(facts, facts.open, facts.live, now, look)
    if facts.live.mode == "maintenance":
        return _maintenance(facts, facts.live, now, look)
    return _secure(facts, facts.live, now, look)


def _at_rest(facts: Facts) -> bool:
    """Whether the gateway's observation is enough: nothing is to be done and the machine is where we left it."""
    current = facts.config_sha != "" and facts.applied_sha == facts.config_sha
    configured = facts.seen is not None and facts.seen.mode == "secure"
    return current and configured and facts.open is None and not facts.slot_held


def _maintenance(facts: Facts, live: Live, now: datetime, look: Look) -> Decision[Step]:
    if facts.applied_sha and within(facts.applied_at, now, STAY):
        return look.stop("configured", "work", f"Waiting for {facts.name} to start with its config.", SOON)
    if facts.applied_sha:
        message = (
            f"{facts.name} is in maintenance mode, but was configured: it lost its state. "
            "Remove it from the cluster and add it again."
        )
        return look.stop("installed", "bad", message)
    if live.stage not in ("maintenance", ""):
        return look.stop("installed", "work", f"Waiting for {facts.name} to reach maintenance mode.", SOON)
    installed = bool(live.system_disk)
    admin = facts.admin_in_maintenance
    problem = version_problem(facts.name, live.version, installed, facts.talos_version, admin=admin)
    problem = problem or _install_problem(facts, live)
    if problem:
        return look.stop("installed", "bad", problem)
    if not live.system_disk:
        return _install(facts, live, look)
    if just_installed(facts, live):
        return look.do("installed", Reboot(f"Rebooting {facts.name} from its disk."))
    if _differs(facts, live):
        return _upgrade(facts, live, look) if admin else _another_image(facts, live, look)
    look.met("installed", f"Talos {live.version} is installed on {live.system_disk}.")
    return _configure(facts, look)


def _lifecycle(facts: Facts, live: Live) -> bool:
    """Whether the machine is installed by calls; otherwise it installs itself by its config."""
    if not facts.admin_in_maintenance:
        return False
    return semver.parse(live.version) >= LIFECYCLE and semver.parse(facts.talos_version) >= LIFECYCLE


def _install_problem(facts: Facts, live: Live) -> str:
    """Why the image that is wanted will not be tried again by itself."""
    done = facts.installed
    if done is None or done.target != facts.image:
        return ""
    if done.permanent:
        return (
            f"Installing {facts.name} failed for good: {done.error}. It stays in maintenance mode; "
            "remove it from the cluster and add it again to try once more."
        )
    came_back = bool(live.system_disk) and not done.error and not just_installed(facts, live)
    if came_back and _differs(facts, live):
        return (
            f"{facts.name} came back on Talos {live.version} with schematic {live.schematic[:8] or 'unknown'} "
            f"after it was given {facts.image}. It keeps what runs, and that is not tried again by itself: "
            "remove the machine from the cluster, or ask for another version."
        )
    return ""


def _differs(facts: Facts, live: Live) -> bool:
    if semver.parse(live.version) != semver.parse(facts.talos_version):
        return True
    return bool(live.schematic and facts.schematic) and live.schematic != facts.schematic


def _image_missing(facts: Facts, live: Live, look: Look) -> Decision[Step] | None:
    if facts.schematic_ready or (live.schematic and live.schematic == facts.schematic):
        return None
    reason = facts.schematic_error or "it was not asked yet"
    message = f"Waiting for the Image Factory to take schematic {facts.schematic[:8]} of {facts.name}: {reason}."
    return look.stop("installed", "wait", message, SOON)


def _install(facts: Facts, live: Live, look: Look) -> Decision[Step]:
    missing = _image_missing(facts, live, look)
    if missing:
        return missing
    if not facts.disk:
        message = facts.disk_problem or f"Waiting for {facts.name} to report its disks."
        return look.stop("installed", "ask" if facts.disk_problem else "wait", message)
    sentence = f"Installing Talos {facts.talos_version} on {facts.disk} of {facts.name}."
    if _lifecycle(facts, live):
        return look.do("installed", Install(sentence, facts.image, facts.disk))
    if not facts.config_installs:
        message = f"{facts.name} runs Talos {live.version}; this cluster needs machines booted from 1.13 or newer."
        return look.stop("installed", "bad", message)
    return _refused(facts, look) or look.do("installed", Apply(sentence, installs=True))


def _another_image(facts: Facts, live: Live, look: Look) -> Decision[Step]:
    """It is installed with another image, and only its config can be given to it in maintenance mode."""
    message = (
        f"{facts.name} has schematic {live.schematic[:8]} on its disk, wanted is {facts.schematic[:8]}, and behind an "
        "agent that cannot change before it is configured. Take systemExtensions and kernelArgs out of the template, "
        "or boot it once from its medium with talos.experimental.wipe=system."
    )
    return look.stop("installed", "bad", message)


def _upgrade(facts: Facts, live: Live, look: Look) -> Decision[Step]:
    missing = _image_missing(facts, live, look)
    if missing:
        return missing
    sentence = f"Upgrading {facts.name} from Talos {live.version} to {facts.talos_version} before it joins."
    return look.do("installed", Upgrade(sentence, facts.image, by_machine=not _lifecycle(facts, live)))


def _refused(facts: Facts, look: Look) -> Decision[Step] | None:
    if not facts.config_sha:
        return look.stop("configured", "work", f"Waiting for the config of {facts.name} to be made.", SOON)
    if facts.refused_sha == facts.config_sha:
        kept = "The machine keeps the one it has." if facts.applied_sha else "The machine stays as it is."
        return look.stop("configured", "bad", f"Config refused by {facts.name}. {facts.refusal} {kept}")
    return None


def _configure(facts: Facts, look: Look) -> Decision[Step]:
    return _refused(facts, look) or look.do("configured", Apply(f"Giving {facts.name} its config."))


def _secure(facts: Facts, live: Live, now: datetime, look: Look) -> Decision[Step]:
    look.met("installed", f"Talos {live.version} is installed.")
    if live.stage not in ("booting", "running"):
        return look.stop("configured", "work", f"Waiting for {facts.name}: it is {live.stage or 'starting'}.", SOON)
    if not facts.config_sha or facts.applied_sha != facts.config_sha:
        return _change(facts, live, look)
    if facts.slot_held:
        return _end_change(facts, live, now, look)
    return _rest(facts, live, look)


def _change(facts: Facts, live: Live, look: Look) -> Decision[Step]:
    refused = _refused(facts, look)
    if refused:
        return refused
    harmless = not facts.applied_sha or not facts.bootstrapped
    if harmless or facts.slot_held or (facts.role == "controlplane" and not live.etcd_healthy):
        return look.do("configured", Apply(f"Giving {facts.name} its config."))
    if len(facts.slot_holders) >= facts.slots:
        message = f"Waiting for {listed(facts.slot_holders)} to finish a config change; {facts.name} is next."
        return look.stop("configured", "wait", message, SOON)
    if facts.role == "controlplane":
        if facts.unhealthy is None:
            message = f"Asking the other control planes before {facts.name} changes."
            return look.stop("configured", "work", message, SOON, ask="control-planes")
        if facts.unhealthy:
            message = (
                f"Waiting for etcd on {listed(facts.unhealthy)} to be healthy: "
                f"the config of {facts.name} changes after that, so that etcd keeps its quorum."
            )
            return look.stop("configured", "wait", message)
    return look.do("configured", TakeSlot(f"{facts.name} is the next to change its config."))


def _end_change(facts: Facts, live: Live, now: datetime, look: Look) -> Decision[Step]:
    settled = facts.applied_at is not None and now - facts.applied_at >= SETTLE
    healthy = live.ready and live.stage == "running" and (facts.role == "worker" or live.etcd_healthy)
    if not settled or not healthy:
        return look.stop("configured", "work", f"Waiting for {facts.name} to be ready with its new config.", SOON)
    return look.do("configured", FreeSlot(f"{facts.name} is ready with its new config."))


def _rest(facts: Facts, live: Live, look: Look) -> Decision[Step]:
    """Nothing to do: say how the machine is."""
    if all(condition.name != "installed" for condition in look.conditions):
        look.met("installed", f"Talos {live.version} is installed.")
    look.met("configured", f"{facts.name} runs its config.")
    if _differs(facts, live):
        message = (
            f"{facts.name} runs Talos {live.version} with schematic {live.schematic[:8] or 'unknown'}, wanted is "
            f"{facts.talos_version} with {facts.schematic[:8] or 'the same'}: upgrades are not done yet."
        )
        return look.stop("ready", "warn", message)
    if live.stage == "running" and live.ready:
        look.met("ready", f"{facts.name} is ready.")
        return Decision(tuple(look.conditions), again_in=None)
    return look.stop("ready", "work", f"Waiting for {facts.name} to be ready: it is {live.stage or 'starting'}.")


# Open operations


def _settle(facts: Facts, call: Call, live: Live, now: datetime, look: Look) -> Decision[Step]:
    """An operation is open: either the machine shows that it worked, or that it did not happen, or it is awaited."""
    match call.kind:
        case "reboot" | "restart":
            return settle_reboot(facts, call, live, now, look)
        case "install":
            return _settle_install(facts, call, live, now, look)
        case "upgrade":
            return _settle_upgrade(facts, call, live, now, look)
    return look.do("installed", Close(f"The {call.kind} of {facts.name} is over.", error="not needed any more"))


def _settle_install(facts: Facts, call: Call, live: Live, now: datetime, look: Look) -> Decision[Step]:
    if not _lifecycle(facts, live):
        return _settle_install_by_config(facts, call, live, now, look)
    if live.mode == "secure":
        return look.do("installed", Close(f"{facts.name} is installed."))
    if live.system_disk:  # begun and not seen to end: an upgrade completes it and keeps what is there
        sentence = f"Completing the installation of {facts.name}."
        return look.do("installed", Upgrade(sentence, call.target))
    return _install(facts, live, look)


def _settle_install_by_config(facts: Facts, call: Call, live: Live, now: datetime, look: Look) -> Decision[Step]:
    """It took a config that installs: it shows a system disk, or says what failed, or is back in maintenance mode."""
    if live.system_disk:
        return look.do("installed", Close(f"{facts.name} is installed."))
    if live.mode == "secure" and live.install_error:
        message = (
            f"{facts.name} could not install itself: {live.install_error}. "
            "Remove it from the cluster, or correct the config: it is tried again when the machine reboots."
        )
        return look.stop("installed", "bad", message, SOON)
    if live.mode == "secure" or within(call.tried_at, now, SHOW):
        return look.stop("installed", "work", f"Waiting for {facts.name} to install itself.", SOON)
    if call.tries >= INSTALL_TRIES and not call.error:
        problem = f"it took its config {call.tries} times and came back without an installation; see its console"
        return look.do("installed", Close(f"{facts.name} does not install itself.", problem, permanent=True))
    return _install(facts, live, look)


def _settle_upgrade(facts: Facts, call: Call, live: Live, now: datetime, look: Look) -> Decision[Step]:
    if live.mode == "secure" or not _differs(facts, live):
        return look.do("installed", Close(f"{facts.name} runs Talos {live.version}."))
    if _lifecycle(facts, live):
        return look.do("installed", Upgrade(f"Upgrading {facts.name} to Talos {facts.talos_version}.", facts.image))
    if within(call.tried_at, now, COME_BACK):
        message = f"Waiting for {facts.name} to upgrade to Talos {facts.talos_version}."
        return look.stop("installed", "work", message, SOON)
    return look.do("installed", Close(f"{facts.name} came back on Talos {live.version}."))
