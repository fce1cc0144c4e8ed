"""The cluster's own endpoint: in configs of every contract, against machines and subnets. Pure."""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from apps.clusters import networks, picking, render
from apps.clusters.networks import Network
from talos.config.document import load
from talos.config.validate import Mode, validate
from talos.template import Endpoint
from tests.apps.clusters.test_choices import INPUTS

CONTRACTS = {"1.8.4": "1.31.1", "1.11.6": "1.34.1", "1.12.4": "1.35.4", "1.13.8": "1.36.3", "1.14.1": "1.37.0"}
OURS = "fdae:41e4:649b:9303::1"
PLAIN = replace(INPUTS, join_documents="")

addresses = st.sampled_from(
    ["", "https://k8s.example.org:6443", "https://198.51.100.7:443", "https://[2001:db8::7]:6443"]
)
virtual_ips = st.sampled_from(["", "192.0.2.100", "2001:db8::64"])
endpoints = st.builds(Endpoint, addresses, virtual_ips).filter(bool)


def documents(inputs: render.Inputs) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(render.render(inputs).config))


def inputs(endpoint: Endpoint, talos: str, role: Any, link: str = "eth0") -> render.Inputs:
    shared = role == "controlplane" and endpoint.virtual_ip
    return replace(
        PLAIN,
        contract=talos,
        kubernetes_version=CONTRACTS[talos],
        role=role,
        endpoint=endpoint.url,
        sans=(*endpoint.names, OURS),
        virtual_ip=endpoint.virtual_ip if shared else "",
        virtual_ip_link=link if shared else "",
    )


@given(endpoints, st.sampled_from(list(CONTRACTS)), st.sampled_from(["controlplane", "worker"]))
def test_configs_of_every_contract_hold_it(endpoint: Endpoint, talos: str, role: str) -> None:
    legacy, *others = found = documents(inputs(endpoint, talos, role))
    named = {item["kind"]: item for item in others}
    told = named.get("KubeClusterConfig") or legacy["cluster"]["controlPlane"]
    assert told["endpoint"] == endpoint.url
    assert legacy["machine"]["certSANs"] == [*endpoint.names, OURS]
    if role == "controlplane":
        api = named.get("KubeAPIServerConfig") or legacy["cluster"]["apiServer"]
        assert {*endpoint.names, OURS} <= set(api.get("certExtraSANs") or api["certSANs"])
    report = validate(load(render.render(inputs(endpoint, talos, role)).config), Mode.METAL, talos=talos)
    assert not report.errors
    carried = str([item for item in found if item.get("kind") != "KubeClusterConfig"])
    if role == "worker":
        assert "Layer2VIPConfig" not in carried
        assert "'vip'" not in carried


@pytest.mark.parametrize("talos", CONTRACTS)
def test_the_virtual_ip_in_the_form_of_the_contract(talos: str) -> None:
    legacy, *others = documents(inputs(Endpoint("", "192.0.2.100"), talos, "controlplane", "bond0"))
    shared = [item for item in others if item["kind"] == "Layer2VIPConfig"]
    devices = legacy["machine"].get("network", {}).get("interfaces", [])
    if talos in ("1.8.4", "1.11.6"):
        assert devices == [{"interface": "bond0", "dhcp": True, "vip": {"ip": "192.0.2.100"}}]
        assert shared == []
    else:
        assert devices == []
        assert shared == [{"apiVersion": "v1alpha1", "kind": "Layer2VIPConfig", "name": "192.0.2.100", "link": "bond0"}]


def test_patches_have_the_last_word_on_the_link() -> None:
    given_link = "apiVersion: v1alpha1\nkind: Layer2VIPConfig\nname: 192.0.2.100\nlink: lan0\n"
    wanted = replace(inputs(Endpoint("", "192.0.2.100"), "1.13.8", "controlplane"), patches=(("a", given_link),))
    (shared,) = (item for item in documents(wanted) if item.get("kind") == "Layer2VIPConfig")
    assert shared["link"] == "lan0"


def test_a_config_installs_where_it_names_a_disk() -> None:
    """Whatever the contract: machines whose link lets us only give them a config install themselves by it."""
    for talos in CONTRACTS:
        wanted = replace(PLAIN, contract=talos, kubernetes_version=CONTRACTS[talos])
        legacy, *others = documents(wanted)
        unattended = [item for item in others if item["kind"] == "UnattendedInstallConfig"]
        if talos == "1.14.1":
            assert "install" not in legacy["machine"]
            assert unattended[0]["installer"] == {"image": wanted.install_image}
            assert '"/dev/vda"' in unattended[0]["provisioning"]["diskSelector"]["match"]
        else:
            assert legacy["machine"]["install"]["image"] == wanted.install_image
            assert unattended == []
    assert "UnattendedInstallConfig" not in render.render(replace(wanted, install_disk="")).config.decode()


def test_the_fingerprint_of_clusters_without_an_endpoint_stays() -> None:
    assert INPUTS.fingerprint() == replace(INPUTS, sans=(), virtual_ip="").fingerprint()
    assert INPUTS.fingerprint() != replace(INPUTS, sans=(OURS,)).fingerprint()
    assert INPUTS.fingerprint() != replace(INPUTS, virtual_ip="192.0.2.9", virtual_ip_link="eth0").fingerprint()


def test_no_config_without_a_link_for_the_virtual_ip() -> None:
    with pytest.raises(render.RenderError, match="no network"):
        render.render(replace(PLAIN, virtual_ip="192.0.2.9", virtual_ip_problem="m-1 has no network"))


# Networks

ETH = Network("eth0", "192.0.2.0/24")
WIDE = Network("eth1", "192.0.0.0/16")


