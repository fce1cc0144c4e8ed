"""The gateway's memory of links."""

from dataclasses import replace
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from apps.gateways.directory import Directory, Known
from nodeagent.ports import Link

IDS = [str(UUID(int=number)) for number in range(4)]
MACHINES = [None, *(UUID(int=100 + number) for number in range(4))]


def known(number: int, key: str = "key", machine: int = 0) -> Known:
    """The link of one number has one address and one machine for ever; its key changes."""
    link = Link(IDS[number], key, f"fdae::{number}", None, None, pending=machine == 0)
    return Known(link, UUID(int=7), MACHINES[number + 1] if machine else None, str(uuid4()))


class DirectoryMachine(RuleBasedStateMachine):
    """Against a plain dictionary of links."""

    def __init__(self) -> None:
        super().__init__()
        self.directory, self.model = Directory(), dict[str, Known]()

    @rule(number=st.integers(0, 3), key=st.sampled_from("ab"), machine=st.integers(0, 1))
    def put(self, number: int, key: str, machine: int) -> None:
        one = known(number, key, machine)
        self.directory.put(one)
        self.model[one.link.id] = one

    @rule(number=st.integers(0, 3))
    def drop(self, number: int) -> None:
        assert self.directory.drop(IDS[number]) == self.model.pop(IDS[number], None)

    @rule(number=st.integers(0, 3), endpoint=st.sampled_from(["192.0.2.1:1", "192.0.2.1:2"]))
    def moved(self, number: int, endpoint: str) -> None:
        self.directory.moved(IDS[number], endpoint)
        if one := self.model.get(IDS[number]):
            self.model[IDS[number]] = replace(one, link=replace(one.link, last_endpoint=endpoint))

    @invariant()
    def agrees(self) -> None:
        stored = list(self.model.values())
        assert sorted(self.directory.all(), key=lambda one: one.link.id) == sorted(stored, key=lambda one: one.link.id)
        for number in range(4):
            one = self.model.get(IDS[number])
            assert self.directory.link(IDS[number]) == one
            assert self.directory.at(f"fdae::{number}") == one
            machine = MACHINES[number + 1]
            assert machine is not None
            assert self.directory.machine(machine) == (one if one and one.machine_id else None)
        for one in stored:
            others = {o.link.id for o in stored if o.link.public_key == one.link.public_key} - {one.link.id}
            assert {other.link.id for other in self.directory.others_with_key(one)} == others


TestDirectory = DirectoryMachine.TestCase
