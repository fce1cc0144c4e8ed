"""v1alpha1: `machine.network`."""

from __future__ import annotations

from typing import Any

from talos.config.schema.composite import KeyedList, List, Pointer, Struct, always, field, same
from talos.config.schema.formats import DURATION
from talos.config.schema.types import BOOL, STRING, Int


def same_device(items: list[Any], item: Any) -> int | None:
    """Index of the interface with the same name or, for one without a name, the same selector."""
    for key in ("interface", "deviceSelector"):
        if wanted := item.get(key):
            return next((index for index, other in enumerate(items) if other.get(key) == wanted), None)
    return None


NETWORK_DEVICE_SELECTOR = Struct(
    "v1alpha1.NetworkDeviceSelector",
    field("busPath", "NetworkDeviceBus", STRING),
    field("hardwareAddr", "NetworkDeviceHardwareAddress", STRING),
    field("permanentAddr", "NetworkDevicePermanentAddress", STRING),
    field("pciID", "NetworkDevicePCIID", STRING),
    field("driver", "NetworkDeviceKernelDriver", STRING),
    field("physical", "NetworkDevicePhysical", Pointer(BOOL)),
)
ROUTE = Struct(
    "v1alpha1.Route",
    always("network", "RouteNetwork", STRING),
    always("gateway", "RouteGateway", STRING),
    field("source", "RouteSource", STRING),
    field("metric", "RouteMetric", Int("uint32")),
    field("mtu", "RouteMTU", Int("uint32")),
)
BOND = Struct(
    "v1alpha1.Bond",
    always("interfaces", "BondInterfaces", List(STRING)),
    field("deviceSelectors", "BondDeviceSelectors", List(NETWORK_DEVICE_SELECTOR)),
    field("arpIPTarget", "BondARPIPTarget", List(STRING)),
    always("mode", "BondMode", STRING),
    field("xmitHashPolicy", "BondHashPolicy", STRING),
    field("lacpRate", "BondLACPRate", STRING),
    field("adActorSystem", "BondADActorSystem", STRING),
    field("arpValidate", "BondARPValidate", STRING),
    field("arpAllTargets", "BondARPAllTargets", STRING),
    field("primary", "BondPrimary", STRING),
    field("primaryReselect", "BondPrimaryReselect", STRING),
    field("failOverMac", "BondFailOverMac", STRING),
    field("adSelect", "BondADSelect", STRING),
    field("miimon", "BondMIIMon", Int("uint32")),
    field("updelay", "BondUpDelay", Int("uint32")),
    field("downdelay", "BondDownDelay", Int("uint32")),
    field("arpInterval", "BondARPInterval", Int("uint32")),
    field("resendIgmp", "BondResendIGMP", Int("uint32")),
    field("minLinks", "BondMinLinks", Int("uint32")),
    field("lpInterval", "BondLPInterval", Int("uint32")),
    field("packetsPerSlave", "BondPacketsPerSlave", Int("uint32")),
    field("numPeerNotif", "BondNumPeerNotif", Int("uint8")),
    field("tlbDynamicLb", "BondTLBDynamicLB", Int("uint8")),
    field("allSlavesActive", "BondAllSlavesActive", Int("uint8")),
    field("useCarrier", "BondUseCarrier", Pointer(BOOL)),
    field("adActorSysPrio", "BondADActorSysPrio", Int("uint16")),
    field("adUserPortKey", "BondADUserPortKey", Int("uint16")),
    field("peerNotifyDelay", "BondPeerNotifyDelay", Int("uint32")),
)
STP = Struct(
    "v1alpha1.STP",
    field("enabled", "STPEnabled", Pointer(BOOL)),
)
BRIDGE_VLAN = Struct(
    "v1alpha1.BridgeVLAN",
    field("vlanFiltering", "BridgeVLANFiltering", Pointer(BOOL)),
)
BRIDGE = Struct(
    "v1alpha1.Bridge",
    always("interfaces", "BridgedInterfaces", List(STRING)),
    field("stp", "BridgeSTP", Pointer(STP)),
    field("vlan", "BridgeVLAN", Pointer(BRIDGE_VLAN)),
)
BRIDGE_PORT = Struct(
    "v1alpha1.BridgePort",
    field("master", "BridgePortMaster", STRING),
)
VIP_EQUINIX_METAL_CONFIG = Struct(
    "v1alpha1.VIPEquinixMetalConfig",
    always("apiToken", "EquinixMetalAPIToken", STRING),
)
VIPH_CLOUD_CONFIG = Struct(
    "v1alpha1.VIPHCloudConfig",
    always("apiToken", "HCloudAPIToken", STRING),
)
DEVICE_VIP_CONFIG = Struct(
    "v1alpha1.DeviceVIPConfig",
    field("ip", "SharedIP", STRING),
    field("equinixMetal", "EquinixMetalConfig", Pointer(VIP_EQUINIX_METAL_CONFIG)),
    field("hcloud", "HCloudConfig", Pointer(VIPH_CLOUD_CONFIG)),
)
DHCP_OPTIONS = Struct(
    "v1alpha1.DHCPOptions",
    always("routeMetric", "DHCPRouteMetric", Int("uint32")),
    field("ipv4", "DHCPIPv4", Pointer(BOOL)),
    field("ipv6", "DHCPIPv6", Pointer(BOOL)),
    field("duidv6", "DHCPDUIDv6", STRING),
)
VLAN = Struct(
    "v1alpha1.Vlan",
    field("addresses", "VlanAddresses", List(STRING)),
    field("cidr", "VlanCIDR", STRING),
    always("routes", "VlanRoutes", List(Pointer(ROUTE))),
    field("dhcp", "VlanDHCP", Pointer(BOOL)),
    always("vlanId", "VlanID", Int("uint16")),
    field("mtu", "VlanMTU", Int("uint32")),
    field("vip", "VlanVIP", Pointer(DEVICE_VIP_CONFIG)),
    field("dhcpOptions", "VlanDHCPOptions", Pointer(DHCP_OPTIONS)),
)
DEVICE_WIREGUARD_PEER = Struct(
    "v1alpha1.DeviceWireguardPeer",
    field("publicKey", "WireguardPublicKey", STRING),
    field("endpoint", "WireguardEndpoint", STRING),
    field("persistentKeepaliveInterval", "WireguardPersistentKeepaliveInterval", DURATION),
    field("allowedIPs", "WireguardAllowedIPs", List(STRING)),
)
DEVICE_WIREGUARD_CONFIG = Struct(
    "v1alpha1.DeviceWireguardConfig",
    field("privateKey", "WireguardPrivateKey", STRING),
    field("listenPort", "WireguardListenPort", Int("int")),
    field("firewallMark", "WireguardFirewallMark", Int("int")),
    field("peers", "WireguardPeers", List(Pointer(DEVICE_WIREGUARD_PEER))),
)
DEVICE = Struct(
    "v1alpha1.Device",
    field("interface", "DeviceInterface", STRING),
    field("deviceSelector", "DeviceSelector", Pointer(NETWORK_DEVICE_SELECTOR)),
    field("addresses", "DeviceAddresses", List(STRING)),
    field("cidr", "DeviceCIDR", STRING),
    field("routes", "DeviceRoutes", List(Pointer(ROUTE))),
    field("bond", "DeviceBond", Pointer(BOND)),
    field("bridge", "DeviceBridge", Pointer(BRIDGE)),
    field("bridgePort", "DeviceBridgePort", Pointer(BRIDGE_PORT)),
    field("vlans", "DeviceVlans", KeyedList(Pointer(VLAN), "v1alpha1.VlanList", same("vlanId"))),
    field("mtu", "DeviceMTU", Int("int")),
    field("dhcp", "DeviceDHCP", Pointer(BOOL)),
    field("ignore", "DeviceIgnore", Pointer(BOOL)),
    field("dummy", "DeviceDummy", Pointer(BOOL)),
    field("dhcpOptions", "DeviceDHCPOptions", Pointer(DHCP_OPTIONS)),
    field("wireguard", "DeviceWireguardConfig", Pointer(DEVICE_WIREGUARD_CONFIG)),
    field("vip", "DeviceVIPConfig", Pointer(DEVICE_VIP_CONFIG)),
)
EXTRA_HOST = Struct(
    "v1alpha1.ExtraHost",
    always("ip", "HostIP", STRING),
    always("aliases", "HostAliases", List(STRING)),
)
KUBE_SPAN_FILTERS = Struct(
    "v1alpha1.KubeSpanFilters",
    field("endpoints", "KubeSpanFiltersEndpoints", List(STRING)),
    field("excludeAdvertisedNetworks", "KubeSpanFiltersExcludeAdvertisedNetworks", List(STRING)),
)
NETWORK_KUBE_SPAN = Struct(
    "v1alpha1.NetworkKubeSpan",
    field("enabled", "KubeSpanEnabled", Pointer(BOOL)),
    field("advertiseKubernetesNetworks", "KubeSpanAdvertiseKubernetesNetworks", Pointer(BOOL)),
    field("allowDownPeerBypass", "KubeSpanAllowDownPeerBypass", Pointer(BOOL)),
    field("harvestExtraEndpoints", "KubeSpanHarvestExtraEndpoints", Pointer(BOOL)),
    field("mtu", "KubeSpanMTU", Pointer(Int("uint32"))),
    field("filters", "KubeSpanFilters", Pointer(KUBE_SPAN_FILTERS)),
)
NETWORK_CONFIG = Struct(
    "v1alpha1.NetworkConfig",
    field("hostname", "NetworkHostname", STRING),
    field("interfaces", "NetworkInterfaces", KeyedList(Pointer(DEVICE), "v1alpha1.NetworkDeviceList", same_device)),
    field("nameservers", "NameServers", List(STRING)),
    field("searchDomains", "Searches", List(STRING)),
    field("extraHostEntries", "ExtraHostEntries", List(Pointer(EXTRA_HOST))),
    field("kubespan", "NetworkKubeSpan", Pointer(NETWORK_KUBE_SPAN)),
    field("disableSearchDomain", "NetworkDisableSearchDomain", Pointer(BOOL)),
)
