"""`omni kubeconfig`: the files by which kubectl finds clusters."""

import base64
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from omni.cli import complete
from omni.cli.api import Api
from omni.cli.context import with_api
from omni.cli.private import write
from talos.kubeconfig import Kubeconfig, KubeconfigError

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
    """How kubectl finds this command: by its name where that is on the path, else where it lies beside its Python."""
    beside = Path(sys.executable).parent / "omni"
    return "omni" if shutil.which("omni") or not beside.exists() else str(beside)


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
