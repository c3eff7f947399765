"""The command line: `zoo`, or `python -m zoo` in a copy that is not installed."""

import os
import sys

import click
from click.exceptions import Exit, NoArgsIsHelpError, NoSuchOption
from click.shell_completion import shell_complete

from zoo.checks import close_matches
from zoo.commands import program
from zoo.errors import UserError
from zoo.output import PIPE_CLOSED, drop_output, output_is_closed

NAME = "zoo"
COMPLETE = "_ZOO_COMPLETE"  # set by the shell's completion script
TRACEBACK = "ZOO_TRACEBACK"


def main() -> None:
    """Run the command that the arguments name, and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; the exit code. An error in the user's input is one sentence on standard error."""
    if sys.stdout is None:
        print("Standard output is closed, so nothing can be shown.", file=sys.stderr)
        return 1
    try:
        code = _run(arguments)
        sys.stdout.flush()  # here, where a failure can still be reported
        return code
    except NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return error.exit_code
    except click.ClickException as error:
        print(_sentence(error), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Stopped by Ctrl-C.", file=sys.stderr)
        return 130
    except (ValueError, UserError, ImportError, OSError) as error:
        if isinstance(error, BrokenPipeError) and output_is_closed():
            return PIPE_CLOSED
        if os.environ.get(TRACEBACK):
            raise
        print(_words(error), file=sys.stderr)
        if isinstance(error, OSError):
            drop_output()
        return 1


def _run(arguments: list[str]) -> int:
    instruction = os.environ.get(COMPLETE)
    if instruction:
        return shell_complete(program, {}, NAME, COMPLETE, instruction)
    try:
        with program.make_context(NAME, arguments) as context:
            program.invoke(context)
    except Exit as end:  # of --help and --version
        return end.exit_code
    return 0


def _sentence(error: click.ClickException) -> str:
    """What click has to say, with the nearest names, and without its three lines about the usage."""
    context = getattr(error, "ctx", None)
    if isinstance(error, NoSuchOption) and context:
        known = [name for parameter in context.command.get_params(context) for name in parameter.opts if name[0] == "-"]
        return f"There is no option {error.option_name}: {close_matches(error.option_name, known)}"
    text = " ".join(error.format_message().split())
    names_the_allowed = text.startswith(("There is no", "Invalid value"))  # those say what is allowed
    return text if names_the_allowed or not context else f"{text} `{context.command_path} --help` shows the usage."


def _words(error: Exception) -> str:
    """What went wrong, on one line; of the operating system's errors without their number."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename else ".")
    return " ".join(str(error).split())


if __name__ == "__main__":
    main()
