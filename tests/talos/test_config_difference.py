"""Redaction, differences, and what patches may not contain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos.config import diff, forbidden
from talos.config.document import ConfigError, encode, from_documents
from talos.config.patch import apply, load_patch
from talos.config.redact import redact

texts = st.sampled_from(["a", "b", "c"])
machines = st.fixed_dictionaries(
    {"token": texts},
    optional={
        "certSANs": st.lists(texts, max_size=3),
        "sysctls": st.dictionaries(texts, texts),
        "kubelet": st.fixed_dictionaries(
            {},
            optional={
                "extraArgs": st.dictionaries(texts, texts),
                "extraConfig": st.fixed_dictionaries({}, optional={"a": texts, "b": st.lists(texts, min_size=1)}),
            },
        ),
        "network": st.fixed_dictionaries(
            {},
            optional={"interfaces": st.lists(texts.map(lambda name: {"interface": name}), max_size=2, unique_by=repr)},
        ),
    },
)
configs = st.builds(
    lambda machine, logs: from_documents(
        [
            {"version": "v1alpha1", "machine": machine},
            *({"apiVersion": "v1alpha1", "kind": "KmsgLogConfig", "name": n, "url": f"tcp://{u}:1"} for n, u in logs),
        ]
    ),
    machines,
    st.dictionaries(texts, texts).map(dict.items),
)


@given(configs, configs)
def test_patches_turn_one_configuration_into_the_other(old, new):
    patches = [load_patch(text) for text in diff.patches(old, new)]
    assert len(patches) <= 2
    result = apply(old, patches)
    assert sorted(item.encode() for item in result.documents) == sorted(item.encode() for item in new.documents)


@given(configs)
def test_nothing_differs_from_itself(config):
    assert diff.unified(config, config) == ""
    assert diff.patches(config, config) == []


def test_the_text_of_a_difference():
    old = from_documents([{"machine": {"token": "a"}}])
    new = from_documents([{"machine": {"token": "b"}}])
    assert diff.unified(old, new) == (
        '--- a\n+++ b\n@@ -1,6 +1,6 @@\n version: ""\n machine:\n     type: ""\n-    token: a\n+    token: b\n'
        "     certSANs: []\n cluster: null\n"
    )


def test_secrets_are_replaced_and_empty_ones_are_not():
    config = from_documents(
        [
            {
                "machine": {"token": "s3cret", "ca": {"crt": "YQ==", "key": "s3cret=="}},
                "cluster": {"token": "", "secret": "s3cret"},
            },
            {
                "apiVersion": "v1alpha1",
                "kind": "SideroLinkConfig",
                "apiUrl": "https://h?z=1&jointoken=s3cret&jointoken=s3cret",
            },
            {
                "apiVersion": "v1alpha1",
                "kind": "KubeEtcdEncryptionConfig",
                "config": {"keys": [{"name": "k", "secret": "s3cret"}]},
            },
        ]
    )
    text = encode(redact(config))
    assert "s3cret" not in text
    assert "jointoken=%2A%2A%2A%2A%2A%2A&z=1" in text
    assert text.count("'******'") == 4
    assert "s3cret" in encode(config)


def test_another_replacement_is_base64_where_base64_is_expected():
    config = from_documents([{"machine": {"ca": {"crt": "YQ==", "key": "Yg=="}}}])
    assert redact(config, "gone").v1alpha1["machine"]["ca"] == {"crt": "YQ==", "key": "Z29uZQ=="}


@pytest.mark.parametrize(
    ("patch", "offence"),
    [
        ("machine: {token: null}", 'overriding "machine.token" is not allowed in the config patch'),
        ("machine: {install: {disk: {$patch: delete}}}", 'overriding "machine.install.disk" is not allowed'),
        (
            "apiVersion: v1alpha1\nkind: KubeClusterConfig\nclusterName: x\n",
            'the "KubeClusterConfig" document is not allowed in the config patch',
        ),
        (
            "apiVersion: v1alpha1\nkind: KubeServiceAccountConfig\nissuer: {privateKey: x}\n",
            'overriding "issuer.privateKey" is not allowed in the config patch',
        ),
        (
            "apiVersion: v1alpha1\nkind: KubeTalosAPIAccessConfig\nallowedRoles: [os:admin]\n",
            'element "os:admin" is not allowed in field "allowedRoles"',
        ),
    ],
)
def test_forbidden_content(patch, offence):
    with pytest.raises(ConfigError) as caught:
        forbidden.check(patch)
    assert str(caught.value).startswith("1 error occurred:\n\t* ")
    assert offence in str(caught.value)
    forbidden.check("machine: {sysctls: {a: b}}")


def test_sanitizing_keeps_the_rest():
    patch = (
        "machine: {token: x, install: {disk: /dev/sda, wipe: true}, sysctls: {a: b}}\ncluster: {id: x}\n"
        "---\napiVersion: v1alpha1\nkind: KubeClusterConfig\nclusterName: x\n"
        "---\napiVersion: v1alpha1\nkind: HostnameConfig\nhostname: h\n"
    )
    assert forbidden.sanitize(patch) == (
        "machine:\n  install:\n    wipe: true\n  sysctls:\n    a: b\n"
        "---\napiVersion: v1alpha1\nhostname: h\nkind: HostnameConfig\n"
    )
    forbidden.check(forbidden.sanitize(patch))


def test_json_patches_are_refused():
    with pytest.raises(ConfigError, match="expected a YAML document at line 1"):
        forbidden.check("- op: add\n  path: /machine/type\n  value: worker\n")
