"""Documents of addresses and network services."""

from __future__ import annotations

from talos.config.schema.composite import List, Pointer, Struct, always, field
from talos.config.schema.formats import (
    ADDRESS,
    ADDRESS_PORT,
    DURATION,
    HARDWARE_ADDRESS,
    META_URL,
    PORT_RANGE,
    PREFIX,
    ROUTING_TABLE,
)
from talos.config.schema.kinds import DocumentKind
from talos.config.schema.types import BOOL, STRING, Enum, Int

CLIENT_IDENTIFIER = Enum("nethelpers.ClientIdentifier", ["none", "mac", "duid"], "none")
AUTO_HOSTNAME = Enum("nethelpers.AutoHostnameKind", ["off", "talos-addr", "stable"], "off")
DEFAULT_ACTION = Enum("nethelpers.DefaultAction", ["accept", "block"], "accept")
PROTOCOL = Enum("nethelpers.Protocol", ["icmp", "tcp", "udp", "icmpv6"], "Protocol(0)")
DNS_PROTOCOL = Enum("nethelpers.DNSProtocol", ["Do53", "DoT", "DoH"], "Do53")
ROUTING_RULE_ACTION = Enum(
    "nethelpers.RoutingRuleAction", ["unspec", "unicast", "blackhole", "unreachable", "prohibit"], "unspec"
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

KINDS = (
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
)
