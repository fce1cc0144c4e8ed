"""Secrets bundles: new, written and read again, refused, doubted."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talos import pki, secrets, yaml12
from talos.contract import VersionContract
from talos.pem import CertKey
from talos.secrets import Bundle, BundleError

NOW = datetime(2026, 3, 4, tzinfo=UTC)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """A bundle of contract 1.6, whose ECDSA service account key is quick to make."""
    return secrets.new_bundle(NOW, VersionContract(1, 6))


def test_a_new_bundle_is_sound_and_has_one_encryption_secret(bundle):
    assert bundle.concerns(NOW) == []
    assert bundle.secretbox_encryption_secret
    assert not bundle.aescbc_encryption_secret
    old = secrets.new_bundle(NOW, VersionContract(1, 2))
    assert old.aescbc_encryption_secret
    assert not old.secretbox_encryption_secret


def test_tokens_come_from_the_given_source_of_random_values(monkeypatch):
    class Seeded(random.Random):
        token_bytes = random.Random.randbytes

    contract = VersionContract(1, 6)
    one, same = (secrets.new_bundle(NOW, contract, Seeded(1)) for _ in range(2))
    assert (one.bootstrap_token, one.cluster_id) == (same.bootstrap_token, same.cluster_id)
    assert one.bootstrap_token != one.trustd_token
    assert [len(part) for part in one.trustd_token.split(".")] == [6, 16]


def test_both_forms_read_back(bundle):
    assert Bundle.from_yaml(bundle.to_yaml()) == bundle
    assert Bundle.from_json(bundle.to_json()) == bundle


@given(st.from_regex(r"[0-9a-z]{6}\.[0-9a-z]{16}", fullmatch=True))
@settings(max_examples=50)
def test_a_token_that_looks_like_a_number_stays_text(bundle, token):
    for tokens in (replace(bundle, bootstrap_token=token), replace(bundle, trustd_token="123456.1234567890123456")):
        assert Bundle.from_yaml(tokens.to_yaml()) == tokens
    unquoted = bundle.to_yaml().replace(bundle.trustd_token, "123456.1234567890123450")
    assert Bundle.from_yaml(unquoted).trustd_token == "123456.1234567890123450"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "a: [",
        "cluster: 7",
        "certs: {os: 1}",
        "certs: {os: {crt: '*', key: ''}}",
        "secrets: {bootstraptoken: []}",
    ],
)
def test_a_file_that_is_no_bundle_is_refused(text):
    with pytest.raises(BundleError):
        Bundle.from_yaml(text)


def test_all_problems_are_named_at_once_and_no_secret_is(bundle):
    tree = yaml12.load(bundle.to_yaml())
    del tree["cluster"]
    tree["certs"]["os"]["key"] = tree["certs"]["os"]["crt"]
    tree["secrets"]["aescbcencryptionsecret"] = "other"
    with pytest.raises(BundleError) as raised:
        Bundle.from_yaml(yaml12.dump(tree))
    assert raised.value.problems == [
        "cluster is required",
        "only one of [secrets.secretboxencryptionsecret, secrets.aescbcencryptionsecret] is allowed",
        'certs.os is invalid: unsupported key type: "CERTIFICATE"',
    ]
    assert bundle.trustd_token not in str(raised.value)


def test_a_bundle_does_not_show_itself(bundle):
    assert bundle.trustd_token not in repr(bundle)
    assert "PRIVATE" not in repr(bundle)


def test_the_json_form_is_read_under_any_case(bundle):
    tree = {name.upper(): value for name, value in json.loads(bundle.to_json()).items()}
    assert Bundle.from_json(json.dumps(tree)) == bundle
    with pytest.raises(BundleError):
        Bundle.from_json(b"{")


def test_what_talos_accepts_and_a_cluster_does_not_survive_is_a_concern(bundle):
    leaf = pki.etcd_client(bundle.etcd, "x", NOW)
    doubtful = replace(
        bundle, cluster_secret="c2hvcnQ=", etcd=leaf, k8s_aggregator=CertKey(bundle.k8s.crt, bundle.k8s_aggregator.key)
    )
    assert doubtful.concerns(NOW) == [
        "cluster.secret is not the base64 of 32 bytes",
        "certs.etcd is not the certificate of an authority",
        "certs.k8saggregator has a certificate and a key that do not belong together",
    ]
    later = NOW + pki.CA_LIFETIME + timedelta(seconds=1)
    assert bundle.concerns(later)[0] == "certs.etcd expired on 2036-03-01"
