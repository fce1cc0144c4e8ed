from talos.gen import yaml_pb2 as _yaml_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class MachineType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MACHINE_TYPE_UNKNOWN: _ClassVar[MachineType]
    MACHINE_TYPE_INIT: _ClassVar[MachineType]
    MACHINE_TYPE_CONTROLPLANE: _ClassVar[MachineType]
    MACHINE_TYPE_WORKER: _ClassVar[MachineType]

class RuntimeMachineStage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUNTIME_MACHINE_STAGE_UNKNOWN: _ClassVar[RuntimeMachineStage]
    RUNTIME_MACHINE_STAGE_BOOTING: _ClassVar[RuntimeMachineStage]
    RUNTIME_MACHINE_STAGE_INSTALLING: _ClassVar[RuntimeMachineStage]
    RUNTIME_MACHINE_STAGE_MAINTENANCE: _ClassVar[RuntimeMachineStage]
    RUNTIME_MACHINE_STAGE_RUNNING: _ClassVar[RuntimeMachineStage]
    RUNTIME_MACHINE_STAGE_REBOOTING: _ClassVar[RuntimeMachineStage]
    RUNTIME_MACHINE_STAGE_SHUTTING_DOWN: _ClassVar[RuntimeMachineStage]
    RUNTIME_MACHINE_STAGE_RESETTING: _ClassVar[RuntimeMachineStage]
    RUNTIME_MACHINE_STAGE_UPGRADING: _ClassVar[RuntimeMachineStage]

class RuntimeSELinuxState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUNTIME_SE_LINUX_STATE_DISABLED: _ClassVar[RuntimeSELinuxState]
    RUNTIME_SE_LINUX_STATE_PERMISSIVE: _ClassVar[RuntimeSELinuxState]
    RUNTIME_SE_LINUX_STATE_ENFORCING: _ClassVar[RuntimeSELinuxState]

class RuntimeFIPSState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUNTIME_FIPS_STATE_DISABLED: _ClassVar[RuntimeFIPSState]
    RUNTIME_FIPS_STATE_ENABLED: _ClassVar[RuntimeFIPSState]
    RUNTIME_FIPS_STATE_STRICT: _ClassVar[RuntimeFIPSState]

class RuntimeUnattendedInstallPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUNTIME_UNATTENDED_INSTALL_PHASE_PENDING: _ClassVar[RuntimeUnattendedInstallPhase]
    RUNTIME_UNATTENDED_INSTALL_PHASE_INSTALLING: _ClassVar[RuntimeUnattendedInstallPhase]
    RUNTIME_UNATTENDED_INSTALL_PHASE_INSTALLED: _ClassVar[RuntimeUnattendedInstallPhase]
    RUNTIME_UNATTENDED_INSTALL_PHASE_WAITING_FOR_REBOOT: _ClassVar[RuntimeUnattendedInstallPhase]
    RUNTIME_UNATTENDED_INSTALL_PHASE_FAILED: _ClassVar[RuntimeUnattendedInstallPhase]

class BlockVolumePhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BLOCK_VOLUME_PHASE_WAITING: _ClassVar[BlockVolumePhase]
    BLOCK_VOLUME_PHASE_FAILED: _ClassVar[BlockVolumePhase]
    BLOCK_VOLUME_PHASE_MISSING: _ClassVar[BlockVolumePhase]
    BLOCK_VOLUME_PHASE_LOCATED: _ClassVar[BlockVolumePhase]
    BLOCK_VOLUME_PHASE_PROVISIONED: _ClassVar[BlockVolumePhase]
    BLOCK_VOLUME_PHASE_PREPARED: _ClassVar[BlockVolumePhase]
    BLOCK_VOLUME_PHASE_READY: _ClassVar[BlockVolumePhase]
    BLOCK_VOLUME_PHASE_CLOSED: _ClassVar[BlockVolumePhase]

class BlockVolumeType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BLOCK_VOLUME_TYPE_PARTITION: _ClassVar[BlockVolumeType]
    BLOCK_VOLUME_TYPE_DISK: _ClassVar[BlockVolumeType]
    BLOCK_VOLUME_TYPE_TMPFS: _ClassVar[BlockVolumeType]
    BLOCK_VOLUME_TYPE_DIRECTORY: _ClassVar[BlockVolumeType]
    BLOCK_VOLUME_TYPE_SYMLINK: _ClassVar[BlockVolumeType]
    BLOCK_VOLUME_TYPE_OVERLAY: _ClassVar[BlockVolumeType]
    BLOCK_VOLUME_TYPE_EXTERNAL: _ClassVar[BlockVolumeType]

