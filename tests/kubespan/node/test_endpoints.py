"""Which of its addresses a node publishes as endpoints, and in which order."""

from ipaddress import ip_address

import pytest

from kubespan.affiliates import Endpoint
from kubespan.node.endpoints import Filter, own, select

ADDRESSES = [ip_address(text) for text in ("192.168.1.5", "10.0.0.5", "2001:db8::5", "203.0.113.7")]


def chosen(*filters: str) -> list[str]:
    return [str(address) for address in select(ADDRESSES, [Filter.parse(text) for text in filters])]


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ((), ["192.168.1.5", "10.0.0.5", "2001:db8::5", "203.0.113.7"]),
        (("0.0.0.0/0", "!192.168.0.0/16", "::/0"), ["10.0.0.5", "203.0.113.7", "2001:db8::5"]),
        (("::/0", "0.0.0.0/0"), ["2001:db8::5", "192.168.1.5", "10.0.0.5", "203.0.113.7"]),
        (("!192.168.0.0/16",), []),
        (("!192.168.0.0/16", "0.0.0.0/0"), ["192.168.1.5", "10.0.0.5", "203.0.113.7"]),
        (("203.0.113.7", "0.0.0.0/0", "!203.0.113.7", "203.0.113.0/24"), ["192.168.1.5", "10.0.0.5", "203.0.113.7"]),
        (("10.1.2.3/8",), ["10.0.0.5"]),
    ],
)
def test_filters(filters, wanted):
    assert chosen(*filters) == wanted


def test_order_and_what_is_no_endpoint():
    kubespan = ip_address("fd7f:175a:b97c:5602::1")
    extra = [Endpoint(ip_address("198.51.100.9"), 4000), Endpoint(ADDRESSES[1], 51820)]
    endpoints = own(
        [*ADDRESSES[:3], kubespan, ip_address("fdae:41e4:649b:9303::5")],
        kubespan=kubespan,
        public=[ADDRESSES[3], ADDRESSES[0]],
        filters=[Filter.parse("0.0.0.0/0"), Filter.parse("!192.168.0.0/16")],
        extra=extra,
    )
    assert [str(it) for it in endpoints] == ["10.0.0.5:51820", "203.0.113.7:51820", "198.51.100.9:4000"]


def test_a_node_says_the_port_it_listens_on():
    assert str(own(ADDRESSES[:1], kubespan=ADDRESSES[2], port=4711)[0]) == "192.168.1.5:4711"


def test_a_filter_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"'!10\.0\.0/8' is no filter"):
        Filter.parse("!10.0.0/8")
