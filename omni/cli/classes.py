"""`omni machineclasses`: names for label selectors."""

from pathlib import Path
from typing import Any

import click

from omni.cli import complete
from omni.cli.api import Api
from omni.cli.context import with_api
from omni.cli.names import one_of
from omni.cli.output import Column, output_option, show

CLASS_COLUMNS: list[Column] = [("name", "name"), ("match labels", lambda row: " | ".join(row["match_labels"]))]

name_argument = click.argument("name", shell_complete=complete.machine_classes)


@click.group()
def machineclasses() -> None:
    """Names for label selectors, which machine sets of templates pick by."""


@machineclasses.command("list")
@output_option
@with_api
def list_classes(api: Api, output: str) -> None:
    """List machine classes."""
    show(api.list("machine-classes"), CLASS_COLUMNS, output, "No class yet; `omni machineclasses apply` makes one.")


@machineclasses.command("get")
@name_argument
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", help="How to print [yaml].")
@with_api
def get_class(api: Api, name: str, output: str) -> None:
    """Print a machine class, as `apply` takes it."""
    row = api.get("machine-classes", name)
    show({"name": row["name"], "match_labels": row["match_labels"]}, [], output)


@machineclasses.command("apply")
@click.option(
    "-f", "--file", "file", required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path, allow_dash=True),
    help="YAML or JSON, one document for each class; - reads stdin.",
)  # fmt: skip
@with_api
def apply(api: Api, file: Path) -> None:
    """Make machine classes, or change them to what a file says.

    Machines that were picked already stay where they are. A document:

    \b
    name: big
    match_labels:                      # any of them has to match
      - zone in (a, b), omni.sidero.dev/cores >= 8
      - rack = r07
    """
    classes = _read(file)
    known = {row["name"] for row in api.list("machine-classes")}
    for wanted in classes:
        if wanted["name"] in known:
            api.put("machine-classes", wanted["name"], json=wanted)
        else:
            api.post("machine-classes", json=wanted)
        click.echo(f"{'changed' if wanted['name'] in known else 'made'} {wanted['name']}")


@machineclasses.command("delete")
@name_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_api
def delete(api: Api, name: str, yes: bool) -> None:
    """Remove a machine class that no machine set uses."""
    row = one_of(api.list("machine-classes"), name, "machine class", "name")
    if not yes:
        click.confirm(f"Delete machine class {name}?", abort=True)
    api.delete("machine-classes", row["name"])


def _read(file: Path) -> list[dict[str, Any]]:
    """The classes in a file. Raises ClickException with the document that is none."""
    import yaml

    with click.open_file(str(file)) as stream:
        try:
            documents = [document for document in yaml.safe_load_all(stream) if document is not None]
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise click.ClickException(f"{file} is no YAML: {error}") from None
    found = []
    for number, document in enumerate(documents, 1):
        fields = document if isinstance(document, dict) else {}
        name, selectors = fields.get("name"), fields.get("match_labels")
        if not isinstance(name, str) or not isinstance(selectors, list) or set(fields) - {"name", "match_labels"}:
            raise click.ClickException(f"{file}, document {number}: a class has `name` and a list `match_labels`")
        found.append({"name": name, "match_labels": [str(item) for item in selectors]})
    if not found:
        raise click.ClickException(f"{file} has no document")
    return found
