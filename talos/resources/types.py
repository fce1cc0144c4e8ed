"""The resource types of a Talos node that this project reads or serves, one constant each.

`id` is given for types that exist once per machine. Types without a message are known by name only: their specs are
read from the YAML form.
"""

import re
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from talos.gen.cosi import meta_pb2
from talos.gen.definitions import (
    block_pb2,
    cluster_pb2,
    config_pb2,
    cri_pb2,
    etcd_pb2,
    extensions_pb2,
    hardware_pb2,
    k8s_pb2,
    kubespan_pb2,
    network_pb2,
    perf_pb2,
    runtime_pb2,
    secrets_pb2,
    siderolink_pb2,
    time_pb2,
    v1alpha1_pb2,
)


@dataclass(frozen=True)
class ResourceType:
    """A type of resource: where it lives, how its spec is encoded, how people may call it."""

    name: str
    namespace: str
    message: type[Message] | None = None
    id: str = ""
    sensitive: bool = False
    """Read by administrators only."""
    aliases: tuple[str, ...] = ()
    """Short names people use, besides those derived from the name."""
    automatic_aliases: bool = True
    columns: tuple[tuple[str, str], ...] = ()
    """Columns of a table of such resources: title and JSONPath in the spec."""

    @property
    def display_type(self) -> str:
        """The name of one such resource: `MachineStatus` for `MachineStatuses.runtime.talos.dev`."""
        plural = self.name.partition(".")[0]
        if plural.endswith("ies"):
            return plural[:-3] + "y"
        return plural.removesuffix("es" if plural.endswith(("sses", "uses")) else "s")

    def definition(self) -> dict[str, Any]:
        """The spec of the ResourceDefinition of this type: what clients resolve names with."""
        aliases, plurals = list(self.aliases), []
        if self.automatic_aliases:
            aliases.append(self.display_type.lower())
            capitals = "".join(re.findall("[A-Z]", self.display_type)).lower()
            if len(capitals) > 1:
                aliases += [capitals] if capitals.endswith("s") else [capitals, capitals + "s"]
            parts = self.name.lower().split(".")
            plurals = [".".join(parts[:count]) for count in range(1, len(parts))]
        spec: dict[str, Any] = {
            "type": self.name,
            "displayType": self.display_type,
            "defaultNamespace": self.namespace,
            "aliases": aliases,
            "allAliases": plurals + aliases,
        }
        if not self.automatic_aliases:
            spec["skipAutomaticAliases"] = True
        spec["printColumns"] = [{"name": title, "jsonPath": path} for title, path in self.columns]
        if self.sensitive:
            spec["sensitivity"] = "sensitive"
        return spec


TYPES: dict[str, ResourceType] = {}
"""All types below, by name."""


def _type(name: str, namespace: str, message: type[Message] | None = None, **more: Any) -> ResourceType:
    TYPES[name] = ResourceType(name, namespace, message, **more)
    return TYPES[name]


# About resources
NAMESPACE = _type("Namespaces.meta.cosi.dev", "meta", meta_pb2.NamespaceSpec, aliases=("ns",))
RESOURCE_DEFINITION = _type(
    "ResourceDefinitions.meta.cosi.dev", "meta", meta_pb2.ResourceDefinitionSpec, aliases=("api-resources",)
)

