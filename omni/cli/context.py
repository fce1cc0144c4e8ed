"""Which installation and organisation the client commands speak to: contexts in one private file.

The file is `$OMNI_CONFIG`, else `omni/config.json` in the user's configuration folder. Flags and the variables
`OMNI_URL`, `OMNI_TOKEN`, `OMNI_ORGANISATION` and `OMNI_CA` go before it, so scripts need no file.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any

import click

from omni.cli import complete


@dataclass(frozen=True)
class Context:
    """One place to speak to. `ca` is the PEM text of the authority that its certificate comes from, empty for a public
    one."""

    url: str = ""
    organisation: str = ""
    token: str = ""
    ca: str = ""


@dataclass
class Contexts:
    """All contexts a person has, and the one in use."""

    current: str
    contexts: dict[str, Context]


def path() -> Path:
    """Where contexts are kept."""
    given = os.environ.get("OMNI_CONFIG")
    if given:
        return Path(given)
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder) / "omni" / "config.json"


def load() -> Contexts:
    """The stored contexts, none if there is no file. Raises ClickException for a file that cannot be read."""
    file = path()
    if not file.exists():
        return Contexts("", {})
    try:
        stored = json.loads(file.read_text())
        return Contexts(stored["current"], {name: Context(**fields) for name, fields in stored["contexts"].items()})
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise click.ClickException(f"{file} cannot be read: {error}; sign in again with `omni login`") from None


def save(contexts: Contexts) -> None:
    """Store contexts; the file holds tokens, so only its owner may read it."""
    file = path()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fields = {name: asdict(context) for name, context in contexts.contexts.items()}
    fresh = file.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump({"current": contexts.current, "contexts": fields}, stream, indent=2)
    fresh.rename(file)


def chosen(name: str = "") -> Context:
    """The context in use, with what the environment says over it. Raises ClickException when nothing says where."""
    contexts = load()
    name = name or contexts.current
    if name and name not in contexts.contexts:
        known = ", ".join(contexts.contexts) or "none"
        raise click.ClickException(f"there is no context {name!r}; known: {known}")
    context = contexts.contexts.get(name, Context())
    variables = {"url": "OMNI_URL", "organisation": "OMNI_ORGANISATION", "token": "OMNI_TOKEN"}
    for field, variable in variables.items():
        if os.environ.get(variable):
            context = replace(context, **{field: os.environ[variable]})
    if os.environ.get("OMNI_CA"):
        context = replace(context, ca=Path(os.environ["OMNI_CA"]).read_text())
    if not context.url or not context.token:
        raise click.ClickException("not signed in; `omni login URL` does it, or set OMNI_URL and OMNI_TOKEN")
    return context


def with_api(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `api`, the REST API of the organisation in use, and the `--context` and `--organisation` flags."""

    @click.option(
        "--context", "context_name", metavar="NAME", help="Another context than the current one.",
        shell_complete=complete.contexts,
    )  # fmt: skip
    @click.option(
        "--organisation", metavar="SLUG", help="Another organisation than the context's.",
        shell_complete=complete.organisations,
    )  # fmt: skip
    @wraps(command)
    def run(context_name: str | None, organisation: str | None, **given: Any) -> Any:
        from omni.cli.api import Api  # not for what needs contexts only

        context = chosen(context_name or "")
        with Api(context.url, context.token, context.ca, organisation or context.organisation) as api:
            return command(api=api, **given)

    return run
