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
ROLE = ("data", "database_url", "redis_url", "log")


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
            greet(config, with_join=welcome)
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
@installation(*ROLE)
@click.option("--bind", default="", metavar="HOST:PORT", help="Serve HTTP here instead of on DATA/run/core.sock.")
def web(config: Config, bind: str) -> None:
    """Run pages, REST and websockets alone.

    Any number may run; put them behind a gateway or a TLS proxy.
    """
    from omni import programs

    programs.web(config, bind)


@click.command()
@installation(*ROLE)
def worker(config: Config) -> None:
    """Run reconcilers alone.

    Any number may run: the database sees to it that none works on what another one does. With OMNI_REDIS_URL they take
    tasks from there, and `omni beat` must run; without it they listen to the database.
    """
    from omni import programs

    programs.worker(config)


@click.command()
@installation(*ROLE)
def beat(config: Config) -> None:
    """Run timers and the dispatcher alone.

    For workers that take tasks from OMNI_REDIS_URL; one is enough.
    """
    from omni import programs

    if not config.redis_url:
        raise click.UsageError("beat speaks to workers through OMNI_REDIS_URL; without it they need no beat")
    programs.beat(config)


@click.command()
@installation("data", "listen", "url", "advertise", "wireguard", "wireguard_port", "database_url", "log")
def gateway(config: Config) -> None:
    """Run what machines talk to, and the public port, alone."""
    from omni import programs

    programs.gateway(config)


@click.command()
@installation("data", "database_url", "owner_database_url", "log")
def migrate(config: Config) -> None:
    """Bring the database to this version.

    With its row-level security. `omni serve` does it by itself.
    """
    from omni import programs

    programs.migrate(config)
