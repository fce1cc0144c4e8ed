"""v1alpha1: `machine`."""

from __future__ import annotations

from talos.config.schema.composite import List, Map, Pointer, Struct, always, field
from talos.config.schema.formats import (
    ARGUMENTS,
    BASE64,
    CERTIFICATE,
    CERTIFICATE_AND_KEY,
    DISK_SIZE,
    DURATION,
    ENDPOINT,
    FILE_MODE,
    FREE_FORM,
    SIZE_CONDITION,
)
from talos.config.schema.types import BOOL, STRING, Int
from talos.config.schema.v1alpha1_network import NETWORK_CONFIG

MACHINE_CONTROLLER_MANAGER_CONFIG = Struct(
    "v1alpha1.MachineControllerManagerConfig",
    field("disabled", "MachineControllerManagerDisabled", Pointer(BOOL)),
)
MACHINE_SCHEDULER_CONFIG = Struct(
    "v1alpha1.MachineSchedulerConfig",
    field("disabled", "MachineSchedulerDisabled", Pointer(BOOL)),
)
MACHINE_CONTROL_PLANE_CONFIG = Struct(
    "v1alpha1.MachineControlPlaneConfig",
    field("controllerManager", "MachineControllerManager", Pointer(MACHINE_CONTROLLER_MANAGER_CONFIG)),
    field("scheduler", "MachineScheduler", Pointer(MACHINE_SCHEDULER_CONFIG)),
)
LINUX_ID_MAPPING = Struct(
    "v1alpha1.LinuxIDMapping",
    always("containerID", "ContainerID", Int("uint32")),
    always("hostID", "HostID", Int("uint32")),
    always("size", "Size", Int("uint32")),
)
EXTRA_MOUNT = Struct(
    "v1alpha1.ExtraMount",
    always("destination", "Destination", STRING),
    field("type", "Type", STRING),
    field("source", "Source", STRING),
    field("options", "Options", List(STRING)),
    field("uidMappings", "UIDMappings", List(LINUX_ID_MAPPING)),
    field("gidMappings", "GIDMappings", List(LINUX_ID_MAPPING)),
)
KUBELET_NODE_IP_CONFIG = Struct(
    "v1alpha1.KubeletNodeIPConfig",
    field("validSubnets", "KubeletNodeIPValidSubnets", List(STRING)),
)
KUBELET_CONFIG = Struct(
    "v1alpha1.KubeletConfig",
    field("image", "KubeletImage", STRING),
    field("clusterDNS", "KubeletClusterDNS", List(STRING)),
    field("extraArgs", "KubeletExtraArgs", ARGUMENTS),
    field("extraMounts", "KubeletExtraMounts", List(EXTRA_MOUNT)),
    field("extraConfig", "KubeletExtraConfig", FREE_FORM),
    field("credentialProviderConfig", "KubeletCredentialProviderConfig", FREE_FORM),
    field("defaultRuntimeSeccompProfileEnabled", "KubeletDefaultRuntimeSeccompProfileEnabled", Pointer(BOOL)),
    field("registerWithFQDN", "KubeletRegisterWithFQDN", Pointer(BOOL)),
    field("nodeIP", "KubeletNodeIP", Pointer(KUBELET_NODE_IP_CONFIG)),
    field("skipNodeRegistration", "KubeletSkipNodeRegistration", Pointer(BOOL)),
    field("disableManifestsDirectory", "KubeletDisableManifestsDirectory", Pointer(BOOL)),
)
DISK_PARTITION = Struct(
    "v1alpha1.DiskPartition",
    field("size", "DiskSize", DISK_SIZE),
    field("mountpoint", "DiskMountPoint", STRING),
)
MACHINE_DISK = Struct(
    "v1alpha1.MachineDisk",
    field("device", "DeviceName", STRING),
    field("partitions", "DiskPartitions", List(Pointer(DISK_PARTITION))),
)
INSTALL_DISK_SELECTOR = Struct(
    "v1alpha1.InstallDiskSelector",
    field("size", "Size", Pointer(SIZE_CONDITION)),
    field("name", "Name", STRING),
    field("model", "Model", STRING),
    field("serial", "Serial", STRING),
    field("modalias", "Modalias", STRING),
    field("uuid", "UUID", STRING),
    field("wwid", "WWID", STRING),
    field("type", "Type", STRING),
    field("busPath", "BusPath", STRING),
)
INSTALL_EXTENSION_CONFIG = Struct(
    "v1alpha1.InstallExtensionConfig",
    always("image", "ExtensionImage", STRING),
)
INSTALL_CONFIG = Struct(
    "v1alpha1.InstallConfig",
    field("disk", "InstallDisk", STRING),
    field("diskSelector", "InstallDiskSelector", Pointer(INSTALL_DISK_SELECTOR)),
    field("extraKernelArgs", "InstallExtraKernelArgs", List(STRING)),
    field("image", "InstallImage", STRING),
    field("extensions", "InstallExtensions", List(INSTALL_EXTENSION_CONFIG)),
    field("bootloader", "InstallBootloader", Pointer(BOOL)),
    always("wipe", "InstallWipe", Pointer(BOOL)),
    field("legacyBIOSSupport", "InstallLegacyBIOSSupport", Pointer(BOOL)),
    field("grubUseUKICmdline", "InstallGrubUseUKICmdline", Pointer(BOOL)),
)
MACHINE_FILE = Struct(
    "v1alpha1.MachineFile",
    always("content", "FileContent", STRING),
    always("permissions", "FilePermissions", FILE_MODE),
    always("path", "FilePath", STRING),
    always("op", "FileOp", STRING),
)
TIME_CONFIG = Struct(
    "v1alpha1.TimeConfig",
    field("disabled", "TimeDisabled", Pointer(BOOL)),
    field("servers", "TimeServers", List(STRING)),
    field("bootTimeout", "TimeBootTimeout", DURATION),
)
REGISTRY_MIRROR_CONFIG = Struct(
    "v1alpha1.RegistryMirrorConfig",
    always("endpoints", "MirrorEndpoints", List(STRING)),
    field("overridePath", "MirrorOverridePath", Pointer(BOOL)),
    field("skipFallback", "MirrorSkipFallback", Pointer(BOOL)),
)
REGISTRY_TLS_CONFIG = Struct(
    "v1alpha1.RegistryTLSConfig",
    field("clientIdentity", "TLSClientIdentity", Pointer(CERTIFICATE_AND_KEY)),
    field("ca", "TLSCA", BASE64),
    field("insecureSkipVerify", "TLSInsecureSkipVerify", Pointer(BOOL)),
)
REGISTRY_AUTH_CONFIG = Struct(
    "v1alpha1.RegistryAuthConfig",
    field("username", "RegistryUsername", STRING),
    field("password", "RegistryPassword", STRING),
    field("auth", "RegistryAuth", STRING),
    field("identityToken", "RegistryIdentityToken", STRING),
)
REGISTRY_CONFIG = Struct(
    "v1alpha1.RegistryConfig",
    field("tls", "RegistryTLS", Pointer(REGISTRY_TLS_CONFIG)),
    field("auth", "RegistryAuth", Pointer(REGISTRY_AUTH_CONFIG)),
)
REGISTRIES_CONFIG = Struct(
    "v1alpha1.RegistriesConfig",
    field("mirrors", "RegistryMirrors", Map(Pointer(REGISTRY_MIRROR_CONFIG))),
    field("config", "RegistryConfig", Map(Pointer(REGISTRY_CONFIG))),
)
ENCRYPTION_KEY_STATIC = Struct(
    "v1alpha1.EncryptionKeyStatic",
    field("passphrase", "KeyData", STRING),
)
ENCRYPTION_KEY_NODE_ID = Struct("v1alpha1.EncryptionKeyNodeID")
ENCRYPTION_KEY_KMS = Struct(
    "v1alpha1.EncryptionKeyKMS",
    always("endpoint", "KMSEndpoint", STRING),
)
ENCRYPTION_KEY_TPM = Struct(
    "v1alpha1.EncryptionKeyTPM",
    field("checkSecurebootStatusOnEnroll", "TPMCheckSecurebootStatusOnEnroll", Pointer(BOOL)),
)
ENCRYPTION_KEY = Struct(
    "v1alpha1.EncryptionKey",
    field("static", "KeyStatic", Pointer(ENCRYPTION_KEY_STATIC)),
    field("nodeID", "KeyNodeID", Pointer(ENCRYPTION_KEY_NODE_ID)),
    field("kms", "KeyKMS", Pointer(ENCRYPTION_KEY_KMS)),
    always("slot", "KeySlot", Int("int")),
    field("tpm", "KeyTPM", Pointer(ENCRYPTION_KEY_TPM)),
)
ENCRYPTION_CONFIG = Struct(
    "v1alpha1.EncryptionConfig",
    always("provider", "EncryptionProvider", STRING),
    always("keys", "EncryptionKeys", List(Pointer(ENCRYPTION_KEY))),
    field("cipher", "EncryptionCipher", STRING),
    field("keySize", "EncryptionKeySize", Int("uint")),
    field("blockSize", "EncryptionBlockSize", Int("uint64")),
    field("options", "EncryptionPerfOptions", List(STRING)),
)
SYSTEM_DISK_ENCRYPTION_CONFIG = Struct(
    "v1alpha1.SystemDiskEncryptionConfig",
    field("state", "StatePartition", Pointer(ENCRYPTION_CONFIG)),
    field("ephemeral", "EphemeralPartition", Pointer(ENCRYPTION_CONFIG)),
)
KUBERNETES_TALOS_API_ACCESS_CONFIG = Struct(
    "v1alpha1.KubernetesTalosAPIAccessConfig",
    field("enabled", "AccessEnabled", Pointer(BOOL)),
    field("allowedRoles", "AccessAllowedRoles", List(STRING)),
    field("allowedKubernetesNamespaces", "AccessAllowedKubernetesNamespaces", List(STRING)),
)
KUBE_PRISM = Struct(
    "v1alpha1.KubePrism",
    field("enabled", "ServerEnabled", Pointer(BOOL)),
    field("port", "ServerPort", Int("int")),
)
HOST_DNS_CONFIG = Struct(
    "v1alpha1.HostDNSConfig",
    field("enabled", "HostDNSConfigEnabled", Pointer(BOOL)),
    field("forwardKubeDNSToHost", "HostDNSForwardKubeDNSToHost", Pointer(BOOL)),
    field("resolveMemberNames", "HostDNSResolveMemberNames", Pointer(BOOL)),
)
IMAGE_CACHE_CONFIG = Struct(
    "v1alpha1.ImageCacheConfig",
    field("localEnabled", "CacheLocalEnabled", Pointer(BOOL)),
)
FEATURES_CONFIG = Struct(
    "v1alpha1.FeaturesConfig",
    field("rbac", "RBAC", Pointer(BOOL)),
    field("stableHostname", "StableHostname", Pointer(BOOL)),
    field("kubernetesTalosAPIAccess", "KubernetesTalosAPIAccessConfig", Pointer(KUBERNETES_TALOS_API_ACCESS_CONFIG)),
    field("apidCheckExtKeyUsage", "ApidCheckExtKeyUsage", Pointer(BOOL)),
    field("diskQuotaSupport", "DiskQuotaSupport", Pointer(BOOL)),
    field("kubePrism", "KubePrismSupport", Pointer(KUBE_PRISM)),
    field("hostDNS", "HostDNSSupport", Pointer(HOST_DNS_CONFIG)),
    field("imageCache", "ImageCacheSupport", Pointer(IMAGE_CACHE_CONFIG)),
    field("nodeAddressSortAlgorithm", "FeatureNodeAddressSortAlgorithm", STRING),
)
UDEV_CONFIG = Struct(
    "v1alpha1.UdevConfig",
    field("rules", "UdevRules", List(STRING)),
)
LOGGING_DESTINATION = Struct(
    "v1alpha1.LoggingDestination",
    always("endpoint", "LoggingEndpoint", Pointer(ENDPOINT)),
    always("format", "LoggingFormat", STRING),
    field("extraTags", "LoggingExtraTags", Map(STRING)),
)
LOGGING_CONFIG = Struct(
    "v1alpha1.LoggingConfig",
    always("destinations", "LoggingDestinations", List(LOGGING_DESTINATION)),
)
KERNEL_MODULE_CONFIG = Struct(
    "v1alpha1.KernelModuleConfig",
    always("name", "ModuleName", STRING),
    field("parameters", "ModuleParameters", List(STRING)),
)
KERNEL_CONFIG = Struct(
    "v1alpha1.KernelConfig",
    field("modules", "KernelModules", List(Pointer(KERNEL_MODULE_CONFIG))),
)
MACHINE_SECCOMP_PROFILE = Struct(
    "v1alpha1.MachineSeccompProfile",
    always("name", "MachineSeccompProfileName", STRING),
    always("value", "MachineSeccompProfileValue", FREE_FORM),
)
MACHINE_CONFIG = Struct(
    "v1alpha1.MachineConfig",
    always("type", "MachineType", STRING),
    always("token", "MachineToken", STRING),
    field("ca", "MachineCA", Pointer(CERTIFICATE_AND_KEY)),
    field("acceptedCAs", "MachineAcceptedCAs", List(Pointer(CERTIFICATE))),
    always("certSANs", "MachineCertSANs", List(STRING)),
    field("controlPlane", "MachineControlPlane", Pointer(MACHINE_CONTROL_PLANE_CONFIG)),
    field("kubelet", "MachineKubelet", Pointer(KUBELET_CONFIG)),
    field("pods", "MachinePods", List(FREE_FORM)),
    field("network", "MachineNetwork", Pointer(NETWORK_CONFIG)),
    field("disks", "MachineDisks", List(Pointer(MACHINE_DISK))),
    field("install", "MachineInstall", Pointer(INSTALL_CONFIG)),
    field("files", "MachineFiles", List(Pointer(MACHINE_FILE))),
    field("env", "MachineEnv", Map(STRING)),
    field("time", "MachineTime", Pointer(TIME_CONFIG)),
    field("sysctls", "MachineSysctls", Map(STRING)),
    field("sysfs", "MachineSysfs", Map(STRING)),
    field("registries", "MachineRegistries", REGISTRIES_CONFIG),
    field("systemDiskEncryption", "MachineSystemDiskEncryption", Pointer(SYSTEM_DISK_ENCRYPTION_CONFIG)),
    field("features", "MachineFeatures", Pointer(FEATURES_CONFIG)),
    field("udev", "MachineUdev", Pointer(UDEV_CONFIG)),
    field("logging", "MachineLogging", Pointer(LOGGING_CONFIG)),
    field("kernel", "MachineKernel", Pointer(KERNEL_CONFIG)),
    field("seccompProfiles", "MachineSeccompProfiles", List(Pointer(MACHINE_SECCOMP_PROFILE))),
    field("baseRuntimeSpecOverrides", "MachineBaseRuntimeSpecOverrides", FREE_FORM),
    field("nodeLabels", "MachineNodeLabels", Map(STRING)),
    field("nodeAnnotations", "MachineNodeAnnotations", Map(STRING)),
    field("nodeTaints", "MachineNodeTaints", Map(STRING)),
)
