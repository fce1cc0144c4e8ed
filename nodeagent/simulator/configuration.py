"""What a machine configuration tells the machine, in either form: the v1alpha1 document or the newer documents."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from nodeagent.simulator.mesh import Cluster, Service
from talos import kernelargs, yaml12
from talos.config import document as documents
from talos.config import kubespan
from talos.config.discovery import PUBLIC_SERVICE
from talos.config.kubespan import KubeSpan
from talos.kernelargs import JoinConfig
from talos.machinetype import MachineType
from talos.pem import CertKey

KUBERNETES_API_PORT = 6443

_NOTHING: dict[str, Any] = {}


@dataclass(frozen=True)
class InstallTarget:
    """Where the configuration wants Talos installed, and which installer image."""

    disk: str
    image: str


@dataclass(frozen=True)
class Configuration:
    """Parsed documents. A configuration without a v1alpha1 document is partial: the machine stays in maintenance."""

    text: bytes = b""
    documents: tuple[dict[str, Any], ...] = field(default=())

    @classmethod
    def parse(cls, text: bytes) -> Configuration:
        """Raises ValueError (YAMLError) for text that is no YAML, or a document that is no mapping."""
        documents = [document for document in yaml12.load_all(text) if document is not None]
        for document in documents:
            if not isinstance(document, dict):
                raise ValueError("a configuration document has to be a mapping")
        return cls(text, tuple(documents))

    @cached_property
    def join(self) -> JoinConfig:
        """SideroLink, event sink and kernel log, as far as documents name them."""
        return kernelargs.parse_documents(self.documents)

    @property
    def unique_token(self) -> str:
        return str(self._document("SideroLinkConfig").get("uniqueToken") or "")

    @cached_property
    def legacy(self) -> dict[str, Any] | None:
        """The v1alpha1 document, or None."""
        return next((document for document in self.documents if "kind" not in document), None)

    @property
    def complete(self) -> bool:
        return self.legacy is not None

    @property
    def machine(self) -> Mapping[str, Any]:
        return (self.legacy or _NOTHING).get("machine") or _NOTHING

    @property
    def cluster(self) -> Mapping[str, Any]:
        return (self.legacy or _NOTHING).get("cluster") or _NOTHING

    @property
    def machine_type(self) -> MachineType:
        return MachineType.parse(str(self.machine.get("type") or "")) if self.complete else MachineType.UNKNOWN

    @property
    def machine_token(self) -> str:
        """What a worker shows to trustd."""
        return str(self.machine.get("token") or "")

    @property
    def cert_sans(self) -> list[str]:
        return [str(name) for name in self.machine.get("certSANs") or ()]

    @property
    def os_ca(self) -> CertKey | None:
        """The Talos authority; without a key on workers."""
        return _encoded_pair(self.machine.get("ca"))

    @property
    def accepted_cas(self) -> list[bytes]:
        """Every authority whose clients the API takes, PEM."""
        own = [self.os_ca.crt] if self.os_ca else []
        others = [_decoded(entry.get("crt")) for entry in self.machine.get("acceptedCAs") or ()]
        return own + [crt for crt in others if crt not in own]

    @property
    def etcd_ca(self) -> CertKey | None:
        return _encoded_pair((self.cluster.get("etcd") or _NOTHING).get("ca"))

    @property
    def kubernetes_ca(self) -> CertKey | None:
        """The Kubernetes authority; without a key on workers."""
        document = self._document("KubeAPIServerCAConfig")
        if issuing := document.get("issuingCA"):
            return CertKey(str(issuing["cert"]).encode(), str(issuing["key"]).encode())
        if accepted := document.get("acceptedCAs"):
            return CertKey(str(accepted[0]).encode(), b"")
        return _encoded_pair(self.cluster.get("ca"))

    @property
    def cluster_id(self) -> str:
        return str(self._document("DiscoveryIdentityConfig").get("clusterID") or self.cluster.get("id") or "")

    @property
    def discovery_identity(self) -> Cluster | None:
        """Whom the machines of the cluster know each other by; None without a secret."""
        secret = self._document("DiscoveryIdentityConfig").get("clusterSecret") or self.cluster.get("secret")
        return Cluster(self.cluster_id, str(secret)) if self.cluster_id and secret else None

    @cached_property
    def discovery_services(self) -> tuple[Service, ...]:
        """Where they find each other; none where discovery is off."""
        documents = [item for item in self.documents if item.get("kind") == "DiscoveryServiceConfig"]
        services = [_service(str(item.get("name") or ""), str(item.get("endpoint") or "")) for item in documents]
        legacy = self.cluster.get("discovery") or _NOTHING
        service = (legacy.get("registries") or _NOTHING).get("service") or _NOTHING
        if legacy.get("enabled") and not service.get("disabled"):
            services.append(_service("legacy", str(service.get("endpoint") or PUBLIC_SERVICE)))
        return tuple(services)

    @property
    def discovery_enabled(self) -> bool:
        return bool(self.discovery_services) and self.discovery_identity is not None

    @cached_property
    def kubespan(self) -> KubeSpan | None:
        """What it says of the mesh, in either form; None when it says nothing."""
        return kubespan.read(documents.load(self.text)) if self.complete else None

    @property
    def extra_endpoints(self) -> tuple[str, ...]:
        """Where others shall look for this machine besides its addresses, as IP:PORT."""
        documents = [item for item in self.documents if item.get("kind") == "KubeSpanEndpointsConfig"]
        return tuple(str(text) for item in documents for text in item.get("extraAnnouncedEndpoints") or ())

    @property
    def trusted_roots(self) -> bytes:
        """Certificates that count beside the system's, PEM."""
        documents = [item for item in self.documents if item.get("kind") == "TrustedRootsConfig"]
        return "\n".join(str(item.get("certificates") or "") for item in documents).encode()

    @property
    def cluster_name(self) -> str:
        return str(self._document("KubeClusterConfig").get("clusterName") or self.cluster.get("clusterName") or "")

    @property
    def endpoint(self) -> str:
        """URL of the Kubernetes API that everybody uses, empty without one."""
        legacy = (self.cluster.get("controlPlane") or _NOTHING).get("endpoint")
        return str(self._document("KubeClusterConfig").get("endpoint") or legacy or "")

    @property
    def endpoint_host(self) -> str:
        return urlsplit(self.endpoint).hostname or ""

    @property
    def virtual_ips(self) -> tuple[str, ...]:
        """Addresses that control planes share, of either form."""
        devices = (self.machine.get("network") or _NOTHING).get("interfaces") or ()
        legacy = [(device.get("vip") or _NOTHING).get("ip") for device in devices]
        documents = [item.get("name") for item in self.documents if item.get("kind") == "Layer2VIPConfig"]
        return tuple(dict.fromkeys(str(address) for address in (*legacy, *documents) if address))

    @property
    def kube_prism(self) -> bool:
        """Whether nodes look for the Kubernetes API at every control plane they know, and not at the endpoint alone."""
        features = self.machine.get("features") or _NOTHING
        return bool(self._document("KubePrismConfig") or (features.get("kubePrism") or _NOTHING).get("enabled"))

    @property
    def kubernetes_subnets(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Of services and pods: addresses in them are never taken for the machine's own."""
        services = self._network.get("serviceSubnets") or ["10.96.0.0/12"]
        return (*map(ip_network, services), *self.pod_subnets)

    @property
    def pod_subnets(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(map(ip_network, self._network.get("podSubnets") or ["10.244.0.0/16"]))

    @property
    def dns_domain(self) -> str:
        return str(self._network.get("dnsDomain") or "cluster.local")

    @property
    def api_server_sans(self) -> list[str]:
        """Extra names and addresses of the Kubernetes API's certificate."""
        legacy = (self.cluster.get("apiServer") or _NOTHING).get("certSANs") or ()
        return [str(name) for name in (*(self._document("KubeAPIServerConfig").get("certExtraSANs") or ()), *legacy)]

    @property
    def api_server_port(self) -> int:
        legacy = (self.cluster.get("controlPlane") or _NOTHING).get("localAPIServerPort")
        return int(self._document("KubeAPIServerConfig").get("apiPort") or legacy or KUBERNETES_API_PORT)

    @property
    def kubelet_image(self) -> str:
        legacy = self.machine.get("kubelet") or _NOTHING
        return str(self._document("KubeletConfig").get("image") or legacy.get("image") or "")

    @property
    def kubernetes_version(self) -> str:
        """Tag of the kubelet's image, such as `v1.36.3`."""
        return self.kubelet_image.partition("@")[0].rpartition(":")[2]

    def component_image(self, legacy: str, kind: str) -> str:
        """Image of a control plane component: `cluster.<legacy>.image`, or the document's of that kind."""
        old = self.cluster.get(legacy) or _NOTHING
        return str(self._document(kind).get("image") or old.get("image") or "")

    @property
    def etcd_image(self) -> str:
        return str((self.cluster.get("etcd") or _NOTHING).get("image") or "registry.k8s.io/etcd:v3.6.6")

    @property
    def node_labels(self) -> dict[str, str]:
        legacy = self.machine.get("nodeLabels") or {}
        return {str(key): str(value) for key, value in {**legacy, **self._node_config("labels")}.items()}

    @property
    def node_taints(self) -> dict[str, str]:
        """Taint keys to `value:Effect` or `Effect`."""
        if self._document("KubeNodeConfig"):
            return {str(key): str(value) for key, value in self._node_config("taints").items()}
        taints = {str(key): str(value) for key, value in (self.machine.get("nodeTaints") or {}).items()}
        if self.machine_type.is_control_plane and not self.cluster.get("allowSchedulingOnControlPlanes"):
            taints["node-role.kubernetes.io/control-plane"] = "NoSchedule"
        return taints

    @property
    def hostname(self) -> str:
        """A fixed host name, or empty when the machine makes its own."""
        legacy = (self.machine.get("network") or _NOTHING).get("hostname")
        return str(self._document("HostnameConfig").get("hostname") or legacy or "")

    @property
    def install_target(self) -> InstallTarget | None:
        """From `machine.install`; None without it."""
        install = self.machine.get("install") or _NOTHING
        return InstallTarget(str(install.get("disk") or ""), str(install.get("image") or "")) if install else None

    @property
    def unattended_install(self) -> Mapping[str, Any]:
        """The UnattendedInstallConfig document, empty without one."""
        return self._document("UnattendedInstallConfig")

    @property
    def _network(self) -> Mapping[str, Any]:
        return self._document("KubeNetworkConfig") or self.cluster.get("network") or _NOTHING

    def _node_config(self, name: str) -> dict[str, Any]:
        return self._document("KubeNodeConfig").get(name) or {}

    def _document(self, kind: str) -> Mapping[str, Any]:
        return next((document for document in self.documents if document.get("kind") == kind), _NOTHING)


def fingerprint(certificate: bytes) -> str:
    """Name of an authority: SHA-256 of its PEM certificate, hexadecimal."""
    return hashlib.sha256(certificate.strip()).hexdigest()


def is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _service(name: str, url: str) -> Service:
    parts = urlsplit(url)
    insecure = parts.scheme == "http"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return Service(name, f"{host}:{parts.port or (80 if insecure else 443)}", insecure)


def _encoded_pair(value: Any) -> CertKey | None:
    return CertKey(_decoded(value.get("crt")), _decoded(value.get("key"))) if value else None


def _decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(str(text or ""))
    except binascii.Error as error:
        raise ValueError(f"a certificate or key is not base64: {error}") from None
