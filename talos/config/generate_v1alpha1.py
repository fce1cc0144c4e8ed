"""The v1alpha1 document of a generated configuration: nearly all of it up to contract 1.13, the rest from 1.14 on."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from talos import images
from talos.machinetype import MachineType
from talos.pem import CertKey

if TYPE_CHECKING:
    from talos.config.generate import GenerateInput

Fields = dict[str, Any]

EXCLUDE_FROM_LOAD_BALANCERS = "node.kubernetes.io/exclude-from-external-load-balancers"

#: The pod security defaults of every Talos cluster: baseline is enforced, restricted is warned about.
POD_SECURITY: Fields = {
    "apiVersion": "pod-security.admission.config.k8s.io/v1alpha1",
    "kind": "PodSecurityConfiguration",
    "defaults": {
        "enforce": "baseline",
        "enforce-version": "latest",
        "audit": "restricted",
        "audit-version": "latest",
        "warn": "restricted",
        "warn-version": "latest",
    },
    "exemptions": {"usernames": [], "runtimeClasses": [], "namespaces": ["kube-system"]},
}

AUDIT_POLICY: Fields = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}


def document(given: GenerateInput, machine_type: MachineType) -> Fields:
    multidoc = given.contract.multidoc_kubernetes_config_supported
    machine, cluster = (_machine_rest, _cluster_rest) if multidoc else (_machine, _cluster)
    return {
        "version": "v1alpha1",
        "debug": given.debug,
        "persist": True,
        "machine": machine(given, machine_type),
        "cluster": cluster(given, machine_type),
    }


def _machine_rest(given: GenerateInput, machine_type: MachineType) -> Fields:
    machine: Fields = {
        "type": str(machine_type),
        "token": given.bundle.trustd_token,
        "ca": _ca(given.bundle.os, machine_type),
        "certSANs": list(given.additional_sans),
        "features": {"diskQuotaSupport": True},
    }
    if given.nameservers:
        machine["network"] = {"nameservers": list(given.nameservers)}
    return machine


def _cluster_rest(given: GenerateInput, machine_type: MachineType) -> Fields:
    cluster: Fields = {"token": given.bundle.bootstrap_token}
    if machine_type.is_control_plane:
        cluster["etcd"] = {"ca": _ca(given.bundle.etcd, machine_type)}
    return cluster


def _machine(given: GenerateInput, machine_type: MachineType) -> Fields:
    machine = _machine_rest(given, machine_type) | {
        "kubelet": {
            "image": images.kubernetes(images.KUBELET, given.kubernetes_version),
            "defaultRuntimeSeccompProfileEnabled": True,
            "disableManifestsDirectory": True,
        },
        "install": _install(given),
        "features": _features(given),
    }
    network = machine.get("network", {})
    if given.kubespan is not None and not given.contract.kube_span_multidoc_config:
        network["kubespan"] = {"enabled": given.kubespan}
    if network or not given.contract.kube_span_multidoc_config:
        machine["network"] = network
    if given.sysctls:
        machine["sysctls"] = dict(given.sysctls)
    if not given.contract.multidoc_network_config_supported and (registries := _registries(given)):
        machine["registries"] = registries
    if machine_type.is_control_plane:
        machine["nodeLabels"] = {EXCLUDE_FROM_LOAD_BALANCERS: ""}
    return machine


def _install(given: GenerateInput) -> Fields:
    install: Fields = {"disk": given.install_disk, "image": given.install_image, "wipe": False}
    if given.install_extra_kernel_args:
        install["extraKernelArgs"] = list(given.install_extra_kernel_args)
    if given.contract.grub_use_uki_cmdline_default:
        install["grubUseUKICmdline"] = True
    return install


def _features(given: GenerateInput) -> Fields:
    features: Fields = {
        "diskQuotaSupport": True,
        "hostDNS": {"enabled": True, "forwardKubeDNSToHost": True},
    }
    if not given.contract.hide_rbac_and_key_usage:
        features |= {"rbac": True, "apidCheckExtKeyUsage": True}
    if not given.contract.multidoc_network_config_supported:
        features["stableHostname"] = True
    if given.kube_prism_port:
        features["kubePrism"] = {"enabled": True, "port": given.kube_prism_port}
    return features


def _registries(given: GenerateInput) -> Fields:
    mirrors = {host: {"endpoints": list(endpoints)} for host, endpoints in given.registry_mirrors.items()}
    config = {host: {"tls": {"insecureSkipVerify": True}} for host in given.insecure_registries}
    return {name: value for name, value in (("mirrors", mirrors), ("config", config)) if value}


def _cluster(given: GenerateInput, machine_type: MachineType) -> Fields:
    bundle = given.bundle
    network: Fields = {
        "dnsDomain": given.dns_domain,
        "podSubnets": given.pod_subnets,
        "serviceSubnets": given.service_subnets,
    }
    if given.custom_cni_url:
        network["cni"] = {"name": "custom", "urls": [given.custom_cni_url]}
    cluster = _cluster_rest(given, machine_type) | {
        "id": bundle.cluster_id,
        "secret": bundle.cluster_secret,
        "controlPlane": {"endpoint": given.endpoint},
        "clusterName": given.cluster_name,
        "network": network,
        "ca": _ca(bundle.k8s, machine_type),
        "discovery": {
            "enabled": given.discovery,
            "registries": {"kubernetes": {"disabled": True}, "service": {}},
        },
    }
    if machine_type.is_control_plane:
        cluster |= _control_plane(given, machine_type)
    return cluster


def _control_plane(given: GenerateInput, machine_type: MachineType) -> Fields:
    bundle = given.bundle

    def pod(component: str) -> Fields:
        return {"image": images.kubernetes(component, given.kubernetes_version)}

    fields: Fields = {
        "controlPlane": {"endpoint": given.endpoint, "localAPIServerPort": given.local_api_server_port},
        "aggregatorCA": _ca(bundle.k8s_aggregator, machine_type),
        "serviceAccount": {"key": _encode(bundle.k8s_service_account)},
        "apiServer": pod(images.API_SERVER)
        | {
            "admissionControl": [{"name": "PodSecurity", "configuration": POD_SECURITY}],
            "auditPolicy": AUDIT_POLICY,
        },
        "controllerManager": pod(images.CONTROLLER_MANAGER),
        "proxy": pod(images.PROXY),
        "scheduler": pod(images.SCHEDULER),
    }
    if bundle.secretbox_encryption_secret:
        fields["secretboxEncryptionSecret"] = bundle.secretbox_encryption_secret
    if given.api_server_sans:
        fields["apiServer"]["certSANs"] = given.api_server_sans
    if not given.contract.hide_disable_psp:
        fields["apiServer"]["disablePodSecurityPolicy"] = True
    if given.allow_scheduling_on_control_planes:
        fields["allowSchedulingOnControlPlanes"] = True
    return fields


def _ca(ca: CertKey, machine_type: MachineType) -> Fields:
    """An authority as v1alpha1 writes it. Only control planes get its key."""
    return {"crt": _encode(ca.crt), "key": _encode(ca.key) if machine_type.is_control_plane else ""}


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
