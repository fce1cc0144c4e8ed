"""Documents of network links and routing daemons."""

from __future__ import annotations

from talos.config.schema.composite import List, Map, Pointer, Struct, always, field
from talos.config.schema.formats import (
    ADDRESS,
    ADDRESS_PORT,
    CEL,
    DURATION,
    FAIL_OVER_MAC,
    HARDWARE_ADDRESS,
    PREFIX,
    ROUTING_TABLE,
)
from talos.config.schema.kinds import DocumentKind
from talos.config.schema.types import BOOL, STRING, Enum, Int

BOND_MODE = Enum(
    "nethelpers.BondMode",
    ["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"],
    "balance-rr",
)
XMIT_HASH_POLICY = Enum(
    "nethelpers.BondXmitHashPolicy", ["layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4"], "layer2"
)
ARP_VALIDATE = Enum(
    "nethelpers.ARPValidate", ["none", "active", "backup", "all", "filter", "filter-active", "filter-backup"], "none"
)
ARP_ALL_TARGETS = Enum("nethelpers.ARPAllTargets", ["any", "all"], "any")
LACP_RATE = Enum("nethelpers.LACPRate", ["slow", "fast"], "slow")
AD_SELECT = Enum("nethelpers.ADSelect", ["stable", "bandwidth", "count"], "stable")
AD_LACP_ACTIVE = Enum("nethelpers.ADLACPActive", ["off", "on"], "off")
PRIMARY_RESELECT = Enum("nethelpers.PrimaryReselect", ["always", "better", "failure"], "always")
WAKE_ON_LAN_MODE = Enum(
    "nethelpers.WOLMode", ["phy", "unicast", "multicast", "broadcast", "magic", "magicsecure", "filter"], "WOLMode(0)"
)
VLAN_PROTOCOL = Enum("nethelpers.VLANProtocol", ["802.1q", "802.1ad"], "VLANProtocol(0)")

BGP_IMPORT_ROUTE = Struct(
    "network.BGPImportRoute",
    always("bgpInstance", "ImportBGPInstance", STRING),
    always("prefixes", "ImportPrefixes", List(PREFIX)),
)
BGPBFD_CONFIG = Struct(
    "network.BGPBFDConfig",
    field("transmitInterval", "BFDTransmitInterval", DURATION),
    field("receiveInterval", "BFDReceiveInterval", DURATION),
    field("detectMultiplier", "BFDDetectMultiplier", Int("uint8")),
)
BGP_NEIGHBOR_CONFIG = Struct(
    "network.BGPNeighborConfig",
    field("address", "NeighborAddressConfig", ADDRESS),
    field("link", "NeighborLinkConfig", STRING),
    field("peerASN", "NeighborPeerASN", Int("uint32")),
    field("localASN", "NeighborLocalASN", Int("uint32")),
    field("passive", "NeighborPassive", BOOL),
    field("holdTime", "NeighborHoldTime", DURATION),
    field("bfd", "NeighborBFDConfig", Pointer(BGPBFD_CONFIG)),
)
ADDRESS_CONFIG = Struct(
    "network.AddressConfig",
    always("address", "AddressAddress", PREFIX),
    field("routePriority", "AddressPriority", Pointer(Int("uint32"))),
)
ROUTE_CONFIG = Struct(
    "network.RouteConfig",
    field("destination", "RouteDestination", PREFIX),
    field("gateway", "RouteGateway", ADDRESS),
    field("source", "RouteSource", ADDRESS),
    field("metric", "RouteMetric", Int("uint32")),
    field("mtu", "RouteMTU", Int("uint32")),
    field("table", "RouteTable", ROUTING_TABLE),
)
COMMON_LINK_CONFIG_FIELDS = (
    field("up", "LinkUp", Pointer(BOOL)),
    field("mtu", "LinkMTU", Int("uint32")),
    field("addresses", "LinkAddresses", List(ADDRESS_CONFIG)),
    field("routes", "LinkRoutes", List(ROUTE_CONFIG)),
    field("multicast", "LinkMulticast", Pointer(BOOL)),
)
BRIDGE_STP_CONFIG = Struct(
    "network.BridgeSTPConfig",
    field("enabled", "BridgeSTPEnabled", Pointer(BOOL)),
)
BRIDGE_VLAN_CONFIG = Struct(
    "network.BridgeVLANConfig",
    field("filtering", "BridgeVLANFiltering", Pointer(BOOL)),
)
ETHERNET_RINGS_CONFIG = Struct(
    "network.EthernetRingsConfig",
    field("rx", "RX", Pointer(Int("uint32"))),
    field("tx", "TX", Pointer(Int("uint32"))),
    field("rx-mini", "RXMini", Pointer(Int("uint32"))),
    field("rx-jumbo", "RXJumbo", Pointer(Int("uint32"))),
    field("rx-buf-len", "RXBufLen", Pointer(Int("uint32"))),
    field("cqe-size", "CQESize", Pointer(Int("uint32"))),
    field("tx-push", "TXPush", Pointer(BOOL)),
    field("rx-push", "RXPush", Pointer(BOOL)),
    field("tx-push-buf-len", "TXPushBufLen", Pointer(Int("uint32"))),
    field("tcp-data-split", "TCPDataSplit", Pointer(BOOL)),
)
ETHERNET_CHANNELS_CONFIG = Struct(
    "network.EthernetChannelsConfig",
    field("rx", "RX", Pointer(Int("uint32"))),
    field("tx", "TX", Pointer(Int("uint32"))),
    field("other", "Other", Pointer(Int("uint32"))),
    field("combined", "Combined", Pointer(Int("uint32"))),
)
LINK_SELECTOR = Struct(
    "network.LinkSelector",
    field("match", "Match", CEL),
)
VETH_PEER_CONFIG = Struct(
    "network.VethPeerConfig",
    always("name", "VethPeerName", STRING),
    *COMMON_LINK_CONFIG_FIELDS,
)
WIREGUARD_PEER = Struct(
    "network.WireguardPeer",
    field("publicKey", "WireguardPublicKey", STRING),
    field("presharedKey", "WireguardPresharedKey", STRING),
    field("endpoint", "WireguardEndpoint", ADDRESS_PORT),
    field("persistentKeepaliveInterval", "WireguardPersistentKeepaliveInterval", DURATION),
    field("allowedIPs", "WireguardAllowedIPs", List(PREFIX)),
)

