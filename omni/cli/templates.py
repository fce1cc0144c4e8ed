"""`omni cluster template`: clusters as files."""

from pathlib import Path
from typing import Any

import click

from omni.cli import complete
from omni.cli.api import Api
from omni.cli.clusters import cluster, follow
from omni.cli.context import with_api
from omni.cli.output import output_option, show

file_option = click.option(
    "-f", "--file", "file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The template; patches that it names are read beside it.",
)  # fmt: skip


@cluster.group()
def template() -> None:
    """Clusters as files.

    What is in the file is what the cluster becomes.

    \b
    omni cluster template export prod > prod.yaml
    omni cluster template diff -f prod.yaml
    omni cluster template sync -f prod.yaml --wait
    """


def _local(file: Path) -> tuple[Any, list[Any], dict[str, str]]:
    """The template read on this machine: parsed, its resources, and the files it names. Raises ClickException."""
    from talos import template as library

    files: dict[str, str] = {}

    def read_file(path: str) -> bytes:
        content = (file.parent / path).read_bytes()
        files[path] = content.decode()
        return content

    try:
        parsed = library.load(file.read_bytes())
        library.validate(parsed, read_file)
        return parsed, library.translate(parsed, read_file), files
    except library.TemplateError as error:
        raise click.ClickException(f"{file}: {error}") from None
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{file} or a file it names is not text: {error}") from None


def _body(file: Path) -> dict[str, Any]:
    _, _, files = _local(file)
    return {"template": file.read_text(), "files": files}


@template.command("validate")
@file_option
def validate(file: Path) -> None:
    """Check a template on this machine, without a server."""
    from talos import template as library

    parsed, resources, _ = _local(file)
    for warning in library.warnings(parsed):
        click.echo(f"warning: {warning}", err=True)
    problems = library.problems(parsed)
    if problems:
        raise click.ClickException("\n".join(problems))
    click.echo(f"{file} is valid: cluster {parsed.cluster.name}, {len(resources)} objects")


@template.command("render")
@file_option
def render(file: Path) -> None:
    """Print the objects that a template stands for, without a server."""
    from talos import template as library

    _, resources, _ = _local(file)
    click.echo(library.render(resources), nl=False)


@template.command("diff")
@file_option
@with_api
def diff(api: Api, file: Path) -> None:
    """Show what a sync would change."""
    _print(api.post("templates", "plan", json=_body(file)), verbose=True)


@template.command("sync")
@file_option
@click.option("--dry-run", is_flag=True, help="Check everything and change nothing.")
@click.option("-v", "--verbose", is_flag=True, help="Show the differences, not only the objects.")
@click.option("--wait", is_flag=True, help="Follow until the cluster is ready.")
@click.option("--timeout", type=float, default=600, show_default=True, help="Seconds that --wait goes on.")
@output_option
@with_api
def sync(api: Api, file: Path, dry_run: bool, verbose: bool, wait: bool, timeout: float, output: str) -> None:
    """Make a cluster what its template says: all of it, or nothing."""
    review = api.post("templates", "sync", json=_body(file), dry_run="true" if dry_run else "")
    if output == "table":
        _print(review, verbose)
        if dry_run:
            click.echo("Nothing was changed (dry run).")
    else:
        show(review, [], output)
    if wait and not dry_run:
        follow(api, review["cluster"], timeout)


@template.command("status")
@file_option
@click.option("--wait", is_flag=True, help="Follow until the cluster is ready.")
@click.option("--timeout", type=float, default=600, show_default=True, help="Seconds that --wait goes on.")
@click.pass_context
def status(context: click.Context, file: Path, wait: bool, timeout: float) -> None:
    """How the cluster of a template is."""
    from omni.cli.clusters import status as cluster_status

    parsed, _, _ = _local(file)
    arguments = [parsed.cluster.name, "--timeout", str(timeout), *(["--wait"] if wait else [])]
    cluster_status.main(arguments, standalone_mode=False, parent=context)


@template.command("export")
@click.argument("name", shell_complete=complete.clusters)
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
@with_api
def export(api: Api, name: str, to: Path | None) -> None:
    """Print a cluster as a template that syncs to no change."""
    content = api.get("clusters", name, "template")["content"]
    if to is None:
        click.echo(content, nl=False)
    else:
        to.write_text(content)


@template.command("delete")
@file_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--wait", is_flag=True, help="Follow until the cluster is gone and its machines are free.")
@click.option("--timeout", type=float, default=600, show_default=True, help="Seconds that --wait goes on.")
@with_api
def delete(api: Api, file: Path, yes: bool, wait: bool, timeout: float) -> None:
    """Destroy the cluster of a template."""
    parsed, _, _ = _local(file)
    name = parsed.cluster.name
    question = f"All machines of {name} are wiped. Type {name} to go on"
    if not yes and click.prompt(question, default="", show_default=False) != name:
        raise click.Abort
    api.post("templates", "delete", json=_body(file))
    if wait:
        follow(api, name, timeout, gone_is_done=True)


def _print(review: dict[str, Any], verbose: bool) -> None:
    for warning in review["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    for change in review["changes"]:
        click.echo(f"{change['act']:8} {change['type'].partition('.')[0]} {change['id']}")
        if verbose and change["diff"]:
            click.echo(change["diff"].rstrip("\n"))
    if not review["changes"] and not review["refusals"]:
        click.echo(f"{review['cluster']} is as the template says; nothing to change.")
    if review["refusals"]:
        raise click.ClickException("\n".join(review["refusals"]))
