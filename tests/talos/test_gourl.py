"""URLs read and written like Go does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos.config import gourl


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://h",
        "https://u:p@h:1/a/b?q=1#f",
        "tcp://[fd00::1]:8092",
        "tcp://[fe80::1%25eth0]:1/",
        "tcp:opaque",
        "//h/p",
        "./a:b",
        "http://h/%2F%41",
        "http://h?",
        "tcp:///x",
        "tcp://a:1:2/",
        "*",
    ],
)
def test_kept_as_written(text):
    assert gourl.canonical(text) == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("HTTP://A/B", "http://A/B"),
        ("http://h/a b", "http://h/a%20b"),
        ("tcp://ü/ü", "tcp://%C3%BC/%C3%BC"),
        ("tcp://a#f g", "tcp://a#f%20g"),
    ],
)
def test_written_in_canonical_form(text, canonical):
    assert gourl.canonical(text) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "tcp://h:x",
        "tcp://[::1",
        "tcp://[zz]:1",
        "a:b@c:/d e\n",
        "tcp://a b/",
        "http://h/%zz",
        ":x",
        "1a:b",
        "tcp://a%20b/",
    ],
)
def test_refused(text):
    with pytest.raises(ValueError, match="parse"):
        gourl.parse(text)


@given(st.text("ab:/?#@[]%25.é", max_size=12))
def test_the_canonical_form_is_stable(text):
    try:
        canonical = gourl.canonical(text)
    except ValueError:
        return
    assert gourl.canonical(canonical) == canonical


def test_parts():
    url = gourl.parse("https://u%40:p@[fd00::1]:8090/a%2Fb?x=1")
    assert (url.user, url.password, url.hostname, url.port, url.path, url.query) == (
        "u@",
        "p",
        "fd00::1",
        "8090",
        "/a/b",
        "x=1",
    )


def test_merging_keeps_what_the_right_has_not():
    assert gourl.merge("https://d/", "http://e:1") == "http://e:1/"
    assert gourl.merge("https://u@d/p?x=1#f", "//e/q") == "https://u@e/q?x=1#f"
