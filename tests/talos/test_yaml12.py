"""The YAML codec: the 1.2 core schema in, Go's style out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos import yaml12
from talos.yaml12 import Octal, YAMLError

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2028\u2029"), max_size=40)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_what_is_written_reads_back(value):
    assert yaml12.load(yaml12.dump(value)) == value


@given(values)
def test_nodes_of_values_mean_the_same(value):
    assert yaml12.construct(yaml12.node_of(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("y", "y"),
        ("True", True),
        ("~", None),
        ("0o644", 420),
        ("0644", 420),
        ("0x1F", 31),
        ("1_000", 1000),
        ("08", 8.0),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1:30", "1:30"),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("=", "="),
        ("18446744073709551615", (1 << 64) - 1),
    ],
)
def test_plain_scalars(text, value):
    loaded = yaml12.load(f"k: {text}\n")["k"]
    assert loaded == value
    assert type(loaded) is type(value)


def test_dates_are_timestamps_and_stay_bare():
    assert yaml12.dump(yaml12.load("- 2024-01-02\n- 2024-1-2T03:04:05.600+02:00\n")) == (
        "- 2024-01-02T00:00:00Z\n- 2024-01-02T03:04:05.6+02:00\n"
    )


def test_the_style():
    value = {
        "words": ["yes", "true", "1e3", "", "a: b", "# no", "plain text", "tab\tin", "é", "😀"],
        "text": "one\n  two\n",
        "open": "one\n\n",
        "bare end": "one\ntwo",
        "spaces end": "one \ntwo",
        "nested": [[1, [2]], {"a": {"b": [{}]}, "c": []}],
        "mode": Octal(0o644),
        "numbers": [1.0, 1e6, 0.25, 1e-7],
        "null": None,
    }
    assert yaml12.dump(value) == (
        """words:
    - 'yes'
    - "true"
    - "1e3"
    - ""
    - 'a: b'
    - '# no'
    - plain text
    - "tab\\tin"
    - é
    - "\\U0001F600"
text: |
    one
      two
open: |+
    one

bare end: |-
    one
    two
spaces end: "one \\ntwo"
nested:
    - - 1
      - - 2
    - a:
        b:
            - {}
      c: []
mode: 0o644
numbers:
    - 1
    - 1e+06
    - 0.25
    - 1e-07
"null": null
"""
    )


def test_two_spaces():
    assert yaml12.dump({"a": [{"b": {"c": 1}}]}, indent=2) == "a:\n  - b:\n      c: 1\n"


def test_long_keys_need_the_question_mark():
    key = "k" * 129
    assert yaml12.dump({key: {"a": 1}}) == f"? {key}\n:   a: 1\n"


def test_keys_are_sorted_like_go_does():
    keys = ["a10", "a9", "a-1", "b", "A", "a", "a09", "1", "é"]
    assert list(yaml12.sort_keys(dict.fromkeys(keys))) == ["1", "A", "a", "a-1", "a9", "a09", "a10", "b", "é"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 'mapping key "a" already defined at line 1'),
        ("a: {b: 1, b: 2}\n", 'mapping key "b" already defined'),
        ("a: *nope\n", "unknown anchor 'nope'"),
        ("a: &x [*x]\n", "contains itself"),
        ("a: &x {b: 1}\nc: {<<: *x}\n", "merge keys are not supported"),
        ("a: [\n", "line 2"),
        ("a:\n\tb: 1\n", "line 2"),
        ("? [a]\n: b\n", "cannot be a key"),
        ("a: !!int x\n", "cannot construct"),
        ("a: 1\n---\nb: 2\n", "expected one YAML document"),
        (b"a: \xff\n", "invalid"),
    ],
)
def test_refused(text, message):
    with pytest.raises(YAMLError, match=message.replace("[", r"\[")):
        yaml12.load(text)


def test_aliases_are_expanded_but_not_without_end():
    assert yaml12.load("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{key}: &{key} [{','.join([f'*{previous}'] * 10)}]\n" for previous, key in zip("abcdef", "bcdefg", strict=True)
    )
    with pytest.raises(YAMLError, match="too many nodes"):
        yaml12.load(bomb)


def test_deep_nesting_is_refused():
    with pytest.raises(YAMLError, match="nesting"):
        yaml12.load("[" * 1000 + "]" * 1000)


def test_an_anchor_can_be_used_again():
    assert yaml12.load("- &x 1\n- *x\n- &x 2\n- *x\n") == [1, 1, 2, 2]


def test_texts_of_more_digits_than_python_reads():
    digits = "1" * 20_000
    assert yaml12.load(yaml12.dump({"a": digits})) == {"a": digits}
    assert yaml12.load(f"a: {digits}") == {"a": digits}
