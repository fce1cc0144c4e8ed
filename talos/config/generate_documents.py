"""The documents of a generated configuration beside v1alpha1, in the order in which Talos writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from talos import images
from talos.config.errors import quote
from talos.config.generate_v1alpha1 import AUDIT_POLICY, EXCLUDE_FROM_LOAD_BALANCERS, POD_SECURITY
from talos.machinetype import MachineType
from talos.pem import CertKey

if TYPE_CHECKING:
    from talos.config.generate import GenerateInput

Document = dict[str, Any]

CONTROL_PLANE_ROLE = "node-role.kubernetes.io/control-plane"
DISCOVERY_ENDPOINT = "https://discovery.talos.dev/"
FLANNEL_PORT = 4789


def documents(given: GenerateInput, machine_type: MachineType) -> Iterator[Document]:
    """From contract 1.12 on registries and hostname, from 1.13 on KubeSpan, from 1.14 on everything."""
    kubernetes = given.contract.multidoc_kubernetes_config_supported
    if kubernetes:
        yield from _discovery(given)
        yield from _system(given)
    if given.contract.multidoc_network_config_supported:
        yield from _registries(given)
        yield _document("HostnameConfig", auto="stable")
    if given.contract.kube_span_multidoc_config and given.kubespan is not None:
        yield _document("KubeSpanConfig", enabled=given.kubespan)
    if kubernetes:
        yield from _every_node(given, machine_type)
        if machine_type.is_control_plane:
            yield from _control_plane(given)


def _document(kind: str, **fields: Any) -> Document:
    return {"apiVersion": "v1alpha1", "kind": kind, **fields}


def _discovery(given: GenerateInput) -> Iterator[Document]:
    if given.discovery:
        yield _document("DiscoveryServiceConfig", name="default", endpoint=DISCOVERY_ENDPOINT)
    yield _document(
        "DiscoveryIdentityConfig", clusterID=given.bundle.cluster_id, clusterSecret=given.bundle.cluster_secret
    )


def _system(given: GenerateInput) -> Iterator[Document]:
    if given.install_disk and not given.skip_unattended_install:
        yield _document(
            "UnattendedInstallConfig",
            installer={"image": given.install_image},
            provisioning={
                "diskSelector": {"match": f"disk.dev_path == {quote(given.install_disk)}"},
                "wipe": False,
            },
        )
    yield _document("ResolverConfig", hostDNS={"enabled": True, "forwardKubeDNSToHost": True})
    if given.sysctls:
        yield _document("SysctlConfig", params=dict(given.sysctls))
    yield _document("VolumeConfig", name="EPHEMERAL", mount={"secure": True})
    yield _document("FilesystemTrimConfig", interval="168h0m0s")
    yield _document("SecurityProfileConfig", workloadIsolation=True)


def _registries(given: GenerateInput) -> Iterator[Document]:
    for host, mirrors in sorted(given.registry_mirrors.items()):
        yield _document("RegistryMirrorConfig", name=host, endpoints=[{"url": mirror} for mirror in mirrors])
    for host in sorted(set(given.insecure_registries)):
        yield _document("RegistryTLSConfig", name=host, insecureSkipVerify=True)


def _every_node(given: GenerateInput, machine_type: MachineType) -> Iterator[Document]:
    control_plane = machine_type.is_control_plane
    yield _document("KubeClusterConfig", clusterName=given.cluster_name, endpoint=given.endpoint)
    yield _document("KubeNodeConfig", nodeIP={}, **(_control_plane_node(given) if control_plane else {}))
    yield _document(
        "KubeletConfig",
        image=images.kubernetes(images.KUBELET, given.kubernetes_version),
        config={},
        defaultRuntimeSeccompProfileEnabled=True,
    )
    yield _document(
        "KubeNetworkConfig",
        dnsDomain=given.dns_domain,
        podSubnets=given.pod_subnets,
        serviceSubnets=given.service_subnets,
    )
    if control_plane:
        yield _document("KubeAPIServerCAConfig", issuingCA=_ca(given.bundle.k8s))
    else:
        yield _document("KubeAPIServerCAConfig", acceptedCAs=[given.bundle.k8s.crt.decode()])
    if given.kube_prism_port:
        yield _document("KubePrismConfig", port=given.kube_prism_port)


def _control_plane_node(given: GenerateInput) -> Document:
    node: Document = {"labels": {CONTROL_PLANE_ROLE: "", EXCLUDE_FROM_LOAD_BALANCERS: ""}}
    if not given.allow_scheduling_on_control_planes:
        node["taints"] = {CONTROL_PLANE_ROLE: "NoSchedule"}
    return node


def _control_plane(given: GenerateInput) -> Iterator[Document]:
    yield _document("KubeAggregatorCAConfig", issuingCA=_ca(given.bundle.k8s_aggregator))
    yield from _authorization()
    yield _etcd_encryption(given)
    yield _document(
        "KubeServiceAccountConfig",
        issuer={"privateKey": given.bundle.k8s_service_account.decode(), "issuerURL": given.endpoint},
    )
    yield from _pods(given)
    if not given.custom_cni_url:
        yield _document("KubeFlannelCNIConfig", backendType="vxlan", backendPort=FLANNEL_PORT)
    yield _document("KubeCoreDNSConfig", enabled=True)
    if given.custom_cni_url:
        yield _document("KubeExternalManifestConfig", name="custom-cni", url=given.custom_cni_url)


def _authorization() -> Iterator[Document]:
    yield _document("KubeAdmissionControlConfig", name="PodSecurity", configuration=POD_SECURITY)
    yield _document("KubeAuditPolicyConfig", configuration=AUDIT_POLICY)
    probes = [{"path": path} for path in ("/livez", "/readyz", "/healthz")]
    yield _document(
        "KubeAuthenticationConfig", configuration={"anonymous": {"conditions": probes, "enabled": True}, "jwt": []}
    )
    yield _document("KubeAuthorizerConfig", name="node", type="Node")
    yield _document("KubeAuthorizerConfig", name="rbac", type="RBAC")


def _etcd_encryption(given: GenerateInput) -> Document:
    """An AES-CBC secret of old is written as secretbox too, as Talos does it."""
    secrets = {"key2": given.bundle.secretbox_encryption_secret, "key1": given.bundle.aescbc_encryption_secret}
    providers = [{"secretbox": {"keys": [{"name": name, "secret": key}]}} for name, key in secrets.items() if key]
    return _document(
        "KubeEtcdEncryptionConfig", config={"resources": [{"providers": providers, "resources": ["secrets"]}]}
    )


def _pods(given: GenerateInput) -> Iterator[Document]:
    def image(component: str) -> str:
        return images.kubernetes(component, given.kubernetes_version)

    api_server = _document("KubeAPIServerConfig", image=image(images.API_SERVER))
    if given.local_api_server_port:
        api_server["apiPort"] = given.local_api_server_port
    if given.api_server_sans:
        api_server["certExtraSANs"] = given.api_server_sans
    yield api_server
    yield _document("KubeControllerManagerConfig", image=image(images.CONTROLLER_MANAGER))
    yield _document("KubeSchedulerConfig", image=image(images.SCHEDULER), config={})
    yield _document("KubeProxyConfig", image=image(images.PROXY), config={})


def _ca(ca: CertKey) -> Document:
    return {"cert": ca.crt.decode(), "key": ca.key.decode()}
