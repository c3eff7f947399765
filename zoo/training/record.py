"""What a run leaves in its directory whether or not it is tracked: figures and what was confused with what.

`metrics.csv` has one row an epoch. `result.json` exists from the start with status `running` and the process that runs,
so that a run that was killed can be told from one that goes on. `evaluation.json` comes at the end.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from zoo.environment import redact
from zoo.metrics import EVALUATION_FILE, METRICS_FILE, RESULT_FILE
from zoo.training.files import RecordError, cannot_write, write_text
from zoo.training.signals import complete

STATUSES = ("finished", "interrupted", "failed")

# What a finished run must tell, so that a table of many runs has no holes. None is a value: `groups` of a
# network without groups.
REQUIRED = (
    "model",
    "groups",
    "dataset",
    "val_top1",
    "val_top5",
    "parameters",
    "macs",
    "train_images_per_second",
    "peak_memory_bytes",
    "seconds",
)


class Record:
    """Writes the files of one run; a context manager that notes how the run ended.

        with Record(directory, {"model": "resnext50_32x4d", "groups": 32, "dataset": "digits"}) as record:
            record.add({"parameters": 25_028_904})
            record.epoch({"epoch": 0, "train/loss": 1.2})
            record.finish("finished", {"val_top1": 0.98, ...})

    When the body raises, the status becomes `interrupted` (KeyboardInterrupt) or `failed`, with the error.
    """

    def __init__(
        self,
        directory: Path,
        start: Mapping[str, Any] | None = None,
        rows: Sequence[Mapping[str, Any]] | None = (),
    ) -> None:
        """Writes `result.json` with status `running` and the values of `start`.

        Args:
            directory: made if it does not exist.
            start: what is known before training.
            rows: of the epochs that are over, where a run goes on: `metrics.csv` has these, and what it had of later
                epochs comes again. None leaves the file as it is. What an earlier run in the directory confused is
                deleted.

        Raises:
            RecordError: the directory cannot be written.
        """
        self.directory = Path(directory)
        self.metrics_path = self.directory / METRICS_FILE
        self.result_path = self.directory / RESULT_FILE
        self.evaluation_path = self.directory / EVALUATION_FILE
        self._values = dict(start or {})
        self._columns: list[str] | None = None
        self._finished = False
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.directory, error) from error
        self.evaluation_path.unlink(missing_ok=True)
        if rows is not None:
            self._start_metrics(rows)
        self._write_result("running")

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or self._finished:
            return
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        # The body's own error says more: than a full disk, which may be that very error, and than another Ctrl-C.
        message = f"{type(error).__name__}: {error}".strip(": ")
        with suppress(RecordError):
            complete(f"Writing {RESULT_FILE}", lambda: self.finish(status, error=message))

    def add(self, values: Mapping[str, Any]) -> None:
        """Adds to `result.json`, while the run goes on and however it ends.

        Raises:
            RecordError: the file cannot be written.
        """
        self._values |= values
        self._write_result("running")

    def evaluation(self, values: Mapping[str, Any]) -> None:
        """Writes `evaluation.json`. Raises RecordError where it cannot be written."""
        text = json.dumps(_plain(values), separators=(",", ":"), allow_nan=False)
        write_text(self.evaluation_path, redact(text) + "\n")

    def epoch(self, metrics: Mapping[str, float | None]) -> None:
        """Adds a row. The first row's keys are the columns; a later row may leave some out, which stay empty.

        Raises:
            ValueError: a key that the first row did not have.
            RecordError: the row cannot be written.
        """
        rows = []
        if self._columns is None:
            self._columns = list(metrics)
            rows.append(self._columns)
        unknown = [key for key in metrics if key not in self._columns]
        if unknown:
            raise ValueError(
                f"metrics.csv has no column {', '.join(unknown)}; its columns were fixed by the first row:"
                f" {', '.join(self._columns)}."
            )
        rows.append([_plain(metrics.get(key)) for key in self._columns])
        try:
            # Opened for each row: what is written is on disk for readers, and if the process is killed.
            with self.metrics_path.open("ab", buffering=0) as file:
                before, text = file.tell(), _csv_text(rows).encode()
                try:
                    while text:  # a disk that is nearly full takes a part of it
                        text = text[file.write(text) :]
                except OSError:
                    file.truncate(before)
                    raise
        except OSError as error:
            raise cannot_write(self.metrics_path, error) from error

    def finish(self, status: str, values: Mapping[str, Any] | None = None, error: str | None = None) -> dict[str, Any]:
        """Writes `result.json` for the last time: what was known before, then `values`, then `error`. Returns it.

        Args:
            status: `finished`, `interrupted` or `failed`. Only a finished run must have all `REQUIRED`
                values; in the others, missing ones are null.
            values: NaN and infinity become null, for JSON has neither.
            error: what went wrong, for a person to read.

        Raises:
            ValueError: another status, or a required value is missing.
            RecordError: the file cannot be written.
        """
        if status not in STATUSES:
            raise ValueError(f"status={status!r} is not one of {', '.join(STATUSES)}.")
        known = {**self._values, **(values or {})}
        missing = [key for key in REQUIRED if key not in known]
        if missing and status == "finished":
            raise ValueError(f"result.json of a finished run lacks {', '.join(missing)}.")
        self._values = {**dict.fromkeys(missing), **known}
        if error is not None:
            self._values["error"] = error
        result = self._write_result(status)
        self._finished = True
        return result

    def _write_result(self, status: str) -> dict[str, Any]:
        result = {"status": status, **_plain(self._values)}
        write_text(self.result_path, redact(json.dumps(result, indent=2, allow_nan=False)) + "\n")
        return result

    def _start_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            self.metrics_path.unlink(missing_ok=True)
            return
        self._columns = list(rows[0])
        values = [[_plain(row.get(key)) for key in self._columns] for row in rows]
        write_text(self.metrics_path, _csv_text([self._columns, *values]))


class UnwrittenRecord(Record):
    """The record of a worker that is not the chief: it takes the same values, and writes nothing.

    Example:
        >>> import pathlib
        >>> from zoo.training.record import UnwrittenRecord
        >>> record = UnwrittenRecord(pathlib.Path("nowhere"), {"model": "alexnet"})
        >>> record.finish("interrupted")["model"], record.directory.exists()
        ('alexnet', False)
    """

    def __init__(self, directory: Path, start: Mapping[str, Any] | None = None) -> None:
        self.directory = Path(directory)
        self._values, self._columns, self._finished = dict(start or {}), None, False

    def epoch(self, metrics: Mapping[str, float | None]) -> None:
        pass

    def evaluation(self, values: Mapping[str, Any]) -> None:
        pass

    def _write_result(self, status: str) -> dict[str, Any]:
        return {"status": status, **_plain(self._values)}


def _plain(value: Any) -> Any:
    """`value` in JSON's types: NumPy scalars as Python's, paths as text, NaN and infinity as None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _csv_text(rows: list[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