# State and identity of the machine
MACHINE_STATUS = _type(
    "MachineStatuses.runtime.talos.dev",
    "runtime",
    runtime_pb2.MachineStatusSpec,
    id="machine",
    columns=(
        ("Stage", "{.stage}"),
        ("Ready", "{.status.ready}"),
    ),
)
VERSION = _type(
    "Versions.runtime.talos.dev",
    "runtime",
    runtime_pb2.VersionSpec,
    id="version",
    columns=(
        ("Name", "{.name}"),
        ("Version", "{.version}"),
    ),
)
MACHINE_TYPE = _type(
    "MachineTypes.config.talos.dev", "config", config_pb2.MachineTypeSpec, id="machine-type", columns=(("Type", "{@}"),)
)
MACHINE_CONFIG = _type("MachineConfigs.config.talos.dev", "config", config_pb2.MachineConfigSpec, sensitive=True)
PLATFORM_METADATA = _type(
    "PlatformMetadatas.talos.dev",
    "runtime",
    runtime_pb2.PlatformMetadataSpec,
    id="platformmetadata",
    columns=(
        ("Platform", "{.platform}"),
        ("Type", "{.instanceType}"),
        ("Region", "{.region}"),
        ("Zone", "{.zone}"),
    ),
)
SECURITY_STATE = _type(
    "SecurityStates.talos.dev",
    "runtime",
    runtime_pb2.SecurityStateSpec,
    id="securitystate",
    columns=(
        ("SecureBoot", "{.secureBoot}"),
        ("UKISigningKeyFingerprint", "{.ukiSigningKeyFingerprint}"),
        ("PCRSigningKeyFingerprint", "{.pcrSigningKeyFingerprint}"),
        ("SELinuxState", "{.selinuxState}"),
        ("ModuleSignatureEnforced", "{.moduleSignatureEnforced}"),
    ),
)
KERNEL_CMDLINE = _type(
    "KernelCmdlines.runtime.talos.dev",
    "runtime",
    runtime_pb2.KernelCmdlineSpec,
    id="cmdline",
    aliases=("cmdline",),
    columns=(("Cmdline", "{.cmdline}"),),
)
META_KEY = _type(
    "MetaKeys.runtime.talos.dev",
    "runtime",
    runtime_pb2.MetaKeySpec,
    aliases=("meta",),
    columns=(("Value", "{.value}"),),
)
META_LOADED = _type(
    "MetaLoads.runtime.talos.dev",
    "runtime",
    runtime_pb2.MetaLoadedSpec,
    id="meta-loaded",
    columns=(("Done", "{.done}"),),
)
UNIQUE_MACHINE_TOKEN = _type(
    "UniqueMachineTokens.runtime.talos.dev",
    "runtime",
    runtime_pb2.UniqueMachineTokenSpec,
    id="unique-machine-token",
    columns=(("Token", "{.token}"),),
)
BOOT_ID = _type(
    "BootIDs.runtime.talos.dev", "runtime", runtime_pb2.BootIDSpec, id="boot-id", columns=(("Boot ID", "{.bootID}"),)
)
BOOTED_ENTRY = _type(
    "BootedEntries.talos.dev",
    "runtime",
    runtime_pb2.BootedEntrySpec,
    id="bootedentry",
    columns=(("Booted Entry", "{.bootedEntry}"),),
)
DIAGNOSTIC = _type(
    "Diagnostics.runtime.talos.dev", "runtime", runtime_pb2.DiagnosticSpec, columns=(("Message", "{.message}"),)
)
EXTENSION_STATUS = _type(
    "ExtensionStatuses.runtime.talos.dev",
    "runtime",
    extensions_pb2.Layer,
    aliases=("extensions",),
    columns=(
        ("Name", "{.metadata.name}"),
        ("Version", "{.metadata.version}"),
    ),
)
IMAGE_FACTORY_SCHEMATIC = _type(
    "ImageFactorySchematics.runtime.talos.dev",
    "runtime",
    runtime_pb2.ImageFactorySchematicSpec,
    id="image-factory-schematic",
    columns=(
        ("Schematic ID", "{.schematicId}"),
        ("Flavor", "{.flavor}"),
        ("API URL", "{.apiUrl}"),
    ),
)
MOUNT_STATUS = _type(
    "MountStatuses.runtime.talos.dev",
    "runtime",
    runtime_pb2.MountStatusSpec,
    automatic_aliases=False,
    aliases=("mounts",),
    columns=(
        ("Source", "{.source}"),
        ("Target", "{.target}"),
        ("Filesystem Type", "{.filesystemType}"),
    ),
)
MACHINE_RESET_SIGNAL = _type("MachineResetSignals.runtime.talos.dev", "runtime", id="machine")
REBOOT_REQUEST = _type("RebootRequests.runtime.talos.dev", "runtime", id="reboot-request")
UNATTENDED_INSTALL_STATUS = _type(
    "UnattendedInstallStatuses.runtime.talos.dev",
    "runtime",
    runtime_pb2.UnattendedInstallStatusSpec,
    id="unattended-install",
    columns=(("Phase", "{.phase}"),),
)
API_SERVICE_CONFIG = _type(
    "APIServiceConfigs.runtime.talos.dev", "runtime", runtime_pb2.APIServiceConfigSpec, id="apid"
)
MAINTENANCE_SERVICE_CONFIG = _type(
    "MaintenanceServiceConfigs.runtime.talos.dev", "runtime", runtime_pb2.MaintenanceServiceConfigSpec, id="maintenance"
)
EVENT_SINK_CONFIG = _type(
    "EventSinkConfigs.runtime.talos.dev", "runtime", runtime_pb2.EventSinkConfigSpec, id="event-sink"
)
KMSG_LOG_CONFIG = _type("KmsgLogConfigs.runtime.talos.dev", "runtime", runtime_pb2.KmsgLogConfigSpec, id="kmsg-log")
SERVICE = _type(
    "Services.v1alpha1.talos.dev",
    "runtime",
    v1alpha1_pb2.ServiceSpec,
    aliases=("svc",),
    columns=(
        ("Running", "{.running}"),
        ("Healthy", "{.healthy}"),
        ("Health Unknown", "{.unknown}"),
    ),
)
TIME_STATUS = _type(
    "TimeStatuses.v1alpha1.talos.dev", "runtime", time_pb2.StatusSpec, id="node", columns=(("Synced", "{.synced}"),)
)

