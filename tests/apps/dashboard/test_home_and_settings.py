"""Home, settings and account pages: what they show in each state, what their forms change."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from apps.accounts import sessions
from apps.accounts.links import make_sign_in_link
from apps.accounts.models import ApiToken, BrowserSession, Membership, User
from apps.audit.models import AuditRecord
from apps.clusters.models import Cluster, ClusterStatus
from apps.machines.models import Machine, MachineObservation
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"


def signed_in(user: User, agent: str = FIREFOX) -> Client:
    """A browser that came in by a one-time link."""
    client = Client(headers={"user-agent": agent})
    client.post(make_sign_in_link(user))
    return client


@pytest.fixture
def owner(member: Callable[..., User]) -> User:
    return member("owner")


@pytest.fixture
def browser(owner: User) -> Client:
    return signed_in(owner)


def fill(organisation: Organisation) -> None:
    """A machine and a cluster that is not well."""
    with tenant_scope(organisation.id):
        MachineObservation.new(machine=Machine.new(uuid="00000000-0000-4000-8000-000000000001"), connected=True)
        cluster = Cluster.new(
            name="prod", kubernetes_version="1.36.2", talos_version="1.13.8", initial_talos_version="1.13.8",
            balancer_port=10_000,
        )  # fmt: skip
        condition = {"name": "etcd", "state": "bad", "message": "etcd lost <quorum>.", "since": "2026-11-24T02:00:00Z"}
        ClusterStatus.new(cluster=cluster, conditions=[condition])


def test_an_empty_organisation_says_what_comes_first(browser: Client, member: Callable[..., User]) -> None:
    text = browser.get("/o/acme/").content.decode()
    assert "Welcome to Acme" in text
    assert "Join the first machine" in text
    reader = Client()
    reader.force_login(member("reader"))
    text = reader.get("/o/acme/").content.decode()
    assert "That takes the role operator" in text
    assert 'href="/o/acme/join"' not in text


def test_trouble_is_on_the_home_page_and_counted_on_every_page(browser: Client, organisation: Organisation) -> None:
    fill(organisation)
    text = browser.get("/o/acme/").content.decode()
    assert "1 thing needs you" in text
    assert "etcd lost &lt;quorum&gt;." in text
    assert "prod stopped" in browser.get("/o/acme/now").content.decode()
    for path in ("machines", "settings", "audit", "account"):
        assert 'title="1 needs you"' in browser.get(f"/o/acme/{path}").content.decode()
    assert "needs you" in browser.get("/o/acme/needs").content.decode()


def test_a_reader_hears_only_of_what_they_may(browser: Client, member: Callable[..., User]) -> None:
    client = Client()
    client.force_login(member("reader"))
    assert 'kinds=cluster,machine,link,agent,mesh"' in client.get("/o/acme/").content.decode()
    assert 'kinds=cluster,machine,link,agent,join-token,mesh,audit"' in browser.get("/o/acme/").content.decode()


def test_pages_take_a_constant_number_of_queries(
    browser: Client, organisation: Organisation, django_assert_max_num_queries: Any
) -> None:
    fill(organisation)
    with tenant_scope(organisation.id):
        for number in range(2, 30):
            machine = Machine.new(uuid=f"00000000-0000-4000-8000-{number:012d}")
            MachineObservation.new(machine=machine, connected=True)
    with django_assert_max_num_queries(42):
        browser.get("/o/acme/")


def test_renaming_the_organisation(browser: Client, organisation: Organisation) -> None:
    browser.post("/o/acme/settings/name", {"name": "  Brightwater   AS "})
    assert "Brightwater AS" in browser.get("/o/acme/").content.decode()
    for wrong in ("", "  ", "x" * 121, "a\0b"):
        answer = browser.post("/o/acme/settings/name", {"name": wrong}, follow=True)
        assert "a name of 1 to 120 characters" in answer.content.decode()
    assert "Brightwater AS" in browser.get("/o/acme/").content.decode()
    with tenant_scope(organisation.id):
        assert AuditRecord.objects.filter(verb="organisation.update").count() == 1


def test_the_last_owner_stays_and_others_may_leave(
    browser: Client, organisation: Organisation, member: Callable[..., User], api: Callable[..., APIClient]
) -> None:
    assert "You are the only owner" in browser.get("/o/acme/settings").content.decode()
    answer = browser.post("/o/acme/settings/leave", {"name": "acme"}, follow=True)
    assert "is the last owner" in answer.content.decode()
    user = member("operator")
    api("operator", user=user)
    leaving = signed_in(user)
    assert "You are still here" in leaving.post("/o/acme/settings/leave", {"name": "x"}, follow=True).content.decode()
    answer = leaving.post("/o/acme/settings/leave", {"name": "acme"}, follow=True)
    assert "No organisation yet" in answer.content.decode()
    assert leaving.get("/o/acme/").status_code == 404
    with tenant_scope(organisation.id):
        assert not Membership.objects.filter(user=user).exists()
        assert not ApiToken.objects.filter(user=user, revoked_at=None).exists()
        assert AuditRecord.objects.get(verb="organisation.leave").actor_id == str(user.id)


def test_leaving_over_rest(api: Callable[..., APIClient], organisation: Organisation) -> None:
    client = api("reader")
    assert client.post("/api/v1/organisations/acme/leave").status_code == 204
    assert client.post("/api/v1/organisations/acme/leave").status_code in (401, 404)


def test_an_owner_makes_another_organisation(browser: Client, owner: User, member: Callable[..., User]) -> None:
    answer = browser.post("/o/acme/organisations", {"name": "Halden", "slug": "halden"}, follow=True)
    assert answer.request["PATH_INFO"] == "/o/halden/"
    assert "Welcome to Halden" in answer.content.decode()
    answer = browser.post("/o/acme/organisations", {"name": "Halden", "slug": "acme"}, follow=True)
    assert "exists already" in answer.content.decode()
    admin = Client()
    admin.force_login(member("admin"))
    assert admin.post("/o/acme/organisations", {"name": "B", "slug": "b"}).status_code == 403


@pytest.mark.parametrize(("role", "status"), [("owner", 201), ("admin", 403)])
def test_making_one_over_rest(api: Callable[..., APIClient], role: str, status: int) -> None:
    client = api(role)
    answer = client.post("/api/v1/organisations", {"name": "Halden", "slug": "halden"})
    assert answer.status_code == status, answer.content
    if status == 201:
        assert answer.json() == {"slug": "halden", "name": "Halden", "role": "owner"}
        assert client.get("/api/v1/organisations/halden").status_code == 404, "a token acts in its own organisation"
        answer = client.post("/api/v1/organisations", {"name": "Halden", "slug": "No Good"})
        assert answer.status_code == 400
    else:
        assert "organisation.create needs owner on halden" in answer.json()["detail"]


def test_somebody_without_a_place_makes_none(db: None) -> None:
    client = APIClient()
    client.force_login(User.objects.create_user("nobody@example.com"))
    answer = client.post("/api/v1/organisations", {"name": "Halden", "slug": "halden"})
    assert answer.status_code == 403
    assert "you are in none" in answer.json()["detail"]


def test_where_one_is_signed_in(owner: User, browser: Client) -> None:
    elsewhere = signed_in(owner, CHROME)
    text = browser.get("/o/acme/account").content.decode()
    assert "Firefox on Linux" in text
    assert "Chrome on Windows" in text
    assert "2 browsers" in text
    assert browser.session.session_key not in text
    answer = browser.post("/o/acme/account/sessions", follow=True)
    assert "1 session ended" in answer.content.decode()
    assert elsewhere.get("/o/acme/").status_code == 302
    assert browser.get("/o/acme/").status_code == 200


def test_a_session_is_ended_from_elsewhere_after_its_password_was_changed(owner: User, browser: Client) -> None:
    owner.set_password("the first of them")
    owner.save()
    browser.force_login(owner)
    old, new = "the first of them", "the second of them"
    browser.post("/accounts/password/change/", {"oldpassword": old, "password1": new, "password2": new})
    owner.refresh_from_db()
    assert owner.check_password(new)
    assert browser.get("/o/acme/").status_code == 200
    assert "1 session ended" in signed_in(owner, CHROME).post("/o/acme/account/sessions", follow=True).content.decode()
    assert browser.get("/o/acme/").status_code == 302


def test_a_session_that_ended_is_not_shown(owner: User, browser: Client) -> None:
    signed_in(owner, CHROME).post("/accounts/logout/")
    assert "Chrome" not in browser.get("/o/acme/account").content.decode()
    assert BrowserSession.objects.count() == 1


def test_nobody_ends_the_sessions_of_others(owner: User, browser: Client, member: Callable[..., User]) -> None:
    other = signed_in(member("admin"))
    browser.post("/o/acme/account/sessions")
    assert other.get("/o/acme/").status_code == 200
    assert "owner@" not in other.get("/o/acme/account").content.decode().split("<main", 1)[1].split("Here", 1)[0]


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (FIREFOX, "Firefox on Linux"),
        (CHROME, "Chrome on Windows"),
        (CHROME + " Edg/140.0", "Edge on Windows"),
        ("curl/8.5", "curl"),
        ("", "An unknown browser"),
        ("<script>" * 100, "An unknown browser"),
    ],
)
def test_browsers_in_words(agent: str, words: str) -> None:
    assert sessions.browser_of(agent) == words


def test_renaming_oneself(owner: User, browser: Client) -> None:
    browser.post("/o/acme/account/name", {"name": "Ana Ruiz"})
    owner.refresh_from_db()
    assert owner.name == "Ana Ruiz"
    assert "Give your name" in browser.post("/o/acme/account/name", {"name": ""}, follow=True).content.decode()


def test_status_over_rest(api: Callable[..., APIClient], organisation: Organisation) -> None:
    fill(organisation)
    client = api("reader")
    answer = client.get("/api/v1/organisations/acme/status")
    (item,) = answer.json()["needs"]
    assert (item["shape"], item["name"], item["sentence"]) == ("bad", "prod", "etcd lost <quorum>.")
    assert answer.json()["clusters"] == {"all": 1, "bad": 1}
    again = client.get("/api/v1/organisations/acme/status", headers={"if-none-match": answer["ETag"]})
    assert again.status_code == 304
