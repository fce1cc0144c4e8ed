"""Cluster templates: what is refused, what files may be read, and what a template stands for."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos import template, yaml12
from talos.template import resources as kinds
from talos.template.files import no_files

MACHINE = "430d882a-51a8-48b3-ae00-90c5b0b5b100"
OTHER = "430d882a-51a8-48b3-ae00-90c5b0b5b101"

BASE = f"""\
kind: Cluster
name: lab
kubernetes: {{version: v1.37.0}}
talos: {{version: v1.14.1}}
---
kind: ControlPlane
machines: [{MACHINE}]
"""


def files(**content: bytes):
    by_path = {path.replace("__", "/").replace("_yaml", ".yaml"): data for path, data in content.items()}

    def read(path: str) -> bytes:
        if path not in by_path:
            raise FileNotFoundError(path)
        return by_path[path]

    return read


def refused(text: str, read_file=no_files) -> template.TemplateError:
    with pytest.raises(template.TemplateError) as caught:
        translated(text, read_file)
    return caught.value


def translated(text: str, read_file=no_files) -> dict[kinds.Key, template.Resource]:
    loaded = template.load(text)
    template.validate(loaded, read_file)
    return {resource.key: resource for resource in template.translate(loaded, read_file)}


@pytest.mark.parametrize(
    ("text", "stage", "reason"),
    [
        ("kind: [", "load", "error decoding template: "),
        ("[]", "load", 'error in document at line 1:1: unexpected node kind "sequence", expecting mapping'),
        ("# note\nname: x\n", "load", "error in document at line 2:1: kind field not found"),
        (BASE + "---\n# note\nkind: cluster\n", "load", 'document at line 8:1: unknown model kind "cluster"'),
        (BASE + "---\nkind: {a: b}\n", "load", "unexpected value type for kind field"),
        (BASE + "---\nkind: Workers\nmachine: []\n", "load", "line 10: field machine not found in Workers"),
        (BASE + "---\nkind: Workers\nname: a\nname: b\n", "load", 'mapping key "name" already defined'),
        (BASE + "---\nkind: Workers\nmachineClass: {name: m, size: many}\n", "load", "invalid machine count many"),
        (BASE + "---\nkind: Workers\nmachineClass: {name: m, size: 4294967296}\n", "load", "invalid machine count"),
        (BASE + "---\nkind: Workers\nupdateStrategy: {type: Fast}\n", "load", "invalid update strategy type Fast"),
        (BASE + "---\nkind: Workers\ndeleteStrategy: {rolling: {maxParallelism: -1}}\n", "load", "`-1` is not within"),
        (BASE + "---\nkind: Workers\npatches: [{name: a, inline: 1}]\n", "load", "expected string, but got !!int"),
        (BASE + "---\nkind: Workers\npatches: [{name: a, inline: [1]}]\n", "load", "a list of maps"),
        (BASE.replace("name: lab", "name: lab\nfeatures: {backupConfiguration: {interval: 5}}"), "load", "1h30m"),
        (BASE.replace("name: lab", "name: a b"), "validate", "name should only contain letters, digits"),
        (BASE.replace("v1.37.0", '""'), "validate", "version is required"),
        (BASE + "---\nkind: Workers\nannotations: {omni.sidero.dev/a: b}\n", "validate", "annotation"),
        (BASE + f"---\nkind: Machine\nname: {MACHINE}\ninstall: {{disk: a, diskSelector: b}}\n", "validate", "excl"),
        (BASE + "---\nkind: Machine\nname: ''\n", "validate", "name is required for machine"),
        (BASE + "---\nkind: Workers\npatches: [{name: a}]\n", "validate", "path or inline is required"),
        (BASE + "---\nkind: Workers\npatches: [{name: a, inline: {}}]\n", "validate", "failed to validate inline"),
        (BASE.replace(MACHINE, f"{MACHINE}, {MACHINE}"), "translate", "resource ID duplicate MachineSetNodes"),
        (
            BASE.replace("name: lab", "name: lab\nkernelArgs: []") + "---\nkind: Workers\nmachineClass: {name: m}\n",
            "translate",
            "kernelArgs cannot be defined at cluster level",
        ),
    ],
)  # fmt: skip
def test_a_wrong_template_is_refused_where_it_is_wrong(text, stage, reason):
    error = refused(text)
    assert reason in str(error)
    assert error.stage == stage


@pytest.mark.parametrize(
    ("version", "reason"),
    [("1.4.8", "disk encryption is supported only for Talos version >= 1.5.0"), ("latest", "Invalid character(s)")],
)
def test_disk_encryption_needs_a_talos_that_has_it(version, reason):
    text = BASE.replace("v1.14.1", f"v{version}").replace("name: lab", "name: lab\nfeatures: {diskEncryption: true}")
    assert reason in str(refused(text))


def test_all_errors_are_reported_together():
    error = refused(BASE.replace("name: lab", "name: ''").replace(MACHINE, "x") + "---\nkind: Machine\nname: y\n")
    for reason in ("name is required", 'invalid machine ID "x": invalid UUID length: 1', 'machine "y" is not used in'):
        assert reason in str(error)
    assert str(error).startswith("4 errors occurred:\n\t* error validating cluster")


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        ("430d882a-51a8-48b3-ae00-90c5b0b5b1zz", "invalid UUID format"),
        ("430d882a051a8048b30ae00090c5b0b5b100", "invalid UUID format"),
        ("uri:uuid:430d882a-51a8-48b3-ae00-90c5b0b5b100", "invalid urn prefix"),
        ("é", "invalid UUID length: 2"),
    ],
)
def test_machines_are_named_by_uuid(machine, reason):
    assert reason in str(refused(BASE.replace(MACHINE, f"'{machine}'")))


def test_an_alias_bomb_is_refused():
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for name, previous in zip("bcdefghij", "abcdefghi", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{previous}'] * 10)}]\n"
    assert refused("kind: Cluster\n" + bomb).stage == "load"


PATCH = "machine:\n  sysctls:\n    a: b\n"


def with_file(path: str) -> str:
    return BASE + f"patches:\n  - file: {path}\n"


def test_a_file_patch_keeps_its_bytes_and_is_named_by_its_path():
    text = "# why\n" + PATCH
    found = translated(with_file("./patches/a.yaml"), files(patches__a_yaml=text.encode()))
    patch = found[kinds.CONFIG_PATCH, "400-lab-control-planes-./patches/a.yaml"]
    assert patch.spec["data"] == text
    assert patch.annotations == {"name": "./patches/a.yaml"}


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../secret", "..", "'a\\..\\b'", '"a\\0b"'])
def test_a_path_out_of_the_folder_is_refused_unread(path):
    def read(path: str) -> bytes:
        raise AssertionError(f"{path} was read")

    assert "the path leaves the template's folder" in str(refused(with_file(path), read))


def test_a_missing_file_is_named():
    error = refused(with_file("patches/none.yaml"), files())
    assert 'failed to access "patches/none.yaml": open patches/none.yaml: no such file or directory' in str(error)


def test_a_file_that_cannot_be_read_is_named():
    def read(path: str) -> bytes:
        raise PermissionError(13, "Permission denied", path)

    assert "open a.yaml: Permission denied" in str(refused(with_file("a.yaml"), read))


def test_a_file_that_vanishes_after_validation_is_named():
    loaded = template.load(with_file("a.yaml"))
    template.validate(loaded, files(a_yaml=PATCH.encode()))
    with pytest.raises(
        template.TemplateError, match=r'failed to read patch "a\.yaml": open a\.yaml: no such file'
    ) as caught:
        template.translate(loaded, files())
    assert caught.value.stage == "translate"


@pytest.mark.parametrize("content", [b"cluster: {id: x}\n", b"machine: {nope: 1}\n", b"- op: add\n", b""])
def test_a_file_that_is_no_allowed_patch_is_refused(content):
    assert 'failed to validate patch "a.yaml"' in str(refused(with_file("a.yaml"), files(a_yaml=content)))


def test_a_file_that_is_no_text_is_refused():
    assert 'failed to access "a.yaml": a.yaml is not UTF-8 text' in str(
        refused(with_file("a.yaml"), files(a_yaml=b"\xff"))
    )


MANIFESTS = BASE.replace(
    "kubernetes: {version: v1.37.0}",
    """\
