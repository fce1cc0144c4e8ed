"""Where clients come from, how often they may call, and as which versions they are counted."""

import asyncio
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubespan.discovery import source
from kubespan.discovery.counting import UNKNOWN, VERSIONS, Calls, Method, version_label
from kubespan.discovery.limiter import Limiter
from kubespan.discovery.limits import Refused
from tests.kubespan.discovery.lab import Clock


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:1.2.3.4:5678", "1.2.3.4"),
        ("ipv6:%5B::1%5D:5678", "::1"),
        ("ipv6:[2001:db8::7]:5678", "2001:db8::7"),
        ("ipv6:%5B::ffff:1.2.3.4%5D:5678", "1.2.3.4"),
        ("ipv6:%5Bfe80::1%25eth0%5D:5678", "fe80::1%eth0"),
        ("unix:/run/socket", None),
        ("unix-abstract:omni/https/1.2.3.4/5/", None),
        ("", None),
        ("ipv4:nobody:5", None),
    ],
)
def test_addresses_of_connections(peer: str, address: str | None) -> None:
    assert source.of_peer(peer) == (ip_address(address) if address else None)


REAL, FORWARDED = ("x-real-ip", "1.2.3.4"), ("x-forwarded-for", "5.6.7.8,192.168.0.0.1")


@pytest.mark.parametrize(
    ("metadata", "real_ip", "forwarded_for", "address"),
    [
        ([REAL], True, True, "1.2.3.4"),
        ([FORWARDED], True, True, "5.6.7.8"),
        ([REAL, FORWARDED], True, True, "1.2.3.4"),
        ([REAL, FORWARDED], False, True, "5.6.7.8"),
        ([REAL, FORWARDED], True, False, "1.2.3.4"),
        ([REAL, FORWARDED], False, False, None),
        ([("x-real-ip", "1.2.3.4:80"), FORWARDED], True, True, "5.6.7.8"),
        ([("x-real-ip", "1.2.3.4"), ("x-real-ip", "9.9.9.9")], True, False, "1.2.3.4"),
        ([("x-real-ip", " 1.2.3.4")], True, False, None),
        ([("x-forwarded-for", "  5.6.7.8 , 1.1.1.1")], False, True, "5.6.7.8"),
        ([("x-forwarded-for", "unknown, 5.6.7.8")], False, True, None),
        ([("x-forwarded-for", "2001:db8::1")], False, True, "2001:db8::1"),
        ([("x-real-ip", "::ffff:1.2.3.4")], True, False, "1.2.3.4"),
        ([("x-real-ip", b"1.2.3.4")], True, False, None),
        (None, True, True, None),
    ],
)
def test_what_proxies_say(metadata: list | None, real_ip: bool, forwarded_for: bool, address: str | None) -> None:
    got = source.of_metadata(metadata, real_ip=real_ip, forwarded_for=forwarded_for)
    assert got == (ip_address(address) if address else None)


@given(st.text(max_size=60))
def test_anything_else_is_no_address(text: str) -> None:
    source.parse(text)
    source.of_peer(text)


async def test_a_burst_passes_and_then_calls_pass_at_the_rate() -> None:
    clock = Clock()
    limiter = Limiter(rate=10, burst=5, clock=clock)
    for _ in range(5):
        await limiter.turn("a", lambda: 0.0)
    with pytest.raises(Refused, match="rate limit exceeds request timeout") as refused:
        await limiter.turn("a", lambda: 0.09)
    assert refused.value.code == "RESOURCE_EXHAUSTED"
    await limiter.turn("b", lambda: 0.0)
    clock.now += 0.1
    await limiter.turn("a", lambda: 0.0)
    clock.now += 1000
    for _ in range(5):
        await limiter.turn("a", lambda: 0.0)
    with pytest.raises(Refused):
        await limiter.turn("a", lambda: 0.0)


async def test_who_has_time_waits_for_their_turn() -> None:
    limiter = Limiter(rate=100, burst=1)
    began = asyncio.get_running_loop().time()
    for _ in range(4):
        await limiter.turn("a", lambda: None)
    assert asyncio.get_running_loop().time() - began >= 0.025


async def test_who_gives_up_leaves_the_turn_to_others() -> None:
    clock = Clock()
    limiter = Limiter(rate=1, burst=1, clock=clock)
    await limiter.turn("a", lambda: None)
    waiting = asyncio.create_task(limiter.turn("a", lambda: None))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    clock.now += 1
    await limiter.turn("a", lambda: 0.0)


async def test_nobody_waits_longer_than_any_node_would() -> None:
    limiter = Limiter(rate=1, burst=1, clock=Clock())
    waiting = [asyncio.create_task(limiter.turn("a", lambda: None)) for _ in range(200)]
    await asyncio.sleep(0)
    refused = [task for task in waiting if task.done() and isinstance(task.exception(), Refused)]
    assert len(refused) == 200 - 1 - 60
    for task in waiting:
        task.cancel()


async def test_a_million_addresses_are_forgotten_again() -> None:
    clock = Clock()
    limiter = Limiter(clock=clock)
    for number in range(200_000):
        clock.now += 0.001
        await limiter.turn(number, lambda: 0.0)
    assert len(limiter) < 5_000


@pytest.mark.parametrize(
    ("version", "label"),
    [
        ("v1.8.3", "v1.8"),
        ("v1.8.0-beta.1", "v1.8-pre"),
        ("v1.10.0", "v1.10"),
        ("v1.14.0-alpha.0-12-gabcdef-dirty", "v1.14-pre"),
        ("v1.8.3-dirty", "v1.8-pre"),
        ("v1.2", UNKNOWN),
        ("1.8.3", UNKNOWN),
        ("", UNKNOWN),
        ("unknown", UNKNOWN),
        ("v1234.1.0", UNKNOWN),
        ("v1.1234.0", UNKNOWN),
        ("va.b.c", UNKNOWN),
        ("v1..3", UNKNOWN),
        ("v١.8.3", UNKNOWN),
    ],
)
def test_versions_are_counted_without_their_details(version: str, label: str) -> None:
    assert version_label(version) == label


def test_versions_that_nobody_has_made_are_not_counted_apart_without_end() -> None:
    calls = Calls()
    for major in range(100):
        for minor in range(100):
            calls.hello(f"v{major}.{minor}.0")
    assert len(calls.versions) == VERSIONS + 1
    assert sum(calls.versions.values()) == 10_000


def test_durations_fall_into_buckets() -> None:
    method = Method()
    for seconds in (0.001, 0.01, 0.011, 3.0):
        method.ended("OK", seconds)
    assert method.slots == [2, 1, 0, 0, 0, 0, 1]
    assert method.handled == {"OK": 4}
