"""`zoo completion`: what a shell has to read to complete the arguments of `zoo`."""

import click
from click.shell_completion import get_completion_class

from zoo.commands.arguments import Name

SHELLS = ("bash", "fish", "zsh")


@click.command()
@click.argument("shell", type=Name("shell", SHELLS), metavar="SHELL")
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that lets SHELL (bash, zsh or fish) complete commands, options, networks, families and groups.

    It completes the installed program `zoo`, not `python -m zoo`: shells complete by the first word. Let your shell
    read it whenever it starts:

    \b
      bash  echo 'eval "$(zoo completion bash)"' >> ~/.bashrc      (bash 4.4 or later)
      zsh   echo 'eval "$(zoo completion zsh)"' >> ~/.zshrc        (behind compinit)
      fish  zoo completion fish > ~/.config/fish/completions/zoo.fish
    """
    root = ctx.find_root()
    completion = get_completion_class(shell)
    assert completion is not None  # click has those that SHELL may be
    click.echo(completion(root.command, {}, "zoo", "_ZOO_COMPLETE").source())