class BlockFilesystemType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BLOCK_FILESYSTEM_TYPE_NONE: _ClassVar[BlockFilesystemType]
    BLOCK_FILESYSTEM_TYPE_XFS: _ClassVar[BlockFilesystemType]
    BLOCK_FILESYSTEM_TYPE_VFAT: _ClassVar[BlockFilesystemType]
    BLOCK_FILESYSTEM_TYPE_EXT4: _ClassVar[BlockFilesystemType]
    BLOCK_FILESYSTEM_TYPE_ISO9660: _ClassVar[BlockFilesystemType]
    BLOCK_FILESYSTEM_TYPE_SWAPI: _ClassVar[BlockFilesystemType]
    BLOCK_FILESYSTEM_TYPE_VIRTIOFS: _ClassVar[BlockFilesystemType]
    BLOCK_FILESYSTEM_TYPE_BTRFS: _ClassVar[BlockFilesystemType]

class BlockEncryptionProviderType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BLOCK_ENCRYPTION_PROVIDER_TYPE_NONE: _ClassVar[BlockEncryptionProviderType]
    BLOCK_ENCRYPTION_PROVIDER_TYPE_LUKS2: _ClassVar[BlockEncryptionProviderType]

class NethelpersLinkType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_LINK_TYPE_NETROM: _ClassVar[NethelpersLinkType]
    NETHELPERS_LINK_TYPE_ETHER: _ClassVar[NethelpersLinkType]
    NETHELPERS_LINK_TYPE_LOOPBACK: _ClassVar[NethelpersLinkType]
    NETHELPERS_LINK_TYPE_NOHDR: _ClassVar[NethelpersLinkType]

class NethelpersOperationalState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_OPERATIONAL_STATE_UNKNOWN: _ClassVar[NethelpersOperationalState]
    NETHELPERS_OPERATIONAL_STATE_NOT_PRESENT: _ClassVar[NethelpersOperationalState]
    NETHELPERS_OPERATIONAL_STATE_DOWN: _ClassVar[NethelpersOperationalState]
    NETHELPERS_OPERATIONAL_STATE_LOWER_LAYER_DOWN: _ClassVar[NethelpersOperationalState]
    NETHELPERS_OPERATIONAL_STATE_TESTING: _ClassVar[NethelpersOperationalState]
    NETHELPERS_OPERATIONAL_STATE_DORMANT: _ClassVar[NethelpersOperationalState]
    NETHELPERS_OPERATIONAL_STATE_UP: _ClassVar[NethelpersOperationalState]

