"""Names of container images: Talos' installer, and what Kubernetes is made of."""

from talos.semver import Version, parse
from talos.versions import check_kubernetes

FACTORY_HOST = "factory.talos.dev"
"""The public Image Factory; installations may have their own."""

VANILLA_INSTALLER = "ghcr.io/siderolabs/installer"
"""The installer without a schematic: bare metal, no extensions."""

KUBELET = "ghcr.io/siderolabs/kubelet"
API_SERVER = "registry.k8s.io/kube-apiserver"
CONTROLLER_MANAGER = "registry.k8s.io/kube-controller-manager"
SCHEDULER = "registry.k8s.io/kube-scheduler"
PROXY = "registry.k8s.io/kube-proxy"


def installer(
    talos: str,
    schematic: str | None,
    platform: str = "metal",
    *,
    secure_boot: bool = False,
    factory: str = FACTORY_HOST,
) -> str:
    """The image that installs or upgrades a machine, e.g. ``factory.talos.dev/metal-installer/<schematic>:v1.14.1``.

    ``platform`` counts from Talos 1.10 on; before, one installer served all. Without a schematic it is the vanilla
    installer, which knows neither secure boot nor any platform but bare metal: anything else raises ValueError.
    """
    version = parse(talos)
    if schematic is None:
        if secure_boot or platform != "metal":
            raise ValueError(f"an installer for {'secure boot' if secure_boot else platform} needs a schematic")
        return f"{VANILLA_INSTALLER}:v{version}"
    name = "installer" if version.core < (1, 10, 0) else f"{platform}-installer"
    if secure_boot:
        name += "-secureboot"
    return f"{factory}/{name}/{schematic}:v{version}"


def kubernetes(component: str, version: str) -> str:
    """The image of a Kubernetes component (one of the repositories named above) in a version with or without ``v``."""
    return f"{component}:v{version.removeprefix('v')}"


def kubernetes_version(image: str) -> Version:
    """The Kubernetes version in the tag of an image reference, whose digest is ignored.

    Raises ValueError when there is no tag of the form ``v1.2.3``.
    """
    _, found, tag = image.rpartition(":v")
    if not found:
        raise ValueError(f'invalid image reference: "{image}"')
    return parse(tag.partition("@")[0])


def check_kubernetes_image(image: str, talos: str) -> None:
    """Raise ValueError, with the reason, unless the image's tag is a Kubernetes version that runs on this Talos."""
    try:
        version = kubernetes_version(image)
    except ValueError as error:
        raise ValueError(f'failed to parse Kubernetes version from image reference "{image}": {error}') from None
    check_kubernetes(str(version), talos)
