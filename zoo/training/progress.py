"""What a training run shows on the terminal: a live bar, a line an epoch, a closing table."""

import shlex
import shutil
import sys
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from zoo import metrics

REFRESH_SECONDS = 0.2


class ProgressBar(keras.callbacks.Callback):
    """A bar over all epochs with images/s, loss, top-1 and the remaining time; only on a terminal.

    Metrics are read from the device a few times a second and not after every step.
    """

    def __init__(
        self, console: Console, epochs: int, steps: int, batch_size: int, first_epoch: int = 0, first_step: int = 0
    ) -> None:
        super().__init__()
        self.first_epoch, self.first_step = first_epoch, first_step  # of a training that goes on
        self.console = console
        self.epochs, self.steps, self.batch_size = epochs, steps, batch_size
        self.shown = 0.0
        self.epoch = 0
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),  # what the figures leave of the line
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            expand=True,
            disable=not console.is_terminal,
        )
        self.task = self.progress.add_task("compiling", total=epochs * steps, figures="")

    def __enter__(self) -> Self:
        self.progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None
    ) -> None:
        self.progress.__exit__(kind, error, traceback)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.epoch = epoch
        self.first: tuple[float, int] | None = None
        if epoch > self.first_epoch:  # before, the first step compiles
            self.progress.update(self.task, description=self._label())

    def _label(self) -> str:
        return f"epoch {self.epoch + 1}/{self.epochs}"

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        now = time.perf_counter()
        self.first = self.first or (now, batch)  # the rate counts from here: the first step of all compiles
        if self.progress.disable or now - self.shown < REFRESH_SECONDS:
            return
        self.shown = now
        seconds, steps = now - self.first[0], batch - self.first[1]
        rate = f"{steps * self.batch_size / seconds:,.0f} images/s  " if steps else ""
        logs = logs or {}
        figures = f"{rate}loss {logs.get('loss', float('nan')):.3f}  top-1 {100 * logs.get('top1', 0):.1f} %"
        done = self.epoch * self.steps + batch + 1 + (self.first_step if self.epoch == self.first_epoch else 0)
        self.progress.update(self.task, description=self._label(), completed=done, figures=figures)

    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self.progress.update(self.task, description=f"validation {self.epoch + 1}/{self.epochs}")


def console(quiet: bool = False) -> Console:
    """Where progress is written: standard error, so that standard output stays free for results; nowhere if `quiet`."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True, markup=False, emoji=False, quiet=quiet)


def epoch_line(row: dict[str, Any], epochs: int) -> str:
    """One line on an epoch that has ended, from the row that `metrics.csv` gets."""
    loss, skipped = row[metrics.VAL_LOSS], row[metrics.SKIPPED_STEPS]
    return (
        f"epoch {row[metrics.EPOCH]:>3}/{epochs}  loss {row[metrics.TRAIN_LOSS]:.4f}  "
        f"top-1 {percent(row[metrics.TRAIN_TOP1])}  "
        f"val loss {'-' if loss is None else f'{loss:.4f}'}  val top-1 {percent(row[metrics.VAL_TOP1])}  "
        f"{row[metrics.TRAIN_IMAGES_PER_SECOND]:,.0f} images/s  {row[metrics.TRAIN_SECONDS]:.1f} s"
        + (f"  {skipped} {'step' if skipped == 1 else 'steps'} skipped" if skipped else "")
    )


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def closing_table(result: dict[str, Any], directory: str) -> Table:
    """The figures of a run that has ended."""
    table = Table(show_header=False, title=f"{result['name']}: {result['status']}", title_justify="left")
    rows = [("validation top-1", percent(result["val_top1"]) + _better_epoch(result))]
    if result.get("test_top1") is not None:
        rows.append(("test top-1", percent(result["test_top1"])))
    rate, latency = result["train_images_per_second"], result.get("latency_seconds")
    rows += [
        ("parameters", f"{result['parameters']:,}"),
        ("multiply-accumulates", f"{result['macs']:,}"),
        *([] if result.get("mode") == "evaluate" else [("training", "-" if rate is None else f"{rate:,.0f} images/s")]),
        *([] if latency is None else [("latency", f"{1000 * latency:,.2f} ms an image, fused, alone")]),
        ("time", f"{result['seconds']:,.0f} s"),
        ("run directory", directory),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _better_epoch(result: Mapping[str, Any]) -> str:
    """The best epoch behind the accuracy of the saved model, where that epoch was better."""
    accuracy, best = result["val_top1"], result.get("best_val_top1")
    if accuracy is None or best is None or best <= accuracy:
        return ""
    return f" (best {percent(best)}, epoch {result['best_epoch']})"


def compare_line(directory: Path) -> str:
    """How to compare the run of this directory with all below `outputs`, or the runs of this sweep's."""
    together = next((folder for folder in directory.parents if folder.name == "outputs"), directory)
    program = "zoo" if shutil.which("zoo") else "python -m zoo"
    working = Path.cwd()
    shown = together.relative_to(working) if together.is_relative_to(working) else together
    return f"To compare runs: {program} compare {shlex.quote(f'{shown}/')}"
