"""What policies make of roles: by example, and what holds for any of them."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from apps.access.actor import ROLES
from apps.access.facts import Facts
from apps.access.methods import METHODS
from apps.access.policy import GRANT, LIMIT, NONE, Rule, Standing, hiding, lifted_anywhere, standing

ANA = "user:ana@example.com"
PROD = Facts("cluster", "1", "prod", "prod", {"env": "prod"})
NODE = Facts("machine", "m-1", "m-1", "prod", {"env": "prod"}, {"disk": "ssd"})
FREE = Facts("machine", "m-2", "m-2", "", {}, {"disk": "hdd"})
OBJECTS = (PROD, NODE, FREE)

roles = st.sampled_from(ROLES)
rules = st.builds(
    Rule,
    name=st.text("abcdef", min_size=1, max_size=4),
    subjects=st.lists(
        st.sampled_from(["*", ANA, "user:*", "service-account:*", "role:reader", "role:admin", "role:*"]), max_size=2
    ).map(tuple),
    effect=st.sampled_from([GRANT, LIMIT]),
    role=st.sampled_from(["", *ROLES]),
    clusters=st.lists(st.sampled_from(["prod", "p*", "stage-?", "*"]), max_size=2).map(tuple),
    cluster_labels=st.sampled_from(["", "env=prod", "env in (prod, stage)", "!env"]),
    machine_labels=st.sampled_from(["", "disk=ssd", "disk"]),
    kubernetes_groups=st.lists(st.sampled_from(["developers", "omni:*", "omni:reader", "*"]), max_size=2).map(tuple),
    talos_methods=st.lists(
        st.sampled_from(["machine.MachineService/*", "machine.MachineService/Reset", "*"]), max_size=2
    ).map(tuple),
).map(lambda rule: rule if rule.effect == GRANT or rule.role or rule.talos_methods else replace(rule, role=NONE))
many = st.lists(rules, max_size=6, unique_by=lambda rule: rule.name)
objects = st.sampled_from(OBJECTS)
methods = st.sampled_from([*METHODS, "new.Service/Method"])


def rank(role: str | None) -> int:
    return -1 if role is None else ROLES.index(role)


def no_more(one: Standing, other: Standing) -> bool:
    """Whether one may do nothing that the other may not."""
    calls = all(
        other.may_call(method, need.role) for method, need in METHODS.items() if one.may_call(method, need.role)
    )
    return rank(one.role) <= rank(other.role) and calls


def test_a_grant_lifts_where_it_is_about_and_nowhere_else() -> None:
    lift = Rule("deploy", (ANA,), role="operator", clusters=("prod",))
    found = standing("reader", ANA, "owner", [lift], PROD)
    assert (found.role, found.decided_by, found.groups) == ("operator", ("deploy",), ("omni:operator",))
    assert standing("reader", ANA, "owner", [lift], NODE).role == "operator"
    assert standing("reader", ANA, "owner", [lift], FREE).role == "reader"
    assert standing("reader", "user:ben@example.com", "owner", [lift], PROD).role == "reader"


def test_a_limit_wins_and_says_its_name() -> None:
    lift = Rule("a", ("*",), role="admin")
    lower = Rule("b", ("role:operator",), LIMIT, role="reader", cluster_labels="env=prod")
    found = standing("operator", ANA, "owner", [lift, lower], PROD)
    assert (found.role, found.decided_by, found.why) == ("reader", ("b",), ("a", "b"))
    assert standing("operator", ANA, "owner", [lift, lower], FREE).role == "admin"


def test_shut_out_is_said_apart_from_having_no_role() -> None:
    out = Rule("keep-out", (ANA,), LIMIT, role=NONE)
    assert standing("admin", ANA, "owner", [out], PROD).shut_out
    assert not standing(None, ANA, "owner", [out], PROD).shut_out
    assert hiding("admin", ANA, [out]) == (out,)
    assert hiding("owner", ANA, [out]) == hiding(None, ANA, [out]) == ()


def test_methods_beyond_the_role_and_methods_that_are_left() -> None:
    grant = Rule("boots", (ANA,), talos_methods=("machine.MachineService/Reboot",))
    keep = Rule("only-logs", (ANA,), LIMIT, talos_methods=("machine.MachineService/Logs", "*/Version"))
    reboot, logs = "machine.MachineService/Reboot", "machine.MachineService/Logs"
    assert standing("reader", ANA, "owner", [grant], NODE).may_call(reboot, "operator")
    both = standing("reader", ANA, "owner", [grant, keep], NODE)
    assert not both.may_call(reboot, "operator")
    assert both.may_call(logs, "reader")
    assert both.limits_without(reboot) == ("only-logs",)


def test_a_lesser_credential_takes_along_nothing_that_grants_add() -> None:
    grant = Rule("more", (ANA,), kubernetes_groups=("developers",), talos_methods=("machine.MachineService/Reset",))
    whole = standing("admin", ANA, "owner", [grant], NODE)
    lesser = standing("admin", ANA, "reader", [grant], NODE)
    assert whole.groups == ("omni:admin", "developers")
    assert lesser.groups == ("omni:reader",)
    assert not lesser.may_call("machine.MachineService/Reset", "admin")


def test_limits_by_role_hold_for_a_lesser_credential_of_that_role() -> None:
    out = Rule("no-admins", ("role:admin",), LIMIT, role=NONE, clusters=("prod",))
    assert standing("admin", ANA, "reader", [out], PROD).shut_out


@given(many, roles, objects)
def test_nobody_without_a_role_is_lifted(policies: list[Rule], ceiling: str, on: Facts) -> None:
    found = standing(None, ANA, ceiling, policies, on)
    assert found.role is None
    assert found.groups == ()
    assert not found.may_call("machine.MachineService/Version", "reader")


@given(many, roles, roles, objects, methods)
def test_ceilings_hold(policies: list[Rule], role: str, ceiling: str, on: Facts, method: str) -> None:
    found = standing(role, ANA, ceiling, policies, on)
    assert rank(found.role) <= rank(ceiling)
    for needed in ROLES[ROLES.index(ceiling) + 1 :]:
        assert not found.may_call(method, needed)


@given(many, roles, roles, objects)
def test_a_lower_ceiling_gives_no_more(policies: list[Rule], role: str, ceiling: str, on: Facts) -> None:
    lower = standing(role, ANA, ceiling, policies, on)
    whole = standing(role, ANA, "owner", policies, on)
    assert no_more(lower, whole)
    assert set(lower.groups) - {f"omni:{lower.role}"} <= set(whole.groups)


@given(many, rules, roles, roles, objects)
def test_one_more_limit_never_widens(policies: list[Rule], more: Rule, role: str, ceiling: str, on: Facts) -> None:
    limit = replace(more, name="more", effect=LIMIT)
    before = standing(role, ANA, ceiling, policies, on)
    after = standing(role, ANA, ceiling, [*policies, limit], on)
    assert no_more(after, before)
    assert set(after.groups) - {f"omni:{after.role}"} <= set(before.groups)


@given(many, rules, roles, roles, objects)
def test_one_more_grant_never_narrows(policies: list[Rule], more: Rule, role: str, ceiling: str, on: Facts) -> None:
    grant = replace(more, name="more", effect=GRANT, role="" if more.role == NONE else more.role)
    assert no_more(standing(role, ANA, ceiling, policies, on), standing(role, ANA, ceiling, [*policies, grant], on))


@given(many, objects)
def test_owners_are_not_limited(policies: list[Rule], on: Facts) -> None:
    found = standing("owner", ANA, "owner", policies, on)
    assert found.role == "owner"
    assert not found.limits
    assert all(found.may_call(method, need.role) for method, need in METHODS.items())


@given(st.data(), many, roles, roles, objects)
def test_the_order_of_policies_is_irrelevant(
    data: st.DataObject, policies: list[Rule], role: str, ceiling: str, on: Facts
) -> None:
    mixed = data.draw(st.permutations(policies))
    assert standing(role, ANA, ceiling, policies, on) == standing(role, ANA, ceiling, mixed, on)


@given(many, roles, roles, objects)
def test_policies_about_others_change_nothing(policies: list[Rule], role: str, ceiling: str, on: Facts) -> None:
    others = [replace(rule, subjects=("user:somebody@else.example",)) for rule in policies]
    assert standing(role, ANA, ceiling, others, on) == standing(role, ANA, ceiling, [], on)


@given(many, roles, roles, objects)
@settings(max_examples=200)
def test_the_reasons_are_the_reasons(policies: list[Rule], role: str, ceiling: str, on: Facts) -> None:
    """Without the policies that decide the role it would be another one; where none does, it is what it was."""
    found = standing(role, ANA, ceiling, policies, on)
    named = [rule for rule in policies if rule.name in found.decided_by]
    rest = [rule for rule in policies if rule.name not in found.decided_by]
    if named:
        assert standing(role, ANA, ceiling, rest, on).role != found.role
    else:
        assert standing(role, ANA, ceiling, [], on).role == found.role


@given(many, roles, roles, objects)
def test_no_role_is_above_the_highest_that_is_held_somewhere(
    policies: list[Rule], role: str, ceiling: str, on: Facts
) -> None:
    assert rank(standing(role, ANA, ceiling, policies, on).role) <= rank(lifted_anywhere(role, ANA, ceiling, policies))


@given(many, roles, roles, objects)
def test_hidden_is_what_a_hiding_limit_covers(policies: list[Rule], role: str, ceiling: str, on: Facts) -> None:
    hides = any(rule.covers(on) for rule in hiding(role, ANA, policies))
    assert standing(role, ANA, ceiling, policies, on).shut_out == hides
