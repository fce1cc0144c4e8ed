"""Documents of disks, volumes and encryption."""

from __future__ import annotations

from talos.config.schema.composite import List, Pointer, Struct, always, field
from talos.config.schema.formats import BYTE_SIZE, CEL, DURATION, SIZE
from talos.config.schema.kinds import DocumentKind
from talos.config.schema.types import BOOL, STRING, Enum, Int

FILESYSTEM_TYPE = Enum(
    "block.FilesystemType", ["none", "xfs", "vfat", "ext4", "iso9660", "swapi", "virtiofs", "btrfs"], "none"
)
LVM_LOGICAL_VOLUME_TYPE = Enum("storage.LVMLogicalVolumeType", ["linear", "raid1", "raid0", "raid10"], "linear")
RAID_LEVEL = Enum("storage.MDLevel", ["raid1"], "raid1")
RAID_METADATA = Enum("storage.MDMetadata", ["1.0", "1.2"], "1.0")
ENCRYPTION_PROVIDER = Enum("block.EncryptionProviderType", ["none", "luks2"], "none")
VOLUME_TYPE = Enum(
    "block.VolumeType", ["partition", "disk", "tmpfs", "directory", "symlink", "overlay", "external"], "partition"
)

VOLUME_SELECTOR = Struct(
    "block.VolumeSelector",
    field("match", "Match", CEL),
)
VOLUME_DISCOVERY_SPEC = Struct(
    "block.VolumeDiscoverySpec",
    field("volumeSelector", "VolumeSelectorConfig", VOLUME_SELECTOR),
)
EXISTING_MOUNT_SPEC = Struct(
    "block.ExistingMountSpec",
    field("readOnly", "MountReadOnly", Pointer(BOOL)),
    field("disableAccessTime", "MountDisableAccessTime", Pointer(BOOL)),
    field("secure", "MountSecure", Pointer(BOOL)),
)
TRIM_CONFIG = Struct(
    "block.TrimConfig",
    field("enabled", "TrimEnabled", Pointer(BOOL)),
    field("interval", "TrimInterval", DURATION),
)
SCRUB_CONFIG = Struct(
    "block.ScrubConfig",
    field("enabled", "ScrubEnabled", Pointer(BOOL)),
    field("interval", "ScrubInterval", DURATION),
)
VIRTIOFS_MOUNT_SPEC = Struct(
    "block.VirtiofsMountSpec",
    always("tag", "VirtiofsTag", STRING),
)
EXTERNAL_MOUNT_SPEC = Struct(
    "block.ExternalMountSpec",
    field("readOnly", "MountReadOnly", Pointer(BOOL)),
    field("disableAccessTime", "MountDisableAccessTime", Pointer(BOOL)),
    field("secure", "MountSecure", Pointer(BOOL)),
    field("virtiofs", "MountVirtiofs", Pointer(VIRTIOFS_MOUNT_SPEC)),
)
LVM_LOGICAL_VOLUME_PROVISIONING_SPEC = Struct(
    "storage.LVMLogicalVolumeProvisioningSpec",
    always("volumeGroup", "VolumeGroup", STRING),
    field("minSize", "ProvisioningMinSize", BYTE_SIZE),
    field("maxSize", "ProvisioningMaxSize", SIZE),
)
LVM_VOLUME_SELECTOR_SPEC = Struct(
    "storage.LVMVolumeSelectorSpec",
    field("match", "Match", CEL),
)
PROVISIONING_SPEC = Struct(
    "storage.ProvisioningSpec",
    field("volumeSelector", "VolumeSelector", LVM_VOLUME_SELECTOR_SPEC),
)
RAID_VOLUME_SELECTOR = Struct(
    "storage.RAIDVolumeSelector",
    field("match", "Match", CEL),
)
RAID_PROVISIONING_SPEC = Struct(
    "storage.RAIDProvisioningSpec",
    always("volumeSelector", "RAIDVolumeSelector", RAID_VOLUME_SELECTOR),
)
DISK_SELECTOR = Struct(
    "block.DiskSelector",
    field("match", "Match", CEL),
)
PARTITION_PROVISIONING = Struct(
    "block.ProvisioningSpec",
    field("diskSelector", "DiskSelectorSpec", DISK_SELECTOR),
    field("grow", "ProvisioningGrow", Pointer(BOOL)),
    field("minSize", "ProvisioningMinSize", BYTE_SIZE),
    field("maxSize", "ProvisioningMaxSize", SIZE),
)
ENCRYPTION_KEY_STATIC = Struct(
    "block.EncryptionKeyStatic",
    field("passphrase", "KeyData", STRING),
)
ENCRYPTION_KEY_NODE_ID = Struct("block.EncryptionKeyNodeID")
ENCRYPTION_KEY_KMS = Struct(
    "block.EncryptionKeyKMS",
    always("endpoint", "KMSEndpoint", STRING),
)
ENCRYPTION_KEY_TPM_OPTIONS = Struct(
    "block.EncryptionKeyTPMOptions",
    field("pcrs", "PCRs", List(Int("int"))),
)
ENCRYPTION_KEY_TPM = Struct(
    "block.EncryptionKeyTPM",
    field("options", "TPMOptions", Pointer(ENCRYPTION_KEY_TPM_OPTIONS)),
    field("checkSecurebootStatusOnEnroll", "TPMCheckSecurebootStatusOnEnroll", Pointer(BOOL)),
)
ENCRYPTION_KEY = Struct(
    "block.EncryptionKey",
    always("slot", "KeySlot", Int("int")),
    field("static", "KeyStatic", Pointer(ENCRYPTION_KEY_STATIC)),
    field("nodeID", "KeyNodeID", Pointer(ENCRYPTION_KEY_NODE_ID)),
    field("kms", "KeyKMS", Pointer(ENCRYPTION_KEY_KMS)),
    field("tpm", "KeyTPM", Pointer(ENCRYPTION_KEY_TPM)),
    field("lockToState", "KeyLockToSTATE", Pointer(BOOL)),
)
ENCRYPTION_SPEC = Struct(
    "block.EncryptionSpec",
    always("provider", "EncryptionProvider", ENCRYPTION_PROVIDER),
    always("keys", "EncryptionKeys", List(ENCRYPTION_KEY)),
    field("cipher", "EncryptionCipher", STRING),
    field("keySize", "EncryptionKeySize", Int("uint")),
    field("blockSize", "EncryptionBlockSize", Int("uint64")),
    field("options", "EncryptionPerfOptions", List(STRING)),
    field("allowDiscards", "EncryptionAllowDiscards", Pointer(BOOL)),
    required_for_output=("provider", "keys"),
)
XFS_SPEC = Struct(
    "block.XFSSpec",
    field("minAllocationGroupSize", "MinAllocationGroupSizeConfig", BYTE_SIZE),
)
FILESYSTEM_SPEC = Struct(
    "block.FilesystemSpec",
    field("type", "FilesystemType", FILESYSTEM_TYPE),
    field("projectQuotaSupport", "ProjectQuotaSupportConfig", Pointer(BOOL)),
    field("xfs", "XFSSpec", Pointer(XFS_SPEC)),
)
USER_MOUNT_SPEC = Struct(
    "block.UserMountSpec",
    field("disableAccessTime", "MountDisableAccessTime", Pointer(BOOL)),
    field("secure", "MountSecure", Pointer(BOOL)),
)
SYSTEM_VOLUME_FILESYSTEM_SPEC = Struct(
    "block.SystemVolumeFilesystemSpec",
    field("xfs", "XFSSpec", Pointer(XFS_SPEC)),
)
MOUNT_SPEC = Struct(
    "block.MountSpec",
    field("secure", "MountSecure", Pointer(BOOL)),
    field("disableAccessTime", "MountDisableAccessTime", Pointer(BOOL)),
)
KINDS = (
    DocumentKind(
        "ExistingVolumeConfig",
        "block.ExistingVolumeConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("discovery", "VolumeDiscoverySpec", VOLUME_DISCOVERY_SPEC),
            field("mount", "MountSpec", EXISTING_MOUNT_SPEC),
            field("trim", "TrimSpec", Pointer(TRIM_CONFIG)),
            field("scrub", "ScrubSpec", Pointer(SCRUB_CONFIG)),
        ),
        named=True,
        conflicts=frozenset(("UserVolumeConfig",)),
        since=(1, 11),
    ),
    DocumentKind(
        "ExternalVolumeConfig",
        "block.ExternalVolumeConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            always("filesystemType", "FilesystemType", FILESYSTEM_TYPE),
            field("mount", "MountSpec", EXTERNAL_MOUNT_SPEC),
        ),
        named=True,
        since=(1, 13),
    ),
    DocumentKind(
        "FilesystemScrubConfig",
        "block.FilesystemScrubConfigV1Alpha1",
        (field("interval", "ScrubInterval", DURATION),),
        since=(1, 14),
    ),
    DocumentKind(
        "FilesystemTrimConfig",
        "block.FilesystemTrimConfigV1Alpha1",
        (field("interval", "TrimInterval", DURATION),),
        since=(1, 14),
    ),
    DocumentKind(
        "LVMLogicalVolumeConfig",
        "storage.LVMLogicalVolumeConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            always("type", "LVType", LVM_LOGICAL_VOLUME_TYPE),
            field("mirrors", "LVMirrors", Pointer(Int("uint32"))),
            field("stripes", "LVStripes", Pointer(Int("uint32"))),
            always("provisioning", "Provisioning", LVM_LOGICAL_VOLUME_PROVISIONING_SPEC),
        ),
        named=True,
        since=(1, 14),
    ),
    DocumentKind(
        "LVMVolumeGroupConfig",
        "storage.LVMVolumeGroupConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            always("provisioning", "ProvisioningSpec", PROVISIONING_SPEC),
        ),
        named=True,
        since=(1, 14),
    ),
    DocumentKind(
        "RAIDArrayConfig",
        "storage.RAIDArrayConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            always("level", "Level", RAID_LEVEL),
            field("metadata", "MetadataFormat", RAID_METADATA),
            always("provisioning", "ProvisioningSpec", RAID_PROVISIONING_SPEC),
        ),
        named=True,
        since=(1, 14),
    ),
    DocumentKind(
        "RawVolumeConfig",
        "block.RawVolumeConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("provisioning", "ProvisioningSpec", PARTITION_PROVISIONING),
            field("encryption", "EncryptionSpec", ENCRYPTION_SPEC),
        ),
        named=True,
        since=(1, 11),
    ),
    DocumentKind(
        "SwapVolumeConfig",
        "block.SwapVolumeConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("provisioning", "ProvisioningSpec", PARTITION_PROVISIONING),
            field("encryption", "EncryptionSpec", ENCRYPTION_SPEC),
        ),
        named=True,
        since=(1, 11),
    ),
    DocumentKind(
        "UserVolumeConfig",
        "block.UserVolumeConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("volumeType", "VolumeType", Pointer(VOLUME_TYPE)),
            field("provisioning", "ProvisioningSpec", PARTITION_PROVISIONING),
            field("filesystem", "FilesystemSpec", FILESYSTEM_SPEC),
            field("encryption", "EncryptionSpec", ENCRYPTION_SPEC),
            field("mount", "MountSpec", USER_MOUNT_SPEC),
            field("trim", "TrimSpec", Pointer(TRIM_CONFIG)),
            field("scrub", "ScrubSpec", Pointer(SCRUB_CONFIG)),
        ),
        named=True,
        conflicts=frozenset(("ExistingVolumeConfig",)),
        since=(1, 10),
    ),
    DocumentKind(
        "VolumeConfig",
        "block.VolumeConfigV1Alpha1",
        (
            always("name", "MetaName", STRING),
            field("provisioning", "ProvisioningSpec", PARTITION_PROVISIONING),
            field("filesystem", "FilesystemSpec", SYSTEM_VOLUME_FILESYSTEM_SPEC),
            field("encryption", "EncryptionSpec", ENCRYPTION_SPEC),
            field("mount", "MountSpec", MOUNT_SPEC),
            field("trim", "TrimSpec", Pointer(TRIM_CONFIG)),
            field("scrub", "ScrubSpec", Pointer(SCRUB_CONFIG)),
        ),
        named=True,
    ),
    DocumentKind(
        "ZswapConfig",
        "block.ZswapConfigV1Alpha1",
        (
            field("maxPoolPercent", "MaxPoolPercentConfig", Pointer(Int("int"))),
            field("shrinkerEnabled", "ShrinkerEnabledConfig", Pointer(BOOL)),
        ),
        since=(1, 11),
    ),
)
