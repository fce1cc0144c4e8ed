"""Reading and writing configurations."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talos import yaml12
from talos.config import document
from talos.config.document import ConfigError, encode, from_documents, load
from talos.config.schema import KINDS, V1ALPHA1
from talos.config.schema.composite import List, Map, Pointer, Struct
from talos.config.schema.formats import FreeForm
from talos.config.schema.types import Bool, Enum, Int, String, Type

WORDS = st.sampled_from(["a", "yes", "1", "", "x: y", "two\nlines\n", "null"])


def contents(type_: Type) -> st.SearchStrategy:
    """Values a field of the type can have, as they stand in YAML; None where only special texts fit."""
    match type_:
        case Pointer():
            return contents(type_.target)
        case List():
            return st.lists(contents(type_.item), max_size=2)
        case Map():
            return st.dictionaries(WORDS, contents(type_.value), max_size=2)
        case FreeForm():
            return st.dictionaries(st.sampled_from("abc"), WORDS | st.integers(-5, 5) | st.booleans(), max_size=2)
        case Struct():
            return structs(type_)
        case Bool():
            return st.booleans()
        case Int():
            return st.integers(0, 100)
        case Enum():
            return st.sampled_from(type_.words)
        case String():
            return WORDS
    return st.none()


def structs(struct: Struct) -> st.SearchStrategy:
    fields = {
        field.key: st.deferred(lambda type_=field.type: contents(type_))
        for field in struct.fields
        if field.key not in ("apiVersion", "kind")
    }
    return st.fixed_dictionaries({}, optional=fields)


REQUIRED = {
    "VethConfig": {"name": "one", "peer": {"name": "other"}},
    "NetworkRuleConfig": {"portSelector": {"protocol": "tcp"}},
}


def documents_of(kind: str) -> st.SearchStrategy:
    head = {"apiVersion": "v1alpha1", "kind": kind}
    return structs(KINDS[kind].struct).map(lambda values: head | values | REQUIRED.get(kind, {}))


@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("kind", sorted(KINDS))
@given(data=st.data())
def test_every_kind_is_written_as_it_reads_back(kind, data):
    content = data.draw(documents_of(kind))
    text = encode(from_documents([content]))
    assert encode(load(text)) == text
    assert encode(load(yaml12.dump(content))) == text


@settings(max_examples=30, deadline=None)
@given(structs(V1ALPHA1))
def test_the_v1alpha1_document_is_written_as_it_reads_back(values):
    text = encode(from_documents([{"version": "v1alpha1", "persist": True} | values]))
    assert encode(load(text)) == text


def test_fields_get_their_order_and_what_is_always_written():
    config = from_documents(
        [
            {"kind": "KmsgLogConfig", "apiVersion": "v1alpha1", "url": "tcp://10.0.0.1:1", "name": "x"},
            {"machine": {"token": "t", "ca": {"crt": "YQ=="}, "sysctls": {"b10": 1, "b9": True}}},
        ]
    )
    assert encode(config) == (
        'version: ""\nmachine:\n    type: ""\n    token: t\n    ca:\n        crt: YQ==\n        key: ""\n'
        '    certSANs: []\n    sysctls:\n        b9: "true"\n        b10: "1"\ncluster: null\n'
        "---\napiVersion: v1alpha1\nkind: KmsgLogConfig\nname: x\nurl: tcp://10.0.0.1:1\n"
    )


def test_a_configuration_answers_questions():
    config = load(
        "version: v1alpha1\nmachine: {type: worker}\n---\napiVersion: v1alpha1\nkind: KmsgLogConfig\n"
        "name: a\nurl: tcp://h:1\n---\napiVersion: v1alpha1\nkind: EventSinkConfig\nendpoint: h:1\n"
    )
    assert config.v1alpha1 == {"version": "v1alpha1", "machine": {"type": "worker"}}
    assert config.find("KmsgLogConfig", "a") == config.all("KmsgLogConfig")[0]
    assert config.find("KmsgLogConfig", "b") is None
    assert config.find("EventSinkConfig")["endpoint"] == "h:1"
    assert [item.title for item in config.documents] == ["v1alpha1", "KmsgLogConfig/a", "EventSinkConfig"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "config not found"),
        ("# nothing\n", "config not found"),
        ("a: [\n", "decode error: "),
        ("[a]\n", "expected a YAML document at line 1"),
        ("a: 1\n", "error decoding document /v1alpha1/ (line 1): missing kind"),
        ("kind: HostnameConfig\n", "error decoding document /HostnameConfig/ (line 1): missing apiVersion"),
        (
            "apiVersion: v1alpha1\nkind: Foo\nname: n\n",
            'error decoding document v1alpha1/Foo/n (line 1): "Foo" "v1alpha1": not registered',
        ),
        (
            "---\nmachine:\n  kubelet: {nope: {a: [1]}}\n  tokn: x\n",
            "error decoding document /v1alpha1/ (line 2): unknown keys found during decoding:\n"
            "machine:\n    kubelet:\n        nope: {a: [1]}\n    tokn: x\n",
        ),
        (
            "machine:\n  certSANs: x\n",
            "error decoding document /v1alpha1/ (line 1): error decoding  to *v1alpha1.Config: "
            "yaml: construct errors: line 2: cannot construct !!str `x` into []string",
        ),
        (
            "machine:\n  network:\n    interfaces: [null]\n",
            'error decoding document /v1alpha1/ (line 1): null value is not allowed at "machine.network.interfaces[0]"'
            " (line 3)",
        ),
        ("machine: {}\n---\nmachine: {}\n", "duplicate document /v1alpha1/ is not allowed (line 3)"),
    ],
)
def test_what_does_not_load(text, error):
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert str(caught.value).startswith(error)
    assert error.endswith(": ") or str(caught.value) == error


def test_documents_that_exclude_each_other():
    link, dummy = ({"apiVersion": "v1alpha1", "kind": kind, "name": "a"} for kind in ("LinkConfig", "DummyLinkConfig"))
    with pytest.raises(ConfigError, match="conflicting documents: LinkConfig/a and DummyLinkConfig/a"):
        from_documents([link, dummy])
    veth = {"apiVersion": "v1alpha1", "kind": "VethConfig", "name": "b", "peer": {"name": "a"}}
    with pytest.raises(ConfigError, match='both configure "a"'):
        from_documents([link, veth])


def test_secrets_do_not_reach_the_errors_of_dicts():
    with pytest.raises(ConfigError) as caught:
        from_documents([{"machine": {"ca": {"crt": "", "key": "not-base64-secret"}}}])
    assert "not-base64-secret" not in str(caught.value)


def test_every_kind_is_known_with_the_talos_version_it_came_with():
    assert len(KINDS) == 89
    assert KINDS["KubeletConfig"].since == (1, 14)
    assert KINDS["EventSinkConfig"].since == (1, 8)
    assert document.LEGACY not in KINDS
