"""Machines and join tokens over REST."""

import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from apps.machines.models import LogChunk, Machine, MachineEvent, MachineObservation
from tests.apps.machines.desk import OTHER_UUID, UUID, Desk, key

Api = Callable[..., APIClient]
ROOT = "/api/v1/organisations/acme"
MACHINES, TOKENS = f"{ROOT}/machines", f"{ROOT}/join-tokens"
THEIRS = "/api/v1/organisations/umbrella"


def errors(response: Any) -> dict[str, str]:
    assert response.status_code == 400, response.content
    return {error["field"]: error["message"] for error in response.json()["errors"]}


# --- machines -----------------------------------------------------------------------------------------------------


def test_a_list_of_machines(desk: Desk, api: Api) -> None:
    link, token = desk.joined()
    desk.provision(OTHER_UUID, key(2))  # pending: no machine yet
    desk.ask(
        lambda: MachineObservation.objects.update(connected=True, reachable=True, stage="maintenance", hostname="m1")
    )
    response = api("reader").get(MACHINES)
    (item,) = response.json()["items"]
    assert (item["uuid"], item["hostname"], item["state"]["word"]) == (UUID, "m1", "Free")
    assert (item["overlay_address"], item["cluster"], item["stale"]) == (str(link.address), None, False)
    assert desk.token not in response.content.decode()
    assert token.token not in response.content.decode()


def test_a_list_takes_the_same_queries_for_one_and_for_many(desk: Desk, api: Api) -> None:
    client = api("reader")

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert client.get(MACHINES).status_code == 200
        return len(captured)

    desk.joined()
    client.get(MACHINES)
    one = queries()
    for number in range(2, 12):
        desk.joined(f"00000000-0000-4000-8000-{number:012d}", number)
    assert queries() == one


def test_one_machine_with_everything_it_reports(desk: Desk, api: Api) -> None:
    desk.joined()
    desk.ask(lambda: MachineObservation.objects.update(disks=[{"path": "/dev/sda"}], image_labels={"zone": "a"}))
    machine = api("reader").get(f"{MACHINES}/{UUID}").json()
    assert machine["observation"]["disks"] == [{"path": "/dev/sda"}]
    assert machine["join_token"] == "default"
    assert machine["all_labels"]["zone"] == "a"
    assert machine["conditions"] == []


def test_search_and_sorting(desk: Desk, api: Api) -> None:
    for number, name in enumerate(("b", "a", "c"), 1):
        link, _ = desk.joined(f"00000000-0000-4000-8000-{number:012d}", number)
        desk.ask(lambda id=link.machine_id, n=name: MachineObservation.objects.filter(machine_id=id).update(hostname=n))
    client = api("reader")
    for sort, order in (("name", "abc"), ("-name", "cba"), ("joined", "bac"), ("cluster", "bac"), ("memory", "bac")):
        items = client.get(MACHINES, {"sort": sort}).json()["items"]
        assert "".join(item["hostname"] for item in items) == order, sort
    assert len(client.get(MACHINES, {"q": "000000000002"}).json()["items"]) == 1
    assert "colour" in errors(client.get(MACHINES, {"q": "colour=red"}))["q"]
    assert client.get(MACHINES, {"q": "a\x00"}).status_code == 400


def test_labels(desk: Desk, api: Api) -> None:
    desk.joined()
    client, path = api("operator"), f"{MACHINES}/{UUID}/labels"
    assert client.put(path, {"labels": {"zone": "a"}}).json()["labels"] == {"zone": "a"}
    assert client.put(path, {"labels": {}}).json()["labels"] == {}
    assert "is no label key" in errors(client.put(path, {"labels": {"a b": "c"}}))["labels"]
    assert "labels" in errors(client.put(path, {}))
    for wrong in ([], "x", {"a": {"b": "c"}}):
        assert client.put(path, {"labels": wrong}).status_code == 400
    assert api("reader").put(path, {"labels": {}}).status_code == 403


