"""What to do next for one cluster: facts and the time in, conditions and at most one step out. Pure.

What it never does, whatever the facts:

- bootstrap on any machine but the one that was fixed, or again while etcd may be starting, or once it was seen;
- let a control plane leave while its cluster stays;
- remove a cluster that still has machines.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from apps.clusters.cluster_steps import (
    AddMembers,
    Bootstrap,
    ClassSet,
    ClusterFacts,
    ClusterStep,
    EtcdStarted,
    FixBootstrap,
    MakeSecrets,
    MapEtcd,
    Member,
    PickMachines,
    RemoveCluster,
    SendAway,
    StartEtcd,
    UnpickMachine,
)
from apps.clusters.decision import Decision, Question, count, listed
from apps.clusters.machine_steps import Silent
from apps.reconcile.conditions import Condition, State

Phase = Literal["scaling-up", "scaling-down", "running", "destroying"]

STARTING = timedelta(minutes=2)
"""How long etcd may take to show itself after a bootstrap call whose answer was lost. The machine first pulls etcd's
image, and another call would end that pull and begin it again; one that was accepted is not repeated at all."""

SOON, LATER, AT_REST = 5.0, 30.0, 300.0
"""Seconds until the next look: things move, something is awaited, all is well."""


@dataclass(frozen=True)
class ClusterDecision(Decision[ClusterStep]):
    """A decision, and how the cluster as a whole is."""

    phase: Phase = "scaling-up"
    ready: bool = False
    api_ready: bool = False


@dataclass
class _Look:
    """Collects a condition for every part of the cluster; the first step or question that comes up wins."""

    conditions: list[Condition] = field(default_factory=list)
    step: ClusterStep | None = None
    ask: Question = ""
    again_in: float = AT_REST

    def say(self, name: str, state: State, message: str) -> None:
        self.conditions.append(Condition(name, state, message))
        if state != "ok":
            self.again_in = min(self.again_in, SOON if state == "work" else LATER)

    def do(self, name: str, step: ClusterStep) -> None:
        self.say(name, "work", step.sentence)
        if self.step is None and not self.ask:
            self.step = step

    def want(self, name: str, question: Question, message: str) -> None:
        self.say(name, "work", message)
        if self.step is None and not self.ask:
            self.ask = question


def plan(facts: ClusterFacts, now: datetime) -> ClusterDecision:
    """Decide. Asks for `bootstrap`, `etcd` or `kubernetes` when it needs those facts fresh."""
    look = _Look()
    if facts.deleting:
        _destroy(facts, look)
        return ClusterDecision(tuple(look.conditions), look.step, "", look.again_in, "destroying")
    _secrets(facts, look)
    _classes(facts, look)
    _machines(facts, look)
    _installed(facts, look)
    _configured(facts, look)
    if _bootstrapped(facts, now, look) and _etcd(facts, look):
        _kubernetes(facts, look)
    ready = all(condition.state == "ok" for condition in look.conditions) and look.conditions[-1].name == "kubernetes"
    if ready:
        look.say("ready", "ok", f"{facts.name} is ready.")
    return ClusterDecision(
        tuple(look.conditions),
        look.step,
        look.ask,
        look.again_in,
        phase=_phase(facts),
        ready=ready,
        api_ready=facts.kubernetes is not None and facts.kubernetes.ready,
    )


def _phase(facts: ClusterFacts) -> Phase:
    if facts.picked or any(item.wanted is not None and len(item.held) < item.wanted for item in facts.classes):
        return "scaling-up"
    if any(member.leaving or not member.wanted for member in facts.members):
        return "scaling-down"
    if not facts.members or not all(member.configured for member in facts.members):
        return "scaling-up"
    return "running" if facts.bootstrapped else "scaling-up"


def _destroy(facts: ClusterFacts, look: _Look) -> None:
    staying = [member for member in facts.members if not member.leaving]
    if staying:
        look.do("leaving", SendAway("All machines leave the cluster.", tuple(member.uuid for member in staying)))
    elif facts.members:
        for member in facts.members:
            if member.state in ("bad", "off", "ask"):
                look.say("leaving", member.state, member.blocker)
        names = listed([member.name for member in facts.members])
        look.say("leaving", "work", f"Waiting for {names} to be wiped and back in maintenance mode.")
    else:
        look.do("leaving", RemoveCluster(f"All machines of {facts.name} are free."))


def _secrets(facts: ClusterFacts, look: _Look) -> None:
    if facts.secrets:
        look.say("secrets", "ok", "The cluster's secrets are made.")
    else:
        look.do("secrets", MakeSecrets("Making the cluster's secrets."))


def _classes(facts: ClusterFacts, look: _Look) -> None:
    """Choose machines for sets by class, or give them back, one set after the other."""
    for item in facts.classes:
        if item.problem:
            look.say("machines", "bad", f"Machine set {item.name} cannot choose machines: {item.problem}.")
            continue
        missing = len(item.candidates) if item.wanted is None else item.wanted - len(item.held)
        if missing < 0:
            _give_back(item, look)
        elif missing and item.candidates:
            chosen = item.candidates[:missing]
            sentence = f"Choosing {count(len(chosen), 'machine')} of class {item.class_name} for {item.name}."
            look.do("machines", PickMachines(sentence, item.name, chosen))
        elif missing:
            message = f"Waiting for {count(missing, 'free machine')} of class {item.class_name} for {item.name}."
            look.say("machines", "wait", f"{message} {item.unfit}".rstrip())


def _give_back(item: ClassSet, look: _Look) -> None:
    if item.role == "controlplane":
        look.say("machines", "bad", f"{item.name} has more machines than wanted; control planes are not taken out yet.")
    else:
        look.do("machines", UnpickMachine(f"Giving a machine of {item.name} back.", item.held[0]))


def _machines(facts: ClusterFacts, look: _Look) -> None:
    free = [picked for picked in facts.picked if not picked.blocker]
    if free:
        names = listed([picked.name for picked in free])
        look.do("machines", AddMembers(f"Taking {names} into the cluster.", tuple(picked.uuid for picked in free)))
    for picked in facts.picked:
        if picked.blocker:
            look.say("machines", picked.state, picked.blocker)
    _removals(facts, look)
    if not facts.members and not facts.picked:
        look.say("machines", "wait", "Waiting for machines to be picked for the cluster.")
    elif not any(condition.name == "machines" for condition in look.conditions):
        look.say("machines", "ok", f"{count(len(facts.members), 'machine')} picked and taken.")


def _removals(facts: ClusterFacts, look: _Look) -> None:
    limits = dict(facts.removal_limits)
    leaving: dict[str, int] = {}
    for member in facts.members:
        if member.leaving:
            leaving[member.set_name] = leaving.get(member.set_name, 0) + 1
    going = []
    for member in facts.members:
        if member.wanted or member.leaving:
            continue
        if member.role == "controlplane":
            message = f"{member.name} was taken out of the control plane; that is not done yet. Pick it again."
            look.say("machines", "bad", message)
        elif leaving.get(member.set_name, 0) < limits.get(member.set_name, len(facts.members)):
            leaving[member.set_name] = leaving.get(member.set_name, 0) + 1
            going.append(member)
    if going:
        names = listed([member.name for member in going])
        verb = "leaves" if len(going) == 1 else "leave"
        look.do("machines", SendAway(f"{names} {verb} the cluster.", tuple(member.uuid for member in going)))
    for member in facts.members:
        if member.leaving:
            state: State = member.state if member.state in ("bad", "off", "ask", "wait") else "work"
            look.say("machines", state, member.blocker or f"Waiting for {member.name} to leave.")


def _staying(facts: ClusterFacts) -> list[Member]:
    return [member for member in facts.members if not member.leaving]


def _installed(facts: ClusterFacts, look: _Look) -> None:
    _share("installed", "installed", [(member, member.installed) for member in _staying(facts)], look)


def _configured(facts: ClusterFacts, look: _Look) -> None:
    _share("configured", "configured", [(member, member.current) for member in _staying(facts)], look)


def _share(name: str, word: str, members: list[tuple[Member, bool]], look: _Look) -> None:
    """How many machines are so far; the worst of those that are not is named."""
    missing = [member for member, done in members if not done]
    if not missing:
        if members:
            look.say(name, "ok", f"{len(members)} of {len(members)} {word}.")
        return
    order: tuple[State, ...] = ("bad", "ask", "off", "wait", "work")
    worst = min(missing, key=lambda member: order.index(member.state) if member.state in order else len(order))
    done = len(members) - len(missing)
    state = worst.state if worst.state in order else "work"
    look.say(name, state, f"{done} of {len(members)} {word}. {worst.blocker or f'Waiting for {worst.name}.'}")


def _bootstrapped(facts: ClusterFacts, now: datetime, look: _Look) -> bool:
    if facts.bootstrapped:
        look.say("bootstrapped", "ok", "etcd was started on its first machine.")
        return True
    if not facts.bootstrap_uuid:
        able = [member for member in _staying(facts) if member.role == "controlplane" and member.configured]
        able = [member for member in able if member.connected and member.wanted]
        if not able:
            look.say("bootstrapped", "wait", "Waiting for a first control plane to take its config.")
        else:
            first = min(able, key=lambda member: member.uuid)
            sentence = f"{first.name} is the machine that starts etcd."
            look.do("bootstrapped", FixBootstrap(sentence, first.uuid))
        return False
    chosen = next((member for member in _staying(facts) if member.uuid == facts.bootstrap_uuid), None)
    if chosen is None:
        message = "The machine that was to start etcd is gone, and no other may do it. Destroy the cluster."
        look.say("bootstrapped", "bad", message)
    elif not chosen.connected:
        look.say("bootstrapped", "off", f"Waiting for {chosen.name} to connect: it alone starts etcd.")
    elif facts.bootstrap is None:
        look.want("bootstrapped", "bootstrap", f"Asking {chosen.name} whether etcd was started.")
    else:
        _start(facts.bootstrap, chosen.name, now, look)
    return False


def _start(shown: Bootstrap, name: str, now: datetime, look: _Look) -> None:
    if isinstance(shown.answer, Silent):
        state: State = "bad" if shown.answer.foreign else "wait"
        look.say("bootstrapped", state, f"Waiting for {name} to answer: {shown.answer.reason}.")
    elif shown.members:
        look.do("bootstrapped", EtcdStarted(f"etcd runs on {name}."))
    elif shown.answer == "maintenance" or shown.stage not in ("booting", "running"):
        look.say("bootstrapped", "work", f"Waiting for {name} to start with its config before etcd begins.")
    elif shown.accepted:
        look.say("bootstrapped", "work", f"Waiting for etcd on {name} to show itself; its image may have to be pulled.")
    elif shown.tried_at is not None and now - shown.tried_at < STARTING and not shown.refusal:
        look.say("bootstrapped", "work", f"Waiting for etcd on {name} to show itself.")
    else:
        because = f" It said: {shown.refusal}." if shown.refusal else ""
        look.do("bootstrapped", StartEtcd(f"Starting etcd on {name}.{because}"))


def _etcd(facts: ClusterFacts, look: _Look) -> bool:
    """Every control plane has its etcd member, every member its machine. False while nothing can be said."""
    control_planes = [member for member in _staying(facts) if member.role == "controlplane"]
    if facts.etcd is None:
        look.want("etcd", "etcd", "Asking etcd for its members.")
        return False
    if isinstance(facts.etcd, Silent):
        look.say("etcd", "wait", f"Waiting for etcd to list its members: {facts.etcd.reason}.")
        return True
    listed_ids = {member.id for member in facts.etcd}
    pairs = tuple(
        (member.uuid, member.reported_member_id)
        for member in control_planes
        if member.reported_member_id in listed_ids and member.reported_member_id != member.etcd_member_id
    )
    if pairs:
        look.do("etcd", MapEtcd("Noting which etcd member lives on which machine.", pairs))
        return True
    mapped = {member.etcd_member_id for member in control_planes if member.etcd_member_id}
    missing = [member.name for member in control_planes if member.etcd_member_id not in listed_ids]
    orphans = [member.name for member in facts.etcd if member.id not in mapped]
    learners = [member.name for member in facts.etcd if member.learner]
    total = len(control_planes)
    if missing:
        message = f"{total - len(missing)} of {total} etcd members. Waiting for {listed(missing)} to join etcd."
        look.say("etcd", "work", message)
    elif orphans:
        look.say("etcd", "warn", f"etcd has members without a machine: {listed(orphans)}.")
    elif learners:
        look.say("etcd", "work", f"Waiting for {listed(learners)} to catch up in etcd.")
    else:
        look.say("etcd", "ok", f"{total} of {total} etcd members.")
    return True


def _kubernetes(facts: ClusterFacts, look: _Look) -> None:
    if facts.kubernetes is None:
        look.want("kubernetes", "kubernetes", "Asking the Kubernetes API.")
        return
    if not facts.kubernetes.ready:
        look.say("kubernetes", "work", f"Waiting for the Kubernetes API: {facts.kubernetes.reason}.")
        return
    members = [member for member in _staying(facts) if member.wanted]
    nodes = dict(facts.kubernetes.nodes)
    absent = [member.name for member in members if member.node_name not in nodes]
    unready = [member.name for member in members if not nodes.get(member.node_name, False)]
    total = len(members)
    if unready:
        verb = "register as a Kubernetes node" if absent else "be ready as a Kubernetes node"
        message = f"{total - len(unready)} of {total} nodes ready. Waiting for {listed(absent or unready)} to {verb}."
        look.say("kubernetes", "work", message)
    elif not all(member.ready for member in members):
        waiting = [member.name for member in members if not member.ready]
        look.say("kubernetes", "work", f"{total} of {total} nodes ready. Waiting for Talos on {listed(waiting)}.")
    else:
        look.say("kubernetes", "ok", f"The API answers; {total} of {total} nodes ready.")
