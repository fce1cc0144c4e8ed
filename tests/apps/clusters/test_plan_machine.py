"""The decisions about one machine, one by one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from apps.clusters.decision import Decision
from apps.clusters.machine_steps import Call, Facts, Live, Silent, Step
from apps.clusters.plan_machine import plan

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=1)
JUST_NOW = NOW - timedelta(seconds=2)

MAINTENANCE = Live("maintenance", "1.13.8", "maintenance", boot_id="b1")
RUNNING = Live("secure", "1.13.8", "running", ready=True, boot_id="b2", system_disk="/dev/vda", etcd_healthy=True)
FRESH = Facts(
    name="m-1",
    role="worker",
    connected=True,
    talos_version="1.13.8",
    schematic="s1",
    image="factory/metal-installer/s1:v1.13.8",
    disk="/dev/vda",
    config_sha="c1",
    live=MAINTENANCE,
)
CONFIGURED = replace(FRESH, applied_sha="c1", applied_at=LONG_AGO, touched=True, bootstrapped=True, live=RUNNING)
CONTROL_PLANE = replace(CONFIGURED, role="controlplane", unhealthy=())


def kind(decision: Decision[Step]) -> str:
    return decision.step.kind if decision.step else decision.ask or "wait"


def blocker(decision: Decision[Step]) -> tuple[str, str]:
    last = decision.conditions[-1]
    return last.state, last.message


def installed(boot_id: str = "b1", **fields: object) -> Call:
    return Call("install", LONG_AGO, boot_id, FRESH.image, 1, **fields)  # type: ignore[arg-type]


DISK = replace(MAINTENANCE, system_disk="/dev/vda")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (replace(FRESH, render_needed=True), "render"),
        (replace(FRESH, live=None), "machine"),
        (FRESH, "install"),
        (replace(FRESH, schematic_ready=False, live=replace(MAINTENANCE, schematic="s1")), "install"),
        (replace(FRESH, installed=installed("b1"), live=DISK), "reboot"),
        (replace(FRESH, installed=installed("b0"), live=DISK), "apply"),
        (replace(FRESH, live=DISK), "apply"),
        (replace(FRESH, live=replace(DISK, version="1.13.7")), "upgrade"),
        (replace(FRESH, live=replace(DISK, schematic="other")), "upgrade"),
        (replace(FRESH, live=replace(MAINTENANCE, version="1.12.3"), talos_version="1.12.4"), "apply"),
        (replace(CONFIGURED, applied_sha="", applied_at=JUST_NOW), "apply"),
        (replace(CONFIGURED, config_sha="c2"), "take-slot"),
        (replace(CONFIGURED, config_sha="c2", slot_held=True), "apply"),
        (replace(CONFIGURED, slot_held=True), "free-slot"),
        (replace(CONTROL_PLANE, config_sha="c2"), "take-slot"),
        (replace(CONTROL_PLANE, config_sha="c2", unhealthy=None), "control-planes"),
        (replace(CONTROL_PLANE, config_sha="c2", bootstrapped=False), "apply"),
        (replace(CONTROL_PLANE, config_sha="c2", live=replace(RUNNING, etcd_healthy=False)), "apply"),
        (replace(FRESH, leaving=True), "release"),
        (replace(CONFIGURED, leaving=True), "reset"),
        (replace(CONTROL_PLANE, leaving=True, cluster_leaving=True), "reset"),
        (replace(CONFIGURED, leaving=True, live=MAINTENANCE), "release"),
        (
            replace(
                CONFIGURED, leaving=True, live=MAINTENANCE, node_name="m-1", forget_until=NOW + timedelta(minutes=1)
            ),
            "forget-node",
        ),
        (replace(CONFIGURED, leaving=True, live=MAINTENANCE, node_name="m-1", forget_until=JUST_NOW), "release"),
    ],
)
def test_next_step(facts: Facts, expected: str) -> None:
    assert kind(plan(facts, NOW)) == expected


@pytest.mark.parametrize(
    ("facts", "state", "words"),
    [
        (replace(FRESH, connected=False), "off", "connect"),
        (replace(FRESH, live=Silent("no route to it")), "wait", "no route to it"),
        (replace(FRESH, live=Silent("unknown authority", foreign=True)), "bad", "Wipe it by hand"),
        (replace(FRESH, render_error="patch 400-x: no"), "bad", "400-x"),
        (replace(FRESH, schematic_ready=False, schematic_error="HTTP 503"), "wait", "HTTP 503"),
        (replace(FRESH, disk="", disk_problem="No disk of m-1 is big enough."), "ask", "big enough"),
        (replace(FRESH, live=replace(MAINTENANCE, version="1.14.0")), "bad", "newer than 1.13.8"),
        (replace(FRESH, live=replace(MAINTENANCE, version="1.11.0")), "bad", "Boot it from Talos 1.13"),
        (replace(FRESH, live=replace(MAINTENANCE, stage="booting")), "work", "maintenance"),
        (replace(FRESH, config_sha="", live=DISK), "work", "config"),
        (replace(FRESH, refused_sha="c1", refusal="bad cluster name", live=DISK), "bad", "bad cluster name"),
        (replace(FRESH, installed=installed(error="no space", permanent=True)), "bad", "no space"),
        (replace(FRESH, installed=installed("b0"), live=replace(DISK, version="1.13.7")), "bad", "not tried again"),
        (replace(CONFIGURED, live=MAINTENANCE), "bad", "lost its state"),
        (replace(CONFIGURED, live=MAINTENANCE, applied_at=JUST_NOW), "work", "start with its config"),
        (replace(CONFIGURED, live=replace(RUNNING, stage="rebooting")), "work", "rebooting"),
        (replace(CONFIGURED, config_sha="c2", slot_holders=("m-2",)), "wait", "m-2"),
        (replace(CONTROL_PLANE, config_sha="c2", unhealthy=("m-2",)), "wait", "quorum"),
        (replace(CONFIGURED, config_sha="c2", refused_sha="c2", refusal="no"), "bad", "keeps the one it has"),
        (replace(CONFIGURED, slot_held=True, live=replace(RUNNING, ready=False)), "work", "new config"),
        (replace(CONFIGURED, slot_held=True, applied_at=JUST_NOW), "work", "new config"),
        (replace(CONFIGURED, live=None, seen=replace(RUNNING, version="1.13.7")), "warn", "1.13.7"),
        (replace(CONFIGURED, live=None, seen=replace(RUNNING, ready=False)), "work", "ready"),
        (replace(CONFIGURED, leaving=True, connected=False), "off", "wiped before it is free"),
        (replace(CONFIGURED, leaving=True, live=replace(RUNNING, stage="resetting")), "work", "wiped"),
        (replace(CONFIGURED, leaving=True, live=MAINTENANCE, applied_at=JUST_NOW), "work", "stays in maintenance"),
        (replace(CONTROL_PLANE, leaving=True), "bad", "cluster that stays"),
    ],
)
def test_what_is_awaited(facts: Facts, state: str, words: str) -> None:
    decision = plan(facts, NOW)
    assert decision.step is None
    assert blocker(decision)[0] == state
    assert words in blocker(decision)[1]


def test_a_machine_at_rest_is_not_asked() -> None:
    decision = plan(replace(CONFIGURED, live=None, seen=RUNNING), NOW)
    assert (decision.step, decision.ask) == (None, "")
    assert [condition.state for condition in decision.conditions] == ["ok"] * 4


OPEN = replace(FRESH, touched=True)
OLD = replace(OPEN, talos_version="1.12.4", live=replace(MAINTENANCE, version="1.12.4"))
OLDER = replace(OLD, live=replace(DISK, version="1.12.3"))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        # The process died around an install: the machine shows what happened.
        (replace(OPEN, open=Call("install", JUST_NOW, "b1", FRESH.image, 1)), "install"),
        (replace(OPEN, open=Call("install", JUST_NOW, "b1", FRESH.image, 1), live=DISK), "upgrade"),
        (replace(OPEN, open=Call("install", JUST_NOW), live=RUNNING), "close"),
        # A machine that installs itself by its config gets time to show it.
        (replace(OLD, open=Call("install", JUST_NOW)), "wait"),
        (replace(OLD, open=Call("install", LONG_AGO)), "apply"),
        (replace(OPEN, open=Call("reboot", JUST_NOW, "b1"), live=DISK), "wait"),
        (replace(OPEN, open=Call("reboot", LONG_AGO, "b1"), live=DISK), "reboot"),
        (replace(OPEN, open=Call("reboot", JUST_NOW, "b0"), live=DISK), "close"),
        (replace(OPEN, open=Call("restart", LONG_AGO, "b2"), live=RUNNING), "close"),
        (replace(OPEN, open=Call("upgrade", JUST_NOW, "b1"), live=replace(DISK, version="1.13.7")), "upgrade"),
        (replace(OLDER, open=Call("upgrade", JUST_NOW)), "wait"),
        (replace(OLDER, open=Call("upgrade", LONG_AGO)), "close"),
        (replace(CONFIGURED, leaving=True, open=Call("reset", JUST_NOW, "b2")), "wait"),
        (replace(CONFIGURED, leaving=True, open=Call("reset", LONG_AGO, "b2")), "reset"),
        (replace(CONFIGURED, leaving=True, open=Call("reset", JUST_NOW, "b1")), "reset"),
        (replace(CONFIGURED, leaving=True, open=Call("reset", JUST_NOW, "b2"), live=MAINTENANCE), "close"),
        (replace(CONFIGURED, leaving=True, open=Call("reset", JUST_NOW, "b2"), connected=False), "wait"),
        (replace(CONFIGURED, leaving=True, open=Call("bootstrap", JUST_NOW, "b2")), "close"),
        (replace(CONFIGURED, leaving=True, open=Call("install", JUST_NOW, "b1"), live=MAINTENANCE), "wait"),
    ],
)  # fmt: skip
def test_after_a_crash_the_machine_is_judged_first(facts: Facts, expected: str) -> None:
    assert kind(plan(facts, NOW)) == expected


def test_a_reset_that_fails_drains_no_more_in_the_end() -> None:
    leaving = replace(CONFIGURED, leaving=True)
    first, fifth = (
        plan(leaving, NOW).step,
        plan(replace(leaving, open=Call("reset", LONG_AGO, "b2", tries=4)), NOW).step,
    )
    assert first is not None
    assert fifth is not None
    assert (first.graceful, fifth.graceful) == (True, False)  # type: ignore[attr-defined]


def test_a_machine_installed_on_its_way_out_is_rebooted_from_its_disk() -> None:
    """So that the next cluster finds it running what is on its disk."""
    leaving = replace(OPEN, leaving=True, live=DISK)
    ended = plan(replace(leaving, open=Call("install", LONG_AGO, "b1", FRESH.image, 1)), NOW).step
    assert ended is not None
    assert ended.kind == "close"
    assert ended.error == ""  # type: ignore[attr-defined]
    assert kind(plan(replace(leaving, installed=installed("b1")), NOW)) == "reboot"
    assert kind(plan(replace(leaving, installed=installed("b0")), NOW)) == "release"


# Machines that can only be given a config before they are configured

BEHIND = replace(FRESH, admin_in_maintenance=False)
TOOK = replace(BEHIND, touched=True, open=Call("install", JUST_NOW, "", FRESH.image, 1))
BARE = replace(RUNNING, stage="booting", ready=False, system_disk="")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (BEHIND, "apply"),
        (replace(BEHIND, live=replace(MAINTENANCE, boot_id="")), "apply"),
        (replace(BEHIND, live=replace(MAINTENANCE, version="1.13.7")), "apply"),
        (replace(BEHIND, live=DISK), "apply"),
        (replace(BEHIND, live=DISK, installed=installed("b1")), "apply"),
        (replace(TOOK, live=BARE), "wait"),
        (replace(TOOK, live=replace(BARE, stage="installing")), "wait"),
        (replace(TOOK, live=replace(BARE, system_disk="/dev/vda")), "close"),
        (replace(TOOK, live=MAINTENANCE), "wait"),
        (replace(TOOK, open=replace(TOOK.open, tried_at=LONG_AGO), live=MAINTENANCE), "apply"),  # type: ignore[type-var]
        (replace(TOOK, open=Call("install", LONG_AGO, "", FRESH.image, 5), live=MAINTENANCE), "close"),
        (replace(TOOK, open=Call("install", LONG_AGO, "", FRESH.image, 5, "silent"), live=MAINTENANCE), "apply"),
        (replace(TOOK, leaving=True, live=BARE), "wait"),
        (replace(TOOK, leaving=True, live=replace(BARE, install_error="no disk")), "wait"),
        (replace(TOOK, leaving=True, open=None, live=BARE), "reboot"),
        (replace(TOOK, leaving=True, open=Call("reboot", JUST_NOW, "b2"), live=BARE), "wait"),
        (replace(TOOK, leaving=True, open=Call("reboot", LONG_AGO, "b2"), live=BARE), "reboot"),
        (replace(TOOK, leaving=True, open=Call("reboot", JUST_NOW, "b2"), live=MAINTENANCE), "close"),
        (replace(TOOK, leaving=True, open=None, live=DISK, installed=installed("b1")), "release"),
    ],
)
def test_a_machine_that_installs_itself(facts: Facts, expected: str) -> None:
    assert kind(plan(facts, NOW)) == expected


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (replace(BEHIND, live=replace(MAINTENANCE, version="1.12.4")), "from memory and cannot install 1.13.8"),
        (replace(BEHIND, live=replace(DISK, version="1.13.7")), "talos.experimental.wipe=system"),
        (replace(BEHIND, live=replace(DISK, schematic="other")), "schematic other on its disk"),
        (replace(TOOK, live=replace(BARE, install_error="no disk matches")), "no disk matches"),
        (replace(BEHIND, installed=installed(error="it took its config 5 times", permanent=True)), "add it again"),
    ],
)
def test_what_stops_a_machine_that_installs_itself(facts: Facts, words: str) -> None:
    decision = plan(facts, NOW)
    assert decision.step is None
    assert blocker(decision)[0] == "bad"
    assert words in blocker(decision)[1]


def test_only_a_machine_without_a_disk_is_given_a_config_that_installs() -> None:
    steps = [plan(facts, NOW).step for facts in (BEHIND, replace(BEHIND, live=DISK))]
    assert [step.installs for step in steps] == [True, False]  # type: ignore[union-attr]
