"""What is wrong with a policy is said, with what would be right."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.access import spec
from apps.access.policy import Rule

GOOD: dict[str, Any] = {"subjects": ["user:a@example.com"], "role": "operator", "clusters": ["prod-*"]}


def test_a_policy_is_read_and_written_back() -> None:
    rule = spec.read("deploy", {**GOOD, "machine_labels": "", "talos_methods": ["machine.MachineService/*"]})
    assert rule == Rule("deploy", ("user:a@example.com",), role="operator", clusters=("prod-*",),
                        talos_methods=("machine.MachineService/*",))  # fmt: skip
    assert spec.read("deploy", spec.written(rule)) == rule


@pytest.mark.parametrize(
    ("change", "field", "text"),
    [
        ({"subject": ["*"]}, "subject", "a policy has no such field; did you mean subjects?"),
        ({"colour": "red"}, "colour", "it has subjects, effect"),
        ({"subjects": []}, "subjects", "it is about nobody"),
        ({"subjects": "user:a@example.com"}, "subjects", "a list of texts is expected"),
        ({"subjects": ["a@example.com"]}, "subjects", "write user:a@example.com"),
        ({"subjects": ["reader"]}, "subjects", "write role:reader"),
        ({"subjects": ["user:A@example.com"]}, "subjects", "write user:a@example.com"),
        ({"subjects": ["role:boss"]}, "subjects", "roles are reader, operator, admin, owner"),
        ({"subjects": ["user:[ab"]}, "subjects", "has a [ without its ]"),
        ({"subjects": ["user:a b"]}, "subjects", "has a space in it"),
        ({"subjects": ["user:" + "a" * 260]}, "subjects", "265 characters; at most 254"),
        ({"subjects": [f"user:a{n}@b.c" for n in range(101)]}, "subjects", "101 entries; at most 100"),
        ({"effect": "deny"}, "effect", "write grant to give more, limit to leave less"),
        ({"role": "none"}, "role", "to shut somebody out write effect limit"),
        ({"role": "owner", "effect": "limit"}, "role", "at most owner is no limit"),
        ({"role": "boss"}, "role", "there is no role “boss”; write reader, operator, admin, owner"),
        ({"role": ""}, "role", "it changes nothing"),
        ({"role": 3}, "role", "a text is expected"),
        ({"clusters": ["prod-[1"]}, "clusters", "has a [ without its ]"),
        ({"cluster_labels": "env = = prod"}, "cluster_labels", "does not parse"),
        ({"machine_labels": "in ("}, "machine_labels", "does not parse"),
        ({"kubernetes_groups": ["dev*"]}, "kubernetes_groups", "a grant names each group"),
        ({"kubernetes_groups": ["dev"], "machine_labels": "a"}, "kubernetes_groups", "make two policies"),
        ({"talos_methods": ["Reboot"]}, "talos_methods", "write machine.MachineService/Reboot"),
        ({"talos_methods": ["/machine.MachineService/Logs"]}, "talos_methods", "write machine.MachineService/Logs"),
        ({"talos_methods": ["xyz"]}, "talos_methods", "write one like machine.MachineService/Logs"),
    ],
)
def test_what_is_wrong(change: dict[str, Any], field: str, text: str) -> None:
    with pytest.raises(spec.Wrong) as caught:
        spec.read("x", {**GOOD, **change})
    assert text in " ".join(caught.value.errors[field])


words = st.text("abP*[]:@.!= (),-é\n", max_size=12)
anything = st.dictionaries(
    st.sampled_from([*spec.FIELDS, "other"]), st.one_of(words, st.lists(words, max_size=4), st.integers(), st.none())
)


@given(anything)
def test_whatever_is_sent_is_read_or_refused(sent: dict[str, Any]) -> None:
    with contextlib.suppress(spec.Wrong):
        rule = spec.read("x", sent)
        assert spec.read("x", spec.written(rule)) == rule
