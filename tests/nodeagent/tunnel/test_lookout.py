"""What an agent looks at, and what it offers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.tunnel import lookout
from nodeagent.tunnel.lookout import Lookout
from nodeagent.tunnel.protocol import ADDRESS_LIMIT, HOST, Scope, check_host
from tests.nodeagent.tunnel.lab import PATIENCE, echo, machine, new_host


@contextlib.asynccontextmanager
async def looking(scope: Scope, every: float = 0.02) -> AsyncIterator["asyncio.Queue[tuple[str, str | None]]"]:
    """A lookout at work; what it tells."""
    told: asyncio.Queue[tuple[str, str | None]] = asyncio.Queue()
    one = Lookout(scope, every, every)
    one.tell = lambda address, reason: told.put_nowait((address, reason))
    task = asyncio.create_task(one.run())
    try:
        async with asyncio.timeout(PATIENCE):
            yield told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_open_hosts_of_a_network_are_found_and_no_others() -> None:
    async with machine(echo, "127.78.0.9") as one, machine(echo, "127.78.0.14") as other:
        async with looking(Scope([], ["127.78.0.0/28"])) as told:
            assert {await told.get() for _ in range(2)} == {(one, None), (other, None)}
        assert told.empty()


async def test_a_host_that_goes_is_taken_back_and_found_again() -> None:
    host = new_host()
    async with looking(Scope([], [f"{host}/32"])) as told:
        async with machine(echo, host):
            assert await told.get() == (host, None)
        assert await told.get() == (host, "port 50000: connection refused")
        async with machine(echo, host):
            assert await told.get() == (host, None)


async def test_a_named_host_is_told_even_when_it_does_not_answer() -> None:
    host = new_host()
    async with looking(Scope([host], [])) as told:
        assert await told.get() == (host, "port 50000: connection refused")
        async with machine(echo, host):
            assert await told.get() == (host, None)


async def test_a_host_that_is_both_named_and_in_a_network_is_told_once() -> None:
    async with machine(echo) as host, looking(Scope([host], [f"{host}/30"])) as told:
        assert await told.get() == (host, None)
        await asyncio.sleep(0.1)
        assert told.empty()


async def test_a_name_that_does_not_resolve_is_said() -> None:
    async with looking(Scope(["no-such-host.invalid"], [])) as told:
        address, reason = await told.get()
        assert address == "no-such-host.invalid"
        assert reason is not None


async def test_one_miss_is_not_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy for a moment stays offered."""
    one = Lookout(Scope([], ["127.79.0.1/32"]))
    told: list[tuple[str, str | None]] = []
    one.tell = lambda address, reason: told.append((address, reason))
    async with machine(echo, "127.79.0.1"):
        await one._probe("127.79.0.1")
    await one._probe("127.79.0.1")
    assert told == [("127.79.0.1", None)]
    await one._probe("127.79.0.1")
    assert told[1:] == [("127.79.0.1", "port 50000: connection refused")]
    assert one.state == {}


async def test_probes_at_once_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest network allowed: every host once, never more than 64 at a time."""
    at_once, most, seen = 0, 0, set()

    async def connect(host: str, port: int) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        seen.add(host)
        await asyncio.sleep(0)
        at_once -= 1
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(lookout.asyncio, "open_connection", connect)
    one = Lookout(Scope([], ["10.0.0.0/20"]))
    await one._look(one._scanned)
    assert len(seen) == ADDRESS_LIMIT - 2  # without the network's own address and broadcast
    assert most == lookout.PROBES


async def test_running_out_of_files_says_nothing_of_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    host = new_host()
    one = Lookout(Scope([host], []))
    async with machine(echo, host):
        await one._probe(host)

    async def connect(host: str, port: int) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(lookout.asyncio, "open_connection", connect)
    for _ in range(5):
        await one._probe(host)
    assert one.state == {host: None}


@pytest.mark.parametrize(
    ("nodes", "networks", "text"),
    [
        ([], ["10.0.0.0/19"], "8,192 addresses are too many for one agent; it looks at up to 4,096"),
        (["10.9.9.9"], ["10.0.0.0/20"], "4,097 addresses"),
        ([], ["10.0.0.0/21", "10.1.0.0/21", "10.2.0.0/30"], "4,100 addresses"),
        ([], ["fd00::/64"], "addresses are too many"),
        ([], ["10.0.0.0/33"], "is not a network such as"),
        ([], ["rack-7"], "is not a network such as"),
        (["10.0.0"], [], "is neither a host name nor an IP address"),
        (["-x"], [], "is neither"),
        (["a" * 65], [], "is neither|more than 64"),
        (["http://10.0.0.1"], [], "is neither"),
        (["10.0.0.1:50000"], [], "is neither"),
        ([""], [], "is neither"),
        (["a..b"], [], "is neither"),
        (["a."], [], "is neither"),
        (["fe80::1%\0"], [], "is neither"),
    ],
)
def test_scopes_that_are_refused(nodes: list[str], networks: list[str], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Scope(nodes, networks)


@given(st.text(max_size=70) | st.from_regex(HOST, fullmatch=True) | st.ip_addresses().map(str))
def test_any_text_is_a_host_that_can_be_looked_up_or_refused(text: str) -> None:
    try:
        host = check_host(text)
    except ValueError:
        return
    assert host == text
    assert len(host.encode("idna")) <= 64  # as getaddrinfo does it


@given(st.ip_addresses(v=4), st.integers(21, 32), st.ip_addresses())
def test_a_scope_holds_its_networks_and_nothing_else(base: object, prefix: int, address: object) -> None:
    scope = Scope(["node-1.example.com"], [f"{base}/{prefix}"])
    network = scope.networks[0]
    assert (str(address) in scope) == (address in network)
    assert str(ip_address(str(network.network_address))) in scope
    assert "node-1.example.com" in scope
    assert "node-2.example.com" not in scope


def test_a_host_of_a_network_is_written_one_way() -> None:
    scope = Scope(["fe80::2%eth0"], ["fe80::/120"])
    assert "fe80::1" in scope
    assert "fe80::2%eth0" in scope
    assert not any(text in scope for text in ("FE80::1", "fe80:0::1", "fe80::1%eth0", "fe80::1%\0"))
