"""The worker's end: a process that loads one framework, and then answers requests, one JSON line each.

Imports no framework, for other interpreters than the project's use it too. `processes.py` is the parent's end.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

Commands = Mapping[str, Callable[..., Any]]


def serve(load: Callable[[], tuple[Commands, dict[str, Any]]]) -> None:
    """Answer the requests on standard input until it closes.

    `load` imports the framework and returns the commands by name and what to say in greeting. What it and the
    commands print goes to standard error, so that standard output has answers only.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal: the parent decides
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(**content: Any) -> None:
        answers.write(json.dumps(content) + "\n")

    try:
        commands, greeting = load()
    except ImportError as error:
        answer(error=f"{sys.executable} cannot import what it needs: {error}")
        return
    answer(answer=greeting)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer(answer=commands[request["do"]](**request["arguments"]))
        except Exception as error:  # whatever the framework raises: the parent reports it and goes on
            traceback.print_exc()
            answer(error=f"{type(error).__name__}: {sentence(error)}")


def sentence(error: Exception) -> str:
    """The line of an error's message that says what is wrong.

    The first, but TensorFlow's errors in a graph begin with a headline and say it at the end, before the node's name.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.strip().startswith("[[")]
    if not lines:
        return "no message"
    return lines[-1] if lines[0].endswith(":") else lines[0]
