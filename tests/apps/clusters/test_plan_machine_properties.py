"""What the planner of a machine never does, whatever the facts and whatever goes wrong on the way."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from apps.clusters.machine_steps import (
    Apply,
    Call,
    Facts,
    Install,
    Live,
    Reboot,
    Reset,
    Silent,
    Step,
    TakeSlot,
    Upgrade,
)
from apps.clusters.plan_machine import plan

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
CALLS = (Install, Upgrade, Reboot, Apply, Reset)

versions = st.sampled_from(["1.11.2", "1.12.4", "1.13.7", "1.13.8", "1.14.1"])
moments = st.one_of(st.none(), st.integers(0, 2000).map(lambda seconds: NOW - timedelta(seconds=seconds)))
shas = st.sampled_from(["", "c1", "c2"])
boots = st.sampled_from(["", "b1", "b2"])
stages = st.sampled_from(["", "maintenance", "booting", "running", "rebooting", "resetting", "installing"])
disks = st.sampled_from(["", "/dev/vda"])
lives = st.builds(
    Live,
    mode=st.sampled_from(["maintenance", "secure"]),
    version=versions,
    stage=stages,
    ready=st.booleans(),
    boot_id=boots,
    system_disk=disks,
    schematic=st.sampled_from(["", "s1", "s2"]),
    etcd_healthy=st.booleans(),
)
calls = st.builds(
    Call,
    kind=st.sampled_from(["install", "upgrade", "reboot", "restart", "reset", "bootstrap"]),
    tried_at=moments,
    boot_id=boots,
    target=st.sampled_from(["", "i1", "i2"]),
    tries=st.integers(0, 6),
    error=st.sampled_from(["", "no"]),
    permanent=st.booleans(),
)
names = st.lists(st.sampled_from(["m-2", "m-3"]), unique=True).map(tuple)
all_facts = st.builds(
    Facts,
    name=st.just("m-1"),
    role=st.sampled_from(["controlplane", "worker"]),
    connected=st.booleans(),
    talos_version=versions,
    config_installs=st.booleans(),
    admin_in_maintenance=st.booleans(),
    schematic=st.sampled_from(["", "s1"]),
    schematic_ready=st.booleans(),
    image=st.just("i1"),
    disk=disks,
    render_needed=st.booleans(),
    render_error=st.sampled_from(["", "no"]),
    config_sha=shas,
    refused_sha=shas,
    applied_sha=shas,
    applied_at=moments,
    open=st.one_of(st.none(), calls),
    installed=st.one_of(st.none(), calls),
    touched=st.booleans(),
    leaving=st.booleans(),
    cluster_leaving=st.booleans(),
    node_name=st.sampled_from(["", "m-1"]),
    forget_until=st.one_of(st.none(), st.just(NOW + timedelta(minutes=1))),
    bootstrapped=st.booleans(),
    slot_held=st.booleans(),
    slot_holders=names,
    unhealthy=st.one_of(st.none(), names),
    seen=st.one_of(st.none(), lives),
    live=st.one_of(st.none(), lives, st.builds(Silent, st.just("no answer"), st.booleans())),
)


def step_of(facts: Facts) -> Step | None:
    decision = plan(facts, NOW)
    assert decision.conditions, "every look says something"
    assert all(condition.message for condition in decision.conditions)
    assert decision.step is None or not decision.ask
    return decision.step


@given(all_facts)
def test_no_call_without_a_fresh_answer_of_the_very_machine(facts: Facts) -> None:
    if isinstance(step_of(facts), CALLS):
        assert isinstance(facts.live, Live)
        assert facts.connected


@given(all_facts)
def test_installs_only_on_an_empty_machine_in_maintenance_mode(facts: Facts) -> None:
    step = step_of(facts)
    if isinstance(step, Install) or (isinstance(step, Apply) and step.installs):
        assert isinstance(facts.live, Live)
        assert facts.live.mode == "maintenance"
        assert not facts.live.system_disk
        assert not facts.leaving


@given(all_facts)
def test_no_call_but_a_config_where_we_are_a_reader(facts: Facts) -> None:
    step = step_of(replace(facts, admin_in_maintenance=False))
    if isinstance(facts.live, Live) and facts.live.mode == "maintenance":
        assert not isinstance(step, Install | Upgrade | Reset)
        assert not isinstance(step, Reboot) or (facts.open is not None and facts.open.kind in ("reboot", "restart"))


@given(all_facts)
def test_a_machine_that_was_configured_is_never_installed_again(facts: Facts) -> None:
    step = step_of(replace(facts, applied_sha="c1", open=None))
    assert not isinstance(step, Install | Upgrade)
    assert not (isinstance(step, Apply) and step.installs)


@given(all_facts)
def test_wipes_only_what_leaves(facts: Facts) -> None:
    if isinstance(step_of(facts), Reset):
        assert facts.leaving
        assert facts.role == "worker" or facts.cluster_leaving
        assert isinstance(facts.live, Live)
        assert facts.live.mode == "secure"


@given(all_facts)
def test_a_healthy_control_plane_changes_alone(facts: Facts) -> None:
    step = step_of(replace(facts, role="controlplane", bootstrapped=True, applied_sha="c1", leaving=False))
    if isinstance(step, Apply):
        assert isinstance(facts.live, Live)
        assert facts.slot_held or not facts.live.etcd_healthy
    if isinstance(step, TakeSlot):
        assert facts.slot_holders == ()
        assert facts.unhealthy == ()


@given(all_facts)
def test_a_refused_config_is_not_sent_again(facts: Facts) -> None:
    step = step_of(replace(facts, refused_sha="c1", config_sha="c1"))
    assert not isinstance(step, Apply)


@given(all_facts)
def test_a_reset_or_reboot_is_given_its_time(facts: Facts) -> None:
    live = facts.live
    if facts.open and isinstance(live, Live) and facts.open.boot_id == live.boot_id and live.boot_id:
        recent = facts.open.tried_at is not None and NOW - facts.open.tried_at < timedelta(seconds=60)
        if recent and facts.open.kind in ("reset", "reboot"):
            assert not isinstance(step_of(facts), Reset | Reboot)


class Toy:
    """A machine as simple as can be: what is asked of it happens at once, or later, or the caller dies in between."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.mode, self.stage, self.disk, self.boot, self.config = "maintenance", "maintenance", "", 1, ""
        self.counts = {"install": 0, "reset": 0}

    def look(self) -> Live:
        boot = f"b{self.boot}" if self.version == "1.13.8" or self.mode == "secure" else ""
        running = self.mode == "secure" and self.stage == "running"
        return Live(self.mode, self.version, self.stage, running, boot, self.disk, "s1", running)  # type: ignore[arg-type]

    def do(self, step: Step) -> None:
        match step:
            case Install():
                self.counts["install"] += 1
                assert not self.disk, "installed over an installation"
                self.disk = step.disk
            case Reboot():
                self.boot += 1
            case Apply():
                if step.installs:
                    self.counts["install"] += 1
                    assert not self.disk, "installed over an installation"
                    self.disk = "/dev/vda"
                    self.boot += 1
                self.config, self.mode, self.stage = "c1", "secure", "running"
            case Reset():
                self.counts["reset"] += 1
                assert self.config, "wiped twice"
                self.config, self.mode, self.stage = "", "maintenance", "maintenance"
                self.boot += 1


