"""`omni completion`: the shell script that completes commands and flags."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a completion script for a shell.

    \b
    bash:  source <(omni completion bash)
    zsh:   source <(omni completion zsh)
    fish:  omni completion fish | source
    """
    kind = get_completion_class(shell)
    assert kind is not None  # the choice above
    root = context.find_root()
    click.echo(kind(root.command, {}, "omni", "_OMNI_COMPLETE").source())
