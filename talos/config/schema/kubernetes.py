"""Documents of Kubernetes components."""

from __future__ import annotations

from talos.config.schema.composite import List, Map, Pointer, Struct, always, field
from talos.config.schema.formats import ARGUMENTS, FREE_FORM, META_URL, PREFIX
from talos.config.schema.kinds import DocumentKind
from talos.config.schema.types import BOOL, STRING, Int

CERTIFICATE_AND_KEY = Struct(
    "meta.CertificateAndKey",
    field("cert", "Cert", STRING),
    field("key", "Key", STRING),
)
RESOURCES_CONFIG = Struct(
    "k8s.ResourcesConfig",
    field("requests", "Requests", FREE_FORM),
    field("limits", "Limits", FREE_FORM),
)
NODE_IP_CONFIG = Struct(
    "k8s.NodeIPConfig",
    field("validSubnets", "NodeIPValidSubnets", List(STRING)),
)
ISSUER_SERVICE_ACCOUNT_CONFIG = Struct(
    "k8s.IssuerServiceAccountConfig",
    always("privateKey", "PrivateKey", STRING),
    always("issuerURL", "IssuerURL", META_URL),
)
ACCEPTED_SERVICE_ACCOUNT_CONFIG = Struct(
    "k8s.AcceptedServiceAccountConfig",
    field("publicKeys", "PublicKeys", List(STRING)),
    field("issuers", "Issuers", List(META_URL)),
    field("audiences", "Audiences", List(STRING)),
)
KINDS = (
    DocumentKind(
        "KubeAPIServerCAConfig",
        "k8s.KubeAPIServerCAConfigV1Alpha1",
        (
            field("issuingCA", "APIIssuingCA", Pointer(CERTIFICATE_AND_KEY)),
            field("acceptedCAs", "APIAcceptedCAs", List(STRING)),
        ),
        since=(1, 14),
    ),
    DocumentKind(
        "KubeAPIServerConfig",
        "k8s.KubeAPIServerConfigV1Alpha1",
        (
            always("image", "PodImage", STRING),
            field("extraArgs", "PodArgs", ARGUMENTS),
            field("env", "PodEnv", Map(STRING)),
            field("resources", "PodResources", RESOURCES_CONFIG),
            field("apiPort", "PodAPIPort", Pointer(Int("int"))),
            field("certExtraSANs", "PodCertExtraSANs", List(STRING)),
            field("startupProbes", "PodStartupProbes", Pointer(BOOL)),
        ),
        control_plane_only=True,
        since=(1, 14),
    ),
    DocumentKind(
        "KubeAdmissionControlConfig",
        "k8s.KubeAdmissionControlConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            always("configuration", "PluginConfig", FREE_FORM),
        ),
        named=True,
        control_plane_only=True,
        since=(1, 14),
    ),
    DocumentKind(
        "KubeAggregatorCAConfig",
        "k8s.KubeAggregatorCAConfigV1Alpha1",
        (
            field("issuingCA", "AggregatorIssuingCA", Pointer(CERTIFICATE_AND_KEY)),
            field("acceptedCAs", "AggregatorAcceptedCAs", List(STRING)),
        ),
        control_plane_only=True,
        since=(1, 14),
    ),
    DocumentKind(
        "KubeAuditPolicyConfig",
        "k8s.KubeAuditPolicyConfigV1Alpha1",
        (always("configuration", "AuditConfig", FREE_FORM, replace=True),),
        control_plane_only=True,
        since=(1, 14),
    ),
    DocumentKind(
        "KubeAuthenticationConfig",
        "k8s.KubeAuthenticationConfigV1Alpha1",
        (always("configuration", "AuthConfig", FREE_FORM, replace=True),),
        control_plane_only=True,
        since=(1, 14),
    ),
    DocumentKind(
        "KubeAuthorizerConfig",
        "k8s.KubeAuthorizerConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            always("type", "AuthorizerType", STRING),
            field("webhook", "AuthorizerWebhook", FREE_FORM),
        ),
        named=True,
        control_plane_only=True,
        since=(1, 14),
    ),
    DocumentKind(
        "KubeClusterConfig",
        "k8s.KubeClusterConfigV1Alpha1",
        (
            always("clusterName", "ClusterNameConfig", STRING),
            always("endpoint", "ClusterEndpointConfig", META_URL),
        ),
        since=(1, 14),
    ),
    DocumentKind(
        "KubeControllerManagerConfig",
        "k8s.KubeControllerManagerConfigV1Alpha1",
        (
            field("enabled", "PodEnabled", Pointer(BOOL)),
            always("image", "PodImage", STRING),
            field("extraArgs", "PodArgs", ARGUMENTS),
            field("env", "PodEnv", Map(STRING)),
            field("resources", "PodResources", RESOURCES_CONFIG),
        ),
        control_plane_only=True,
        since=(1, 14),
    ),
    DocumentKind(
        "KubeCoreDNSConfig",
        "k8s.KubeCoreDNSConfigV1Alpha1",
        (
            field("enabled", "PodEnabled", Pointer(BOOL)),
            field("image", "PodImage", STRING),
        ),
        control_plane_only=True,
        since=(1, 14),
    ),
    DocumentKind(
        "KubeCredentialProviderConfig",
        "k8s.KubeCredentialProviderConfigV1Alpha1",
        (always("configuration", "CredentialProviderConfig", FREE_FORM, replace=True),),
        since=(1, 14),
    ),
    DocumentKind(
        "KubeEtcdEncryptionConfig",
        "k8s.KubeEtcdEncryptionConfigV1Alpha1",
        (always("config", "Config", FREE_FORM),),
        control_plane_only=True,
        since=(1, 14),
    ),
    DocumentKind(
        "KubeExternalManifestConfig",
        "k8s.KubeExternalManifestConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("headers", "HeadersSpec", Map(STRING)),
            always("url", "URLSpec", META_URL),
        ),
        named=True,
        since=(1, 14),
    ),
    DocumentKind(
        "KubeFlannelCNIConfig",
        "k8s.KubeFlannelCNIConfigV1Alpha1",
        (
            always("backendType", "FlannelBackendType", STRING),
            field("backendPort", "FlannelBackendPort", Int("uint16")),
            field("backendMTU", "FlannelBackendMTU", Int("uint32")),
            field("backendExtraConfig", "FlannelBackendExtraConfig", FREE_FORM),
            field("resources", "FlannelResources", RESOURCES_CONFIG),
            field("extraArgs", "FlannelExtraArgs", List(STRING)),
            field("kubeNetworkPoliciesEnabled", "FlannelKubeNetworkPoliciesEnabled", Pointer(BOOL)),
        ),
        control_plane_only=True,
        since=(1, 14),
    ),
    DocumentKind(
        "KubeInlineManifestConfig",
        "k8s.KubeInlineManifestConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            always("manifest", "ManifestSpec", STRING),
        ),
        named=True,
        since=(1, 14),
    ),
    DocumentKind(
        "KubeNetworkConfig",
        "k8s.KubeNetworkConfigV1Alpha1",
        (
            always("dnsDomain", "NetworkDNSDomain", STRING),
            always("podSubnets", "NetworkPodSubnets", List(PREFIX), replace=True),
            always("serviceSubnets", "NetworkServiceSubnets", List(PREFIX), replace=True),
            field("nodeCIDRMaskSizeIPv4", "NetworkNodeCIDRMaskSizeIPv4", Int("int")),
            field("nodeCIDRMaskSizeIPv6", "NetworkNodeCIDRMaskSizeIPv6", Int("int")),
        ),
        since=(1, 14),
    ),
    DocumentKind(
        "KubeNodeConfig",
        "k8s.KubeNodeConfigV1Alpha1",
        (
            field("skipNodeRegistration", "SkipNodeRegistrationConfig", Pointer(BOOL)),
            field("registerWithFQDN", "RegisterWithFQDNConfig", Pointer(BOOL)),
            always("nodeIP", "NodeIPConfig", NODE_IP_CONFIG),
            field("labels", "LabelsConfig", Map(STRING)),
            field("annotations", "AnnotationsConfig", Map(STRING)),
            field("taints", "TaintsConfig", Map(STRING)),
        ),
        since=(1, 14),
    ),
    DocumentKind(
        "KubePrismConfig",
        "k8s.KubePrismConfigV1Alpha1",
        (
            always("port", "PortConfig", Int("int")),
            field("tlsServerName", "TLSServerNameConfig", STRING),
        ),
        since=(1, 14),
    ),
    DocumentKind(
        "KubeProxyConfig",
        "k8s.KubeProxyConfigV1Alpha1",
        (
            field("enabled", "ProxyEnabled", Pointer(BOOL)),
            field("image", "ProxyImage", STRING),
            field("mode", "ProxyMode", STRING),
            always("config", "ProxyConfig", FREE_FORM),
            field("extraArgs", "ProxyExtraArgs", ARGUMENTS),
            field("resources", "ProxyResources", RESOURCES_CONFIG),
        ),
        control_plane_only=True,
        since=(1, 14),
    ),
    DocumentKind(
        "KubeSchedulerConfig",
        "k8s.KubeSchedulerConfigV1Alpha1",
        (
            field("enabled", "PodEnabled", Pointer(BOOL)),
            always("image", "PodImage", STRING),
            always("config", "PodConfig", FREE_FORM),
            field("extraArgs", "PodArgs", ARGUMENTS),
            field("env", "PodEnv", Map(STRING)),
            field("resources", "PodResources", RESOURCES_CONFIG),
        ),
        control_plane_only=True,
        since=(1, 14),
    ),
    DocumentKind(
        "KubeServiceAccountConfig",
        "k8s.KubeServiceAccountConfigV1Alpha1",
        (
            always("issuer", "ServiceIssuer", ISSUER_SERVICE_ACCOUNT_CONFIG),
            field("accepted", "ServiceAccepted", ACCEPTED_SERVICE_ACCOUNT_CONFIG),
        ),
        control_plane_only=True,
        since=(1, 14),
    ),
    DocumentKind(
        "KubeStaticPodConfig",
        "k8s.KubeStaticPodConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            always("pod", "PodSpec", FREE_FORM, replace=True),
        ),
        named=True,
        since=(1, 14),
    ),
    DocumentKind(
        "KubeTalosAPIAccessConfig",
        "k8s.KubeTalosAPIAccessConfigV1Alpha1",
        (
            field("allowedRoles", "AccessAllowedRoles", List(STRING)),
            field("allowedKubernetesNamespaces", "AccessAllowedKubernetesNamespaces", List(STRING)),
        ),
        control_plane_only=True,
        since=(1, 14),
    ),
    DocumentKind(
        "KubeletConfig",
        "k8s.KubeletConfigV1Alpha1",
        (
            always("image", "KubeletImage", STRING),
            always("config", "KubeletConfig", FREE_FORM),
            field("extraArgs", "KubeletArgs", ARGUMENTS),
            field("clusterDNS", "KubeletClusterDNS", List(STRING)),
            field("defaultRuntimeSeccompProfileEnabled", "KubeletDefaultRuntimeSeccompProfileEnabled", Pointer(BOOL)),
        ),
        since=(1, 14),
    ),
)
