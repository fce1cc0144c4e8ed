from hypothesis import given
from hypothesis import strategies as st

from nodeagent.wireguard.deadlines import NEVER, Deadlines


class Item:
    def __init__(self):
        self.alarm = NEVER


steps = st.lists(
    st.tuples(st.sampled_from(["arm", "disarm", "wait"]), st.integers(0, 4), st.floats(0, 100)), max_size=400
)


@given(steps)
def test_alarms_ring_in_time_and_once(steps):
    deadlines, items, now = Deadlines(), [Item() for _ in range(5)], 0.0
    expected = {}
    for what, index, amount in steps:
        item = items[index]
        if what == "arm":
            deadlines.arm(item, now + amount)
            expected[item] = min(expected.get(item, NEVER), now + amount)
        elif what == "disarm":
            deadlines.disarm(item)
            expected.pop(item, None)
        else:
            now += amount
            due = deadlines.due(now)
            assert sorted(map(id, due)) == sorted(id(item) for item, at in expected.items() if at <= now)
            for item in due:
                del expected[item]
        assert deadlines.next() <= min(expected.values(), default=NEVER)


def test_entries_that_will_not_ring_do_not_pile_up():
    deadlines, item = Deadlines(), Item()
    for number in range(10_000):
        deadlines.arm(item, 10_000.0 - number)
    assert len(deadlines._heap) < 200
    for _ in range(10_000):
        deadlines.arm(item, 5.0)
        deadlines.disarm(item)
    assert len(deadlines._heap) < 200
