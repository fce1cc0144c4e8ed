"""`omni kubeconfig` and `omni kube-token`: kubectl's way to a cluster, and its tokens."""

import base64
import hashlib
import json
import os
import re
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from omni.cli import complete
from omni.cli import context as contexts
from omni.cli.api import Api
from omni.cli.context import Context, with_api
from omni.cli.private import write
from talos.kubeconfig import Kubeconfig, KubeconfigError

FRESH = timedelta(minutes=5)
"""A token that is not good for so long any more is not given out again."""

EXEC_APIS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")

_UNITS = {"m": 60, "h": 3600, "d": 86400}


class Lifetime(click.ParamType):
    """`90m`, `24h`, `7d`: seconds."""

    name = "lifetime"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Raises BadParameter."""
        match = re.fullmatch(r"(\d{1,6})([mhd])", str(value))
        if match is None:
            self.fail(f"{value!r} is no lifetime; give one such as 90m, 24h or 7d", param, ctx)
        return int(match[1]) * _UNITS[match[2]]


@click.command()
@click.option("--cluster", required=True, shell_complete=complete.clusters, help="The cluster to reach.")
@click.option(
    "--exec", "proof", flag_value="exec", default=True, help="This command gives kubectl its tokens [default]."
)
@click.option("--oidc", "proof", flag_value="oidc", help="kubelogin signs in through the browser.")
@click.option(
    "--service-account",
    metavar="NAME",
    shell_complete=complete.service_accounts,
    help="With a token of a service account in it, for programs.",
)
@click.option(
    "--endpoint",
    type=click.Choice(["own", "node"]),
    help="Past this server: the cluster's own endpoint, or a control plane's own address.",
)
@click.option(
    "--lifetime",
    type=Lifetime(),
    help="Of a token in the file: 90m, 24h, 7d [24h; 7d with --endpoint].",
)
@click.option("--name", "purpose", default="", help="What the file is for, where it is listed [this host].")
@click.option("--role", type=click.Choice(["reader", "operator", "admin", "owner"]), help="Less than the holder's own.")
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file (mode 0600).")
@click.option(
    "--merge", is_flag=True, help="Merge into $KUBECONFIG or ~/.kube/config, and make it the current context."
)
@with_api
def kubeconfig(
    api: Api,
    cluster: str,
    proof: str,
    service_account: str | None,
    endpoint: str | None,
    lifetime: int | None,
    purpose: str,
    role: str | None,
    to: Path | None,
    merge: bool,
) -> None:
    """A kubeconfig for a cluster, as yourself.

    What you may do there follows your role and the policies, at each request. Without more options the file holds no
    secret: kubectl runs `omni kube-token`, which uses your `omni login`.

    \b
    omni kubeconfig --cluster prod --merge             kubectl, k9s, helm: as yourself
    omni kubeconfig --cluster prod --oidc --merge      the same by kubelogin
    omni kubeconfig --cluster prod --service-account ci --lifetime 30d --to ci.kubeconfig
    omni kubeconfig --cluster prod --endpoint own --to break-glass.kubeconfig

    The last one works while this server is away, with a ServiceAccount made for you in the cluster. It is listed and
    revoked like the others (`omni accesskeys`): it ends when the cluster has been reached.
    """
    if service_account and endpoint:
        raise click.UsageError("--service-account goes through this server; leave --endpoint out")
    if to and merge:
        raise click.UsageError("give --to or --merge, not both")
    purpose = purpose or f"kubectl on {os.uname().nodename}"
    wish: dict[str, Any] = {"name": purpose}
    wish |= {key: value for key, value in (("lifetime", lifetime), ("role", role)) if value}
    if service_account:
        wish["service_account"] = service_account
        answer = api.post("clusters", cluster, "service-account-kubeconfig", json=wish)
    elif endpoint:
        answer = api.post("clusters", cluster, "direct-kubeconfig", json=wish | {"endpoint": endpoint})
    elif lifetime or role:
        raise click.UsageError("--lifetime and --role are for --service-account and --endpoint; else the role is yours")
    else:
        answer = api.post("clusters", cluster, "access-kubeconfig", json={"proof": proof})
    file = Kubeconfig.from_yaml(answer["content"])
    if not endpoint:
        _trust(file, api.ca)
    if merge:
        _merge(file)
    elif to:
        write(to, file.to_yaml())
    else:
        click.echo(file.to_yaml(), nl=False)
    for text in answer.get("notes", []):
        click.echo(text, err=True)


def _trust(file: Kubeconfig, ca: str) -> None:
    """Trust what this command trusts, and call it where it is."""
    data = base64.b64encode(ca.encode()).decode() if ca else ""
    for entry in file.clusters.values():
        entry.pop("certificate-authority-data", None)
        entry |= {"certificate-authority-data": data} if data else {}
    for user in file.users.values():
        command = user.get("exec", {})
        if command.get("command") == "omni":
            command["command"] = _own_path()
        elif command:
            kept = [arg for arg in command["args"] if not arg.startswith("--certificate-authority-data=")]
            command["args"] = kept + ([f"--certificate-authority-data={data}"] if data else [])


def _own_path() -> str:
    """How kubectl finds this command: by its name where that is on the path."""
    here = Path(sys.argv[0])
    return "omni" if shutil.which("omni") or here.name != "omni" else str(here.absolute())


def _merge(file: Kubeconfig) -> None:
    path = Path(os.environ.get("KUBECONFIG", "").split(":")[0] or Path.home() / ".kube" / "config")
    try:
        merged = Kubeconfig.from_yaml(path.read_text() if path.exists() else "")
    except KubeconfigError as error:
        raise click.ClickException(f"{path}: {error}; nothing was changed") from None
    merged.merge(file, lambda component, name: "overwrite")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write(path, merged.to_yaml())
    click.echo(f"{path} has the context {file.current_context} now, and it is the current one.")


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