@given(
    st.sampled_from([("1.13.8", True), ("1.12.4", True), ("1.13.8", False), ("1.12.4", False)]),
    st.lists(st.sampled_from(["ok", "before", "after"]), max_size=30),
    st.integers(0, 12),
)
def test_joins_and_leaves_whenever_the_process_dies(
    kind: tuple[str, bool], fates: list[str], leaves_after: int
) -> None:
    """Each step is recorded as the reconciler does it; `fates` says at which the process dies, and on which side."""
    version, admin = kind
    toy, now, fate = Toy(version), NOW, iter(fates)
    facts = Facts("m-1", "worker", True, version, schematic="s1", image="i1", disk="/dev/vda", config_sha="c1")
    facts = replace(facts, admin_in_maintenance=admin)
    for look in range(200):
        facts = replace(facts, leaving=look >= leaves_after and (look >= 60 or leaves_after < 12), live=toy.look())
        facts = replace(facts, leaving=facts.leaving or look >= 100)
        step = plan(facts, now).step
        now += timedelta(seconds=7)
        if step is None:
            continue
        if step.kind == "release":
            break
        facts = advance(facts, toy, step, now, next(fate, "ok"))
    else:
        raise AssertionError("the machine never left")
    assert toy.mode == "maintenance"
    assert toy.config == ""
    assert toy.counts["install"] <= 1
    assert toy.counts["reset"] <= 1


def advance(facts: Facts, toy: Toy, step: Step, now: datetime, fate: str) -> Facts:
    """Write the operation, call, write the result: what the reconciler does, in small."""
    installs = isinstance(step, Apply) and step.installs
    if isinstance(step, Install | Upgrade | Reboot | Reset) or installs:
        opened = "install" if installs else step.kind
        if facts.open is None or facts.open.kind != opened:
            live = toy.look()
            facts = replace(facts, open=Call(opened, now, live.boot_id, "i1", 1))
        facts = replace(facts, open=replace(facts.open, tried_at=now), touched=True)  # type: ignore[type-var]
    if fate == "before":
        return facts
    if isinstance(step, Apply):
        facts = replace(facts, touched=True)
    toy.do(step)
    if fate == "after":
        return facts
    match step.kind:
        case "install" | "upgrade":
            return replace(facts, open=None, installed=facts.open)
        case "close":
            ended = facts.open if facts.open and facts.open.kind == "install" else facts.installed
            return replace(facts, open=None, installed=ended)
        case "apply" if not installs:
            return replace(facts, applied_sha="c1", applied_at=now)
        case "apply":
            return replace(facts, applied_at=now)
    return facts
