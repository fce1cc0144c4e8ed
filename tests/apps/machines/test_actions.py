"""Changes to join tokens, machines and classes: who may, what is refused, what is left behind."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from apps.access.actor import Actor
from apps.access.check import Denied
from apps.audit.models import AuditRecord
from apps.clusters.models import Cluster, ClusterMachine
from apps.machines import actions
from apps.machines.models import JoinToken, Link, Machine, MachineClass, MachineEvent, MachineObservation
from apps.reconcile.models import Outbox
from tests.apps.machines.desk import UUID, Desk

SOON = timedelta(days=1)


def defaults(desk: Desk) -> list[str]:
    return desk.ask(lambda: list(JoinToken.objects.filter(is_default=True).values_list("name", flat=True)))


def update(desk: Desk, which: str, **changes: object) -> None:
    desk.ask(lambda: actions.update_join_token(desk.owner, JoinToken.objects.get(name=which), **changes))  # type: ignore[arg-type]


# --- join tokens --------------------------------------------------------------------------------------------------


def test_the_first_token_is_the_default_and_there_is_always_one(desk: Desk) -> None:
    assert defaults(desk) == ["default"]
    desk.new_token("second")
    assert defaults(desk) == ["default"]
    desk.new_token("third", make_default=True)
    assert defaults(desk) == ["third"]
    update(desk, "second", make_default=True)
    assert defaults(desk) == ["second"]


def test_the_default_is_not_revoked_and_the_revoked_is_not_the_default(desk: Desk) -> None:
    desk.new_token("second")

    def revoke(name: str) -> None:
        desk.ask(lambda: actions.revoke_join_token(desk.owner, JoinToken.objects.get(name=name)))

    with pytest.raises(ValidationError, match="make another token the default first"):
        revoke("default")
    revoke("second")
    first = desk.token_row("second").revoked_at
    revoke("second")
    assert desk.token_row("second").revoked_at == first
    with pytest.raises(ValidationError, match="second is revoked"):
        update(desk, "second", make_default=True)
    desk.new_token("third", expires_at=timezone.now() + SOON)
    desk.change_token("third", expires_at=timezone.now() - SOON)
    with pytest.raises(ValidationError, match="third is expired"):
        update(desk, "third", make_default=True)
    assert desk.ask(lambda: AuditRecord.objects.filter(verb="join-token.revoke").count()) == 1


@pytest.mark.parametrize("name", ["", "   ", "x" * 41, "a\nb", "a\x00b"])
def test_names_that_are_none(desk: Desk, name: str) -> None:
    with pytest.raises(ValidationError, match="1 to 40 characters"):
        desk.new_token(name)
    with pytest.raises(ValidationError, match="1 to 40 characters"):
        update(desk, "default", name=name)


def test_a_name_is_used_once_in_an_organisation(desk: Desk, other_desk: Desk) -> None:
    other_desk.new_token("lab")
    desk.new_token("lab")
    with pytest.raises(ValidationError, match="named lab exists already"):
        desk.new_token(" lab ")
    with pytest.raises(ValidationError, match="named lab exists already"):
        update(desk, "default", name="lab ")
    update(desk, "default", name=" main ")
    update(desk, "main", name="main")
    assert defaults(desk) == ["main"]


def test_expiry_is_set_and_cleared(desk: Desk) -> None:
    when = timezone.now() + SOON
    update(desk, "default", expires_at=when)
    assert desk.token_row().expires_at == when
    update(desk, "default", name="still")
    assert desk.token_row("still").expires_at == when
    update(desk, "still", clear_expiry=True)
    assert desk.token_row("still").expires_at is None
    for change in (
        lambda: update(desk, "still", expires_at=timezone.now() - SOON),
        lambda: desk.new_token("past", expires_at=timezone.now() - SOON),
    ):
        with pytest.raises(ValidationError, match="This time is past"):
            change()


def test_revealing_is_audited_and_the_secret_is_nowhere_else(desk: Desk) -> None:
    assert desk.ask(lambda: actions.reveal_join_token(desk.owner, JoinToken.objects.get())) == desk.token
    records = desk.ask(lambda: list(AuditRecord.objects.values()))
    assert "join-token.reveal" in {record["verb"] for record in records}
    assert desk.token not in str(records)


@pytest.mark.parametrize("role", ["reader", None])
def test_a_reader_changes_nothing(desk: Desk, actor: Callable[..., Actor], role: str | None) -> None:
    link, _ = desk.joined()
    who = actor("reader") if role else Actor("machine", "1", UUID, desk.organisation.id)
    token = desk.token_row()
    machine = desk.ask(lambda: Machine.objects.get(id=link.machine_id))
    changes: list[Callable[[], object]] = [
        lambda: actions.create_join_token(who, "mine"),
        lambda: actions.reveal_join_token(who, token),
        lambda: actions.revoke_join_token(who, token),
        lambda: actions.update_join_token(who, token, name="mine"),
        lambda: actions.set_machine_labels(who, machine, {}),
        lambda: actions.remove_machine(who, machine),
        lambda: actions.write_machine_class(who, "mine", [], {}),
    ]
    for change in changes:
        with pytest.raises(Denied):
            desk.ask(change)
    assert desk.machines() == [UUID]


# --- machines -----------------------------------------------------------------------------------------------------


def test_labels_are_replaced_audited_and_hinted(desk: Desk) -> None:
    link, _ = desk.joined()
    Outbox.objects.all().delete()
    for labels in ({"zone": "a", "example.com/rack": ""}, {"zone": "b"}):
        desk.ask(lambda labels=labels: actions.set_machine_labels(desk.owner, Machine.objects.get(), labels))
    assert desk.ask(Machine.objects.get).labels == {"zone": "b"}
    record = desk.ask(lambda: AuditRecord.objects.filter(verb="machine.label").latest("id"))
    assert record.details == {"before": {"zone": "a", "example.com/rack": ""}, "after": {"zone": "b"}}
    assert Outbox.objects.filter(kind="machine", object_id=link.machine_id).exists()


@pytest.mark.parametrize(
    "labels", [{"": "a"}, {"a b": "c"}, {"-a": "b"}, {"a": "b c"}, {"a": "x" * 64}, {"a/b/c": "d"}, {"a": 3}, {"ä": ""}]
)
def test_labels_that_kubernetes_would_refuse(desk: Desk, labels: dict[str, str]) -> None:
    desk.joined()
    with pytest.raises(ValidationError, match="is no label"):
        desk.ask(lambda: actions.set_machine_labels(desk.owner, Machine.objects.get(), labels))


def test_removing_a_machine_takes_everything_of_it(desk: Desk) -> None:
    link, _ = desk.joined()
    desk.ask(lambda: MachineEvent.new(machine_id=link.machine_id, at=timezone.now(), kind="x", summary="x"))
    desk.ask(lambda: actions.remove_machine(desk.owner, Machine.objects.get()))
    for model in (Machine, Link, MachineObservation, MachineEvent):
        assert not desk.ask(model.objects.exists)
    assert desk.ask(lambda: AuditRecord.objects.get(verb="machine.remove")).object_name == UUID


def test_a_machine_in_a_cluster_is_not_removed(desk: Desk) -> None:
    link, _ = desk.joined()

    def take() -> None:
        cluster = Cluster.new(
            name="lab", kubernetes_version="1.36.3", talos_version="1.13.8", initial_talos_version="1.13.8",
            balancer_port=10_000,
        )  # fmt: skip
        ClusterMachine.new(cluster=cluster, role="worker", machine_id=link.machine_id, kubernetes_version="1.36.3")

    desk.ask(take)
    with pytest.raises(ValidationError, match="belongs to cluster lab; remove it from the cluster first"):
        desk.ask(lambda: actions.remove_machine(desk.owner, Machine.objects.get()))
    assert desk.machines() == [UUID]


# --- machine classes ----------------------------------------------------------------------------------------------


def test_a_class_is_written_replaced_and_deleted(desk: Desk) -> None:
    for selectors in (["zone = a"], ["zone in (a, b)", "!gpu"]):
        desk.ask(lambda s=selectors: actions.write_machine_class(desk.owner, "small", s, {"x": 1}))
    row = desk.ask(MachineClass.objects.get)
    assert row.match_labels == ["zone in (a, b)", "!gpu"]
    desk.ask(lambda: actions.delete_machine_class(desk.owner, row))
    assert not desk.ask(MachineClass.objects.exists)


@pytest.mark.parametrize(("name", "selectors"), [("a/b", []), ("", []), ("x" * 64, []), ("ok", ["a b"]), ("ok", [""])])
def test_a_class_that_is_none(desk: Desk, name: str, selectors: list[str]) -> None:
    with pytest.raises(ValidationError):
        desk.ask(lambda: actions.write_machine_class(desk.owner, name, selectors, {}))
    assert not desk.ask(MachineClass.objects.exists)
