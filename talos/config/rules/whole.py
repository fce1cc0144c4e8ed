"""Rules between documents: what the configuration as a whole has to have."""

from __future__ import annotations

from collections.abc import Iterator

from talos.config.document import Config
from talos.config.rules.common import Context, Mode, Values, Warn, at
from talos.config.rules.containers import dependencies
from talos.config.rules.machine import machine_type
from talos.config.schema import KINDS
from talos.machinetype import MachineType

_ROLE_LABEL = "node-role.kubernetes.io/control-plane"
_ROLE_LABEL_MISSING = (
    f'KubeNodeConfig document should set the "{_ROLE_LABEL}" node label on control plane machines '
    f'(and, unless scheduling on control planes is allowed, the "{_ROLE_LABEL}: NoSchedule" taint): '
    "unlike .machine.nodeLabels/.machine.nodeTaints, the document contents are used as-is"
)
_CLUSTER_MISSING = (
    "cluster name and endpoint are required when Kubernetes is configured: "
    "either .cluster.clusterName/.cluster.controlPlane.endpoint or the KubeClusterConfig document"
)


def whole(config: Config, context: Context) -> Iterator[str]:
    """Findings about the documents together."""
    legacy = config.v1alpha1 or {}
    yield from _host_dns(config, legacy, context)
    yield from _discovery(config, legacy)
    machine = legacy.get("machine")
    kind = machine_type(machine) if machine is not None else None
    if config.v1alpha1 is not None and machine is None:
        kind = MachineType.WORKER
    yield from _kubernetes(config, legacy, kind is not None and kind.is_control_plane)
    restricted = {document.kind for document in config.documents if _is_restricted(document.kind)}
    if restricted and not (kind is not None and kind.is_control_plane):
        kinds = " ".join(sorted(restricted))
        yield f"the following document kinds are only allowed on control plane machines: [{kinds}]"


def _is_restricted(kind: str) -> bool:
    return kind in KINDS and KINDS[kind].control_plane_only


def _host_dns(config: Config, legacy: Values, context: Context) -> Iterator[str]:
    resolver = config.find("ResolverConfig") or {}
    host_dns = resolver.get("hostDNS") or {}
    if not host_dns.get("enabled"):
        host_dns = at(legacy, "machine.features.hostDNS")
    enabled = bool(host_dns and host_dns.get("enabled"))
    if context.mode is Mode.CONTAINER:
        if host_dns is None:
            yield "hostDNS config is required in container mode"
        else:
            if not enabled:
                yield "hostDNS must be enabled in container mode"
            if not host_dns.get("forwardKubeDNSToHost"):
                yield "forwardKubeDNSToHost must be enabled in container mode"
    encrypted = any(server.get("protocol", "Do53") != "Do53" for server in resolver.get("nameservers") or [])
    if encrypted and not enabled:
        yield "hostDNS must be enabled when using non-default DNS protocols"


def _discovery(config: Config, legacy: Values) -> Iterator[str]:
    by_legacy = at(legacy, "cluster.discovery.enabled") and not at(
        legacy, "cluster.discovery.registries.service.disabled"
    )
    enabled = bool(by_legacy or config.all("DiscoveryServiceConfig"))
    if enabled:
        cluster_id, secret = at(legacy, "cluster.id"), at(legacy, "cluster.secret")
        if not cluster_id and not secret:
            identity = config.find("DiscoveryIdentityConfig") or {}
            cluster_id, secret = identity.get("clusterID"), identity.get("clusterSecret")
        for what, value in (("ID (.cluster.id", cluster_id), ("secret (.cluster.secret", secret)):
            if not value:
                yield (
                    f"cluster {what} or DiscoveryIdentityConfig) should be set "
                    "when cluster discovery (DiscoveryServiceConfig) is enabled"
                )
    containers = {
        document.get("name", ""): at(document, "dependsOn.containers") or []
        for document in config.all("ContainerConfig")
    }
    yield from dependencies(containers)
    kubespan = config.find("KubeSpanConfig") or at(legacy, "machine.network.kubespan")
    if kubespan and kubespan.get("enabled") and not enabled:
        yield "KubeSpan requires cluster discovery to be enabled"


def _kubernetes(config: Config, legacy: Values, is_control_plane: bool) -> Iterator[str]:
    cluster = legacy.get("cluster") or {}
    has_ca = (
        config.find("KubeAPIServerCAConfig") is not None
        or cluster.get("ca") is not None
        or cluster.get("acceptedCAs") is not None
    )
    if is_control_plane:
        encrypted = (
            cluster.get("secretboxEncryptionSecret")
            or cluster.get("aescbcEncryptionSecret")
            or config.find("KubeEtcdEncryptionConfig") is not None
        )
        if has_ca and not encrypted:
            yield "etcd encryption config is required for control plane machines running kube-apiserver"
        node = config.find("KubeNodeConfig")
        if node is not None and _ROLE_LABEL not in (node.get("labels") or {}) and not node.get("skipNodeRegistration"):
            yield Warn(_ROLE_LABEL_MISSING)
    if has_ca and config.find("KubeClusterConfig") is None and at(cluster, "controlPlane.endpoint") is None:
        yield _CLUSTER_MISSING
