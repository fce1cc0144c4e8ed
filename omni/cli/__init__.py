"""The `omni` command. Its parts are imported when used, so that help and client commands start fast."""

from importlib import import_module
from typing import Any

import click

from omni import __version__, child

COMMANDS = {  # name: where it is
    "serve": "omni.cli.programs:serve",
    "demo": "omni.cli.demo:demo",
    "simulator": "omni.cli.demo:simulator",
    "core": "omni.cli.programs:core",
    "web": "omni.cli.programs:web",
    "worker": "omni.cli.programs:worker",
    "beat": "omni.cli.programs:beat",
    "gateway": "omni.cli.programs:gateway",
    "migrate": "omni.cli.programs:migrate",
    "keys": "omni.cli.programs:make_keys",
    "agent": "omni.cli.agent:agent",
    "discovery": "omni.cli.discovery:discovery",
    "admin": "omni.cli.admin:admin",
    "login": "omni.cli.signin:login",
    "logout": "omni.cli.signin:logout",
    "context": "omni.cli.signin:context",
    "sessions": "omni.cli.sessions:sessions",
    "agents": "omni.cli.agents:agents",
    "machines": "omni.cli.machines:machines",
    "events": "omni.cli.history:events",
    "logs": "omni.cli.history:logs",
    "clusters": "omni.cli.clusters:clusters",
    "cluster": "omni.cli.templates:cluster",
    "mesh": "omni.cli.kubespan:mesh",
    "kubeconfig": "omni.cli.kube:kubeconfig",
    "kube-token": "omni.cli.kube_token:kube_token",
    "talosconfig": "omni.cli.talos:talosconfig",
    "accesskeys": "omni.cli.talos:accesskeys",
    "machineclasses": "omni.cli.classes:machineclasses",
    "jointokens": "omni.cli.tokens:jointokens",
    "members": "omni.cli.members:members",
    "tokens": "omni.cli.tokens:tokens",
    "serviceaccounts": "omni.cli.serviceaccounts:serviceaccounts",
    "policies": "omni.cli.policies:policies",
    "access": "omni.cli.access:access",
    "status": "omni.cli.fleet:status",
    "audit": "omni.cli.fleet:audit",
    "orgs": "omni.cli.fleet:orgs",
    "completion": "omni.cli.completion:completion",
    "openapi": "omni.cli.openapi:openapi",
}


INTERRUPTED = 130
"""Exit code of a program that Ctrl-C ended, as shells have it."""


class Parts(click.Group):
    """A group whose commands are looked up in `COMMANDS`."""

    def invoke(self, context: click.Context) -> Any:
        """Run a command; Ctrl-C and files that cannot be read or written end it without a traceback."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            context.exit(INTERRUPTED)
        except OSError as error:
            if error.filename is None:
                raise
            raise click.ClickException(f"{error.filename}: {error.strerror or error}") from error

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name].split(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Parts, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Open, self-hosted control plane for Talos Linux clusters.

    \b
    Start one on this machine:   omni serve --data ./data
    Sign in from this machine:   omni login --data ./data
    Sign in from elsewhere:      omni login https://omni.example.com
    A link for the browser:      omni admin signin-link --data ./data
    Let machines in:             omni jointokens create rack-7
                                 omni jointokens kernel-args rack-7
    See them:                    omni machines list
    See what needs you:          omni status
    Make a cluster of them:      omni cluster template sync -f prod.yaml --wait
    See how it is:               omni cluster status prod
    Use kubectl, as yourself:    omni kubeconfig --cluster prod --merge
    Use talosctl, as yourself:   omni talosconfig --cluster prod --merge
    """
    child.die_with_parent()
