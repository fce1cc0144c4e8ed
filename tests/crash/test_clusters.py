"""The process dies after each thing that it wrote or did to a machine, once; then it is started again.

Whatever the moment, the cluster becomes Ready, or goes, and nothing that cannot be undone happens twice.
"""

import copy
from collections.abc import Callable

import pytest
from django.db import transaction

from tests.apps.clusters.templates import template
from tests.apps.clusters.test_lifecycle import Lab
from tests.apps.clusters.world import Crash, World

TALOS = {"1.13.8": "1.36.3", "1.12.11": "1.35.4"}
"""A release installed by calls, and one installed by its config."""


class Undo(Exception):
    """Ends a run whose rows are not wanted any more."""


def attempt(world: World, change: Callable[[], None], reached: Callable[[], bool], crash_at: int | None) -> bool:
    """Change what is wanted and reconcile until it is so; whether the process died, once, on the way."""
    world.point, world.crash_at, died = 0, crash_at, False
    change()
    while True:
        try:
            world.run(reached)
            return died
        except Crash:
            died = True  # what runs next is a new process: nothing is left in memory


def at_every_point(
    world: World, change: Callable[[], None], reached: Callable[[], bool], holds: Callable[[], None]
) -> None:
    """Let the process die at each point of a change in turn, each time from the same beginning; end it in the end."""
    machines, etcd, now = copy.deepcopy((world.machines, world.etcd, world.now))
    crash_at: int = 1
    died = True
    while died:
        world.machines, world.etcd, world.now = copy.deepcopy((machines, etcd, now))
        try:
            with transaction.atomic():
                died = attempt(world, change, reached, crash_at)
                holds()
                crash_at += 1
                if died:
                    raise Undo
        except Undo:
            continue
    assert crash_at > 20, "there are more steps than that"


@pytest.mark.parametrize("talos", TALOS)
def test_dies_after_each_step(world: World, talos: str) -> None:
    lab = Lab(world)
    for number in (1, 2):
        world.join(number, version=talos)

    def created() -> None:
        assert world.total("install") == 2
        assert world.total("bootstrap") == 1
        assert world.total("reset") == 0

    def destroyed() -> None:
        assert world.total("install") == 2
        assert world.total("bootstrap") == 1
        assert world.total("reset") == 2
        assert all(machine.config is None for machine in world.machines.values())

    text = template([1], [2], talos=talos, kubernetes=TALOS[talos])
    at_every_point(world, lambda: lab.sync(text), lab.ready, created)
    at_every_point(world, lab.destroy, lab.gone, destroyed)


def test_destroyed_at_any_moment_of_its_creation(world: World) -> None:
    """Whatever was done to the machines by then, they come back clean."""
    lab = Lab(world)
    for number in (1, 2):
        world.join(number)
    machines, etcd, now = copy.deepcopy((world.machines, world.etcd, world.now))
    turns, ready = 0, False
    while not ready:
        world.machines, world.etcd, world.now = copy.deepcopy((machines, etcd, now))
        try:
            with transaction.atomic():
                lab.sync(template([1], [2]))
                for _ in range(turns):
                    world.turn()
                ready = lab.ready()
                lab.destroy()
                world.run(lab.gone)
                assert all(machine.config is None for machine in world.machines.values())
                assert all(machine.stage == "maintenance" for machine in world.machines.values())
                raise Undo
        except Undo:
            turns += 1
    assert turns > 5
