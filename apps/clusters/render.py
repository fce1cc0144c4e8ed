"""From what is wanted to the full configuration of one machine. Pure; equal inputs give equal bytes.

Order: generated base with the virtual IP, patches by level, join documents. A configuration is rendered again only when
its inputs change, never because this program did: `fingerprint` covers the inputs alone.
"""

import hashlib
import json
from dataclasses import dataclass, field

from apps.clusters.machine_steps import Role
from talos.config import redact as redaction
from talos.config import virtualip
from talos.config.document import ConfigError, encode
from talos.config.generate import GenerateError, GenerateInput, generate
from talos.config.patch import apply, load_patch
from talos.contract import VersionContract
from talos.machinetype import MachineType
from talos.secrets import Bundle


class RenderError(ValueError):
    """The configuration cannot be made; the text names the patch and holds no secret."""


_ADDED = ("sans", "virtual_ip", "virtual_ip_link", "virtual_ip_problem")
"""Inputs that are part of a fingerprint only where they say something."""


@dataclass(frozen=True)
class Inputs:
    """Everything that a machine's configuration depends on."""

    cluster: str
    endpoint: str  # that machines are told of
    kubernetes_version: str
    contract: str  # Talos version the cluster was created with
    role: Role
    install_disk: str  # empty where the configuration does not install
    install_image: str
    secrets_id: str
    join_documents: str = field(repr=False)
    patches: tuple[tuple[str, str], ...] = field(repr=False)  # (name, text) in order of application
    bundle: Bundle = field(repr=False)
    sans: tuple[str, ...] = ()  # further names and addresses in the machine's certificates
    virtual_ip: str = ""  # of a control plane that shares one
    virtual_ip_link: str = ""
    virtual_ip_problem: str = ""  # why no link can carry it

    def fingerprint(self) -> str:
        """Changes when the configuration may have to."""
        given = {name: value for name, value in vars(self).items() if name not in ("bundle", "patches", *_ADDED)} | {
            "patches": [[name, hashlib.sha256(text.encode()).hexdigest()] for name, text in self.patches]
        }
        given |= {name: value for name in _ADDED if (value := getattr(self, name))}
        return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Rendered:
    """A configuration, what may be shown of it, and the hash that names it."""

    config: bytes = field(repr=False)
    redacted: str = ""

    @property
    def sha(self) -> str:
        return hashlib.sha256(self.config).hexdigest()


def contract_installs(initial_talos_version: str) -> bool:
    """Whether configurations of this contract name the disk and image to install in any case (up to 1.13)."""
    return not VersionContract.parse(initial_talos_version).at_least(1, 14)


def render(inputs: Inputs) -> Rendered:
    """Make the configuration. Raises RenderError."""
    if inputs.virtual_ip_problem:
        raise RenderError(inputs.virtual_ip_problem)
    contract = VersionContract.parse(inputs.contract)
    try:
        config = generate(
            GenerateInput(
                cluster_name=inputs.cluster,
                endpoint=inputs.endpoint,
                kubernetes_version=inputs.kubernetes_version,
                bundle=inputs.bundle,
                contract=contract,
                install_disk=inputs.install_disk,
                install_image=inputs.install_image,
                additional_sans=inputs.sans,
            ),
            MachineType.parse(inputs.role),
        )
    except (GenerateError, ValueError) as error:
        raise RenderError(str(error)) from None
    layers = [*inputs.patches, ("the join documents", inputs.join_documents)]
    if inputs.virtual_ip:
        shared = virtualip.patch(contract, inputs.virtual_ip, inputs.virtual_ip_link)
        layers.insert(0, ("the virtual IP", shared))
    for name, text in layers:
        if not text.strip():
            continue
        try:
            config = apply(config, [load_patch(text)])
        except ConfigError as error:
            raise RenderError(f"{name} does not apply: {error}") from None
    return Rendered(encode(config).encode(), encode(redaction.redact(config)))
