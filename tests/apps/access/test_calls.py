"""Talos methods and Kubernetes groups as the proxies ask for them, with what refusals say."""

from dataclasses import replace
from uuid import UUID

import pytest

from apps.access.actor import ROLES, Actor
from apps.access.calls import check_call, kubernetes_groups
from apps.access.check import Denied, allowed_somewhere
from apps.access.facts import Facts
from apps.access.methods import METHODS, need_of
from apps.access.policy import LIMIT, NONE, Rule

CLUSTER = Facts("cluster", "1", "prod", "prod")
NODE = Facts("machine", "m-1", "m-1", "prod")
FREE = Facts("machine", "m-2", "m-2")
READ, BOOT = "machine.MachineService/Version", "machine.MachineService/Reboot"


def actor(role: str | None, *rules: Rule, ceiling: str = "owner") -> Actor:
    return Actor("user", "1", "a@example.com", UUID(int=1), role, subject="user:a@example.com", ceiling=ceiling,
                 rules=rules)  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("method", METHODS)
def test_each_method_takes_its_role(method: str, role: str) -> None:
    if ROLES.index(role) >= ROLES.index(METHODS[method].role):
        assert check_call(actor(role), method, NODE) == METHODS[method]
    else:
        with pytest.raises(Denied, match=f"{method} needs {METHODS[method].role} on machine m-1; .* is {role}"):
            check_call(actor(role), method, NODE)


def test_unknown_methods_are_for_admins() -> None:
    with pytest.raises(Denied, match="needs admin"):
        check_call(actor("operator"), "new.Service/Method", NODE)
    assert check_call(actor("admin"), "new.Service/Method", NODE) == need_of("new.Service/Method")


def test_a_machine_in_no_cluster_takes_an_operator_for_anything() -> None:
    with pytest.raises(Denied, match="needs operator on machine m-2"):
        check_call(actor("reader"), READ, FREE)
    assert check_call(actor("operator"), READ, FREE).talos_role == "os:reader"


def test_the_refusal_names_the_policy() -> None:
    lower = Rule("x", ("*",), LIMIT, role="reader")
    with pytest.raises(Denied) as caught:
        check_call(actor("admin", lower), BOOT, NODE)
    assert str(caught.value) == f"{BOOT} needs operator on machine m-1; a@example.com is reader there by policy x"
    keep = Rule("logs", ("*",), LIMIT, talos_methods=("*/Logs",))
    with pytest.raises(Denied, match=f"{READ} on machine m-1 is not open to a@example.com: policy logs leaves other"):
        check_call(actor("admin", keep), READ, NODE)
    with pytest.raises(Denied, match="is reader with this credential"):
        check_call(replace(actor("reader", ceiling="reader"), holder_role="admin"), BOOT, NODE)


def test_who_is_shut_out_does_not_learn_that_it_is_there() -> None:
    out = Rule("x", ("*",), LIMIT, role=NONE, clusters=("prod",))
    for ask in (
        lambda: check_call(actor("admin", out), READ, NODE),
        lambda: kubernetes_groups(actor("admin", out), CLUSTER),
    ):
        with pytest.raises(Denied) as caught:
            ask()
        assert caught.value.hidden
    with pytest.raises(Denied) as caught:
        check_call(actor(None), READ, NODE)
    assert not caught.value.hidden


def test_kubernetes_groups_are_those_of_the_role_and_of_grants() -> None:
    more = Rule("dev", ("user:a@*",), kubernetes_groups=("developers",))
    assert kubernetes_groups(actor("reader", more), CLUSTER) == ("omni:reader", "developers")
    keep = Rule("none", ("*",), LIMIT, kubernetes_groups=("nothing",))
    with pytest.raises(Denied, match=r"kubernetes on cluster prod is not open to .*: policy none leaves none"):
        kubernetes_groups(actor("reader", more, keep), CLUSTER)
    with pytest.raises(Denied, match="has no role"):
        kubernetes_groups(actor(None, more), CLUSTER)


def test_policies_open_the_way_for_verbs_about_objects_only() -> None:
    lift = Rule("lift", ("*",), role="admin", clusters=("prod",))
    assert allowed_somewhere(actor("reader", lift), "cluster.destroy")
    assert not allowed_somewhere(actor("reader", lift), "member.invite")
    assert not allowed_somewhere(actor("reader", lift, ceiling="operator"), "cluster.talosconfig")
    assert not allowed_somewhere(actor(None, lift), "cluster.read")
