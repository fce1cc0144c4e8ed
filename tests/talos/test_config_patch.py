"""Merging, deleting and RFC 6902 operations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos.config.document import ConfigError, encode, from_documents, load
from talos.config.jsonpatch import OperationError
from talos.config.jsonpatch import apply as apply_operations
from talos.config.patch import JSONPatch, StrategicPatch, apply, apply_text, load_patch

BASE = {
    "version": "v1alpha1",
    "machine": {
        "type": "worker",
        "certSANs": ["a"],
        "sysctls": {"a": "1", "b": "2"},
        "kubelet": {"extraArgs": {"v": "2", "x": "1"}, "extraConfig": {"n": 1, "list": [1], "deep": {"x": 1}}},
        "network": {"interfaces": [{"interface": "eth0", "addresses": ["10.0.0.1/8"], "mtu": 1400, "dhcp": True}]},
    },
    "cluster": {"network": {"podSubnets": ["10.244.0.0/16"]}},
}


def patched(text: str, base: dict = BASE) -> dict:
    """The v1alpha1 document after a patch."""
    return dict(apply(from_documents([base]), [load_patch(text)]).v1alpha1)


def machine(text: str) -> dict:
    return patched(f"machine: {text}")["machine"]


def test_merge_rules():
    assert machine("{certSANs: [a, b]}")["certSANs"] == ["a", "a", "b"]
    assert machine('{certSANs: [], type: ""}') == BASE["machine"]
    assert machine('{sysctls: {b: "", c: ""}}')["sysctls"] == {"a": "1", "b": "2", "c": ""}
    assert machine('{kubelet: {extraArgs: {v: [p, q], x: ""}}}')["kubelet"]["extraArgs"] == {"v": ["p", "q"], "x": None}
    assert machine("{kubelet: {extraConfig: {n: 2, list: [2], deep: {y: 2}}}}")["kubelet"]["extraConfig"] == {
        "n": 2,
        "list": [1, 2],
        "deep": {"x": 1, "y": 2},
    }
    pods = patched("cluster: {network: {podSubnets: [10.10.0.0/16]}}")["cluster"]["network"]["podSubnets"]
    assert pods == ["10.10.0.0/16"]


def test_interfaces_are_found_again():
    interfaces = machine(
        "{network: {interfaces: [{interface: eth0, addresses: [10.0.0.2/8], dhcp: false, mtu: 0}, {interface: eth1}]}}"
    )["network"]["interfaces"]
    assert interfaces == [
        {"interface": "eth0", "addresses": ["10.0.0.1/8", "10.0.0.2/8"], "mtu": 1400, "dhcp": False},
        {"interface": "eth1"},
    ]


def test_a_type_cannot_change_in_free_form_content():
    with pytest.raises(ConfigError) as caught:
        machine("{kubelet: {extraConfig: {deep: {x: one}}}}")
    assert str(caught.value).endswith(
        "merge field meta.Unstructured.Object: merge map key map[string]interface {}[deep]: "
        "merge type mismatch left int right string"
    )


def test_urls_merge_by_part():
    base = {"apiVersion": "v1alpha1", "kind": "SideroLinkConfig", "apiUrl": "https://a:1/path?jointoken=x&t=true"}
    config = apply(
        from_documents([base]),
        [load_patch("apiVersion: v1alpha1\nkind: SideroLinkConfig\napiUrl: grpc://b:2?jointoken=y\n")],
    )
    assert config.find("SideroLinkConfig")["apiUrl"] == "grpc://b:2/path?jointoken=y"


def test_selectors_and_minimum_sizes_are_cleared_by_each_patch_of_their_document():
    volume = {
        "apiVersion": "v1alpha1",
        "kind": "VolumeConfig",
        "name": "EPHEMERAL",
        "provisioning": {"diskSelector": {"match": "true"}, "minSize": "1GiB", "maxSize": "2GiB"},
    }
    patch = load_patch("apiVersion: v1alpha1\nkind: VolumeConfig\nname: EPHEMERAL\nmount: {secure: true}\n")
    text = encode(apply(from_documents([volume]), [patch]))
    assert text.endswith("provisioning:\n    maxSize: 2GiB\nmount:\n    secure: true\n")


def test_deletions():
    assert machine("{sysctls: {a: {$patch: delete}}}")["sysctls"] == {"b": "2"}
    assert "certSANs" not in machine("{certSANs: {$patch: delete}}")
    interfaces = machine("{network: {interfaces: [{interface: eth0, $patch: delete}]}}")["network"]["interfaces"]
    assert interfaces == []
    assert "n" not in machine("{kubelet: {extraConfig: {n: {$patch: delete}}}}")["kubelet"]["extraConfig"]
    readded = patched("machine: {certSANs: [x]}\n---\nmachine: {certSANs: {$patch: delete}}\n")
    assert readded["machine"]["certSANs"] == ["x"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "machine: {sysctls: {z: {$patch: delete}}}",
            "patch delete: path 'machine.sysctls.z' in document '/v1alpha1': "
            "failed to delete path 'machine.sysctls.z': lookup failed",
        ),
        (
            "machine: {network: {interfaces: [{deviceSelector: {driver: x}, $patch: delete}]}}",
            "patch delete: path 'machine.network.interfaces.[0]' in document '/v1alpha1': "
            "failed to delete path 'machine.network.interfaces.[0]': lookup failed",
        ),
        (
            "machine: {network: {interfaces: [{interface: eth0, mtu: {$patch: delete}}]}}",
            "error processing patch delete statements at line 1: "
            "cannot delete an inner key in 'machine.network.interfaces.[0].mtu'",
        ),
        (
            "machine: {}\n---\nkind: HostnameConfig\n$patch: delete\n",
            "error processing patch delete statements at line 2: "
            "missing apiVersion in document for which $patch: delete is used",
        ),
        (
            'machine: {sysctls: {"": {$patch: delete}}}',
            "error processing patch delete statements at line 1: "
            "cannot delete a key without a name in 'machine.sysctls.'",
        ),
    ],
)
def test_impossible_deletions(text, error):
    with pytest.raises(ConfigError) as caught:
        patched(text)
    assert str(caught.value) == error


def test_documents_are_added_and_removed():
    config = from_documents([{"apiVersion": "v1alpha1", "kind": "EventSinkConfig", "endpoint": "a:1"}])
    added = apply(config, [load_patch("apiVersion: v1alpha1\nkind: KmsgLogConfig\nname: x\nurl: tcp://h:1\n")])
    assert [document.title for document in added.documents] == ["EventSinkConfig", "KmsgLogConfig/x"]
    gone = apply(added, [load_patch("apiVersion: v1alpha1\nkind: EventSinkConfig\n$patch: delete\n")])
    assert [document.title for document in gone.documents] == ["KmsgLogConfig/x"]
    same = apply(gone, [load_patch("apiVersion: v1alpha1\nkind: EventSinkConfig\n$patch: delete\n")])
    assert same == gone


def test_applying_leaves_the_original_alone():
    config = from_documents([BASE])
    before = encode(config)
    apply(config, [load_patch("machine: {certSANs: [z], kubelet: {extraConfig: {list: [9], deep: {x: 2}}}}")])
    assert encode(config) == before


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("machine: {}\ncluster: {}\n", StrategicPatch),
        ('{"machine": {"certSANs": ["a"]}}', StrategicPatch),
        ('[{"op": "add", "path": "/a", "value": 1}]', JSONPatch),
        ("- op: remove\n  path: /a\n", JSONPatch),
        ("# nothing\n", JSONPatch),
    ],
)
def test_the_kind_is_recognised(text, kind):
    assert isinstance(load_patch(text), kind)


def test_unquoted_dates_cannot_be_patched():
    config = from_documents([BASE])
    with pytest.raises(ConfigError, match="quote the date 2024-01-01T00:00:00Z"):
        apply(
            apply(config, [load_patch("machine: {pods: [{day: 2024-01-01}]}")]), [load_patch("machine: {type: init}")]
        )


def test_json_patches_need_one_document():
    patch = load_patch('[{"op": "replace", "path": "/machine/type", "value": "controlplane"}]')
    assert apply(from_documents([BASE]), [patch]).v1alpha1["machine"]["type"] == "controlplane"
    two = "version: v1alpha1\n---\napiVersion: v1alpha1\nkind: EventSinkConfig\nendpoint: a:1\n"
    with pytest.raises(ConfigError, match="JSON6902 patches are not supported for multi-document"):
        apply_text(two, [patch])


def test_text_without_patches_is_not_touched():
    text = "# mine\nversion: v1alpha1 # c\n"
    assert apply_text(text, []) == text


@pytest.mark.parametrize(
    ("operations", "result"),
    [
        ([{"op": "add", "path": "/list/1", "value": "x"}], {"list": ["a", "x", "b"], "map": {"k/~": 1}}),
        ([{"op": "add", "path": "/list/-", "value": "x"}], {"list": ["a", "b", "x"], "map": {"k/~": 1}}),
        ([{"op": "remove", "path": "/map/k~1~0"}], {"list": ["a", "b"], "map": {}}),
        ([{"op": "move", "from": "/list/0", "path": "/map/m"}], {"list": ["b"], "map": {"k/~": 1, "m": "a"}}),
        ([{"op": "copy", "from": "/list", "path": "/map/m"}], {"list": ["a", "b"], "map": {"k/~": 1, "m": ["a", "b"]}}),
        ([{"op": "replace", "path": "/new", "value": 1}], {"list": ["a", "b"], "map": {"k/~": 1}, "new": 1}),
        ([{"op": "replace", "path": "", "value": {}}], {}),
        ([{"op": "test", "path": "/list/-1", "value": "b"}], {"list": ["a", "b"], "map": {"k/~": 1}}),
    ],
)
def test_operations(operations, result):
    document = {"list": ["a", "b"], "map": {"k/~": 1}}
    assert apply_operations(document, operations) == result
    assert document == {"list": ["a", "b"], "map": {"k/~": 1}}


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ({"op": "frob"}, "Unexpected kind: frob"),
        ({"op": "remove", "path": "/x"}, "error in remove for path: '/x': Unable to remove nonexistent key: x"),
        ({"op": "add", "path": "/x/y", "value": 1}, 'add operation does not apply: doc is missing path: "/x/y"'),
        ({"op": "add", "path": "/list/9", "value": 1}, "Unable to access invalid index: 9"),
        ({"op": "test", "path": "/list/0", "value": 1}, "testing value /list/0 failed: test failed"),
        ({"op": "replace", "path": "/list/9", "value": 1}, "replace operation does not apply: doc is missing key"),
        ({"op": "add"}, "add operation failed to decode path"),
    ],
)
def test_operations_that_do_not_apply(operation, error):
    with pytest.raises(OperationError) as caught:
        apply_operations({"list": ["a"]}, [operation])
    assert error in str(caught.value)


names = st.sampled_from(["a", "b", "c"])
free = st.dictionaries(
    names, st.recursive(st.text("xyz", min_size=1, max_size=2), lambda inner: st.dictionaries(names, inner, min_size=1))
)


@given(free, free)
def test_free_form_content_only_grows(old, new):
    """What a patch does not name stays, and its own scalars win unless a type would change."""
    base = from_documents([{"machine": {"kubelet": {"extraConfig": old}}}])
    document = {"machine": {"kubelet": {"extraConfig": new}}}
    patch = load_patch(encode(from_documents([document])))
    problem = ""
    try:
        result = apply(base, [patch]).v1alpha1["machine"]["kubelet"].get("extraConfig") or {}
    except ConfigError as error:
        problem = str(error)
    if problem:
        assert "merge type mismatch" in problem
        return
    assert result.keys() == old.keys() | new.keys()
    assert all(result[key] == new[key] for key in new if isinstance(new[key], str))
    assert all(result[key] == old[key] for key in old.keys() - new.keys())


def test_a_patched_text_loads():
    text = encode(from_documents([BASE]))
    assert encode(load(apply_text(text, [load_patch("machine: {token: t}")]))).count("token: t") == 1
