"""A cluster's own endpoint: where its Kubernetes API is reached without the control plane that made the cluster."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

API_PORT = 6443

_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


@dataclass(frozen=True)
class Endpoint:
    """An address that people look after, a virtual IP that the control planes share, or both. False when there is none.

    `address` is a URL with its port, `virtual_ip` an address; both in the one form that `parse` gives them.
    """

    address: str = ""
    virtual_ip: str = ""

    @classmethod
    def parse(cls, address: str, virtual_ip: str) -> "Endpoint":
        """Read both as people write them. ValueError says what is wrong with the first that is."""
        return cls(_address(address) if address else "", _ip(virtual_ip, "virtualIP") if virtual_ip else "")

    def __bool__(self) -> bool:
        return bool(self.address or self.virtual_ip)

    @property
    def url(self) -> str:
        """What machines and kubeconfigs are told: the address, else the virtual IP. Empty when there is none."""
        return self.address or (f"https://{bracketed(self.virtual_ip)}:{API_PORT}" if self.virtual_ip else "")

    @property
    def host(self) -> str:
        """The host of `url`, without brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def names(self) -> tuple[str, ...]:
        """Every name and address that certificates have to hold because of it."""
        return tuple(dict.fromkeys(name for name in (self.host, self.virtual_ip) if name))


NO_ENDPOINT = Endpoint()
"""Of clusters that are reached by whoever made them."""


def bracketed(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def _address(text: str) -> str:
    """`host`, `host:port` (6443 without a port) or `https://host[:port]` (443 without one) as a URL with its port."""
    bare = "://" not in text
    if bare and text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"  # an IPv6 address alone
    try:
        parts = urlsplit(f"https://{text}" if bare else text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"address is no URL: {error}") from None
    if parts.scheme != "https":
        raise ValueError(f"address has to begin with https://, not {parts.scheme}://")
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError("address is a host and a port: no user, path or query")
    if not host:
        raise ValueError("address has no host")
    return f"https://{bracketed(_host(host))}:{port or (API_PORT if bare else 443)}"


def _host(text: str) -> str:
    if ":" in text or re.fullmatch(r"[0-9.]+", text):
        return _ip(text, "address")
    name = text.lower()
    if not _NAME.fullmatch(name):
        raise ValueError(f"address: {text!r} is no host name")
    return name


def _ip(text: str, what: str) -> str:
    try:
        found: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        raise ValueError(f"{what}: {text!r} is no IP address") from None
    if found.is_unspecified or found.is_multicast or found.is_link_local:
        raise ValueError(f"{what}: {text} is no address of one host that others reach")
    return str(found)
