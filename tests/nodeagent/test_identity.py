"""Telling machines apart: what counts, and what a connection must not be believed."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from nodeagent.client import NodeClient
from nodeagent.identity import Hardware, WrongMachine, fingerprint, once, read_hardware, require
from nodeagent.probe import Authorities, Found, probe
from nodeagent.simulator.machine import Machine
from nodeagent.tls import Credentials, TlsStream
from talos import pki
from talos.jointoken import NetworkLink
from talos.resources import types
from tests.nodeagent.simulator.bench import LAN, Bench, bench, bundle, in_stage, run_cluster

BOARD = {"manufacturer": "ACME", "productName": "Box", "serialnumber": "1"}
CARD = NetworkLink("ether", "", b"\x02\x00\x00\x00\x00\x01", b"\x52\x54\x00\x00\x00\x01")


def test_the_fingerprint_is_of_what_stays() -> None:
    other = NetworkLink("ether", "", b"\x03")
    base = fingerprint(BOARD, [CARD, other])
    assert len(base) == 64
    assert base == fingerprint(dict(BOARD), [other, CARD])  # whatever their order
    assert base == fingerprint({**BOARD, "uuid": "x"}, [CARD, other, NetworkLink("ether", "bond", b"\x04")])
    renamed = NetworkLink("ether", "", b"\xff", CARD.permanent_address)  # another address for now, the same card
    assert base == fingerprint(BOARD, [renamed, other])


@pytest.mark.parametrize("board", [{**BOARD, "serialnumber": "2"}, {**BOARD, "productName": "Crate"}, {}])
def test_another_board_is_another_machine(board: dict[str, Any]) -> None:
    assert fingerprint(board, [CARD]) not in (fingerprint(BOARD, [CARD]), "")


def test_another_card_is_another_machine() -> None:
    assert fingerprint(BOARD, []) != fingerprint(BOARD, [CARD])


def test_a_machine_with_nothing_to_tell_it_by_has_no_fingerprint() -> None:
    assert fingerprint({"manufacturer": "ACME", "serialnumber": " "}, [NetworkLink("ether", "", b"")]) == ""


async def test_a_connection_is_made_once() -> None:
    made = 0

    async def connect() -> Any:
        nonlocal made
        made += 1

    first = once(connect)
    await first()
    with pytest.raises(ConnectionAbortedError):
        await first()
    assert made == 1


# --- against a machine ----------------------------------------------------------------------------------------------


def known(authorities: dict[str, Credentials]) -> Authorities:
    async def give() -> dict[str, Credentials]:
        return authorities

    return give


async def look(b: Bench, machine: Machine, authorities: dict[str, Credentials] | None = None) -> Found:
    """What is found there, as soon as the API listens."""
    boot = await machine.booted()
    while not boot.services.up("apid"):
        await boot.next_status()
    return await probe(lambda: b.connect(machine, 50000, LAN), known(authorities or {}), "it")


@pytest.mark.parametrize("version", ["v1.12.6", "v1.13.8"])
async def test_a_reader_identifies_a_machine_in_maintenance_mode(version: str) -> None:
    async with bench(version=version) as b:
        boot = await in_stage(b.fleet.machines[0], "maintenance")
        found = await look(b, boot.machine)
        assert (found.opens, found.mode, found.error, found.version) == (True, "maintenance", "", version)
        assert found.hardware.uuid == boot.uuid
        async with NodeClient(lambda: b.connect(boot.machine, 50000, LAN), None) as client:
            assert await read_hardware(client) == found.hardware
            await require(client, boot.uuid.upper(), found.hardware.fingerprint)
            with pytest.raises(WrongMachine, match="not another"):
                await require(client, "another", found.hardware.fingerprint)
            with pytest.raises(WrongMachine, match="not another"):
                await require(client, "another")
            with pytest.raises(WrongMachine, match="its hardware is another"):
                await require(client, boot.uuid, "0" * 64)


async def test_a_configured_machine_is_ours_or_not() -> None:
    async with bench() as b:
        [machine] = await run_cluster(b, 1)
        ours = Credentials(bundle().os.crt, pki.talos_client(bundle().os, ["os:admin"], datetime.now(UTC)))
        theirs = replace(ours, ca=pki.talos_ca(datetime.now(UTC)).crt)
        found = await look(b, machine, {"theirs": theirs, "ours": ours})
        assert (found.mode, found.authority, found.version) == ("secure", "ours", "v1.13.8")
        assert found.hardware.uuid == machine.hardware.uuid
        foreign = await look(b, machine, {"theirs": theirs})
        assert (foreign.mode, foreign.hardware.uuid) == ("foreign", "")
        assert "without configuration" in foreign.error


async def test_what_a_machine_says_is_a_uuid_or_none_and_plain_text() -> None:
    async with bench(version="v1.12.6") as b:
        boot = await in_stage(b.fleet.machines[0], "maintenance")
        told = boot.store.get(types.SYSTEM_INFORMATION, types.SYSTEM_INFORMATION.id)
        assert told is not None
        boot.put(types.SYSTEM_INFORMATION, {**told.spec, "uuid": "no\0uuid"})
        boot.put(types.VERSION, {"version": "v1\0\n" + "2" * 10_000})
        found = await look(b, boot.machine)
        assert (found.mode, found.hardware.uuid) == ("maintenance", "")
        assert found.version.isprintable()
        assert len(found.version) <= 500


async def test_a_certificate_that_cannot_be_read_is_no_machine_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def malformed(_: TlsStream) -> None:
        raise ValueError("error parsing asn1 value")

    monkeypatch.setattr(TlsStream, "peer_certificate", malformed)
    async with bench() as b:
        boot = await in_stage(b.fleet.machines[0], "maintenance")
        found = await look(b, boot.machine)
        assert (found.opens, found.mode) == (True, "")
        assert "does not speak TLS" in found.error


async def test_what_does_not_answer() -> None:
    async def refused() -> Any:
        raise ConnectionRefusedError(111, "Connection refused")

    assert await probe(refused, known({}), "it") == Found(error="Connection refused")

    async def hangs_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
        writer.close()

    server = await asyncio.start_server(hangs_up, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        found = await probe(lambda: asyncio.open_connection("127.0.0.1", port), known({}), "it")
    assert (found.opens, found.mode, found.hardware) == (True, "", Hardware())
    assert found.error