class NethelpersPort(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_PORT_TWISTED_PAIR: _ClassVar[NethelpersPort]
    NETHELPERS_PORT_AUI: _ClassVar[NethelpersPort]
    NETHELPERS_PORT_MII: _ClassVar[NethelpersPort]
    NETHELPERS_PORT_FIBRE: _ClassVar[NethelpersPort]
    NETHELPERS_PORT_BNC: _ClassVar[NethelpersPort]
    NETHELPERS_PORT_DIRECT_ATTACH: _ClassVar[NethelpersPort]
    NETHELPERS_PORT_NONE: _ClassVar[NethelpersPort]
    NETHELPERS_PORT_OTHER: _ClassVar[NethelpersPort]

class NethelpersDuplex(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_DUPLEX_HALF: _ClassVar[NethelpersDuplex]
    NETHELPERS_DUPLEX_FULL: _ClassVar[NethelpersDuplex]
    NETHELPERS_DUPLEX_UNKNOWN: _ClassVar[NethelpersDuplex]

class NethelpersFamily(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_FAMILY_UNSPECIFIED: _ClassVar[NethelpersFamily]
    NETHELPERS_FAMILY_INET4: _ClassVar[NethelpersFamily]
    NETHELPERS_FAMILY_INET6: _ClassVar[NethelpersFamily]

class NethelpersScope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_SCOPE_GLOBAL: _ClassVar[NethelpersScope]
    NETHELPERS_SCOPE_SITE: _ClassVar[NethelpersScope]
    NETHELPERS_SCOPE_LINK: _ClassVar[NethelpersScope]
    NETHELPERS_SCOPE_HOST: _ClassVar[NethelpersScope]
    NETHELPERS_SCOPE_NOWHERE: _ClassVar[NethelpersScope]

class NethelpersRouteType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_ROUTE_TYPE_UNSPEC: _ClassVar[NethelpersRouteType]
    NETHELPERS_ROUTE_TYPE_UNICAST: _ClassVar[NethelpersRouteType]
    NETHELPERS_ROUTE_TYPE_LOCAL: _ClassVar[NethelpersRouteType]
    NETHELPERS_ROUTE_TYPE_BROADCAST: _ClassVar[NethelpersRouteType]
    NETHELPERS_ROUTE_TYPE_ANYCAST: _ClassVar[NethelpersRouteType]
    NETHELPERS_ROUTE_TYPE_MULTICAST: _ClassVar[NethelpersRouteType]
    NETHELPERS_ROUTE_TYPE_BLACKHOLE: _ClassVar[NethelpersRouteType]
    NETHELPERS_ROUTE_TYPE_UNREACHABLE: _ClassVar[NethelpersRouteType]
    NETHELPERS_ROUTE_TYPE_PROHIBIT: _ClassVar[NethelpersRouteType]
    NETHELPERS_ROUTE_TYPE_THROW: _ClassVar[NethelpersRouteType]
    NETHELPERS_ROUTE_TYPE_NAT: _ClassVar[NethelpersRouteType]
    NETHELPERS_ROUTE_TYPE_XRESOLVE: _ClassVar[NethelpersRouteType]

class NethelpersRoutingTable(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_ROUTING_TABLE_UNSPEC: _ClassVar[NethelpersRoutingTable]
    NETHELPERS_ROUTING_TABLE_DEFAULT: _ClassVar[NethelpersRoutingTable]
    NETHELPERS_ROUTING_TABLE_MAIN: _ClassVar[NethelpersRoutingTable]
    NETHELPERS_ROUTING_TABLE_LOCAL: _ClassVar[NethelpersRoutingTable]

class NethelpersRouteProtocol(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_ROUTE_PROTOCOL_UNSPEC: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_REDIRECT: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_KERNEL: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_BOOT: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_STATIC: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_RA: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_MRT: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_ZEBRA: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_BIRD: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_DNROUTED: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_XORP: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_NTK: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_DHCP: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_MRTD: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_KEEPALIVED: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_BABEL: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_OPENR: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_BGP: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_ISIS: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_OSPF: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_RIP: _ClassVar[NethelpersRouteProtocol]
    NETHELPERS_ROUTE_PROTOCOL_EIGRP: _ClassVar[NethelpersRouteProtocol]

class NethelpersAddressSortAlgorithm(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_ADDRESS_SORT_ALGORITHM_V1: _ClassVar[NethelpersAddressSortAlgorithm]
    NETHELPERS_ADDRESS_SORT_ALGORITHM_V2: _ClassVar[NethelpersAddressSortAlgorithm]

class NethelpersVLANProtocol(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_VLAN_PROTOCOL_UNSPECIFIED: _ClassVar[NethelpersVLANProtocol]
    NETHELPERS_VLAN_PROTOCOL_802_1Q: _ClassVar[NethelpersVLANProtocol]
    NETHELPERS_VLAN_PROTOCOL_802_1AD: _ClassVar[NethelpersVLANProtocol]

class NethelpersBondMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_BOND_MODE_BALANCE_RR: _ClassVar[NethelpersBondMode]
    NETHELPERS_BOND_MODE_ACTIVE_BACKUP: _ClassVar[NethelpersBondMode]
    NETHELPERS_BOND_MODE_BALANCE_XOR: _ClassVar[NethelpersBondMode]
    NETHELPERS_BOND_MODE_BROADCAST: _ClassVar[NethelpersBondMode]
    NETHELPERS_BOND_MODE_802_3AD: _ClassVar[NethelpersBondMode]
    NETHELPERS_BOND_MODE_BALANCE_TLB: _ClassVar[NethelpersBondMode]
    NETHELPERS_BOND_MODE_BALANCE_ALB: _ClassVar[NethelpersBondMode]

class NethelpersBondXmitHashPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_BOND_XMIT_HASH_POLICY_LAYER2: _ClassVar[NethelpersBondXmitHashPolicy]
    NETHELPERS_BOND_XMIT_HASH_POLICY_LAYER3_4: _ClassVar[NethelpersBondXmitHashPolicy]
    NETHELPERS_BOND_XMIT_HASH_POLICY_LAYER2_3: _ClassVar[NethelpersBondXmitHashPolicy]
    NETHELPERS_BOND_XMIT_HASH_POLICY_ENCAP2_3: _ClassVar[NethelpersBondXmitHashPolicy]
    NETHELPERS_BOND_XMIT_HASH_POLICY_ENCAP3_4: _ClassVar[NethelpersBondXmitHashPolicy]
    NETHELPERS_BOND_XMIT_HASH_POLICY_VLAN_SRCMAC: _ClassVar[NethelpersBondXmitHashPolicy]

class NethelpersLACPRate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_LACP_RATE_SLOW: _ClassVar[NethelpersLACPRate]
    NETHELPERS_LACP_RATE_FAST: _ClassVar[NethelpersLACPRate]

class NethelpersARPValidate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_ARP_VALIDATE_NONE: _ClassVar[NethelpersARPValidate]
    NETHELPERS_ARP_VALIDATE_ACTIVE: _ClassVar[NethelpersARPValidate]
    NETHELPERS_ARP_VALIDATE_BACKUP: _ClassVar[NethelpersARPValidate]
    NETHELPERS_ARP_VALIDATE_ALL: _ClassVar[NethelpersARPValidate]
    NETHELPERS_ARP_VALIDATE_FILTER: _ClassVar[NethelpersARPValidate]
    NETHELPERS_ARP_VALIDATE_FILTER_ACTIVE: _ClassVar[NethelpersARPValidate]
    NETHELPERS_ARP_VALIDATE_FILTER_BACKUP: _ClassVar[NethelpersARPValidate]

class NethelpersARPAllTargets(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_ARP_ALL_TARGETS_ANY: _ClassVar[NethelpersARPAllTargets]
    NETHELPERS_ARP_ALL_TARGETS_ALL: _ClassVar[NethelpersARPAllTargets]

class NethelpersPrimaryReselect(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_PRIMARY_RESELECT_ALWAYS: _ClassVar[NethelpersPrimaryReselect]
    NETHELPERS_PRIMARY_RESELECT_BETTER: _ClassVar[NethelpersPrimaryReselect]
    NETHELPERS_PRIMARY_RESELECT_FAILURE: _ClassVar[NethelpersPrimaryReselect]

class NethelpersFailOverMAC(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_FAIL_OVER_MAC_NONE: _ClassVar[NethelpersFailOverMAC]
    NETHELPERS_FAIL_OVER_MAC_ACTIVE: _ClassVar[NethelpersFailOverMAC]
    NETHELPERS_FAIL_OVER_MAC_FOLLOW: _ClassVar[NethelpersFailOverMAC]

class NethelpersADSelect(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_AD_SELECT_STABLE: _ClassVar[NethelpersADSelect]
    NETHELPERS_AD_SELECT_BANDWIDTH: _ClassVar[NethelpersADSelect]
    NETHELPERS_AD_SELECT_COUNT: _ClassVar[NethelpersADSelect]

class NethelpersADLACPActive(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_ADLACP_ACTIVE_OFF: _ClassVar[NethelpersADLACPActive]
    NETHELPERS_ADLACP_ACTIVE_ON: _ClassVar[NethelpersADLACPActive]

class NethelpersDNSProtocol(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETHELPERS_DNS_PROTOCOL_DEFAULT: _ClassVar[NethelpersDNSProtocol]

class KubespanPeerState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KUBESPAN_PEER_STATE_UNKNOWN: _ClassVar[KubespanPeerState]
    KUBESPAN_PEER_STATE_UP: _ClassVar[KubespanPeerState]
    KUBESPAN_PEER_STATE_DOWN: _ClassVar[KubespanPeerState]

class CriImageCacheStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CRI_IMAGE_CACHE_STATUS_UNKNOWN: _ClassVar[CriImageCacheStatus]
    CRI_IMAGE_CACHE_STATUS_DISABLED: _ClassVar[CriImageCacheStatus]
    CRI_IMAGE_CACHE_STATUS_PREPARING: _ClassVar[CriImageCacheStatus]
    CRI_IMAGE_CACHE_STATUS_READY: _ClassVar[CriImageCacheStatus]

class CriImageCacheCopyStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CRI_IMAGE_CACHE_COPY_STATUS_UNKNOWN: _ClassVar[CriImageCacheCopyStatus]
    CRI_IMAGE_CACHE_COPY_STATUS_SKIPPED: _ClassVar[CriImageCacheCopyStatus]
    CRI_IMAGE_CACHE_COPY_STATUS_COPYING: _ClassVar[CriImageCacheCopyStatus]
    CRI_IMAGE_CACHE_COPY_STATUS_READY: _ClassVar[CriImageCacheCopyStatus]

class LinkFlag(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LINK_FLAG_NO_FLAGS: _ClassVar[LinkFlag]
    LINK_FLAG_UP: _ClassVar[LinkFlag]
    LINK_FLAG_BROADCAST: _ClassVar[LinkFlag]
    LINK_FLAG_DEBUG: _ClassVar[LinkFlag]
    LINK_FLAG_LOOPBACK: _ClassVar[LinkFlag]
    LINK_FLAG_POINTTOPOINT: _ClassVar[LinkFlag]
    LINK_FLAG_NOTRAILERS: _ClassVar[LinkFlag]
    LINK_FLAG_RUNNING: _ClassVar[LinkFlag]
    LINK_FLAG_NOARP: _ClassVar[LinkFlag]
    LINK_FLAG_PROMISC: _ClassVar[LinkFlag]
    LINK_FLAG_ALLMULTI: _ClassVar[LinkFlag]
    LINK_FLAG_MASTER: _ClassVar[LinkFlag]
    LINK_FLAG_SLAVE: _ClassVar[LinkFlag]
    LINK_FLAG_MULTICAST: _ClassVar[LinkFlag]
    LINK_FLAG_PORTSEL: _ClassVar[LinkFlag]
    LINK_FLAG_AUTOMEDIA: _ClassVar[LinkFlag]
    LINK_FLAG_DYNAMIC: _ClassVar[LinkFlag]
    LINK_FLAG_LOWER_UP: _ClassVar[LinkFlag]
    LINK_FLAG_DORMANT: _ClassVar[LinkFlag]
    LINK_FLAG_ECHO: _ClassVar[LinkFlag]

class AddressFlag(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ADDRESS_FLAG_NO_FLAGS: _ClassVar[AddressFlag]
    ADDRESS_FLAG_TEMPORARY: _ClassVar[AddressFlag]
    ADDRESS_FLAG_NODAD: _ClassVar[AddressFlag]
    ADDRESS_FLAG_OPTIMISTIC: _ClassVar[AddressFlag]
    ADDRESS_FLAG_DADFAILED: _ClassVar[AddressFlag]
    ADDRESS_FLAG_HOMEADDRESS: _ClassVar[AddressFlag]
    ADDRESS_FLAG_DEPRECATED: _ClassVar[AddressFlag]
    ADDRESS_FLAG_TENTATIVE: _ClassVar[AddressFlag]
    ADDRESS_FLAG_PERMANENT: _ClassVar[AddressFlag]
    ADDRESS_FLAG_MANAGETEMPADDR: _ClassVar[AddressFlag]
    ADDRESS_FLAG_NOPREFIXROUTE: _ClassVar[AddressFlag]
    ADDRESS_FLAG_MCAUTOJOIN: _ClassVar[AddressFlag]
    ADDRESS_FLAG_STABLEPRIVACY: _ClassVar[AddressFlag]

class RouteFlag(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROUTE_FLAG_NO_FLAGS: _ClassVar[RouteFlag]
    ROUTE_FLAG_NOTIFY: _ClassVar[RouteFlag]
    ROUTE_FLAG_CLONED: _ClassVar[RouteFlag]
    ROUTE_FLAG_EQUALIZE: _ClassVar[RouteFlag]
    ROUTE_FLAG_PREFIX: _ClassVar[RouteFlag]
    ROUTE_FLAG_LOOKUP_TABLE: _ClassVar[RouteFlag]
    ROUTE_FLAG_FIB_MATCH: _ClassVar[RouteFlag]
    ROUTE_FLAG_OFFLOAD: _ClassVar[RouteFlag]
    ROUTE_FLAG_TRAP: _ClassVar[RouteFlag]
MACHINE_TYPE_UNKNOWN: MachineType
MACHINE_TYPE_INIT: MachineType
MACHINE_TYPE_CONTROLPLANE: MachineType
MACHINE_TYPE_WORKER: MachineType
RUNTIME_MACHINE_STAGE_UNKNOWN: RuntimeMachineStage
RUNTIME_MACHINE_STAGE_BOOTING: RuntimeMachineStage
RUNTIME_MACHINE_STAGE_INSTALLING: RuntimeMachineStage
RUNTIME_MACHINE_STAGE_MAINTENANCE: RuntimeMachineStage
RUNTIME_MACHINE_STAGE_RUNNING: RuntimeMachineStage
RUNTIME_MACHINE_STAGE_REBOOTING: RuntimeMachineStage
RUNTIME_MACHINE_STAGE_SHUTTING_DOWN: RuntimeMachineStage
RUNTIME_MACHINE_STAGE_RESETTING: RuntimeMachineStage
RUNTIME_MACHINE_STAGE_UPGRADING: RuntimeMachineStage
RUNTIME_SE_LINUX_STATE_DISABLED: RuntimeSELinuxState
RUNTIME_SE_LINUX_STATE_PERMISSIVE: RuntimeSELinuxState
RUNTIME_SE_LINUX_STATE_ENFORCING: RuntimeSELinuxState
RUNTIME_FIPS_STATE_DISABLED: RuntimeFIPSState
RUNTIME_FIPS_STATE_ENABLED: RuntimeFIPSState
RUNTIME_FIPS_STATE_STRICT: RuntimeFIPSState
RUNTIME_UNATTENDED_INSTALL_PHASE_PENDING: RuntimeUnattendedInstallPhase
RUNTIME_UNATTENDED_INSTALL_PHASE_INSTALLING: RuntimeUnattendedInstallPhase
RUNTIME_UNATTENDED_INSTALL_PHASE_INSTALLED: RuntimeUnattendedInstallPhase
RUNTIME_UNATTENDED_INSTALL_PHASE_WAITING_FOR_REBOOT: RuntimeUnattendedInstallPhase
RUNTIME_UNATTENDED_INSTALL_PHASE_FAILED: RuntimeUnattendedInstallPhase
BLOCK_VOLUME_PHASE_WAITING: BlockVolumePhase
BLOCK_VOLUME_PHASE_FAILED: BlockVolumePhase
BLOCK_VOLUME_PHASE_MISSING: BlockVolumePhase
BLOCK_VOLUME_PHASE_LOCATED: BlockVolumePhase
BLOCK_VOLUME_PHASE_PROVISIONED: BlockVolumePhase
BLOCK_VOLUME_PHASE_PREPARED: BlockVolumePhase
BLOCK_VOLUME_PHASE_READY: BlockVolumePhase
BLOCK_VOLUME_PHASE_CLOSED: BlockVolumePhase
BLOCK_VOLUME_TYPE_PARTITION: BlockVolumeType
BLOCK_VOLUME_TYPE_DISK: BlockVolumeType
BLOCK_VOLUME_TYPE_TMPFS: BlockVolumeType
BLOCK_VOLUME_TYPE_DIRECTORY: BlockVolumeType
BLOCK_VOLUME_TYPE_SYMLINK: BlockVolumeType
BLOCK_VOLUME_TYPE_OVERLAY: BlockVolumeType
BLOCK_VOLUME_TYPE_EXTERNAL: BlockVolumeType
BLOCK_FILESYSTEM_TYPE_NONE: BlockFilesystemType
BLOCK_FILESYSTEM_TYPE_XFS: BlockFilesystemType
BLOCK_FILESYSTEM_TYPE_VFAT: BlockFilesystemType
BLOCK_FILESYSTEM_TYPE_EXT4: BlockFilesystemType
BLOCK_FILESYSTEM_TYPE_ISO9660: BlockFilesystemType
BLOCK_FILESYSTEM_TYPE_SWAPI: BlockFilesystemType
BLOCK_FILESYSTEM_TYPE_VIRTIOFS: BlockFilesystemType
BLOCK_FILESYSTEM_TYPE_BTRFS: BlockFilesystemType
BLOCK_ENCRYPTION_PROVIDER_TYPE_NONE: BlockEncryptionProviderType
BLOCK_ENCRYPTION_PROVIDER_TYPE_LUKS2: BlockEncryptionProviderType
NETHELPERS_LINK_TYPE_NETROM: NethelpersLinkType
NETHELPERS_LINK_TYPE_ETHER: NethelpersLinkType
NETHELPERS_LINK_TYPE_LOOPBACK: NethelpersLinkType
NETHELPERS_LINK_TYPE_NOHDR: NethelpersLinkType
NETHELPERS_OPERATIONAL_STATE_UNKNOWN: NethelpersOperationalState
NETHELPERS_OPERATIONAL_STATE_NOT_PRESENT: NethelpersOperationalState
NETHELPERS_OPERATIONAL_STATE_DOWN: NethelpersOperationalState
NETHELPERS_OPERATIONAL_STATE_LOWER_LAYER_DOWN: NethelpersOperationalState
NETHELPERS_OPERATIONAL_STATE_TESTING: NethelpersOperationalState
NETHELPERS_OPERATIONAL_STATE_DORMANT: NethelpersOperationalState
NETHELPERS_OPERATIONAL_STATE_UP: NethelpersOperationalState
NETHELPERS_PORT_TWISTED_PAIR: NethelpersPort
NETHELPERS_PORT_AUI: NethelpersPort
NETHELPERS_PORT_MII: NethelpersPort
NETHELPERS_PORT_FIBRE: NethelpersPort
NETHELPERS_PORT_BNC: NethelpersPort
NETHELPERS_PORT_DIRECT_ATTACH: NethelpersPort
NETHELPERS_PORT_NONE: NethelpersPort
NETHELPERS_PORT_OTHER: NethelpersPort
NETHELPERS_DUPLEX_HALF: NethelpersDuplex
NETHELPERS_DUPLEX_FULL: NethelpersDuplex
NETHELPERS_DUPLEX_UNKNOWN: NethelpersDuplex
NETHELPERS_FAMILY_UNSPECIFIED: NethelpersFamily
NETHELPERS_FAMILY_INET4: NethelpersFamily
NETHELPERS_FAMILY_INET6: NethelpersFamily
NETHELPERS_SCOPE_GLOBAL: NethelpersScope
NETHELPERS_SCOPE_SITE: NethelpersScope
NETHELPERS_SCOPE_LINK: NethelpersScope
NETHELPERS_SCOPE_HOST: NethelpersScope
NETHELPERS_SCOPE_NOWHERE: NethelpersScope
NETHELPERS_ROUTE_TYPE_UNSPEC: NethelpersRouteType
NETHELPERS_ROUTE_TYPE_UNICAST: NethelpersRouteType
NETHELPERS_ROUTE_TYPE_LOCAL: NethelpersRouteType
NETHELPERS_ROUTE_TYPE_BROADCAST: NethelpersRouteType
NETHELPERS_ROUTE_TYPE_ANYCAST: NethelpersRouteType
NETHELPERS_ROUTE_TYPE_MULTICAST: NethelpersRouteType
NETHELPERS_ROUTE_TYPE_BLACKHOLE: NethelpersRouteType
NETHELPERS_ROUTE_TYPE_UNREACHABLE: NethelpersRouteType
NETHELPERS_ROUTE_TYPE_PROHIBIT: NethelpersRouteType
NETHELPERS_ROUTE_TYPE_THROW: NethelpersRouteType
NETHELPERS_ROUTE_TYPE_NAT: NethelpersRouteType
NETHELPERS_ROUTE_TYPE_XRESOLVE: NethelpersRouteType
NETHELPERS_ROUTING_TABLE_UNSPEC: NethelpersRoutingTable
NETHELPERS_ROUTING_TABLE_DEFAULT: NethelpersRoutingTable
NETHELPERS_ROUTING_TABLE_MAIN: NethelpersRoutingTable
NETHELPERS_ROUTING_TABLE_LOCAL: NethelpersRoutingTable
NETHELPERS_ROUTE_PROTOCOL_UNSPEC: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_REDIRECT: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_KERNEL: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_BOOT: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_STATIC: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_RA: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_MRT: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_ZEBRA: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_BIRD: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_DNROUTED: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_XORP: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_NTK: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_DHCP: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_MRTD: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_KEEPALIVED: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_BABEL: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_OPENR: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_BGP: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_ISIS: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_OSPF: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_RIP: NethelpersRouteProtocol
NETHELPERS_ROUTE_PROTOCOL_EIGRP: NethelpersRouteProtocol
NETHELPERS_ADDRESS_SORT_ALGORITHM_V1: NethelpersAddressSortAlgorithm
NETHELPERS_ADDRESS_SORT_ALGORITHM_V2: NethelpersAddressSortAlgorithm
NETHELPERS_VLAN_PROTOCOL_UNSPECIFIED: NethelpersVLANProtocol
NETHELPERS_VLAN_PROTOCOL_802_1Q: NethelpersVLANProtocol
NETHELPERS_VLAN_PROTOCOL_802_1AD: NethelpersVLANProtocol
NETHELPERS_BOND_MODE_BALANCE_RR: NethelpersBondMode
NETHELPERS_BOND_MODE_ACTIVE_BACKUP: NethelpersBondMode
NETHELPERS_BOND_MODE_BALANCE_XOR: NethelpersBondMode
NETHELPERS_BOND_MODE_BROADCAST: NethelpersBondMode
NETHELPERS_BOND_MODE_802_3AD: NethelpersBondMode
NETHELPERS_BOND_MODE_BALANCE_TLB: NethelpersBondMode
NETHELPERS_BOND_MODE_BALANCE_ALB: NethelpersBondMode
NETHELPERS_BOND_XMIT_HASH_POLICY_LAYER2: NethelpersBondXmitHashPolicy
NETHELPERS_BOND_XMIT_HASH_POLICY_LAYER3_4: NethelpersBondXmitHashPolicy
NETHELPERS_BOND_XMIT_HASH_POLICY_LAYER2_3: NethelpersBondXmitHashPolicy
NETHELPERS_BOND_XMIT_HASH_POLICY_ENCAP2_3: NethelpersBondXmitHashPolicy
NETHELPERS_BOND_XMIT_HASH_POLICY_ENCAP3_4: NethelpersBondXmitHashPolicy
NETHELPERS_BOND_XMIT_HASH_POLICY_VLAN_SRCMAC: NethelpersBondXmitHashPolicy
NETHELPERS_LACP_RATE_SLOW: NethelpersLACPRate
NETHELPERS_LACP_RATE_FAST: NethelpersLACPRate
NETHELPERS_ARP_VALIDATE_NONE: NethelpersARPValidate
NETHELPERS_ARP_VALIDATE_ACTIVE: NethelpersARPValidate
NETHELPERS_ARP_VALIDATE_BACKUP: NethelpersARPValidate
NETHELPERS_ARP_VALIDATE_ALL: NethelpersARPValidate
NETHELPERS_ARP_VALIDATE_FILTER: NethelpersARPValidate
NETHELPERS_ARP_VALIDATE_FILTER_ACTIVE: NethelpersARPValidate
NETHELPERS_ARP_VALIDATE_FILTER_BACKUP: NethelpersARPValidate
NETHELPERS_ARP_ALL_TARGETS_ANY: NethelpersARPAllTargets
NETHELPERS_ARP_ALL_TARGETS_ALL: NethelpersARPAllTargets
NETHELPERS_PRIMARY_RESELECT_ALWAYS: NethelpersPrimaryReselect
NETHELPERS_PRIMARY_RESELECT_BETTER: NethelpersPrimaryReselect
NETHELPERS_PRIMARY_RESELECT_FAILURE: NethelpersPrimaryReselect
NETHELPERS_FAIL_OVER_MAC_NONE: NethelpersFailOverMAC
NETHELPERS_FAIL_OVER_MAC_ACTIVE: NethelpersFailOverMAC
NETHELPERS_FAIL_OVER_MAC_FOLLOW: NethelpersFailOverMAC
NETHELPERS_AD_SELECT_STABLE: NethelpersADSelect
NETHELPERS_AD_SELECT_BANDWIDTH: NethelpersADSelect
NETHELPERS_AD_SELECT_COUNT: NethelpersADSelect
NETHELPERS_ADLACP_ACTIVE_OFF: NethelpersADLACPActive
NETHELPERS_ADLACP_ACTIVE_ON: NethelpersADLACPActive
NETHELPERS_DNS_PROTOCOL_DEFAULT: NethelpersDNSProtocol
KUBESPAN_PEER_STATE_UNKNOWN: KubespanPeerState
KUBESPAN_PEER_STATE_UP: KubespanPeerState
KUBESPAN_PEER_STATE_DOWN: KubespanPeerState
CRI_IMAGE_CACHE_STATUS_UNKNOWN: CriImageCacheStatus
CRI_IMAGE_CACHE_STATUS_DISABLED: CriImageCacheStatus
CRI_IMAGE_CACHE_STATUS_PREPARING: CriImageCacheStatus
CRI_IMAGE_CACHE_STATUS_READY: CriImageCacheStatus
CRI_IMAGE_CACHE_COPY_STATUS_UNKNOWN: CriImageCacheCopyStatus
CRI_IMAGE_CACHE_COPY_STATUS_SKIPPED: CriImageCacheCopyStatus
CRI_IMAGE_CACHE_COPY_STATUS_COPYING: CriImageCacheCopyStatus
CRI_IMAGE_CACHE_COPY_STATUS_READY: CriImageCacheCopyStatus
LINK_FLAG_NO_FLAGS: LinkFlag
LINK_FLAG_UP: LinkFlag
LINK_FLAG_BROADCAST: LinkFlag
LINK_FLAG_DEBUG: LinkFlag
LINK_FLAG_LOOPBACK: LinkFlag
LINK_FLAG_POINTTOPOINT: LinkFlag
LINK_FLAG_NOTRAILERS: LinkFlag
LINK_FLAG_RUNNING: LinkFlag
LINK_FLAG_NOARP: LinkFlag
LINK_FLAG_PROMISC: LinkFlag
LINK_FLAG_ALLMULTI: LinkFlag
LINK_FLAG_MASTER: LinkFlag
LINK_FLAG_SLAVE: LinkFlag
LINK_FLAG_MULTICAST: LinkFlag
LINK_FLAG_PORTSEL: LinkFlag
LINK_FLAG_AUTOMEDIA: LinkFlag
LINK_FLAG_DYNAMIC: LinkFlag
LINK_FLAG_LOWER_UP: LinkFlag
LINK_FLAG_DORMANT: LinkFlag
LINK_FLAG_ECHO: LinkFlag
ADDRESS_FLAG_NO_FLAGS: AddressFlag
ADDRESS_FLAG_TEMPORARY: AddressFlag
ADDRESS_FLAG_NODAD: AddressFlag
ADDRESS_FLAG_OPTIMISTIC: AddressFlag
ADDRESS_FLAG_DADFAILED: AddressFlag
ADDRESS_FLAG_HOMEADDRESS: AddressFlag
ADDRESS_FLAG_DEPRECATED: AddressFlag
ADDRESS_FLAG_TENTATIVE: AddressFlag
ADDRESS_FLAG_PERMANENT: AddressFlag
ADDRESS_FLAG_MANAGETEMPADDR: AddressFlag
ADDRESS_FLAG_NOPREFIXROUTE: AddressFlag
ADDRESS_FLAG_MCAUTOJOIN: AddressFlag
ADDRESS_FLAG_STABLEPRIVACY: AddressFlag
ROUTE_FLAG_NO_FLAGS: RouteFlag
ROUTE_FLAG_NOTIFY: RouteFlag
ROUTE_FLAG_CLONED: RouteFlag
ROUTE_FLAG_EQUALIZE: RouteFlag
ROUTE_FLAG_PREFIX: RouteFlag
ROUTE_FLAG_LOOKUP_TABLE: RouteFlag
ROUTE_FLAG_FIB_MATCH: RouteFlag
ROUTE_FLAG_OFFLOAD: RouteFlag
ROUTE_FLAG_TRAP: RouteFlag
