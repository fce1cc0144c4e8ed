"""COSI resources of a machine as inventory fields."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent import inventory
from nodeagent.inventory import fields
from talos.resources import ResourceType, types


def of(*resources: tuple[ResourceType, str, Any]) -> dict[str, Any]:
    """Fields that change with these resources (type, id, spec)."""
    specs: dict[str, dict[str, Any]] = {}
    for kind, id, spec in resources:
        specs.setdefault(kind.name, {})[id] = spec
    return fields(specs, set(specs))


def test_machine_status() -> None:
    unmet = [{"name": "services", "reason": "etcd not healthy"}]
    spec = {"stage": "running", "status": {"ready": False, "unmetConditions": unmet}}
    assert of((types.MACHINE_STATUS, "machine", spec)) == {"stage": "running", "ready": False, "unmet": unmet}
    spec = {"stage": "shutting down", "status": {"ready": True, "unmetConditions": None}}
    assert of((types.MACHINE_STATUS, "machine", spec)) == {"stage": "shutting down", "ready": True, "unmet": []}


def test_version_platform_hostname_and_nodename() -> None:
    assert of((types.VERSION, "version", {"version": "v1.13.8"})) == {"talos_version": "v1.13.8"}
    assert of((types.VERSION, "version", {})) == {}  # what Version told stays
    assert of((types.PLATFORM_METADATA, "p", {"platform": "metal"})) == {"platform": "metal"}
    assert of((types.HOSTNAME_STATUS, "h", {"hostname": "w1"})) == {"hostname": "w1"}
    assert of((types.NODENAME, "n", {"nodename": "w1"})) == {"node_name": "w1"}
    assert of((types.ETCD_MEMBER, "m", {"memberID": "00ab"})) == {"etcd_member_id": "00ab"}


def test_secrets_stay_out() -> None:
    cmdline = "console=ttyS0 siderolink.api=grpc://h:1?grpc_tunnel=true&jointoken=s3cret talos.platform=metal"
    shown = of((types.KERNEL_CMDLINE, "cmdline", {"cmdline": cmdline}))["kernel_cmdline"]
    assert "s3cret" not in shown
    assert "console=ttyS0" in shown
    assert "talos.platform=metal" in shown
    meta = of((types.META_KEY, "0x10", {"value": "s3cret"}), (types.META_KEY, "0x0f", {"value": "uuid"}))["meta"]
    assert "s3cret" not in str(meta)
    assert meta["0x0f"] == "uuid"
    assert "0x10" in meta


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("machineLabels:\n  zone: a\n  rack: 3\n", {"zone": "a", "rack": "3"}),
        ("machineLabels: {}", {}),
        ("machineLabels: 3", {}),
        ("machineLabels: {a: [b], c: {d: e}, f: null, g: 1}", {"g": "1"}),
        ("machineLabels: " + "[" * 2_000, {}),
        ("machineLabels: {a: " + "b" * 20_000 + "}", {}),
        ("machineLabels: [a]", {}),
        ("other: {a: b}", {}),
        ("[", {}),
        ("3", {}),
        ("", {}),
    ],
)
def test_labels_of_the_image(text: str, labels: dict[str, str]) -> None:
    assert of((types.META_KEY, "0x0c", {"value": text}))["image_labels"] == labels


def test_a_few_lines_of_aliases_do_not_become_gigabytes() -> None:
    lines = ["x0: &x0 [a, b]"] + [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]" for n in range(1, 12)]
    text = "\n".join([*lines, "machineLabels: {bomb: *x11, *x0 : y, zone: a}"])
    assert of((types.META_KEY, "0x0c", {"value": text}))["image_labels"] in ({}, {"zone": "a"})


def test_extensions_and_schematic() -> None:
    def extension(name: str, version: str = "v1") -> tuple[ResourceType, str, Any]:
        return types.EXTENSION_STATUS, name, {"metadata": {"name": name, "version": version, "author": "me"}}

    told = of(extension("zfs"), extension("schematic", "abc"), extension("iscsi"), extension("modules.dep"))
    assert [item["name"] for item in told["extensions"]] == ["iscsi", "zfs"]
    assert told["schematic"] == "abc"


def test_network_leaves_out_what_is_not_hardware_and_the_overlay() -> None:
    told = of(
        (types.LINK_STATUS, "eth0", {"type": "ether", "kind": "", "hardwareAddr": "aa", "permanentAddr": "bb",
                                     "operationalState": "up", "speedMbit": 1000, "mtu": 1500, "driver": "e1000"}),
        (types.LINK_STATUS, "siderolink", {"type": "nohdr", "kind": "wireguard"}),
        (types.LINK_STATUS, "bond0", {"type": "ether", "kind": "bond"}),
        (types.ROUTE_STATUS, "default", {"gateway": "10.0.0.1", "outLinkName": "eth0", "dst": ""}),
        (types.ROUTE_STATUS, "local", {"gateway": "", "outLinkName": "eth0", "dst": "10.0.0.0/24"}),
        (types.NODE_ADDRESS, "current", {"addresses": ["10.0.0.5/24", "fdae:41e4:649b:9303::5/64", "10.244.0.1/24"]}),
        (types.NODE_ADDRESS, "current-no-k8s", {"addresses": ["10.0.0.5/24", "fdae:41e4:649b:9303::5/64"]}),
    )  # fmt: skip
    assert told["addresses"] == ["10.0.0.5/24"]
    assert told["network"]["links"] == [
        {"name": "eth0", "mac": "bb", "state": "up", "speed_mbit": 1000, "mtu": 1500, "driver": "e1000"}
    ]
    assert told["network"]["routes"] == [{"gateway": "10.0.0.1", "link": "eth0", "destination": ""}]


def test_hardware_sums_up() -> None:
    cpu = {"manufacturer": "Intel", "productName": "X", "coreCount": 8, "threadCount": 16, "maxSpeedMhz": 3000}
    told = of(
        (types.PROCESSOR, "CPU-0", cpu),
        (types.PROCESSOR, "CPU-1", cpu),
        (types.MEMORY_MODULE, "DIMM-0", {"sizeMiB": 16384}),
        (types.MEMORY_MODULE, "DIMM-1", {"sizeMiB": 0}),
        (types.SYSTEM_INFORMATION, "s", {"manufacturer": "Dell", "productName": "R1", "serialnumber": "S"}),
    )
    assert (told["cores"], told["memory_mib"]) == (16, 16384)
    assert len(told["hardware"]["memory"]) == 1
    assert told["hardware"]["system"] == {"manufacturer": "Dell", "product": "R1", "serial": "S"}


def test_disks_and_where_talos_is_installed() -> None:
    disks = [
        (types.DISK, "sda", {"dev_path": "/dev/sda", "size": 100}),
        (types.DISK, "sr0", {"dev_path": "/dev/sr0", "size": 7, "cdrom": True}),
        (types.DISK, "loop0", {"dev_path": "/dev/loop0", "size": 7}),
    ]
    told = of(*disks)
    assert [disk["name"] for disk in told["disks"]] == ["sda", "sr0"]
    assert (told["disk_bytes"], told["installed"], told["system_disk"]) == (100, False, "")
    assert not any(disk["system"] for disk in told["disks"])
    told = of(*disks, (types.SYSTEM_DISK, "system-disk", {"devPath": "/dev/sda"}))
    assert (told["installed"], told["system_disk"]) == (True, "/dev/sda")
    assert [disk["system"] for disk in told["disks"]] == [True, False]
    assert of((types.DISK, "vda", {"size": 100}))["disks"][0]["path"] == "/dev/vda"


def test_only_groups_that_changed_are_computed() -> None:
    assert set(fields({}, {types.DISK.name})) == {"disks", "disk_bytes", "system_disk", "installed"}
    assert {"stage", "disks", "hardware"} <= set(fields({}))


def test_a_destroyed_resource_takes_its_value_along() -> None:
    assert fields({types.HOSTNAME_STATUS.name: {}}, {types.HOSTNAME_STATUS.name}) == {"hostname": ""}


def test_node_addresses() -> None:
    given_addresses = ["fe80::1/64", "2001:db8::1/64", "10.0.0.5/24", "127.0.0.1/8"]
    assert inventory.node_addresses(given_addresses) == ["10.0.0.5", "2001:db8::1"]


words = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats()
names = st.sampled_from(
    ["stage", "status", "unmetConditions", "name", "metadata", "addresses", "coreCount", "sizeMiB", "size", "value",
     "version", "type", "kind", "gateway", "dst", "cmdline", "symlinks", "devPath"]
)  # fmt: skip
values = st.recursive(words, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4))


@given(st.dictionaries(st.sampled_from([kind.name for kind in inventory.WATCHED]),
                       st.dictionaries(st.sampled_from(["a", "0x0c", "current"]), values, max_size=2)))  # fmt: skip
def test_whatever_a_machine_shows_is_read_without_an_error(specs: dict[str, dict[str, Any]]) -> None:
    json.dumps(fields(specs))
