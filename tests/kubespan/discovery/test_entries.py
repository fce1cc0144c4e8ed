"""The wire form of affiliates is that of protobuf."""

from hypothesis import given
from hypothesis import strategies as st

from kubespan.discovery import entries
from talos.gen.sidero import discovery_pb2 as pb

IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=64)
DATA = st.binary(max_size=300)
ENDPOINTS = st.lists(st.binary(min_size=1, max_size=32), max_size=64)


@given(IDS, DATA, ENDPOINTS)
def test_an_entry_is_the_message_of_a_watch_and_part_of_a_list(id: str, data: bytes, endpoints: list[bytes]) -> None:
    entry = entries.encode(id, data, endpoints)
    affiliate = pb.Affiliate(id=id, data=data, endpoints=endpoints)
    assert entry == pb.WatchResponse(affiliates=[affiliate]).SerializeToString()
    assert entry + entry == pb.ListResponse(affiliates=[affiliate, affiliate]).SerializeToString()


@given(IDS, DATA, ENDPOINTS)
def test_an_entry_gives_back_what_it_was_made_of(id: str, data: bytes, endpoints: list[bytes]) -> None:
    assert entries.decode(entries.encode(id, data, endpoints)) == (data, endpoints)


def test_the_largest_entry() -> None:
    data, endpoints = b"d" * 2048, [bytes([n]) * 32 for n in range(64)]
    entry = entries.encode("i" * 256, data, endpoints)
    assert entries.decode(entry) == (data, endpoints)
    assert pb.WatchResponse.FromString(entry).affiliates[0].endpoints == endpoints


@given(IDS)
def test_a_deletion_names_the_id_alone(id: str) -> None:
    wanted = pb.WatchResponse(affiliates=[pb.Affiliate(id=id)], deleted=True)
    assert pb.WatchResponse.FromString(entries.deletion(id)) == wanted


@given(st.integers(0, 1 << 40))
def test_lengths_are_written_as_protobuf_does(number: int) -> None:
    message = pb.AffiliateUpdateRequest()
    message.ttl.seconds = number
    assert message.ttl.SerializeToString() == (b"\x08" + entries.size(number) if number else b"")
