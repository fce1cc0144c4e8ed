"""Specs between protobuf, Python and YAML; label queries; watch events."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos import goduration, resources
from talos.gen.cosi import resource_pb2, state_pb2
from talos.gen.definitions import cluster_pb2, network_pb2
from talos.resources import EventType, Metadata, Resource, SpecError, query, schema, types


def spec_of(kind: resources.ResourceType, spec: object) -> object:
    """A spec after a trip over the wire."""
    return resources.decode(resources.encode(Resource(Metadata(kind.namespace, kind.name, "x"), spec))).spec


def test_a_spec_survives_the_wire_with_words_and_addresses() -> None:
    spec = {
        "endpoint": "[fd00::1]:51820",
        "label": "w1",
        "state": "up",
        "receiveBytes": 1,
        "transmitBytes": 2,
        "lastHandshakeTime": "2026-01-02T03:04:05.5Z",
        "lastUsedEndpoint": "10.0.0.1:1",
        "lastEndpointChange": "0001-01-01T00:00:00Z",
    }
    assert spec_of(types.KUBESPAN_PEER_STATUS, spec) == spec


def test_values_without_a_word_keep_their_number() -> None:
    assert spec_of(types.MACHINE_STATUS, {"stage": "42"})["stage"] == "42"
    flags = schema.to_spec(network_pb2.AddressStatusSpec(flags=0x10000 | 2))["flags"]
    assert flags == "nodad,0x10000"
    assert spec_of(types.ADDRESS_STATUS, {"flags": flags})["flags"] == flags


def test_zones_and_mapped_addresses() -> None:
    spec = {"dnsServers": ["fe80::1%eth0", "::ffff:10.0.0.1", "1.1.1.1"], "searchDomains": []}
    assert spec_of(types.RESOLVER_STATUS, spec) == spec


def test_an_object_that_may_be_absent_is_not_lost_when_empty() -> None:
    spec = spec_of(types.LINK_STATUS, {"vlan": {}})
    assert spec["vlan"] == {"vlanID": 0, "vlanProtocol": ""}
    assert "bridgeMaster" not in spec


@pytest.mark.parametrize(
    ("kind", "spec", "words"),
    [
        (types.VERSION, {"nosuch": 1}, "no key 'nosuch'"),
        (types.VERSION, ["v1"], "is a mapping"),
        (types.NODE_IP, {"addresses": ["not an address"]}, "NodeIPSpec.addresses"),
        (types.MACHINE_STATUS, {"stage": "jumping"}, "MachineStatusSpec.stage"),
        (types.DISK, {"size": "big"}, "DiskSpec.size"),
        (types.LINK_STATUS, {"mtu": -1}, "mtu"),
    ],
)
def test_a_spec_of_the_wrong_shape_is_refused_by_name(kind: resources.ResourceType, spec: object, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        spec_of(kind, spec)


def test_the_key_of_discovery_is_a_list_of_numbers_in_yaml() -> None:
    message = cluster_pb2.ConfigSpec()
    schema.fill({"serviceEncryptionKey": [1, 2, 255]}, message)
    assert message.service_encryption_key == b"\x01\x02\xff"
    assert "serviceEncryptionKey:\n    - 1\n    - 2\n    - 255\n" in schema.to_yaml(schema.to_spec(message))
    with pytest.raises(SpecError, match="serviceEncryptionKey"):
        schema.fill({"serviceEncryptionKey": [256]}, cluster_pb2.ConfigSpec())


def test_types_without_a_message_are_read_from_yaml() -> None:
    message = resource_pb2.Resource(
        metadata=resource_pb2.Metadata(type="Nosuch.talos.dev"),
        spec=resource_pb2.Spec(proto_spec=b"?", yaml_spec="a: 1\n"),
    )
    assert resources.decode(message).spec == {"a": 1}
    message.spec.yaml_spec = "a: ["
    with pytest.raises(SpecError, match="cannot be read"):
        resources.decode(message)


@given(st.binary(max_size=60))
def test_no_bytes_of_a_machine_raise_anything_else(junk: bytes) -> None:
    for kind in (types.LINK_STATUS, types.STATIC_POD_STATUS, types.MACHINE_CONFIG, types.KUBESPAN_PEER_STATUS):
        message = resource_pb2.Resource(
            metadata=resource_pb2.Metadata(type=kind.name), spec=resource_pb2.Spec(proto_spec=junk, yaml_spec="x")
        )
        with contextlib.suppress(SpecError):
            assert resources.decode(message).metadata.type == kind.name


def test_events_of_a_newer_node_are_skipped_not_fatal() -> None:
    event = state_pb2.Event(event_type=99)  # type: ignore[arg-type]
    assert resources.decode_event(event).type is EventType.NOOP
    assert resources.decode_event(state_pb2.Event(event_type=state_pb2.ERRORED, error="slow")).error == "slow"


def test_names_people_use_resolve_to_types() -> None:
    definition = types.NODE_ADDRESS.definition()
    assert definition["displayType"] == "NodeAddress"
    assert {"nodeaddresses", "nodeaddresses.net", "nodeaddress", "na"} <= set(definition["allAliases"])
    assert types.BOOTED_ENTRY.display_type == "BootedEntry"
    assert len(types.TYPES) > 70


@pytest.mark.parametrize(
    ("text", "value"),
    [("9", 9), ("4Gi", 4 << 30), ("2 kB", 2000), ("-1", -1), ("x", None), ("", None), ("5 years", None)],
)
def test_numbers_of_labels(text: str, value: int | None) -> None:
    assert query.number(text) == value


def test_a_query_without_a_value_is_refused() -> None:
    term = resource_pb2.LabelTerm(key="k", op=resource_pb2.LabelTerm.EQUAL)
    with pytest.raises(query.QueryError, match="no value"):
        query.matches({"k": "v"}, [resource_pb2.LabelQuery(terms=[term])])


@given(st.integers(min_value=-(2**62), max_value=2**62))
def test_durations_read_back(nanoseconds: int) -> None:
    assert goduration.parse(goduration.format(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0s"), (25 * 10**9, "25s"), (3600 * 10**9, "1h0m0s"), (1_500_000_000, "1.5s"), (90_001_000_000, "1m30.001s"),
     (100_000_000, "100ms"), (1_500, "1.5µs"), (-1, "-1ns")],
)  # fmt: skip
def test_durations_are_written_as_go_does(nanoseconds: int, text: str) -> None:
    assert goduration.format(nanoseconds) == text


@pytest.mark.parametrize("text", ["", "5", "1h x", "s", "-", "1d"])
def test_other_text_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        goduration.parse(text)
