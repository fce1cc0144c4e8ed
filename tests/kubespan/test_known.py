"""What a node knows after any messages of a watch."""

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from kubespan.affiliates import Affiliate, Endpoint
from kubespan.crypto import ClusterKey
from kubespan.known import Discovered, Known
from talos.gen.sidero import discovery_pb2 as pb

KEY, FOREIGN = ClusterKey(bytes(32)), ClusterKey(bytes(range(32)))
ENDPOINTS = [Endpoint(ip_address(f"192.0.2.{last}"), 51820) for last in range(3)]
KINDS = ("sealed", "foreign", "empty", "garbage")

records = st.tuples(
    st.sampled_from(["me", "one", "two", "three"]),
    st.sampled_from(KINDS),
    st.text("ab", max_size=2),  # the node's own id
    st.lists(st.sampled_from(ENDPOINTS), max_size=3),
    st.lists(st.sampled_from([b"", bytes(16), b"x" * 15, b"y" * 48]), max_size=2),
)
messages = st.lists(st.tuples(st.booleans(), st.booleans(), st.lists(records, max_size=4)), max_size=12)


@given(messages)
def test_it_is_what_the_readable_ones_said(history):
    known = Known(KEY, "me")
    expected: dict[str, Discovered] = {}
    for first, deleted, said in history:
        response = pb.WatchResponse(deleted=deleted)
        before = dict(expected)
        if first and not deleted:
            expected = {id: expected[id] for id, kind, *_ in said if kind != "empty" and id in expected}
        for id, kind, node_id, endpoints, bad in said:
            affiliate = Affiliate(node_id)
            data = {
                "sealed": KEY.seal(affiliate),
                "foreign": FOREIGN.seal(affiliate),
                "empty": b"",
                "garbage": b"no affiliate at all",
            }[kind]
            sealed = [*bad, *map(KEY.seal_endpoint, endpoints)]
            response.affiliates.append(pb.Affiliate(id=id, data=data, endpoints=sealed))
            if deleted:
                expected.pop(id, None)
            elif kind == "sealed" and id != "me":
                expected[id] = Discovered(affiliate, tuple(endpoints))
        changed = known.apply(response, first=first)
        assert known.affiliates == expected
        assert changed or expected == before
