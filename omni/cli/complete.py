"""What the shell offers for a name: asked of the server, within a second or so, and nothing when it does not answer."""

import contextlib
from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

SECONDS = 1.5
"""How long a person who pressed Tab waits at most."""

OFFERED = 50

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completer(resource: str, key: str, explain: Callable[[dict[str, Any]], str], search: bool = True) -> Completer:
    """Names of one resource: the values of `key` that begin with what is typed."""

    def offer(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
        found = _rows(context, resource, {"q": typed if search else "", "limit": OFFERED})
        return [
            CompletionItem(str(row[key]), help=explain(row)) for row in found if str(row.get(key, "")).startswith(typed)
        ]

    return offer


def machines(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Host names, and UUIDs once one was begun."""
    items = []
    for row in _rows(context, "machines", {"q": typed, "limit": OFFERED}):
        name, uuid = row["hostname"], row["uuid"]
        if name and name.startswith(typed):
            items.append(CompletionItem(name, help=f"{row['state']['word']}, {uuid[:8]}"))
        elif uuid.startswith(typed.lower()):
            items.append(CompletionItem(uuid, help=f"{row['state']['word']} {name}".strip()))
    return items


agents = _completer("agents", "name", lambda row: row["state"]["word"])
clusters = _completer("clusters", "name", lambda row: row["state"]["word"])
members = _completer("members", "email", lambda row: row["role"])
api_tokens = _completer("api-tokens", "name", lambda row: f"{row['role']}, {row['state']['word']}")
service_accounts = _completer("service-accounts", "name", lambda row: row["role"])
policies = _completer("policies", "name", lambda row: row["effect"])
join_tokens = _completer("join-tokens", "name", lambda row: row["state"]["word"])
machine_classes = _completer("machine-classes", "name", lambda row: ", ".join(row["match_labels"]), search=False)


def organisations(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Short names of the organisations one belongs to."""
    with _quietly(), _api(context) as api:
        found = api.call("GET", "/organisations")["items"]
        return [CompletionItem(row["slug"], help=row["name"]) for row in found if row["slug"].startswith(typed)]
    return []


def new_targets(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Addresses at which the agent that is named found something new."""
    with _quietly(), _api(context) as api:
        rows = api.get("agents", context.params["name"], "targets")
        return [
            CompletionItem(row["address"], help=row["uuid"])
            for row in rows
            if row["state"]["shape"] == "ask" and row["address"].startswith(typed)
        ]
    return []


def verbs(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """What `omni access explain` is asked about."""
    from apps.access.methods import METHODS
    from apps.access.verbs import VERBS

    known = [*VERBS, "kubernetes", *(f"talos:{method}" for method in METHODS)]
    return [CompletionItem(verb) for verb in known if verb.startswith(typed)]


def contexts(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Names of stored contexts."""
    from omni.cli.context import load

    with _quietly():
        return [CompletionItem(name, help=item.url) for name, item in load().contexts.items() if name.startswith(typed)]
    return []


def _rows(context: click.Context, resource: str, query: dict[str, Any]) -> list[dict[str, Any]]:
    with _quietly(), _api(context) as api:
        rows: list[dict[str, Any]] = api.get(resource, **query)["items"]
        return rows
    return []


def _api(context: click.Context) -> Any:
    """The server of the line that is typed: `--context` and `--organisation` in it count."""
    from omni.cli.api import Api
    from omni.cli.context import chosen

    where = chosen(context.params.get("context_name") or "")
    organisation = context.params.get("organisation") or where.organisation
    return Api(where.url, where.token, where.ca, organisation, timeout=SECONDS)


def _quietly() -> contextlib.AbstractContextManager[None]:
    """Not signed in, offline, refused, an answer that is none: a shell has no place to say it."""
    return contextlib.suppress(Exception)
