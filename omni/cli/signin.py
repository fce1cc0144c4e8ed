"""`omni login`, `omni logout` and `omni context`: where the client commands speak to, and as whom."""

import os
import socket
import sys
import time
import webbrowser
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import click

from omni.cli import complete
from omni.cli import context as contexts
from omni.cli.api import Api, Away
from omni.cli.options import installation
from omni.cli.output import output_option, show
from omni.config import Config

LONGEST_HOST = 60
POLL_SECONDS = 2.0
LONGEST_WAIT = 300.0
ENDS = {
    "refused": "the request was refused in the browser; nothing was stored",
    "expired": "nobody granted the request in time; start again",
    "used": "the token of this request was fetched already, not by this command; revoke it on the page of API tokens",
}
"""Why a login ends without a token."""


@click.command()
@click.argument("url", required=False)
@click.option("--name", default="default", help="Name of the context [default].")
@click.option("--token", envvar="OMNI_TOKEN", help="An API token, for programs; a browser is asked without it.")
@click.option("--no-browser", is_flag=True, help="Only print the address; open it anywhere.")
@click.option("--ca", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PEM file of its authority.")
@click.option("--organisation", default="", help="The organisation to use; the only one is chosen by itself.")
@installation("data", "listen")
def login(
    config: Config, url: str | None, name: str, token: str | None, no_browser: bool, ca: Path | None, organisation: str
) -> None:
    """Sign in and remember it as a context.

    \b
    omni login https://omni.example.com               asks in a browser, here or on another device
    omni login https://omni.example.com --token T     with an API token, for programs
    omni login --data ./data                          an installation on this machine: makes a token by itself
    """
    authority = ca.read_text() if ca else ""
    if url is None:
        if not (config.key_folder / "ca.crt").exists():
            raise click.UsageError(f"give the URL; {config.data} is no installation on this machine")
        from omni.cli.admin import new_owner_token

        url, authority = config.public_url, (config.key_folder / "ca.crt").read_text()
        token = token or new_owner_token(config, "omni login", organisation)
    if token is None:
        token, organisation = _granted(url, authority, no_browser, organisation)
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


def _granted(url: str, authority: str, no_browser: bool, organisation: str) -> tuple[str, str]:
    """A token that a person grants in a browser, and its organisation. Raises ClickException."""
    with Api(url, "", authority) as api:
        asked = api.call("POST", "/login-requests", json={"host": socket.gethostname()[:LONGEST_HOST] or "a terminal"})
        where = asked["url"] + (f"?organisation={quote(organisation)}" if organisation else "")
        click.echo(f"Open this address in a browser, here or on another device:\n\n    {where}\n", err=True)
        click.echo(f"The page shows the code {asked['code']}; grant it only if it does.", err=True)
        if not no_browser and _has_browser():
            webbrowser.open(where)
        return _wait(api, asked["secret"])


def _wait(api: Api, secret: str) -> tuple[str, str]:
    """Ask until a person decided; a server that restarts meanwhile is waited for."""
    until = time.monotonic() + LONGEST_WAIT
    while True:
        try:
            fetched = api.call("POST", "/login-requests/fetch", json={"secret": secret})
        except Away:
            if time.monotonic() > until:
                raise
            fetched = {"state": "waiting"}
        if fetched["state"] == "granted":
            return fetched["token"], fetched["organisation"]
        if fetched["state"] != "waiting":
            raise click.ClickException(ENDS[fetched["state"]])
        time.sleep(POLL_SECONDS)


def _has_browser() -> bool:
    """Whether a window can open here: not over SSH, and on Linux only with a display."""
    if os.environ.get("SSH_CONNECTION"):
        return False
    display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return display or sys.platform in ("darwin", "win32")


@click.command()
@click.option("--name", default="", help="Which context [the current one].", shell_complete=complete.contexts)
def logout(name: str) -> None:
    """Revoke a context's API token and forget the context."""
    stored = contexts.load()
    name = name or stored.current
    if name not in stored.contexts:
        raise click.ClickException(f"there is no context {name!r}; known: {', '.join(stored.contexts) or 'none'}")
    item = stored.contexts[name]
    try:
        with Api(item.url, item.token, item.ca) as api:
            api.call("DELETE", "/me/token")
    except click.ClickException as error:
        click.echo(f"The token was not revoked, and may still work: {error.message}", err=True)
    forget(stored, name)
    click.echo(f"Signed out of {item.url} (context {name}).")


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
    """Forget a context and its token; `omni logout` revokes the token too."""
    stored = contexts.load()
    if name not in stored.contexts:
        raise click.ClickException(f"there is no context {name!r}")
    forget(stored, name)


def forget(stored: contexts.Contexts, name: str) -> None:
    """Store the contexts without one of them."""
    del stored.contexts[name]
    if stored.current == name:
        stored.current = next(iter(stored.contexts), "")
    contexts.save(stored)
