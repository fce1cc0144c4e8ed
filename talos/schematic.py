"""Schematics: what a Talos image is made of, and the id under which an Image Factory knows it.

The id is the SHA-256 of one canonical text, so two parties that agree on the text need no registry to agree on the id.
Only the factory can build: an id it has not been told about does not exist for it.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Annotated, Any

from talos import yaml12
from talos.decode import decode
from talos.yaml12 import Node
from talos.yamlwords import double_quoted


class Bootloader(str):
    """The boot loader of an image; ``none`` leaves the choice to the factory."""

    KINDS = ("none", "dual-boot", "sd-boot", "grub")

    @classmethod
    def from_node(cls, node: Node) -> "Bootloader":
        kind = node.value.lower()
        if kind not in cls.KINDS:
            raise ValueError(f"{node.value} does not belong to BootloaderKind values: {', '.join(cls.KINDS)}")
        return cls(kind)


DEFAULT_BOOTLOADER = Bootloader("none")


@dataclass
class Overlay:
    """Support for a single-board computer."""

    image: str = ""
    name: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class MetaValue:
    key: Annotated[int, range(256)] = 0
    value: str = ""


@dataclass
class SystemExtensions:
    official_extensions: list[str] = field(default_factory=list)


@dataclass
class SecureBoot:
    enroll_keys: str = ""
    include_well_known_certificates: bool = False


@dataclass
class DiskImage:
    sector_size: Annotated[int, range(2**64)] = 0


@dataclass
class Customization:
    embedded_machine_configuration: str = ""
    extra_kernel_args: list[str] = field(default_factory=list)
    meta: list[MetaValue] = field(default_factory=list)
    system_extensions: SystemExtensions = field(default_factory=SystemExtensions)
    bootloader: Bootloader = DEFAULT_BOOTLOADER
    secureboot: SecureBoot = field(default_factory=SecureBoot)
    disk_image: DiskImage = field(default_factory=DiskImage)


@dataclass
class Schematic:
    """A schematic; order matters in every list, since it matters to the id."""

    owner: str = ""
    """Set by factories that know their users."""
    overlay: Overlay = field(default_factory=Overlay)
    customization: Customization = field(default_factory=Customization)

    def canonical(self, *, older_factory: bool = False) -> str:
        """The text the id is made of.

        Factories up to 1.4 quote some words otherwise: with ``older_factory`` it is theirs.
        """
        document = _content(self)
        return yaml12.dump(double_quoted(document) if older_factory else document)

    def id(self, *, older_factory: bool = False) -> str:
        """64 hex digits."""
        return hashlib.sha256(self.canonical(older_factory=older_factory).encode()).hexdigest()


def parse(text: bytes | str) -> Schematic:
    """Read a schematic from YAML or JSON; of several documents the first counts.

    Raises ValueError for empty text, unknown fields and wrong types.
    """
    first = next(yaml12.compose(text), None)
    if first is None:
        raise ValueError("the schematic is empty")
    return decode(first, Schematic)


def of_extensions(extensions: list[str], kernel_args: list[str] | None = None) -> Schematic:
    """The schematic of a machine without special hardware: these extensions in this order, these extra arguments."""
    return Schematic(
        customization=Customization(
            extra_kernel_args=list(kernel_args or []), system_extensions=SystemExtensions(list(extensions))
        )
    )


def _content(schematic: Schematic) -> dict[str, Any]:
    overlay, custom = schematic.overlay, schematic.customization
    return {
        **_present(owner=schematic.owner),
        **_present(overlay=overlay != Overlay() and {
            "image": overlay.image,
            "name": overlay.name,
            **_present(options=yaml12.sort_keys(overlay.options)),
        }),
        "customization": _present(
            embeddedMachineConfiguration=custom.embedded_machine_configuration,
            extraKernelArgs=custom.extra_kernel_args,
            meta=[{"key": item.key, "value": item.value} for item in custom.meta],
            systemExtensions=_present(officialExtensions=custom.system_extensions.official_extensions),
            bootloader="" if custom.bootloader == "none" else str(custom.bootloader),
            secureboot=_present(
                enrollKeys=custom.secureboot.enroll_keys,
                includeWellKnownCertificates=custom.secureboot.include_well_known_certificates,
            ),
            diskImage=_present(sectorSize=custom.disk_image.sector_size),
        ),
    }  # fmt: skip


def _present(**fields: Any) -> dict[str, Any]:
    """The fields that hold something."""
    return {key: value for key, value in fields.items() if value}
