"""kubelogin's flow, step by step, with a browser between; and each step gone wrong."""

import base64
import hashlib
import html
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest
from django.test import Client
from django.utils import timezone

from apps.access.actor import Actor
from apps.access.models import Policy
from apps.accounts.identity import actor_in, from_key
from apps.accounts.models import AccessKey, GrantRequest, Membership, User
from apps.clusters.models import Cluster
from apps.proxies import tokens
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope

VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
FORM = "application/x-www-form-urlencoded"

pytestmark = pytest.mark.usefixtures("cluster")


@dataclass
class Login:
    """One sign-in of kubelogin for an organisation's cluster."""

    browser: Client
    slug: str = "acme"
    asked: dict[str, Any] = field(default_factory=dict)

    def authorize(self, **changes: Any) -> Any:
        """What the browser gets from /authorize."""
        wish = {
            "response_type": "code",
            "client_id": "native",
            "redirect_uri": "http://localhost:8000",
            "scope": "cluster:prod openid",
            "state": "the state",
            "nonce": "the nonce",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "access_type": "offline",
            **changes,
        }
        self.asked = {name: value for name, value in wish.items() if value is not None}
        return self.browser.get(f"/o/{self.slug}/oidc/authorize?{urlencode(self.asked)}")

    def grant(self, role: str = "", **changes: Any) -> str:
        """The page on which a person grants it, after they did."""
        page = self.authorize(**changes)
        assert page.status_code == 302, page.content
        assert page.url.startswith("/grant/"), page.url
        shown = self.browser.get(page.url).content.decode()
        role = role or re.findall(r'<option value="(\w+)"', shown)[-1]
        answer = {"answer": "grant", "organisation": self.slug, "role": role}
        return str(self.browser.post(page.url, answer).content.decode())

    def code(self, role: str = "", **changes: Any) -> str:
        """The code that the browser brings to kubelogin."""
        sent = next(iter(re.findall(r'href="(http://localhost:8000[^"]*)"', self.grant(role, **changes))))
        query = parse_qs(urlsplit(html.unescape(sent)).query)
        assert query["state"] == ["the state"]
        return query["code"][0]

    def token(self, code: str, client: Client | None = None, headers: Any = None, **changes: Any) -> Any:
        """What kubelogin gets from /token."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.asked["redirect_uri"],
            "client_id": "native",
            "code_verifier": VERIFIER,
            **changes,
        }
        body = urlencode({name: value for name, value in form.items() if value is not None})
        address = f"/o/{self.slug}/oidc/token"
        return (client or Client(enforce_csrf_checks=True)).generic("POST", address, body, FORM, headers=headers)


@pytest.fixture
def person(member: Callable[..., User]) -> User:
    return member("operator")


@pytest.fixture
def login(person: User) -> Login:
    browser = Client()
    browser.force_login(person)
    return Login(browser)


def actor_of(token: str, organisation: Organisation) -> Actor | None:
    """Who acts with a token, as the Kubernetes proxy sees it."""
    claims = tokens.verify(token, organisation.id, organisation.slug, "prod")
    identity = from_key(claims.key)
    return identity and actor_in(identity, organisation.id, "r", "")


def test_the_whole_flow(login: Login, organisation: Organisation, url: str) -> None:
    known = Client().get("/o/acme/oidc/.well-known/openid-configuration").json()
    assert known["issuer"] == f"{url}/o/acme/oidc"
    assert known["code_challenge_methods_supported"] == ["S256"]
    assert known["token_endpoint_auth_methods_supported"] == ["none"]
    answer = login.token(login.code())
    assert answer.status_code == 200, answer.content
    assert answer["Cache-Control"].startswith("max-age=0")
    given = answer.json()
    assert (given["token_type"], given["scope"]) == ("Bearer", "openid cluster:prod")
    assert "refresh_token" not in given
    keys = jwt.PyJWKSet.from_dict(Client().get("/o/acme/oidc/keys").json())
    key = keys[jwt.get_unverified_header(given["id_token"])["kid"]]
    claims = jwt.decode(given["id_token"], key, ["RS256"], audience="native", issuer=known["issuer"])
    assert claims["sub"] == "operator@acme.example.com"
    assert (claims["nonce"], claims["azp"], claims["cluster"]) == ("the nonce", "native", "prod")
    assert claims["at_hash"] == tokens.half_hash(given["access_token"])
    assert 8 * 3600 - 60 < claims["exp"] - timezone.now().timestamp() <= 8 * 3600
    actor = actor_of(given["id_token"], organisation)
    assert actor is not None
    assert (actor.role, actor.subject) == ("operator", "user:operator@acme.example.com")


def test_the_key_belongs_to_the_browsers_session(login: Login, organisation: Organisation) -> None:
    login.token(login.code())
    with tenant_scope(organisation.id):
        key = AccessKey.objects.get()
    assert key.session_key == login.browser.session.session_key
    assert key.name == "kubectl, prod"


def test_a_code_is_typed_where_no_browser_can_reach(login: Login, organisation: Organisation) -> None:
    shown = login.grant(redirect_uri="urn:ietf:wg:oauth:2.0:oob")
    (code,) = set(re.findall(r"(?<![\w-])[\w-]{43}(?![\w-])", shown))
    assert login.token(code).status_code == 200


def test_a_code_works_once(login: Login) -> None:
    code = login.code()
    assert login.token(code).status_code == 200
    again = login.token(code)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


def test_a_code_lasts_a_minute(login: Login) -> None:
    code = login.code()
    request = GrantRequest.objects.get()
    assert request.expires_at - timezone.now() <= timedelta(seconds=60)
    GrantRequest.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert login.token(code).json()["error"] == "invalid_grant"


def test_a_key_whose_code_nobody_brought_ends_with_it(login: Login, organisation: Organisation) -> None:
    login.code()
    with tenant_scope(organisation.id):
        assert AccessKey.objects.get().expires_at - timezone.now() <= timedelta(seconds=60)


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"code_verifier": "w" * 43}, 400, "invalid_grant"),
        ({"code_verifier": None}, 400, "invalid_request"),
        ({"code": "guess"}, 400, "invalid_grant"),
        ({"code": None}, 400, "invalid_request"),
        ({"redirect_uri": "http://localhost:18000"}, 400, "invalid_grant"),
        ({"redirect_uri": None}, 400, "invalid_request"),
        ({"grant_type": "refresh_token"}, 400, "unsupported_grant_type"),
        ({"grant_type": None}, 400, "unsupported_grant_type"),
        ({"client_id": "other"}, 401, "invalid_client"),
        ({"client_id": None}, 401, "invalid_client"),
    ],
)
def test_what_the_token_endpoint_refuses(login: Login, changes: dict[str, Any], status: int, error: str) -> None:
    code = login.code()
    answer = login.token(changes.pop("code", code), **changes)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    if error in ("invalid_client", "invalid_request", "unsupported_grant_type"):
        assert login.token(code).status_code == 200  # the code was not looked at


def basic(name: str, secret: str = "") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


def test_a_client_may_name_itself_by_basic(login: Login) -> None:
    code = login.code()
    for wrong in (basic("other"), basic("native", "secret"), {"Authorization": "Basic %"}):
        answer = login.token(code, client_id=None, headers=wrong)
        assert (answer.status_code, answer["WWW-Authenticate"]) == (401, 'Basic realm="omni"')
    assert login.token(code, client_id=None, headers=basic("native")).status_code == 200


def test_only_forms_are_read(login: Login) -> None:
    answer = Client().post("/o/acme/oidc/token", {"grant_type": "authorization_code"}, content_type="application/json")
    assert answer.json()["error"] == "invalid_request"
    assert Client().get("/o/acme/oidc/token").status_code == 405


def test_a_code_of_another_organisation(login: Login, other_organisation: Organisation) -> None:
    code = login.code()
    login.slug = "umbrella"
    assert login.token(code).json()["error"] == "invalid_grant"


def test_a_code_is_no_login(login: Login) -> None:
    code = login.code()
    answer = Client().post("/api/v1/login-requests/fetch", {"secret": code}, content_type="application/json")
    assert "omni_" not in answer.content.decode()
    assert login.token(code).status_code == 200


def test_a_person_who_was_removed_before_the_code_came(login: Login, person: User, organisation: Organisation) -> None:
    code = login.code()
    with tenant_scope(organisation.id):
        Membership.objects.filter(user=person).delete()
    assert login.token(code).json()["error"] == "invalid_grant"


def test_whoever_is_not_signed_in_signs_in_first(organisation: Organisation) -> None:
    answer = Login(Client()).authorize()
    assert answer.status_code == 302
    back = parse_qs(urlsplit(answer.url).query)["next"][0]
    assert urlsplit(answer.url).path == "/accounts/login/"
    assert back.startswith("/o/acme/oidc/authorize?response_type=code&client_id=native")
    assert not GrantRequest.objects.exists()


def test_an_error_goes_back_with_the_state(login: Login) -> None:
    answer = login.authorize(code_challenge_method="plain")
    sent = parse_qs(urlsplit(answer.url).query)
    assert answer.url.startswith("http://localhost:8000?")
    assert (sent["error"], sent["state"]) == (["invalid_request"], ["the state"])
    assert "PKCE" in sent["error_description"][0]


@pytest.mark.parametrize("uri", ["https://evil.example.com", "http://localhost:8000@evil.example.com", "//evil"])
def test_no_open_redirect(login: Login, uri: str) -> None:
    answer = login.authorize(redirect_uri=uri)
    assert answer.status_code == 400
    assert "evil" not in answer.content.decode()
    assert "Location" not in answer


def test_an_error_is_shown_where_it_can_be_sent_nowhere(login: Login) -> None:
    answer = login.authorize(redirect_uri="urn:ietf:wg:oauth:2.0:oob", scope="openid")
    assert answer.status_code == 400
    assert "--oidc-extra-scope=cluster:NAME" in answer.content.decode()


def test_a_cluster_that_is_not_there(login: Login) -> None:
    sent = parse_qs(urlsplit(login.authorize(scope="openid cluster:none").url).query)
    assert sent["error"] == ["access_denied"]
    assert sent["error_description"] == ["there is no cluster none in acme"]


def test_a_cluster_that_a_policy_hides_is_not_there_either(login: Login, organisation: Organisation) -> None:
    with tenant_scope(organisation.id):
        Policy.new(name="closed", spec={"subjects": ["role:operator"], "effect": "limit", "role": "none"})
    sent = parse_qs(urlsplit(login.authorize().url).query)
    assert sent["error_description"] == ["there is no cluster prod in acme"]


def test_a_stranger_learns_nothing(login: Login, other_organisation: Organisation) -> None:
    shown = []
    for slug in ("umbrella", "nobody-has-this"):
        login.slug = slug
        page = login.authorize()
        assert page.url.startswith("/grant/")
        text = login.browser.get(page.url).content.decode()
        assert "has no place in the organisation" in text
        shown.append(re.sub(r"/grant/[0-9a-f-]+|csrf\w*\"( value)?=\"\w+|data-csrf=\"\w+", "", text).replace(slug, ""))
    assert shown[0] == shown[1]
    answers = [Client().get(f"/o/{slug}/oidc/keys").json() for slug in ("umbrella", "nobody-has-this")]
    assert answers == [{"keys": []}, {"keys": []}]


def test_a_lesser_role_is_a_ceiling(login: Login, organisation: Organisation) -> None:
    lift = {"subjects": ["user:operator@*"], "effect": "grant", "role": "admin"}
    with tenant_scope(organisation.id):
        Policy.new(name="lift", spec=lift)
    full = login.token(login.code("operator")).json()["id_token"]
    less = login.token(login.code("reader")).json()["id_token"]
    ceilings = []
    for token in (full, less):
        actor = actor_of(token, organisation)
        assert actor is not None
        ceilings.append(actor.ceiling)
    assert ceilings == ["owner", "reader"]


def test_a_token_ends_with_its_cluster(login: Login, organisation: Organisation, cluster: Cluster) -> None:
    code = login.code()
    with tenant_scope(organisation.id):
        cluster.delete()
    assert login.token(code).json()["error"] == "invalid_grant"