# Hardware and disks
SYSTEM_INFORMATION = _type(
    "SystemInformations.hardware.talos.dev",
    "hardware",
    hardware_pb2.SystemInformationSpec,
    id="systeminformation",
    aliases=("systeminformation",),
    columns=(
        ("Manufacturer", "{.manufacturer}"),
        ("ProductName", "{.productName}"),
        ("Version", "{.version}"),
        ("SerialNumber", "{.serialnumber}"),
        ("UUID", "{.uuid}"),
        ("WakeUpType", "{.wakeUpType}"),
        ("SKUNumber", "{.skuNumber}"),
    ),
)
PROCESSOR = _type(
    "Processors.hardware.talos.dev",
    "hardware",
    hardware_pb2.ProcessorSpec,
    aliases=(
        "cpus",
        "cpu",
    ),
    columns=(
        ("Manufacturer", "{.manufacturer}"),
        ("Model", "{.productName}"),
        ("Cores", "{.coreCount}"),
        ("Threads", "{.threadCount}"),
    ),
)
MEMORY_MODULE = _type(
    "MemoryModules.hardware.talos.dev",
    "hardware",
    hardware_pb2.MemoryModuleSpec,
    aliases=(
        "memorymodules",
        "ram",
    ),
    columns=(
        ("Manufacturer", "{.manufacturer}"),
        ("Model", "{.productName}"),
        ("SizeMiB", "{.sizeMiB}"),
    ),
)
PCI_DEVICE = _type(
    "PCIDevices.hardware.talos.dev",
    "hardware",
    hardware_pb2.PCIDeviceSpec,
    aliases=(
        "devices",
        "device",
    ),
    columns=(
        ("Class", "{.class}"),
        ("Subclass", "{.subclass}"),
        ("Vendor", "{.vendor}"),
        ("Product", "{.product}"),
    ),
)
DISK = _type(
    "Disks.block.talos.dev",
    "runtime",
    block_pb2.DiskSpec,
    columns=(
        ("Size", "{.pretty_size}"),
        ("Read Only", "{.readonly}"),
        ("Transport", "{.transport}"),
        ("Rotational", "{.rotational}"),
        ("WWID", "{.wwid}"),
        ("Model", "{.model}"),
        ("Serial", "{.serial}"),
    ),
)
BLOCK_DEVICE = _type(
    "BlockDevices.block.talos.dev",
    "runtime",
    block_pb2.DeviceSpec,
    columns=(
        ("Type", "{.type}"),
        ("PartitionName", "{.partitionName}"),
        ("Generation", "{.generation}"),
    ),
)
DISCOVERED_VOLUME = _type(
    "DiscoveredVolumes.block.talos.dev",
    "runtime",
    block_pb2.DiscoveredVolumeSpec,
    columns=(
        ("Type", "{.type}"),
        ("Size", "{.pretty_size}"),
        ("Discovered", "{.name}"),
        ("Label", "{.label}"),
        ("PartitionLabel", "{.partition_label}"),
    ),
)
VOLUME_STATUS = _type(
    "VolumeStatuses.block.talos.dev",
    "runtime",
    block_pb2.VolumeStatusSpec,
    columns=(
        ("Type", "{.type}"),
        ("Phase", "{.phase}"),
        ("Location", "{.location}"),
        ("Size", "{.prettySize}"),
    ),
)
SYSTEM_DISK = _type(
    "SystemDisks.block.talos.dev",
    "runtime",
    block_pb2.SystemDiskSpec,
    id="system-disk",
    columns=(("Disk", "{.diskID}"),),
)
BLOCK_MOUNT_STATUS = _type(
    "MountStatuses.block.talos.dev",
    "runtime",
    block_pb2.MountStatusSpec,
    columns=(
        ("Source", "{.source}"),
        ("Target", "{.target}"),
        ("Filesystem", "{.filesystem}"),
        ("Volume", "{.spec.volumeID}"),
    ),
)

