"""What of a client's headers and address gets through, said by the bytes that leave."""

import random
import re

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodeagent.kubeproxy.headers import (
    Ambiguous,
    Elsewhere,
    Header,
    address,
    to_client,
    to_cluster,
    understand,
)

USER, GROUPS = "ann@example.com", ("omni:reader", "dev")
OURS = [("impersonate-user", USER), *(("impersonate-group", group) for group in GROUPS)]
HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "trailers", "upgrade", "http2-settings",
}  # fmt: skip

SETS = 100_000
NAMES = [
    b"Impersonate-User", b"Impersonate-Group", b"Impersonate-Uid", b"Impersonate-Extra-Scopes", b"Impersonate-",
    b"Impersonate", b"X-Remote-User", b"X-Remote-Group", b"X-Remote-Extra-A", b"X-Remote-Uid", b"X-Remote-",
    b"Authorization", b"Connection", b"Keep-Alive", b"Proxy-Connection", b"Proxy-Authorization", b"TE", b"Trailer",
    b"Transfer-Encoding", b"Upgrade", b"Content-Length", b"Host", b"Cookie", b"X-Forwarded-For", b"Expect",
    b"HTTP2-Settings", b"Accept", b"User-Agent", b"Content-Type", b"Kubectl-Command", b"X-Stream-Protocol-Version",
    b"Sec-WebSocket-Protocol", b"If-Match",
]  # fmt: skip
VALUES = [
    b"system:masters", b"admin", b"close", b"upgrade", b"Upgrade, Impersonate-User", b"impersonate-user, accept",
    b"chunked", b"5", b"0", b"websocket", b"SPDY/3.1", b"h2c", b"Bearer abc", b"application/json", b"trailers", b"",
    b"a\r\nImpersonate-User: root", b"a\nImpersonate-Group: system:masters", b"a\r\n Impersonate-User: root",
    b"a\x00b", "ä".encode(), b"base64url.bearer.authorization.k8s.io.YWJj, v4.channel.k8s.io",
    b"accept,user-agent", b"X_Remote_User", b"100-continue",
]  # fmt: skip
ODD = [b" ", b"\t", b"_", b"-", b".", b"\x00", b"\xa0", "İ".encode(), "ı".encode(), b"\r\n ", b":", b"\xef\xbb\xbf"]


def random_headers(chance: random.Random) -> list[Header]:
    """Some headers, most of them in an odd spelling."""
    return [(_name(chance), _value(chance)) for _ in range(chance.randint(1, 6))]


def _name(chance: random.Random) -> bytes:
    name = chance.choice(NAMES)
    if chance.random() < 0.5:
        name = bytes(chance.choice((byte, byte ^ 0x20)) if chr(byte).isalpha() else byte for byte in name)
    if chance.random() < 0.2:
        name = name.replace(b"-", chance.choice((b"_", b"--", b"", b".")), chance.randint(1, 2))
    if chance.random() < 0.1:
        place = chance.randint(0, len(name))
        name = name[:place] + chance.choice(ODD) + name[place:]
    return name


def _value(chance: random.Random) -> bytes:
    value = chance.choice(VALUES)
    if chance.random() < 0.2:
        value = chance.choice((b" ", b"\t", b"\t \t")) + value + chance.choice((b" ", b"", b"\t"))
    if chance.random() < 0.1:
        value += b", " + chance.choice(NAMES)
    return value


def sent(headers: list[Header]) -> list[tuple[str, str]] | None:
    """What a lenient server reads of what the proxy sends for these headers; None when it refuses them."""
    try:
        head = understand(headers)
    except Ambiguous:
        return None
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in to_cluster(head, USER, GROUPS, "192.0.2.1"))
    read: list[tuple[str, str]] = []
    for line in re.split(r"\r\n|\n|\r", lines.decode("latin-1")):
        if line[:1].isspace():
            raise AssertionError(f"a folded line: {line!r}")
        if line:
            name, _, value = line.partition(":")
            read.append((name.strip().lower().replace("_", "-"), value.strip()))
    return read