def test_removing(desk: Desk, api: Api) -> None:
    desk.joined()
    assert api("reader").delete(f"{MACHINES}/{UUID}").status_code == 403
    client = api("operator")
    assert client.delete(f"{MACHINES}/{UUID}").status_code == 204
    assert client.delete(f"{MACHINES}/{UUID}").status_code == 404
    assert desk.machines() == []


def test_events_are_the_newest_first(desk: Desk, api: Api) -> None:
    link, _ = desk.joined()
    for n in range(3):
        desk.ask(
            lambda n=n: MachineEvent.new(
                machine_id=link.machine_id, at=timezone.now(), kind="PhaseEvent", summary=f"{n}"
            )
        )
    found = api("reader").get(f"{MACHINES}/{UUID}/events").json()
    assert [event["summary"] for event in found] == ["2", "1", "0"]
    client, path = api("operator"), f"{MACHINES}/{UUID}/events"
    assert [event["summary"] for event in client.get(path, {"after": found[2]["id"]}).json()] == ["2", "1"]
    assert [event["summary"] for event in client.get(path, {"limit": 1, "kind": "PhaseEvent"}).json()] == ["2"]
    assert client.get(path, {"q": "3"}).json() == []
    for name, wrong in (("kind", "Party"), ("after", "x"), ("limit", "-1"), ("since", "soon")):
        assert name in errors(client.get(path, {name: wrong}))


def test_log_lines(desk: Desk, api: Api) -> None:
    link, _ = desk.joined()
    lines = [b'{"facility":"kern","msg":"one\\n","talos-level":"info","talos-time":"T"}', b"two"]
    desk.ask(
        lambda: LogChunk.new(
            machine_id=link.machine_id, first_line=41, lines=2, at=timezone.now(), data=zlib.compress(b"\n".join(lines))
        )
    )
    client, path = api("reader"), f"{MACHINES}/{UUID}/logs"
    assert client.get(path).json() == [
        {"line": 41, "at": "T", "level": "info", "facility": "kern", "text": "one", "boot": False},
        {"line": 42, "at": "", "level": "", "facility": "", "text": "two", "boot": False},
    ]
    assert [line["line"] for line in client.get(path, {"after": 41}).json()] == [42]
    assert [line["line"] for line in client.get(path, {"tail": 1}).json()] == [42]
    nothing = client.get(path, {"after": 42})
    assert (nothing.json(), nothing["Omni-Last-Line"]) == ([], "42")
    assert client.get(path, {"q": "one"})["Omni-Last-Line"] == "42"
    assert [line["line"] for line in client.get(path, {"before": 42}).json()] == [41]
    for name, wrong in (("level", "loud"), ("since", "soon"), ("q", "a" * 201)):
        assert name in errors(client.get(path, {name: wrong}))
    for name in ("tail", "after", "before"):
        for wrong in ("-1", "x", "9" * 13, "1.5"):
            assert name in errors(client.get(path, {name: wrong}))


@pytest.mark.parametrize("path", [UUID, f"{UUID}/events", f"{UUID}/logs", "nonsense"])
def test_machines_of_others_are_not_there(desk: Desk, other_desk: Desk, api: Api, path: str) -> None:
    other_desk.joined()
    client = api("owner")
    assert client.get(f"{MACHINES}/{path}").status_code == 404
    assert client.get(f"{THEIRS}/machines/{path}").status_code == 404
    assert client.delete(f"{MACHINES}/{UUID}").status_code == 404
    assert other_desk.machines() == [UUID]


# --- join tokens --------------------------------------------------------------------------------------------------


