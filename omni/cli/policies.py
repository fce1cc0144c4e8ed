"""`omni policies`: what widens and narrows roles, as files."""

from pathlib import Path
from typing import Any

import click

from omni.cli import complete
from omni.cli.api import Api
from omni.cli.context import with_api
from omni.cli.output import Column, ago, as_yaml, inert, output_option, show

FIELDS = (
    "name", "description", "subjects", "effect", "role", "clusters", "cluster_labels", "machine_labels",
    "kubernetes_groups", "talos_methods",
)  # fmt: skip


def _about(row: dict[str, Any]) -> str:
    parts = [
        ",".join(row["clusters"]),
        row["cluster_labels"],
        row["machine_labels"] and f"machines {row['machine_labels']}",
    ]
    return "; ".join(part for part in parts if part) or "everything"


def _gives(row: dict[str, Any]) -> str:
    groups, methods = len(row["kubernetes_groups"]), len(row["talos_methods"])
    parts = [row["role"], groups and f"{groups} groups", methods and f"{methods} methods"]
    return ", ".join(part for part in parts if part)


COLUMNS: list[Column] = [
    ("name", "name"), ("effect", "effect"), ("gives or leaves", _gives), ("to", "subjects"), ("on", _about),
    ("changed", ago("updated_at")),
]  # fmt: skip

policy = click.argument("name", shell_complete=complete.policies)


@click.group()
def policies() -> None:
    """What widens and narrows roles: by cluster, by label, by machine.

    A grant gives more than the role in the organisation, a limit leaves less. Limits win, and bind all but owners.
    `omni access explain` tells what they make of somebody.
    """


@policies.command("list")
@click.option("-q", "--query", default="", help="Only with this in name, description or content.")
@output_option
@with_api
def list_policies(api: Api, query: str, output: str) -> None:
    """List policies."""
    empty = "No policy: everybody has their role everywhere. `omni policies apply` makes one."
    show(api.list("policies", q=query), COLUMNS, output, empty)


@policies.command("get")
@policy
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", help="How to print [yaml].")
@with_api
def get_policy(api: Api, name: str, output: str) -> None:
    """Print a policy, as `apply` takes it."""
    show(_kept(api.get("policies", name)), [], output)


@policies.command("apply")
@click.option(
    "-f", "--file", "file", required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path, allow_dash=True),
    help="YAML or JSON, one document for each policy; - reads stdin.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say whom and what they would touch, and change nothing.")
@with_api
def apply(api: Api, file: Path, dry_run: bool) -> None:
    """Make policies, or change them to what a file says. They count from the next request and call on.

    A document:

    \b
    name: deploy
    subjects: [service-account:ci, "user:*@ops.example.com"]
    effect: grant                      # or limit
    role: operator                     # of a limit: at most this one; none shuts out
    clusters: ["prod-*"]               # nothing here, and no labels: everywhere
    cluster_labels: env in (prod, stage)
    kubernetes_groups: [developers]
    talos_methods: [machine.MachineService/Reboot]
    """
    with click.open_file(str(file)) as stream:
        wanted = _read(str(file), stream.read())
    known = {row["name"] for row in api.list("policies")}
    for document in wanted:
        if dry_run:
            _preview(api, document)
            continue
        _write(api, document, exists=document["name"] in known)
        click.echo(f"{'changed' if document['name'] in known else 'made'} {document['name']}")


@policies.command("edit")
@policy
@with_api
def edit(api: Api, name: str) -> None:
    """Change a policy in $EDITOR."""
    before = as_yaml(_kept(api.get("policies", name)))
    after = click.edit(before, extension=".yaml", require_save=True)
    if after is None or after == before:
        click.echo("nothing changed")
        return
    documents = _read(name, after)
    if len(documents) != 1 or documents[0]["name"] != name:
        raise click.ClickException(f"a policy keeps its name: {name}. Nothing was changed.")
    _write(api, documents[0], exists=True)
    click.echo(f"changed {name}")


@policies.command("delete")
@policy
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_api
def delete(api: Api, name: str, yes: bool) -> None:
    """End a policy. What was open by it ends within seconds."""
    if not yes:
        row = api.get("policies", name)
        click.echo(inert(f"{name} {row['effect']}s {_gives(row)} to {', '.join(row['subjects'])} on {_about(row)}."))
        click.confirm(f"Delete policy {name}?", abort=True)
    api.delete("policies", name)


def _kept(row: dict[str, Any]) -> dict[str, Any]:
    return {field: row[field] for field in FIELDS if row[field] or field == "name"}


def _write(api: Api, document: dict[str, Any], exists: bool) -> None:
    if exists:
        api.put("policies", document["name"], json=document)
    else:
        api.post("policies", json=document)


def _preview(api: Api, document: dict[str, Any]) -> None:
    found = api.post("policies", "preview", json=document)
    people, clusters = len(found["holders"]), ", ".join(found["clusters"]) or "no cluster"
    click.echo(inert(f"{document['name']}: {people} of the organisation; {clusters}; {found['machines']} machines"))
    for change in found["changes"]:
        after = change["after"] or "shut out"
        click.echo(
            inert(f"  {change['name']}: {change['before'] or 'shut out'} -> {after} on {', '.join(change['on'])}")
        )
    for name in found["unbound"]:
        click.echo(inert(f"  {name}: an owner, whom no limit binds"))


def _read(source: str, text: str) -> list[dict[str, Any]]:
    """The policies in a text. Raises ClickException with the document that is none."""
    import yaml

    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise click.ClickException(f"{source} is no YAML: {error}") from None
    for number, document in enumerate(documents, 1):
        if not isinstance(document, dict) or not isinstance(document.get("name"), str):
            raise click.ClickException(f"{source}, document {number}: a policy is a mapping with a `name`")
    if not documents:
        raise click.ClickException(f"{source} has no document")
    return documents
