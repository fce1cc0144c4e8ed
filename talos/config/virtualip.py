"""The virtual IP that control planes share, as the configuration of one of them says it."""

from talos import yaml12
from talos.contract import VersionContract


def patch(contract: VersionContract, virtual_ip: str, link: str) -> str:
    """A patch that lets a control plane compete for `virtual_ip` on `link`.

    From contract 1.12 on it is a document of its own. Before, it is part of the link's settings, and a link with
    settings is no longer given an address by DHCP unless they say so.
    """
    if contract.multidoc_network_config_supported:
        return yaml12.dump({"apiVersion": "v1alpha1", "kind": "Layer2VIPConfig", "name": virtual_ip, "link": link})
    device = {"interface": link, "dhcp": True, "vip": {"ip": virtual_ip}}
    return yaml12.dump({"machine": {"network": {"interfaces": [device]}}})
