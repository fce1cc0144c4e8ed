"""What has to change in a cluster: played against a Kubernetes API that keeps bindings and accounts."""

from typing import Any
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from apps.clusters.kubernetes import Call
from apps.proxies import objects
from apps.proxies.objects import CLUSTER_ROLES, NAMESPACE

GROUPS = {
    "omni:reader": "view",
    "omni:operator": "edit",
    "omni:admin": "admin",
    "omni:owner": "cluster-admin",
    "omni:look": "omni:look",
}


def of_accounts(direct: dict[str, str]) -> dict[str, str]:
    """The bindings of accounts and the role of each."""
    bound = {f"omni-access:{name}": role for name, role in direct.items()}
    looking = {f"omni-access:{name}:look": "omni:look" for name, role in direct.items() if role != "cluster-admin"}
    return bound | looking


class Api:
    """The part of a cluster's API that this needs, with its rule that a binding keeps its role."""

    def __init__(self) -> None:
        self.bindings: dict[str, dict[str, Any]] = {}
        self.accounts: dict[str, dict[str, Any]] = {}
        self.cluster_roles: dict[str, dict[str, Any]] = {}
        self.calls: list[Call] = []

    def call(self, asked: Call) -> Any:
        self.calls.append(asked)
        path, _, _ = asked.path.partition("?")
        name = unquote(path.rpartition("/")[2])
        kinds = {"serviceaccounts": self.accounts, "clusterroles": self.cluster_roles}
        rows = next((rows for kind, rows in kinds.items() if kind in path.split("/")), self.bindings)
        if asked.method == "GET":
            return {"items": list(rows.values())}
        if path.endswith("/token"):
            assert asked.body["kind"] == "TokenRequest"
            return {"status": {"token": "t", "expirationTimestamp": "2031-01-01T00:00:00Z"}}
        if asked.method == "DELETE":
            return rows.pop(name, None)
        assert (asked.method, asked.content_type) == ("PATCH", "application/apply-patch+yaml")
        assert "fieldManager=omni" in asked.path
        assert asked.body["metadata"]["name"] == name
        if asked.body["kind"] == "Namespace":
            return asked.body
        if rows is self.bindings and name in rows:
            assert rows[name]["roleRef"] == asked.body["roleRef"], "a binding keeps its role"
        rows[name] = asked.body
        return asked.body

    def roles(self) -> dict[str, str]:
        return {name: item["roleRef"]["name"] for name, item in self.bindings.items()}

    def settle(self, direct: dict[str, str]) -> int:
        """Look, and do what has to be done; how many changes that was."""
        there = objects.seen(*[self.call(asked) for asked in objects.LOOK])
        changes = objects.changes(there, direct)
        for asked in changes:
            self.call(asked)
        return len(changes)


def test_groups_of_roles_in_a_new_cluster() -> None:
    api = Api()
    assert api.settle({}) == 6
    assert api.roles() == GROUPS
    for name, item in api.bindings.items():
        groups = ["omni:reader", "omni:operator", "omni:admin"] if name == "omni:look" else [name]
        assert [one["name"] for one in item["subjects"]] == groups
        assert {(one["kind"], one["apiGroup"]) for one in item["subjects"]} == {("Group", "rbac.authorization.k8s.io")}
        assert item["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "omni"}
    assert api.settle({}) == 0


def test_nobody_is_bound_to_masters() -> None:
    assert "system:masters" not in str(objects.wanted_bindings({"key-1": "cluster-admin"}))


def test_what_somebody_changed_is_put_right() -> None:
    api = Api()
    api.settle({})
    api.bindings["omni:reader"]["subjects"].append({"kind": "Group", "name": "system:unauthenticated"})
    del api.bindings["omni:operator"]
    api.bindings["omni:admin"] = {**api.bindings["omni:admin"], "roleRef": {"kind": "ClusterRole", "name": "view"}}
    api.settle({})
    assert api.roles() == GROUPS
    assert [one["name"] for one in api.bindings["omni:reader"]["subjects"]] == ["omni:reader"]


def test_people_look_at_nodes_and_at_no_secrets() -> None:
    api = Api()
    api.settle({})
    rules = api.cluster_roles["omni:look"]["rules"]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list", "watch"}
    looked_at = {resource for rule in rules for resource in rule["resources"]}
    assert "nodes" in looked_at
    assert not looked_at & {"secrets", "*", "nodes/proxy", "clusterroles"}
    api.cluster_roles["omni:look"] = {**api.cluster_roles["omni:look"], "rules": rules[1:]}
    assert api.settle({}) == 1
    assert api.cluster_roles["omni:look"]["rules"] == rules


def test_what_is_not_ours_stays() -> None:
    api = Api()
    for name in ("system:node", "cluster-admin", "omnivore", "team:omni:reader"):
        api.bindings[name] = {
            "metadata": {"name": name},
            "roleRef": {"kind": "ClusterRole", "name": "x"},
            "subjects": [],
        }
    api.accounts["default"] = {"metadata": {"name": "default"}}
    api.settle({})
    assert "default" in api.accounts
    assert {"system:node", "cluster-admin", "omnivore", "team:omni:reader"} < set(api.bindings)


def test_an_account_and_its_end() -> None:
    api = Api()
    for asked in objects.new_account("key-1", "edit", "ann@example.com", 3600):
        api.call(asked)
    assert api.accounts["key-1"]["metadata"]["annotations"] == {"omni/holder": "ann@example.com"}
    assert api.accounts["key-1"]["automountServiceAccountToken"] is False
    assert api.calls[-1].body["spec"] == {"expirationSeconds": 3600}
    api.settle({"key-1": "edit"})
    assert api.roles() == GROUPS | of_accounts({"key-1": "edit"})
    api.settle({"key-1": "view"})
    assert api.roles() == GROUPS | of_accounts({"key-1": "view"})
    api.settle({"key-1": "cluster-admin"})
    assert api.roles() == GROUPS | of_accounts({"key-1": "cluster-admin"})
    api.settle({})
    assert not api.accounts
    assert api.roles() == GROUPS


def test_accounts_that_end_go_before_anything_else() -> None:
    there = objects.Seen({}, frozenset({"key-1", "key-2"}), {})
    first = objects.changes(there, {"key-2": "view"})[0]
    assert (first.method, first.path) == ("DELETE", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/key-1")


NAMES = st.sampled_from(["key-1", "key-2", "key-3"])
DIRECT = st.dictionaries(NAMES, st.sampled_from(list(CLUSTER_ROLES.values())))


@given(DIRECT, DIRECT, st.sets(st.sampled_from(list(GROUPS))))
def test_one_look_is_enough_from_anywhere(before: dict[str, str], after: dict[str, str], lost: set[str]) -> None:
    api = Api()
    for name, role in before.items():
        for asked in objects.new_account(name, role, "x", 600):
            api.call(asked)
    api.settle(before)
    for name in lost:
        del api.bindings[name]
    api.settle(after)
    assert set(api.accounts) == set(before) & set(after)  # new ones are made by whoever gives out their tokens
    assert api.roles() == GROUPS | of_accounts(after)
    assert api.settle(after) == 0
