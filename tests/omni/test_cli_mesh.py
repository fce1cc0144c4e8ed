"""`omni mesh show`, against the real REST interface in this process."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from click.testing import Result

from apps.mesh.collector import Reading
from apps.tenants.models import Organisation
from omni.cli import mesh
from tests.apps.mesh.house import House
from tests.kubespan.meshes import World, mesh_of, troubled
from tests.omni.test_cli_fleet import omni

__all__ = ["omni"]

Omni = Callable[..., Result]


@pytest.fixture
def house(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> Callable[[World], House]:
    """`house(world)`: a cluster `prod` with this mesh, which was read."""

    def make(world: World) -> House:
        made = House.make(organisation)
        made.patch(monkeypatch)
        made.build(world)
        made.reconcile()
        return made

    return make


def test_a_mesh_in_which_all_is_well(omni: Omni, house: Callable[[World], House]) -> None:
    house(mesh_of({"osl": 3, "ber": 2}))
    lines = omni("mesh", "show", "prod").output.splitlines()
    assert lines[0] == "prod: All 10 pairs up"
    assert lines[1].startswith("5 nodes in 2 sites; 10 of 10 pairs up; read ")
    assert lines[3].split() == ["SITE", "NODES", "PAIRS", "UP", "INSIDE"]
    assert lines[4].split() == ["ber", "2", "1", "of", "1"]


def test_what_is_wrong_and_what_to_do(omni: Omni, house: Callable[[World], House]) -> None:
    house(troubled())
    output = omni("mesh", "show", "prod").output
    assert output.startswith("prod: 2 pairs one-sided, 2 apart\n52 nodes in 3 sites; 1,322 of 1,326 pairs up")
    rows = [line.split() for line in output.splitlines() if line.startswith("osl2-w-07 ")]
    assert [row[:6] for row in rows] == [
        ["osl2-w-07", "osl1-w-03", "Up", "Down", "185.4.12.9:51820", "9m"],
        ["osl2-w-07", "osl1-w-04", "Up", "Down", "185.4.12.9:51820", "9m"],
    ]
    assert "NAT: osl2-w-07 is seen from :61004, osl1-w-03 was told :51820." in output
    assert "    - Allow UDP 51820 from osl2-w-07 into osl1-w-03." in output
    assert output.count("Allow UDP 51820 from") == 1  # once for each reason


def test_one_node(omni: Omni, house: Callable[[World], House]) -> None:
    made = house(troubled())
    output = omni("mesh", "show", "prod", "--node", "osl2-w-07").output
    assert f"machine  {made.uuids['osl2-w-07']}" in output
    assert "endpoints  185.4.12.9:51820, 10.40.2.17:51820" in output
    assert "seen as  185.4.12.9:61004" in output
    assert sum("one-sided" in line for line in output.splitlines()[3:]) == 2
    assert output.rstrip().endswith("as an extra endpoint of osl2-w-07.")
    refused = omni("mesh", "show", "prod", "--node", "nobody")
    assert refused.exit_code == 1
    assert "the mesh has no node “nobody”" in refused.output


def test_pairs_and_nodes_that_are_asked_for(omni: Omni, house: Callable[[World], House]) -> None:
    house(troubled())
    assert len(json.loads(omni("mesh", "show", "prod", "--state", "trouble", "-o", "json").output)) == 4
    assert [row["reason"] for row in json.loads(omni("mesh", "show", "prod", "--reason", "clock", "-o", "json").output)]
    nodes = json.loads(omni("mesh", "show", "prod", "--nodes", "--site", "osl1", "-o", "json").output)
    assert [row["name"] for row in nodes] == [f"osl1-w-0{number}" for number in range(1, 9)]
    table = omni("mesh", "show", "prod", "--nodes", "--site", "ber").output.splitlines()
    assert len(table) == 3 + 1 + 4
    assert "No pair is like that." in omni("mesh", "show", "prod", "--state", "missing").output


def test_without_kubespan(omni: Omni, house: Callable[[World], House]) -> None:
    made = house(mesh_of({"osl": 2}))
    made.answers = {uuid: Reading(at=1.0) for uuid in made.answers}
    made.reconcile()
    assert omni("mesh", "show", "prod").output.startswith("prod: Off. KubeSpan is not enabled")
    assert json.loads(omni("mesh", "show", "prod", "-o", "json").output)["kubespan"] == "off"


def test_the_first_look_waits_until_it_was_read(
    omni: Omni, organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = House.make(organisation)
    made.patch(monkeypatch)
    made.build(mesh_of({"osl": 3}))
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        made.reconcile()

    monkeypatch.setattr("omni.cli.mesh.time.sleep", sleep)
    assert omni("mesh", "show", "prod").output.startswith("prod: All 3 pairs up")
    assert waits == [mesh.POLL]


def test_a_reading_that_is_old_is_not_shown_while_a_new_one_comes(
    omni: Omni, house: Callable[[World], House], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = house(troubled())
    made.pass_by(timedelta(minutes=20))
    made.say(mesh_of({"osl2": 40, "osl1": 8, "ber": 4}))
    monkeypatch.setattr("omni.cli.mesh.time.sleep", lambda seconds: made.reconcile())
    assert omni("mesh", "show", "prod").output.startswith("prod: All 1,326 pairs up")


def test_an_old_reading_is_shown_when_no_new_one_comes(
    omni: Omni, house: Callable[[World], House], monkeypatch: pytest.MonkeyPatch
) -> None:
    house(troubled()).pass_by(timedelta(minutes=20))
    waits: list[float] = []
    monkeypatch.setattr("omni.cli.mesh.time.sleep", waits.append)
    monkeypatch.setattr(mesh, "PATIENCE", 0.5)
    text = omni("mesh", "show", "prod").output
    assert text.startswith("prod: 2 pairs one-sided, 2 apart")
    assert "read 20m ago" in text
    assert set(waits) == {mesh.POLL}


def test_watching_goes_on_with_each_reading(
    omni: Omni, house: Callable[[World], House], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = house(troubled())
    turns = iter(
        (None, made.reconcile, None, lambda: made.say(mesh_of({"osl2": 40, "osl1": 8, "ber": 4})), made.reconcile)
    )

    def sleep(seconds: float) -> None:
        try:
            if turn := next(turns):
                turn()
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("omni.cli.mesh.time.sleep", sleep)
    lines = omni("mesh", "show", "prod", "--watch").output.splitlines()
    assert [line for line in lines if line.startswith("prod: ")] == [
        "prod: 2 pairs one-sided, 2 apart", "prod: 2 pairs one-sided, 2 apart", "prod: All 1,326 pairs up",
    ]  # fmt: skip
    assert sum(line.startswith("---- read ") for line in lines) == 2
