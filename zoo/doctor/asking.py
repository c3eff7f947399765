"""Asks in a process of its own what needs TensorFlow or W&B: they may be missing, crash, or never answer.

The process writes a line of JSON for each part that it has found out, so that one which ends half-way tells how far it
came, and with which part it ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from zoo.doctor.rows import shown

PACKAGES = Path(__file__).resolve().parent.parent.parent  # what holds `zoo` and `blocks`
PART, VALUES, FAILURE = "part", "values", "failure"
Parts = Mapping[str, Callable[[], Mapping[str, Any]]]


@dataclass(frozen=True)
class Answer:
    """What a part found out, or why it did not."""

    values: Mapping[str, Any] = field(default_factory=dict)
    failure: str | None = None


@dataclass
class Question:
    """The parts of a module, which a process that runs it answers; `ask` starts it.

    module: its name; run as a program it calls `answer`.
    parts: names of what it answers, in its order.
    seconds: that the answers may take.
    """

    module: str
    parts: tuple[str, ...]
    seconds: float
    process: subprocess.Popen[bytes]
    output: IO[str]
    messages: IO[str]

    def answers(self) -> dict[str, Answer]:
        """One for each part; those that the process did not come to say how it ended."""
        try:
            self.process.wait(self.seconds)
            end = _how(self.process.returncode)
        except subprocess.TimeoutExpired:
            end = f"there was no answer within {self.seconds:g} s"
            self.process.kill()
            self.process.wait()
        answers = {}
        self.output.seek(0)
        for line in self.output:
            with suppress(ValueError, KeyError):  # half a line, of a process that was ended
                fields = json.loads(line)
                answers[fields[PART]] = Answer(fields.get(VALUES, {}), fields.get(FAILURE))
        self.messages.seek(0)
        if words := next((shown(line) for line in reversed(list(self.messages)) if line.strip()), ""):
            end += f": {words}"
        missing = [part for part in self.parts if part not in answers]
        for part in missing:
            within = "" if part == missing[0] else f" while it asked for {missing[0]}"
            answers[part] = Answer(failure=f"{end}{within}")
        return answers


@contextmanager
def ask(module: str, parts: tuple[str, ...], seconds: float) -> Iterator[Question]:
    """Start a process that answers, and end it with the block. Its fields are those of `Question`."""
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    with (
        # Not pipes: nobody reads while the process writes, and a child of its own may hold a pipe open.
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output,
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as messages,
    ):
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=messages,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(PACKAGES), *others])},
        )
        try:
            yield Question(module, parts, seconds, process, output, messages)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def answer(parts: Parts) -> None:
    """Write what each part finds out to standard output; what else is written there goes to standard error."""
    with os.fdopen(os.dup(1), "w") as output:
        os.dup2(2, 1)
        for name, part in parts.items():
            fields: dict[str, Any] = {PART: name}
            try:
                fields[VALUES] = dict(part())
            except Exception as error:  # whatever the library raises
                fields[FAILURE] = shown(f"{type(error).__name__}: {error}")
            print(json.dumps(fields), file=output, flush=True)


def _how(code: int) -> str:
    if code >= 0:
        return f"the process ended with exit code {code}"
    with suppress(ValueError):
        return f"the process was ended by {signal.Signals(-code).name}"
    return f"the process was ended by signal {-code}"
