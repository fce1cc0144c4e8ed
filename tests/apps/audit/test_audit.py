"""The audit: filters that page, REST and command share, cursors, and files."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import AsyncClient, Client
from rest_framework.test import APIClient

from apps.access.actor import Actor
from apps.accounts.actions import create_api_token
from apps.accounts.models import Membership, User
from apps.audit import queries
from apps.audit.actions import record
from apps.audit.models import AuditRecord
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread

AUDIT = "/api/v1/organisations/acme/audit"
NOW = datetime(2026, 11, 24, 2, 20, tzinfo=UTC)


@pytest.fixture
def records(organisation: Organisation, actor: Callable[..., Actor]) -> Organisation:
    with tenant_scope(organisation.id):
        record(actor("owner"), "cluster.create", "cluster", "id-1", "prod")
        record(actor("operator"), "machine.label", "machine", "id-2", "m-1", outcome="failed", after={"a": "b"})
        record(actor("operator"), "cluster.destroy", "cluster", "id-3", "lab")
    return organisation


@pytest.fixture
def browser(member: Callable[..., User]) -> Client:
    client = Client()
    client.force_login(member("admin"))
    return client


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("24h", NOW - timedelta(hours=24)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-11-23", datetime(2026, 11, 23, tzinfo=UTC)),
        ("2026-11-23T05:00:00+01:00", datetime(2026, 11, 23, 4, tzinfo=UTC)),
    ],
)
def test_moments(text: str, moment: datetime) -> None:
    assert queries.moment(text, NOW) == moment


@pytest.mark.parametrize(
    "text", ["yesterday", "24", "-1h", "2026-13-01", "9999999h", "999999w", "2026-11-23T25:00:00Z", "1h1m"]
)
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match="is no time; give"):
        queries.moment(text, NOW)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"verb": "cluster.destroy"}, ["lab"]),
        ({"verb": "cluster.*"}, ["lab", "prod"]),
        ({"verb": "clus"}, []),
        ({"actor": "OPER"}, ["lab", "m-1"]),
        ({"object": "ro"}, ["prod"]),
        ({"object": "id-3"}, ["lab"]),
        ({"object_kind": "machine"}, ["m-1"]),
        ({"outcome": "failed"}, ["m-1"]),
        ({"since": "1h"}, ["lab", "m-1", "prod"]),
        ({"until": "1h"}, []),
        ({"q": "cluster owner"}, ["prod"]),
        ({"q": "request-1"}, ["lab", "m-1", "prod"]),
        ({"verb": "cluster.*", "actor": "owner"}, ["prod"]),
    ],
)
def test_filters_are_the_same_everywhere(
    records: Organisation, api: Callable[..., APIClient], browser: Client, query: dict[str, str], found: list[str]
) -> None:
    with tenant_scope(records.id):
        first = AuditRecord.objects.latest("id").id  # before the token of this test is made
    rows = api("admin", user=User.objects.get()).get(AUDIT, {**query, "sort": "-at"}).json()["items"]
    assert [row["object_name"] for row in rows if row["id"] <= str(first)] == found
    text = browser.get("/o/acme/audit", query).content.decode()
    shown = [name for name in ("lab", "m-1", "prod") if f" {name}</td>" in text or f">{name}</a></td>" in text]
    assert shown == found


@pytest.mark.parametrize("query", [{"since": "yesterday"}, {"after": "x"}, {"until": "99999999d"}])
def test_a_filter_that_is_wrong(
    records: Organisation, api: Callable[..., APIClient], browser: Client, query: dict[str, str]
) -> None:
    answer = api("admin", user=User.objects.get()).get(AUDIT, query)
    assert answer.status_code == 400
    page = browser.get("/o/acme/audit", query)
    assert page.status_code == 200
    assert 'role="alert"' in page.content.decode()


def test_newer_than_the_last_one_seen(records: Organisation, api: Callable[..., APIClient]) -> None:
    client = api("admin")
    last = client.get(AUDIT, {"sort": "-at", "limit": 1}).json()["items"][0]["id"]
    assert client.get(AUDIT, {"after": last}).json()["items"] == []
    with tenant_scope(records.id):
        record(Actor("system", "x", "x", records.id), "cluster.bootstrapped", "cluster", "", "new")
    assert [row["object_name"] for row in client.get(AUDIT, {"after": last}).json()["items"]] == ["new"]


def test_the_page_by_cursor(organisation: Organisation, actor: Callable[..., Actor], browser: Client) -> None:
    with tenant_scope(organisation.id):
        for number in range(120):
            record(actor(), "machine.label", "machine", "", f"n{number:03d}")
        ids = [str(row.id) for row in AuditRecord.objects.order_by("-id")]
    first = browser.get("/o/acme/audit").content.decode()
    assert "Newest 50 of 120" in first
    second = browser.get("/o/acme/audit", {"before": ids[49]}).content.decode()
    assert "n069" in second
    assert "n070" not in second
    assert "<html" not in second
    assert "data-more" not in browser.get("/o/acme/audit", {"before": ids[99]}).content.decode()
    assert "3 new" in browser.get("/o/acme/audit/new", {"after": ids[3]}).content.decode()


def test_filters_that_leave_nothing_say_which_to_drop(records: Organisation, browser: Client) -> None:
    text = browser.get("/o/acme/audit", {"verb": "cluster.*", "object": "nothing"}).content.decode()
    assert "Without <code>on=nothing</code> there are 2." in text
    assert "Drop on=nothing" in text


def test_no_query_per_row(
    organisation: Organisation, actor: Callable[..., Actor], browser: Client, django_assert_max_num_queries: Any
) -> None:
    with tenant_scope(organisation.id):
        for number in range(60):
            record(actor(), "machine.label", "machine", "", f"n{number:03d}")
    with django_assert_max_num_queries(25):
        browser.get("/o/acme/audit")


def test_cells_that_a_spreadsheet_would_run(records: Organisation, actor: Callable[..., Actor]) -> None:
    with tenant_scope(records.id):
        record(actor(), "machine.label", "machine", "", "=HYPERLINK(1)", note='a,\n"b"')
        text = queries.as_csv(list(AuditRecord.objects.order_by("-id")[:1]), heads=True)
    (row,) = list(csv.DictReader(io.StringIO(text)))
    assert row["object_name"] == "'=HYPERLINK(1)"
    assert json.loads(row["details"]) == {"note": 'a,\n"b"'}


@pytest.fixture
def committed(transactional_db: None, organisation: Organisation) -> tuple[Organisation, str]:
    """More records than are read at a time, and an admin's token."""
    user = User.objects.create_user("ana@example.com")
    with tenant_scope(organisation.id):
        Membership.new(user=user, role="admin")
        acting = Actor("user", str(user.id), user.email, organisation.id, "admin")
        rows = [
            AuditRecord(organisation_id=organisation.id, actor_name="a", actor_kind="user", verb="machine.label",
                        object_kind="machine", object_name=f"n{number:04d}")
            for number in range(queries.CHUNK + 5)
        ]  # fmt: skip
        AuditRecord.objects.bulk_create(rows)
        return organisation, create_api_token(acting, user, "ci", "admin").secret