def check(headers: list[Header]) -> bool:
    """Whether they were taken at all. AssertionError when something got through that must not."""
    read = sent(headers)
    if read is None:
        return False
    names = [name for name, _ in read]
    assert [(name, value) for name, value in read if "impersonate" in name] == OURS, headers
    assert not [name for name in names if name.startswith("x-remote") or name == "authorization"], headers
    assert [value for name, value in read if name.startswith("x-forwarded")] == ["192.0.2.1"], headers
    assert names.count("host") == 1
    assert names.count("content-length") + names.count("transfer-encoding") <= 1, headers
    hops = {(name, value) for name, value in read if name in HOP_BY_HOP}
    if hops:
        assert hops in ({("connection", "Upgrade"), ("upgrade", protocol)} for protocol in ("spdy/3.1", "websocket"))
    named = {
        token.strip().lower().replace("_", "-")
        for name, value in headers
        if name.lower() == b"connection"
        for token in value.decode("latin-1").split(",")
    }
    assert not (named & set(names)) - {"upgrade", "host", "connection", "x-forwarded-for"} - {
        "content-length", "transfer-encoding", *(name for name, _ in OURS),
    }, headers  # fmt: skip
    assert not [value for name, value in read if "websocket" in name and "bearer" in value], headers
    return True


def test_no_random_headers_get_an_identity_or_a_hop_through():
    chance = random.Random(5)
    taken = sum(check(random_headers(chance)) for _ in range(SETS))
    assert SETS * 0.1 < taken < SETS * 0.9


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.sampled_from(NAMES), st.binary(max_size=12)),
            st.one_of(st.sampled_from(VALUES), st.binary(max_size=12)),
        ),
        max_size=6,
    )
)
def test_no_found_headers_do(headers: list[Header]):
    check(headers)


