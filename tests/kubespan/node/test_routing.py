"""The packet filter that sends packets into the tunnel."""

import subprocess
from ipaddress import ip_network

import pytest

from kubespan.node.routing import ruleset

NETWORKS = [ip_network(text) for text in ("10.244.1.0/24", "192.168.3.4/32", "2001:db8::/64")]


def test_rules_are_those_of_a_talos_node():
    assert ruleset("kubespan", NETWORKS, 1420).splitlines() == [
        "table inet kubespan { }",
        "delete table inet kubespan",
        "table inet kubespan {",
        "chain prerouting {",
        "type filter hook prerouting priority filter; policy accept;",
        "meta mark & 0x60 == 0x20 accept",
        "ip daddr { 10.244.1.0/24, 192.168.3.4/32 } meta mark set meta mark & 0xffffff9f ^ 0x40 accept",
        "ip6 daddr { 2001:db8::/64 } meta mark set meta mark & 0xffffff9f ^ 0x40 accept",
        "}",
        "chain outgoing {",
        "type route hook output priority filter; policy accept;",
        "meta mark & 0x60 == 0x20 accept",
        'oifname "lo" accept',
        "ip daddr { 10.244.1.0/24, 192.168.3.4/32 } tcp flags & (syn | rst) == syn"
        " tcp option maxseg size > 1368 tcp option maxseg size set 1368",
        "ip6 daddr { 2001:db8::/64 } tcp flags & (syn | rst) == syn"
        " tcp option maxseg size > 1348 tcp option maxseg size set 1348",
        "ip daddr { 10.244.1.0/24, 192.168.3.4/32 } meta mark set meta mark & 0xffffff9f ^ 0x40 accept",
        "ip6 daddr { 2001:db8::/64 } meta mark set meta mark & 0xffffff9f ^ 0x40 accept",
        "}",
        "}",
    ]


@pytest.mark.netns
@pytest.mark.parametrize("networks", [(), NETWORKS, [ip_network("0.0.0.0/0"), ip_network("::/0")]])
def test_the_kernel_takes_them_again_and_again(networks):
    rules = ruleset("ks-0", networks, 1420)
    for _ in range(2):
        done = subprocess.run(
            ["unshare", "-Urn", "nft", "-f", "-"], input=rules + rules, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
