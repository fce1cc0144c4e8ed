"""Where nodes find each other, as a patch of the configuration that was generated for them."""

from typing import Any

from talos import yaml12
from talos.config.document import Config
from talos.contract import VersionContract

PUBLIC_SERVICE = "https://discovery.talos.dev/"
"""The discovery service that a configuration names where nothing else is said."""

EMBEDDED_NAME = "omni-embedded"
"""Name of a control plane's own service beside the public one."""


def patch(contract: VersionContract, endpoint: str, *, public: bool = False, roots: str = "") -> str:
    """A patch that has nodes use the discovery service at `endpoint`, a URL without path.

    From contract 1.14 on services are documents: the given one takes the place of the generated one, or with `public`
    stands beside it. Before, there is one service, and `public` has no effect. `roots` are PEM certificates of the
    authorities by which nodes shall know the service, where those of the system do not do.
    """
    documents: list[dict[str, Any]] = []
    if contract.discovery_service_multidoc_config:
        name = EMBEDDED_NAME if public else "default"
        documents.append({**_header("DiscoveryServiceConfig"), "name": name, "endpoint": endpoint})
    else:
        documents.append({"cluster": {"discovery": {"registries": {"service": {"endpoint": endpoint}}}}})
    if roots:
        documents.append({**_header("TrustedRootsConfig"), "name": EMBEDDED_NAME, "certificates": roots})
    return "---\n".join(yaml12.dump(document) for document in documents)


def services(config: Config) -> list[str]:
    """URLs without path of the discovery services that nodes with this configuration use; none where it is off."""
    documents = [str(values.get("endpoint") or "") for values in config.all("DiscoveryServiceConfig")]
    found = (((config.v1alpha1 or {}).get("cluster") or {}).get("discovery")) or {}
    service = (found.get("registries") or {}).get("service") or {}
    if found.get("enabled") and not service.get("disabled"):
        documents.append(str(service.get("endpoint") or PUBLIC_SERVICE))
    return [endpoint.rstrip("/") for endpoint in documents if endpoint]


def _header(kind: str) -> dict[str, str]:
    return {"apiVersion": "v1alpha1", "kind": kind}