# Network
LINK_STATUS = _type(
    "LinkStatuses.net.talos.dev",
    "network",
    network_pb2.LinkStatusSpec,
    aliases=(
        "link",
        "links",
    ),
    columns=(
        ("Alias", "{.alias}"),
        ("Type", "{.type}"),
        ("Kind", "{.kind}"),
        ("Hw Addr", "{.hardwareAddr}"),
        ("Oper State", "{.operationalState}"),
        ("Link State", "{.linkState}"),
    ),
)
ADDRESS_STATUS = _type(
    "AddressStatuses.net.talos.dev",
    "network",
    network_pb2.AddressStatusSpec,
    aliases=(
        "address",
        "addresses",
    ),
    columns=(
        ("Address", "{.address}"),
        ("Link", "{.linkName}"),
    ),
)
HOSTNAME_STATUS = _type(
    "HostnameStatuses.net.talos.dev",
    "network",
    network_pb2.HostnameStatusSpec,
    id="hostname",
    aliases=("hostname",),
    columns=(
        ("Hostname", "{.hostname}"),
        ("Domainname", "{.domainname}"),
    ),
)
NODE_ADDRESS = _type(
    "NodeAddresses.net.talos.dev",
    "network",
    network_pb2.NodeAddressSpec,
    columns=(
        ("Addresses", "{.addresses}"),
        ("SortAlgorithm", "{.sortAlgorithm}"),
    ),
)
ROUTE_STATUS = _type(
    "RouteStatuses.net.talos.dev",
    "network",
    network_pb2.RouteStatusSpec,
    aliases=(
        "route",
        "routes",
    ),
    columns=(
        ("Destination", "{.dst}"),
        ("Gateway", "{.gateway}"),
        ("Link", "{.outLinkName}"),
        ("Metric", "{.priority}"),
    ),
)
RESOLVER_STATUS = _type(
    "ResolverStatuses.net.talos.dev",
    "network",
    network_pb2.ResolverStatusSpec,
    id="resolvers",
    aliases=("resolvers",),
    columns=(
        ("Resolvers", "{.dnsServers}"),
        ("Search Domains", "{.searchDomains}"),
    ),
)
TIME_SERVER_STATUS = _type(
    "TimeServerStatuses.net.talos.dev",
    "network",
    network_pb2.TimeServerStatusSpec,
    id="timeservers",
    aliases=(
        "timeserver",
        "timeservers",
    ),
    columns=(
        ("Timeservers", "{.timeServers}"),
        ("UseNTS", "{.useNTS}"),
    ),
)
NETWORK_STATUS = _type(
    "NetworkStatuses.net.talos.dev",
    "network",
    network_pb2.StatusSpec,
    id="status",
    aliases=(
        "netstatus",
        "netstatuses",
    ),
    columns=(
        ("Address", "{.addressReady}"),
        ("Connectivity", "{.connectivityReady}"),
        ("Hostname", "{.hostnameReady}"),
        ("Etc", "{.etcFilesReady}"),
    ),
)

