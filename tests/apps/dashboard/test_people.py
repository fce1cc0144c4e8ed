"""Pages of members and tokens: what is shown once, what is sent twice, what is refused, and odd names."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.accounts.models import ApiToken, Membership, SignInLink, User
from apps.audit.models import AuditRecord
from apps.machines.models import JoinToken
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from tests.apps.machines.desk import OTHER_UUID, Desk, key

Member = Callable[..., User]
ROOT = "/o/acme"


@pytest.fixture
def browse(member: Member) -> Callable[..., Client]:
    """`browse("admin")`: a browser in which a new person with that role is signed in."""

    def sign_in(role: str = "owner", user: User | None = None) -> Client:
        client = Client()
        client.force_login(user or member(role))
        return client

    return sign_in


def text_of(answer: Any) -> str:
    found: str = answer.content.decode()
    return found


def link_in(text: str) -> str:
    return re.findall(r"/accounts/link/[\w-]+", text)[0]


def rows(organisation: Organisation, model: Any, **wanted: Any) -> list[Any]:
    with tenant_scope(organisation.id):
        return list(getattr(model, "everybody", model.objects).filter(**wanted))


def test_an_invitation_shows_its_link_once(browse: Callable[..., Client], organisation: Organisation) -> None:
    client = browse("admin")
    form = {"email": "Ben@Example.com", "role": "reader", "once": "form-1"}
    page = text_of(client.post(f"{ROOT}/members/invite", form))
    link = link_in(page)
    assert "ben@example.com" in page
    assert "/accounts/link/" not in text_of(client.get(f"{ROOT}/members"))
    assert Client().post(link).status_code == 302
    assert "Active" in text_of(client.get(f"{ROOT}/members"))
    (record,) = rows(organisation, AuditRecord, verb="member.invite")
    assert (record.actor_name, record.object_name) == ("admin@acme.example.com", "ben@example.com")


def test_a_form_that_is_sent_twice_is_done_once(browse: Callable[..., Client], organisation: Organisation) -> None:
    client = browse("owner")
    invitation = {"email": "ben@example.com", "role": "reader", "once": "form-1"}
    links = {link_in(text_of(client.post(f"{ROOT}/members/invite", invitation))) for _ in range(2)}
    assert len(links) == 1
    token = {"name": "ci", "role": "reader", "days": "7", "once": "form-2"}
    pages = [text_of(client.post(f"{ROOT}/api-tokens/new", token)) for _ in range(2)]
    assert len({re.findall(r"omni_[\w-]{40,}", page)[0] for page in pages}) == 1
    join = {"name": "rack 7", "once": "form-3"}
    assert len({client.post(f"{ROOT}/join-tokens/new", join).url for _ in range(2)}) == 1
    assert [len(rows(organisation, model)) for model in (Membership, ApiToken, JoinToken)] == [2, 1, 1]
    changed = client.post(f"{ROOT}/join-tokens/new", join | {"name": "rack 8"}, follow=True)
    assert "used before with other values" in text_of(changed)
    assert len(rows(organisation, JoinToken)) == 1


def test_a_refused_form_leaves_nothing_and_may_be_sent_again(
    browse: Callable[..., Client], organisation: Organisation
) -> None:
    client = browse("admin")
    form = {"email": "ben@example.com", "role": "owner", "once": "form-1"}
    assert "cannot give" in text_of(client.post(f"{ROOT}/members/invite", form, follow=True))
    assert not User.objects.filter(email="ben@example.com").exists()
    assert "/accounts/link/" in text_of(client.post(f"{ROOT}/members/invite", form | {"role": "reader"}))


def test_an_invitation_that_ended_is_said_and_renewed(
    browse: Callable[..., Client], organisation: Organisation
) -> None:
    client = browse("admin")
    old = link_in(text_of(client.post(f"{ROOT}/members/invite", {"email": "ben@example.com", "role": "reader"})))
    assert "link works until" in text_of(client.get(f"{ROOT}/members"))
    SignInLink.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    assert Client().post(old).status_code == 410
    assert "Link over" in text_of(client.get(f"{ROOT}/members"))
    (ben,) = rows(organisation, Membership, user__email="ben@example.com")
    new = link_in(text_of(client.post(f"{ROOT}/members/{ben.id}/link")))
    assert Client().post(old).status_code == 410
    assert Client().post(new).status_code == 302
    assert "is a member already" in text_of(client.post(f"{ROOT}/members/{ben.id}/link", follow=True))


def test_the_last_owner_is_kept_by_page_and_action(
    browse: Callable[..., Client], member: Member, organisation: Organisation
) -> None:
    owner = member("owner")
    client = browse(user=owner)
    assert "the last owner stays" in text_of(client.get(f"{ROOT}/members"))
    (own,) = rows(organisation, Membership)
    for act in ("role", "remove"):
        answer = client.post(f"{ROOT}/members/{own.id}/{act}", {"role": "reader"}, follow=True)
        assert "is the last owner" in text_of(answer)
    assert rows(organisation, Membership)[0].role == "owner"


def test_roles_are_changed_and_members_removed_twice(
    browse: Callable[..., Client], member: Member, organisation: Organisation
) -> None:
    client, ben = browse("admin"), member("reader")
    (row,) = rows(organisation, Membership, user=ben)
    client.post(f"{ROOT}/members/{row.id}/role", {"role": "operator"})
    assert rows(organisation, Membership, user=ben)[0].role == "operator"
    assert "is no member any more" in text_of(client.post(f"{ROOT}/members/{row.id}/remove", follow=True))
    assert client.post(f"{ROOT}/members/{row.id}/remove").status_code == 404


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "ß “x” 日本語 &amp;", "a" * 80, "-rf ../../etc", "{{ 7 }}"]
)
def test_odd_names_of_tokens(browse: Callable[..., Client], organisation: Organisation, name: str) -> None:
    client = browse("owner")
    page = text_of(client.post(f"{ROOT}/api-tokens/new", {"name": name, "role": "reader"}))
    client.post(f"{ROOT}/join-tokens/new", {"name": name[:40]})
    pages = [page, *(text_of(client.get(f"{ROOT}/{path}")) for path in ("api-tokens", "join-tokens", "audit"))]
    (join,) = rows(organisation, JoinToken)
    pages.append(text_of(client.get(f"{ROOT}/join-tokens/{join.id}")))
    for shown in pages:
        assert "<script>alert" not in shown
    assert rows(organisation, ApiToken)[0].name == name


@pytest.mark.parametrize("name", ["", "   ", "a\x00b", "a\nb", "a" * 81])
def test_names_that_are_none(browse: Callable[..., Client], organisation: Organisation, name: str) -> None:
    client = browse("owner")
    for path in ("api-tokens", "join-tokens"):
        answer = client.post(f"{ROOT}/{path}/new", {"name": name, "role": "reader"}, follow=True)
        assert answer.status_code == 200
        assert "name of 1 to" in text_of(answer)
    assert not rows(organisation, ApiToken)


@pytest.mark.parametrize("email", ["", "ben", "ben@", "a@b\x00.example", "a@" + "b" * 300 + ".example"])
def test_addresses_that_are_none(browse: Callable[..., Client], email: str) -> None:
    answer = browse("owner").post(f"{ROOT}/members/invite", {"email": email, "role": "reader"}, follow=True)
    assert "is no email address" in text_of(answer)
    assert User.objects.count() == 1


def test_searches_with_anything_in_them(browse: Callable[..., Client]) -> None:
    client = browse("owner")
    for path in ("members", "api-tokens"):
        for text in ("\0", "%", "'; DROP TABLE", "a" * 5000, "<b>"):
            answer = client.get(f"{ROOT}/{path}", {"q": text, "sort": text, "view": text, "from": text})
            assert answer.status_code == 200
            assert "<b>" not in text_of(answer).replace("<b>Not live.</b>", "")


def test_one_sees_and_ends_ones_own_tokens(
    browse: Callable[..., Client], member: Member, organisation: Organisation
) -> None:
    reader, admin = member("reader"), member("admin")
    browse(user=admin).post(f"{ROOT}/api-tokens/new", {"name": "theirs", "role": "admin"})
    client = browse(user=reader)
    assert "cannot give" in text_of(client.post(f"{ROOT}/api-tokens/new", {"name": "x", "role": "admin"}, follow=True))
    client.post(f"{ROOT}/api-tokens/new", {"name": "mine", "role": "reader"})
    page = text_of(client.get(f"{ROOT}/api-tokens"))
    assert "mine" in page
    assert "theirs" not in page
    (theirs,), (mine,) = rows(organisation, ApiToken, name="theirs"), rows(organisation, ApiToken, name="mine")
    assert client.post(f"{ROOT}/api-tokens/{theirs.id}/revoke").status_code == 404
    assert "is revoked" in text_of(client.post(f"{ROOT}/api-tokens/{mine.id}/revoke", follow=True))
    assert "No usable token" in text_of(client.get(f"{ROOT}/api-tokens"))
    assert "mine" in text_of(client.get(f"{ROOT}/api-tokens?view=ended"))


def test_lists_take_the_same_queries_for_one_and_for_many(
    browse: Callable[..., Client], member: Member, organisation: Organisation, desk: Desk
) -> None:
    client = browse("owner")
    paths = [f"{ROOT}/{name}" for name in ("members", "api-tokens", "join-tokens")]

    def queries() -> list[int]:
        found = []
        for path in paths:
            with CaptureQueriesContext(connection) as captured:
                assert client.get(path).status_code == 200
            found.append(len(captured))
        return found

    client.post(f"{ROOT}/api-tokens/new", {"name": "first", "role": "reader"})
    queries()
    few = queries()
    for number in range(8):
        member("reader", email=f"m{number}@example.com")
        client.post(f"{ROOT}/api-tokens/new", {"name": f"t{number}", "role": "reader"})
        desk.new_token(f"j{number}")
    assert queries() == few


@pytest.fixture
def desk(organisation: Organisation) -> Desk:
    return Desk(organisation)


def test_what_came_in_by_a_join_token(browse: Callable[..., Client], desk: Desk) -> None:
    desk.joined()
    client, row = browse("operator"), desk.token_row()
    page = text_of(client.get(f"{ROOT}/join-tokens/{row.id}"))
    assert "<b>1</b> joined by it, <b>1</b> here now" in page
    assert desk.token not in page
    assert "8a4f3e34" in text_of(client.get(f"{ROOT}/machines", {"q": f"token={row.id}"}))
    assert "8a4f3e34" in text_of(client.get(f"{ROOT}/machines", {"q": "token=default"}))
    assert "8a4f3e34" not in text_of(client.get(f"{ROOT}/machines", {"q": "token=other"}))


def test_a_revoked_token_warns_of_machines_that_still_join(browse: Callable[..., Client], desk: Desk) -> None:
    other = desk.new_token("other")
    desk.provision(OTHER_UUID, key(2), token=other)
    client, row = browse("operator"), desk.token_row("other")
    assert "1 machine that called and is not registered is refused too" in text_of(
        client.get(f"{ROOT}/join-tokens/{row.id}")
    )
    client.post(f"{ROOT}/join-tokens/{row.id}/act/revoke")
    for path in ("join-tokens", f"join-tokens/{row.id}"):
        assert "1 machine that called with it is not registered, and refused" in text_of(client.get(f"{ROOT}/{path}"))


def test_join_tokens_are_renamed_and_their_end_moved(browse: Callable[..., Client], desk: Desk) -> None:
    client, row = browse("operator"), desk.token_row()
    path = f"{ROOT}/join-tokens/{row.id}/edit"
    client.post(path, {"name": "racks", "days": "7"})
    ends = desk.token_row("racks").expires_at
    assert ends is not None
    client.post(path, {"name": "racks", "days": "keep"})
    assert desk.token_row("racks").expires_at == ends
    client.post(path, {"name": "racks", "days": ""})
    assert desk.token_row("racks").expires_at is None
    assert "is no number of days" in text_of(client.post(path, {"name": "racks", "days": "soon"}, follow=True))
    desk.change_token("racks", expires_at=timezone.now() - timedelta(days=1))
    assert "It is the default and over" in text_of(client.get(f"{ROOT}/join-tokens"))


def test_a_token_nobody_used_is_named_after_a_week(browse: Callable[..., Client], desk: Desk) -> None:
    client = browse("operator")
    assert "No machine has joined with it so far" not in text_of(client.get(f"{ROOT}/join-tokens"))
    desk.change_token("default", created_at=timezone.now() - timedelta(days=8))
    assert "No machine has joined with it so far" in text_of(client.get(f"{ROOT}/join-tokens"))
