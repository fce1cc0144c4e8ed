"""`omni login` and `omni context`: where the client commands speak to."""

from dataclasses import replace
from pathlib import Path

import click

from omni.cli import complete
from omni.cli import context as contexts
from omni.cli.api import Api
from omni.cli.options import installation
from omni.cli.output import output_option, show
from omni.config import Config


@click.command()
@click.argument("url", required=False)
@click.option("--name", default="default", help="Name of the context [default].")
@click.option("--token", envvar="OMNI_TOKEN", help="An API token; asked for when not given.")
@click.option("--ca", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PEM file of its authority.")
@click.option("--organisation", default="", help="The organisation to use; the only one is chosen by itself.")
@installation("data", "listen")
def login(config: Config, url: str | None, name: str, token: str | None, ca: Path | None, organisation: str) -> None:
    """Sign in with an API token and remember it as a context.

    \b
    omni login https://omni.example.com               asks for the token
    omni login --data ./data                          an installation on this machine: makes a token by itself
    """
    authority = ca.read_text() if ca else ""
    if url is None:
        if not (config.key_folder / "ca.crt").exists():
            raise click.UsageError(f"give the URL; {config.data} is no installation on this machine")
        from omni.cli.admin import new_owner_token

        url, authority = config.public_url, (config.key_folder / "ca.crt").read_text()
        token = token or new_owner_token(config, "omni login", organisation)
    token = token or click.prompt("API token", hide_input=True)
    with Api(url, token, authority) as api:
        me, places = api.call("GET", "/me"), api.call("GET", "/organisations")["items"]
    slugs = [place["slug"] for place in places]
    if organisation and organisation not in slugs:
        raise click.ClickException(f"you are not in {organisation!r}; yours: {', '.join(slugs) or 'none'}")
    organisation = organisation or (slugs[0] if len(slugs) == 1 else "")
    stored = contexts.load()
    stored.contexts[name] = contexts.Context(url, organisation, token, authority)
    stored.current = name
    contexts.save(stored)
    click.echo(f"Signed in to {url} as {me['email']}, organisation {organisation or 'not chosen yet'}.")


@click.group()
def context() -> None:
    """Which server and organisation commands speak to."""


@context.command("list")
@output_option
def list_contexts(output: str) -> None:
    """Contexts of this user; the current one is marked."""
    stored = contexts.load()
    rows = [
        {"name": name, "current": name == stored.current, "url": item.url, "organisation": item.organisation}
        for name, item in stored.contexts.items()
    ]
    show(
        rows,
        [
            ("", lambda row: "*" if row["current"] else ""),
            ("name", "name"),
            ("url", "url"),
            ("organisation", "organisation"),
        ],
        output,
        "No context yet; `omni login` makes one.",
    )


@context.command("use")
@click.argument("name", shell_complete=complete.contexts)
def use(name: str) -> None:
    """Make a context the current one."""
    stored = contexts.load()
    if name not in stored.contexts:
        raise click.ClickException(f"there is no context {name!r}; known: {', '.join(stored.contexts) or 'none'}")
    stored.current = name
    contexts.save(stored)


@context.command("organisation")
@click.argument("slug", shell_complete=complete.organisations)
def organisation(slug: str) -> None:
    """Use another organisation in the current context."""
    stored = contexts.load()
    if stored.current not in stored.contexts:
        raise click.ClickException("no context yet; `omni login` makes one")
    stored.contexts[stored.current] = replace(stored.contexts[stored.current], organisation=slug)
    contexts.save(stored)


@context.command("remove")
@click.argument("name", shell_complete=complete.contexts)
def remove(name: str) -> None:
    """Forget a context and its token."""
    stored = contexts.load()
    if stored.contexts.pop(name, None) is None:
        raise click.ClickException(f"there is no context {name!r}")
    if stored.current == name:
        stored.current = next(iter(stored.contexts), "")
    contexts.save(stored)
