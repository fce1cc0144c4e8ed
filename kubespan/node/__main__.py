"""`python -m kubespan.node`: put this Linux host into the mesh of a cluster."""

from __future__ import annotations

import argparse
import asyncio
import logging
import platform
import re
import signal
import socket
import sys
from collections.abc import Callable
from ipaddress import ip_interface
from pathlib import Path
from typing import TypeVar

import yaml

from kubespan.affiliates import MAX_PORT, Endpoint
from kubespan.crypto import parse_secret
from kubespan.node.daemon import Daemon, Settings
from kubespan.node.endpoints import PORT, Filter
from kubespan.node.identity import Identity
from kubespan.node.wireguard import Kind

DESCRIPTION = """
Put this Linux host into the KubeSpan mesh of a Talos cluster: it publishes itself at the cluster's discovery service,
finds the others there, and reaches them encrypted at their KubeSpan addresses, their own and those they advertise.
It needs the right NET_ADMIN and the programs ip, wg and nft. SIGINT and SIGTERM let it leave the mesh.
"""
EPILOG = """
FILTER is a network or an address, which is taken, or either after !, which is left out of what those before it took.
Without filters everything is taken.
Exit status: 0 left the mesh, 1 could not go on, 2 wrong arguments.
"""
T = TypeVar("T")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kubespan.node", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False
    )
    parser.add_argument(
        "--service", required=True, metavar="URL", help="discovery service: https://HOST[:PORT]/, http:// without TLS"
    )
    parser.add_argument(
        "--cluster",
        required=True,
        type=Path,
        metavar="FILE",
        help="YAML with the cluster's id and secret: a machine configuration or what `talosctl gen secrets` writes",
    )
    parser.add_argument("--ca", type=Path, metavar="FILE", help="PEM roots that count beside the system's")
    parser.add_argument(
        "--identity",
        type=Path,
        metavar="FILE",
        help="keep node id, key and address here; new ones at each start without",
    )
    parser.add_argument("--hostname", default=socket.gethostname(), metavar="NAME", help="default: this host's")
    parser.add_argument(
        "--nodename", default="", metavar="NAME", help="be listed among the members of the cluster under this name"
    )

    tunnel = parser.add_argument_group("the tunnel")
    tunnel.add_argument("--wireguard", type=Kind, choices=list(Kind), default=Kind.KERNEL, help="what carries packets")
    tunnel.add_argument("--interface", type=_interface, default="kubespan", metavar="NAME", help="default: %(default)s")
    tunnel.add_argument("--port", type=_between(1, MAX_PORT), default=PORT, metavar="UDP", help="default: %(default)s")
    tunnel.add_argument(
        "--mtu", type=_between(1280, 65535), default=1420, metavar="BYTES",
        help="what fits into the network below, less 80; default: %(default)s",
    )  # fmt: skip
    tunnel.add_argument(
        "--allow-down-peer-bypass", action="store_true", help="reach peers that are down by the host's own routes"
    )

    told = parser.add_argument_group("what others are told; what takes a value may be repeated")
    told.add_argument(
        "--filter-addresses", type=_value(Filter.parse), action="append", default=[], metavar="FILTER",
        help="addresses of this host that others reach through the tunnel",
    )  # fmt: skip
    told.add_argument(
        "--filter-endpoints", type=_value(Filter.parse), action="append", default=[], metavar="FILTER",
        help="addresses of this host at which others try to reach its WireGuard",
    )  # fmt: skip
    told.add_argument(
        "--extra-endpoint", type=_value(Endpoint.parse), action="append", default=[], metavar="IP:PORT",
        help="one that this host does not know by itself",
    )  # fmt: skip
    told.add_argument(
        "--advertise", type=_value(ip_interface), action="append", default=[], metavar="NETWORK",
        help="network behind this host that others reach through it",
    )  # fmt: skip
    told.add_argument(
        "--exclude", type=_value(ip_interface), action="append", default=[], metavar="NETWORK",
        help="network that others leave out of all that is said above",
    )  # fmt: skip
    told.add_argument("--harvest", action="store_true", help="also the endpoints at which this host sees others")
    parser.add_argument("--verbose", action="store_true")
    return parser


def _value(parse: Callable[[str], T]) -> Callable[[str], T]:
    """A parser whose own words are shown."""

    def value(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return value


def _between(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {low} to {high}")
        return int(text)

    return number


def _interface(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,14}", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} names no interface: a letter, then up to 14 letters, digits, dots and dashes"
        )
    return text


def read_cluster(text: str) -> tuple[str, bytes]:
    """The id and secret of a cluster, from a machine configuration in either form or a bundle of secrets.

    Raises ValueError, which does not repeat them.
    """
    try:
        documents = [document for document in yaml.safe_load_all(text) if isinstance(document, dict)]
    except yaml.YAMLError:
        raise ValueError("is no YAML") from None
    for document in documents:
        part, names = document.get("cluster"), ("id", "secret")
        if document.get("kind") == "DiscoveryIdentityConfig":
            part, names = document, ("clusterID", "clusterSecret")
        if isinstance(part, dict):
            id, secret = map(part.get, names)
            if isinstance(id, str) and id and isinstance(secret, str):
                return id, parse_secret(secret)
    raise ValueError("has no cluster.id and cluster.secret, nor a DiscoveryIdentityConfig with both")


def settings(given: argparse.Namespace) -> Settings:
    """What was given. Raises OSError, ValueError."""
    try:
        cluster_id, secret = read_cluster(given.cluster.read_text())
    except ValueError as error:
        raise ValueError(f"{given.cluster}: {error}") from None
    return Settings(
        service=given.service,
        cluster_id=cluster_id,
        secret=secret,
        roots=given.ca,
        hostname=given.hostname,
        nodename=given.nodename,
        operating_system=_operating_system(),
        interface=given.interface,
        kind=given.wireguard,
        port=given.port,
        mtu=given.mtu,
        address_filters=tuple(given.filter_addresses),
        endpoint_filters=tuple(given.filter_endpoints),
        extra_endpoints=tuple(given.extra_endpoint),
        additional_addresses=tuple(given.advertise),
        exclude_advertised_networks=tuple(given.exclude),
        allow_down_peer_bypass=given.allow_down_peer_bypass,
        harvest_extra_endpoints=given.harvest,
    )


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


async def run(daemon: Daemon) -> None:
    """Until SIGINT or SIGTERM. Raises OSError."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await daemon.run(stop)


def build(arguments: list[str] | None = None) -> Daemon:
    """The daemon of a command line; a wrong one ends the process with status 2."""
    reads = parser()
    given = reads.parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if given.verbose else logging.INFO, format="%(asctime)s %(name)s: %(message)s"
    )
    try:
        identity = Identity.load(given.identity) if given.identity else Identity.generate()
        return Daemon(settings(given), identity)
    except (OSError, ValueError) as error:
        reads.error(str(error))


def main() -> None:
    daemon = build()
    try:
        asyncio.run(run(daemon))
    except OSError as error:
        sys.exit(f"omni: {error.strerror or error}")


if __name__ == "__main__":
    main()
