"""Ways in through a browser: first run, one-time links, password, and no other."""

import re
from collections.abc import Callable

import pytest
from django.conf import settings
from django.test import Client

from apps.accounts import links
from apps.accounts.first_run import first_run_path
from apps.accounts.identity import places
from apps.accounts.models import User
from apps.tenants.models import Organisation

FORM = {
    "organisation": "Acme",
    "slug": "acme",
    "name": "Ada",
    "email": "ada@example.com",
    "password": "correct horse battery",
}


def test_an_installation_without_owner_leads_to_its_first_run(db: None, client: Client) -> None:
    assert client.get("/").url == "/first-run"
    page = client.get("/first-run").content.decode()
    assert "omni admin signin-link" in page
    assert first_run_path(settings.SECRET_KEY) not in page
    assert client.get("/first-run/0000").status_code == 404
    assert client.post("/first-run/0000", FORM).status_code == 404


def test_the_first_run_makes_an_owner_and_is_over(db: None, client: Client) -> None:
    path = first_run_path(settings.SECRET_KEY)
    assert client.get(path).status_code == 200
    weak = client.post(path, FORM | {"password": "short"})
    assert weak.status_code == 200
    assert b"12" in weak.content
    done = client.post(path, FORM)
    assert (done.status_code, done.url) == (302, "/")
    assert client.get("/").url == "/o/acme/"
    assert client.get("/o/acme/machines").headers["Cache-Control"] == "no-store"
    user = User.objects.get()
    assert user.check_password(FORM["password"])
    assert [place.role for place in places(user)] == ["owner"]
    for method in (client.get, client.post):
        assert method(path).status_code == 404
    assert client.get("/first-run").url == "/accounts/login/"


def test_signing_in_with_a_password(member: Callable[..., User], client: Client) -> None:
    user = member("owner")
    user.set_password("correct horse battery")
    user.save()
    assert client.get("/").url == "/accounts/login/"
    wrong = client.post("/accounts/login/", {"login": user.email, "password": "wrong"})
    assert wrong.status_code == 200
    assert "_auth_user_id" not in client.session
    assert (
        client.post("/accounts/login/", {"login": user.email, "password": "correct horse battery"}).status_code == 302
    )
    assert client.get("/").url == "/o/acme/"
    client.post("/accounts/logout/")
    assert "_auth_user_id" not in client.session


def test_nobody_signs_up_by_themselves(organisation: Organisation, client: Client) -> None:
    client.post("/accounts/signup/", {"email": "x@example.com", "password1": "correct horse battery"})
    assert not User.objects.exists()


def test_an_account_without_password_cannot_be_guessed(member: Callable[..., User], client: Client) -> None:
    user = member("owner")
    for password in ("", "!", user.password):
        client.post("/accounts/login/", {"login": user.email, "password": password})
        assert "_auth_user_id" not in client.session


def test_a_link_asks_before_it_is_used(member: Callable[..., User], client: Client) -> None:
    path = links.make_sign_in_link(member("owner"))
    for _ in range(2):
        assert b"Sign in" in client.get(path).content
    assert "_auth_user_id" not in client.session
    assert client.post(path).url == "/accounts/password/set/"
    assert "_auth_user_id" in client.session
    other = Client()
    assert other.get(path).status_code == other.post(path).status_code == 410
    assert "_auth_user_id" not in other.session


def test_a_new_account_sets_its_password(member: Callable[..., User], client: Client) -> None:
    user = member("reader")
    page = client.post(links.make_sign_in_link(user), follow=True)
    assert b"password1" in page.content
    words = "correct horse battery"
    short = client.post("/accounts/password/set/", {"password1": "short", "password2": "short"})
    assert short.status_code == 200
    assert client.post(
        "/accounts/password/set/", {"password1": words, "password2": words}, follow=True
    ).status_code in (200, 404)
    user.refresh_from_db()
    assert user.check_password(words)
    assert client.get("/").url == "/o/acme/"
    changed = {"oldpassword": words, "password1": f"{words} staple", "password2": f"{words} staple"}
    client.post("/accounts/password/change/", changed)
    user.refresh_from_db()
    assert user.check_password(f"{words} staple")
    assert client.get("/").url == "/o/acme/"


def test_nobody_takes_an_address_that_is_not_verified(member: Callable[..., User], client: Client) -> None:
    client.force_login(member("reader"))
    for path in ("/accounts/email/", "/accounts/password/reset/"):
        assert client.get(path).status_code == client.post(path, {"email": "x@example.com"}).status_code == 404


def test_changes_need_the_csrf_token(member: Callable[..., User]) -> None:
    client = Client(enforce_csrf_checks=True)
    path = links.make_sign_in_link(member("owner"))
    assert client.post(path).status_code == 403
    token = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', client.get(path).content.decode())
    assert token is not None
    assert client.post(path, {"csrfmiddlewaretoken": token[1]}).status_code == 302


@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/api/v1/me", "/healthz"])
def test_every_answer_has_an_id_and_a_content_policy(db: None, client: Client, path: str) -> None:
    response = client.get(path, headers={"X-Request-Id": "trace-7"})
    assert response["X-Request-Id"] == "trace-7"
    assert "script-src 'self'" in response["Content-Security-Policy"]
    assert response["Content-Security-Policy"].count("unsafe") == 1  # style attributes alone
    assert response["X-Frame-Options"] == "DENY"


def test_a_refused_form_leaves_its_link_out_of_the_log(
    member: Callable[..., User], caplog: pytest.LogCaptureFixture
) -> None:
    path = links.make_sign_in_link(member("owner"))
    assert Client(enforce_csrf_checks=True).post(path).status_code == 403
    assert path.rpartition("/")[2] not in caplog.text
    assert links.open_link(path.rpartition("/")[2])
