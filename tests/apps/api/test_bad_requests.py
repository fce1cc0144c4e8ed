"""Requests that no client of ours sends: each is answered with what is wrong with it, and none with 500."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from rest_framework.test import APIClient

ACME = "/api/v1/organisations/acme"


@pytest.fixture
def client(api: Callable[..., APIClient]) -> APIClient:
    """An owner's, who gets an answer even if the server raises."""
    made = api("owner")
    made.raise_request_exception = False
    return made


def cursor(*values: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


NOTHING = "00000000-0000-0000-0000-000000000000"
WRONG = [[], {}, ["a"], {"a": 1}, True, -1, 1.5, 10**30, "x", "\0", "\ud800", float("nan"), "0001-01-01T00:00:00+23:59"]


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("resource", ["audit", "members", "machines", "clusters", "join-tokens"])
def test_forged_cursors(client: APIClient, resource: str, value: Any) -> None:
    for sort in ("", "name", "-joined", "created", "at", "cores"):
        for values in ([value, value], [value, NOTHING], [value, value, NOTHING]):
            answer = client.get(f"{ACME}/{resource}", {"sort": sort, "cursor": cursor(sort, *values)})
            assert answer.status_code in (200, 400), (sort, values, answer.content)


@pytest.mark.parametrize("limit", ["9" * 30, "9" * 5000, "-1", "²", "1e3", ""])
def test_limits_that_are_no_numbers(client: APIClient, limit: str) -> None:
    answer = client.get(f"{ACME}/members", {"limit": limit})
    assert answer.status_code == 400
    assert "is not a number from 1 to 500" in answer.json()["detail"]


@pytest.mark.parametrize("method", ["SEARCH", "FIND", "SETUP", "PERMIT", "ENTER", "OPTIONS", "TRACE", "PURGE"])
def test_methods_that_name_our_functions(client: APIClient, method: str) -> None:
    assert client.generic(method, f"{ACME}/machines").status_code == 405


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"email": "a\\u0000b", "role": "reader"}', "NUL"),
        ('{"email": "\\ud800", "role": "reader"}', "surrogate"),
        ('{"a\\u0000": 1}', "NUL"),
        ('{"a":' * 20000 + "1" + "}" * 20000, "nested too deeply"),
        ("[" * 100000, "nested too deeply"),
        ('{"email": NaN}', "JSON parse error"),
        ('{"email": ' + "9" * 10000 + "}", "JSON parse error"),
        (b"\xff\xfe", "JSON parse error"),
    ],
)
def test_bodies_that_cannot_be_stored(client: APIClient, body: str | bytes, words: str) -> None:
    answer = client.generic("POST", f"{ACME}/members", body, content_type="application/json")
    assert answer.status_code == 400, answer.content
    assert words in answer.json()["detail"]


def test_lists_where_an_object_is_expected(client: APIClient) -> None:
    made = client.post(f"{ACME}/machine-classes", {"name": "big", "match_labels": ["a = b"]})
    assert made.status_code == 201
    for resource in ("machine-classes/big", "clusters/none", "machines/none/labels"):
        assert client.put(f"{ACME}/{resource}", [[1]]).status_code in (400, 404), resource


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DataError("integer out of range\nCONTEXT: a query"), 400),
        (IntegrityError("duplicate key"), 409),
        (OperationalError("the connection is closed"), 503),
        (InterfaceError("connection already closed"), 503),
    ],
)
def test_what_the_database_says(
    client: APIClient, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def fail(self: Any) -> Any:
        raise error

    monkeypatch.setattr("apps.accounts.api.MemberViewSet.get_queryset", fail)
    answer = client.get(f"{ACME}/members")
    assert answer.status_code == status
    assert "CONTEXT" not in answer.json()["detail"]
