"""`omni kube-token`: tokens for kubectl, which runs this at each of its own runs. So it imports little."""

import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from omni.cli import complete
from omni.cli import context as contexts
from omni.cli.context import Context
from omni.cli.private import write

FRESH = timedelta(minutes=5)
"""A token that is not good for so long any more is not given out again."""

EXEC_APIS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


@click.command("kube-token")
@click.option("--cluster", required=True, shell_complete=complete.clusters, help="The cluster to reach.")
@click.option("--organisation", metavar="SLUG", default="", help="Another organisation than the context's.")
@click.option("--server", metavar="URL", default="", help="Take the context of this server.")
@click.option("--context", "context_name", metavar="NAME", default="", help="Another context than the current one.")
@click.option("--fresh", is_flag=True, help="Not the token that was kept.")
def kube_token(cluster: str, organisation: str, server: str, context_name: str, fresh: bool) -> None:
    """Print a token for kubectl (an ExecCredential): kubectl itself runs this.

    A token is good for an hour. It is kept in your cache folder, readable by you alone, until five minutes before
    that. Ask for a `--fresh` one when the cluster refuses the kept one: it was revoked, or the cluster made anew.
    """
    try:
        version = _exec_api()
        context = _context(server, context_name)
        organisation = organisation or context.organisation
        kept = _cache(context, organisation, cluster)
        token = (None if fresh else _kept(kept)) or _new(context, organisation, cluster, kept)
    except click.ClickException as error:
        raise click.ClickException(" ".join(error.message.split())) from None
    status = {"expirationTimestamp": token["expires_at"], "token": token["token"]}
    click.echo(json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status}))


def _exec_api() -> str:
    """The version of ExecCredential that kubectl speaks. Raises ClickException."""
    try:
        told = json.loads(os.environ.get("KUBERNETES_EXEC_INFO") or "{}")
        version = told.get("apiVersion", EXEC_APIS[0])
    except (ValueError, AttributeError):
        raise click.ClickException("KUBERNETES_EXEC_INFO is not what kubectl writes") from None
    if version not in EXEC_APIS:
        raise click.ClickException(f"the kubeconfig asks for ExecCredential {version}; known: {', '.join(EXEC_APIS)}")
    return str(version)


def _context(server: str, name: str) -> Context:
    """The context of a server: the current one if it is that, else the first that is. Raises ClickException."""
    if not server or name or os.environ.get("OMNI_TOKEN"):
        return contexts.chosen(name)
    stored = contexts.load()
    order = sorted(stored.contexts, key=lambda one: one != stored.current)
    found = [one for one in order if stored.contexts[one].url.rstrip("/") == server.rstrip("/")]
    if not found:
        raise click.ClickException(f"not signed in to {server}; `omni login {server}` does it")
    return contexts.chosen(found[0])


def _new(context: Context, organisation: str, cluster: str, kept: Path) -> dict[str, str]:
    from omni.cli.api import Api

    with Api(context.url, context.token, context.ca, organisation) as api:
        given = api.post("clusters", cluster, "kubernetes-token")
    token = {"token": str(given["token"]), "expires_at": _stamp(given["expires_at"])}
    kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write(kept, json.dumps(token))
    return token


def _stamp(text: str) -> str:
    """A time as Kubernetes writes it."""
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cache(context: Context, organisation: str, cluster: str) -> Path:
    """The file of a token: another one for each server, organisation, cluster and credential."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parts = json.dumps([context.url, organisation, cluster, context.token])
    return base / "omni" / "kubernetes" / f"{hashlib.sha256(parts.encode()).hexdigest()[:32]}.json"


def _kept(file: Path) -> dict[str, str] | None:
    """The token that was kept, if it is good for a while yet."""
    try:
        token: dict[str, str] = json.loads(file.read_text())
        ends = datetime.fromisoformat(token["expires_at"])
        return token if token["token"] and ends - datetime.now(UTC) > FRESH else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
