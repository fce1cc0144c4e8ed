"""Heads between HTTP/2 and HTTP/1.1: nothing gets out of its place."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.h2front.messages import Field, Refused, answer, request

HOST = b"omni.example.com"


def fields(method: bytes = b"GET", path: bytes = b"/", *more: Field) -> list[Field]:
    return [(b":method", method), (b":scheme", b"https"), (b":authority", HOST), (b":path", path), *more]


def said(event: h11.Request) -> tuple[bytes, bytes, list[Field]]:
    return event.method, event.target, [(bytes(name), bytes(value)) for name, value in event.headers]


def test_a_request() -> None:
    block = fields(b"GET", b"/a?b=c", (b"accept", b"*/*"), (b"te", b"trailers"), (b"x-thing", b"1"), (b"x-thing", b"2"))
    headers = [(b"host", HOST), (b"accept", b"*/*"), (b"x-thing", b"1"), (b"x-thing", b"2")]
    assert said(request(block, ended=True)) == (b"GET", b"/a?b=c", headers)


def test_cookies_are_joined() -> None:
    block = fields(b"GET", b"/", (b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2"))
    assert said(request(block, ended=True))[2] == [(b"host", HOST), (b"x", b"y"), (b"cookie", b"a=1; b=2")]


def test_without_authority_the_host_counts() -> None:
    block = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), (b"host", b"[2001:db8::1]:443")]
    assert said(request(block, ended=True))[2] == [(b"host", b"[2001:db8::1]:443")]


@pytest.mark.parametrize(
    ("method", "more", "ended", "framing"),
    [
        (b"GET", [], True, []),
        (b"POST", [], True, [(b"content-length", b"0")]),
        (b"POST", [], False, [(b"transfer-encoding", b"chunked")]),
        (b"GET", [], False, [(b"transfer-encoding", b"chunked")]),
        (b"PUT", [(b"content-length", b"17")], False, [(b"content-length", b"17")]),
        (b"PUT", [(b"content-length", b"0")], True, [(b"content-length", b"0")]),
    ],
)
def test_how_the_end_of_a_body_is_known(method: bytes, more: list[Field], ended: bool, framing: list[Field]) -> None:
    assert said(request(fields(method, b"/", *more), ended))[2] == [(b"host", HOST), *framing]


@pytest.mark.parametrize(
    ("block", "status"),
    [
        (fields(b"GET", b""), 400),
        (fields(b"GET", b"a"), 400),
        (fields(b"GET", b"https://omni.example.com/"), 400),
        (fields(b"GET", b"*"), 400),
        (fields(b"GET", b"/ HTTP/1.1\r\nx: y\r\n\r\nGET /"), 400),
        (fields(b"GET", b"/a b"), 400),
        (fields(b"GET", b"/\xc3\xa4"), 400),
        (fields(b"GET / HTTP/1.1\r\n", b"/"), 400),
        (fields(b"", b"/"), 400),
        (fields(b"GE T", b"/"), 400),
        (fields(b"GET", b"/", (b"x", b"a\r\nb: c")), 400),
        (fields(b"GET", b"/", (b"x", b"a\0")), 400),
        (fields(b"GET", b"/", (b"x y", b"a")), 400),
        (fields(b"GET", b"/", (b"x:y", b"a")), 400),
        (fields(b"GET", b"/", (b"x\r\n", b"a")), 400),
        (fields(b"GET", b"/", (b"connection", b"x-secret")), 400),
        (fields(b"POST", b"/", (b"transfer-encoding", b"chunked")), 400),
        (fields(b"POST", b"/", (b"upgrade", b"websocket")), 400),
        (fields(b"POST", b"/", (b"content-length", b"1"), (b"content-length", b"2")), 400),
        (fields(b"POST", b"/", (b"content-length", b"1"), (b"content-length", b"1")), 400),
        (fields(b"POST", b"/", (b"content-length", b"1, 1")), 400),
        (fields(b"POST", b"/", (b"content-length", b"+1")), 400),
        (fields(b"POST", b"/", (b"content-length", b"-1")), 400),
        (fields(b"POST", b"/", (b"content-length", b"1_0")), 400),
        (fields(b"POST", b"/", (b"content-length", b"0x1")), 400),
        (fields(b"POST", b"/", (b"content-length", b"")), 400),
        (fields(b"POST", b"/", (b"content-length", b"9" * 30)), 400),
        ([(b":method", b"GET"), (b":path", b"/"), (b":authority", b"a@b")], 400),
        ([(b":method", b"GET"), (b":path", b"/"), (b":authority", b"a\r\nx: y")], 400),
        ([(b":method", b"GET"), (b":path", b"/")], 400),
        ([(b":method", b"CONNECT"), (b":authority", b"a:1")], 501),
        (fields(b"CONNECT", b"/live", (b":protocol", b"websocket")), 501),
        (fields(b"POST", b"/m.S/Call", (b"content-type", b"application/grpc+proto")), 415),
        (fields(b"POST", b"/m.S/Call", (b"content-type", b"Application/GRPC")), 415),
    ],
)
def test_what_no_server_gets_to_see(block: list[Field], status: int) -> None:
    with pytest.raises(Refused) as refused:
        request(block, ended=False)
    assert refused.value.status == status
    assert refused.value.text.endswith(".")


def test_a_length_without_a_body() -> None:
    with pytest.raises(Refused):
        request(fields(b"POST", b"/", (b"content-length", b"5")), ended=True)


NAMES = st.sampled_from([b"x-a", b"cookie", b"content-length", b"te", b"transfer-encoding", b"connection", b"host"])
PIECES = st.sampled_from([b"\r\n", b"\r", b"\n", b"\0", b" ", b"\t", b":", b"a", b"0", b"5", b",", b"chunked", b"\x80"])
TEXT = st.lists(PIECES, max_size=6).map(b"".join) | st.binary(max_size=12)


@given(
    method=st.sampled_from([b"GET", b"POST"]) | TEXT,
    path=st.builds(lambda rest: b"/" + rest, TEXT),
    more=st.lists(st.tuples(NAMES | TEXT.filter(lambda name: not name.startswith(b":")), TEXT), max_size=4),
    ended=st.booleans(),
)
def test_a_server_reads_one_request_and_no_more(method: bytes, path: bytes, more: list[Field], ended: bool) -> None:
    """Whatever a client sends, the bytes that reach a server are the head of exactly one request: the client's."""
    try:
        event = request(fields(method, path, *more), ended)
    except Refused:
        return
    wire = h11.Connection(h11.CLIENT).send(event)
    assert wire is not None
    lines = wire.split(b"\r\n")
    assert lines[0] == method + b" " + path + b" HTTP/1.1"
    assert lines[-2:] == [b"", b""]
    assert b"\n" not in b"".join(lines)
    assert len(lines) == 3 + len(event.headers)
    server = h11.Connection(h11.SERVER)
    server.receive_data(wire)
    read = server.next_event()
    assert isinstance(read, h11.Request)
    names = [name for name, _ in read.headers]
    assert names.count(b"host") == 1
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
    assert not {b"connection", b"te", b"upgrade"} & set(names)


def test_an_answer() -> None:
    headers = [("Content-Type", "text/html"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Content-Length", "3")]
    assert answer(h11.Response(status_code=200, headers=headers)) == [
        (b":status", b"200"),
        (b"content-type", b"text/html"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"content-length", b"3"),
    ]


def test_what_belongs_to_a_connection_stays_there() -> None:
    headers = [
        ("Connection", "keep-alive, X-Hop"),
        ("Keep-Alive", "timeout=5"),
        ("X-Hop", "secret"),
        ("Proxy-Connection", "keep-alive"),
        ("Upgrade", "h2c"),
        ("Transfer-Encoding", "chunked"),
        ("X-Kept", "1"),
    ]
    assert answer(h11.Response(status_code=204, headers=headers)) == [(b":status", b"204"), (b"x-kept", b"1")]
