"""`omni status`, `omni audit` and `omni orgs`: what needs somebody, who did what, and for which organisation."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from omni.cli import context as contexts
from omni.cli.api import Api
from omni.cli.context import with_api
from omni.cli.history import newer
from omni.cli.output import Column, ago, inert, output_option, show, show_each

WORDS = {"bad": "failed", "ask": "asks you", "warn": "attention", "off": "not there", "wait": "waits", "work": "moves"}
"""What a shape is called in a table."""

_age = ago("since")


@click.command()
@output_option
@with_api
def status(api: Api, output: str) -> None:
    """What needs somebody now, what goes on by itself, and counts.

    \b
    omni status
    omni status -o json | jq -r '.needs[].title'
    """
    found = api.get("status")
    if output != "table":
        show(found, [], output)
        return
    needs = found["needs"]
    click.echo(f"{len(needs)} thing{'s need' if len(needs) != 1 else ' needs'} you" if needs else "Nothing needs you.")
    for item in needs:
        _tell(item)
    if found["moving"]:
        click.echo("\nMoving by itself:")
        for item in found["moving"]:
            _tell(item)
    click.echo()
    for noun in ("machines", "clusters"):
        counts = found[noun]
        parts = [f"{number} {name}" for name, number in counts.items() if number and name != "all"]
        what = noun if counts["all"] != 1 else noun.removesuffix("s")
        click.echo(f"{counts['all']} {what}{': ' if parts else ''}{', '.join(parts)}")


def _tell(item: dict[str, Any]) -> None:
    since = f", since {_age(item)}" if item["since"] else ""
    step = f", step {min(item['done'] + 1, item['steps'])} of {item['steps']}" if item["steps"] else ""
    click.echo(inert(f"  {WORDS.get(item['shape'], item['shape']):9}  {item['title']}{since}{step}"))
    click.echo(inert(f"             {item['sentence']}"))


AUDIT_COLUMNS: list[Column] = [
    ("at", lambda row: _clock(row)), ("who", "actor_name"), ("did", lambda row: _what(row)),
    ("to", lambda row: _whom(row)), ("outcome", "outcome"), ("from", "source"),
]  # fmt: skip


def _clock(row: dict[str, Any]) -> str:
    return datetime.fromisoformat(row["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _whom(row: dict[str, Any]) -> str:
    return f"{row['object_kind']} {row['object_name']}".strip()


def _verbs(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    from apps.access.verbs import VERBS

    kinds = sorted({verb.split(".")[0] for verb in VERBS})
    known = [*VERBS, *(f"{kind}.*" for kind in kinds)]
    return [CompletionItem(verb) for verb in known if verb.startswith(begun)]


def filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """The filters of the audit as options; the command is given them together as `query`."""

    @wraps(command)
    def run(**given: Any) -> Any:
        names = ("q", "actor", "verb", "object", "outcome", "since", "until")
        return command(query={name: given.pop(name) for name in names}, **given)

    for option in (
        click.option("--until", help="Only records before this time."),
        click.option("--since", help="Only records since: a time, a day, or how long ago (15m, 24h, 7d)."),
        click.option("--outcome", help="Only records with this result."),
        click.option("--on", "object", help="Only records on objects with this in their name, or with this id."),
        click.option("--verb", help="A verb like cluster.destroy, or cluster.* for all.", shell_complete=_verbs),
        click.option("--who", "actor", help="Only records of people or tokens with this in their name."),
        click.option("-q", "--query", "q", help="Words: in who, what or whom; or a request's id."),
    ):
        option(run)
    return run


@click.group(invoke_without_command=True)
@click.pass_context
def audit(context: click.Context) -> None:
    """Who did what, to what, when.

    Alone it lists the newest records.

    \b
    omni audit list --verb 'cluster.*' --since 24h
    omni audit tail --who ana
    omni audit export --since 7d --to audit.csv
    """
    if context.invoked_subcommand is None:
        context.invoke(list_records)


@audit.command("list")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many, newest first.")
@filters
@output_option
@with_api
def list_records(api: Api, output: str = "table", limit: int = 50, query: dict[str, Any] | None = None) -> None:
    """List records, the newest first."""
    show(api.list("audit", limit=limit, sort="-at", **(query or {})), AUDIT_COLUMNS, output, "No record matches.")


@audit.command("tail")
@click.option(
    "-n", "--lines", type=click.IntRange(0, 500), default=10, show_default=True, help="Records to begin with."
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="How to print [text].")
@filters
@with_api
def tail(api: Api, lines: int, output: str, query: dict[str, Any]) -> None:
    """Show the last records, then new ones as they are written, until Ctrl-C; also while the server restarts.

    With -o json one object a line.
    """
    newest = api.list("audit", limit=max(1, lines), sort="-at", **{**query, "until": None})
    last = newest[0]["id"] if newest else None

    def behind(last: str | None) -> tuple[list[dict[str, Any]], str | None]:
        rows = api.list("audit", sort="at", after=last, **{**query, "since": None if last else query["since"]})
        return rows, rows[-1]["id"] if rows else last

    show_each(reversed(newest[:lines]), output, _record)
    show_each(newer(True, last, behind), output, _record)


def _record(row: dict[str, Any]) -> str:
    outcome = "" if row["outcome"] == "done" else f"  {row['outcome']}"
    return f"{_clock(row)}  {row['actor_name']}  {_what(row)}  {_whom(row)}{outcome}"


def _what(row: dict[str, Any]) -> str:
    """The verb; of a call through the proxies also what was called."""
    called = row["details"].get("method") or row["details"].get("request") or ""
    return f"{row['verb']} {called}".rstrip()


@audit.command("export")
@click.option("--as", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True,
              help="CSV, or one JSON object a line.")  # fmt: skip
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file [standard output].")
@filters
@with_api
def export(api: Api, form: str, to: Path | None, query: dict[str, Any]) -> None:
    """Write all records that match, the newest first, to a file. Audited."""
    written = 0
    with click.open_file(str(to or "-"), "wb") as stream:
        for part in api.read("audit", "export", **{"as": form}, **query):
            written += stream.write(part)
    if to:
        click.echo(f"{to}: {written:,} bytes", err=True)


def _known(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    known = {item.organisation for item in contexts.load().contexts.values() if item.organisation}
    return [CompletionItem(slug) for slug in sorted(known) if slug.startswith(begun)]


@click.group()
def orgs() -> None:
    """Organisations: list yours, use another one, make one.

    An API token acts in one organisation, so each has a context of its own.
    """


@orgs.command("list")
@output_option
@with_api
def list_orgs(api: Api, output: str) -> None:
    """Organisations that you can act in from here; the one in use is marked."""
    stored = contexts.load()
    here = {item.organisation: name for name, item in stored.contexts.items() if item.url.rstrip("/") == api.url}
    places = api.call("GET", "/organisations")["items"]
    known = {place["slug"] for place in places}
    rows = [{**place, "context": here.get(place["slug"], "")} for place in places]
    rows += [{"slug": s, "name": "", "role": "", "context": n} for s, n in here.items() if s and s not in known]
    rows = [{**row, "current": row["slug"] == api.organisation} for row in rows]
    columns: list[Column] = [("", lambda row: "*" if row["current"] else ""), ("slug", "slug"), ("name", "name")]
    show(rows, [*columns, ("role", "role"), ("context", "context")], output, "You are in no organisation.")


@orgs.command("use")
@click.argument("slug", shell_complete=_known)
@with_api
def use(api: Api, slug: str) -> None:
    """Speak to another organisation from now on."""
    stored = contexts.load()
    places = {place["slug"] for place in api.call("GET", "/organisations")["items"]}
    current = stored.contexts.get(stored.current)
    if slug in places and current is not None and current.url.rstrip("/") == api.url:
        stored.contexts[stored.current] = replace(current, organisation=slug)
    else:
        names = [
            n for n, item in stored.contexts.items() if item.organisation == slug and item.url.rstrip("/") == api.url
        ]
        if not names:
            raise click.ClickException(
                f"this token does not act in {slug!r}; sign in there with a token of its own: "
                f"omni login {api.url} --name {slug} --organisation {slug}"
            )
        stored.current = names[0]
    contexts.save(stored)
    click.echo(f"Commands speak to {slug} now (context {stored.current}).")


@orgs.command("second-factor")
@click.argument("state", type=click.Choice(["required", "optional"]))
@with_api
def second_factor(api: Api, state: str) -> None:
    """Ask every member for a second factor, or leave it to them.

    Who has none is sent to set it up before they see the organisation in a browser. Tokens and keys go on.
    """
    api.call("PATCH", api.at(), json={"second_factor_required": state == "required"})
    click.echo(f"A second factor is {state} in {api.organisation} now.")


@orgs.command("create")
@click.argument("slug")
@click.option("--name", help="What it is called on pages [the slug].")
@output_option
@with_api
def create(api: Api, slug: str, name: str | None, output: str) -> None:
    """Make another organisation, owned by you: machines, clusters and people of its own.

    It takes an owner's token. The new organisation has no token yet: make one on its pages, under API tokens.
    """
    made = api.call("POST", "/organisations", json={"slug": slug, "name": name or slug})
    show(made, [("slug", "slug"), ("name", "name"), ("role", "role")], output)
