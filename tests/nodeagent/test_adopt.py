"""Giving a machine its identity: what is read, what is written, and in which order."""

from typing import Any

from nodeagent.adopt import META_UNIQUE_TOKEN, META_UUID_OVERRIDE, Identity, adopt
from nodeagent.identity import Hardware
from talos.jointoken import NetworkLink, NodeUniqueToken, machine_fingerprint
from talos.resources import Resource, types
from tests.nodeagent.fakenode import resource

TOKEN = NodeUniqueToken("f", "t")
MAC = "52:54:00:aa:bb:cc"


class Recorder:
    """A client of a machine with these links."""

    def __init__(self, *links: Any) -> None:
        self.links = [resource(types.LINK_STATUS, spec, f"eth{n}") for n, spec in enumerate(links)]
        self.written: list[tuple[int, bytes]] = []

    async def get(self, kind: Any) -> Resource:
        assert kind is types.SYSTEM_INFORMATION
        return resource(types.SYSTEM_INFORMATION, {"uuid": "8A4F", "serialnumber": "s1"})

    async def list(self, kind: Any) -> list[Resource]:
        assert kind is types.LINK_STATUS
        return self.links

    async def meta_write(self, key: int, value: bytes) -> None:
        self.written.append((key, value))


async def adopted(recorder: Recorder, override: str | None = None) -> str:
    asked = []

    async def choose(hardware: Hardware) -> Identity:
        asked.append(hardware.network_fingerprint)
        return Identity(TOKEN, override)

    await adopt(recorder, choose)  # type: ignore[arg-type]
    return asked[0]


async def test_a_token_is_written() -> None:
    recorder = Recorder({"type": "ether", "kind": "", "hardwareAddr": MAC, "permanentAddr": ""})
    fingerprint = await adopted(recorder)
    assert fingerprint == machine_fingerprint([NetworkLink("ether", "", bytes.fromhex(MAC.replace(":", "")))])
    assert recorder.written == [(META_UNIQUE_TOKEN, b'{"Fingerprint":"f","Token":"t"}')]


async def test_the_token_comes_before_the_uuid() -> None:
    """Each write makes the machine call again: under its new UUID it must not bring a token from elsewhere."""
    recorder = Recorder()
    await adopted(recorder, "11111111-2222-4333-8444-555555555555")
    assert [key for key, _ in recorder.written] == [META_UNIQUE_TOKEN, META_UUID_OVERRIDE]


async def test_links_that_are_none_do_not_count() -> None:
    nonsense = [None, [], "x", {"type": "ether", "hardwareAddr": "no address"}, {"type": 3, "kind": None}]
    assert await adopted(Recorder(*nonsense)) == machine_fingerprint([NetworkLink("ether", "", b"")])
