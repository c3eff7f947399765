"""Compiles a library of kernels: part by part, no more at a time than there are cores, with progress for all who ask.

Also a program, which `background.py` starts on this file: it imports nothing of this project, and not TensorFlow.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

NICENESS = 19  # of a process in the background: the one that began it cannot use the kernels, so it shall not wait
LONGEST_LOOK = 0.2  # seconds in which another process that asks who has the lock gives it back
# What a compiler says that the system has stopped, or that has no more room; it is tried again.
PASSING = ("Killed", "terminated program", "No space left on device", "Cannot allocate memory", "out of memory")
AUTOGROUP = Path("/proc/self/autogroup")


@dataclass(frozen=True)
class Request:
    """A library that is to be compiled.

    parts: text and flags of each translation unit, in the order in which they begin.
    link: flags behind the objects.
    library: its path. What goes wrong is written beside it, as .failed; warnings, if there are any, as .warnings.
    """

    compiler: str
    parts: list[tuple[str, list[str]]]
    link: list[str]
    library: str


def failed_file(library: Path) -> Path:
    """Why a library could not be compiled; it is not tried again while this is there."""
    return library.with_suffix(".failed")


def warnings_file(library: Path) -> Path:
    """Where the compiler's warnings about a library are, if there were any."""
    return library.with_suffix(".warnings")


def lock_of(library: Path) -> FileLock:
    """Held by the process that compiles the library."""
    return FileLock(library.with_suffix(".lock"))


def progress(library: Path) -> tuple[int, int] | None:
    """How many parts of a library are compiled, and of how many, while a process compiles it; else None."""
    lock = lock_of(library)
    if not library.parent.exists():
        return None
    try:
        lock.acquire(timeout=LONGEST_LOOK)
    except Timeout:
        try:
            done, parts = _progress_file(library).read_text().split()
            return int(done), int(parts)
        except (OSError, ValueError):  # it is about to begin, or has just ended
            return 0, 0
    except OSError:  # the folder may be read alone: nobody compiles there
        return None
    lock.release()
    return None


def compile_library(request: Request, report: Callable[[int, int], None] = lambda done, parts: None) -> None:
    """Compile and link in this process, unless another has done so, or failed, by the time that the lock is free.

    Args:
        report: called with the parts that are done and all parts, after each.
    """
    library = Path(request.library)
    library.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock_of(library):
        if library.exists() or failed_file(library).exists():
            return
        folder = library.with_suffix(".building")
        shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
        folder.mkdir(mode=0o700)
        try:
            _compile(request, library, folder, report)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            _progress_file(library).unlink(missing_ok=True)


def run_all(commands: Sequence[Sequence[str]], done: Callable[[int, int], None]) -> list[tuple[int, str]]:
    """Exit code and errors of each command; as many run at a time as this process has cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(min(cores, max(1, len(commands)))) as pool:
        jobs = [pool.submit(_run, command) for command in commands]
        try:
            for count, _ in enumerate(as_completed(jobs), 1):
                done(count, len(commands))
        except BaseException:  # Ctrl-C: those that run end with this process, and the others do not begin
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [job.result() for job in jobs]


def _compile(request: Request, library: Path, folder: Path, report: Callable[[int, int], None]) -> None:
    def count(done: int, parts: int) -> None:
        temporary = folder / "progress"
        temporary.write_text(f"{done} {parts}")
        os.replace(temporary, _progress_file(library))
        report(done, parts)

    commands, objects = [], []
    for number, (text, flags) in enumerate(request.parts):
        source = folder / f"{number}.cc"
        source.write_text(text)
        objects.append(str(source.with_suffix(".o")))
        commands.append([request.compiler, "-c", *flags, str(source), "-o", objects[-1]])
    count(0, len(commands))
    results = run_all(commands, count)
    if not any(code for code, _ in results):
        output = folder / "library.so"
        results.append(_run([request.compiler, "-shared", "-o", str(output), *objects, *request.link]))
        if results[-1][0] == 0:
            if problems := [text for _, text in results if text]:
                warnings_file(library).write_text("\n".join(problems))
            os.replace(output, library)
            return
    if not any(code < 0 or any(word in text for word in PASSING) for code, text in results if code):
        failed_file(library).write_text("\n".join(text for _, text in results))


def _run(command: Sequence[str]) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return done.returncode, done.stderr


def _progress_file(library: Path) -> Path:
    return library.with_suffix(".progress")


def lower_priority() -> None:
    """Leave the cores to others, of other sessions too.

    Linux weighs sessions against each other, and a process's niceness within its session only, where autogroups are on
    (sched(7)): a process with a session of its own has half of the cores there, however nice it is.
    """
    os.nice(NICENESS)
    with contextlib.suppress(OSError):  # autogroups are off, or this is not Linux
        AUTOGROUP.write_text(str(NICENESS))


def to_json(request: Request) -> str:
    return json.dumps(asdict(request))


def main() -> None:
    """Compile what standard input asks for, at a low priority."""
    lower_priority()
    compile_library(Request(**json.loads(sys.stdin.read())))


if __name__ == "__main__":
    main()
