"""`omni demo`, and the simulated machines alone."""

import asyncio
import sys

import click

from omni.cli.options import installation
from omni.config import Config


@click.command()
@installation("data", "listen", "wireguard_port", "log")
def demo(config: Config) -> None:
    """Run everything with five simulated machines.

    It makes a cluster of them, shows progress until it is Ready, then where to look, and stays up until Ctrl-C. A
    second run goes on with the machines and the cluster of the first.
    """
    from omni import logs
    from omni.demo import DemoError
    from omni.demo import demo as run
    from omni.postgres import PostgresError
    from omni.serve import ServeError

    logs.setup(config.log, "demo")
    try:
        asyncio.run(run(config))
    except (DemoError, ServeError, PostgresError) as error:
        raise click.ClickException(str(error)) from None


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def simulator(arguments: tuple[str, ...]) -> None:
    """Run simulated Talos machines, against any server."""
    from nodeagent.simulator.__main__ import main
    from omni.simulated_mesh import SimulatedMesh

    sys.argv = ["omni simulator", *arguments]
    main(SimulatedMesh())
