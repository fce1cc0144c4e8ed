"""Documents of links, addresses and network services."""

from __future__ import annotations

from talos.config.schema.formats import (
    ADDRESS,
    ADDRESS_PORT,
    CEL,
    DURATION,
    FAIL_OVER_MAC,
    HARDWARE_ADDRESS,
    META_URL,
    PORT_RANGE,
    PREFIX,
    ROUTING_TABLE,
)
from talos.config.schema.kinds import DocumentKind
from talos.config.schema.types import BOOL, STRING, Enum, Int, List, Map, Pointer, Struct, always, field

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
CLIENT_IDENTIFIER = Enum("nethelpers.ClientIdentifier", ["none", "mac", "duid"], "none")
WAKE_ON_LAN_MODE = Enum(
    "nethelpers.WOLMode", ["phy", "unicast", "multicast", "broadcast", "magic", "magicsecure", "filter"], "WOLMode(0)"
)
AUTO_HOSTNAME = Enum("nethelpers.AutoHostnameKind", ["off", "talos-addr", "stable"], "off")
DEFAULT_ACTION = Enum("nethelpers.DefaultAction", ["accept", "block"], "accept")
PROTOCOL = Enum("nethelpers.Protocol", ["icmp", "tcp", "udp", "icmpv6"], "Protocol(0)")
DNS_PROTOCOL = Enum("nethelpers.DNSProtocol", ["Do53", "DoT", "DoH"], "Do53")
ROUTING_RULE_ACTION = Enum(
    "nethelpers.RoutingRuleAction", ["unspec", "unicast", "blackhole", "unreachable", "prohibit"], "unspec"
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
COMMON_PROBE_CONFIG_FIELDS = (
    field("interval", "ProbeInterval", DURATION),
    field("failureThreshold", "ProbeFailureThreshold", Int("int")),
)
KUBE_SPAN_FILTERS_CONFIG = Struct(
    "network.KubeSpanFiltersConfig",
    field("endpoints", "ConfigEndpoints", List(STRING)),
    field("excludeAdvertisedNetworks", "ConfigExcludeAdvertisedNetworks", List(PREFIX)),
)
LINK_SELECTOR = Struct(
    "network.LinkSelector",
    field("match", "Match", CEL),
)
RULE_PORT_SELECTOR = Struct(
    "network.RulePortSelector",
    always("ports", "Ports", List(PORT_RANGE, "network.PortRanges"), replace=True),
    always("protocol", "Protocol", PROTOCOL),
)
INGRESS_RULE = Struct(
    "network.IngressRule",
    always("subnet", "Subnet", PREFIX),
    field("except", "Except", PREFIX),
)
NAMESERVER_CONFIG = Struct(
    "network.NameserverConfig",
    always("address", "Address", ADDRESS),
    field("protocol", "Protocol", DNS_PROTOCOL),
    field("tlsServerName", "TLSServerName", STRING),
)
SEARCH_DOMAINS_CONFIG = Struct(
    "network.SearchDomainsConfig",
    field("domains", "SearchDomains", List(STRING, "network.SearchDomainList", keeps_empty=True), replace=True),
    field("disableDefault", "SearchDisableDefault", Pointer(BOOL)),
)
HOST_DNS_CONFIG = Struct(
    "network.HostDNSConfig",
    field("enabled", "HostDNSEnabled", Pointer(BOOL)),
    field("forwardKubeDNSToHost", "HostDNSForwardKubeDNSToHost", Pointer(BOOL)),
    field("resolveMemberNames", "HostDNSResolveMemberNames", Pointer(BOOL)),
)
NTP_CONFIG = Struct(
    "network.NTPConfig",
    field("servers", "Servers", List(STRING)),
    field("useNTS", "UseNTS", Pointer(BOOL)),
)
PTP_CONFIG = Struct(
    "network.PTPConfig",
    field("devices", "Devices", List(STRING)),
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
        "BlackholeRouteConfig",
        "network.BlackholeRouteConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("metric", "RouteMetric", Int("uint32")),
        ),
        named=True,
        since=(1, 13),
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
        "DHCPv4Config",
        "network.DHCPv4ConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("routeMetric", "ConfigRouteMetric", Int("uint32")),
            field("ignoreHostname", "ConfigIgnoreHostname", Pointer(BOOL)),
            field("ignoreRoutes", "ConfigIgnoreRoutes", Pointer(BOOL)),
            field("clientIdentifier", "ConfigClientIdentifier", Pointer(CLIENT_IDENTIFIER)),
            field("duidRaw", "ConfigDUIDRaw", HARDWARE_ADDRESS),
        ),
        named=True,
        since=(1, 12),
    ),
    DocumentKind(
        "DHCPv6Config",
        "network.DHCPv6ConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("routeMetric", "ConfigRouteMetric", Int("uint32")),
            field("ignoreHostname", "ConfigIgnoreHostname", Pointer(BOOL)),
            field("clientIdentifier", "ConfigClientIdentifier", Pointer(CLIENT_IDENTIFIER)),
            field("duidRaw", "ConfigDUIDRaw", HARDWARE_ADDRESS),
        ),
        named=True,
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
        "HCloudVIPConfig",
        "network.HCloudVIPConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            always("link", "LinkName", STRING),
            always("apiToken", "APIToken", STRING),
        ),
        named=True,
        conflicts=frozenset(("Layer2VIPConfig",)),
        since=(1, 12),
    ),
    DocumentKind(
        "HTTPProbeConfig",
        "network.HTTPProbeConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            *COMMON_PROBE_CONFIG_FIELDS,
            always("url", "HTTPEndpoint", META_URL),
            field("timeout", "HTTPTimeout", DURATION),
        ),
        named=True,
        since=(1, 14),
    ),
    DocumentKind(
        "HostnameConfig",
        "network.HostnameConfigV1Alpha1",
        (
            field("auto", "ConfigAuto", Pointer(AUTO_HOSTNAME)),
            field("hostname", "ConfigHostname", STRING),
        ),
        since=(1, 12),
    ),
    DocumentKind(
        "KubeSpanConfig",
        "network.KubeSpanConfigV1Alpha1",
        (
            field("enabled", "ConfigEnabled", Pointer(BOOL)),
            field("advertiseKubernetesNetworks", "ConfigAdvertiseKubernetesNetworks", Pointer(BOOL)),
            field("allowDownPeerBypass", "ConfigAllowDownPeerBypass", Pointer(BOOL)),
            field("harvestExtraEndpoints", "ConfigHarvestExtraEndpoints", Pointer(BOOL)),
            field("mtu", "ConfigMTU", Pointer(Int("uint32"))),
            field("filters", "ConfigFilters", Pointer(KUBE_SPAN_FILTERS_CONFIG)),
        ),
        since=(1, 13),
    ),
    DocumentKind(
        "KubeSpanEndpointsConfig",
        "network.KubespanEndpointsConfigV1Alpha1",
        (always("extraAnnouncedEndpoints", "ExtraAnnouncedEndpointsConfig", List(ADDRESS_PORT)),),
    ),
    DocumentKind(
        "Layer2VIPConfig",
        "network.Layer2VIPConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            always("link", "LinkName", STRING),
        ),
        named=True,
        conflicts=frozenset(("HCloudVIPConfig",)),
        since=(1, 12),
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
        "NetworkDefaultActionConfig",
        "network.DefaultActionConfigV1Alpha1",
        (always("ingress", "Ingress", DEFAULT_ACTION),),
    ),
    DocumentKind(
        "NetworkRuleConfig",
        "network.RuleConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            always("portSelector", "PortSelector", RULE_PORT_SELECTOR),
            always("ingress", "Ingress", List(INGRESS_RULE, "network.IngressConfig"), replace=True),
        ),
        named=True,
    ),
    DocumentKind(
        "ResolverConfig",
        "network.ResolverConfigV1Alpha1",
        (
            field("nameservers", "ResolverNameservers", List(NAMESERVER_CONFIG)),
            field("searchDomains", "ResolverSearchDomains", SEARCH_DOMAINS_CONFIG),
            field("hostDNS", "ResolverHostDNS", HOST_DNS_CONFIG),
        ),
        since=(1, 12),
    ),
    DocumentKind(
        "RoutingRuleConfig",
        "network.RoutingRuleConfigV1Alpha1",
        (
            always("name", "RulePriority", STRING),
            field("src", "RuleSrc", PREFIX),
            field("dst", "RuleDst", PREFIX),
            always("table", "RuleTable", ROUTING_TABLE),
            field("action", "RuleAction", ROUTING_RULE_ACTION),
            field("iifName", "RuleIIFName", STRING),
            field("oifName", "RuleOIFName", STRING),
            field("fwMark", "RuleFwMark", Int("uint32")),
            field("fwMask", "RuleFwMask", Int("uint32")),
        ),
        named=True,
        since=(1, 13),
    ),
    DocumentKind(
        "StaticHostConfig",
        "network.StaticHostConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            always("hostnames", "Hostnames", List(STRING)),
        ),
        named=True,
        since=(1, 12),
    ),
    DocumentKind(
        "TCPProbeConfig",
        "network.TCPProbeConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            *COMMON_PROBE_CONFIG_FIELDS,
            always("endpoint", "TCPEndpoint", STRING),
            field("timeout", "TCPTimeout", DURATION),
        ),
        named=True,
        since=(1, 13),
    ),
    DocumentKind(
        "TimeSyncConfig",
        "network.TimeSyncConfigV1Alpha1",
        (
            field("enabled", "TimeEnabled", Pointer(BOOL)),
            field("bootTimeout", "TimeBootTimeout", DURATION),
            field("ntp", "TimeNTP", Pointer(NTP_CONFIG)),
            field("ptp", "TimePTP", Pointer(PTP_CONFIG)),
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
