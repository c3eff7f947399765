"""The subcommands of `zoo`: the module of each is imported when it is called, so that no other one has to wait."""

import platform
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from zoo.checks import close_matches

COMMANDS = {  # name -> module, the click command in it, what `zoo --help` says of it
    "list": ("zoo.commands.listing", "listing", "The networks: parameters, MACs, groups, published weights."),
    "info": ("zoo.commands.info", "info", "A network, a family or published weights: all that is known."),
    "profile": ("zoo.commands.profile", "profile", "A network layer by layer: cost and measured time."),
    "benchmark": ("zoo.commands.benchmark", "benchmark", "How fast networks train and run on this machine."),
    "choose": ("zoo.commands.choose", "choose", "Published checkpoints within a budget, measured on this machine."),
    "export": ("zoo.commands.export", "export", "A network, run or file for ONNX Runtime, LiteRT or TensorFlow."),
    "compare": ("zoo.commands.compare", "compare", "Rank training runs: a table, and a page to explore them."),
    "predict": ("zoo.commands.predict", "predict", "The classes of pictures, by a run, weights or a file."),
    "doctor": ("zoo.commands.doctor", "doctor", "This machine: versions, kernels, caches, and what is wrong."),
    "completion": ("zoo.commands.completion", "completion", "The script that completes `zoo` in your shell."),
}


class Commands(click.Group):
    """A group whose commands are imported one by one, as they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[name]
        return getattr(import_module(module), attribute)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"There is no command {args[0]!r}: {close_matches(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        own = [CompletionItem(name, help=row[2]) for name, row in COMMANDS.items() if name.startswith(incomplete)]
        return own + click.Command.shell_complete(self, ctx, incomplete)


def version() -> str:
    """This program's version, and those of what it stands on, without importing them."""
    from importlib import metadata

    from zoo.environment import DISTRIBUTION, own_version

    own = own_version() or f"of unknown version (a copy of {DISTRIBUTION} that is not installed)"
    parts = [f"Python {platform.python_version()}"]
    for name in ("tensorflow", "keras"):
        try:
            parts.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            parts.append(f"no {name}")
    return f"zoo {own} ({', '.join(parts)})"


def _show_version(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(version())
        ctx.exit()


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`zoo COMMAND --help` explains a command. Exit codes: 0 done, 1 not possible, 2 wrong usage, 130 Ctrl-C. "
    "With ZOO_TRACEBACK=1 in the environment an error shows where it came from.",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version of the zoo, Python, TensorFlow and Keras.",
)
def program() -> None:
    """Grouped-convolution networks for Keras: look them up, measure, compare and use them."""
