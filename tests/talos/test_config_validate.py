"""Validation: which rules apply when, and what their findings say."""

import re

import pytest

from talos.config import cel
from talos.config.document import from_documents
from talos.config.rules.addresses import decode_base64, parse_address, split_host_port
from talos.config.validate import Mode, validate

WORKER = {
    "version": "v1alpha1",
    "machine": {"type": "worker", "ca": {"crt": "YQ=="}, "certSANs": []},
    "cluster": {"controlPlane": {"endpoint": "https://10.0.0.1:6443"}},
}


def document(kind: str, **values: object) -> dict:
    return {"apiVersion": "v1alpha1", "kind": kind, **values}


def errors(*documents: dict, **options: object) -> list[str]:
    return list(validate(from_documents(documents), options.pop("mode", Mode.METAL), **options).errors)


def test_a_worker_is_valid():
    report = validate(from_documents([WORKER]), Mode.METAL)
    assert report.error is None
    assert report.warnings == ()


def test_errors_of_the_v1alpha1_document_are_one_error():
    broken = {**WORKER, "persist": False, "machine": {**WORKER["machine"], "type": "boss"}}
    assert validate(from_documents([broken]), Mode.METAL).error == (
        '1 error occurred:\n\t* v1alpha1.Config: 2 errors occurred:\n\t* unknown machine type "boss"\n'
        "\t* .persist should be enabled\n\n\n\n"
    )


def test_warnings_are_errors_in_a_strict_check_of_v1alpha1_only():
    aliased = {**WORKER, "machine": {**WORKER["machine"], "type": "join"}}
    proxy = document("ContainerConfig", name="a", image="nginx")
    report = validate(from_documents([aliased, proxy]), Mode.METAL)
    assert report.warnings == (
        'use "worker" instead of "join" for machine type',
        'container "a": image "nginx" is not digest-pinned, the running image may change on restart',
    )
    strict = validate(from_documents([aliased, proxy]), Mode.METAL, strict=True)
    assert 'warning: use "worker" instead of "join"' in strict.error
    assert len(strict.warnings) == 1


def test_only_metal_needs_an_install_disk():
    installed = {**WORKER, "machine": {**WORKER["machine"], "install": {"wipe": False}}}
    assert errors(installed) != []
    assert errors(installed, mode=Mode.CLOUD) == []


def test_kubernetes_versions_are_checked_against_the_talos_version():
    kubelet = document("KubeletConfig", image="ghcr.io/siderolabs/kubelet:v1.31.0")
    assert errors(kubelet) == []
    assert errors(kubelet, local=False) == [
        "KubeletConfig: kubelet image is not valid: "
        "version of Kubernetes 1.31.0 is too old to be used with Talos 1.14.1"
    ]
    assert errors(kubelet, local=False, talos="1.10.0") == []


def test_settings_that_stand_twice():
    twice = {**WORKER, "machine": {**WORKER["machine"], "nodeLabels": {"a": "b"}, "time": {"disabled": True}}}
    assert errors(twice, document("KubeNodeConfig"), document("TimeSyncConfig", enabled=True)) == [
        ".machine.nodeLabels is already set in v1alpha1 config",
        "time sync cannot be disabled in both v1alpha1 and new-style configuration",
    ]


def test_control_plane_documents_need_a_control_plane():
    policy = document("KubeAuditPolicyConfig", configuration={"kind": "Policy"})
    refusal = "the following document kinds are only allowed on control plane machines: [KubeAuditPolicyConfig]"
    assert errors(WORKER, policy) == [refusal]
    assert errors(policy) == [refusal]


