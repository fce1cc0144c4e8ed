"""Schematics and the strict reading of YAML into typed values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos import schematic
from talos.decode import DecodeError
from talos.yaml12 import YAMLError


def test_a_schematic_of_nothing_is_the_one_everybody_has():
    plain = schematic.of_extensions([])
    assert plain.canonical() == "customization: {}\n"
    assert plain.id() == "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"


words = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\x85"), max_size=12), max_size=5)


@given(words, words, st.booleans())
def test_the_canonical_text_is_read_as_what_it_was_written_from(extensions, arguments, older):
    made = schematic.of_extensions(extensions, arguments)
    assert schematic.parse(made.canonical(older_factory=older)) == made


def test_the_order_of_extensions_counts():
    assert schematic.of_extensions(["a", "b"]).id() != schematic.of_extensions(["b", "a"]).id()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the schematic is empty"),
        ("[]", r"line 1: a list is not a map \(Schematic\)"),
        ("nope: 1\n", "line 1: field nope not found in Schematic"),
        ("customization:\n  bootloader: lilo\n", "line 2: lilo does not belong to BootloaderKind values"),
        ("customization:\n  meta: [{key: 256}]\n", "line 2: `256` is not within 0 to 255"),
        ("customization:\n  meta: [{key: x}]\n", "line 2: `x` is not a whole number"),
        ("customization:\n  extraKernelArgs: [[a]]\n", "line 2: a list is not a single value"),
        ("customization:\n  extraKernelArgs: [2024-01-01]\n", "line 2: `2024-01-01` is not text: a date needs quotes"),
        ("customization:\n  secureboot: {includeWellKnownCertificates: maybe}\n", "is not true or false"),
        ("overlay: {options: []}\n", "line 1: a list is not a map"),
    ],
)
def test_a_wrong_schematic_is_refused_with_its_line(text, reason):
    with pytest.raises(ValueError, match=reason):
        schematic.parse(text)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(DecodeError) as caught:
        schematic.parse("a: 1\ncustomization:\n  b: 2\n  meta: 3\n")
    assert [reason.split(":")[0] for reason in caught.value.reasons] == ["line 1", "line 3", "line 4"]


def test_an_alias_bomb_is_refused():
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for name, previous in zip("bcdefghij", "abcdefghi", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{previous}'] * 10)}]\n"
    with pytest.raises(YAMLError):
        schematic.parse(bomb)
