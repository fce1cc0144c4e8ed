"""Records of affiliates, as files and other processes have them."""

import contextlib
import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubespan.discovery import limits, records
from kubespan.discovery.records import Damaged, Record
from talos.gen.sidero import discovery_snapshot_pb2 as pb

IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=64)
TTLS = st.integers(0, 1_800_000_000).map(lambda micros: micros / 1e6)
RECORDS = st.builds(
    Record,
    IDS,
    IDS,
    st.binary(max_size=300),
    st.lists(st.tuples(st.binary(min_size=1, max_size=32), TTLS), max_size=8).map(tuple),
    TTLS,
)


def read(stream: bytes) -> list[Record]:
    return [record for message in records.messages(io.BytesIO(stream)) for record in records.decode(message)]


@given(st.lists(RECORDS, max_size=3))
def test_what_was_written_is_read(wanted: list[Record]) -> None:
    got = read(b"".join(map(records.encode, wanted)))
    assert [_without_times(record) for record in got] == [_without_times(record) for record in wanted]
    assert [seconds for record in got for seconds in _times(record)] == pytest.approx(
        [seconds for record in wanted for seconds in _times(record)], abs=2e-6
    )


def _without_times(record: Record) -> tuple[object, ...]:
    return record.cluster_id, record.affiliate_id, record.data, [endpoint for endpoint, _ in record.endpoints]


def _times(record: Record) -> list[float]:
    assert record.ttl is not None
    return [record.ttl, *(left for _, left in record.endpoints)]


@given(RECORDS)
def test_a_record_is_a_snapshot_of_one_affiliate(record: Record) -> None:
    snapshot = pb.StateSnapshot.FromString(records.encode(record))
    assert snapshot.clusters[0].id == record.cluster_id
    affiliate = snapshot.clusters[0].affiliates[0]
    assert (affiliate.id, affiliate.data) == (record.affiliate_id, record.data)
    assert [one.data for one in affiliate.endpoints] == [endpoint for endpoint, _ in record.endpoints]
    assert affiliate.HasField("ttl")
    assert not affiliate.HasField("expiration")


def test_a_deletion_has_no_time_to_live() -> None:
    assert read(records.encode(Record("cluster", "gone"))) == [Record("cluster", "gone")]


def test_a_file_of_absolute_times_is_read() -> None:
    cluster = pb.ClusterSnapshot(id="old")
    one = cluster.affiliates.add(id="a", data=b"d")
    one.expiration.FromSeconds(int(time.time()) + 600)
    end = one.endpoints.add(data=b"e")
    end.expiration.FromSeconds(int(time.time()) + 300)
    (got,) = read(pb.StateSnapshot(clusters=[cluster]).SerializeToString())
    assert got.ttl == pytest.approx(600, abs=2)
    assert got.endpoints[0][1] == pytest.approx(300, abs=2)


def test_nothing_lives_longer_than_a_request_may_ask_for() -> None:
    cluster = pb.ClusterSnapshot(id="c")
    one = cluster.affiliates.add(id="a")
    one.ttl.FromSeconds(10**9)
    one.endpoints.add(data=b"e").ttl.FromSeconds(10**9)
    (got,) = read(pb.StateSnapshot(clusters=[cluster]).SerializeToString())
    assert (got.ttl, got.endpoints) == (limits.TTL_SECONDS, ((b"e", limits.TTL_SECONDS),))


def test_what_would_hurt_nodes_is_left_out() -> None:
    cluster = pb.ClusterSnapshot(id="c")
    for id, data, endpoints in (
        ("", b"", []),
        ("i" * 257, b"", []),
        ("big", b"d" * 2049, []),
        ("good", b"d", [b"", b"e" * 33, b"e"]),
        ("many", b"d", [b"%d" % n for n in range(65)]),
    ):
        one = cluster.affiliates.add(id=id, data=data)
        one.ttl.FromSeconds(60)
        for endpoint in endpoints:
            one.endpoints.add(data=endpoint).ttl.FromSeconds(60)
    got = read(pb.StateSnapshot(clusters=[cluster]).SerializeToString())
    assert [(record.affiliate_id, len(record.endpoints)) for record in got] == [("good", 1), ("many", 64)]
    assert read(pb.StateSnapshot(clusters=[pb.ClusterSnapshot(id="")]).SerializeToString()) == []


@given(st.lists(RECORDS, min_size=1, max_size=4), st.data())
def test_of_a_stream_that_is_cut_off_all_that_is_whole_is_read(wanted: list[Record], data: st.DataObject) -> None:
    written = list(map(records.encode, wanted))
    stream = b"".join(written)
    cut = data.draw(st.integers(0, len(stream)))
    whole, at = 0, 0
    while whole < len(written) and at + len(written[whole]) <= cut:
        at += len(written[whole])
        whole += 1
    assert scan(stream[:cut]) == (whole, None if cut == at else at)


def scan(stream: bytes) -> tuple[int, int | None]:
    """How many messages are whole, and behind which byte the stream is damaged, if it is."""
    count = 0
    try:
        for message in records.messages(io.BytesIO(stream)):
            count += 1
            with contextlib.suppress(ValueError):
                list(records.decode(message))
    except Damaged as damage:
        return count, damage.at
    return count, None


@given(st.binary(max_size=200))
def test_noise_is_damaged_or_no_message_but_no_other_error(noise: bytes) -> None:
    _, at = scan(noise)
    assert at is None or 0 <= at <= len(noise)


def test_a_cluster_that_claims_too_much_is_not_read() -> None:
    stream = io.BytesIO(b"\x0a" + b"\xff\xff\xff\xff\x07" + b"x" * 100)
    with pytest.raises(Damaged, match="is the most"):
        list(records.messages(stream))
