"""Generated configurations: properties that hold for any input. The bytes are checked against vectors."""

import base64
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talos import secrets
from talos.config import document
from talos.config.generate import GenerateError, GenerateInput, generate
from talos.contract import CURRENT, VersionContract
from talos.machinetype import MachineType
from talos.secrets import Bundle, BundleError

BUNDLE = secrets.new_bundle(datetime(2026, 1, 2, tzinfo=UTC), VersionContract(1, 6))
PLAIN = GenerateInput(cluster_name="c", endpoint="https://c:6443", kubernetes_version="1.33.0", bundle=BUNDLE)

CONTRACTS = st.integers(8, 15).map(lambda minor: VersionContract(1, minor))
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=12)
INPUTS = st.builds(
    replace,
    st.just(PLAIN),
    cluster_name=NAMES,
    contract=CONTRACTS,
    install_disk=st.just("") | NAMES,
    install_image=st.just("") | NAMES,
    additional_sans=st.lists(NAMES, max_size=2),
    custom_cni_url=st.sampled_from(["", "https://cni.example/x.yaml"]),
    nameservers=st.lists(st.sampled_from(["192.0.2.1", "2001:db8::1"]), max_size=2),
    sysctls=st.dictionaries(NAMES, NAMES, max_size=2),
    registry_mirrors=st.dictionaries(st.sampled_from(["a", "docker.io", "*"]), st.just(["https://m"]), max_size=2),
    insecure_registries=st.lists(st.sampled_from(["a", "b:5000"]), max_size=3),
    allow_scheduling_on_control_planes=st.booleans(),
    local_api_server_port=st.sampled_from([0, 7443]),
    kube_prism_port=st.sampled_from([0, 7445]),
    discovery=st.booleans(),
    kubespan=st.sampled_from([None, True, False]),
    debug=st.booleans(),
)
TYPES = st.sampled_from([MachineType.INIT, MachineType.CONTROLPLANE, MachineType.WORKER])


@given(INPUTS, TYPES)
@settings(max_examples=60, deadline=None)
def test_what_is_generated_is_read_as_it_was_meant(given_input, machine_type):
    config = generate(given_input, machine_type)
    text = document.encode(config)
    assert document.load(text) == config
    assert text == document.encode(generate(given_input, machine_type))


@given(INPUTS)
@settings(max_examples=60, deadline=None)
def test_a_control_plane_has_the_whole_bundle_and_a_worker_no_key(given_input):
    control_plane = generate(given_input, MachineType.CONTROLPLANE)
    assert Bundle.from_config(control_plane) == BUNDLE
    worker = generate(given_input, MachineType.WORKER)
    with pytest.raises(BundleError):
        Bundle.from_config(worker)
    text = document.encode(worker)
    assert "PRIVATE KEY" not in text
    for secret in (BUNDLE.k8s_service_account, BUNDLE.os.key, BUNDLE.k8s.key, BUNDLE.etcd.key):
        assert base64.b64encode(secret).decode() not in text
    assert BUNDLE.secretbox_encryption_secret not in text


def test_the_newest_contract_and_the_next_one_are_the_last_one_with_rules():
    for machine_type in (MachineType.CONTROLPLANE, MachineType.WORKER):
        texts = {
            document.encode(generate(replace(PLAIN, contract=contract), machine_type))
            for contract in (VersionContract(1, 14), VersionContract(1, 15), CURRENT)
        }
        assert len(texts) == 1


@pytest.mark.parametrize("contract", [VersionContract(1, 7), VersionContract(0, 14)])
def test_a_contract_that_is_too_old_is_refused(contract):
    with pytest.raises(GenerateError, match="and later, not for"):
        replace(PLAIN, contract=contract)


def test_what_is_no_url_is_refused():
    for broken in (
        replace(PLAIN, endpoint="https://bad host:99999"),
        replace(PLAIN, registry_mirrors={"docker.io": ["http://[::1"]}),
    ):
        with pytest.raises(GenerateError):
            generate(broken, MachineType.WORKER)


def test_a_machine_of_unknown_type_gets_no_configuration():
    with pytest.raises(GenerateError, match="failed to determine config type"):
        generate(PLAIN, MachineType.UNKNOWN)


def test_an_input_does_not_show_its_secrets():
    assert BUNDLE.trustd_token not in repr(PLAIN)
