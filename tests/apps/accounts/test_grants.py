"""What asks for access, and the page on which a person lets it in."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from apps.access.actor import Actor
from apps.accounts import grants
from apps.accounts.identity import from_token
from apps.accounts.login import ask_login, fetch_login
from apps.accounts.models import AccessKey, ApiToken, GrantRequest, Membership, User
from apps.audit.models import AuditRecord
from apps.tenants.ids import uuid7
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope

Member = Callable[..., User]

GIVEN: list[tuple[Actor, str]] = []
"""What the grants of `TRIAL` were given: actor and session."""


def take(actor: Actor, user: User, request: GrantRequest, session_key: str) -> str:
    GIVEN.append((actor, session_key))
    return str(request.details.get("answer", ""))


@pytest.fixture(autouse=True)
def trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kinds of our own in place of what talosctl and kubectl get."""
    GIVEN.clear()
    for kind in (GrantRequest.KEY, GrantRequest.KUBERNETES):
        monkeypatch.setitem(grants.KINDS, kind, f"{__name__}.take")


@pytest.fixture
def browser(member: Member) -> Client:
    return signed_in(member("admin"))


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def key(email: str = "admin@acme.example.com", **details: Any) -> GrantRequest:
    return grants.ask(GrantRequest.KEY, {"email": email, **details}, "192.0.2.9", fingerprint="ab12")[0]


def test_a_grant_gives_at_most_the_role_chosen(browser: Client, organisation: Organisation) -> None:
    request = key()
    page = browser.get(grants.path_of(request))
    text = page.content.decode()
    for shown in ("ab12", "192.0.2.9", "admin@acme.example.com", "Acme"):
        assert shown in text
    assert "no-store" in page["Cache-Control"]
    answer = browser.post(grants.path_of(request), {"answer": "grant", "organisation": "acme", "role": "reader"})
    assert answer.status_code == 302
    assert "Return to your terminal" in browser.get(answer.url).content.decode()
    ((actor, session),) = GIVEN
    assert (actor.role, actor.ceiling, actor.organisation_id) == ("reader", "reader", organisation.id)
    assert session == browser.session.session_key
    stored = GrantRequest.objects.get()
    assert (stored.granted, stored.organisation_id, stored.details["role"]) == (True, organisation.id, "reader")


def test_nobody_is_asked_before_they_sign_in(organisation: Organisation) -> None:
    path = grants.path_of(key())
    for answer in (Client().get(path), Client().post(path, {"answer": "grant"})):
        assert answer.url == f"/accounts/login/?next={path.replace('/', '%2F')}"
    assert GrantRequest.objects.get().granted is None


def test_a_form_from_elsewhere_grants_nothing(member: Member) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(member("admin"))
    answer = client.post(grants.path_of(key()), {"answer": "grant", "organisation": "acme", "role": "reader"})
    assert answer.status_code == 403
    assert not GIVEN


def test_a_key_is_granted_by_its_own_person_only(browser: Client) -> None:
    """Others see what they see where nothing waits: nobody learns who has an account."""
    request = key("somebody@else.example.com")
    nothing = browser.get(f"/grant/{uuid7()}")
    assert nothing.status_code == 404
    for answer in (
        browser.get(grants.path_of(request)),
        browser.post(grants.path_of(request), {"answer": "grant", "organisation": "acme", "role": "reader"}),
        browser.post(grants.path_of(request), {"answer": "refuse"}),
    ):
        assert answer.status_code == 404
        assert "somebody@" not in answer.content.decode()
        assert seen(answer) == seen(nothing)
    request.refresh_from_db()
    assert request.granted is None
    GrantRequest.objects.update(granted=False)
    assert seen(browser.get(grants.path_of(request))) == seen(nothing)


def seen(answer: HttpResponse) -> str:
    """A page without what differs each time."""
    return re.sub(r'/grant/[\w-]+|%2Fgrant%2F[\w-]+|(value|nonce|csrf)="[^"]*"', "", answer.content.decode())


@pytest.mark.parametrize("role", ["owner", "king", ""])
def test_no_role_is_granted_that_one_has_not(browser: Client, role: str) -> None:
    request = key()
    browser.post(grants.path_of(request), {"answer": "grant", "organisation": "acme", "role": role})
    request.refresh_from_db()
    assert request.granted is None
    assert "cannot be granted" in browser.get(grants.path_of(request)).content.decode()
    assert not GIVEN


