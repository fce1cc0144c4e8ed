"""A call to a machine does what it shall, and its answer is lost, or it never arrives: each call of each kind, once."""

import pytest

from apps.tenants.models import Organisation
from nodeagent.adopt import META_UNIQUE_TOKEN
from tests.apps.clusters.templates import template
from tests.apps.clusters.test_lifecycle import Lab
from tests.apps.machines.desk import UUID, Desk
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
