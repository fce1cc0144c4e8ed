"""Agents over REST, and at the command line."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from apps.machines import agents
from apps.machines.models import Agent, AgentTarget
from nodeagent.identity import Hardware
from omni.cli import agents as cli
from tests.apps.machines.desk import OTHER_UUID, UUID, Desk
from tests.apps.machines.test_agents import FOUND, NOBODY, OTHER_PRINT, enrolled, hello, note

Api = Callable[..., APIClient]
AGENTS = "/api/v1/organisations/acme/agents"


@pytest.fixture
def found(desk: Desk) -> Desk:
    """An agent that reaches a machine, found another one, and does not reach a third."""
    agent = enrolled(desk)
    agents.note_connected(agent, hello(None), "g1")
    note(agent)
    note(agent, replace(FOUND, hardware=Hardware(OTHER_UUID, OTHER_PRINT)), "10.6.0.3", named=False)
    note(agent, NOBODY, "10.6.0.4", named=False)
    return desk


def test_the_list_counts_without_asking_for_each(found: Desk, api: Api) -> None:
    client = api("reader")
    client.get(AGENTS)  # notes when the token was used
    with CaptureQueriesContext(connection) as first:
        [row] = client.get(AGENTS).json()["items"]
    assert (row["name"], row["machines"], row["found"], row["problems"]) == ("rack-7", 1, 1, 1)
    assert (row["state"]["word"], row["nodes"], row["networks"]) == ("Connected", ["10.5.0.2"], ["10.6.0.0/24"])
    assert "credential" not in str(row)
    for number in range(3):
        enrolled(found, f"more-{number}", str(number) * 43)
    with CaptureQueriesContext(connection) as second:
        assert len(client.get(AGENTS).json()["items"]) == 4
    assert len(second) == len(first)
    assert [row["name"] for row in client.get(AGENTS, {"q": "10.6.0.3"}).json()["items"]] == ["rack-7"]
    assert [row["name"] for row in client.get(AGENTS, {"q": "more-1"}).json()["items"]] == ["more-1"]
    assert client.get(AGENTS, {"q": "a\0"}).status_code == 400


def test_what_an_agent_reaches(found: Desk, api: Api) -> None:
    client = api("reader")
    assert client.get(f"{AGENTS}/rack-7").json()["source_address"] == "192.0.2.7"
    rows = {row["address"]: row for row in client.get(f"{AGENTS}/rack-7/targets").json()}
    assert (rows["10.5.0.2"]["machine"], rows["10.5.0.2"]["state"]["word"]) == (UUID, "Joined")
    assert (rows["10.6.0.3"]["machine"], rows["10.6.0.3"]["state"]["word"]) == (None, "New")
    assert rows["10.6.0.4"]["state"] == {
        "shape": "off", "word": "No answer", "sentence": "It does not answer: Connection refused",
    }  # fmt: skip
    assert client.get(f"{AGENTS}/unknown").status_code == 404


def test_accepting_over_rest(found: Desk, api: Api) -> None:
    client = api("operator")
    answer = client.post(f"{AGENTS}/rack-7/accept", {"addresses": ["10.6.0.3"]}, format="json")
    assert [row["machine"] for row in answer.json()] == [OTHER_UUID]
    assert sorted(found.machines()) == sorted([UUID, OTHER_UUID])


@pytest.mark.parametrize(
    ("addresses", "words"),
    [
        (["10.6.0.3", "10.6.0.4"], "does not answer"),
        (["10.5.0.2"], "accepted already"),
        (["10.6.0.3", "192.0.2.1"], "reaches nothing at 192.0.2.1"),
        ([], "at least 1"),
    ],
)
def test_what_is_not_accepted_leaves_nothing_behind(found: Desk, api: Api, addresses: list[str], words: str) -> None:
    answer = api("operator").post(f"{AGENTS}/rack-7/accept", {"addresses": addresses}, format="json")
    assert answer.status_code == 400
    assert words in answer.content.decode()
    assert found.machines() == [UUID]


def test_readers_only_look(found: Desk, api: Api) -> None:
    client = api("reader")
    assert client.post(f"{AGENTS}/rack-7/accept", {"addresses": ["10.6.0.3"]}, format="json").status_code == 403
    assert client.delete(f"{AGENTS}/rack-7").status_code == 403


def test_removing_over_rest(found: Desk, api: Api) -> None:
    client = api("operator")
    assert client.delete(f"{AGENTS}/rack-7").status_code == 204
    assert client.get(AGENTS).json()["items"] == []
    assert found.ask(AgentTarget.objects.count) == 0
    assert found.machines() == [UUID]
    assert found.ask(lambda: Agent.objects.get().removed_at) is not None


def test_accept_all_takes_what_is_new(found: Desk, api: Api) -> None:
    rows: list[dict[str, Any]] = api("reader").get(f"{AGENTS}/rack-7/targets").json()
    assert cli._new(rows) == ["10.6.0.3"]
