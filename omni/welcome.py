"""What a server says when it is ready."""

import asyncio
import os
import sys

import click
import psycopg

from apps.accounts.first_run import first_run_path
from omni import keys
from omni.config import Config

RETRY = 1.0
"""Seconds until a database that went away is asked again."""


async def greet(config: Config, with_join: bool = False) -> None:
    """Print where it is and, while nobody owns it, the link for its first owner.

    `with_join`: instead make an owner where there is none, and print how to sign in and how machines join.
    """
    click.echo(f"omni is ready at {config.public_url}")
    click.echo(f"its certificate authority is {config.key_folder / 'ca.crt'}, SHA-256 {keys.fingerprint(config)}")
    if with_join:
        command = [sys.executable, "-m", "omni", "admin", "welcome"]
        process = await asyncio.create_subprocess_exec(*command, env=os.environ | config.to_env())
        await process.wait()  # it says itself what went wrong
        return
    if not await _owned(config):
        secret = (config.key_folder / "secret").read_text().strip()
        click.echo(f"nobody owns it yet; make the first account at {config.public_url}{first_run_path(secret)}")


async def _owned(config: Config) -> bool:
    """Whether somebody owns an organisation here. A database that just ended is being started again by `serve`."""
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(config.app_dsn) as session:
                found = await session.execute("SELECT 1 FROM omni_list_organisations() LIMIT 1")
                return await found.fetchone() is not None
        except psycopg.OperationalError:
            await asyncio.sleep(RETRY)