# Kubernetes and etcd
ETCD_MEMBER = _type(
    "EtcdMembers.etcd.talos.dev", "etcd", etcd_pb2.MemberSpec, id="local", columns=(("Member ID", "{.memberID}"),)
)
ETCD_SPEC = _type(
    "EtcdSpecs.etcd.talos.dev",
    "etcd",
    etcd_pb2.SpecSpec,
    id="etcd",
    columns=(
        ("Name", "{.name}"),
        ("AdvertisedAddresses", "{.advertisedAddresses}"),
        ("ListenPeerAddresses", "{.listenPeerAddresses}"),
        ("ListenClientAddresses", "{.listenClientAddresses}"),
    ),
)
NODENAME = _type(
    "Nodenames.kubernetes.talos.dev", "k8s", k8s_pb2.NodenameSpec, id="nodename", columns=(("Nodename", "{.nodename}"),)
)
NODE_IP = _type("NodeIPs.kubernetes.talos.dev", "k8s", k8s_pb2.NodeIPSpec, id="kubelet")
NODE_STATUS = _type(
    "NodeStatuses.kubernetes.talos.dev",
    "k8s",
    k8s_pb2.NodeStatusSpec,
    columns=(
        ("Ready", "{.nodeReady}"),
        ("Unschedulable", "{.unschedulable}"),
    ),
)
STATIC_POD_STATUS = _type(
    "StaticPodStatuses.kubernetes.talos.dev",
    "k8s",
    k8s_pb2.StaticPodStatusSpec,
    aliases=("podstatus",),
    columns=(("Ready", '{.conditions[?(@.type=="Ready")].status}'),),
)
KUBELET_SPEC = _type("KubeletSpecs.kubernetes.talos.dev", "k8s", k8s_pb2.KubeletSpecSpec, id="kubelet", sensitive=True)
KUBELET_STATUS = _type(
    "KubeletStatuses.kubernetes.talos.dev",
    "k8s",
    k8s_pb2.KubeletStatusSpec,
    id="kubelet",
    columns=(("Image", "{.image}"),),
)
KUBEPRISM_CONFIG = _type(
    "KubePrismConfigs.kubernetes.talos.dev",
    "k8s",
    k8s_pb2.KubePrismConfigSpec,
    id="k8s-loadbalancer-config",
    columns=(
        ("Host", "{.host}"),
        ("Port", "{.port}"),
        ("Endpoints", "{.endpoints}"),
    ),
)
KUBEPRISM_ENDPOINT = _type(
    "KubePrismEndpoints.kubernetes.talos.dev",
    "k8s",
    k8s_pb2.KubePrismEndpointsSpec,
    id="k8s-cluster",
    columns=(
        ("Hosts", "{.endpoints[*].host}"),
        ("Ports", "{.endpoints[*].port}"),
    ),
)
KUBEPRISM_STATUS = _type(
    "KubePrismStatuses.kubernetes.talos.dev",
    "k8s",
    k8s_pb2.KubePrismStatusesSpec,
    id="k8s-loadbalancer",
    columns=(
        ("HOST", "{.host}"),
        ("HEALTHY", "{.healthy}"),
    ),
)
MANIFEST_STATUS = _type(
    "ManifestStatuses.kubernetes.talos.dev", "controlplane", k8s_pb2.ManifestStatusSpec, id="manifests"
)
MANIFEST = _type("Manifests.kubernetes.talos.dev", "controlplane")
ENDPOINT = _type(
    "Endpoints.kubernetes.talos.dev",
    "controlplane",
    k8s_pb2.EndpointSpec,
    columns=(
        ("Addresses", "{.addresses}"),
        ("Hosts", "{.hosts}"),
    ),
)

