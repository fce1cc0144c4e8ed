"""What every REST resource gets from its base, seen through members, tokens and the audit."""

from collections.abc import Callable

import pytest
from rest_framework.test import APIClient

from apps.accounts.models import ApiToken, Membership, User
from apps.audit.models import AuditRecord
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope

Api = Callable[..., APIClient]
ACME = "/api/v1/organisations/acme"


def test_without_credentials(organisation: Organisation) -> None:
    response = APIClient().get(f"{ACME}/members")
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["request_id"] == response["X-Request-Id"]


@pytest.mark.parametrize("secret", ["omni_wrong", "", "x" * 5000])
def test_with_a_wrong_token(organisation: Organisation, secret: str) -> None:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    response = client.get(f"{ACME}/members")
    assert response.status_code == 401
    assert "wrong" not in response.content.decode()


def test_another_organisation_is_not_there(api: Api, other_organisation: Organisation) -> None:
    client = api("owner")
    theirs, nobodys = (
        client.get("/api/v1/organisations/umbrella/members"),
        client.get("/api/v1/organisations/x/members"),
    )
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.json()["detail"].replace("umbrella", "x") == nobodys.json()["detail"]


def test_a_refusal_names_role_needed_and_held(api: Api) -> None:
    response = api("reader").get(f"{ACME}/audit")
    assert response.status_code == 403
    assert response.json()["detail"] == (
        "audit.list needs admin in this organisation; reader@acme.example.com (token test) is reader"
    )


def test_an_address_that_is_not_there(api: Api) -> None:
    for path in ("/api/v1/nothing", f"{ACME}/nothing", f"{ACME}/members/1", f"{ACME}/members/{'0' * 32}"):
        response = api("owner", user=User.objects.first()).get(path)
        assert response.status_code == 404, path
        assert response["Content-Type"] == "application/problem+json"


def test_a_method_that_is_not_there(api: Api) -> None:
    client = api("owner")
    assert client.put(f"{ACME}/members", {}).status_code == 405
    assert client.delete(f"{ACME}/audit").status_code == 405


def test_pages_hold_every_row_once(api: Api, member: Callable[..., User], organisation: Organisation) -> None:
    client = api("owner")
    for number in range(12):
        member(["reader", "admin"][number % 2], email=f"m{number}@example.com")
    for sort in ("", "email", "-email", "joined", "-joined"):
        seen, cursor, pages = [], "", 0
        while cursor is not None:
            page = client.get(
                f"{ACME}/members", {"limit": 5, "sort": sort, "cursor": cursor} if cursor or sort else {"limit": 5}
            )
            assert page.status_code == 200, page.content
            seen += [item["email"] for item in page.json()["items"]]
            cursor, pages = page.json()["next"], pages + 1
        assert pages == 3
        assert len(seen) == len(set(seen)) == 13
        if "email" in sort:
            assert seen == sorted(seen, reverse=sort.startswith("-"))


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "é"}, "cursor"),
        ({"sort": "password"}, "sort"),
        ({"limit": "0"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"limit": "100000"}, "limit"),
        ({"role": "king"}, "role"),
    ],
)
def test_wrong_parameters_are_named(api: Api, query: dict[str, str], field: str) -> None:
    response = api("owner").get(f"{ACME}/members", query)
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == field


def test_filters_and_search(api: Api, member: Callable[..., User]) -> None:
    client = api("owner")
    member("reader", email="ada@example.com")
    assert [m["email"] for m in client.get(f"{ACME}/members", {"role": "reader"}).json()["items"]] == [
        "ada@example.com"
    ]
    assert [m["email"] for m in client.get(f"{ACME}/members", {"q": "ada"}).json()["items"]] == ["ada@example.com"]
    assert client.get(f"{ACME}/machine-classes", {"q": "x"}).json()["errors"][0]["field"] == "q"
    assert [t["name"] for t in client.get(f"{ACME}/api-tokens", {"q": "TES"}).json()["items"]] == ["test"]
    assert client.get(f"{ACME}/api-tokens", {"view": "ended"}).json()["items"] == []
    assert client.get(f"{ACME}/api-tokens", {"view": "x"}).json()["errors"][0]["field"] == "view"
    assert client.get(f"{ACME}/members", {"q": "a\0"}).json()["errors"][0]["field"] == "q"


def test_if_match_protects_a_change(api: Api) -> None:
    client = api("owner")
    first = client.get(ACME)
    assert first.status_code == 200
    assert client.get(ACME, headers={"If-None-Match": first["ETag"]}).status_code == 304
    changed = client.patch(ACME, {"name": "One"}, headers={"If-Match": first["ETag"]})
    assert changed.status_code == 200
    assert changed["ETag"] == client.get(ACME)["ETag"] != first["ETag"]
    late = client.patch(ACME, {"name": "Two"}, headers={"If-Match": first["ETag"]})
    assert late.status_code == 412
    assert client.get(ACME).json()["name"] == "One"


