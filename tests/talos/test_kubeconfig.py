"""kubeconfig files: generated, read, written and merged."""

from copy import deepcopy
from datetime import UTC, datetime

import pytest

from talos import kubeconfig, pki
from talos.kubeconfig import Kubeconfig, KubeconfigError
from talos.pem import CertKey


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "[]",
        "kind: Pod",
        "clusters: 1",
        "clusters: [1]",
        "clusters: [{name: a, cluster: 1}]",
        "clusters: [{name: a}, {name: a}]",
        "users: [{name: a, user: {client-key-data: '*'}}]",
    ],
)
def test_a_file_that_is_no_kubeconfig_is_refused(text):
    with pytest.raises(KubeconfigError):
        Kubeconfig.from_yaml(text)


def made(cluster: str, ca: CertKey) -> Kubeconfig:
    return kubeconfig.generate(
        cluster=cluster, endpoint="https://a:6443", ca=ca, accepted_cas=[ca.crt], now=datetime.now(UTC)
    )


def test_a_kubeconfig_is_read_as_it_was_written():
    config = made("123", pki.kubernetes_ca(datetime.now(UTC)))
    assert Kubeconfig.from_yaml(config.to_yaml()) == config
    assert "client-key-data" not in repr(config)


def test_a_refused_conflict_leaves_the_file_as_it_is():
    ca = pki.kubernetes_ca(datetime.now(UTC))
    config, other = made("a", ca), made("a", ca)
    before = deepcopy(config)

    def refuse(component, name):
        raise LookupError(name)

    with pytest.raises(LookupError):
        config.merge(other, refuse)
    assert config == before


def test_two_clusters_of_a_name_live_side_by_side():
    ca = pki.kubernetes_ca(datetime.now(UTC))
    config, other = made("prod", ca), made("prod", ca)
    lines = config.merge(other, lambda component, name: "rename")
    assert lines == [
        'renamed auth info "admin@prod" -> "admin@prod-1"',
        'renamed context "admin@prod" -> "admin@prod-1"',
    ]
    assert config.current_context == "admin@prod-1"
    assert config.contexts["admin@prod-1"]["cluster"] == "prod"
    assert config.contexts["admin@prod-1"]["user"] == "admin@prod-1"