def test_container_dependencies():
    def depending(name: str, *others: str) -> dict:
        return document("ContainerConfig", name=name, image="nginx", dependsOn={"containers": list(others)})

    assert errors(depending("a", "b"), depending("b")) == []
    assert errors(depending("a", "b"), depending("b", "c"), depending("c", "b", "x")) == [
        'container "c" depends on container "x", which is not configured',
        "container dependsOn cycle detected: b -> c -> b",
    ]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (
            document("VLANConfig", name="v", vlanID=5000, parent="eth0"),
            "vlanID must be specified and between 1 and 4094",
        ),
        (
            document("UserVolumeConfig", name="x" * 35, volumeType="directory"),
            "name must be between 1 and 34 characters",
        ),
        (document("EtcFileConfig", name="a/../../b", mode=420), 'user etc file "a/../../b" must be a local path'),
        (document("EtcFileConfig", name="cni/x", mode=420), 'user etc file "cni/x" is managed by Talos'),
        (document("KubeNetworkConfig", podSubnets=["10.0.0.0/30"]), "/30 is too small, it must be larger than /26"),
        (
            document("NetworkRuleConfig", name="r", portSelector={"ports": ["5-10", 7]}),
            "invalid port range: 7-7, overlaps with 5-10",
        ),
        (document("RoutingRuleConfig", name="x", table="main"), "must be priority parsable unsigned integer"),
        (
            document("BGPInstanceConfig", name="b", localASN=1, importRoutes=[{"bgpInstance": "b", "prefixes": []}]),
            'importRoutes[0]: cannot import from the same BGP instance "b"',
        ),
        (document("CRIBaseRuntimeSpecConfig", overrides={"process": {"rlimits": "x"}}), "failed to unmarshal"),
        (document("ZswapConfig", maxPoolPercent=101), "maxPoolPercent must be between 0 and 100"),
        (
            document(
                "LVMLogicalVolumeConfig", name="v", mirrors=1, provisioning={"volumeGroup": "g", "maxSize": "1GB"}
            ),
            "mirrors is only valid for raid1/raid10, not linear",
        ),
        (document("HTTPProbeConfig", name="p", url="http:x"), "must be an absolute http or https URL"),
    ],
)
def test_rules_of_documents(content, error):
    found = errors(content)
    assert any(error in text for text in found), found


@pytest.mark.parametrize(
    ("expression", "environment", "problem"),
    [
        ('disk.size > 10u * GB && !system_disk && glob("nvme*", disk.dev_path)', cel.DISK, None),
        ("disk.symlinks.exists(s, s.startsWith('/dev'))", cel.DISK, None),
        ("volume.partition_label in ['a', 'b'] ? disk.rotational : false", cel.VOLUME, None),
        ("mac(link.permanent_addr) == 'a' || has(link.alias)", cel.LINK, None),
        ("memory_full_avg10 > 12.0 && time_since_trigger > duration('500ms')", cel.OOM_TRIGGER, None),
        ("memory_max.hasValue() ? 0.0 : double(memory_current.orValue(0u))", cel.OOM_SCORE, None),
        ("disk.model", cel.DISK, "expression output type is string, expected bool"),
        (
            "disk.size > 10",
            cel.DISK,
            "ERROR: <input>:1:11: found no matching overload for '_>_' applied to '(uint, int)'\n"
            " | disk.size > 10\n | ..........^",
        ),
        (
            "true &&\ndisk.x == volume.y",
            cel.DISK,
            "ERROR: <input>:2:5: undefined field 'x'\n | disk.x == volume.y\n | ....^\n"
            "ERROR: <input>:2:11: undeclared reference to 'volume' (in container '')\n"
            " | disk.x == volume.y\n | ..........^",
        ),
        (
            "(disk.readonly",
            cel.DISK,
            "ERROR: <input>:1:15: Syntax error: missing ')' at '<EOF>'\n | (disk.readonly\n | ..............^",
        ),
        (
            "disk.size > 100 GB",
            cel.DISK,
            "ERROR: <input>:1:17: Syntax error: extraneous input 'GB' expecting <EOF>\n"
            " | disk.size > 100 GB\n | ................^",
        ),
        (
            "'é' == disk.x",
            cel.DISK,
            "ERROR: <input>:1:12: undefined field 'x'\n | 'é' == disk.x\n | .．.........^",
        ),
    ],
)
def test_expressions(expression, environment, problem):
    assert cel.problem(expression, environment) == problem


@pytest.mark.parametrize(
    ("function", "text", "error"),
    [
        (parse_address, "zz", 'ParseAddr("zz"): unable to parse IP'),
        (parse_address, "1.2.3", 'ParseAddr("1.2.3"): IPv4 address too short'),
        (parse_address, "1.2.3.400", 'ParseAddr("1.2.3.400"): IPv4 field has value >255'),
        (split_host_port, "noport", "address noport: missing port in address"),
        (split_host_port, "a:b:c", "address a:b:c: too many colons in address"),
        (split_host_port, "", "missing port in address"),
        (decode_base64, "zz", "illegal base64 data at input byte 0"),
        (decode_base64, "YWJ!", "illegal base64 data at input byte 3"),
    ],
)
def test_words_of_the_go_library(function, text, error):
    with pytest.raises(ValueError, match=f"^{re.escape(error)}$"):
        function(text)
