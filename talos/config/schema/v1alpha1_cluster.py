"""v1alpha1: `cluster`."""

from __future__ import annotations

from talos.config.schema.composite import KeyedList, List, Map, Pointer, Struct, always, field, same
from talos.config.schema.formats import (
    ARGUMENTS,
    CERTIFICATE,
    CERTIFICATE_AND_KEY,
    DURATION,
    ENDPOINT,
    FREE_FORM,
    KEY,
    MANIFEST_TEXT,
)
from talos.config.schema.types import BOOL, STRING, Int

CONTROL_PLANE_CONFIG = Struct(
    "v1alpha1.ControlPlaneConfig",
    always("endpoint", "Endpoint", Pointer(ENDPOINT)),
    field("localAPIServerPort", "LocalAPIServerPort", Int("int")),
)
FLANNEL_CNI_CONFIG = Struct(
    "v1alpha1.FlannelCNIConfig",
    field("extraArgs", "FlanneldExtraArgs", List(STRING)),
    field("kubeNetworkPoliciesEnabled", "FlannelKubeNetworkPoliciesEnabled", Pointer(BOOL)),
)
CNI_CONFIG = Struct(
    "v1alpha1.CNIConfig",
    field("name", "CNIName", STRING),
    field("urls", "CNIUrls", List(STRING)),
    field("flannel", "CNIFlannel", Pointer(FLANNEL_CNI_CONFIG)),
)
CLUSTER_NETWORK_CONFIG = Struct(
    "v1alpha1.ClusterNetworkConfig",
    field("cni", "CNI", Pointer(CNI_CONFIG)),
    always("dnsDomain", "DNSDomain", STRING),
    always("podSubnets", "PodSubnet", List(STRING), replace=True),
    always("serviceSubnets", "ServiceSubnet", List(STRING), replace=True),
)
VOLUME_MOUNT_CONFIG = Struct(
    "v1alpha1.VolumeMountConfig",
    always("hostPath", "VolumeHostPath", STRING),
    always("mountPath", "VolumeMountPath", STRING),
    field("readonly", "VolumeReadOnly", BOOL),
)
ADMISSION_PLUGIN_CONFIG = Struct(
    "v1alpha1.AdmissionPluginConfig",
    always("name", "PluginName", STRING),
    always("configuration", "PluginConfiguration", FREE_FORM),
)
RESOURCES_CONFIG = Struct(
    "v1alpha1.ResourcesConfig",
    field("requests", "Requests", FREE_FORM),
    field("limits", "Limits", FREE_FORM),
)
AUTHORIZATION_CONFIG_AUTHORIZER_CONFIG = Struct(
    "v1alpha1.AuthorizationConfigAuthorizerConfig",
    always("type", "AuthorizerType", STRING),
    always("name", "AuthorizerName", STRING),
    field("webhook", "AuthorizerWebhook", FREE_FORM),
)
API_SERVER_CONFIG = Struct(
    "v1alpha1.APIServerConfig",
    field("image", "ContainerImage", STRING),
    field("extraArgs", "ExtraArgsConfig", ARGUMENTS),
    field("extraVolumes", "ExtraVolumesConfig", List(VOLUME_MOUNT_CONFIG)),
    field("env", "EnvConfig", Map(STRING)),
    field("certSANs", "ExtraCertSANs", List(STRING)),
    field("disablePodSecurityPolicy", "DisablePodSecurityPolicyConfig", Pointer(BOOL)),
    field(
        "admissionControl",
        "AdmissionControlConfig",
        KeyedList(Pointer(ADMISSION_PLUGIN_CONFIG), "v1alpha1.AdmissionPluginConfigList", same("name")),
    ),
    field("auditPolicy", "AuditPolicyConfig", FREE_FORM, replace=True),
    field("resources", "ResourcesConfig", Pointer(RESOURCES_CONFIG)),
    field(
        "authorizationConfig",
        "AuthorizationConfigConfig",
        List(Pointer(AUTHORIZATION_CONFIG_AUTHORIZER_CONFIG), "v1alpha1.AuthorizationConfigAuthorizerConfigList"),
    ),
)
CONTROLLER_MANAGER_CONFIG = Struct(
    "v1alpha1.ControllerManagerConfig",
    field("image", "ContainerImage", STRING),
    field("extraArgs", "ExtraArgsConfig", ARGUMENTS),
    field("extraVolumes", "ExtraVolumesConfig", List(VOLUME_MOUNT_CONFIG)),
    field("env", "EnvConfig", Map(STRING)),
    field("resources", "ResourcesConfig", Pointer(RESOURCES_CONFIG)),
)
PROXY_CONFIG = Struct(
    "v1alpha1.ProxyConfig",
    field("disabled", "Disabled", Pointer(BOOL)),
    field("image", "ContainerImage", STRING),
    field("mode", "ModeConfig", STRING),
    field("extraArgs", "ExtraArgsConfig", ARGUMENTS),
)
SCHEDULER_CONFIG = Struct(
    "v1alpha1.SchedulerConfig",
    field("image", "ContainerImage", STRING),
    field("extraArgs", "ExtraArgsConfig", ARGUMENTS),
    field("extraVolumes", "ExtraVolumesConfig", List(VOLUME_MOUNT_CONFIG)),
    field("env", "EnvConfig", Map(STRING)),
    field("resources", "ResourcesConfig", Pointer(RESOURCES_CONFIG)),
    field("config", "SchedulerConfig", FREE_FORM),
)
REGISTRY_KUBERNETES_CONFIG = Struct(
    "v1alpha1.RegistryKubernetesConfig",
    field("disabled", "RegistryDisabled", Pointer(BOOL)),
)
REGISTRY_SERVICE_CONFIG = Struct(
    "v1alpha1.RegistryServiceConfig",
    field("disabled", "RegistryDisabled", Pointer(BOOL)),
    field("endpoint", "RegistryEndpoint", STRING),
)
DISCOVERY_REGISTRIES_CONFIG = Struct(
    "v1alpha1.DiscoveryRegistriesConfig",
    always("kubernetes", "RegistryKubernetes", REGISTRY_KUBERNETES_CONFIG),
    always("service", "RegistryService", REGISTRY_SERVICE_CONFIG),
)
CLUSTER_DISCOVERY_CONFIG = Struct(
    "v1alpha1.ClusterDiscoveryConfig",
    field("enabled", "DiscoveryEnabled", Pointer(BOOL)),
    always("registries", "DiscoveryRegistries", DISCOVERY_REGISTRIES_CONFIG),
)
ETCD_CONFIG = Struct(
    "v1alpha1.EtcdConfig",
    field("image", "ContainerImage", STRING),
    always("ca", "RootCA", Pointer(CERTIFICATE_AND_KEY)),
    field("extraArgs", "EtcdExtraArgs", ARGUMENTS),
    field("subnet", "EtcdSubnet", STRING),
    field("advertisedSubnets", "EtcdAdvertisedSubnets", List(STRING)),
    field("listenSubnets", "EtcdListenSubnets", List(STRING)),
)
CORE_DNS = Struct(
    "v1alpha1.CoreDNS",
    field("disabled", "CoreDNSDisabled", Pointer(BOOL)),
    field("image", "CoreDNSImage", STRING),
)
EXTERNAL_CLOUD_PROVIDER_CONFIG = Struct(
    "v1alpha1.ExternalCloudProviderConfig",
    field("enabled", "ExternalEnabled", Pointer(BOOL)),
    field("manifests", "ExternalManifests", List(STRING)),
)
CLUSTER_INLINE_MANIFEST = Struct(
    "v1alpha1.ClusterInlineManifest",
    always("name", "InlineManifestName", STRING),
    always("contents", "InlineManifestContents", MANIFEST_TEXT),
)
ADMIN_KUBECONFIG_CONFIG = Struct(
    "v1alpha1.AdminKubeconfigConfig",
    field("certLifetime", "AdminKubeconfigCertLifetime", DURATION),
)
CLUSTER_CONFIG = Struct(
    "v1alpha1.ClusterConfig",
    field("id", "ClusterID", STRING),
    field("secret", "ClusterSecret", STRING),
    field("controlPlane", "ControlPlane", Pointer(CONTROL_PLANE_CONFIG)),
    field("clusterName", "ClusterName", STRING),
    field("network", "ClusterNetwork", Pointer(CLUSTER_NETWORK_CONFIG)),
    field("token", "BootstrapToken", STRING),
    field("aescbcEncryptionSecret", "ClusterAESCBCEncryptionSecret", STRING),
    field("secretboxEncryptionSecret", "ClusterSecretboxEncryptionSecret", STRING),
    field("ca", "ClusterCA", Pointer(CERTIFICATE_AND_KEY)),
    field("acceptedCAs", "ClusterAcceptedCAs", List(Pointer(CERTIFICATE))),
    field("aggregatorCA", "ClusterAggregatorCA", Pointer(CERTIFICATE_AND_KEY)),
    field("serviceAccount", "ClusterServiceAccount", Pointer(KEY)),
    field("apiServer", "APIServerConfig", Pointer(API_SERVER_CONFIG)),
    field("controllerManager", "ControllerManagerConfig", Pointer(CONTROLLER_MANAGER_CONFIG)),
    field("proxy", "ProxyConfig", Pointer(PROXY_CONFIG)),
    field("scheduler", "SchedulerConfig", Pointer(SCHEDULER_CONFIG)),
    field("discovery", "ClusterDiscoveryConfig", Pointer(CLUSTER_DISCOVERY_CONFIG)),
    field("etcd", "EtcdConfig", Pointer(ETCD_CONFIG)),
    field("coreDNS", "CoreDNSConfig", Pointer(CORE_DNS)),
    field("externalCloudProvider", "ExternalCloudProviderConfig", Pointer(EXTERNAL_CLOUD_PROVIDER_CONFIG)),
    field("extraManifests", "ExtraManifests", List(STRING)),
    field("extraManifestHeaders", "ExtraManifestHeaders", Map(STRING)),
    field(
        "inlineManifests", "ClusterInlineManifests", List(CLUSTER_INLINE_MANIFEST, "v1alpha1.ClusterInlineManifests")
    ),
    field("adminKubeconfig", "AdminKubeconfigConfig", Pointer(ADMIN_KUBECONFIG_CONFIG)),
    field("allowSchedulingOnMasters", "AllowSchedulingOnMasters", Pointer(BOOL)),
    field("allowSchedulingOnControlPlanes", "AllowSchedulingOnControlPlanes", Pointer(BOOL)),
)
