"""Pure choices: disks, schematics, which machine can be taken, what a config depends on."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from apps.clusters import images, picking, render
from talos.config.document import load
from talos.contract import VersionContract
from talos.secrets import new_bundle

GB = 10**9
DISKS = [
    {"path": "/dev/sda", "size": 500 * GB, "transport": "sata", "symlinks": ["/dev/disk/by-id/a"]},
    {"path": "/dev/sdb", "size": 40 * GB, "transport": "sata"},
    {"path": "/dev/sdc", "size": 16 * GB, "transport": "usb"},
    {"path": "/dev/sdd", "size": 4 * GB, "transport": "sata"},
    {"path": "/dev/sr0", "size": 20 * GB, "cdrom": True},
    {"path": "/dev/sde", "size": 20 * GB, "readonly": True},
]


@pytest.mark.parametrize(
    ("disks", "system", "named", "selector", "expected"),
    [
        (DISKS, "/dev/sda", "/dev/sdb", "", ("/dev/sda", "")),
        (DISKS, "", "", "", ("/dev/sdb", "")),
        (DISKS, "", "/dev/disk/by-id/a", "", ("/dev/disk/by-id/a", "")),
        (DISKS[2:], "", "", "", ("/dev/sdc", "")),
        (DISKS, "", "", "disk.size > 100u * GB", ("/dev/sda", "")),
        (DISKS, "", "", "disk.size < 5u * GB", ("/dev/sdd", "")),
        (DISKS, "", "", "disk.transport == 'usb' || disk.cdrom", ("/dev/sdc", "")),
        ([], "", "", "", ("", "")),
    ],
)
def test_the_disk(disks: list[images.Disk], system: str, named: str, selector: str, expected: tuple[str, str]) -> None:
    assert images.choose_disk("m-1", disks, system, named, selector) == expected


@pytest.mark.parametrize(
    ("disks", "named", "selector", "words"),
    [
        (DISKS, "/dev/nvme0n1", "", "has no disk /dev/nvme0n1"),
        (DISKS, "", "disk.size > 1u * TB", "no disk that fits “disk.size > 1u * TB”; it has /dev/sda"),
        (DISKS, "", "disk.size / 0u > 1u", "does not work on its disks"),
        (DISKS[3:], "", "", "no disk of more than 5 GB"),
    ],
)
def test_no_disk_is_guessed(disks: list[images.Disk], named: str, selector: str, words: str) -> None:
    path, problem = images.choose_disk("m-1", disks, "", named, selector)
    assert path == ""
    assert words in problem


def test_the_schematic() -> None:
    assert images.wanted_schematic("abc", ["x"], None, None) == ("abc", None)
    plain, content = images.wanted_schematic("", [], None, None)
    assert plain == "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"
    assert content is not None
    wanted, _ = images.wanted_schematic("abc", [], ["util-linux-tools", "siderolabs/iscsi-tools"], None)
    assert wanted == "613e1592b2da41ae5e265e8789429f22e121aab91cb4deb6bc3c0b6262961245"
    assert images.wanted_schematic("abc", ["x"], [], None)[0] == plain


FREE = picking.Seen("m-1", api_mode="maintenance", talos_version="v1.13.8")


@pytest.mark.parametrize(
    ("seen", "wanted", "state", "words"),
    [
        (None, "1.13.8", "wait", "to join"),
        (replace(FREE, cluster="other"), "1.13.8", "wait", "leave cluster other"),
        (replace(FREE, connected=False), "1.13.8", "off", "connect"),
        (replace(FREE, talos_version=""), "1.13.8", "wait", "report"),
        (replace(FREE, api_mode="secure"), "1.13.8", "bad", "not ours"),
        (replace(FREE, talos_version="v1.14.0"), "1.13.8", "bad", "newer"),
        (replace(FREE, talos_version="v1.11.0"), "1.13.8", "bad", "from memory"),
        (replace(FREE, talos_version="v1.10.0", installed=True), "1.13.8", "bad", "cannot go to"),
        (replace(FREE, talos_version="v1.12.0", installed=True), "1.13.8", "ok", ""),
        (replace(FREE, talos_version="v1.13.0"), "1.14.1", "ok", ""),
        (FREE, "1.13.8", "ok", ""),
    ],
)
def test_who_can_be_taken(seen: picking.Seen | None, wanted: str, state: str, words: str) -> None:
    sentence, got = picking.blocker("u1", seen, picking.Wanted(wanted))
    assert got == state
    assert words in sentence
    assert bool(sentence) == (state != "ok")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, 7),
        ({"update_strategy": 1}, 7),
        ({"update_strategy": 1, "update_strategy_config": {"rolling": {"max_parallelism": 3}}}, 3),
        ({"update_strategy": 1, "update_strategy_config": {"rolling": {"max_parallelism": 0}}}, 1),
        ({"update_strategy": 0, "update_strategy_config": {"rolling": {"max_parallelism": 3}}}, 7),
    ],
)
def test_parallelism(spec: dict[str, object], expected: int) -> None:
    assert picking.parallelism(spec, "update", 7) == expected


INPUTS = render.Inputs(
    cluster="lab",
    endpoint="https://[fdae:41e4:649b:9303::1]:10000",
    kubernetes_version="1.36.3",
    contract="1.13.8",
    role="controlplane",
    install_disk="/dev/vda",
    install_image="factory/metal-installer/s:v1.13.8",
    secrets_id="1",
    join_documents="apiVersion: v1alpha1\nkind: EventSinkConfig\nendpoint: '[fdae:41e4:649b:9303::1]:8090'\n",
    patches=(),
    bundle=new_bundle(datetime.now(UTC), VersionContract.parse("1.13.8")),
)


def test_patches_apply_in_order_and_join_documents_win() -> None:
    theirs = "apiVersion: v1alpha1\nkind: EventSinkConfig\nendpoint: 192.0.2.1:1\n"
    first, second = "machine: {sysctls: {a: '1', b: '1'}}", "machine: {sysctls: {b: '2'}}"
    rendered = render.render(replace(INPUTS, patches=(("a", first), ("b", second), ("c", theirs), ("d", " \n"))))
    config = load(rendered.config)
    assert config.v1alpha1 is not None
    assert config.v1alpha1["machine"]["sysctls"] == {"a": "1", "b": "2"}
    sink = config.find("EventSinkConfig")
    assert sink is not None
    assert sink["endpoint"] == "[fdae:41e4:649b:9303::1]:8090"
    assert INPUTS.bundle.trustd_token not in rendered.redacted


def test_a_patch_that_does_not_apply_is_named() -> None:
    with pytest.raises(render.RenderError, match="400-odd does not apply"):
        render.render(replace(INPUTS, patches=(("400-odd", "[{op: remove, path: /machine/nothing}]"),)))


def test_equal_inputs_give_equal_bytes_and_names() -> None:
    assert render.render(INPUTS).sha == render.render(replace(INPUTS)).sha
    assert INPUTS.fingerprint() == replace(INPUTS).fingerprint()
    changed = [
        replace(INPUTS, kubernetes_version="1.36.4"),
        replace(INPUTS, patches=(("a", "x"),)),
        replace(INPUTS, join_documents=""),
        replace(INPUTS, secrets_id="2"),
    ]
    assert INPUTS.fingerprint() not in {item.fingerprint() for item in changed}
    assert "Bundle" not in repr(INPUTS)