@pytest.mark.parametrize(
    ("virtual_ip", "known", "link", "words"),
    [
        ("192.0.2.100", (ETH,), "eth0", ""),
        ("192.0.2.100", (WIDE, ETH), "eth0", ""),
        ("192.0.7.100", (WIDE, ETH), "eth1", ""),
        ("2001:db8::9", (ETH, Network("eth0", "2001:db8::/64")), "eth0", ""),
        ("10.0.0.9", (ETH, WIDE), "", "m-1 has no network that holds the virtual IP 10.0.0.9; it has 192.0.0.0/16"),
        ("192.0.2.255", (ETH,), "eth0", "is no host of 192.0.2.0/24"),
        ("192.0.2.0", (ETH,), "eth0", "is no host of 192.0.2.0/24"),
        ("10.0.0.9", (), "", "none that it reports"),
    ],
)
def test_the_link_of_a_virtual_ip(virtual_ip: str, known: tuple[Network, ...], link: str, words: str) -> None:
    assert networks.link_of(virtual_ip, known) == link
    problem = networks.virtual_ip_problem("m-1", virtual_ip, known)
    assert words in problem
    assert bool(problem) == bool(words)


@given(st.ip_addresses(v=4), st.integers(8, 30))
def test_a_virtual_ip_goes_on_a_link_whose_network_holds_it(address: Any, bits: int) -> None:
    network = ip_network(f"{address}/{bits}", strict=False)
    link = networks.link_of(str(address), (Network("eth0", str(network)), Network("eth1", "203.0.113.0/24")))
    holds = {"eth0": True, "eth1": address in ip_network("203.0.113.0/24")}
    assert holds[link]


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        (Endpoint("https://10.97.0.1:6443"), "endpoint.address 10.97.0.1 lies in 10.96.0.0/12, from which services"),
        (Endpoint("", "10.244.3.4"), "endpoint.virtualIP 10.244.3.4 lies in 10.244.0.0/16, from which pods"),
        (Endpoint("https://k8s.example.org:6443", "192.0.2.1"), ""),
    ],
)
def test_an_endpoint_inside_kubernetes_own_networks(endpoint: Endpoint, words: str) -> None:
    found = list(networks.endpoint_refusals(endpoint, networks.DEFAULT_SUBNETS))
    assert len(found) == bool(words)
    assert words in "".join(found)


@pytest.mark.parametrize("talos", CONTRACTS)
def test_subnets_of_a_config(talos: str) -> None:
    wanted = replace(PLAIN, contract=talos, kubernetes_version=CONTRACTS[talos])
    assert networks.subnets_of(load(render.render(wanted).config)) == networks.DEFAULT_SUBNETS


@pytest.mark.parametrize(
    ("known", "warned"),
    [
        (["10.100.0.5/24"], True),
        (["10.100.0.5/24", "10.244.0.3/24"], True),
        (["10.100.0.5/24", "192.0.2.5/24"], False),
        (["192.0.2.5/24"], False),
        ([], False),
    ],
)
def test_machines_whose_addresses_talos_leaves_out(known: list[str], warned: bool) -> None:
    warning = networks.hidden("m-1", known, networks.DEFAULT_SUBNETS)
    assert ("m-1 has no address but 10.100.0.5" in warning) == warned


# What links cannot do

BEHIND = picking.Seen(
    "m-1", api_mode="maintenance", talos_version="v1.13.8", reaches_us=False, admin_in_maintenance=False,
    networks=(ETH,),
)  # fmt: skip
OWN = picking.Wanted("1.13.8", Endpoint("", "192.0.2.100"), control_plane=True)


@pytest.mark.parametrize(
    ("seen", "wanted", "state", "words"),
    [
        (BEHIND, OWN, "ok", ""),
        (BEHIND, replace(OWN, endpoint=Endpoint("https://k8s.example.org:6443")), "ok", ""),
        (BEHIND, replace(OWN, endpoint=Endpoint()), "bad", "Give the cluster its own: endpoint.address"),
        (BEHIND, replace(OWN, endpoint=Endpoint("", "10.0.0.9")), "bad", "no network that holds the virtual IP"),
        (BEHIND, replace(OWN, endpoint=Endpoint("", "10.0.0.9"), control_plane=False), "ok", ""),
        (replace(BEHIND, networks=()), OWN, "wait", "to report its networks"),
        (replace(BEHIND, talos_version="v1.12.9"), OWN, "bad", "from memory and cannot install 1.13.8"),
        (replace(BEHIND, talos_version="v1.9.5"), OWN, "bad", "behind an agent it takes 1.10 or newer"),
        (replace(BEHIND, talos_version="v1.13.7"), OWN, "ok", ""),
        (replace(BEHIND, talos_version="v1.13.7", installed=True), OWN, "bad", "talos.experimental.wipe=system"),
        (replace(BEHIND, talos_version="v1.12.9", admin_in_maintenance=True), OWN, "bad", "from memory"),
        (replace(BEHIND, installed=True, schematic="aa"), replace(OWN, schematic="bb"), "bad", "systemExtensions"),
        (replace(BEHIND, installed=True, schematic="aa"), replace(OWN, schematic="aa"), "ok", ""),
        (replace(BEHIND, schematic="aa"), replace(OWN, schematic="bb"), "ok", ""),
    ],
)
def test_what_a_link_cannot_do_is_said(seen: picking.Seen, wanted: picking.Wanted, state: str, words: str) -> None:
    sentence, got = picking.blocker("u1", seen, wanted)
    assert got == state
    assert words in sentence
    assert bool(sentence) == (state != "ok")


def test_names_in_certificates() -> None:
    both = Endpoint("https://192.0.2.100:6443", "192.0.2.100")
    assert both.names == ("192.0.2.100",)
    assert ip_address(Endpoint("https://[2001:db8::7]:6443").host).version == 6
