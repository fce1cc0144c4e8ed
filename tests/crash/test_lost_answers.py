"""A call to a machine does what it shall, and its answer is lost, or it never arrives: each call of each kind, once."""

from collections.abc import Callable

import grpc
import pytest

from apps.tenants.models import Organisation
from nodeagent.adopt import META_UNIQUE_TOKEN
from nodeagent.simulator.calls import Refusal
from tests.apps.clusters.templates import template
from tests.apps.clusters.test_lifecycle import Lab
from tests.apps.clusters.test_simulated import Site, text
from tests.apps.gateways.lab import Lab as GatewayLab
from tests.apps.gateways.lab import complete
from tests.apps.machines.desk import UUID, Desk
from tests.crash.calls import Record
from tests.crash.clusters import ClusterStage
from tests.crash.joining import JoiningMachine, JoiningStage
from tests.crash.points import Change, at_every_point, gets_no_answer


@pytest.mark.parametrize(
    ("talos", "kubernetes", "once"),
    [("1.13.8", "1.36.3", {"install": 1, "reboot": 1}), ("1.12.11", "1.35.4", {"install": 1})],
)
def test_in_the_life_of_a_cluster(
    stage: ClusterStage, talos: str, kubernetes: str, once: dict[str, int], crash_point: int | None
) -> None:
    lab = Lab(stage)
    stage.join(1, version=talos)
    wanted = template([1], talos=talos, kubernetes=kubernetes)

    def created() -> None:
        assert without_upgrade(stage.destructive(1)) == {**once, "bootstrap": 1}

    def destroyed() -> None:
        assert without_upgrade(stage.destructive(1)) == {**once, "bootstrap": 1, "reset": 1}

    passed = [
        *at_every_point(stage, Change(lambda: lab.sync(wanted), lab.ready, created), crash_point, gets_no_answer),
        *at_every_point(stage, Change(lab.destroy, lab.gone, destroyed), crash_point, gets_no_answer),
    ]
    calls = {"install", "reboot"} if talos == "1.13.8" else set()
    expected = {"apply", "bootstrap", "reset"} | calls
    assert set(passed) == {f"{moment} {call}" for moment in ("before", "after") for call in expected}


def without_upgrade(calls: dict[str, int]) -> dict[str, int]:
    """An installation whose end nobody saw is completed by one upgrade, which keeps what is there."""
    return {call: count for call, count in calls.items() if call != "upgrade" or count > 1}


def test_while_joining(organisation: Organisation, monkeypatch: pytest.MonkeyPatch, crash_point: int | None) -> None:
    joining = JoiningStage(Desk(organisation), monkeypatch)

    def joined() -> bool:
        return joining.desk.machines() == [UUID] and bool(joining.machines[0].configs)

    def holds() -> None:
        tokens = {value for number, value in joining.machines[0].written if number == META_UNIQUE_TOKEN}
        assert len(tokens) == 1

    change = Change(lambda: joining.machines.append(JoiningMachine(1, UUID)), joined, holds)
    passed = at_every_point(joining, change, crash_point, gets_no_answer)
    assert passed == ["before META write", "after META write", "before apply", "after apply"]


# --- with the real calls, to simulated machines


class Swallower:
    """The first answer of each method never comes."""

    def __init__(self) -> None:
        self.swallowed: list[str] = []

    async def meanwhile(self, moment: str, method: str, number: int) -> None:
        if moment == "after" and method not in self.swallowed:
            self.swallowed.append(method)
            raise Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "the answer was lost")


@pytest.mark.parametrize(("talos", "kubernetes"), [("1.13.8", "1.36.3"), ("1.12.11", "1.35.4")])
def test_of_simulated_machines(
    site: Callable[[int, str], Site], monkeypatch: pytest.MonkeyPatch, talos: str, kubernetes: str
) -> None:
    swallower = Swallower()
    record = Record(swallower.meanwhile)
    record.install(monkeypatch)
    world = site(1, talos)
    lab = Lab(world)  # type: ignore[arg-type]
    (uuid,) = world.machines
    lab.sync(text([uuid], [], talos, kubernetes))
    world.run(lab.ready)
    lab.destroy()
    world.run(lab.gone)
    expected = {"ApplyConfiguration", "Bootstrap", "Reset"} | ({"Install", "Reboot"} if talos == "1.13.8" else set())
    assert expected <= set(swallower.swallowed)
    assert record.count(uuid, "Install") == (talos == "1.13.8")
    assert record.count(uuid, "Bootstrap") == record.count(uuid, "Reset") == 1


async def test_while_a_simulated_machine_joins(lab: GatewayLab, monkeypatch: pytest.MonkeyPatch) -> None:
    swallower = Swallower()
    record = Record(swallower.meanwhile)
    record.install(monkeypatch)
    async with lab.gateway(), lab.fleet(await lab.token()) as fleet:
        await lab.machine(fleet.machines[0].hardware.uuid, complete)
    assert swallower.swallowed == ["MetaWrite"]
    assert len({made.request.value for made in record.made}) == 1