def test_bytes_from_the_wire_do_not_either():
    """The same through the parser and the writer that the proxy uses."""
    chance, taken = random.Random(7), 0
    for _ in range(5000):
        headers = [(b"Host", b"omni"), *random_headers(chance)]
        server, client = h11.Connection(h11.SERVER), h11.Connection(h11.CLIENT)
        server.receive_data(
            b"GET / HTTP/1.1\r\n" + b"".join(name + b": " + value + b"\r\n" for name, value in headers) + b"\r\n"
        )
        try:
            request = server.next_event()
            assert isinstance(request, h11.Request)
            head = understand(request.headers.raw_items())
        except (Ambiguous, h11.RemoteProtocolError):
            continue
        made = h11.Request(method="GET", target="/", headers=to_cluster(head, USER, GROUPS, ""))
        data = client.send(made) or b""
        read = [line.lower() for line in data.split(b"\r\n") if b"impersonate" in line.partition(b":")[0].lower()]
        assert read == [f"{name}: {value}".encode() for name, value in OURS]
        assert not re.search(rb"\n[ \t]|\nx[-_]remote|\nauthorization", data.lower())
        taken += 1
    assert taken > 500


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ([(b"Content-Length", b"1"), (b"content-length", b"2")], "several content-length"),
        ([(b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")], "both"),
        ([(b"Content-Length", b"+1")], "not a number"),
        ([(b"Content-Length", b"1, 1")], "not a number"),
        ([(b"Content_Length", b"1")], "some take for"),
        ([(b"Transfer-Encoding", b"gzip, chunked")], "not chunked"),
        ([(b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")], "several"),
        ([(b"Authorization", b"Bearer a"), (b"Authorization", b"Bearer b")], "several authorization"),
        ([(b"Host", b"a"), (b"Host", b"b")], "several host"),
        ([(b"Accept ", b"a")], "name is none"),
        ([(b"", b"a")], "name is none"),
        ([("Impersonate-Usér".encode(), b"a")], "name is none"),
        ([(b"Accept", b"a\r\nImpersonate-User: b")], "control"),
        ([(b"Accept", b"a\x00")], "control"),
    ],
)
def test_what_is_ambiguous_is_refused(headers: list[Header], why: str):
    with pytest.raises(Ambiguous, match=why):
        understand(headers)


def test_an_upgrade_goes_on_only_when_it_is_one():
    websocket = [(b"Connection", b"keep-alive, Upgrade"), (b"Upgrade", b"WebSocket")]
    assert understand(websocket).upgrade == b"websocket"
    assert understand([(b"Connection", b"Upgrade"), (b"Upgrade", b"SPDY/3.1")]).upgrade == b"spdy/3.1"
    assert understand([(b"Upgrade", b"websocket")]).upgrade == b""
    assert understand([(b"Connection", b"Upgrade, HTTP2-Settings"), (b"Upgrade", b"h2c")]).upgrade == b""


def test_tokens_stay_here():
    head = understand(
        [
            (b"authorization", b"bearer  abc"),
            (b"Sec-WebSocket-Protocol", b"base64url.bearer.authorization.k8s.io.YWJj, v4.channel.k8s.io"),
            (b"Cookie", b"sessionid=1"),
            (b"Kubectl-Command", b"kubectl get"),
        ]
    )
    assert (head.token, head.command) == ("abc", "kubectl get")
    assert head.kept == ((b"Sec-WebSocket-Protocol", b"v4.channel.k8s.io"), (b"Kubectl-Command", b"kubectl get"))


def test_a_user_that_no_header_can_hold():
    for user in ("", "a\nb", " a"):
        with pytest.raises(ValueError, match="Impersonate-User"):
            to_cluster(understand([]), user, (), "")


@pytest.mark.parametrize(
    ("target", "cluster"),
    [
        ("/k8s/acme/prod", "/"),
        ("/k8s/acme/prod/", "/"),
        ("/k8s/acme/prod?timeout=1s", "/?timeout=1s"),
        ("/k8s/acme/prod/api/v1/nodes/a?x=..%2f", "/api/v1/nodes/a?x=..%2f"),
        ("/k8s/acme/prod/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node", None),
        ("/k8s/acme/prod/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode", None),
        ("/k8s/acme/prod/api/v1/namespaces/a/services/b:80/proxy/c%2Fd//e", None),
    ],
)
def test_addresses(target: str, cluster: str | None):
    found = address(target.encode())
    assert (found.organisation, found.cluster, found.prefix) == ("acme", "prod", "/k8s/acme/prod")
    assert found.target == (cluster or target.removeprefix("/k8s/acme/prod"))


@pytest.mark.parametrize(
    "target", ["/", "/k8s", "/k8s/", "/k8s/acme", "/k8s/acme/", "/k8s//prod/api", "/api/v1", "/K8S/a/b/"]
)
def test_addresses_of_something_else(target: str):
    with pytest.raises(Elsewhere):
        address(target.encode())


@pytest.mark.parametrize(
    "target",
    [
        "http://omni/k8s/acme/prod/api",
        "omni:443",
        "*",
        "/k8s/acme/prod/../other/api",
        "/k8s/acme/../prod/api",
        "/k8s/acme/prod/%2e%2e/other/api",
        "/k8s/acme/prod/.%2E/other/api",
        "/k8s/acme/prod/%252e%252e/other",
        "/k8s/acme/prod/api/v1/nodes%2f..%2fsecrets",
        "/k8s/acme/prod/api/v1/nodes%2Fa",
        "/k8s/acme/prod/api/v1/nodes\\..\\a",
        "/k8s/acme/prod//evil.example.org/api",
        "/k8s/acme/prod/api//v1",
        "/k8s/acme/prod/api/./v1",
        "/k8s/acme/prod/api/%00",
        "/k8s/acme/prod/api/%zz",
        "/k8s/acme/prod/api#x",
        "/k8s/acme/prod/api v1",
        "/k8s/acme/prod/api/\u00e4",
        "/k8s/acme/prod/api/v1/namespaces/a/services/b/proxy/../../../../secrets",
        "/k8s/acme/prod/api/v1/namespaces/a/services/b/proxy/%252e%252e/c",
        "/k8s/acme/prod/api/v1/namespaces/proxy/pods%2f",
    ],
)
def test_addresses_that_may_mean_something_else(target: str):
    with pytest.raises(Ambiguous):
        address(target.encode())


def test_answers_do_not_act_on_other_pages():
    answer = [
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"2"),
        (b"Connection", b"close, X-Private, Content-Length"),
        (b"X-Private", b"1"),
        (b"Set-Cookie", b"sessionid=evil"),
        (b"Strict-Transport-Security", b"max-age=1"),
        (b"Report-To", b"{}"),
        (b"Service-Worker-Allowed", b"/"),
        (b"X-Content-Type-Options", b"sniff"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Location", b"/api/v1/a/"),
        (b"Audit-Id", b"7"),
    ]
    assert to_client(answer, "/k8s/acme/prod") == [
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"2"),
        (b"Location", b"/k8s/acme/prod/api/v1/a/"),
        (b"Audit-Id", b"7"),
        (b"X-Content-Type-Options", b"nosniff"),
    ]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("/api", "/k8s/acme/prod/api"),
        ("//evil.example/api", "/k8s/acme/prod//evil.example/api"),
        ("/\\evil.example/api", "/k8s/acme/prod/\\evil.example/api"),
        ("a/b", "a/b"),
        ("?continue=https://x", "?continue=https://x"),
        ("", ""),
        ("https://evil.example/api", None),
        ("HTTPS:evil.example", None),
        ("\\\\evil.example/api", None),
        (" //evil.example/api", None),
        ("\t//evil.example/api", None),
        ("javascript:alert(1)", None),
    ],
)
def test_nobody_is_led_to_another_host(said: str, told: str | None):
    """client-go shows its token wherever it is led."""
    for name in (b"Location", b"location"):
        kept = dict(to_client([(name, said.encode())], "/k8s/acme/prod"))
        assert kept.get(name) == (told.encode() if told is not None else None)
