"""Where a person is signed in, and what ends with it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from apps.access.actor import Actor
from apps.accounts import sessions
from apps.accounts.actions import revoke_credentials
from apps.accounts.identity import from_key, from_token
from apps.accounts.login import ask_login, fetch_login
from apps.accounts.models import AccessKey, ApiToken, Membership, User
from apps.audit.models import AuditRecord
from apps.reconcile import outbox
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from tests.apps.proxies.conftest import make_cluster

PASSWORD = "correct horse battery"
REST = "/api/v1/me/sessions"


@pytest.fixture
def user(member: Callable[..., User], other_organisation: Organisation) -> User:
    """Somebody in two organisations."""
    person = member("owner")
    person.set_password(PASSWORD)
    person.save()
    with tenant_scope(other_organisation.id):
        Membership.new(user=person, role="reader")
    return person


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def key_of(user: User, client: Client, within: Organisation) -> AccessKey:
    """An access key that a browser granted."""
    session_key = client.session.session_key
    ends = timezone.now() + timedelta(hours=1)
    with tenant_scope(within.id):
        return AccessKey.new(
            kind="pgp",
            fingerprint=f"{within.slug}-{session_key}",
            name="talosctl",
            user=user,
            role="reader",
            session_key=session_key,
            expires_at=ends,
        )


def revoked(key: AccessKey) -> bool:
    with tenant_scope(key.organisation_id):
        return AccessKey.objects.get(id=key.id).revoked_at is not None


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What watchers and gateways hear of."""
    heard: list[Any] = []
    original = outbox.changed

    def changed(kind: str, object_id: Any, organisation_id: Any) -> None:
        heard.append((kind, object_id, organisation_id))
        original(kind, object_id, organisation_id)

    monkeypatch.setattr("apps.accounts.credentials.changed", changed)
    return heard


def test_ending_a_session_ends_what_it_granted_everywhere(
    user: User, organisation: Organisation, other_organisation: Organisation, told: list[Any]
) -> None:
    here, elsewhere = signed_in(user), signed_in(user)
    kept = key_of(user, here, organisation)
    gone = [key_of(user, elsewhere, place) for place in (organisation, other_organisation)]
    page = here.get("/o/acme/account").content.decode()
    assert "talosctl in Umbrella" in page
    assert elsewhere.session.session_key not in page
    public = sessions.public_id(elsewhere.session.session_key)
    here.post(f"/o/acme/account/sessions/{public}")
    assert elsewhere.get("/o/acme/").status_code == 302
    assert here.get("/o/acme/").status_code == 200
    assert [revoked(key) for key in gone] == [True, True]
    assert not revoked(kept)
    assert told == [("access-key", key.id, key.organisation_id) for key in gone]
    for place in (organisation, other_organisation):
        with tenant_scope(place.id):
            assert AuditRecord.objects.get(verb="account.session-end").details["keys"] == 2


def logged_in(browser: Client) -> str:
    """The API token of an `omni login` that a browser granted for `acme`."""
    request, secret = ask_login("laptop", "192.0.2.9")
    browser.post(f"/grant/{request.id}", {"answer": "grant", "organisation": "acme", "role": "operator"})
    fetched = fetch_login(secret, "r", "192.0.2.9")
    assert fetched is not None
    assert fetched.token
    return fetched.token


def test_ending_a_session_ends_its_logins_and_their_keys(user: User, organisation: Organisation) -> None:
    make_cluster(organisation)
    here, elsewhere = signed_in(user), signed_in(user)
    kept, gone = logged_in(here), logged_in(elsewhere)
    terminal = APIClient()
    terminal.credentials(HTTP_AUTHORIZATION=f"Bearer {gone}")
    answer = terminal.post("/api/v1/organisations/acme/clusters/prod/kubernetes-token")
    key = answer.data["access_key"].replace("-", "")
    assert from_key(key) is not None
    assert sessions.end_session(user, sessions.public_id(elsewhere.session.session_key or ""))
    assert from_token(gone) is None
    assert from_key(key) is None
    assert from_token(kept) is not None


def test_who_signs_out_keeps_the_logins(user: User, organisation: Organisation) -> None:
    client = signed_in(user)
    token = logged_in(client)
    session_key = client.session.session_key or ""
    client.post("/accounts/logout/")
    assert from_token(token) is not None
    with tenant_scope(organisation.id):
        assert not ApiToken.objects.filter(session_key=session_key).exists()