KINDS = (
    DocumentKind(
        "BGPInstanceConfig",
        "network.BGPInstanceConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("vrf", "BGPVRF", STRING),
            always("localASN", "BGPLocalASN", Int("uint32")),
            field("routerID", "BGPRouterID", ADDRESS),
            field("routeSource", "BGPRouteSource", ADDRESS),
            field("advertise", "BGPAdvertise", List(STRING), replace=True),
            field("multipath", "BGPMultipath", Pointer(BOOL)),
            field("maxPaths", "BGPMaxPaths", Int("uint8")),
            field("installRoutes", "BGPInstallRoutes", Pointer(BOOL)),
            field("importRoutes", "BGPImportRoutes", List(BGP_IMPORT_ROUTE), replace=True),
            field("neighbors", "BGPNeighborConfigs", List(BGP_NEIGHBOR_CONFIG), replace=True),
        ),
        named=True,
        since=(1, 14),
    ),
    DocumentKind(
        "BondConfig",
        "network.BondConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("hardwareAddr", "HardwareAddressConfig", HARDWARE_ADDRESS),
            field("links", "BondLinks", List(STRING)),
            field("bondMode", "BondMode", Pointer(BOND_MODE)),
            field("miimon", "BondMIIMon", Pointer(Int("uint32"))),
            field("updelay", "BondUpDelay", Pointer(Int("uint32"))),
            field("downdelay", "BondDownDelay", Pointer(Int("uint32"))),
            field("useCarrier", "BondUseCarrier", Pointer(BOOL)),
            field("xmitHashPolicy", "BondXmitHashPolicy", Pointer(XMIT_HASH_POLICY)),
            field("arpInterval", "BondARPInterval", Pointer(Int("uint32"))),
            field("arpIpTargets", "BondARPIPTargets", List(ADDRESS)),
            field("nsIp6Targets", "BondNSIP6Targets", List(ADDRESS)),
            field("arpValidate", "BondARPValidate", Pointer(ARP_VALIDATE)),
            field("arpAllTargets", "BondARPAllTargets", Pointer(ARP_ALL_TARGETS)),
            field("lacpRate", "BondLACPRate", Pointer(LACP_RATE)),
            field("failOverMac", "BondFailOverMAC", Pointer(FAIL_OVER_MAC)),
            field("adSelect", "BondADSelect", Pointer(AD_SELECT)),
            field("adActorSysPrio", "BondADActorSysPrio", Pointer(Int("uint16"))),
            field("adUserPortKey", "BondADUserPortKey", Pointer(Int("uint16"))),
            field("adLACPActive", "BondADLACPActive", Pointer(AD_LACP_ACTIVE)),
            field("primaryReselect", "BondPrimaryReselect", Pointer(PRIMARY_RESELECT)),
            field("resendIGMP", "BondResendIGMP", Pointer(Int("uint32"))),
            field("minLinks", "BondMinLinks", Pointer(Int("uint32"))),
            field("lpInterval", "BondLPInterval", Pointer(Int("uint32"))),
            field("packetsPerSlave", "BondPacketsPerSlave", Pointer(Int("uint32"))),
            field("numPeerNotif", "BondNumPeerNotif", Pointer(Int("uint8"))),
            field("tlbLogicalLb", "BondTLBDynamicLB", Pointer(Int("uint8"))),
            field("allSlavesActive", "BondAllSlavesActive", Pointer(Int("uint8"))),
            field("peerNotifDelay", "BondPeerNotifyDelay", Pointer(Int("uint32"))),
            field("missedMax", "BondMissedMax", Pointer(Int("uint8"))),
            *COMMON_LINK_CONFIG_FIELDS,
        ),
        named=True,
        conflicts=frozenset(
            (
                "BridgeConfig",
                "DummyLinkConfig",
                "LinkConfig",
                "VLANConfig",
                "VRFConfig",
                "VethConfig",
                "WireguardConfig",
            )
        ),
        since=(1, 12),
    ),
    DocumentKind(
        "BridgeConfig",
        "network.BridgeConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("hardwareAddr", "HardwareAddressConfig", HARDWARE_ADDRESS),
            field("links", "BridgeLinks", List(STRING)),
            field("stp", "BridgeSTP", BRIDGE_STP_CONFIG),
            field("vlan", "BridgeVLAN", BRIDGE_VLAN_CONFIG),
            *COMMON_LINK_CONFIG_FIELDS,
        ),
        named=True,
        conflicts=frozenset(
            ("BondConfig", "DummyLinkConfig", "LinkConfig", "VLANConfig", "VRFConfig", "VethConfig", "WireguardConfig")
        ),
        since=(1, 12),
    ),
    DocumentKind(
        "DummyLinkConfig",
        "network.DummyLinkConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("hardwareAddr", "HardwareAddressConfig", HARDWARE_ADDRESS),
            *COMMON_LINK_CONFIG_FIELDS,
        ),
        named=True,
        conflicts=frozenset(
            ("BondConfig", "BridgeConfig", "LinkConfig", "VLANConfig", "VRFConfig", "VethConfig", "WireguardConfig")
        ),
        since=(1, 12),
    ),
    DocumentKind(
        "EthernetConfig",
        "network.EthernetConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("features", "FeaturesConfig", Map(BOOL)),
            field("rings", "RingsConfig", Pointer(ETHERNET_RINGS_CONFIG)),
            field("channels", "ChannelsConfig", Pointer(ETHERNET_CHANNELS_CONFIG)),
            field("wakeOnLan", "WakeOnLANConfig", List(WAKE_ON_LAN_MODE)),
        ),
        named=True,
        since=(1, 10),
    ),
    DocumentKind(
        "LinkAliasConfig",
        "network.LinkAliasConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("selector", "Selector", LINK_SELECTOR),
        ),
        named=True,
        since=(1, 12),
    ),
    DocumentKind(
        "LinkConfig",
        "network.LinkConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            *COMMON_LINK_CONFIG_FIELDS,
        ),
        named=True,
        conflicts=frozenset(
            (
                "BondConfig",
                "BridgeConfig",
                "DummyLinkConfig",
                "VLANConfig",
                "VRFConfig",
                "VethConfig",
                "WireguardConfig",
            )
        ),
        since=(1, 12),
    ),
    DocumentKind(
        "VLANConfig",
        "network.VLANConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("vlanID", "VLANIDConfig", Int("uint16")),
            field("vlanMode", "VLANModeConfig", Pointer(VLAN_PROTOCOL)),
            field("parent", "ParentLinkConfig", STRING),
            *COMMON_LINK_CONFIG_FIELDS,
        ),
        named=True,
        conflicts=frozenset(
            (
                "BondConfig",
                "BridgeConfig",
                "DummyLinkConfig",
                "LinkConfig",
                "VRFConfig",
                "VethConfig",
                "WireguardConfig",
            )
        ),
        since=(1, 12),
    ),
    DocumentKind(
        "VRFConfig",
        "network.VRFConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("hardwareAddr", "HardwareAddressConfig", HARDWARE_ADDRESS),
            field("links", "VRFLinks", List(STRING)),
            always("table", "VRFTable", ROUTING_TABLE),
            *COMMON_LINK_CONFIG_FIELDS,
        ),
        named=True,
        conflicts=frozenset(
            (
                "BondConfig",
                "BridgeConfig",
                "DummyLinkConfig",
                "LinkConfig",
                "VLANConfig",
                "VethConfig",
                "WireguardConfig",
            )
        ),
        since=(1, 13),
    ),
    DocumentKind(
        "VethConfig",
        "network.VethConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            always("peer", "VethPeer", VETH_PEER_CONFIG),
            *COMMON_LINK_CONFIG_FIELDS,
        ),
        named=True,
        conflicts=frozenset(
            (
                "BondConfig",
                "BridgeConfig",
                "DummyLinkConfig",
                "LinkConfig",
                "VLANConfig",
                "VRFConfig",
                "WireguardConfig",
            )
        ),
        since=(1, 14),
    ),
    DocumentKind(
        "WireguardConfig",
        "network.WireguardConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("privateKey", "WireguardPrivateKey", STRING),
            field("listenPort", "WireguardListenPort", Int("int")),
            field("firewallMark", "WireguardFirewallMark", Int("int")),
            field("peers", "WireguardPeers", List(WIREGUARD_PEER)),
            *COMMON_LINK_CONFIG_FIELDS,
        ),
        named=True,
        conflicts=frozenset(
            ("BondConfig", "BridgeConfig", "DummyLinkConfig", "LinkConfig", "VLANConfig", "VRFConfig", "VethConfig")
        ),
        since=(1, 12),
    ),
)
