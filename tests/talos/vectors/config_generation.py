"""Generated configurations, byte for byte."""

import json
from dataclasses import replace

from talos import yaml12
from talos.config import document, patch
from talos.config.generate import GenerateError, GenerateInput, generate
from talos.config.validate import Mode, validate
from talos.contract import VersionContract
from talos.machinetype import MachineType
from talos.secrets import Bundle
from talos.yaml12.texts import load_texts
from tests.talos.vectors import config_errors, unequal

OPTIONS = {
    "additionalSANs": "additional_sans",
    "allowSchedulingOnControlPlanes": "allow_scheduling_on_control_planes",
    "customCNIURL": "custom_cni_url",
    "debug": "debug",
    "discovery": "discovery",
    "dnsDomain": "dns_domain",
    "installDisk": "install_disk",
    "installExtraKernelArgs": "install_extra_kernel_args",
    "installImage": "install_image",
    "kubePrismPort": "kube_prism_port",
    "kubespan": "kubespan",
    "localAPIServerPort": "local_api_server_port",
    "networkNameservers": "nameservers",
    "registryInsecure": "insecure_registries",
    "registryMirrors": "registry_mirrors",
    "skipUnattendedInstallConfig": "skip_unattended_install",
    "sysctls": "sysctls",
}
#: Means nothing from contract 1.8 on.
IGNORED = {"hostDNSForwardKubeDNSToHost"}


def cases(data, folder):
    bundles = {bundle["name"]: bundle["yaml"] for bundle in json.loads((folder / "secrets.json").read_text())}
    for case in data:
        yield case["id"], {"yaml": bundles[case["bundle"]], **case}


def check(case):
    options = {OPTIONS[name]: value for name, value in case["options"].items() if name not in IGNORED}
    stage = "input"
    try:
        given = GenerateInput(
            cluster_name=case["cluster"],
            endpoint=case["endpoint"],
            kubernetes_version=case["kubernetes"],
            bundle=bundle(case["yaml"]),
            contract=VersionContract.parse(case["contract"]),
            **options,
        )
        stage = "config"
        config = generate(given, MachineType.parse(case["type"]))
    except GenerateError as error:
        return unequal("stage", stage, case.get("stage")) or (None if case.get("error") else f"error: {error}")
    if "error" in case:
        return f"no error, want {case['error']}"
    config = patch.apply(config, [patch.load_patch(text) for text in case.get("patches") or []])
    output = document.encode(config)
    return unequal("output", output, case["output"]) or check_validation(output, case)


def check_validation(output, case):
    """What is generated loads and is as valid as it is for Talos."""
    try:
        config = document.load(output)
    except document.ConfigError as error:
        return None if case.get("loads") is False else f"does not load: {error}"
    if "validateMetal" not in case:
        return unequal("loads", True, case.get("loads", True))
    report = validate(config, Mode.METAL)
    want = case["validateMetal"]
    return unequal("warnings", list(report.warnings), want["warnings"] or []) or config_errors.difference(
        want["error"], report.error
    )


def bundle(text):
    """A bundle that may have both encryption secrets, which no file may."""
    tree = load_texts(text)
    both = {"secretboxencryptionsecret", "aescbcencryptionsecret"} <= set(tree["secrets"])
    if not both:
        return Bundle.from_yaml(text)
    secret = tree["secrets"].pop("aescbcencryptionsecret")
    return replace(Bundle.from_yaml(yaml12.dump(tree)), aescbc_encryption_secret=secret)
