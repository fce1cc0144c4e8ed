"""What lets a machine in: tokens, kernel arguments, overlay addresses, META."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos import jointoken, kernelargs, meta, serviceaccount, siderolink, yaml12
from talos.jointoken import NetworkLink, NodeUniqueToken

texts = st.text(st.characters(codec="utf-8"), max_size=20)
extra_data = st.dictionaries(texts, texts, max_size=4)


@given(texts, extra_data, st.sampled_from(["1", "2"]))
def test_a_signed_token_survives_the_wire_and_proves_its_base(base, extra, version):
    token = jointoken.parse(jointoken.sign(base, extra, version).encode())
    assert token.extra_data == extra
    assert token.verify(base)
    assert not token.verify(base + "x")


@given(extra_data, extra_data)
def test_a_signature_holds_for_its_own_data_only(extra, other):
    token = jointoken.sign("base", extra)
    moved = jointoken.JoinToken("2", extra_data=other, signature=token.signature)
    assert moved.verify("base") == (extra == other)


def test_an_unsigned_token_is_never_valid():
    unsigned = jointoken.JoinToken("2", extra_data={"a": "b"})
    assert not unsigned.verify("")
    assert not jointoken.parse(unsigned.encode()).verify("")


@pytest.mark.parametrize(
    "text", ["v2:", "v2:!!", "v2:W10=", "v2:bnVs", "v1:eyJleHRyYV9kYXRhIjpbXX0=", "v2:" + "W1tb" * 40_000, "v2:TmFO"]
)
def test_malformed_tokens_are_refused(text):
    with pytest.raises(ValueError, match="invalid join token"):
        jointoken.parse(text)


def test_new_tokens_are_plain_long_and_different():
    tokens = {jointoken.generate() for _ in range(50)}
    assert len(tokens) == 50
    for token in tokens:
        assert token.isascii()
        assert token.isalnum()
        assert 43 <= len(token) <= 51
        assert jointoken.parse(token).verify(token)


def test_a_node_token_keeps_its_form():
    token = jointoken.new_node_token("ab" * 32)
    assert list(json.loads(token.encode())) == ["Fingerprint", "Token"]
    assert jointoken.parse_node_token(token.encode()) == token
    assert not token.same_token(jointoken.new_node_token("ab" * 32))


@pytest.mark.parametrize("text", ["[]", "1", '"x"', "{", '{"Token":1}', '{"Fingerprint":[]}', "NaN"])
def test_malformed_node_tokens_are_refused(text):
    with pytest.raises(ValueError):
        jointoken.parse_node_token(text)


def test_an_unknown_fingerprint_is_like_no_other():
    assert not NodeUniqueToken("", "a").same_fingerprint(NodeUniqueToken("", "a"))
    assert not NodeUniqueToken("", "a").same_fingerprint(None)


@given(st.lists(st.binary(min_size=6, max_size=6), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_a_fingerprint_does_not_depend_on_the_order_of_links(addresses, random):
    links = [NetworkLink("ether", "", address) for address in addresses]
    shuffled = [*links, NetworkLink("ether", "bond", b"bonded")]
    random.shuffle(shuffled)
    assert jointoken.machine_fingerprint(links) == jointoken.machine_fingerprint(shuffled)


def test_a_machine_reads_back_what_it_is_told():
    options = kernelargs.join_options("grpc://198.51.100.7:8090", "secret+/=", tunnel=True)
    told = kernelargs.parse_kernel_arguments("quiet " + " ".join(options.kernel_arguments()))
    assert told == kernelargs.parse_documents(yaml12.load_all(options.documents()))
    assert told.api == kernelargs.MachineAPI("198.51.100.7", 8090, tls=False, join_token="secret+/=", tunnel=True)
    assert told.events == ("fdae:41e4:649b:9303::1", 8090)
    assert told.logs == ("fdae:41e4:649b:9303::1", 8092)


def test_of_a_repeated_kernel_argument_the_first_counts():
    told = kernelargs.parse_kernel_arguments("siderolink.api=https://a siderolink.api=https://b")
    assert told.api is not None
    assert (told.api.host, told.api.port, told.api.tls) == ("a", 443, True)
    assert told.events is None


def test_a_machine_api_without_a_scheme_is_plain_text():
    assert kernelargs.parse_api_url("omni.example:8090?jointoken=a") == kernelargs.MachineAPI(
        "omni.example", 8090, tls=False, join_token="a"
    )


@pytest.mark.parametrize("line", ["siderolink.api=grpc://", "talos.events.sink=host", "talos.logging.kernel=tcp://a"])
def test_kernel_arguments_without_an_address_are_refused(line):
    with pytest.raises(ValueError):
        kernelargs.parse_kernel_arguments(line)


@pytest.mark.parametrize(
    "url", ["omni.example", "//omni.example", "https:/x", "https://[::1", "https://a b", "https://a:x", "https://a:0"]
)
def test_a_machine_api_url_needs_scheme_and_host(url):
    with pytest.raises(ValueError):
        kernelargs.join_options(url, "token")


def test_tokens_show_in_no_error_and_no_representation():
    token = jointoken.sign("canary", {"a": "b"})
    options = kernelargs.join_options("https://a", "canary")
    told = kernelargs.parse_kernel_arguments(" ".join(options.kernel_arguments()))
    shown = [jointoken.parse("canary"), token, options, told, NodeUniqueToken("f", "canary")]
    with pytest.raises(ValueError) as caught:
        kernelargs.parse_kernel_arguments("siderolink.api=https://?jointoken=canary")
    assert not any("canary" in text for text in [*map(repr, shown), str(caught.value)])
    assert token.signature is not None
    assert repr(token.signature) not in repr(token)


def test_an_old_token_in_the_url_is_replaced():
    options = kernelargs.join_options("https://a?jointoken=old&grpc_tunnel=false", "new", tunnel=True)
    assert options.api_url == "https://a?grpc_tunnel=true&jointoken=new"


def test_protected_arguments_are_told_from_those_of_users():
    assert kernelargs.is_protected("siderolink.api=https://a")
    assert kernelargs.is_protected("talos.config.inline=x")
    assert not kernelargs.is_protected("siderolink.apis=1")
    assert not kernelargs.is_protected("console=ttyS0")


@given(texts)
def test_overlay_prefixes_are_told_apart_by_purpose(installation):
    addresses = {
        purpose: siderolink.random_address(siderolink.prefix(installation, purpose)) for purpose in siderolink.Purpose
    }
    for purpose, address in addresses.items():
        assert address in siderolink.prefix(installation, purpose)
        assert address != siderolink.server_address(installation)
        assert [siderolink.has_purpose(str(address), other) for other in siderolink.Purpose].count(True) == 1
        assert siderolink.has_purpose(str(address), purpose)


def test_an_address_that_is_none_has_no_purpose():
    with pytest.raises(ValueError):
        siderolink.has_purpose("machine-1", siderolink.Purpose.SIDEROLINK)


@given(st.lists(texts, max_size=6))
def test_endpoints_are_read_as_they_were_preferred(endpoints):
    wire = siderolink.order_for_wire(endpoints)
    assert siderolink.order_for_wire(wire) == endpoints
    assert wire[-1:] == endpoints[:1]


labels = st.dictionaries(
    st.from_regex(r"[a-z0-9./-]{1,20}", fullmatch=True), st.from_regex(r"[ -~]{0,30}", fullmatch=True)
)


@given(labels)
def test_image_labels_survive_META(labels):
    stripped = {key: value.strip() for key, value in labels.items()}
    assert meta.parse_image_labels(meta.encode_image_labels(labels)) == stripped


@pytest.mark.parametrize("text", ["a", "machineLabels: a", "machineLabels: {a: [b]}", "machineLabels: {a: 2024-01-01}"])
def test_labels_that_are_no_map_of_texts_are_refused(text):
    with pytest.raises(yaml12.YAMLError):
        meta.parse_image_labels(text)


def test_service_accounts_and_people_are_told_apart():
    account = serviceaccount.from_name("infra-provider:aws")
    assert serviceaccount.from_full_id(account.full_id) == account
    assert serviceaccount.from_full_id("somebody@example.org") is None
