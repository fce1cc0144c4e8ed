"""Options that tell a command which installation it works on."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from omni.config import ENGINES, Config, ConfigError


def installation(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command a `config`, read from the environment and from the flags in `names` of `FLAGS`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def run(**given: Any) -> Any:
            flags = {name: given.pop(name) for name in names}
            environment = {f"OMNI_{name.upper()}": str(value) for name, value in flags.items() if value is not None}
            try:
                config = Config.from_env(os.environ | environment)
            except ConfigError as error:
                raise click.UsageError(str(error)) from None
            try:
                return command(config=config, **given)
            except ConfigError as error:
                raise click.ClickException(str(error)) from None

        decorated: Callable[..., Any] = run
        for name in reversed(names):
            decorated = FLAGS[name](decorated)
        return decorated

    return decorate


FLAGS: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "data": click.option(
        "--data", type=click.Path(path_type=Path), help="Folder with everything this installation keeps [./data]."
    ),
    "keys": click.option("--keys", metavar="DIR", help="Folder with the installation's keys [the data folder]."),
    "listen": click.option("--listen", metavar="HOST:PORT", help="The one public TCP address [127.0.0.1:8443]."),
    "url": click.option("--url", help="How people reach it from outside, e.g. https://omni.example.com."),
    "advertise": click.option("--advertise", metavar="HOST", help="The address that machines dial, when another."),
    "wireguard": click.option(
        "--wireguard",
        type=click.Choice(ENGINES),
        help="What carries WireGuard links [userspace]; the other two need the right NET_ADMIN.",
    ),
    "wireguard_port": click.option("--wireguard-port", metavar="PORT", help="UDP port of machines' links [50180]."),
    "database_url": click.option(
        "--database-url", help="A PostgreSQL of yours, as a role that owns nothing; embedded without it."
    ),
    "owner_database_url": click.option("--owner-database-url", help="The same as the role that owns the tables."),
    "gateway_name": click.option("--name", "gateway_name", help="Links are held under it [this host's name]."),
    "internal": click.option(
        "--internal", metavar="HOST:PORT", help="Where processes on other hosts reach this one; only ours are let in."
    ),
    "web": click.option(
        "--web", metavar="HOST:PORT,...", help="Internal addresses of web processes; without it the one on this host."
    ),
    "trusted_proxies": click.option(
        "--trusted-proxies", metavar="NETWORK,...", help="Proxies whose X-Forwarded-For and -Proto are believed [none]."
    ),
    "probe": click.option("--probe", metavar="HOST:PORT", help="Answer /healthz, /readyz and /metrics here."),
    "redis_url": click.option("--redis-url", help="A Redis or Valkey that carries tasks between processes."),
    "log": click.option("--log", type=click.Choice(["console", "json"]), help="Form of the logs [console]."),
}