def test_no_login_of_a_session_that_was_ended_meanwhile(user: User, organisation: Organisation) -> None:
    client = signed_in(user)
    request, secret = ask_login("laptop", "192.0.2.9")
    client.post(f"/grant/{request.id}", {"answer": "grant", "organisation": "acme", "role": "operator"})
    sessions.end_others(user, "")
    fetched = fetch_login(secret, "r", "192.0.2.9")
    assert fetched is not None
    assert (fetched.state, fetched.token) == ("refused", None)


def test_nobody_ends_anothers_session(user: User, member: Callable[..., User]) -> None:
    theirs = signed_in(member("admin"))
    here = signed_in(user)
    here.post(f"/o/acme/account/sessions/{sessions.public_id(theirs.session.session_key)}")
    assert theirs.get("/o/acme/").status_code == 200


def test_who_signs_out_keeps_their_terminals_keys(user: User, organisation: Organisation) -> None:
    client = signed_in(user)
    key = key_of(user, client, organisation)
    client.post("/accounts/logout/")
    assert not revoked(key)
    with tenant_scope(organisation.id):
        assert AccessKey.objects.get(id=key.id).session_key == "", "or its session's end would be the key's"


def test_a_new_password_ends_other_sessions_and_all_that_any_granted(user: User, organisation: Organisation) -> None:
    here, elsewhere = signed_in(user), signed_in(user)
    keys = [key_of(user, client, organisation) for client in (here, elsewhere)]
    new = "another horse battery"
    here.post("/accounts/password/change/", {"oldpassword": PASSWORD, "password1": new, "password2": new})
    assert here.get("/o/acme/").status_code == 200
    assert elsewhere.get("/o/acme/").status_code == 302
    assert [revoked(key) for key in keys] == [True, True]
    with tenant_scope(organisation.id):
        assert AuditRecord.objects.filter(verb="account.password").count() == 1


def test_when_a_session_was_last_seen(user: User) -> None:
    client = signed_in(user)
    long_ago = timezone.now() - timedelta(hours=3)
    (one,) = sessions.sessions_of(user)
    type(one.row).objects.update(last_seen_at=long_ago)
    client.get("/o/acme/")
    (one,) = sessions.sessions_of(user)
    assert one.row.last_seen_at is not None
    assert one.row.last_seen_at > long_ago


def test_over_rest(user: User, organisation: Organisation, api: Callable[..., APIClient]) -> None:
    here, elsewhere = signed_in(user), signed_in(user)
    key = key_of(user, elsewhere, organisation)
    items = here.get(REST).json()["items"]
    assert [(item["current"], len(item["granted"])) for item in items] == [(False, 1), (True, 0)]
    assert items[0]["granted"][0]["organisation"] == "acme"
    assert elsewhere.session.session_key not in str(items)
    token = api("owner", user=user)
    assert token.delete(f"{REST}/{items[0]['id']}").status_code == 204
    assert token.delete(f"{REST}/{items[0]['id']}").status_code == 404
    assert revoked(key)
    assert token.post(f"{REST}/end-others").json() == {"ended": 1}
    assert here.get("/o/acme/").status_code == 302
    assert token.delete("/api/v1/me/token").status_code == 204
    assert token.get("/api/v1/me").status_code == 401


def test_a_token_that_is_less_than_its_person_ends_nothing(user: User, api: Callable[..., APIClient]) -> None:
    """Sessions are of all their organisations."""
    browser, token = signed_in(user), api("reader", user=user)
    assert token.get(REST).status_code == 403
    assert token.post(f"{REST}/end-others").status_code == 403
    assert browser.get("/api/v1/me").status_code == 200
    assert api("owner", user=user).get(REST).status_code == 200


def test_a_browser_is_no_token(user: User) -> None:
    client = APIClient()
    client.force_login(user)
    assert client.delete("/api/v1/me/token").status_code == 403


def test_an_admin_ends_a_members_credentials_here_alone(
    user: User,
    organisation: Organisation,
    other_organisation: Organisation,
    actor: Callable[..., Actor],
    api: Callable[..., APIClient],
) -> None:
    client = signed_in(user)
    mine, theirs = (key_of(user, client, place) for place in (organisation, other_organisation))
    api("owner", user=user)
    with tenant_scope(organisation.id):
        membership = Membership.objects.get(user=user)
    answer = api("owner", user=user).post(f"/api/v1/organisations/acme/members/{membership.id}/revoke")
    assert answer.json() == {"tokens": 2, "keys": 1}
    assert (revoked(mine), revoked(theirs)) == (True, False)
    assert client.get("/o/acme/").status_code == 200
    with tenant_scope(organisation.id):
        assert not ApiToken.objects.filter(revoked_at=None).exists()
        with pytest.raises(PermissionError, match="needs admin"):
            revoke_credentials(actor("operator"), membership)