kubernetes:
  version: 1.37.0
  manifests:
    - {name: ns, mode: full, labels: {team: a}, inline: [{kind: Namespace}, {kind: Secret}]}
    - {name: once, mode: one-time, file: once.yaml}
  healthchecks:
    - {name: storage, interval: 1m30s, job: {kind: Job}}
    - {idOverride: mine, file: job.yaml}""",
)


def test_manifests_and_health_checks_become_resources():
    found = translated(MANIFESTS, files(once_yaml=b"kind: A\n", job_yaml=b"kind: Job\n"))
    namespace = found[kinds.MANIFEST_GROUP, "200-cluster-lab-ns"]
    assert namespace.spec == {"data": "kind: Namespace\n---\nkind: Secret\n", "mode": 1}
    assert namespace.labels == {kinds.LABEL_CLUSTER: "lab", "team": "a"}
    assert found[kinds.MANIFEST_GROUP, "201-cluster-lab-once"].spec == {"data": "kind: A\n", "mode": 2}
    check = found[kinds.HEALTHCHECK, "cluster-lab-storage"]
    assert check.spec == {"job": "kind: Job\n", "interval": {"seconds": 90, "nanos": 0}}
    assert found[kinds.HEALTHCHECK, "mine"].spec == {"job": "kind: Job\n", "interval": None}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("name: ns, mode: full", "mode: full", "kubernetes manifest name is empty"),
        ("mode: full, ", "", 'kubernetes manifest "ns" mode is not set'),
        ("mode: full", "mode: some", 'unknown mode name "some"'),
        ("mode: one-time, file: once.yaml", "mode: one-time", "path or inline is required"),
        ("file: once.yaml", "file: ../once.yaml", "the path leaves the template's folder"),
        ("labels: {team: a}", "labels: {omni.sidero.dev/a: b}", 'manifest "ns" descriptors validation failed'),
        ("name: once", "name: ns", 'duplicate manifest name "ns"'),
        ("name: storage, ", "", "either name or idOverride is required for a healthcheck"),
        ("job: {kind: Job}", "job: {kind: Job}, file: job.yaml", 'healthcheck "storage": job and file are mutually'),
        (", job: {kind: Job}", "", 'healthcheck "storage": job or file is required'),
        ("file: job.yaml", "file: none.yaml", 'healthcheck "mine": failed to access "none.yaml"'),
        ("idOverride: mine", "idOverride: storage", 'duplicate healthcheck "storage"'),
    ],
)
def test_wrong_manifests_and_health_checks_are_refused(old, new, reason):
    read = files(once_yaml=b"kind: A\n", job_yaml=b"kind: Job\n")
    assert reason in str(refused(MANIFESTS.replace(old, new, 1), read))


def test_kernel_arguments_of_the_most_specific_level_win():
    text = BASE.replace("name: lab", "name: lab\nkernelArgs: [cluster]")
    text += f"---\nkind: Workers\nmachines: [{OTHER}]\nkernelArgs: [set]\n"
    found = translated(text)
    assert found[kinds.KERNEL_ARGS, MACHINE].spec == {"args": ["cluster"]}
    assert found[kinds.KERNEL_ARGS, OTHER].spec == {"args": ["set"]}
    found = translated(text + f"---\nkind: Machine\nname: {OTHER}\nkernelArgs: []\n")
    assert found[kinds.KERNEL_ARGS, OTHER].spec == {"args": []}
    found = translated(text + f"---\nkind: Machine\nname: {OTHER}\n")
    assert found[kinds.KERNEL_ARGS, OTHER].spec == {"args": ["set"]}


def test_a_disk_selector_belongs_to_the_machine():
    found = translated(BASE + f"---\nkind: Machine\nname: {MACHINE}\ninstall: {{diskSelector: disk.size > 1u}}\n")
    resource = found[kinds.INSTALL_DISK, MACHINE]
    assert resource.spec["disk_selector"] == "disk.size > 1u"
    assert resource.cluster is None


def test_the_written_form_is_read_as_what_it_was_written_from():
    found = list(translated(MANIFESTS, files(once_yaml=b"kind: A\n", job_yaml=b"kind: Job\n")).values())
    documents = list(yaml12.load_all(template.render(found)))
    assert [document["metadata"]["id"] for document in documents] == [resource.id for resource in found]


@given(st.text(alphabet="-- \n#:[]{}*&!|>'\"abkind?,%\t\ufeff", max_size=60))
def test_any_text_is_read_or_refused(text):
    with suppress(template.TemplateError):
        template.load(text)


@pytest.mark.parametrize(
    ("text", "position"), [("---\n", "1:1"), ("# a\n\n---\n# b\n\n  []\n", "3:1"), ("\n  a: b\n", "2:3")]
)
def test_a_document_is_placed_where_it_starts(text, position):
    assert f"error in document at line {position}: " in str(refused(text))


@pytest.mark.parametrize(
    ("talos", "kubernetes", "reason"),
    [
        ("v1.14.1", "v1.31.0", "version of Kubernetes 1.31.0 is too old to be used with Talos 1.14.1"),
        ("v1.13.0", "v1.37.0", "version of Kubernetes 1.37.0 is too new to be used with Talos 1.13.0"),
        ("v1.15.0", "v1.37.0", "compatibility with version 1.15.0 is not supported"),
        ("v1.7.0", "v1.30.0", "Talos 1.7.0 is too old: 1.8 and newer are supported"),
    ],
)
def test_versions_that_do_not_go_together_are_named(talos, kubernetes, reason):
    loaded = template.load(BASE.replace("v1.14.1", talos).replace("v1.37.0", kubernetes))
    template.validate(loaded)
    assert template.problems(loaded) == [reason]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ("kernelArgs: [siderolink.api=x]", 'kernel argument "siderolink.api" is set by the control plane itself'),
        (f"kernelArgs: [{'x' * 257}]", "is longer than 256 bytes"),
        ('kernelArgs: ["a\\nb"]', 'kernel argument "a\\nb" holds characters that do not print'),
        (f"kernelArgs: [{', '.join(['a'] * 65)}]", "65 kernel arguments are more than 64"),
        ("systemExtensions: [a, b, a]", 'system extension "a" is listed 2 times'),
        (f"systemExtensions: [{', '.join(map(str, range(257)))}]", "257 system extensions are more than 256"),
    ],
)
def test_settings_that_no_machine_should_get_are_named(settings, reason):
    loaded = template.load(BASE.replace("name: lab", f"name: lab\n{settings}"))
    template.validate(loaded)
    [problem] = template.problems(loaded)
    assert problem.startswith('Cluster "lab": ')
    assert reason in problem


def test_two_documents_for_one_machine_are_a_problem():
    loaded = template.load(BASE + f"---\nkind: Machine\nname: {MACHINE}\n" * 2)
    template.validate(loaded)
    assert template.problems(loaded) == [f'machine "{MACHINE}" has 2 documents: join them']


def test_a_cluster_has_an_ascii_name():
    loaded = template.load(BASE.replace("name: lab", "name: läb"))
    template.validate(loaded)
    assert "ASCII" in template.problems(loaded)[0]


def test_nothing_speaks_against_a_good_template():
    assert template.problems(template.load(BASE)) == []


def test_an_even_number_of_control_planes_is_a_warning():
    assert template.warnings(template.load(BASE)) == []
    assert "odd number" in template.warnings(template.load(BASE.replace(MACHINE, f"{MACHINE}, {OTHER}")))[0]