def test_what_asks_for_less_gets_no_more(browser: Client) -> None:
    request = key(role="reader")
    assert grants.roles_for(request, "admin") == ["reader"]
    browser.post(grants.path_of(request), {"answer": "grant", "organisation": "acme", "role": "admin"})
    assert not GIVEN


def test_a_refused_request_stays_refused(browser: Client, organisation: Organisation) -> None:
    request, secret = grants.ask(GrantRequest.LOGIN, {"name": "x"}, "192.0.2.9")
    answer = browser.post(grants.path_of(request), {"answer": "refuse"})
    with tenant_scope(organisation.id):
        assert AuditRecord.objects.get(verb="account.refuse").details["asked_from"] == "192.0.2.9"
    assert "Refused" in browser.get(answer.url).content.decode()
    browser.post(grants.path_of(request), {"answer": "grant", "organisation": "acme", "role": "reader"})
    outcome = grants.outcome_of(secret, GrantRequest.LOGIN)
    assert outcome is not None
    assert outcome.state == "refused"


def test_requests_end(browser: Client) -> None:
    request, secret = grants.ask(GrantRequest.LOGIN, {"name": "x"}, "192.0.2.9", timedelta(seconds=-1))
    assert "This request is over" in browser.get(grants.path_of(request)).content.decode()
    browser.post(grants.path_of(request), {"answer": "grant", "organisation": "acme", "role": "reader"})
    outcome = grants.outcome_of(secret, GrantRequest.LOGIN)
    assert outcome is not None
    assert outcome.state == "expired"
    assert browser.get("/grant/00000000-0000-4000-8000-000000000000").status_code == 404
    assert grants.outcome_of("guess", GrantRequest.LOGIN) is None


def test_old_requests_are_forgotten(organisation: Organisation) -> None:
    grants.ask(GrantRequest.LOGIN, {}, "192.0.2.9", -2 * grants.KEPT)
    key()
    assert GrantRequest.objects.count() == 1


def test_one_address_asks_as_often_as_people_do(organisation: Organisation) -> None:
    for _ in range(grants.ASKED_A_MINUTE):
        key()
    with pytest.raises(grants.TooMany, match="wait a minute"):
        key()
    GrantRequest.objects.update(created_at=timezone.now() - timedelta(minutes=2))
    key()


def test_a_network_of_ipv6_is_one_address(organisation: Organisation) -> None:
    """Whoever has an address has a whole network of them."""
    for number in range(grants.ASKED_A_MINUTE):
        grants.ask(GrantRequest.LOGIN, {}, f"2001:db8::{number:x}")
    with pytest.raises(grants.TooMany, match="wait a minute"):
        grants.ask(GrantRequest.LOGIN, {}, "2001:db8::ffff")
    grants.ask(GrantRequest.LOGIN, {}, "2001:db8:0:1::1")


def test_with_several_organisations_one_is_chosen(
    browser: Client, other_organisation: Organisation, organisation: Organisation
) -> None:
    user = User.objects.get(email="admin@acme.example.com")
    with tenant_scope(other_organisation.id):
        Membership.new(user=user, role="reader")
    path = grants.path_of(key())
    text = browser.get(path).content.decode()
    assert "For which organisation?" in text
    browser.post(path, {"answer": "grant", "role": "reader"})
    browser.post(path, {"answer": "grant", "role": "admin", "organisation": "umbrella"})
    assert not GIVEN
    assert ">operator<" not in browser.get(f"{path}?organisation=umbrella").content.decode()
    browser.post(path, {"answer": "grant", "role": "reader", "organisation": "umbrella"})
    assert GIVEN[0][0].organisation_id == other_organisation.id


def test_a_request_may_be_for_one_organisation_alone(
    browser: Client, other_organisation: Organisation, actor: Callable[..., Actor]
) -> None:
    request, _ = grants.ask(
        GrantRequest.KUBERNETES, {"cluster": "prod"}, "192.0.2.9", organisation_id=other_organisation.id
    )
    page = browser.get(f"{grants.path_of(request)}?organisation=acme").content.decode()
    assert "has no place in the organisation" in page
    user = User.objects.get(email="admin@acme.example.com")
    with (
        tenant_scope(actor("admin").organisation_id),
        pytest.raises(ValidationError, match="another organisation"),
    ):
        grants.grant(actor("admin"), user, request.id, "reader", "")


