"""Label selectors as Kubernetes and the template format write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos.selectors import LENGTH_LIMIT, Term, matches_any, parse_selector

LABELS = {"zone": "a", "rack": "3", "mem": "64", "ssd": ""}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("zone", True),
        ("ssd", True),
        ("gpu", False),
        ("!gpu", True),
        ("! zone", False),
        ("zone=a", True),
        ("zone==a", True),
        ("zone = b", False),
        ("gpu = x", False),
        ("zone != b", True),
        ("gpu != x", True),
        ("zone != a", False),
        ("zone in (a, b)", True),
        ("zone in(b)", False),
        ("zone notin (b,c)", True),
        ("gpu notin (x)", True),
        ("zone notin (a)", False),
        ("mem > 32", True),
        ("mem >= 64", True),
        ("mem < 64", False),
        ("mem <= 64", True),
        ("zone > 1", False),
        ("gpu > 1", False),
        ("zone = a, rack = 3", True),
        ("zone = a, rack = 4", False),
        ("zone,!gpu,mem>8", True),
        ("omni.sidero.dev/arch = amd64", False),
    ],
)
def test_matching(selector: str, matches: bool) -> None:
    assert all(term.matches(LABELS) for term in parse_selector(selector)) == matches


@pytest.mark.parametrize("text", ["", " ", ",", "zone = a = b", "zone in ()", "zone in (a", "=a", "zone a", "(a)", "!"])
def test_what_does_not_parse(text: str) -> None:
    with pytest.raises(ValueError, match=r"selector|value"):
        parse_selector(text)


def test_the_place_is_named() -> None:
    with pytest.raises(ValueError, match="does not parse at “in \\(a”"):
        parse_selector("zone = a, in (a")


def test_a_long_one_is_refused_before_it_is_read() -> None:
    with pytest.raises(ValueError, match=f"at most {LENGTH_LIMIT}"):
        parse_selector("a" + " " * 1_000_000 + "!")


def test_any_of_several() -> None:
    assert matches_any(["zone = b", "rack = 3"], LABELS)
    assert not matches_any(["zone = b", "rack = 4"], LABELS)
    assert not matches_any([], LABELS)


keys = st.from_regex(r"[a-z][a-z0-9./-]{0,10}", fullmatch=True).filter(lambda key: key not in ("in", "notin"))
held = st.dictionaries(keys, st.from_regex(r"[a-z0-9]{0,5}", fullmatch=True), max_size=4)


@given(keys, st.lists(st.from_regex(r"[a-z0-9]{1,5}", fullmatch=True), min_size=1, max_size=3), held)
def test_opposites_differ(key: str, values: list[str], labels: dict[str, str]) -> None:
    some = ", ".join(values)
    for one, other in (
        (f"{key}", f"!{key}"),
        (f"{key} in ({some})", f"{key} notin ({some})"),
        (f"{key}={values[0]}", f"{key}!={values[0]}"),
    ):
        assert matches_any([one], labels) != matches_any([other], labels)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        terms = parse_selector(text)
    except ValueError:
        return
    assert terms
    assert all(isinstance(term, Term) and isinstance(term.matches(LABELS), bool) for term in terms)
