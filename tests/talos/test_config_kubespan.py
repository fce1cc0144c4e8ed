"""Generated patches for KubeSpan and discovery: what machines of each contract take, and read back as it was meant."""

from datetime import UTC, datetime
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos.config import discovery, kubespan
from talos.config.document import Config, encode, load
from talos.config.generate import GenerateInput, generate
from talos.config.kubespan import KubeSpan
from talos.config.patch import apply, load_patch
from talos.config.validate import Mode, validate
from talos.contract import VersionContract
from talos.machinetype import MachineType
from talos.secrets import Bundle, new_bundle

CONTRACTS = [f"1.{minor}" for minor in range(8, 15)]
PUBLIC = discovery.PUBLIC_SERVICE.rstrip("/")
EMBEDDED = "http://[fdae:41e4:649b:9303::1]:8093"


@cache
def bundle(contract: str) -> Bundle:
    return new_bundle(datetime(2026, 1, 2, tzinfo=UTC), VersionContract.parse(contract))


@cache
def base(contract: str) -> Config:
    parsed = VersionContract.parse(contract)
    wanted = GenerateInput(
        cluster_name="lab", endpoint="https://[::1]:6443", kubernetes_version="1.32.0", bundle=bundle(contract),
        contract=parsed, install_disk="/dev/sda", install_image="installer:v1",
    )  # fmt: skip
    return generate(wanted, MachineType.WORKER)


def patched(contract: str, *patches: str) -> Config:
    return load(encode(apply(base(contract), [load_patch(text) for text in patches])))


def errors(config: Config) -> tuple[str, ...]:
    return validate(config, Mode.METAL).errors


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("enabled", [True, False])
def test_every_contract_takes_it(contract: str, enabled: bool) -> None:
    settings = KubeSpan(
        enabled, 1400, True, True, True, ("0.0.0.0/0", "!192.168.0.0/16", "::/0"), ("192.168.1.0/24",)
    )  # fmt: skip
    text = kubespan.patch(VersionContract.parse(contract), settings)
    config = patched(contract, text, kubespan.endpoints_patch(["203.0.113.7:52000", "[2001:db8::7]:51820"]))
    assert errors(config) == ()
    assert kubespan.read(config) == kubespan.read(load(text)) == settings
    documents = [document.kind for document in config.documents]
    assert ("KubeSpanConfig" in documents) == (contract in ("1.13", "1.14"))
    assert "KubeSpanEndpointsConfig" in documents


@pytest.mark.parametrize("contract", CONTRACTS)
def test_it_turns_discovery_on_where_that_is_a_switch(contract: str) -> None:
    off = "cluster: {discovery: {enabled: false}}" if contract != "1.14" else "{}"
    patches = [off, kubespan.patch(VersionContract.parse(contract), KubeSpan())]
    assert errors(patched(contract, *(text for text in patches if text != "{}"))) == ()


networks = st.sampled_from(["0.0.0.0/0", "!10.0.0.0/8", "::/0", "192.168.1.7", "!fd00::/8"])
settings = st.builds(
    KubeSpan,
    enabled=st.booleans(),
    mtu=st.none() | st.integers(kubespan.LEAST_MTU, kubespan.LARGEST_MTU),
    allow_down_peer_bypass=st.booleans(),
    advertise_kubernetes_networks=st.booleans(),
    harvest=st.booleans(),
    endpoint_filters=st.lists(networks, max_size=4).map(tuple),
    exclude_networks=st.lists(st.sampled_from(["10.1.0.0/16", "fd00::/64"]), unique=True, max_size=2).map(tuple),
)


@given(st.sampled_from(CONTRACTS), settings)
def test_what_is_written_is_read(contract: str, wanted: KubeSpan) -> None:
    assert kubespan.read(load(kubespan.patch(VersionContract.parse(contract), wanted))) == wanted


@given(
    st.integers(0, 70_000),
    st.lists(st.text("0123456789.:/!fd", max_size=12), max_size=3).map(tuple),
    st.lists(st.text("0123456789.:/fd", max_size=12), max_size=3).map(tuple),
)
def test_what_has_no_problem_is_valid(mtu: int, filters: tuple[str, ...], excluded: tuple[str, ...]) -> None:
    wanted = KubeSpan(mtu=mtu, endpoint_filters=filters, exclude_networks=excluded)
    if not wanted.problems():
        assert errors(patched("1.14", kubespan.patch(VersionContract.parse("1.14"), wanted))) == ()


@given(st.text("0123456789.:[]fd%-", max_size=24))
def test_endpoints_without_a_problem_are_valid(text: str) -> None:
    if not kubespan.endpoint_problems([text]):
        assert errors(patched("1.12", kubespan.endpoints_patch([text]))) == ()


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (KubeSpan(mtu=1279), "1280 to 65455"),
        (KubeSpan(mtu=70_000), "1280 to 65455"),
        (KubeSpan(endpoint_filters=("all",)), "is no filter"),
        (KubeSpan(endpoint_filters=("!10.0.0.0/8",)), "let nothing in"),
        (KubeSpan(exclude_networks=("10.0.0.1",)), "is no network"),
    ],
)
def test_refused(wanted: KubeSpan, words: str) -> None:
    assert words in "; ".join(wanted.problems())


@pytest.mark.parametrize(
    "text", ["203.0.113.7", "203.0.113.7:0", "203.0.113.7:65536", "2001:db8::7:51820", "a.b:1", "[1.2.3.4]:1"]
)
def test_no_endpoint(text: str) -> None:
    assert kubespan.endpoint_problems([text])


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("public", [True, False])
def test_discovery_service(contract: str, public: bool) -> None:
    config = patched(contract, discovery.patch(VersionContract.parse(contract), EMBEDDED, public=public))
    assert errors(config) == ()
    if contract == "1.14":
        services = {item["name"]: item["endpoint"].rstrip("/") for item in config.all("DiscoveryServiceConfig")}
        expected = {"default": EMBEDDED} if not public else {"default": PUBLIC, "omni-embedded": EMBEDDED}
        assert services == expected
    else:
        assert config.v1alpha1 is not None
        assert config.v1alpha1["cluster"]["discovery"]["registries"]["service"] == {"endpoint": EMBEDDED}


def test_roots_of_the_service() -> None:
    pem = bundle("1.14").os.crt.decode()
    for contract in CONTRACTS:
        text = discovery.patch(VersionContract.parse(contract), "https://omni.example.org/", roots=pem)
        config = patched(contract, text)
        assert errors(config) == ()
        assert [item["certificates"] for item in config.all("TrustedRootsConfig")] == [pem]


def test_services_of_a_config() -> None:
    for contract in CONTRACTS:
        parsed = VersionContract.parse(contract)
        assert discovery.services(base(contract)) == [PUBLIC]
        embedded = patched(contract, discovery.patch(parsed, EMBEDDED))
        assert discovery.services(embedded) == [EMBEDDED]
    both = patched("1.14", discovery.patch(VersionContract.parse("1.14"), EMBEDDED, public=True))
    assert sorted(discovery.services(both)) == [EMBEDDED, PUBLIC]
    off = patched("1.12", "cluster: {discovery: {enabled: false}}")
    assert discovery.services(off) == []
    nowhere = patched("1.12", "cluster: {discovery: {registries: {service: {disabled: true}}}}")
    assert discovery.services(nowhere) == []
