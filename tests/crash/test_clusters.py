"""The process dies at each point of what it does to a cluster, once, and is started again.

Whatever the moment, it ends the same, and nothing that cannot be taken back happens twice or to another machine.
"""

import copy
from collections.abc import Callable

import pytest
from django.db import transaction

from tests.apps.clusters.templates import template
from tests.apps.clusters.test_lifecycle import Lab
from tests.crash.clusters import ClusterStage
from tests.crash.points import Change, Undo, at_every_point

BYSTANDER = 9
"""A machine of the same organisation that nobody wants anything of."""

PATCH = '{machine: {sysctls: {vm.max_map_count: "262144"}}}'

INSTALLED = {"install": 1, "reboot": 1}
STARTED = {**INSTALLED, "bootstrap": 1}


@pytest.fixture
def lab(stage: ClusterStage) -> Lab:
    return Lab(stage)


def calls(stage: ClusterStage, *expected: dict[str, int], completed: bool = False) -> Callable[[], None]:
    """Asserts which calls that cannot be taken back were made to machines 1, 2, ..., and none of any kind to another.

    `completed`: an installation whose end nobody saw may have been completed by an upgrade, which keeps what is there.
    """

    def holds() -> None:
        for number, wanted in enumerate(expected, 1):
            made = stage.destructive(number)
            if completed and made.get("upgrade") == 1:
                del made["upgrade"]
            assert made == wanted, f"machine {number}"
        assert stage.machine(BYSTANDER).calls == []

    return holds


def test_the_life_of_a_cluster(stage: ClusterStage, lab: Lab, crash_point: int | None) -> None:
    """Created, given a worker, configured otherwise, without the worker again, destroyed."""
    for number in (1, 2, BYSTANDER):
        stage.join(number)

    def at_each(want: Callable[[], None], reached: Callable[[], bool], *expected: dict[str, int]) -> int:
        change = Change(want, reached, calls(stage, *expected, completed=True))
        return len(at_every_point(stage, change, crash_point))

    def without_worker() -> bool:
        return lab.ready() and lab.member(2) is None

    given_back = {**INSTALLED, "reset": 1}
    passed = [
        at_each(lambda: lab.sync(template([1])), lab.ready, STARTED, {}),
        at_each(lambda: lab.sync(template([1], [2])), lab.ready, STARTED, INSTALLED),
        at_each(lambda: lab.sync(template([1], [2], patch=PATCH)), lab.ready, STARTED, INSTALLED),
        at_each(lambda: lab.sync(template([1], patch=PATCH)), without_worker, STARTED, given_back),
        at_each(lab.destroy, lab.gone, {**STARTED, "reset": 1}, given_back),
    ]
    assert sum(passed) > 100, passed


def test_a_release_that_is_installed_by_its_config(stage: ClusterStage, lab: Lab, crash_point: int | None) -> None:
    for number in (1, BYSTANDER):
        stage.join(number, version="1.12.11")
    wanted = template([1], talos="1.12.11", kubernetes="1.35.4")
    created = Change(lambda: lab.sync(wanted), lab.ready, calls(stage, {"install": 1, "bootstrap": 1}))
    assert len(at_every_point(stage, created, crash_point)) > 25


def test_destroyed_at_any_moment_of_its_creation(stage: ClusterStage, lab: Lab) -> None:
    """Whatever was done to the machines by then, they come back clean."""
    for number in (1, 2):
        stage.join(number)
    memory = copy.deepcopy(stage.memory())
    turns, ready = 0, False
    while not ready:
        stage.restore(copy.deepcopy(memory))
        try:
            with transaction.atomic():
                lab.sync(template([1], [2]))
                for _ in range(turns):
                    stage.turn()
                ready = lab.ready()
                lab.destroy()
                stage.run(lab.gone)
                assert all(machine.config is None for machine in stage.machines.values())
                assert all(machine.stage == "maintenance" for machine in stage.machines.values())
                raise Undo
        except Undo:
            turns += 1
    assert turns > 5
