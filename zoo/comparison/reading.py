"""Run directories: found in folders, and read as they are, whole or damaged.

A run directory is one with a `result.json`. What cannot be read, a line or a file, is left out, and named in one line.
"""

import csv
import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from zoo.comparison import benchmark_file
from zoo.comparison.process import has_crashed
from zoo.comparison.runs import Evaluation, Run, printable
from zoo.comparison.validation import DamagedError, checked_evaluation, checked_result, column_fits, is_number
from zoo.errors import UserError
from zoo.metrics import EPOCH, EVALUATION_FILE, METRICS, METRICS_FILE, RESULT_FILE, TRAIN_SECONDS

# Folders that hold no runs of their own; those whose names begin with a dot (.hydra) are not entered either.
NOT_ENTERED = ("wandb", "checkpoint", "checkpoints", "__pycache__", "node_modules")
LARGEST_FILE = {RESULT_FILE: 2**24, METRICS_FILE: 2**25, EVALUATION_FILE: 2**26}  # bytes
Say = Callable[[str], None]


def read_runs(paths: Iterable[str | Path], say: Say) -> list[Run]:
    """The runs in `paths`, each a run directory, a folder that has some or a file of `zoo benchmark`, each run once.

    Args:
        say: called with a line for each file that is damaged, wholly or in part.

    Raises:
        UserError: a path does not exist, or there is no run in any of them.
    """
    folders = [Path(path) for path in paths]
    measured: list[Run] = []
    runs_by_folder: dict[Path, Run | None] = {}  # real folder -> its run, None where it cannot be read
    for path in folders:
        if benchmark_file.is_benchmark(path):
            measured += benchmark_file.read(path, say)
            continue
        for folder in run_folders(path, say):
            real = folder.resolve()
            if real not in runs_by_folder:
                runs_by_folder[real] = read_run(folder, say)
    runs = [run for run in runs_by_folder.values() if run is not None] + measured
    if not runs:
        where = printable(", ".join(map(str, paths)))
        unread = f": {len(runs_by_folder)} cannot be read" if runs_by_folder else f" (a folder with a {RESULT_FILE})"
        raise UserError(
            f"There is no run to compare in {where}{unread}; `python train.py` writes runs to outputs/ and multirun/."
        )
    return runs


def read_run(folder: Path, say: Say) -> Run | None:
    """The run in `folder`, or None, with a line, where its `result.json` is not that of a run."""

    def say_of(name: str) -> Say:
        return lambda text: say(printable(f"{folder / name}: {text}."))

    try:
        raw = _read_json(folder / RESULT_FILE)
        result = checked_result(raw, say_of(RESULT_FILE))
    except DamagedError as error:
        say_of(RESULT_FILE)(f"{error}; this run is left out")
        return None
    history: dict[str, list[float | None]] = {}
    evaluation = None
    try:
        history = _read_metrics(folder / METRICS_FILE, say_of(METRICS_FILE))
    except DamagedError as error:
        say_of(METRICS_FILE)(f"{error}; the run is shown without its epochs")
    try:
        if (folder / EVALUATION_FILE).exists():
            evaluation = Evaluation(*checked_evaluation(_read_json(folder / EVALUATION_FILE)))
    except (DamagedError, OSError) as error:
        say_of(EVALUATION_FILE)(f"{error}; the run is shown without its classes")
    status = result["status"]
    if status == "running" and has_crashed(result, _silence(folder), _longest_epoch(history)):
        status = "crashed"
    name = result.get("name") or result.get("model") or folder.resolve().name
    invalid = tuple(key for key in METRICS if raw.get(key) is not None and key not in result)
    return Run(str(folder), name, status, result, history, evaluation, invalid)


def run_folders(path: Path, say: Say) -> Iterator[Path]:
    """Folders with a `result.json` in `path`, sorted so that run 2 comes before run 10."""
    if path.name == RESULT_FILE and path.is_file():
        path = path.parent
    if not path.exists():
        raise UserError(printable(f"There is no {path}{_near(path)}"))
    if not path.is_dir():
        raise UserError(
            printable(f"{path} is no folder: name a run directory, a folder of them, or a .json of `zoo benchmark`.")
        )
    seen, waiting = set(), [path]
    while waiting:
        folder = waiting.pop()
        try:
            status = folder.stat()
            # Links are followed, and may lead in a circle.
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                inside = {entry.name: (entry.is_dir(), entry.is_symlink()) for entry in entries}
        except OSError as error:
            say(printable(f"{folder}: {error.strerror or error}; the runs in it are left out."))
            continue
        if RESULT_FILE in inside:
            yield folder
        names = [name for name, (is_folder, _) in inside.items() if is_folder and _may_hold_runs(name)]
        # A run is called by the folder that it is in; by a link to that only where it is not met otherwise.
        names.sort(key=lambda name: (inside[name][1], _by_number(name)), reverse=True)
        waiting += [folder / name for name in names]


