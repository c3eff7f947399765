"""The parent's end: worker processes, one for each contender of a comparison, asked one at a time.

Each has its own process and framework; while one works, the others sleep.
"""

import contextlib
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

ROOT = Path(__file__).resolve().parents[2]  # where `zoo` and `blocks` lie
# For a worker whose calls are timed one by one: glibc keeps what is freed, up to pieces of 32 MiB, as it would within a
# network. Left alone it may hand the pages back and fetch them again with every call: PyTorch's took up to 3.5 times as
# long.
KEEPS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(16 << 30)}
PAUSE = 0.3  # seconds before another contender is asked: the thread pools of the last one stop spinning
ANSWER_TIMEOUT = 1800.0  # seconds to wait for one answer; compiling a network takes minutes


class ContenderError(RuntimeError):
    """A contender cannot do what it was asked: one sentence."""


class RequestError(ContenderError):
    """One request failed; the process lives, and can be asked for something else."""


class Contender:
    """A worker process.

    Args:
        name: of the contender, as in the tables.
        command: an interpreter that has its framework, and the arguments that let it call `serve`.
        environment: variables that it gets in addition.

    Raises:
        ContenderError: the interpreter does not exist. Whether the framework loads is known after `greeting`.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115, it lives as long as the process
        variables = {"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ, **(environment or {})}
        path = variables.get("PYTHONPATH")
        variables["PYTHONPATH"] = str(ROOT) + (os.pathsep + path if path else "")
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=variables,
                text=True,
            )
        except OSError as error:
            self._log.close()
            sentence = (
                f"The contender {name!r} did not start: {command[0]!r} is no Python interpreter ({error.strerror})."
            )
            raise ContenderError(sentence) from None

    @property
    def pid(self) -> int:
        return self._process.pid

    def greeting(self) -> dict[str, Any]:
        """What the worker says once its framework is loaded. Raises ContenderError where it does not load."""
        return self._answer(ANSWER_TIMEOUT)

    def ask(self, do: str, timeout: float = ANSWER_TIMEOUT, **arguments: Any) -> dict[str, Any]:
        """The answer to one request; waits at most `timeout` seconds. Raises ContenderError."""
        try:
            _open(self._process.stdin).write(json.dumps({"do": do, "arguments": arguments}) + "\n")
            _open(self._process.stdin).flush()
        except (BrokenPipeError, ValueError):
            raise ContenderError(self._died()) from None
        return self._answer(timeout)

    def _answer(self, timeout: float) -> dict[str, Any]:
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(timeout, end)  # select() knows no pipes on Windows
        timer.daemon = True
        timer.start()
        try:
            line = _open(self._process.stdout).readline()
        finally:
            timer.cancel()
        if not line and late.is_set():
            raise ContenderError(f"The contender {self.name!r} gave no answer in {timeout:g} s and was ended.")
        if not line:
            raise ContenderError(self._died())
        content = json.loads(line)
        if "error" in content:
            raise RequestError(f"The contender {self.name!r} failed: {content['error']}")
        return content["answer"]

    def _died(self) -> str:
        code = self._process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        last = f"; it last said: {lines[-1]}" if lines else ""
        return f"The process of the contender {self.name!r} {how}{last}"

    def close(self, at_once: bool = False) -> None:
        """End the process, which stops when its input closes; `at_once` also in the middle of something."""
        if at_once:
            self._process.kill()
        if self._process.poll() is None:
            try:
                self._process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what was not sent before it ended
                _open(pipe).close()
        self._log.close()


class Contenders:
    """Several contenders at once; one that fails is noted with its sentence and takes no further part.

    `greetings` holds what each said when it had loaded, `failures` the sentence of each that failed.
    """

    def __init__(self) -> None:
        self.running: dict[str, Contender] = {}
        self.greetings: dict[str, dict[str, Any]] = {}
        self.failures: dict[str, str] = {}
        self._started: dict[str, tuple[Sequence[str], Mapping[str, str] | None]] = {}
        self._last: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *reason: object) -> None:
        for contender in self.running.values():
            contender.close(at_once=kind is not None)

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start a contender; it loads while others are started."""
        self._launch(name, command, environment)

    def _launch(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None) -> None:
        self._started[name] = (command, environment)
        try:
            self.running[name] = Contender(name, command, environment)
        except ContenderError as error:
            self.fail(name, str(error))

    def wait(self) -> None:
        """Wait until every contender has loaded its framework or failed to."""
        for name in set(self.running) - set(self.greetings):
            try:
                self.greetings[name] = self.running[name].greeting()
            except ContenderError as error:
                self.fail(name, str(error))

    def revive(self) -> None:
        """Start those again that had loaded and died since, in the middle of something."""
        for name in set(self.failures) & set(self.greetings):
            del self.failures[name], self.greetings[name]
            self._launch(name, *self._started[name])
        self.wait()

    def fail(self, name: str, sentence: str) -> None:
        """Take a contender out; the tables print the sentence."""
        self.failures[name] = sentence
        if name in self.running:
            self.running.pop(name).close()

    def ask(self, name: str, do: str, **arguments: Any) -> dict[str, Any]:
        """One request to one contender, after a pause where another contender was asked before.

        Raises RequestError where it fails, and ContenderError where the contender is dead, now or before.
        """
        if name in self.failures:
            raise ContenderError(self.failures[name])
        if name != self._last:
            time.sleep(PAUSE)
        self._last = name
        try:
            return self.running[name].ask(do, **arguments)
        except RequestError:
            raise
        except ContenderError as error:
            self.fail(name, str(error))
            raise

    def ask_or_drop(self, name: str, do: str, **arguments: Any) -> dict[str, Any] | None:
        """As `ask`; after any failure the contender takes no further part: None, now and from then on."""
        try:
            return self.ask(name, do, **arguments)
        except ContenderError as error:
            self.fail(name, str(error))
            return None


def _open(pipe: IO[str] | None) -> IO[str]:
    """A pipe of a process that was started with one."""
    assert pipe is not None
    return pipe
