"""`omni discovery`: the discovery service on its own."""

import asyncio
import contextlib
import os
import re
import resource
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from kubespan.discovery.replicas.places import Addresses

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


class Duration(click.ParamType):
    """Seconds, written as `90`, `90s`, `10m` or `1h30m`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        if isinstance(value, float):
            return value
        parts = re.findall(r"(\d+(?:\.\d+)?)([smh]?)", value)
        if "".join(number + unit for number, unit in parts) != value or not parts:
            self.fail(f"{value!r} is no duration; write 30s, 10m or 1h", param, ctx)
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
        if not seconds:
            self.fail("it has to be longer than nothing", param, ctx)
        return seconds


@click.command()
@click.option("--listen", default=":3000", metavar="HOST:PORT", help="Where nodes come (gRPC).  [:3000]")
@click.option("--certificate", type=click.Path(path_type=Path), help="PEM file for TLS; read anew when it changes.")
@click.option("--key", type=click.Path(path_type=Path), help="PEM file of its key.")
@click.option("--snapshot", metavar="FILE", help="What outlives a restart; empty for nothing.  [in the state folder]")
@click.option("--snapshot-interval", type=Duration(), default="10m", help="Between snapshots.  [10m]")
@click.option("--gc-interval", type=Duration(), default="1m", help="Between looks for what has expired.  [1m]")
@click.option("--pages", default=":3001", metavar="HOST:PORT", help="Pages for people; empty for none.  [:3001]")
@click.option("--metrics", default=":2122", metavar="HOST:PORT", help="/metrics, /healthz, /readyz.  [:2122]")
@click.option("--redirect", default="", metavar="HOST:PORT", help="Send all clients to another service.")
@click.option("--trust-x-real-ip", is_flag=True, help="A proxy in front says there who the client is.")
@click.option("--trust-first-x-forwarded-for", is_flag=True, help="Or there, in the first address.")
@click.option("--hide-client-address", is_flag=True, help="Do not tell nodes the address that they come from.")
@click.option(
    "--rate-limit", type=click.FloatRange(0), default=15.0, help="Calls a second of one address; 0: no limits.  [15]"
)
@click.option("--name", help="What other processes call this one in their logs.  [the host's name]")
@click.option("--peer-listen", metavar="HOST:PORT", help="Where other processes of this service come.")
@click.option("--peers", default="", metavar="HOST:PORT,...", help="Where they are; a name is all its addresses.")
@click.option("--peer-authority", type=click.Path(path_type=Path), help="PEM file: who has a certificate of it is one.")
@click.option("--peer-certificate", type=click.Path(path_type=Path), help="PEM file: that of this process.")
@click.option("--peer-key", type=click.Path(path_type=Path), help="PEM file of its key.")
@click.option("--peer-plain", is_flag=True, help="No TLS between them: the network is protected.")
@click.option("--log", envvar="OMNI_LOG", type=click.Choice(["console", "json"]), default="console", help="[console]")
def discovery(
    listen: str,
    certificate: Path | None,
    key: Path | None,
    snapshot: str | None,
    snapshot_interval: float,
    gc_interval: float,
    pages: str,
    metrics: str,
    redirect: str,
    trust_x_real_ip: bool,
    trust_first_x_forwarded_for: bool,
    hide_client_address: bool,
    rate_limit: float,
    name: str | None,
    peer_listen: str | None,
    peers: str,
    peer_authority: Path | None,
    peer_certificate: Path | None,
    peer_key: Path | None,
    peer_plain: bool,
    log: str,
) -> None:
    """Run a discovery service for Talos Linux, on its own.

    Nodes of a Talos cluster find each other through it, as KubeSpan needs. It is wire-compatible with
    discovery.talos.dev, needs no database, no privileges and nothing else of omni, and serves any number of clusters.
    It cannot read what nodes tell each other: that is encrypted with a secret of the cluster.

    \b
    omni discovery --certificate tls.crt --key tls.key --listen :443
    omni discovery                          # without TLS, behind a proxy or in a network of yours

    Then point machines at it, as a patch of their configuration:

    \b
    cluster:
      discovery:
        enabled: true
        registries:
          service:
            endpoint: https://discovery.example.com/     # http://HOST:3000/ without TLS

    From Talos 1.14 on also as a document:

    \b
    apiVersion: v1alpha1
    kind: DiscoveryServiceConfig
    name: default
    endpoint: https://discovery.example.com/

    Several processes can serve the same clusters, so that one may be restarted or lost. All know each other: the
    certificates are of an authority that makes no others. On one host they need none.

    \b
    omni discovery --certificate tls.crt --key tls.key --listen :443 --peer-listen :3002 \\
        --peers discovery-1:3002,discovery-2:3002,discovery-3:3002 \\
        --peer-authority peers-ca.crt --peer-certificate peer.crt --peer-key peer.key

    SIGTERM and Ctrl-C end it gently. It may be killed as well: every change is kept before it is acknowledged.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what it writes by itself has none of the formats of `--log`
    from kubespan.discovery.program import Address, Options, SetupError, run
    from omni import logs

    if (certificate is None) != (key is None):
        raise click.UsageError("--certificate and --key are given together")
    try:
        options = Options(
            listen=Address.parse(listen),
            pages=Address.parse(pages) if pages else None,
            metrics=Address.parse(metrics) if metrics else None,
            certificate=(certificate, key) if certificate and key else None,
            snapshot=default_snapshot() if snapshot is None else Path(snapshot) if snapshot else None,
            snapshot_interval=snapshot_interval,
            collect_every=gc_interval,
            redirect=redirect,
            report_address=not hide_client_address,
            trust_real_ip=trust_x_real_ip,
            trust_forwarded_for=trust_first_x_forwarded_for,
            rate=rate_limit,
            name=name or socket.gethostname(),
            neighbours=neighbours(peer_listen, peers, (peer_authority, peer_certificate, peer_key), peer_plain),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    logs.setup(log, "discovery")
    with contextlib.suppress(ValueError, OSError):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    async def until_signal() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await run(options, stop)

    import uvloop

    try:
        uvloop.run(until_signal())
    except SetupError as error:
        raise click.ClickException(str(error)) from None


def neighbours(
    listen: str | None, peers: str, files: tuple[Path | None, Path | None, Path | None], plain: bool
) -> "Addresses | None":
    """Who else serves the same clusters. Raises ValueError when that cannot be so."""
    from kubespan.discovery.replicas.places import Addresses, Identity

    authority, certificate, key = files
    others = [peer.strip() for peer in peers.split(",") if peer.strip()]
    if not listen:
        if others:
            raise ValueError("--peers needs --peer-listen: processes find each other from both sides")
        return None
    if not any(files):
        return Addresses(listen, others, None, plain=plain)
    if not (authority and certificate and key) or plain:
        raise ValueError(
            "--peer-authority, --peer-certificate and --peer-key are given together, and not with --peer-plain"
        )
    return Addresses(listen, others, Identity(authority, certificate, key))


def default_snapshot() -> Path:
    """Where systemd says, else below the user's folder for state."""
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    folder = Path(given) if given else Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return folder / ("state.binpb" if given else "omni-discovery/state.binpb")
