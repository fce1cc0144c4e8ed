"""Second factors: an authenticator app and recovery codes, at sign-in and before changes; and organisations that ask
for one. Passkeys are tried in a browser (`tests/browser`)."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.test import Client
from rest_framework.test import APIClient

from apps.access.actor import Actor
from apps.accounts import grants
from apps.accounts.credentials import has_second_factor
from apps.accounts.factors import reset_second_factor, second_factors
from apps.accounts.identity import Identity, actor_in
from apps.accounts.links import make_sign_in_link
from apps.accounts.models import GrantRequest, User
from apps.audit.models import AuditRecord
from apps.tenants.actions import require_second_factor
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope

PASSWORD = "correct horse battery"
AT = "/accounts/second-factor"


def code(key: str, steps: int = 0) -> str:
    """What an authenticator app shows, so many half minutes from now."""
    return format_hotp_value(hotp_value(key, int(time.time()) // 30 + steps))


@pytest.fixture
def user(member: Callable[..., User]) -> User:
    person = member("owner")
    person.set_password(PASSWORD)
    person.save()
    return person


@pytest.fixture
def browser(user: User) -> Client:
    """Signed in, and confirmed a moment ago."""
    client = Client()
    client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return client


@pytest.fixture
def key(browser: Client) -> str:
    """The key of an authenticator app that was set up."""
    page = browser.get(f"{AT}/app").content.decode()
    found = re.search(r"<pre[^>]*>([A-Z2-7]{32})</pre>", page)
    assert found is not None
    answer = browser.post(f"{AT}/app", {"code": code(found[1])})
    assert answer.url == f"{AT}/recovery-codes"
    return found[1]


@pytest.fixture
def codes(key: str, browser: Client) -> list[str]:
    """Recovery codes, as they are shown the one time."""
    return re.findall(r"<li>(\d{4} \d{4})</li>", browser.get(f"{AT}/recovery-codes").content.decode())


def after_password(user: User) -> Client:
    """Somebody whose password was right, and who is asked for more."""
    client = Client()
    answer = client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})
    assert answer.url == f"{AT}/code"
    return client


def is_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def is_strict(organisation: Organisation) -> bool:
    with tenant_scope(organisation.id):
        return Organisation.objects.get(id=organisation.id).second_factor_required


def said(organisation: Organisation) -> list[Any]:
    with tenant_scope(organisation.id):
        return [row.details for row in AuditRecord.objects.filter(verb="account.second-factor").order_by("id")]


def test_changes_are_guarded_by_the_password(user: User) -> None:
    client = Client()
    client.force_login(user)
    for path in ("app", "passkeys/new", "recovery-codes/new"):
        assert client.get(f"{AT}/{path}").url.startswith("/accounts/reauthenticate/")


def test_an_app_is_asked_for_after_the_password(
    user: User, key: str, organisation: Organisation, django_capture_on_commit_callbacks: Any
) -> None:
    client = after_password(user)
    assert not is_in(client)
    wrong = client.post(f"{AT}/code", {"code": "000000"})
    assert b"That code is wrong" in wrong.content
    assert not is_in(client)
    client.post(f"{AT}/code", {"code": code(key, 1)})
    assert is_in(client)
    assert second_factors(user) == ["recovery codes", "authenticator app"]


def test_a_code_is_taken_once(user: User, key: str) -> None:
    once = code(key, 1)
    for expected in (True, False):
        client = after_password(user)
        client.post(f"{AT}/code", {"code": once})
        assert is_in(client) == expected


def test_wrong_codes_are_counted_for_the_person(user: User, key: str) -> None:
    client = after_password(user)
    for _ in range(5):
        client.post(f"{AT}/code", {"code": "000000"})
    other = after_password(user)
    page = other.post(f"{AT}/code", {"code": code(key, 1)})
    assert b"Too many wrong tries" in page.content
    assert not is_in(other)


def test_wrong_passwords_are_counted(user: User, client: Client) -> None:
    for _ in range(5):
        client.post("/accounts/login/", {"login": user.email, "password": "wrong"})
    page = client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})
    assert b"Too many wrong tries" in page.content
    assert not is_in(client)


def test_secrets_are_sealed(user: User, key: str, codes: list[str]) -> None:
    stored = str(list(Authenticator.objects.values_list("data", flat=True)))
    assert key not in stored
    for one in codes:
        assert one.replace(" ", "") not in stored


def test_recovery_codes_are_shown_once_and_taken_once(user: User, browser: Client, codes: list[str]) -> None:
    assert len(codes) == 10
    again = browser.get(f"{AT}/recovery-codes").content.decode()
    assert not any(one in again for one in codes)
    assert "10 of 10 are left" in again
    for expected in (True, False):
        client = after_password(user)
        client.post(f"{AT}/code", {"code": codes[3]})
        assert is_in(client) == expected
    struck = browser.get(f"{AT}/recovery-codes").content.decode()
    assert struck.count("<s>") == 1
    assert "9 of 10 are left" in struck


def test_new_recovery_codes_end_the_old_ones(user: User, browser: Client, codes: list[str]) -> None:
    assert browser.post(f"{AT}/recovery-codes/new").url == f"{AT}/recovery-codes"
    fresh = browser.get(f"{AT}/recovery-codes").content.decode()
    assert not any(one in fresh for one in codes)
    client = after_password(user)
    client.post(f"{AT}/code", {"code": codes[0]})
    assert not is_in(client)


def test_with_the_last_factor_its_recovery_codes_go(user: User, browser: Client, codes: list[str]) -> None:
    browser.post(f"{AT}/app/remove")
    assert not Authenticator.objects.exists()
    client = Client()
    client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})
    assert is_in(client)


def test_a_one_time_link_asks_for_the_second_factor_too(user: User, key: str) -> None:
    client = Client()
    assert client.post(make_sign_in_link(user)).url == f"{AT}/code"
    assert not is_in(client)
    client.post(f"{AT}/code", {"code": code(key, 1)})
    assert is_in(client)


def test_what_changed_is_in_the_audit_of_each_organisation(
    user: User, organisation: Organisation, browser: Client, django_capture_on_commit_callbacks: Any
) -> None:
    page = browser.get(f"{AT}/app").content.decode()
    found = re.search(r"<pre[^>]*>([A-Z2-7]{32})</pre>", page)
    assert found is not None
    with django_capture_on_commit_callbacks(execute=True):
        browser.post(f"{AT}/app", {"code": code(found[1])})
    browser.post(f"{AT}/app/remove")
    assert reset_second_factor(user, "omni admin") == 0
    what = [(row["change"], row.get("what")) for row in said(organisation)]
    assert sorted(what[:2]) == [("added", "authenticator app"), ("added", "recovery codes")]
    assert sorted(what[2:4]) == [("removed", "authenticator app"), ("removed", "recovery codes")]
    assert what[4:] == [("reset", None)]
    assert not any(found[1] in str(row) for row in said(organisation))


def test_who_lost_everything_is_let_in_by_the_server(user: User, key: str) -> None:
    assert reset_second_factor(user, "omni admin") == 2
    assert not has_second_factor(user)
    client = Client()
    client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})
    assert is_in(client)


# Organisations that ask their members for one


@pytest.fixture
def strict(organisation: Organisation) -> Organisation:
    with tenant_scope(organisation.id):
        Organisation.objects.filter(id=organisation.id).update(second_factor_required=True)
    return organisation


def test_members_without_one_are_sent_to_set_it_up(user: User, strict: Organisation, browser: Client) -> None:
    for path in ("/o/acme/", "/o/acme/settings", "/o/acme/account"):
        assert browser.get(path).url == f"{AT}/"
    assert "Acme asks every member" in browser.get(f"{AT}/").content.decode()
    assert browser.get("/api/v1/organisations/acme/members").status_code == 404
    assert actor_in(Identity(user), strict.id, "r", "s") is None


def test_those_with_one_and_their_tokens_go_on(
    user: User, strict: Organisation, api: Callable[..., APIClient], key: str, browser: Client
) -> None:
    assert browser.get("/o/acme/").status_code == 200
    assert api("reader").get("/api/v1/organisations/acme/members").status_code == 200


def test_nothing_is_granted_without_it(user: User, strict: Organisation, browser: Client) -> None:
    request, _ = grants.ask(GrantRequest.LOGIN, {"name": "omni login"}, "192.0.2.9")
    form = {"answer": "grant", "organisation": "acme", "role": "reader"}
    for answer in (browser.get(grants.path_of(request)), browser.post(grants.path_of(request), form)):
        assert answer.url == f"{AT}/"
    request.refresh_from_db()
    assert request.granted is None


def test_nobody_shuts_themselves_out(user: User, organisation: Organisation, browser: Client) -> None:
    page = browser.post("/o/acme/settings/second-factor", {"required": "yes"}, follow=True).content.decode()
    assert "Set up a second factor of your own first" in page
    assert not is_strict(organisation)


def test_an_owner_asks_for_it_and_takes_that_back(
    user: User, organisation: Organisation, browser: Client, key: str
) -> None:
    for wanted, expected in (("yes", True), ("yes", True), ("no", False)):
        browser.post("/o/acme/settings/second-factor", {"required": wanted})
        assert is_strict(organisation) == expected
    with tenant_scope(organisation.id):
        rows = AuditRecord.objects.filter(verb="organisation.update").order_by("id")
        assert [row.details["second_factor_required"] for row in rows] == [True, False]


def test_only_owners_ask_for_it(organisation: Organisation, actor: Callable[..., Actor]) -> None:
    with tenant_scope(organisation.id), pytest.raises(PermissionError, match="needs owner"):
        require_second_factor(actor("admin"), organisation, True, True)