# Discovery and KubeSpan
MEMBER = _type(
    "Members.cluster.talos.dev",
    "cluster",
    cluster_pb2.MemberSpec,
    columns=(
        ("Hostname", "{.hostname}"),
        ("Machine Type", "{.machineType}"),
        ("OS", "{.operatingSystem}"),
        ("Addresses", "{.addresses}"),
    ),
)
AFFILIATE = _type(
    "Affiliates.cluster.talos.dev",
    "cluster",
    cluster_pb2.AffiliateSpec,
    columns=(
        ("Hostname", "{.hostname}"),
        ("Machine Type", "{.machineType}"),
        ("Addresses", "{.addresses}"),
    ),
)
IDENTITY = _type(
    "Identities.cluster.talos.dev", "cluster", cluster_pb2.IdentitySpec, id="local", columns=(("ID", "{.nodeId}"),)
)
INFO = _type(
    "Infos.cluster.talos.dev",
    "cluster",
    cluster_pb2.InfoSpec,
    id="current",
    columns=(
        ("Cluster ID", "{.clusterId}"),
        ("Cluster Name", "{.clusterName}"),
    ),
)
DISCOVERY_CONFIG = _type(
    "DiscoveryConfigs.cluster.talos.dev", "config", cluster_pb2.ConfigSpec, id="cluster", sensitive=True
)
KUBESPAN_CONFIG = _type(
    "KubeSpanConfigs.kubespan.talos.dev", "config", kubespan_pb2.ConfigSpec, id="kubespan", sensitive=True
)
KUBESPAN_IDENTITY = _type(
    "KubeSpanIdentities.kubespan.talos.dev",
    "kubespan",
    kubespan_pb2.IdentitySpec,
    id="local",
    sensitive=True,
    columns=(
        ("Address", "{.address}"),
        ("PublicKey", "{.publicKey}"),
    ),
)
KUBESPAN_ENDPOINT = _type(
    "KubeSpanEndpoints.kubespan.talos.dev",
    "kubespan",
    kubespan_pb2.EndpointSpec,
    columns=(
        ("Endpoint", "{.endpoint}"),
        ("Affiliate ID", "{.affiliateID}"),
    ),
)
KUBESPAN_PEER_SPEC = _type(
    "KubeSpanPeerSpecs.kubespan.talos.dev",
    "kubespan",
    kubespan_pb2.PeerSpecSpec,
    columns=(
        ("Label", "{.label}"),
        ("Endpoints", "{.endpoints}"),
    ),
)
KUBESPAN_PEER_STATUS = _type(
    "KubeSpanPeerStatuses.kubespan.talos.dev",
    "kubespan",
    kubespan_pb2.PeerStatusSpec,
    columns=(
        ("Label", "{.label}"),
        ("Endpoint", "{.endpoint}"),
        ("State", "{.state}"),
        ("Rx", "{.receiveBytes}"),
        ("Tx", "{.transmitBytes}"),
    ),
)

# Secrets, SideroLink, load, image cache
OS_ROOT_SECRET = _type("OSRootSecrets.secrets.talos.dev", "secrets", secrets_pb2.OSRootSpec, id="os", sensitive=True)
API_CERTIFICATE = _type(
    "ApiCertificates.secrets.talos.dev", "secrets", secrets_pb2.APICertsSpec, id="api", sensitive=True
)
CERT_SAN = _type("CertSANs.secrets.talos.dev", "secrets", secrets_pb2.CertSANSpec, sensitive=True)
SIDEROLINK_CONFIG = _type(
    "SiderolinkConfigs.siderolink.talos.dev",
    "config",
    siderolink_pb2.ConfigSpec,
    id="siderolink",
    sensitive=True,
    columns=(
        ("API Endpoint", "{.apiEndpoint}"),
        ("Tunnel", "{.tunnel}"),
    ),
)
SIDEROLINK_STATUS = _type(
    "SiderolinkStatuses.siderolink.talos.dev",
    "config",
    siderolink_pb2.StatusSpec,
    id="siderolink-status",
    columns=(
        ("Host", "{.host}"),
        ("Connected", "{.connected}"),
    ),
)
SIDEROLINK_TUNNEL = _type(
    "SiderolinkTunnels.siderolink.talos.dev",
    "config",
    siderolink_pb2.TunnelSpec,
    id="siderolink-tunnel",
    sensitive=True,
    columns=(
        ("API Endpoint", "{.apiEndpoint}"),
        ("Link name", "{.linkName}"),
        ("MTU", "{.mtu}"),
        ("Node address", "{.nodeAddress}"),
    ),
)
CPU_STAT = _type(
    "CPUStats.perf.talos.dev",
    "perf",
    perf_pb2.CPUSpec,
    id="latest",
    columns=(
        ("User", "{.cpuTotal.user}"),
        ("System", "{.cpuTotal.system}"),
    ),
)
MEMORY_STAT = _type(
    "MemoryStats.perf.talos.dev",
    "perf",
    perf_pb2.MemorySpec,
    id="latest",
    columns=(
        ("Used", "{.used}"),
        ("Total", "{.total}"),
    ),
)
IMAGE_CACHE_CONFIG = _type(
    "ImageCacheConfigs.cri.talos.dev",
    "cri",
    cri_pb2.ImageCacheConfigSpec,
    id="image-cache",
    columns=(
        ("Status", "{.status}"),
        ("CopyStatus", "{.copyStatus}"),
        ("Roots", "{.roots}"),
    ),
)
