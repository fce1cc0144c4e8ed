"""What /authorize accepts, and that an answer goes nowhere but to the user's own machine."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.proxies import oauth

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"  # RFC 7636, appendix B
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

GOOD = {
    "response_type": ["code"],
    "client_id": ["native"],
    "redirect_uri": ["http://localhost:8000"],
    "scope": ["cluster:prod openid"],
    "state": ["s"],
    "nonce": ["n"],
    "code_challenge": [CHALLENGE],
    "code_challenge_method": ["S256"],
    "access_type": ["offline"],
}


def query(**changes: Any) -> dict[str, list[str]]:
    asked = {name: [value] if isinstance(value, str) else value for name, value in changes.items()}
    return {name: values for name, values in {**GOOD, **asked}.items() if values is not None}


def test_what_kubelogin_asks() -> None:
    assert oauth.wish(query()) == oauth.Wish("http://localhost:8000", "s", "prod", "n", CHALLENGE)


@pytest.mark.parametrize(
    "uri",
    [
        "http://localhost:8000", "http://localhost:18000", "http://localhost:8000/", "http://127.0.0.1:8000",
        "http://127.0.0.1:49152/", "http://[::1]:1", "http://localhost:65535", oauth.OUT_OF_BAND,
    ],
)  # fmt: skip
def test_the_users_own_machine(uri: str) -> None:
    assert oauth.destination(query(redirect_uri=uri)) == (uri, "s")


@pytest.mark.parametrize(
    "uri",
    [
        "", "https://evil.example.com", "http://evil.example.com:8000", "http://localhost", "http://localhost:0",
        "http://localhost:65536", "http://localhost:99999", "http://localhost:8000@evil.example.com",
        "http://localhost:8000.evil.example.com", "http://localhost:8000/../x", "http://localhost:8000/x",
        "http://localhost:8000?x=y", "http://localhost:8000#x", "http://user@localhost:8000", "https://localhost:8000",
        "HTTP://localhost:8000", "http://LOCALHOST:8000", "//localhost:8000", "http:localhost:8000",
        "http://localhost:8000\n", "http://localhost:8000\r\nX: y", " http://localhost:8000", "http://127.1:8000",
        "http://127.0.0.1:08000", "http://0.0.0.0:8000", "javascript:alert(1)", "http://localhost\\@evil.example:80",
        "http://localhost:٨000", "urn:ietf:wg:oauth:2.0:oob:auto",
    ],
)  # fmt: skip
def test_nowhere_else(uri: str) -> None:
    with pytest.raises(oauth.Misdirected):
        oauth.destination(query(redirect_uri=uri))


@given(st.text(max_size=80).map(lambda text: f"http://localhost{text}") | st.text(max_size=80))
def test_whatever_is_accepted_is_the_users_own_machine(uri: str) -> None:
    if oauth.is_own_machine(uri) and uri != oauth.OUT_OF_BAND:
        parts = urlsplit(uri)
        assert parts.hostname in ("localhost", "127.0.0.1", "::1")
        assert parts.username is None
        assert (parts.scheme, parts.path.strip("/"), parts.query, parts.fragment) == ("http", "", "", "")


@pytest.mark.parametrize("client", ["", "other", ["native", "native"], None])
def test_one_client_is_known(client: Any) -> None:
    with pytest.raises(oauth.Misdirected, match="native"):
        oauth.destination(query(client_id=client))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"scope": "cluster:prod"}, "invalid_scope"),
        ({"scope": "openid cluster:a cluster:b"}, "invalid_scope"),
        ({"scope": "openid cluster:a cluster:../b"}, "invalid_scope"),
        ({"scope": "openid cluster:"}, "invalid_scope"),
        ({"scope": "openid cluster:A_B"}, "invalid_scope"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": CHALLENGE + "="}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"prompt": "none"}, "interaction_required"),
        ({"request": "x.y.z"}, "request_not_supported"),
        ({"request_uri": "https://evil.example.com"}, "request_uri_not_supported"),
        ({"state": ["a", "b"]}, "invalid_request"),
        ({"nonce": "a\0b"}, "invalid_request"),
        ({"state": "x" * 1025}, "invalid_request"),
        ({"nonce": "x" * 1025}, "invalid_request"),
    ],
)
def test_errors_by_the_rules(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(oauth.Refused) as refused:
        oauth.wish(query(**changes))
    assert refused.value.code == code


def test_scopes_that_mean_nothing_are_ignored() -> None:
    assert oauth.wish(query(scope="openid email offline_access cluster:prod")).cluster == "prod"


def test_pkce() -> None:
    assert oauth.proves(VERIFIER, CHALLENGE)
    for wrong in ("", VERIFIER[:-1], VERIFIER[:-1] + "l", CHALLENGE, VERIFIER + "=", "x" * 129, VERIFIER + "é"):
        assert not oauth.proves(wrong, CHALLENGE)


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=50))
def test_an_answer_carries_the_state_whole(state: str) -> None:
    address = oauth.answer("http://localhost:8000", code="c", state=state)
    assert parse_qs(urlsplit(address).query, keep_blank_values=True)["state"] == [state]
    assert urlsplit(address).hostname == "localhost"
