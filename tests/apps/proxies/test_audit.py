"""The audit of proxied calls: in order, bounded, and never lost where it can be helped."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError

from apps.access.actor import Actor
from apps.audit.actions import Entry
from apps.audit.models import AuditRecord
from apps.proxies import audit
from apps.proxies.audit import Journal
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread

pytestmark = pytest.mark.django_db(transaction=True)


def entry(actor: Actor, number: int = 0) -> Entry:
    return Entry(actor, audit.TALOS, "machine", "uuid", "m-1", "done", {"number": number})


async def rows(organisation: Organisation) -> list[tuple[str, dict[str, Any]]]:
    """Verb and details, the oldest first."""

    def read() -> list[tuple[str, dict[str, Any]]]:
        with tenant_scope(organisation.id):
            return list(AuditRecord.objects.order_by("id").values_list("verb", "details"))

    return await in_thread(read)


async def test_rows_are_written_in_order_to_their_organisations(
    actor: Callable[..., Actor], organisation: Organisation, other_organisation: Organisation
) -> None:
    journal, mine, theirs = Journal(), actor("owner"), actor("owner", other_organisation)
    for number in range(10):
        journal.note(entry(mine if number % 2 else theirs, number))
    await journal.flush()
    assert [details["number"] for _, details in await rows(organisation)] == [1, 3, 5, 7, 9]
    assert [details["number"] for _, details in await rows(other_organisation)] == [0, 2, 4, 6, 8]


async def test_a_flood_is_counted(
    actor: Callable[..., Actor], organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "ROOM", 5)
    journal = Journal()
    for number in range(12):
        journal.note(entry(actor("owner"), number))
    await journal.flush()
    written = await rows(organisation)
    assert [details.get("number") for _, details in written] == [0, 1, 2, 3, 4, None]
    assert written[-1] == (audit.DROPPED, {"rows": 7})
    journal.note(entry(actor("owner"), 12))
    await journal.flush()
    assert len(await rows(organisation)) == 7


async def test_refusals_of_one_key_are_limited(actor: Callable[..., Actor], organisation: Organisation) -> None:
    journal, key, other = Journal(), uuid4(), uuid4()
    for number in range(audit.REFUSALS + 5):
        journal.refused(key, entry(actor("owner"), number))
    journal.refused(other, entry(actor("owner"), 100))
    await journal.flush()
    written = await rows(organisation)
    assert len(written) == audit.REFUSALS + 2
    assert written[-1] == (audit.DROPPED, {"rows": 5})


async def test_nothing_is_lost_while_the_database_is_away(
    actor: Callable[..., Actor], organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, write = Journal(), audit._write

    def fail(*_: Any) -> None:
        raise OperationalError("it is being started again")

    for number in range(3):
        journal.note(entry(actor("owner"), number))
    monkeypatch.setattr(audit, "_write", fail)
    with pytest.raises(OperationalError):
        await journal.flush()
    journal.note(entry(actor("owner"), 3))
    monkeypatch.setattr(audit, "_write", write)
    await journal.flush()
    assert [details["number"] for _, details in await rows(organisation)] == [0, 1, 2, 3]


async def test_a_row_that_cannot_be_stored_holds_up_no_others(
    actor: Callable[..., Actor], organisation: Organisation
) -> None:
    journal = Journal()
    for text in ("a", "b\0", "c", "d\ud800", "e"):
        journal.note(Entry(actor("owner"), audit.TALOS, "machine", details={"text": text}))
    await journal.flush()
    assert [details["text"] for _, details in await rows(organisation)] == ["a", "c", "e"]


async def test_plain_reads_of_a_kind_are_written_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    journal, key, cluster = Journal(), uuid4(), uuid4()
    assert journal.first_read(key, cluster, "pods")
    assert not journal.first_read(key, cluster, "pods")
    assert journal.first_read(key, cluster, "secrets")
    assert journal.first_read(key, uuid4(), "pods")
    assert journal.first_read(uuid4(), cluster, "pods")
    monkeypatch.setattr(audit, "READS_SECONDS", -1.0)
    assert journal.first_read(key, cluster, "nodes")
    assert journal.first_read(key, cluster, "nodes")


@pytest.mark.parametrize(
    ("code", "changes", "outcome"),
    [
        ("OK", True, "done"),
        ("CANCELLED", False, "done"),
        ("CANCELLED", True, "failed"),
        ("PERMISSION_DENIED", False, "refused"),
        ("UNAVAILABLE", False, "failed"),
    ],
)
def test_outcomes_of_calls(code: str, changes: bool, outcome: str) -> None:
    assert audit.talos_outcome(code, changes) == outcome


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("200", "done"), ("101", "done"), ("409", "failed"), ("403", "refused"), ("500", "failed"), ("", "failed")],
)
def test_outcomes_of_requests(status: str, outcome: str) -> None:
    assert audit.kubernetes_outcome(status) == outcome