def test_a_token_from_its_making_to_its_end(desk: Desk, api: Api) -> None:
    client = api("operator")
    made = client.post(TOKENS, {"name": "lab", "expires_at": (timezone.now() + timedelta(days=9)).isoformat()})
    assert made.status_code == 201
    assert (made.json()["state"]["word"], made.json()["is_default"]) == ("Active", False)
    path = f"{TOKENS}/{made.json()['id']}"
    changed = client.patch(path, {"name": "lab 2", "expires_at": None, "is_default": True}).json()
    assert (changed["name"], changed["expires_at"], changed["is_default"]) == ("lab 2", None, True)
    assert errors(client.post(f"{path}/revoke"))[""].startswith("lab 2 is the default join token")
    first = next(item for item in client.get(TOKENS).json()["items"] if item["name"] == "default")
    assert client.post(f"{TOKENS}/{first['id']}/revoke").json()["state"]["word"] == "Revoked"
    assert client.get(f"{TOKENS}/{first['id']}").json()["revoked_at"] is not None


def test_secrets_are_shown_by_reveal_alone(desk: Desk, api: Api) -> None:
    client = api("operator")
    made = client.post(TOKENS, {"name": "lab"})
    path = f"{TOKENS}/{made.json()['id']}"
    secret = client.post(f"{path}/reveal").json()["token"]
    assert len(secret) >= 43
    for response in (made, client.get(TOKENS), client.get(path), client.patch(path, {"name": "x"})):
        text = response.content.decode()
        assert secret not in text
        assert "sealed" not in text
        assert "hash" not in text


@pytest.mark.parametrize("tunnel", [False, True])
def test_what_reveal_gives(desk: Desk, api: Api, tunnel: bool) -> None:
    client = api("operator")
    token_id = client.get(TOKENS).json()["items"][0]["id"]
    response = client.post(f"{TOKENS}/{token_id}/reveal{'?tunnel=true' if tunnel else ''}")
    assert response["Cache-Control"] == "no-store"
    given = response.json()
    words = dict(word.split("=", 1) for word in given["kernel_arguments"].split(" "))
    assert list(words) == ["siderolink.api", "talos.events.sink", "talos.logging.kernel"]
    url = urlsplit(words["siderolink.api"])
    query = {"jointoken": [desk.token]} | ({"grpc_tunnel": ["true"]} if tunnel else {})
    assert (url.scheme, parse_qs(url.query)) == ("grpc", query)
    assert words["talos.events.sink"] == "[fdae:41e4:649b:9303::1]:8090"
    assert words["siderolink.api"] in given["documents"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 41}, "name"),
        ({"name": "default"}, "name"),
        ({"name": "lab", "expires_at": "yesterday"}, "expires_at"),
        ({"name": "lab", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "lab", "is_default": "perhaps"}, "is_default"),
    ],
)
def test_tokens_that_are_not_made(desk: Desk, api: Api, body: dict[str, Any], field: str) -> None:
    client = api("operator")
    assert field in errors(client.post(TOKENS, body))
    assert client.post(TOKENS, {"name": "a\x00b"}).status_code == 400
    assert len(client.get(TOKENS).json()["items"]) == 1


def test_a_reader_sees_no_tokens(desk: Desk, api: Api) -> None:
    client = api("reader")
    assert client.get(TOKENS).status_code == 403
    assert client.post(TOKENS, {"name": "x"}).status_code == 403
    for action in ("reveal", "revoke"):
        assert client.post(f"{TOKENS}/{desk.token_row().id}/{action}").status_code == 403


def test_tokens_of_others_are_not_there(desk: Desk, other_desk: Desk, api: Api) -> None:
    client, theirs = api("owner"), other_desk.token_row().id
    for root in (TOKENS, f"{THEIRS}/join-tokens"):
        assert client.get(f"{root}/{theirs}").status_code == 404
        assert client.patch(f"{root}/{theirs}", {"name": "x"}).status_code == 404
        assert client.post(f"{root}/{theirs}/reveal").status_code == 404
        assert client.post(f"{root}/{theirs}/revoke").status_code == 404
    assert other_desk.token_row().revoked_at is None


def test_the_same_name_twice_names_the_field(desk: Desk, api: Api) -> None:
    assert "exists already" in errors(api("operator").post(TOKENS, {"name": "default"}))["name"]
    assert desk.ask(Machine.objects.count) == 0
