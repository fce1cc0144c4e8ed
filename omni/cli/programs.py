"""Commands that run the server, whole or by role."""

import asyncio

import click

from omni.cli.options import installation
from omni.config import Config

SERVER = (
    "data",
    "listen",
    "url",
    "advertise",
    "wireguard",
    "wireguard_port",
    "database_url",
    "owner_database_url",
    "log",
)
ROLE = ("data", "keys", "database_url", "redis_url", "log")


@click.command()
@installation(*SERVER)
@click.option("--welcome", is_flag=True, help="When ready, print how to sign in and how machines join.")
def serve(config: Config, welcome: bool) -> None:
    """Run the whole control plane.

    Database, pages, API, reconcilers, and everything machines talk to: one command, one process tree, one data folder.
    Ctrl-C ends all of it; it may also be killed at any time. At the first start it makes its own certificate authority
    and prints a link with which the first owner signs in.
    """
    from omni import logs
    from omni.postgres import PostgresError
    from omni.serve import ServeError, running, until_signal
    from omni.welcome import greet

    logs.setup(config.log, "serve")

    async def run() -> None:
        async with running(config):
            await greet(config, with_join=welcome)
            await until_signal()
            click.echo("stopping", err=True)

    try:
        asyncio.run(run())
    except (ServeError, PostgresError) as error:
        raise click.ClickException(str(error)) from None


@click.command(hidden=True)
@installation(*ROLE)
def core(config: Config) -> None:
    """Web, worker and beat in one process, as `omni serve` runs them."""
    from omni import programs

    programs.core(config)


@click.command()
@installation(*ROLE, "url", "internal", "trusted_proxies")
@click.option("--bind", default="", metavar="HOST:PORT", help="Serve HTTP here, for a proxy that speaks TLS.")
def web(config: Config, bind: str) -> None:
    """Run pages, REST and websockets alone.

    Any number may run. Gateways on other hosts relay to --internal, a proxy of yours to --bind; with neither it serves
    the gateway on this host, by a socket in the data folder.
    """
    from omni import programs

    programs.web(config, bind)


@click.command()
@installation(*ROLE, "probe")
def worker(config: Config) -> None:
    """Run reconcilers alone.

    Any number may run: the database sees to it that none works on what another one does. With --redis-url they take
    tasks from there, and `omni beat` must run; without it they listen to the database.
    """
    from omni import programs

    programs.worker(config)


@click.command()
@installation(*ROLE, "probe")
def beat(config: Config) -> None:
    """Run timers and the dispatcher alone.

    For workers that take tasks from --redis-url. One is active; others stand by and take over at once when it ends.
    """
    from omni import programs

    if not config.redis_url:
        raise click.UsageError("beat speaks to workers through --redis-url; without it they need no beat")
    programs.beat(config)


@click.command()
@installation(
    *("data", "keys", "listen", "url", "advertise", "wireguard", "wireguard_port", "database_url"),
    *("gateway_name", "internal", "web", "probe", "log"),
)
def gateway(config: Config) -> None:
    """Run what machines talk to, and the public port, alone.

    With --internal several may run, on as many hosts as you like, each under a --name of its own. A machine's link is
    held by the gateway where the machine lands; the others reach it from there.
    """
    from omni import programs

    programs.gateway(config)


@click.command("keys")
@installation("data", "keys", "url", "advertise", "listen")
def make_keys(config: Config) -> None:
    """Make the keys of an installation that runs on several hosts.

    Certificate authority, key-encryption key, WireGuard key and what our own processes know each other by. Every
    process gets the same folder. Keys that are there stay; a server certificate that runs out is renewed.
    """
    from omni import keys

    try:
        keys.prepare(config)
    except OSError as error:
        raise click.ClickException(f"keys cannot be written: {error}") from None
    click.echo(f"{config.key_folder} holds the keys; its authority has SHA-256 {keys.fingerprint(config)}")


@click.command()
@installation("data", "database_url", "owner_database_url", "log")
def migrate(config: Config) -> None:
    """Bring the database to this version.

    With its row-level security. `omni serve` does it by itself.
    """
    from psycopg import OperationalError

    from omni import programs

    try:
        programs.migrate(config)
    except OperationalError as error:
        raise click.ClickException(f"the database does not answer its owner: {error}") from None
