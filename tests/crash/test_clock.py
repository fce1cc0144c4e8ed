"""The wall clock is set an hour forward or back at any moment: nothing waits for the hour, and nothing is done twice
that is not the same when it is done twice. (An hour forward, a machine that has not begun its reboot or reset counts as
one that did not hear: it is asked once more.)

Handshakes: `tests/apps/gateways/test_monitor.py`. What is due: `tests/apps/reconcile/test_engine.py`. Ids:
`tests/apps/tenants/test_ids.py`. Leases, tunnels, sessions and WireGuard go by the steady clock or by no clock at all.
"""

import copy
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import transaction

from apps.reconcile.models import Outbox
from apps.reconcile.outbox import hint
from tests.apps.clusters.templates import template
from tests.apps.clusters.test_lifecycle import Lab
from tests.crash.clusters import ClusterStage
from tests.crash.points import Undo


@pytest.mark.parametrize("hours", [1, -1])
def test_at_any_moment_of_a_clusters_life(stage: ClusterStage, hours: int) -> None:
    lab = Lab(stage)
    stage.join(1)
    lab.sync(template([1]))
    assert set_at_each_turn(stage, hours, lab.ready, {"install": 1, "reboot": 1, "bootstrap": 1}) > 8
    lab.destroy()
    assert set_at_each_turn(stage, hours, lab.gone, {"install": 1, "reboot": 1, "bootstrap": 1, "reset": 1}) >= 5


def set_at_each_turn(stage: ClusterStage, hours: int, reached: Callable[[], bool], calls: dict[str, int]) -> int:
    """Set the clock before each turn that it takes to reach something, each time from there; how many it takes."""
    turns = 0
    while not reached():
        memory = copy.deepcopy(stage.memory())
        try:
            with transaction.atomic():
                stage.now += timedelta(hours=hours)
                stage.run(reached, turns=60)
                made = stage.destructive(1)
                again = {call for call in made if made[call] == 2}
                assert again <= ({"reboot", "reset"} if hours > 0 else set())
                assert len(again) <= 1
                assert {**made, **dict.fromkeys(again, 1)} == calls
                raise Undo
        except Undo:
            stage.restore(memory)
        stage.turn()
        turns += 1
    return turns


def test_a_hint_is_due_whatever_this_process_takes_for_the_time(stage: ClusterStage) -> None:
    """The clock of the world runs ahead of the database's: only one of them may say what is due."""
    stage.now += timedelta(days=400)
    hint("thing", stage.organisation.id, stage.organisation.id)
    assert Outbox.objects.get(kind="thing").due_at < stage.now - timedelta(days=300)
