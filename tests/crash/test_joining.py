"""The process dies at each point of joining, once, and is started again; machines only call until they are answered."""

import pytest

from apps.tenants.models import Organisation
from nodeagent.adopt import META_UNIQUE_TOKEN, META_UUID_OVERRIDE
from tests.apps.machines.desk import OTHER_UUID, UUID, Desk
from tests.crash.joining import JoiningMachine, JoiningStage
from tests.crash.points import Change, at_every_point


@pytest.fixture
def joining(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> JoiningStage:
    return JoiningStage(Desk(organisation), monkeypatch)


def switch_on(joining: JoiningStage, *uuids: str) -> None:
    joining.machines += [JoiningMachine(number, uuid) for number, uuid in enumerate(uuids, len(joining.machines) + 1)]


def registered(joining: JoiningStage) -> bool:
    """Every machine is in, and was told where events go."""
    return len(joining.desk.machines()) == len(joining.machines) and all(one.configs for one in joining.machines)


def nothing_was_overwritten(joining: JoiningStage) -> None:
    """Whatever was written into a machine's META again was the same, and only a second one of a UUID got another."""
    for machine in joining.machines:
        for number in (META_UNIQUE_TOKEN, META_UUID_OVERRIDE):
            values = {value for written, value in machine.written if written == number}
            assert len(values) <= 1
        assert len(machine.addresses) == 1
    tokens = {machine.meta[META_UNIQUE_TOKEN] for machine in joining.machines}
    assert len(tokens) == len(joining.machines)


def test_two_machines_join(joining: JoiningStage, crash_point: int | None) -> None:
    def holds() -> None:
        nothing_was_overwritten(joining)
        assert joining.desk.machines() == sorted([UUID, OTHER_UUID])

    change = Change(lambda: switch_on(joining, UUID, OTHER_UUID), lambda: registered(joining), holds)
    assert len(at_every_point(joining, change, crash_point)) > 15


def test_a_second_machine_of_a_known_uuid(joining: JoiningStage, crash_point: int | None) -> None:
    switch_on(joining, UUID)
    joining.run(lambda: registered(joining))

    def holds() -> None:
        nothing_was_overwritten(joining)
        first, second = joining.machines
        assert META_UUID_OVERRIDE not in first.meta
        assert second.meta[META_UUID_OVERRIDE] != UUID.encode()

    change = Change(lambda: switch_on(joining, UUID), lambda: registered(joining), holds)
    assert len(at_every_point(joining, change, crash_point)) > 10


def test_a_machine_that_lost_its_meta_comes_back(joining: JoiningStage, crash_point: int | None) -> None:
    switch_on(joining, UUID)
    joining.run(lambda: registered(joining))
    address = joining.machines[0].addresses[0]

    def holds() -> None:
        assert joining.machines[0].addresses[-1] == address
        assert joining.desk.machines() == [UUID]
        assert joining.desk.token_row().use_count == 1

    change = Change(lambda: joining.machines[0].reboot(), lambda: registered(joining), holds)
    assert len(at_every_point(joining, change, crash_point)) > 5
