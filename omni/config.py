"""The configuration of an installation: one data folder, some addresses, and where the big servers are.

Read from the environment (`OMNI_*`), which `omni serve` fills from its flags for the processes it starts.
"""

import hashlib
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

SOCKET_PATH_LIMIT = 100  # Linux takes 107 bytes; PostgreSQL adds nothing to the name we measure


_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")

ENGINES = ("userspace", "wireguard-go", "kernel")


class ConfigError(ValueError):
    """A setting is wrong; the text names the setting, the value and what is expected."""


@dataclass(frozen=True)
class Config:
    """Settings of one installation. Empty strings mean "the embedded default".

    `listen` is the one public TCP address, `url` how people and machines reach it from outside.
    """

    data: Path = Path("data")
    listen: str = "127.0.0.1:8443"
    url: str = ""
    advertise: str = ""  # host or address that machines dial, when it is not that of `url`
    wireguard: str = "userspace"  # engine of links; wireguard-go and kernel need NET_ADMIN
    wireguard_port: int = 50180
    certificate: str = ""  # PEM file of a certificate that machines trust by themselves; else our own authority's
    certificate_key: str = ""
    database_url: str = ""  # as omni_app, which cannot bypass row-level security
    owner_database_url: str = ""  # as the role that owns the tables, for migrations
    redis_url: str = ""
    keys: str = ""  # folder of the installation's keys; empty: the data folder
    kek_file: str = ""
    gateway_name: str = ""  # links are held under it; empty: this host's name
    internal: str = ""  # where this process takes connections of the installation's other processes
    web: str = ""  # internal addresses of web processes, for a gateway; empty: the one on this host
    trusted_proxies: str = ""  # addresses or networks whose X-Forwarded-For is believed
    probe: str = ""  # where this process tells probes how it is
    factory_url: str = "https://factory.talos.dev"
    discovery: bool = True  # the discovery service inside gateways; nodes of clusters that want it use it
    discovery_interval: int = 600  # seconds between snapshots of what it knows
    log: str = "console"  # or json

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """The configuration told by `OMNI_DATA`, `OMNI_LISTEN`, ... Raises `ConfigError`."""
        env = os.environ if env is None else env
        given = {f.name: env[_variable(f.name)] for f in fields(cls) if env.get(_variable(f.name))}
        config = replace(cls(), **given)  # type: ignore[arg-type]
        port = str(config.wireguard_port)
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError(f"OMNI_WIREGUARD_PORT is {port!r}; give a UDP port from 1 to 65535")
        if config.wireguard not in ENGINES:
            raise ConfigError(
                f"OMNI_WIREGUARD is {config.wireguard!r}; give {', '.join(ENGINES[:-1])} or {ENGINES[-1]}"
            )
        if config.log not in ("console", "json"):
            raise ConfigError(f"OMNI_LOG is {config.log!r}; give console or json")
        if bool(config.certificate) != bool(config.certificate_key):
            raise ConfigError("OMNI_CERTIFICATE and OMNI_CERTIFICATE_KEY go together; give both files or neither")
        if config.gateway_name and not _NAME.fullmatch(config.gateway_name):
            raise ConfigError(
                f"OMNI_GATEWAY_NAME is {config.gateway_name!r}; give up to 63 letters, digits, '-' and '.'"
            )
        if (switch := str(config.discovery).lower()) not in ("true", "false"):
            raise ConfigError(f"OMNI_DISCOVERY is {config.discovery!r}; give true or false")
        interval = str(config.discovery_interval)
        if not interval.isdecimal() or not 10 <= int(interval) <= 86400:
            raise ConfigError(f"OMNI_DISCOVERY_INTERVAL is {interval!r}; give 10 to 86400 seconds")
        config = replace(
            config,
            data=Path(config.data).absolute(),
            wireguard_port=int(port),
            discovery=switch == "true",
            discovery_interval=int(interval),
        )
        for address in (config.listen, *filter(None, (config.internal, config.probe)), *config.web_addresses):
            split_address(address)
        for network in config.trusted_networks:
            try:
                ip_network(network)
            except ValueError as error:
                raise ConfigError(f"OMNI_TRUSTED_PROXIES: {error}; give addresses or networks with commas") from None
        return config

    def to_env(self) -> dict[str, str]:
        """The environment variables that make `from_env` return this configuration."""
        return {_variable(f.name): str(getattr(self, f.name)) for f in fields(self)}

    @property
    def run(self) -> Path:
        """The folder of unix sockets: `DATA/run`, or a private one in /tmp where that path would be too long."""
        folder = self.data / "run"
        if len(os.fsencode(folder / ".s.PGSQL.5432.lock")) <= SOCKET_PATH_LIMIT:
            return folder
        name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
        return Path(f"/tmp/omni-{os.getuid()}-{name}")  # noqa: S108 (made with mode 0700 and checked)

    @property
    def key_folder(self) -> Path:
        """Where the files are that this installation is known by."""
        return Path(self.keys).absolute() if self.keys else self.data

    @property
    def kek(self) -> Path:
        """The file of the key-encryption key."""
        return Path(self.kek_file) if self.kek_file else self.key_folder / "kek"

    @property
    def name(self) -> str:
        """The gateway's name: as told, or that of this host."""
        return self.gateway_name or re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:63]

    @property
    def internal_address(self) -> str:
        """HOST:PORT at which other hosts reach `internal`; empty when it is not open."""
        if not self.internal:
            return ""
        host, port = split_address(self.internal)
        host = own_address() if host in ("0.0.0.0", "::") else host  # noqa: S104 (what an open listener is called)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def web_addresses(self) -> list[str]:
        """`web`, one by one."""
        return [address.strip() for address in self.web.split(",") if address.strip()]

    @property
    def trusted_networks(self) -> list[str]:
        """`trusted_proxies`, one by one."""
        return [network.strip() for network in self.trusted_proxies.split(",") if network.strip()]

    @property
    def public_url(self) -> str:
        """Where people and machines reach this installation, without a slash at its end."""
        host, port = split_address(self.listen)
        host = self.machine_host if host in ("0.0.0.0", "::") else host  # noqa: S104
        return (self.url or f"https://{f'[{host}]' if ':' in host else host}:{port}").rstrip("/")

    @property
    def machine_host(self) -> str:
        """The host or address that machines dial: as told, or that of the public URL, or this machine's own."""
        host = self.advertise or urlsplit(self.url).hostname or split_address(self.listen)[0]
        return own_address() if host in ("0.0.0.0", "::") else host  # noqa: S104 (what an open listener is called)

    @property
    def machine_port(self) -> int:
        """The TCP port that machines dial: that of the public URL if it is given, else the one we listen on."""
        given = urlsplit(self.url)
        return given.port or (443 if self.url else split_address(self.listen)[1])

    @property
    def trusted_certificate(self) -> bool:
        """Whether machines can be told `https://`: Talos trusts public authorities only."""
        return bool(self.certificate)

    @property
    def app_dsn(self) -> str:
        """The database as the role that runs the product."""
        return self.database_url or f"postgresql://omni_app@/omni?host={self.run}"

    @property
    def owner_dsn(self) -> str:
        """The database as the role that owns the tables."""
        return self.owner_database_url or f"postgresql://omni_owner@/omni?host={self.run}"


def split_address(address: str) -> tuple[str, int]:
    """`HOST:PORT` or `[IPV6]:PORT` as host and port. Raises `ConfigError`."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{address!r} is not HOST:PORT, e.g. 0.0.0.0:8443")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 (what an empty host means)


def own_address() -> str:
    """The address this machine uses towards others; loopback when it has no route. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _variable(field: str) -> str:
    return f"OMNI_{field.upper()}"
