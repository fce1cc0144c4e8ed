"""Settings that stand both in the v1alpha1 document and in a document of their own.

A rule gets the v1alpha1 document and the other one; only its first finding counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from talos.config.rules.addresses import parse_address
from talos.config.rules.common import Values, at, nanoseconds
from talos.config.schema.storage import ENCRYPTION_SPEC

Conflict = Callable[[Values, Values], Iterator[str]]


def conflicts(kind: str, v1alpha1: Values, document: Values) -> Iterator[str]:
    """The conflict of a document with the v1alpha1 document, if there is one."""
    rules: Iterable[tuple[str, str]] = _PRESENT.get(kind, ())
    for path, message in rules:
        if at(v1alpha1, path) is not None:
            yield message
            return
    if rule := _SPECIAL.get(kind):
        for message in rule(v1alpha1, document):
            yield message
            return


def _set(path: str) -> tuple[str, str]:
    return path, f".{path} is already set in v1alpha1 config"


_NETWORK = "cluster network config"
_REMOVE_CLUSTER = "Please remove it and use only the new KubeClusterConfig document to avoid conflicts"
_PRESENT: dict[str, tuple[tuple[str, str], ...]] = {
    "KubeAPIServerConfig": (
        ("cluster.apiServer", "kube-apiserver config is already set in v1alpha1 config (.cluster.apiServer)"),
        (
            "cluster.controlPlane.localAPIServerPort",
            "kube-apiserver API port is already set in v1alpha1 config (.cluster.controlPlane.localAPIServerPort)",
        ),
    ),
    "KubeAPIServerCAConfig": (("cluster.ca", "kube-apiserver CA is already set in v1alpha1 config (.cluster.ca)"),),
    "KubeAggregatorCAConfig": (
        (
            "cluster.aggregatorCA",
            "kube-apiserver aggregator CA is already set in v1alpha1 config (.cluster.aggregatorCA), "
            "please remove it and use the new KubeAggregatorCAConfig document instead",
        ),
    ),
    "KubeServiceAccountConfig": (
        ("cluster.serviceAccount", "service account is already set in v1alpha1 config (.cluster.serviceAccount)"),
    ),
    "KubeClusterConfig": (
        (
            "cluster.clusterName",
            f"cluster name is already set in the v1alpha1 config (.cluster.clusterName). {_REMOVE_CLUSTER}",
        ),
        (
            "cluster.controlPlane.endpoint",
            "cluster endpoint is already set in the v1alpha1 config (.cluster.controlPlane.endpoint). "
            + _REMOVE_CLUSTER,
        ),
    ),
    "KubeControllerManagerConfig": (
        (
            "cluster.controllerManager",
            "kube-controller-manager config is already set in v1alpha1 config (.cluster.controllerManager)",
        ),
        (
            "machine.controlPlane.controllerManager",
            "kube-controller-manager config is already set in v1alpha1 config "
            "(.machine.controlplane.controllerManager)",
        ),
    ),
    "KubeSchedulerConfig": (
        ("cluster.scheduler", "kube-scheduler config is already set in v1alpha1 config (.cluster.scheduler)"),
        (
            "machine.controlPlane.scheduler",
            "kube-scheduler config is already set in v1alpha1 config (.machine.controlplane.scheduler)",
        ),
    ),
    "KubeProxyConfig": (
        (
            "cluster.proxy",
            "cluster proxy config in v1alpha1 config (.machine.cluster.proxy) can't be used with KubeProxyConfig "
            "document, please remove it to avoid conflicts",
        ),
    ),
    "KubeCoreDNSConfig": (("cluster.coreDNS", "CoreDNS config is already set in v1alpha1 config (.cluster.coreDNS)"),),
    "KubeNetworkConfig": (
        (
            "cluster.network",
            f"{_NETWORK} is already set in the v1alpha1 config (.machine.cluster.network). "
            "Please remove it and use only the new KubeNetworkConfig document to avoid conflicts",
        ),
    ),
    "KubeFlannelCNIConfig": (
        (
            "cluster.network",
            f"{_NETWORK} in v1alpha1 config (.machine.cluster.network) can't be used with KubeFlannelCNIConfig "
            "document, please remove it to avoid conflicts",
        ),
    ),
    "KubeletConfig": (("machine.kubelet", "kubelet config is already set in v1alpha1 config (.machine.kubelet)"),),
    "KubeCredentialProviderConfig": (
        (
            "machine.kubelet",
            "cannot use KubeCredentialProviderConfig with legacy kubelet configuration (.machine.kubelet)",
        ),
    ),
    "KubeNodeConfig": (
        _set("cluster.allowSchedulingOnControlPlanes"),
        _set("cluster.allowSchedulingOnMasters"),
        _set("machine.kubelet.skipNodeRegistration"),
        _set("machine.kubelet.registerWithFQDN"),
        _set("machine.kubelet.nodeIP"),
        _set("machine.nodeLabels"),
        _set("machine.nodeAnnotations"),
        _set("machine.nodeTaints"),
    ),
    "KubePrismConfig": (
        (
            "machine.features.kubePrism",
            "KubePrism config in v1alpha1 config (.machine.features.kubePrism) can't be used with KubePrismConfig "
            "document, please remove it to avoid conflicts",
        ),
    ),
    "KubeTalosAPIAccessConfig": (_set("machine.features.kubernetesTalosAPIAccess"),),
    "KubeSpanConfig": (
        ("machine.network.kubespan", "kubespan is already configured in v1alpha1 machine.network.kubespan"),
    ),
    "DiscoveryServiceConfig": (
        (
            "cluster.discovery",
            "discovery service is already configured in .cluster.discovery of the v1alpha1 config",
        ),
    ),
    "UnattendedInstallConfig": (
        (
            "machine.install",
            "UnattendedInstallConfig config is incompatible with v1alpha1 config (.machine.install)",
        ),
    ),
    "ImageCacheConfig": (("machine.features.imageCache", "image cache config is already set in v1alpha1 config"),),
    "CRIBaseRuntimeSpecConfig": (
        (
            "machine.baseRuntimeSpecOverrides",
            "base runtime spec overrides are already set in v1alpha1 config",
        ),
    ),
}
"""By kind: what may not be present in v1alpha1, and the message if it is."""


def _admission(v1alpha1: Values, _: Values) -> Iterator[str]:
    if at(v1alpha1, "cluster.apiServer.admissionControl"):
        yield "admission control plugin config is already set in v1alpha1 config"


def _audit_policy(v1alpha1: Values, _: Values) -> Iterator[str]:
    if at(v1alpha1, "cluster.apiServer.auditPolicy"):
        yield "audit policy config is already set in v1alpha1 config"


def _etcd_encryption(v1alpha1: Values, _: Values) -> Iterator[str]:
    if at(v1alpha1, "cluster.secretboxEncryptionSecret") or at(v1alpha1, "cluster.aescbcEncryptionSecret"):
        yield "etcd encryption config is already set in v1alpha1 config"


def _identity(v1alpha1: Values, _: Values) -> Iterator[str]:
    if at(v1alpha1, "cluster.id") or at(v1alpha1, "cluster.secret"):
        yield "cluster identity is already configured in .cluster.id/.cluster.secret of the v1alpha1 config"


def _hostname(v1alpha1: Values, _: Values) -> Iterator[str]:
    if at(v1alpha1, "machine.network.hostname"):
        yield "static hostname is already set in v1alpha1 config"
    if at(v1alpha1, "machine.features.stableHostname"):
        yield "stable hostname is already set in v1alpha1 config"


def _resolver(v1alpha1: Values, document: Values) -> Iterator[str]:
    if at(v1alpha1, "machine.network.searchDomains") is not None:
        yield _set("machine.network.searchDomains")[1]
    if any(map(_is_server, at(v1alpha1, "machine.network.nameservers") or [])):
        yield _set("machine.network.nameservers")[1]
    if at(v1alpha1, "machine.network.disableSearchDomain"):
        yield _set("machine.network.disableSearchDomain")[1]
    if document.get("hostDNS") and at(v1alpha1, "machine.features.hostDNS") is not None:
        yield _set("machine.features.hostDNS")[1]


def _is_server(text: str) -> bool:
    try:
        return bool(parse_address(text))
    except ValueError:
        return False


def _time_sync(v1alpha1: Values, _: Values) -> Iterator[str]:
    where = "in both v1alpha1 and new-style configuration"
    if at(v1alpha1, "machine.time.disabled"):
        yield f"time sync cannot be disabled {where}"
    if at(v1alpha1, "machine.time.servers"):
        yield f"time servers cannot be specified {where}"
    if nanoseconds(at(v1alpha1, "machine.time.bootTimeout")):
        yield f"boot timeout cannot be specified {where}"


def _volume(v1alpha1: Values, document: Values) -> Iterator[str]:
    name = document.get("name", "")
    if name not in ("STATE", "EPHEMERAL") or ENCRYPTION_SPEC.empty(document.get("encryption")):
        return
    if at(v1alpha1, f"machine.systemDiskEncryption.{name.lower()}") is not None:
        yield f'system disk encryption for "{name}" is configured in both v1alpha1.Config and VolumeConfig'


_SPECIAL: dict[str, Conflict] = {
    "DiscoveryIdentityConfig": _identity,
    "HostnameConfig": _hostname,
    "KubeAdmissionControlConfig": _admission,
    "KubeAuditPolicyConfig": _audit_policy,
    "KubeAuthorizerConfig": _admission,
    "KubeEtcdEncryptionConfig": _etcd_encryption,
    "ResolverConfig": _resolver,
    "TimeSyncConfig": _time_sync,
    "VolumeConfig": _volume,
}