def _may_hold_runs(name: str) -> bool:
    return not name.startswith(".") and name not in NOT_ENTERED


def _by_number(name: str) -> tuple[int, str]:
    return (len(name), name) if name.isdecimal() else (0, name)


def _near(path: Path) -> str:
    try:
        others = os.listdir(path.parent)
    except OSError:
        return f", nor a folder {path.parent}: name run directories, or folders of them, outputs/ say."
    hidden = path.name.startswith(".")
    seen = [name for name in others if hidden or not name.startswith(".")]
    close = get_close_matches(path.name, seen, n=3, cutoff=0.4)
    if close:
        return f": did you mean {', '.join(str(path.parent / name) for name in close)}?"
    return ": name run directories, or folders of them, outputs/ say."


def _read_text(path: Path) -> str:
    """Raises DamagedError for a file that is missing, too large, no text, or no file at all, a pipe for instance."""
    limit = LARGEST_FILE[path.name]
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DamagedError("it is no regular file")
        if status.st_size > limit:
            raise DamagedError(f"it has {status.st_size:,} bytes, and at most {limit:,} are read")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DamagedError(error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise DamagedError(f"its byte {error.start} is no UTF-8 text") from error


def _read_json(path: Path) -> Any:
    text = _read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        what = "is cut off or no JSON" if text.strip() else "is empty"
        raise DamagedError(f"it {what}{f' (line {error.lineno})' if text.strip() else ''}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; lists in lists without end
        raise DamagedError("it is no JSON that can be read") from error


def _read_metrics(path: Path, say: Say) -> dict[str, list[float | None]]:
    """Column -> a value an epoch. Empty for a run without an epoch yet, which has no such file."""
    if not path.exists():
        return {}
    text = _read_text(path)
    if not text:
        return {}
    # A row is written with its line's end: the last one lacks it while it is half written.
    whole, end, rest = text.rpartition("\n")
    if not end:
        raise DamagedError("its first line is cut off")
    try:
        rows = list(csv.reader(whole.split("\n"), strict=True))
    except csv.Error as error:
        raise DamagedError(f"it is no CSV ({error})") from error
    columns = rows[0]
    if EPOCH not in columns or len(set(columns)) != len(columns):
        raise DamagedError(f"its first line does not name the columns, {EPOCH} and others, each once")
    history: dict[str, list[float | None]] = {column: [] for column in columns}
    bad = []
    for number, row in enumerate(rows[1:], start=2):
        values, wrong = _values(columns, row)
        if wrong:
            bad.append(f"line {number} {wrong}")
        if values is not None:
            for column, value in values.items():
                history[column].append(value)
    if rest:
        bad.append(f"line {len(rows) + 1} is cut off")
    if bad:
        more = f", and {len(bad) - 3} more" if len(bad) > 3 else ""
        say(f"{'; '.join(bad[:3])}{more}; left out")
    return history if history[EPOCH] else {}


def _values(columns: list[str], row: list[str]) -> tuple[dict[str, float | None] | None, str]:
    """The values of a row, None where it is no row; and what is wrong with it, if anything."""
    if len(row) != len(columns):
        return None, f"has {len(row)} of {len(columns)} values"
    values: dict[str, float | None] = {}
    wrong = []
    for column, cell in zip(columns, row, strict=True):
        values[column] = None
        if cell:
            try:
                number = float(cell)
            except ValueError:
                return None, f"has {cell[:20]!r} for {column}"
            if column_fits(column, number):
                values[column] = number
            else:
                wrong.append(f"has {cell[:20]!r} for {column}")
    if not is_number(values[EPOCH]):
        return None, "lacks its epoch"
    return values, ", ".join(wrong[:2])


def _silence(folder: Path) -> float:
    """Seconds since the run last wrote."""
    times = [(folder / name).stat().st_mtime for name in (RESULT_FILE, METRICS_FILE) if (folder / name).exists()]
    return time.time() - max(times, default=0.0)


def _longest_epoch(history: dict[str, list[float | None]]) -> float | None:
    return max((seconds for seconds in history.get(TRAIN_SECONDS, []) if seconds is not None), default=None)
