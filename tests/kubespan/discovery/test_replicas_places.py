"""Where other processes are, and by what certificates they are known."""

import asyncio
import shutil
import ssl
from pathlib import Path

import pytest

from benchmarks.installation import free_port
from kubespan.discovery.replicas.places import Addresses, Identity, split
from tests.kubespan.discovery.processes import HOST, identity


@pytest.mark.parametrize("listen", ["0.0.0.0:3002", ":3002", "[::]:3002", "discovery-1.example.com:3002"])
def test_plain_streams_stay_on_this_host(listen: str) -> None:
    with pytest.raises(ValueError, match="certificates"):
        Addresses(listen, [], None)
    Addresses(listen, [], None, plain=True)


async def test_nor_do_they_leave_it() -> None:
    here = Addresses("127.0.0.1:3002", ["192.0.2.1:3002"], None)
    with pytest.raises(OSError, match="certificates"):
        await here.connect("192.0.2.1:3002")


@pytest.mark.parametrize("text", ["", "host", "host:", "host:x", "host:0", "host:65536", "host:-1"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        split(text)


async def test_a_name_is_all_its_addresses_and_one_without_is_none() -> None:
    here = Addresses("127.0.0.1:3002", ["localhost:3002", "[::1]:3003", "nowhere.invalid:3002"], None)
    places = set(await here.places())
    assert {"127.0.0.1:3002", "[::1]:3003"} <= places <= {"127.0.0.1:3002", "[::1]:3002", "[::1]:3003"}


async def test_a_certificate_is_used_when_it_changes_and_stays_when_the_new_one_is_bad(tmp_path: Path) -> None:
    identity(tmp_path)
    known = Identity(*(tmp_path / name for name in ("ca.crt", "peer.crt", "peer.key")))
    port = free_port(1)
    here = Addresses(f"{HOST}:{port}", [], known)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def shown() -> bytes:
        _, writer = await here.connect(f"{HOST}:{port}")
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return certificate

    await here.listen(accept)
    try:
        first = await shown()
        identity(tmp_path / "other")
        for path in (tmp_path / "other").iterdir():
            shutil.copy(path, tmp_path)
        await here.places()
        second = await shown()
        assert first != second == ssl.PEM_cert_to_DER_cert((tmp_path / "peer.crt").read_text())
        good = (tmp_path / "peer.key").read_bytes()
        (tmp_path / "peer.key").write_text("rubbish")
        await here.places()
        (tmp_path / "peer.key").write_bytes(good)
        assert await shown() == second
    finally:
        await here.close()
