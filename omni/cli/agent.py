"""`omni agent`: the program beside machines that cannot dial out themselves."""

import asyncio
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from omni import __version__

if TYPE_CHECKING:
    from nodeagent.agent import Options

FILES = 4_096
"""Open files wanted: one for each connection carried, and those of a scan."""


@click.command()
@click.option("--server", envvar="OMNI_AGENT_SERVER", required=True, metavar="URL", help="The server's public URL.")
@click.option("--token", envvar="OMNI_AGENT_TOKEN", default="", help="A join token; better by file or environment.")
@click.option("--token-file", envvar="OMNI_AGENT_TOKEN_FILE", type=click.Path(path_type=Path), help="Read it here.")
@click.option("--node", "nodes", envvar="OMNI_AGENT_NODES", multiple=True, metavar="HOST", help="A machine; repeat it.")
@click.option("--scan", "networks", envvar="OMNI_AGENT_SCAN", multiple=True, metavar="CIDR", help="Look for machines.")
@click.option("--name", envvar="OMNI_AGENT_NAME", metavar="NAME", help="What the server calls it [this host's name].")
@click.option("--state", envvar="OMNI_AGENT_STATE", type=click.Path(path_type=Path), help="Folder for its identity.")
@click.option("--ca", envvar="OMNI_AGENT_CA", type=click.Path(path_type=Path), help="PEM file of the authority.")
@click.option("--fingerprint", envvar="OMNI_AGENT_FINGERPRINT", metavar="SHA256", help="Of a certificate it shows.")
@click.option("--log", envvar="OMNI_LOG", type=click.Choice(["console", "json"]), default="console", help="[console]")
def agent(
    server: str,
    token: str,
    token_file: Path | None,
    nodes: tuple[str, ...],
    networks: tuple[str, ...],
    name: str | None,
    state: Path | None,
    ca: Path | None,
    fingerprint: str | None,
    log: str,
) -> None:
    """Carry connections from the server to machines beside this host.

    It dials out, so it needs no open port; it needs no privileges. It connects to the hosts given by --node and to
    those inside --scan networks, on ports 50000 (Talos) and 6443 (Kubernetes), and to nothing else. Every option can be
    given as a variable OMNI_AGENT_..., lists separated by spaces. HTTPS_PROXY and NO_PROXY are honoured.

    \b
    OMNI_AGENT_TOKEN=... omni agent --server https://omni.example.com --node 10.5.0.11 --node 10.5.0.12
    omni agent --server https://10.0.0.2:8443 --ca ca.crt --token-file token --scan 10.5.0.0/24
    """
    from nodeagent.agent import StateError, run
    from omni import logs

    logs.setup(log, "agent")
    try:
        options = read(
            server=server,
            token=_secret(token, token_file),
            nodes=nodes,
            networks=networks,
            name=name or socket.gethostname().partition(".")[0],
            state=state or default_state(),
            ca=_text(ca),
            fingerprint=fingerprint,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with suppress(ValueError):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES if most < 0 else min(FILES, most), most))

    async def until_signal() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await run(options, stop)

    try:
        asyncio.run(until_signal())
    except StateError as error:
        raise click.ClickException(str(error)) from None


def read(
    *,
    server: str,
    token: str,
    nodes: tuple[str, ...],
    networks: tuple[str, ...],
    name: str,
    state: Path,
    ca: str | None,
    fingerprint: str | None,
) -> "Options":
    """What was given, checked. Raises ValueError."""
    from nodeagent.agent import Options
    from nodeagent.tunnel.protocol import NAME, Scope
    from nodeagent.tunnel.reach import Address, Trust, Way, proxy_for

    address = Address.parse(server)
    if not nodes and not networks:
        raise ValueError("give at least one --node HOST or --scan CIDR: the agent reaches nothing else")
    if not NAME.fullmatch(name):
        raise ValueError(f"--name {name[:80]!r} is not 1 to 63 letters, digits, dots, dashes and underscores")
    way = Way(address, Trust(ca, fingerprint), proxy_for(address))
    return Options(way, name, token, Scope(nodes, networks), state, __version__)


def default_state() -> Path:
    """Where systemd says, else below the user's folder for state."""
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "omni-agent"


def _secret(token: str, file: Path | None) -> str:
    if file is not None:
        return (_text(file) or "").strip()
    if token and any(token in word for word in sys.argv):
        click.echo("the token shows in the list of processes; use --token-file or OMNI_AGENT_TOKEN", err=True)
    return token


def _text(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
