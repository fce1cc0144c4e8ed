"""Which handshakes succeed below a simulated mesh. Pure: the time is the test's."""

import pytest

from nodeagent.simulator.underlay import HANDSHAKE, REKEY, Device, Underlay

NOW = 1_800_000_000.0
OUTSIDE, ELSEWHERE = "203.0.113.7:41641", "203.0.113.8:41641"


class Bed:
    """Devices `a`, `b`, ..., with the addresses 10.0.0.1, 10.0.0.2, ..., and a time that can be set."""

    def __init__(self, *names: str, secret: str = "s") -> None:
        self.underlay = Underlay()
        self.now = NOW
        self.underlay.clock = lambda: self.now
        self.devices = {name: self.device(name, number, secret) for number, name in enumerate(names, 1)}

    def device(self, name: str, number: int, secret: str = "s") -> Device:
        device = self.underlay.up(name, name, secret)
        device.move([f"10.0.0.{number}"])
        return device

    def meet(self, one: str, other: str, endpoint: str = "", back: str = "") -> None:
        self.devices[one].configure({other: endpoint})
        self.devices[other].configure({one: back})

    def handshake(self, one: str, other: str) -> float:
        return self.devices[one].read([other])[other].handshake


def test_one_side_that_knows_where_is_enough():
    bed = Bed("a", "b")
    bed.meet("a", "b", "10.0.0.2:51820")
    for one, other in (("a", "b"), ("b", "a")):
        assert bed.handshake(one, other) == NOW + HANDSHAKE
    assert bed.devices["b"].read(["a"])["a"].endpoint == "10.0.0.1:51820", "learned from the packets"


@pytest.mark.parametrize("endpoint", ["", "10.0.0.3:51820", "10.0.0.2:1"])
def test_nobody_knows_where(endpoint: str):
    bed = Bed("a", "b")
    bed.meet("a", "b", endpoint)
    assert bed.handshake("a", "b") == 0


def test_another_secret_is_not_understood():
    bed = Bed("a")
    bed.devices["b"] = bed.device("b", 2, secret="other")
    bed.meet("a", "b", "10.0.0.2:51820", "10.0.0.1:51820")
    assert bed.handshake("a", "b") == 0


def test_what_one_sends_the_other_receives_and_it_only_grows():
    bed = Bed("a", "b")
    bed.meet("a", "b", "10.0.0.2:51820")
    before = 0
    for _ in range(50):
        bed.now += 37
        here, there = bed.devices["a"].read(["b"])["b"], bed.devices["b"].read(["a"])["a"]
        assert (here.sent, here.received) == (there.received, there.sent)
        assert here.sent > before
        before = here.sent
        assert 0 <= bed.now - here.handshake <= REKEY


def test_one_that_does_not_answer_is_called_again_and_again():
    bed = Bed("a", "b")
    bed.underlay.faults.cut.add(frozenset("ab"))
    bed.meet("a", "b", "10.0.0.2:51820")
    bed.now += 50
    assert bed.devices["a"].read(["b"])["b"].sent == 10 * 148
    assert bed.devices["b"].read(["a"])["a"].sent == 0, "it knows no endpoint"
    bed.underlay.faults.cut.clear()
    bed.handshake("a", "b")
    bed.now += 50
    assert bed.devices["a"].read(["b"])["b"].sent > 10 * 148
    assert bed.devices["b"].read(["a"])["a"].sent > 0


def test_a_peer_that_is_dropped_ends_the_session_for_both():
    bed = Bed("a", "b")
    bed.meet("a", "b", "10.0.0.2:51820")
    last, generation = bed.handshake("b", "a"), bed.devices["b"].generation
    bed.devices["a"].drop(["b"])
    assert bed.devices["b"].generation != generation
    bed.now += 1000
    assert bed.devices["a"].read(["b"]) == {}
    assert bed.handshake("b", "a") == last


def test_a_device_that_comes_again_is_heard_again():
    bed = Bed("a", "b")
    bed.meet("a", "b", "10.0.0.2:51820")
    bed.underlay.down(bed.devices["b"])
    bed.now += 1000
    assert bed.now - bed.handshake("a", "b") > 900
    bed.devices["b"] = bed.device("b", 2)
    bed.devices["b"].configure({"a": ""})
    assert bed.handshake("a", "b") == bed.now + HANDSHAKE


def test_a_machine_that_moves_is_heard_from_its_new_place():
    bed = Bed("a", "b")
    bed.meet("a", "b", "10.0.0.2:51820", "10.0.0.1:51820")
    bed.devices["b"].move(["10.9.9.9"])
    bed.now += 200
    assert bed.now - bed.handshake("a", "b") <= REKEY
    assert bed.devices["a"].read(["b"])["b"].endpoint == "10.9.9.9:51820"


def test_a_translator_lets_in_what_answers():
    bed = Bed("a", "b")
    bed.underlay.faults.nat["b"] = OUTSIDE
    bed.meet("a", "b", OUTSIDE)
    assert bed.handshake("a", "b") == 0, "nobody inside called"
    bed.devices["b"].configure({"a": "10.0.0.1:51820"})
    assert bed.handshake("a", "b") == NOW + HANDSHAKE


def test_two_translators_are_passed_when_both_call():
    bed = Bed("a", "b")
    bed.underlay.faults.nat |= {"a": ELSEWHERE, "b": OUTSIDE}
    bed.meet("a", "b", "10.0.0.2:51820", "10.0.0.1:51820")
    assert bed.handshake("a", "b") == 0
    bed.meet("a", "b", OUTSIDE, ELSEWHERE)
    assert bed.handshake("a", "b") == NOW + HANDSHAKE


def test_neighbours_behind_one_translator_meet_inside():
    bed = Bed("a", "b")
    bed.underlay.faults.nat |= {"a": "203.0.113.7:1", "b": "203.0.113.7:2"}
    bed.meet("a", "b", "10.0.0.2:51820")
    assert bed.handshake("a", "b") == NOW + HANDSHAKE


def test_clocks_set_back_are_not_heard_until_they_are_where_they_were():
    bed = Bed("a", "b")
    bed.meet("a", "b", "10.0.0.2:51820")  # so a calls
    bed.underlay.faults.clock["a"] = -1000
    bed.now += 150
    assert bed.now - bed.handshake("b", "a") <= REKEY, "the other one calls"
    bed.underlay.faults.clock["b"] = -1000
    bed.now += 300
    assert bed.handshake("b", "a") == NOW + HANDSHAKE + REKEY, "none since: each has heard a later time"
    bed.now += 900
    assert bed.handshake("b", "a") == bed.now + HANDSHAKE - 1000