@pytest.mark.parametrize(
    ("answer", "shown"),
    [("http://localhost:8000/?code=a&state=b", 'content="0;url=http://localhost:8000/?code=a&amp;state=b"'),
     ("K4F9-TR2W", "<pre tabindex=\"0\">K4F9-TR2W</pre>"), ("javascript:alert(1)", "<pre")],
)  # fmt: skip
def test_kubectl_is_brought_back(browser: Client, answer: str, shown: str) -> None:
    request, _ = grants.ask(GrantRequest.KUBERNETES, {"cluster": "prod", "answer": answer}, "192.0.2.9")
    page = browser.post(grants.path_of(request), {"answer": "grant", "organisation": "acme", "role": "reader"})
    assert shown in page.content.decode()
    assert 'href="javascript' not in page.content.decode()
    again = browser.post(grants.path_of(request), {"answer": "grant", "organisation": "acme", "role": "reader"})
    assert answer not in again.content.decode()


# `omni login`


def test_a_login_gives_its_token_once(browser: Client, organisation: Organisation) -> None:
    api = Client()
    asked = api.post("/api/v1/login-requests", {"host": "laptop"}, "application/json")
    assert asked.status_code == 201
    given = asked.json()
    fetch = {"secret": given["secret"]}
    assert api.post("/api/v1/login-requests/fetch", fetch, "application/json").json()["state"] == "waiting"
    path = f"/grant/{given['id']}"
    page = browser.get(path).content.decode()
    assert given["code"] in page
    assert given["secret"] not in page
    browser.post(path, {"answer": "grant", "organisation": "acme", "role": "operator"})
    fetched = api.post("/api/v1/login-requests/fetch", fetch, "application/json").json()
    assert (fetched["state"], fetched["organisation"]) == ("granted", "acme")
    identity = from_token(fetched["token"])
    assert identity is not None
    assert identity.token is not None
    assert (identity.token.name, identity.token.role) == ("omni login on laptop", "operator")
    assert timedelta(days=29) < identity.token.expires_at - timezone.now() < timedelta(days=31)
    again = api.post("/api/v1/login-requests/fetch", fetch, "application/json").json()
    assert again == {"state": "used", "token": None, "organisation": None}
    with tenant_scope(organisation.id):
        made = AuditRecord.objects.get(verb="api-token.create")
        assert made.actor_name == "admin@acme.example.com"
        noted = AuditRecord.objects.get(verb="login.grant")
        assert noted.details == {"role": "operator", "asked_from": "127.0.0.1"}


def test_who_was_removed_meanwhile_gets_no_token(browser: Client, organisation: Organisation) -> None:
    request, secret = ask_login("laptop", "192.0.2.9")
    browser.post(grants.path_of(request), {"answer": "grant", "organisation": "acme", "role": "reader"})
    with tenant_scope(organisation.id):
        Membership.objects.all().delete()
    fetched = fetch_login(secret, "r", "192.0.2.9")
    assert fetched is not None
    assert (fetched.state, fetched.token) == ("refused", None)
    with tenant_scope(organisation.id):
        assert not ApiToken.objects.exists()
        assert not AccessKey.objects.exists()


@pytest.mark.parametrize("host", ["", "x" * 61, "a\nb", "a\0b"])
def test_hosts_have_names(organisation: Organisation, host: str) -> None:
    answer = Client().post("/api/v1/login-requests", {"host": host}, "application/json")
    assert answer.status_code == 400
    assert not GrantRequest.objects.exists()


def test_asking_too_often_is_told_when_to_come_back(organisation: Organisation) -> None:
    for _ in range(grants.ASKED_A_MINUTE):
        ask_login("laptop", "127.0.0.1")
    answer = Client().post("/api/v1/login-requests", {"host": "laptop"}, "application/json")
    assert (answer.status_code, answer["Retry-After"]) == (429, "60")


def test_a_guessed_secret_is_told_nothing(organisation: Organisation) -> None:
    answer = Client().post("/api/v1/login-requests/fetch", {"secret": "guess"}, "application/json")
    assert answer.status_code == 404
