"""The whole report: every part is asked, and none can end the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from zoo.doctor import machine, tensorflow_answers, wandb_answers
from zoo.doctor.asking import Question, ask
from zoo.doctor.rows import NOTE, OK, PROBLEM, Row, guarded

FORMAT = 1  # of `document`; another one where a key changes its meaning
# What keys begin with, in the order of the report, and its headings.
SECTIONS = {
    "project": "Project",
    "packages": "Packages",
    "machine": "Machine",
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "kernels": "Kernels",
    "caches": "Caches",
    "data": "Data sets",
    "runs": "Runs",
    "tracking": "Weights & Biases",
    "environment": "Environment",
}
STATUSES = (OK, NOTE, PROBLEM)


def examine() -> list[Row]:
    """All rows, in the order of SECTIONS. TensorFlow and W&B are asked in processes of their own, at the same time."""
    parts, seconds = tuple(tensorflow_answers.PARTS), tensorflow_answers.SECONDS
    with (
        ask("zoo.doctor.tensorflow_answers", parts, seconds) as tensorflow,
        ask("zoo.doctor.wandb_answers", wandb_answers.PARTS, wandb_answers.SECONDS) as wandb,
    ):
        rows = [row for key, part in _parts().items() for row in guarded(key, part)]
        rows += guarded("tensorflow.report", lambda: _computing(tensorflow))
        prebuilt = any(row.key == "kernels.state" and row.data.get("origin") == "prebuilt" for row in rows)
        rows += guarded("kernels.compiler", lambda: _compiler(is_needed=not prebuilt))
        rows += guarded("tracking.mode", lambda: _tracking(wandb))
    order = list(SECTIONS)
    return sorted(rows, key=lambda row: order.index(row.key.partition(".")[0]))


def document(rows: list[Row]) -> dict[str, Any]:
    """The report as plain values, for --json."""
    return {
        "format": FORMAT,
        **{f"{status}s" if status != OK else OK: sum(row.status == status for row in rows) for status in STATUSES},
        "rows": [
            {"key": row.key, "status": row.status, "text": row.text, "remedy": row.remedy, "data": dict(row.data)}
            for row in rows
        ],
    }


def _parts() -> Mapping[str, Callable[[], Iterator[Row]]]:
    """What is asked in this process, under the key that a failure is reported by."""
    return {
        "project.version": _packages,
        "machine.system": machine.system,
        "machine.processor": machine.processor,
        "machine.cores": machine.cores,
        "machine.memory": machine.memory,
        "machine.encoding": machine.encoding,
        "machine.clock": machine.clock,
        "caches.kernels": _caches,
        "data.folder": _data_sets,
        "runs.outputs": _runs,
        "environment.variables": _variables,
    }


# Imported within the part: `packaging` or `psutil` may be what is missing.
def _packages() -> Iterator[Row]:
    from zoo.doctor import packages

    return packages.rows()


def _compiler(is_needed: bool) -> Iterator[Row]:
    from zoo.doctor import computing

    return computing.compiler(is_needed)


def _caches() -> Iterator[Row]:
    from zoo.doctor import folders

    return folders.caches()


def _data_sets() -> Iterator[Row]:
    from zoo.doctor import folders

    return folders.data_sets()


def _runs() -> Iterator[Row]:
    from zoo.doctor import folders

    return folders.runs()


def _variables() -> Iterator[Row]:
    from zoo.doctor import settings

    return settings.variables()


def _computing(question: Question) -> Iterator[Row]:
    from zoo.doctor import computing

    return computing.rows(question.answers())


def _tracking(question: Question) -> list[Row]:
    from zoo.doctor import settings

    return [settings.tracking(question.answers()["tracking"])]
