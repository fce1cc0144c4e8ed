"""`omni access`: who may do what, and why."""

from typing import Any

import click

from omni.cli import complete
from omni.cli.api import Api
from omni.cli.context import with_api
from omni.cli.output import Column, inert, output_option, show

NO = 1
"""Exit code when the answer is no."""

WHO: list[Column] = [
    ("name", "name"), ("role", lambda row: row["role"] or "shut out"), ("in organisation", "own"),
    ("kubernetes groups", "groups"), ("talos methods", "methods"), ("policies", "policies"),
]  # fmt: skip


@click.group()
def access() -> None:
    """Who may do what, and by which policies."""


@access.command("explain")
@click.argument("user", shell_complete=complete.members)
@click.argument("verb", shell_complete=complete.verbs)
@click.argument("object", default="")
@click.option(
    "-o", "--output", type=click.Choice(["text", "yaml", "json"]), default="text", help="How to print [text]."
)
@with_api
def explain(api: Api, user: str, verb: str, object: str, output: str) -> None:
    """Whether somebody may do something, and why. Exits with 1 when they may not.

    USER is an address, service-account:NAME, or `me`; VERB one of the product's (docs/permissions.md), talos:METHOD, or
    kubernetes; OBJECT cluster/NAME or machine/NAME.

    \b
    omni access explain a@example.com cluster.destroy cluster/prod
    omni access explain me talos:Reboot machine/m-1
    omni access explain service-account:ci kubernetes cluster/prod
    """
    asked = "" if user == "me" else user
    found: dict[str, Any] = api.get("access", "explain", user=asked, verb=verb, object=object)
    if output == "text":
        click.echo(inert(f"{'yes' if found['allowed'] else 'no'}: {found['sentence']}"))
    else:
        show(found, [], output)
    if not found["allowed"]:
        raise click.exceptions.Exit(NO)


@access.command("who")
@click.argument("object")
@output_option
@with_api
def who(api: Api, object: str, output: str) -> None:
    """Who can reach a cluster or a machine: role there, Kubernetes groups, and by which policies.

    OBJECT is cluster/NAME or machine/NAME.
    """
    found = api.get("access", "who", object=object)
    show(found["items"] if output == "table" else found, WHO, output)
