"""What we generate, for the library to judge: all contracts, both kinds of machines, plain and with every option."""

import json
import tempfile
from dataclasses import fields
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from talos import kernelargs, pki, roles, secrets, talosconfig
from talos.config import document, patch, virtualip
from talos.config.generate import GenerateInput, generate
from talos.contract import VersionContract
from talos.machinetype import MachineType
from talos.pem import CertKey
from talos.secrets import Bundle
from tests.peers.report import Report

#: A Kubernetes version for each contract's minor version that the library's own Talos still takes.
KUBERNETES = {8: "1.32.0", 9: "1.32.0", 10: "1.33.0", 11: "1.34.1", 12: "1.35.0", 13: "1.36.0", 14: "1.37.0"}

PLAIN: dict[str, Any] = {"install_disk": "/dev/vda", "install_image": "factory.talos.dev/metal-installer/ab:v1.13.8"}
FULL: dict[str, Any] = PLAIN | {
    "additional_sans": ["203.0.113.10", "api.example.org", "2001:db8::10"],
    "dns_domain": "k8s.example.org",
    "custom_cni_url": "https://cni.example.org/plugin.yaml",
    "sysctls": {"vm.max_map_count": "262144", "net.core.somaxconn": "65535"},
    "registry_mirrors": {"docker.io": ["https://mirror.example.org", "http://192.0.2.9:5000"]},
    "insecure_registries": ["mirror.example.org"],
    "local_api_server_port": 7443,
    "kube_prism_port": 7446,
    "kubespan": True,
    "debug": True,
}
#: From contract 1.14 on the library refuses what it generates from these.
EARLIER: dict[str, Any] = {"nameservers": ["192.0.2.53", "2001:db8::53"]}
BARE: dict[str, Any] = PLAIN | {
    "kube_prism_port": 0,
    "discovery": False,
    "kubespan": False,
    "allow_scheduling_on_control_planes": True,
}
#: name -> (bundle, endpoint, options)
VARIANTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "plain": ("ours", "https://192.0.2.1:6443", PLAIN),
    "full": ("theirs", "https://api.example.org:6443", FULL),
    "bare": ("ours", "https://[fdae:41e4:649b:9303::1]:10000", BARE),
}

LABELS = "machine:\n  nodeLabels:\n    rack: r7\n  kubelet:\n    extraArgs:\n      v: '4'\n"
NTP = "apiVersion: v1alpha1\nkind: TimeSyncConfig\nntp:\n  servers:\n    - 192.0.2.123\n"


async def run(report: Report) -> None:
    """All checks of what is generated."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await report.program("configs", "prepare", folder)
        (folder / "made.json").write_text(json.dumps(_made(folder)))
        await report.program("configs", "check", folder)


def _made(folder: Path) -> dict[str, Any]:
    now = datetime.now(UTC)
    bundles = {
        "ours": secrets.new_bundle(now, VersionContract(1, 14)),
        "theirs": Bundle.from_yaml((folder / "bundle.yaml").read_text()),
    }
    os_ca = bundles["theirs"].os
    return {
        "bundles": {name: bundle.to_yaml() for name, bundle in bundles.items()},
        "configs": _configs(bundles),
        "partial": _partial(),
        "clients": _clients(os_ca, now),
        "server": _pair(os_ca, pki.apid_server(os_ca, "cp-1", now, [ip_address("127.0.0.1")], ["cp-1"])),
        "signed": pki.sign_csr(os_ca, (folder / "request.pem").read_bytes(), now).decode(),
        "talosConfigs": [_talosconfig(bundle, now) for bundle in bundles.values()],
    }


def _configs(bundles: dict[str, Bundle]) -> list[dict[str, Any]]:
    made = []
    for minor, kubernetes in KUBERNETES.items():
        contract = VersionContract(1, minor)
        for machine_type in (MachineType.CONTROLPLANE, MachineType.WORKER):
            for variant, (bundle, endpoint, options) in VARIANTS.items():
                if variant == "full" and minor < 14:
                    options = options | EARLIER
                given = GenerateInput(
                    cluster_name="prod-eu",
                    endpoint=endpoint,
                    kubernetes_version=kubernetes,
                    bundle=bundles[bundle],
                    contract=contract,
                    **options,
                )
                patches = [] if variant == "bare" else [NTP] if minor == 14 else [LABELS, NTP]
                if variant != "bare" and machine_type.is_control_plane:
                    patches.append(virtualip.patch(contract, "192.0.2.100", "eth0"))
                config = patch.apply(generate(given, machine_type), [patch.load_patch(text) for text in patches])
                made.append(
                    {
                        "name": f"{contract} {machine_type} {variant}",
                        "bundle": bundle,
                        "contract": str(contract),
                        "type": str(machine_type),
                        "cluster": given.cluster_name,
                        "endpoint": endpoint,
                        "kubernetes": kubernetes,
                        "options": _options(given),
                        "patches": patches,
                        "config": document.encode(config),
                    }
                )
    return made


def _options(given: GenerateInput) -> dict[str, Any]:
    others = {"cluster_name", "endpoint", "kubernetes_version", "bundle", "contract"}
    return {field.name: getattr(given, field.name) for field in fields(given) if field.name not in others}


def _partial() -> list[dict[str, Any]]:
    plain = kernelargs.join_options("grpc://192.0.2.7:8090", "w7uVuW3zbVKIYQuzEcyetAHeYMeo5q2L9RvkAVfCfSCD")
    tunnel = kernelargs.join_options(
        "https://omni.example.org", "w7uVuW3zbVKIYQuzEcyetAHeYMeo5q2L9RvkAVfC", tunnel=True
    )
    kinds = ["SideroLinkConfig", "EventSinkConfig", "KmsgLogConfig"]
    return [
        {"name": f"documents of a join by {way}", "config": options.documents(), "kinds": kinds}
        for way, options in {"UDP": plain, "gRPC": tunnel}.items()
    ]


def _clients(ca: CertKey, now: datetime) -> list[dict[str, Any]]:
    return [
        {"name": f"a client with the role {role}", "roles": [role]} | _pair(ca, pki.talos_client(ca, [role], now))
        for role in sorted(roles.ALL)
    ]


def _pair(ca: CertKey, pair: CertKey) -> dict[str, str]:
    return {"ca": ca.crt.decode(), "crt": pair.crt.decode(), "key": pair.key.decode()}


def _talosconfig(bundle: Bundle, now: datetime) -> str:
    client = pki.talos_client(bundle.os, ["os:admin"], now)
    endpoints = ["192.0.2.1", "2001:db8::1"]
    return talosconfig.generate("prod-eu", endpoints, bundle.os.crt, client, ["192.0.2.1"]).to_yaml()