async def test_a_file_of_everything_is_written_while_it_is_read(committed: tuple[Organisation, str]) -> None:
    organisation, secret = committed
    signed = {"authorization": f"Bearer {secret}"}
    answer: Any = await AsyncClient().get(f"{AUDIT}/export", {"as": "csv", "verb": "machine.*"}, headers=signed)
    parts = [part async for part in answer.streaming_content]
    assert len(parts) == 3, "two with records, and the end"
    rows = list(csv.DictReader(io.StringIO(b"".join(parts).decode())))
    assert [rows[0]["object_name"], rows[-1]["object_name"]] == [f"n{queries.CHUNK + 4:04d}", "n0000"]
    assert len(rows) == queries.CHUNK + 5
    answer = await AsyncClient().get(f"{AUDIT}/export", {"as": "json", "q": "n0007"}, headers=signed)
    (line,) = [json.loads(line) for line in b"".join([p async for p in answer.streaming_content]).splitlines()]
    assert line["object_name"] == "n0007"

    def exports() -> list[dict[str, Any]]:
        with tenant_scope(organisation.id):
            return [row.details for row in AuditRecord.objects.filter(verb="audit.export").order_by("id")]

    assert await in_thread(exports) == [
        {"form": "csv", "filters": {"verb": "machine.*"}},
        {"form": "json", "filters": {"q": "n0007"}},
    ]


def test_a_form_that_is_not_written(api: Callable[..., APIClient]) -> None:
    answer = api("admin").get(f"{AUDIT}/export", {"as": "xlsx"})
    assert answer.status_code == 400
    assert "choose one of csv, json" in answer.json()["detail"]


@pytest.mark.parametrize("since", ["yesterday", "\0", "999999w"])
def test_no_file_of_everything_for_a_filter_that_is_wrong(browser: Client, since: str) -> None:
    answer = browser.get("/o/acme/audit/export", {"since": since})
    assert answer.status_code == 400
    assert answer["Content-Type"].startswith("text/plain")


def test_a_nul_character_finds_nothing(browser: Client) -> None:
    assert browser.get("/o/acme/audit/export", {"q": "\0"}).status_code == 200
    assert browser.get("/o/acme/agents/%00").status_code == 404
