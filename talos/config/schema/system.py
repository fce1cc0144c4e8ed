"""Documents of the system: management, discovery, images, containers, kernel."""

from __future__ import annotations

from talos.config.schema.composite import KeyedList, List, Map, Pointer, Struct, always, field, same
from talos.config.schema.formats import CEL, DURATION, FILE_MODE, FREE_FORM, META_URL
from talos.config.schema.kinds import DocumentKind
from talos.config.schema.types import BOOL, STRING, Int

CONTAINER_RUN_AS = Struct(
    "container.ContainerRunAs",
    field("uid", "RunAsUID", Pointer(Int("int32"))),
    field("gid", "RunAsGID", Pointer(Int("int32"))),
)
USER_VOLUME_MOUNT = Struct(
    "container.UserVolumeMount",
    always("name", "VolumeName", STRING),
    always("destination", "MountDestination", STRING),
    field("options", "MountOpts", List(STRING)),
)
TMPFS_MOUNT = Struct(
    "container.TmpfsMount",
    always("destination", "MountDestination", STRING),
    field("size", "MountSize", STRING),
    field("options", "MountOpts", List(STRING)),
)
HOST_PATH_MOUNT = Struct(
    "container.HostPathMount",
    always("source", "MountSource", STRING),
    always("destination", "MountDestination", STRING),
    field("options", "MountOpts", List(STRING)),
)
CONTAINER_MOUNT = Struct(
    "container.ContainerMount",
    field("userVolume", "UserVolumeMount", Pointer(USER_VOLUME_MOUNT)),
    field("tmpfs", "TmpfsMount", Pointer(TMPFS_MOUNT)),
    field("hostPath", "HostPathMount", Pointer(HOST_PATH_MOUNT)),
)
CONTAINER_CAPABILITIES = Struct(
    "container.ContainerCapabilities",
    field("add", "CapabilitiesAddConfig", List(STRING)),
    field("drop", "CapabilitiesDropConfig", List(STRING)),
)
CONTAINER_SECURITY = Struct(
    "container.ContainerSecurity",
    field("profile", "SecurityProfile", STRING),
    field("capabilities", "SecurityCapabilities", Pointer(CONTAINER_CAPABILITIES)),
    field("machinedAccess", "SecurityMachinedAccess", BOOL),
)
CONTAINER_NETWORK = Struct(
    "container.ContainerNetwork",
    field("mode", "NetworkMode", STRING),
)
CONTAINER_RESOURCE_LIMITS = Struct(
    "container.ContainerResourceLimits",
    field("cpu", "CPU", STRING),
    field("memory", "Memory", STRING),
)
CONTAINER_RESOURCES = Struct(
    "container.ContainerResources",
    field("limits", "Limits", Pointer(CONTAINER_RESOURCE_LIMITS)),
)
CONTAINER_DEPENDS_ON = Struct(
    "container.ContainerDependsOn",
    field("paths", "PathsConfig", List(STRING)),
    field("networks", "NetworksConfig", List(STRING)),
    field("time", "TimeConfig", Pointer(BOOL)),
    field("containers", "ContainersConfig", List(STRING)),
)
CONFIG_FILE = Struct(
    "extensions.ConfigFile",
    always("content", "ConfigFileContent", STRING),
    always("mountPath", "ConfigFileMountPath", STRING),
)
LOCAL_IMAGE_CACHE_CONFIG = Struct(
    "cri.LocalImageCacheConfig",
    field("enabled", "ConfigEnabled", Pointer(BOOL)),
)
IMAGE_KEYLESS_VERIFIER = Struct(
    "security.ImageKeylessVerifierV1Alpha1",
    field("issuer", "KeylessIssuer", STRING),
    field("subject", "KeylessSubject", STRING),
    field("subjectRegex", "KeylessSubjectRegex", STRING),
)
IMAGE_PUBLIC_KEY_VERIFIER = Struct(
    "security.ImagePublicKeyVerifierV1Alpha1",
    field("certificate", "ConfigCertificate", STRING),
)
IMAGE_VERIFICATION_RULE = Struct(
    "security.ImageVerificationRuleV1Alpha1",
    field("image", "RuleImagePattern", STRING),
    field("skip", "RuleSkip", Pointer(BOOL)),
    field("deny", "RuleDeny", Pointer(BOOL)),
    field("keyless", "RuleKeylessVerifier", Pointer(IMAGE_KEYLESS_VERIFIER)),
    field("publicKey", "RulePublicKeyVerifier", Pointer(IMAGE_PUBLIC_KEY_VERIFIER)),
)
REGISTRY_ENDPOINT = Struct(
    "cri.RegistryEndpoint",
    always("url", "EndpointURL", META_URL),
    field("overridePath", "EndpointOverridePath", Pointer(BOOL)),
)
CERTIFICATE_AND_KEY = Struct(
    "meta.CertificateAndKey",
    field("cert", "Cert", STRING),
    field("key", "Key", STRING),
)
INSTALLER_SPEC = Struct(
    "runtime.InstallerSpec",
    field("image", "Image", STRING),
)
DISK_SELECTOR_SPEC = Struct(
    "runtime.DiskSelectorSpec",
    field("match", "Match", CEL),
)
PROVISIONING_SPEC = Struct(
    "runtime.ProvisioningSpec",
    field("diskSelector", "DiskSelector", DISK_SELECTOR_SPEC),
    field("wipe", "Wipe", Pointer(BOOL)),
)
KINDS = (
    DocumentKind(
        "CRIBaseRuntimeSpecConfig",
        "cri.CRIBaseRuntimeSpecConfigV1Alpha1",
        (field("overrides", "OverridesConfig", FREE_FORM, replace=True),),
        since=(1, 14),
    ),
    DocumentKind(
        "CRICustomizationConfig",
        "cri.CRICustomizationConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            always("content", "CustomizationContent", STRING),
        ),
        named=True,
        since=(1, 14),
    ),
    DocumentKind(
        "ContainerConfig",
        "container.ContainerConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            always("image", "ContainerImage", STRING),
            field("entrypoint", "ContainerEntrypoint", List(STRING)),
            field("args", "ContainerArgs", List(STRING)),
            field("workingDir", "ContainerWorkingDir", STRING),
            field("runAs", "RunAsConfig", Pointer(CONTAINER_RUN_AS)),
            field("environment", "ContainerEnvironment", List(STRING)),
            field("mounts", "MountsConfig", List(CONTAINER_MOUNT)),
            field("security", "SecurityConfig", Pointer(CONTAINER_SECURITY)),
            field("network", "NetworkConfig", Pointer(CONTAINER_NETWORK)),
            field("resources", "ResourcesConfig", Pointer(CONTAINER_RESOURCES)),
            field("dependsOn", "DependsOnConfig", Pointer(CONTAINER_DEPENDS_ON)),
        ),
        named=True,
        since=(1, 14),
    ),
    DocumentKind(
        "DiscoveryIdentityConfig",
        "cluster.DiscoveryIdentityConfigV1Alpha1",
        (
            always("clusterID", "MetaClusterID", STRING),
            always("clusterSecret", "MetaClusterSecret", STRING),
        ),
        since=(1, 14),
    ),
    DocumentKind(
        "DiscoveryServiceConfig",
        "cluster.DiscoveryServiceConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            always("endpoint", "EndpointURL", META_URL),
        ),
        named=True,
        since=(1, 14),
    ),
    DocumentKind(
        "EnvironmentConfig",
        "runtime.EnvironmentV1Alpha1",
        (always("variables", "EnvironmentVariables", Map(STRING)),),
        since=(1, 13),
    ),
    DocumentKind(
        "EtcFileConfig",
        "runtime.EtcFileConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            always("mode", "FileMode", FILE_MODE),
            always("contents", "Contents", STRING),
        ),
        named=True,
        since=(1, 14),
    ),
    DocumentKind(
        "EventSinkConfig",
        "runtime.EventSinkV1Alpha1",
        (always("endpoint", "Endpoint", STRING),),
    ),
    DocumentKind(
        "ExtensionServiceConfig",
        "extensions.ServiceConfigV1Alpha1",
        (
            always("name", "ServiceName", STRING),
            field(
                "configFiles",
                "ServiceConfigFiles",
                KeyedList(CONFIG_FILE, "extensions.ConfigFileList", same("mountPath")),
            ),
            field("environment", "ServiceEnvironment", List(STRING)),
        ),
        named=True,
    ),
    DocumentKind(
        "ImageCacheConfig",
        "cri.ImageCacheConfigV1Alpha1",
        (always("local", "LocalConfig", LOCAL_IMAGE_CACHE_CONFIG),),
        since=(1, 14),
    ),
    DocumentKind(
        "ImageVerificationConfig",
        "security.ImageVerificationConfigV1Alpha1",
        (
            field(
                "rules",
                "ConfigRules",
                KeyedList(
                    IMAGE_VERIFICATION_RULE,
                    "security.ImageVerificationRules",
                    same("image", last=True),
                    replace_items=True,
                ),
            ),
        ),
        since=(1, 13),
    ),
    DocumentKind(
        "KernelModuleConfig",
        "runtime.KernelModuleConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("parameters", "ModuleParameters", List(STRING)),
        ),
        named=True,
        since=(1, 14),
    ),
    DocumentKind(
        "KmsgLogConfig",
        "runtime.KmsgLogV1Alpha1",
        (
            always("name", "MetaName", STRING),
            always("url", "KmsgLogURL", META_URL),
        ),
        named=True,
    ),
    DocumentKind(
        "OOMConfig",
        "runtime.OOMV1Alpha1",
        (
            field("triggerExpression", "OOMTriggerExpression", CEL),
            field("cgroupRankingExpression", "OOMCgroupRankingExpression", CEL),
            field("strictCgroupClassOrdering", "OOMStrictCgroupClassOrdering", Pointer(BOOL)),
            field("sampleInterval", "OOMSampleInterval", DURATION),
        ),
        since=(1, 12),
    ),
    DocumentKind(
        "PCIDriverRebindConfig",
        "hardware.PCIDriverRebindConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            always("targetDriver", "PCITargetDriver", STRING),
        ),
        named=True,
        since=(1, 10),
    ),
    DocumentKind(
        "RegistryAuthConfig",
        "cri.RegistryAuthConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("username", "RegistryUsername", STRING),
            field("password", "RegistryPassword", STRING),
            field("auth", "RegistryAuth", STRING),
            field("identityToken", "RegistryIdentityToken", STRING),
        ),
        named=True,
        since=(1, 12),
    ),
    DocumentKind(
        "RegistryMirrorConfig",
        "cri.RegistryMirrorConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("endpoints", "RegistryEndpoints", List(REGISTRY_ENDPOINT)),
            field("skipFallback", "RegistrySkipFallback", Pointer(BOOL)),
        ),
        named=True,
        since=(1, 12),
    ),
    DocumentKind(
        "RegistryTLSConfig",
        "cri.RegistryTLSConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("clientIdentity", "TLSClientIdentity", Pointer(CERTIFICATE_AND_KEY)),
            field("ca", "TLSCA", STRING),
            field("insecureSkipVerify", "TLSInsecureSkipVerify", Pointer(BOOL)),
        ),
        named=True,
        since=(1, 12),
    ),
    DocumentKind(
        "SecurityProfileConfig",
        "runtime.SecurityProfileConfigV1Alpha1",
        (field("workloadIsolation", "WorkloadIsolationEnabled", Pointer(BOOL)),),
        since=(1, 14),
    ),
    DocumentKind(
        "SideroLinkConfig",
        "siderolink.ConfigV1Alpha1",
        (
            always("apiUrl", "APIUrlConfig", META_URL),
            field("uniqueToken", "UniqueTokenConfig", STRING),
        ),
    ),
    DocumentKind(
        "SysctlConfig",
        "runtime.SysctlConfigV1Alpha1",
        (always("params", "Params", Map(STRING)),),
        since=(1, 14),
    ),
    DocumentKind(
        "SysfsConfig",
        "runtime.SysfsConfigV1Alpha1",
        (always("params", "Params", Map(STRING)),),
        since=(1, 14),
    ),
    DocumentKind(
        "TrustedRootsConfig",
        "security.TrustedRootsConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            always("certificates", "Certificates", STRING),
        ),
        named=True,
    ),
    DocumentKind(
        "UdevRulesConfig",
        "runtime.UdevRulesConfigV1Alpha1",
        (field("rules", "UdevRules", List(STRING)),),
        since=(1, 14),
    ),
    DocumentKind(
        "UnattendedInstallConfig",
        "runtime.UnattendedInstallConfigV1Alpha1",
        (
            field("reboot", "Reboot", Pointer(BOOL)),
            always("installer", "Installer", INSTALLER_SPEC),
            always("provisioning", "ProvisioningSpec", PROVISIONING_SPEC),
        ),
        since=(1, 14),
    ),
    DocumentKind(
        "WatchdogTimerConfig",
        "runtime.WatchdogTimerV1Alpha1",
        (
            always("device", "WatchdogDevice", STRING),
            field("timeout", "WatchdogTimeout", DURATION),
        ),
    ),
)
