"""The configuration a machine starts with: from a cluster's secrets and a few choices, by version contract.

Equal input gives equal bytes, those that `talosctl gen config` writes without comments. Up to contract 1.13 nearly
everything is in the v1alpha1 document; from 1.14 on, nearly everything has a document of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv6Address

from talos.config import generate_documents, generate_v1alpha1, gourl
from talos.config.document import Config, ConfigError, from_documents
from talos.contract import CURRENT, VersionContract
from talos.machinetype import MachineType
from talos.secrets import Bundle

DEFAULT_KUBE_PRISM_PORT = 7445


class GenerateError(ValueError):
    """No configuration can be generated from this input."""


@dataclass(frozen=True, kw_only=True)
class GenerateInput:
    """What a cluster's machines have in common. GenerateError if something needed is missing.

    The installer's disk and image may differ between machines: `dataclasses.replace` makes the variants.
    """

    cluster_name: str
    #: Where clients and nodes reach the Kubernetes API, `https://host[:port]`. It is written as given.
    endpoint: str
    #: Without a leading `v`.
    kubernetes_version: str
    bundle: Bundle = field(repr=False)
    contract: VersionContract = CURRENT

    #: Device path of the disk to install to. From contract 1.14 on nothing is said about installing without it.
    install_disk: str = ""
    install_image: str = ""
    #: Extra kernel arguments; they have no place in configurations from contract 1.14 on.
    install_extra_kernel_args: Sequence[str] = ()
    #: Leave installing to whoever calls the machine's API, from contract 1.14 on.
    skip_unattended_install: bool = False

    #: Further names and addresses in the certificates of the Talos and the Kubernetes API.
    additional_sans: Sequence[str] = ()
    dns_domain: str = "cluster.local"
    #: Manifest of a network plug-in in place of flannel.
    custom_cni_url: str = ""
    nameservers: Sequence[str] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    #: Mirror URLs by registry host.
    registry_mirrors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: Registry hosts whose TLS certificate is not verified.
    insecure_registries: Sequence[str] = ()

    allow_scheduling_on_control_planes: bool = False
    #: Port of the API server on each control plane, 6443 if none is given.
    local_api_server_port: int = 0
    #: Port of the load balancer on each node for its own use of the Kubernetes API; 0 disables it.
    kube_prism_port: int = DEFAULT_KUBE_PRISM_PORT
    discovery: bool = True
    #: None: nothing is said about KubeSpan, which leaves it off.
    kubespan: bool | None = None
    debug: bool = False

    def __post_init__(self) -> None:
        if not self.kubernetes_version:
            raise GenerateError("kubernetes version must be specified")
        if not self.contract.at_least(1, 8):
            raise GenerateError(f"configurations are generated for contract v1.8 and later, not for {self.contract}")

    @property
    def pod_subnets(self) -> list[str]:
        return ["fc00:db8:10::/56" if self._ipv6 else "10.244.0.0/16"]

    @property
    def service_subnets(self) -> list[str]:
        return ["fc00:db8:20::/112" if self._ipv6 else "10.96.0.0/12"]

    @property
    def api_server_sans(self) -> list[str]:
        """The names that the API server's certificate has to be told of."""
        if self.contract.populate_cluster_sans_from_endpoint:
            return [gourl.parse(self.endpoint).hostname, *self.additional_sans]
        return list(self.additional_sans)

    @property
    def _ipv6(self) -> bool:
        """Whether the endpoint is a bare IPv6 address, as Talos asks; one inside a URL does not count."""
        try:
            IPv6Address(self.endpoint)
        except AddressValueError:
            return False
        return True


def generate(given: GenerateInput, machine_type: MachineType) -> Config:
    """The configuration of a machine of this type. GenerateError if a value is none of what it stands for."""
    if machine_type is MachineType.UNKNOWN:
        raise GenerateError("failed to determine config type to generate")
    try:
        gourl.parse(given.endpoint)
    except ValueError as error:
        raise GenerateError(str(error)) from None
    v1alpha1 = generate_v1alpha1.document(given, machine_type)
    try:
        return from_documents([v1alpha1, *generate_documents.documents(given, machine_type)])
    except ConfigError as error:
        raise GenerateError(str(error)) from None
