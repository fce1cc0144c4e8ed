"""Version contracts: the Talos minor version whose defaults a cluster's configuration follows.

A contract is fixed when a cluster is created and does not change when its machines are upgraded, so a configuration
generated again next year equals the one generated today.
"""

import re
from typing import Any

from talos.config.errors import quote

_VERSION = re.compile(r"v([0-9]+)\.([0-9]+)(\..*)?", re.DOTALL)


class _Feature:
    """A property of a contract that holds from one version on, and before another if that is given."""

    def __init__(self, since: tuple[int, int] | None = None, until: tuple[int, int] | None = None) -> None:
        self._since = since
        self._until = until

    def __get__(self, contract: "VersionContract", owner: type) -> bool:
        at_least = self._since is None or contract.at_least(*self._since)
        return at_least and (self._until is None or not contract.at_least(*self._until))


def _since(major: int, minor: int, *, until: tuple[int, int] | None = None) -> Any:
    return _Feature((major, minor), until)


def _until(major: int, minor: int) -> Any:
    return _Feature(until=(major, minor))


class VersionContract:
    """One contract. `VersionContract.parse` reads it; `CURRENT` is the newest one there is.

    The features keep Talos' names. Each is a bool: whether configurations of this contract have it.
    """

    __slots__ = ("major", "minor")

    major: int | None
    minor: int | None

    def __init__(self, major: int | None = None, minor: int | None = None) -> None:
        """Without numbers: the newest contract, whichever that is."""
        self.major = major
        self.minor = minor

    @classmethod
    def parse(cls, text: str) -> "VersionContract":
        """Read `v1.9`, `1.9` or a full version such as `v1.9.3-alpha.1`; ValueError if it is none of these.

        Empty text is the newest contract.
        """
        if not text:
            return CURRENT
        version = text if text.startswith("v") else f"v{text}"
        match = _VERSION.fullmatch(version)
        if match is None:
            raise ValueError(f"error parsing version {quote(version)}")
        return cls(int(match[1]), int(match[2]))

    def at_least(self, major: int, minor: int) -> bool:
        """Whether this contract is the given one or a later one."""
        if self.major is None or self.minor is None:
            return True
        return (self.major, self.minor) >= (major, minor)

    def __str__(self) -> str:
        return "current" if self.major is None else f"v{self.major}.{self.minor}"

    def __repr__(self) -> str:
        return f"VersionContract({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VersionContract) and (self.major, self.minor) == (other.major, other.minor)

    def __hash__(self) -> int:
        return hash((self.major, self.minor))

    pod_security_admission_enabled: bool = _since(1, 1)

    stable_hostname_enabled: bool = _since(1, 2)
    kubelet_default_runtime_seccomp_profile_enabled: bool = _since(1, 2)
    kubernetes_allow_scheduling_on_control_planes: bool = _since(1, 2)
    kubernetes_discovery_backend_disabled: bool = _since(1, 2)
    #: Kubernetes images came from `k8s.gcr.io` before, from `registry.k8s.io` later by default.
    kubernetes_alternate_image_registries: bool = _since(1, 2, until=(1, 3))

    api_server_audit_policy_supported: bool = _since(1, 3)
    apid_ext_key_usage_check_enabled: bool = _since(1, 3)
    kubelet_manifests_directory_disabled: bool = _since(1, 3)
    secretbox_encryption_supported: bool = _since(1, 3)

    disk_quota_support_enabled: bool = _since(1, 5)
    kube_prism_enabled: bool = _since(1, 6)
    host_dns_enabled: bool = _since(1, 7)
    use_rsa_service_account_key: bool = _since(1, 7)

    add_exclude_from_external_load_balancer: bool = _since(1, 8)
    cluster_name_for_workers: bool = _since(1, 8)
    host_dns_forward_kube_dns_to_host: bool = _since(1, 8)
    secure_boot_enroll_enforcement_supported: bool = _since(1, 8)

    volume_config_encryption_supported: bool = _since(1, 11)

    #: The node itself adds the endpoint to the API server's certificate from 1.12 on.
    populate_cluster_sans_from_endpoint: bool = _until(1, 12)
    grub_use_uki_cmdline_default: bool = _since(1, 12)
    hide_disable_psp: bool = _since(1, 12)
    hide_rbac_and_key_usage: bool = _since(1, 12)
    multidoc_network_config_supported: bool = _since(1, 12)

    kube_span_multidoc_config: bool = _since(1, 13)

    discovery_identity_multidoc_config: bool = _since(1, 14)
    discovery_service_multidoc_config: bool = _since(1, 14)
    filesystem_trim_enabled_by_default: bool = _since(1, 14)
    host_dns_multidoc_config: bool = _since(1, 14)
    multidoc_kernel_module_config_supported: bool = _since(1, 14)
    multidoc_kubernetes_config_supported: bool = _since(1, 14)
    multidoc_sysctl_config_supported: bool = _since(1, 14)
    unattended_install_config: bool = _since(1, 14)
    workload_isolation_enabled_by_default: bool = _since(1, 14)

    #: Machines without Kubernetes or etcd: a name is reserved, no version has them.
    kubernetes_disabled: bool = False
    etcd_disabled: bool = False


#: The newest contract.
CURRENT = VersionContract()
