"""The pure parts of a simulated machine."""

import asyncio
import json

import pytest

from nodeagent.simulator import access, hardware
from nodeagent.simulator.__main__ import with_transport
from nodeagent.simulator.disk import Disk, EtcdData, Installation
from nodeagent.simulator.etcd import EtcdError, EtcdRegistry
from nodeagent.simulator.events import KEPT, EventLog
from nodeagent.simulator.image import parse_installer
from nodeagent.simulator.kmsg import KernelLog
from nodeagent.simulator.resources import pretty_size
from talos import kernelargs
from talos.gen.machine import events_pb2
from talos.roles import ADMIN, META_WRITER, OPERATOR, READER


def test_the_same_seed_makes_the_same_machines():
    assert hardware.build("a", 3) == hardware.build("a", 3)
    fleet = [hardware.build("a", index) for index in range(600)]
    for name in ("uuid", "serial", "mac", "address"):
        assert len({getattr(machine, name) for machine in fleet}) == 600
    assert hardware.build("b", 3).uuid != hardware.build("a", 3).uuid


@pytest.mark.parametrize(
    ("reference", "version", "schematic"),
    [
        ("ghcr.io/siderolabs/installer:v1.13.8", "v1.13.8", ""),
        ("localhost:5000/metal-installer/" + "ab" * 32 + ":v1.14.0-beta.1", "v1.14.0-beta.1", "ab" * 32),
        ("f.example/metal-installer/" + "ab" * 32 + ":v1.13.8@sha256:" + "0" * 64, "v1.13.8", "ab" * 32),
    ],
)
def test_an_installer_names_a_build(reference: str, version: str, schematic: str):
    image = parse_installer(reference)
    assert (image.version, image.schematic) == (version, schematic)


@pytest.mark.parametrize("reference", ["", "installer", "localhost:5000/installer", "installer:latest"])
def test_an_installer_without_a_version_is_refused(reference: str):
    with pytest.raises(ValueError):
        parse_installer(reference)


def test_roles():
    machine = "/machine.MachineService/"
    reader, operator = frozenset({READER}), frozenset({OPERATOR})
    assert access.allowed(machine + "Version", reader, maintenance=False)
    assert not access.allowed(machine + "Reboot", reader, maintenance=False)
    assert access.allowed(machine + "Reboot", operator, maintenance=False)
    assert access.allowed(machine + "MetaWrite", frozenset({META_WRITER}), maintenance=False)
    assert not access.allowed(machine + "Reset", operator, maintenance=False), "no rule: administrators"
    assert not access.allowed(machine + "ApplyConfiguration", reader, maintenance=False)
    assert access.allowed(machine + "ApplyConfiguration", reader, maintenance=True)
    assert not access.allowed(machine + "Version", frozenset({"something"}), maintenance=False)
    assert access.exists("/machine.LifecycleService/Install", (1, 13))
    assert not access.exists("/machine.LifecycleService/Install", (1, 12))
    assert access.in_old_maintenance(machine + "Version", frozenset({ADMIN}))
    assert not access.in_old_maintenance(machine + "Version", reader)


async def test_a_kernel_log_line():
    log = KernelLog()
    log.talos("a <b> & c\u2028é", priority="err")
    message = await anext(log.read(follow=False))
    line = message.json_line()
    assert line.endswith(b"}\n")
    assert b"\\u003cb\\u003e \\u0026 c\\u2028\xc3\xa9\\n" in line
    record = json.loads(line)
    assert list(record) == ["clock", "facility", "msg", "priority", "seq", "talos-level", "talos-time"]
    assert (record["priority"], record["talos-level"], record["facility"]) == ("err", "error", "user")
    assert record["msg"].endswith("\n")
    assert message.dmesg_line().startswith(b"user:     err: [")


async def test_a_kernel_log_is_followed():
    log = KernelLog()
    log.write("one")
    reader = log.read()
    assert (await anext(reader)).text == "one"
    following = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    log.write("two")
    assert (await following).sequence == 1


async def test_events_have_sortable_ids_and_a_ring():
    log = EventLog()
    for number in range(KEPT + 10):
        log.publish(events_pb2.PhaseEvent(phase=str(number)))
    stored = log.stored()
    ids = [event.id for event in stored]
    assert len(stored) == KEPT
    assert ids == sorted(set(ids))
    assert all(len(id) == 20 and set(id) <= set("0123456789abcdefghijklmnopqrstuv") for id in ids)
    assert stored[0].packed("talos/runtime/").type_url == "talos/runtime/machine.PhaseEvent"
    assert (await log.after(0))[0].number == 11


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (512, "512 B"), (1_048_576, "1.0 MB"), (53_687_091_200, "54 GB")]
)
def test_sizes(size: int, text: str):
    assert pretty_size(size) == text


def test_the_transport_is_asked_for_in_the_url():
    url = "grpc://10.0.0.1:8090?jointoken=v2%3Aa%2Bb%3D"
    asked = kernelargs.parse_api_url(with_transport(url, "grpc"))
    assert (asked.tunnel, asked.join_token) == (True, "v2:a+b=")
    assert not kernelargs.parse_api_url(with_transport(with_transport(url, "grpc"), "udp")).tunnel
    assert with_transport("10.0.0.1:8090?jointoken=t", "udp") == "grpc://10.0.0.1:8090?jointoken=t"


def test_a_disk_keeps_nothing_until_it_is_installed(tmp_path):
    path = tmp_path / "disk.json"
    disk = Disk(path)
    disk.update(meta={16: b"t"}, config=b"c", node_id="n")
    assert disk.contents.meta == {}
    disk.install(Installation("/dev/vda", "v1.13.8", ""), {16: b"t"}, b"c")
    disk.set_etcd(EtcdData("f", 2**63, "m", "10.0.0.1"))
    assert Disk(path).contents == disk.contents
    disk.install(Installation("/dev/vda", "v1.13.9", ""), {16: b"t"}, b"c")
    disk.roll_back()
    assert disk.installation == Installation("/dev/vda", "v1.13.8", "")
    disk.wipe_state()
    assert (disk.contents.config, disk.contents.meta) == (b"", {16: b"t"})
    disk.wipe_everything()
    assert Disk(path).contents.installation is None


async def test_etcd_members():
    registry = EtcdRegistry()
    joining = asyncio.ensure_future(registry.join("f", "b", "10.0.0.2"))
    await asyncio.sleep(0)
    first = await registry.bootstrap("f", "a", "10.0.0.1")
    second = await joining
    third = await registry.join("f", "c", "10.0.0.3")
    cluster = registry.cluster("f")
    assert cluster is not None
    assert cluster.leader == first.id
    await registry.stop("f", first.id)
    assert cluster.leader in (second.id, third.id)
    await registry.stop("f", second.id)
    assert not cluster.has_quorum
    with pytest.raises(EtcdError, match="no leader"):
        await registry.remove("f", first.id)
    await registry.start("f", second.id)
    await registry.remove("f", first.id)
    with pytest.raises(EtcdError, match="permanently removed"):
        await registry.start("f", first.id)
    await registry.remove("f", second.id)
    await registry.remove("f", third.id)
    assert registry.cluster("f") is None
