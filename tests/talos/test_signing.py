"""Signed calls beyond the vectors: our own client's half, and what no client sends."""

import base64
import contextlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from talos import openpgp, serviceaccount, signing
from talos.signing import PAYLOAD, SIGNATURE, TIMESTAMP, BadSignature, Unsigned

NOW = datetime(2025, 6, 15, 12, tzinfo=UTC)
KEY = openpgp.generate("a@example.com", NOW, timedelta(hours=4))
METHOD = "/machine.MachineService/Version"
ROUTE = {"runtime": ["Talos"], "context": ["prod"], "nodes": ["m-1", "m-2"]}


def signed(**changed: list[str]) -> dict[str, list[str]]:
    whole = ROUTE | signing.sign(KEY, "a@example.com", METHOD, ROUTE, NOW)
    return {name: values for name, values in (whole | changed).items() if values}


def find(fingerprint: str) -> openpgp.PublicKey | None:
    return KEY.public if fingerprint == KEY.public.fingerprint else None


def test_what_we_sign_is_accepted():
    assert signing.verify(signed(), METHOD, NOW, find) == KEY.public.fingerprint


def test_the_payload_is_made_as_go_makes_it():
    payload = signed()[PAYLOAD][0]
    assert payload == (
        '{"headers":{"authorization":null,"cluster":null,"context":["prod"],"fieldSelectors":null,"namespace":null,'
        '"nodes":["m-1","m-2"],"runtime":["Talos"],"selectors":null,"uid":null,'
        f'"x-sidero-timestamp":["{int(NOW.timestamp())}"]}},"method":"{METHOD}"}}'
    )


def test_a_call_without_a_signature():
    with pytest.raises(Unsigned):
        signing.verify({"runtime": ["Talos"]}, METHOD, NOW, find)
    with pytest.raises(Unsigned):
        signing.verify(signed(**{SIGNATURE: []}), METHOD, NOW, find)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"cluster": ["dev"]}, "cluster in the call"),
        ({"nodes": ["m-2", "m-1"]}, "nodes in the call"),
        ({"nodes": ["m-1,m-2"]}, "nodes in the call"),
        ({TIMESTAMP: []}, "0 times x-sidero-timestamp"),
        ({PAYLOAD: ["{}", "{}"]}, "2 times x-sidero-payload"),
        ({PAYLOAD: ["[]"]}, "not an object"),
        ({PAYLOAD: ["[" * 100_000]}, "not JSON"),
        ({PAYLOAD: [json.dumps({"method": METHOD, "headers": 7})]}, "headers in x-sidero-payload"),
        ({TIMESTAMP: ["9" * 400]}, "not a number"),
        ({TIMESTAMP: ["1_0"]}, "not a number"),
        ({TIMESTAMP: [" 1750000000"]}, "not a number"),
        ({SIGNATURE: ["siderov1  a b c"]}, "5 parts"),
        ({SIGNATURE: ["siderov1 a@b 0000 AAAA"]}, "not known here"),
        ({SIGNATURE: [f"siderov1 a@b {KEY.public.fingerprint} AAAA"]}, "no OpenPGP data"),
        ({SIGNATURE: [f"siderov1 a@b {KEY.public.fingerprint} ä"]}, "not base64"),
    ],
)
def test_refused(changed: dict[str, list[str]], text: str):
    with pytest.raises(BadSignature, match=text):
        signing.verify(signed(**changed), METHOD, NOW, find)


def test_text_that_is_not_utf8_is_refused():
    payload = signed()[PAYLOAD][0].replace('"uid"', '"\udcff":null,"uid"')
    with pytest.raises(BadSignature, match="UTF-8"):
        signing.verify(signed(**{PAYLOAD: [payload]}), METHOD, NOW, find)


@pytest.mark.parametrize("seconds", [-301, 301])
def test_calls_are_taken_for_five_minutes_only(seconds: int):
    with pytest.raises(BadSignature, match="5 minutes"):
        signing.verify(signed(), METHOD, NOW + timedelta(seconds=seconds), find)


def test_a_selector_arrives_in_lower_case():
    given = {"fieldselectors": ["metadata.name=x"]}
    whole = given | signing.sign(KEY, "a", METHOD, given, NOW)
    assert json.loads(whole[PAYLOAD][0])["headers"]["fieldSelectors"] == ["metadata.name=x"]
    assert signing.verify(whole, METHOD, NOW, find)
    with pytest.raises(BadSignature, match="fieldSelectors"):
        signing.verify(whole | {"fieldselectors": ["metadata.name=y"]}, METHOD, NOW, find)


@given(
    st.dictionaries(
        st.sampled_from([TIMESTAMP, PAYLOAD, SIGNATURE, "nodes", "cluster"]), st.lists(st.text(), max_size=2)
    )
)
def test_any_metadata(changed: dict[str, list[str]]):
    """It is either what was signed, or refused."""
    whole = signed(**changed)
    with contextlib.suppress(Unsigned, BadSignature):
        signing.verify(whole, METHOD, NOW, find)
        assert {name: whole.get(name) for name in ROUTE} == ROUTE


def test_plain_keys_of_other_curves_are_refused():
    key = ec.generate_private_key(ec.SECP256K1()).public_key()
    text = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ValueError, match="P-256"):
        signing.parse_public("plain", text)


def test_the_key_of_a_service_account():
    key = serviceaccount.new_key("infra-provider:aws", NOW, timedelta(days=365))
    assert key.public.email == "aws@infra-provider.serviceaccount.omni.sidero.dev"
    name, read = serviceaccount.read_key(serviceaccount.key_text("infra-provider:aws", key))
    assert (name, read.public) == ("infra-provider:aws", key.public)


@pytest.mark.parametrize("text", ["", "?", "ä", base64.b64encode(b"[]").decode(), base64.b64encode(b"{}").decode()])
def test_what_is_no_key_of_a_service_account(text: str):
    with pytest.raises(ValueError, match=r"not the key|neither armored"):
        serviceaccount.read_key(text)