def test_a_repeated_post_is_done_once(api: Api, organisation: Organisation) -> None:
    client, body = api("owner"), {"name": "ci", "role": "reader"}
    first = client.post(f"{ACME}/api-tokens", body, headers={"Idempotency-Key": "k1"})
    again = client.post(f"{ACME}/api-tokens", body, headers={"Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again["Idempotency-Replayed"] == "true"
    other = client.post(f"{ACME}/api-tokens", body | {"name": "cd"}, headers={"Idempotency-Key": "k1"})
    assert other.status_code == 409
    with tenant_scope(organisation.id):
        assert ApiToken.objects.filter(name__in=["ci", "cd"]).count() == 1


def test_a_failed_post_leaves_nothing_and_may_be_repeated(api: Api, organisation: Organisation) -> None:
    client = api("owner")
    bad = client.post(f"{ACME}/api-tokens", {"name": "", "role": "x"}, headers={"Idempotency-Key": "k2"})
    assert bad.status_code == 400
    assert {error["field"] for error in bad.json()["errors"]} == {"name", "role"}
    good = client.post(f"{ACME}/api-tokens", {"name": "a", "role": "reader"}, headers={"Idempotency-Key": "k2"})
    assert good.status_code == 201


def test_malformed_bodies(api: Api) -> None:
    client = api("owner")
    for body in ("{", "[]", '"x"', "null", "1"):
        response = client.post(f"{ACME}/members", body, content_type="application/json")
        assert response.status_code == 400, body
    assert client.post(f"{ACME}/members", "a=b", content_type="text/plain").status_code == 415


def test_unforeseen_errors_tell_only_the_request(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.accounts.api.MemberViewSet.get_queryset", lambda self: 1 / 0)
    client = api("owner")
    client.raise_request_exception = False
    response = client.get(f"{ACME}/members", headers={"X-Request-Id": "trace-1"})
    assert response.status_code == 500
    assert response.json()["request_id"] == "trace-1"
    assert "division" not in response.content.decode()


def test_browsers_need_the_csrf_token(member: Callable[..., User]) -> None:
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(member("owner"))
    assert client.get(f"{ACME}/members").status_code == 200
    assert client.post(f"{ACME}/members", {"email": "x@example.com", "role": "reader"}).status_code == 403


def test_me_and_my_organisations(api: Api, member: Callable[..., User], other_organisation: Organisation) -> None:
    user = member("admin")
    with tenant_scope(other_organisation.id):
        Membership.new(user=user, role="reader")
    client = api("admin", user=user)
    me = client.get("/api/v1/me").json()
    assert (me["email"], me["token"]) == (user.email, "test")
    assert client.get("/api/v1/organisations").json()["items"] == [{"slug": "acme", "name": "Acme", "role": "admin"}]
    browser = APIClient()
    browser.force_login(user)
    assert [o["slug"] for o in browser.get("/api/v1/organisations").json()["items"]] == ["acme", "umbrella"]
    assert APIClient().get("/api/v1/me").status_code == 401


def test_every_change_is_audited_in_its_transaction(api: Api, organisation: Organisation) -> None:
    client = api("owner")
    response = client.post(
        f"{ACME}/members", {"email": "new@example.com", "role": "reader"}, headers={"X-Request-Id": "r-9"}
    )
    assert response.status_code == 201
    assert client.post(f"{ACME}/members", {"email": "new@example.com", "role": "reader"}).status_code == 400
    rows = client.get(f"{ACME}/audit", {"verb": "member.invite"}).json()["items"]
    assert [(r["object_name"], r["request_id"], r["actor_kind"]) for r in rows] == [("new@example.com", "r-9", "token")]
    with tenant_scope(organisation.id):
        assert AuditRecord.objects.filter(verb="member.invite").count() == 1


def test_members_from_invitation_to_removal(api: Api, organisation: Organisation) -> None:
    client = api("owner")
    invited = client.post(f"{ACME}/members", {"email": "New@example.com", "role": "reader"}).json()
    assert invited["sign_in_path"].startswith("/accounts/link/")
    path = f"{ACME}/members/{invited['member']['id']}"
    seen = client.get(path)
    assert (seen.json()["email"], seen.json()["role"]) == ("new@example.com", "reader")
    assert client.patch(path, {"role": "admin"}, headers={"If-Match": seen["ETag"]}).json()["role"] == "admin"
    assert client.patch(path, {"role": "reader"}, headers={"If-Match": seen["ETag"]}).status_code == 412
    assert client.delete(path, headers={"If-Match": seen["ETag"]}).status_code == 412
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404
    owner = client.get(f"{ACME}/members").json()["items"][0]
    last = client.delete(f"{ACME}/members/{owner['id']}")
    assert last.status_code == 400
    assert "last owner" in last.json()["detail"]


def test_tokens_are_ones_own_except_for_admins(api: Api) -> None:
    reader, admin = api("reader"), api("admin")
    made = reader.post(f"{ACME}/api-tokens", {"name": "ci", "role": "reader"}).json()
    assert made["secret"].startswith("omni_")
    assert {t["user"] for t in reader.get(f"{ACME}/api-tokens").json()["items"]} == {"reader@acme.example.com"}
    assert len(admin.get(f"{ACME}/api-tokens").json()["items"]) == 3
    assert reader.post(f"{ACME}/api-tokens", {"name": "up", "role": "operator"}).status_code == 400
    theirs = next(t for t in admin.get(f"{ACME}/api-tokens").json()["items"] if t["role"] == "admin")
    assert reader.post(f"{ACME}/api-tokens/{theirs['id']}/revoke").status_code == 404
    revoked = admin.post(f"{ACME}/api-tokens/{made['id']}/revoke")
    assert revoked.json()["revoked_at"] is not None
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {made['secret']}")
    assert client.get("/api/v1/me").status_code == 401
