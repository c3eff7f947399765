"""Training runs from a project on W&B, as run directories record them too.

What training logs, and is read here, by exact key:

- summary: the keys of `zoo.metrics.METRICS`; `status`, "interrupted" where the user stopped the run, which W&B itself
  calls failed.
- history: the columns of `metrics.csv`, one row an epoch with `epoch` in it.
- config: `family` (a key of `zoo.registry.FAMILIES`), `network` (the zoo's name of the network), and the resolved
  configuration, of which `groups`, `seed`, `small_stem`, `dataset.name` and `recipe.epochs` are read by name. The keys
  of `zoo.metrics.MADE_WITH` say what the run was made with, its data too. A section that a parameter of W&B's sweep
  hides is `model_settings`.
- tables, see `zoo.comparison.wandb.panels`: the confusion matrix, and the classes where it lacks them.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from zoo.comparison.runs import Evaluation, Run, printable
from zoo.comparison.validation import DamagedError, checked_evaluation, checked_result, column_fits, is_number, shown
from zoo.comparison.wandb.connection import Connection, connect, http_status
from zoo.comparison.wandb.panels import CONFUSION_COLUMNS, CONFUSION_TABLE, PER_CLASS_LABEL, PER_CLASS_TABLE
from zoo.environment import redact
from zoo.errors import UserError
from zoo.metrics import EPOCH, MADE_WITH, METRICS
from zoo.tracking.run import HIDDEN

if TYPE_CHECKING:
    import wandb

# State on W&B -> status of a run; a run that waits to start has none.
STATUSES = {
    "running": "running",
    "preempting": "running",
    "finished": "finished",
    "failed": "failed",
    "crashed": "crashed",
    "killed": "interrupted",
    "preempted": "interrupted",
}
# Of the config: what is no part of the resolved configuration.
BESIDE = ("family", "network", *MADE_WITH)
AT_ONCE = 8  # runs whose histories are asked for at a time
TABLE_LIMIT = 10_000  # rows of a table, after which W&B cuts it
Say = Callable[[str], None]


def read_project(project: str, say: Say) -> list[Run]:
    """The runs of a project on W&B, oldest first.

    Args:
        project: ENTITY/PROJECT, or PROJECT of the entity that the API key belongs to.
        say: called with a line for each run that is left out, wholly or in part.

    Raises:
        UserError: the project or the server is unavailable, or there is no run to compare in it.
    """
    connection = connect()
    entity, name = connection.project(project)
    where = f"{entity}/{name}"
    project_runs = connection.runs(entity, name, whole=True)
    runs = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = [pool.submit(_read_run, connection, run, where) for run in project_runs]
        try:
            for each in waiting:
                run, lines = each.result()
                for line in lines:
                    say(printable(redact(line, connection.secrets)))
                runs += [] if run is None else [run]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if not runs:
        why = f"none of its {len(project_runs)} runs can be compared" if project_runs else "it is empty"
        raise UserError(
            f"There is no run to compare in {where} on {connection.address}, for {why};"
            f" `python train.py tracking.entity={entity} tracking.project={name}` logs one there."
        )
    return runs


def _read_run(connection: Connection, run: wandb.apis.public.Run, where: str) -> tuple[Run | None, list[str]]:
    """The run as it is compared, None where W&B has nothing of it to compare; and a line for all that is left out."""
    path, lines = f"{where}/{run.id}", []

    def say_of(text: str) -> None:
        lines.append(f"{path} ({run.name or 'without a name'}): {text}.")

    return _read(connection, run, path, say_of), lines


def _read(connection: Connection, run: wandb.apis.public.Run, path: str, say_of: Say) -> Run | None:
    if run.state not in STATUSES:
        say_of(f"W&B calls it {run.state}, and it has nothing to compare; this run is left out")
        return None
    config, summary = _configuration(_mapping(run.config)), _mapping(run.summary_metrics)
    with connection.doing(f"reading the history of {path}"):
        history = _history(_rows(run, say_of), say_of)
    if not history and not any(key in summary for key in METRICS) and "family" not in config:
        say_of("it has neither epochs nor figures of the zoo; this run is left out")
        return None
    status = STATUSES[run.state]
    if status == "failed" and summary.get("status") == "interrupted":
        status = "interrupted"
    try:
        result = checked_result(_result(run, status, config, summary), say_of)
    except DamagedError as error:
        say_of(f"{error}; this run is left out")
        return None
    with connection.doing(f"reading the confusion matrix of {path}"):
        try:
            evaluation = _evaluation(run, summary)
        except DamagedError as error:
            say_of(f"its confusion matrix cannot be read ({error}); the run is shown without its classes")
            evaluation = None
    invalid = tuple(key for key in METRICS if key in summary and key not in result)
    return Run(path, run.name or run.id, status, result, history, evaluation, invalid)


def _mapping(value: Any) -> dict[str, Any]:
    """W&B's JSON, with None for what is no number: local files write it so too."""
    return {str(key): _plain(item) for key, item in value.items()} if isinstance(value, Mapping) else {}


def _configuration(config: dict[str, Any]) -> dict[str, Any]:
    """The config with its sections in their places, where those of a sweep's parameters have taken them."""
    hidden = [key for key, value in config.items() if key.endswith(HIDDEN) and isinstance(value, dict)]
    sections = {key.removesuffix(HIDDEN): config[key] for key in hidden}
    return {key: value for key, value in config.items() if key not in hidden} | sections


def _plain(value: Any) -> Any:
    """W&B writes NaN as a text, for JSON has no such number."""
    if value in ("NaN", "Infinity", "-Infinity"):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _result(
    run: wandb.apis.public.Run, status: str, config: Mapping[str, Any], summary: Mapping[str, Any]
) -> dict[str, Any]:
    """What `result.json` says of such a run."""
    dataset, recipe = config.get("dataset"), config.get("recipe")
    known = {
        # result.json knows no crash: a run that has crashed says that it runs.
        "status": "running" if status == "crashed" else status,
        "name": run.name,
        "group": run.group,
        "model": config.get("network"),
        "family": config.get("family"),
        "groups": config.get("groups"),
        "dataset": dataset.get("name") if isinstance(dataset, Mapping) else dataset,
        "seed": config.get("seed"),
        "small_stem": config.get("small_stem"),
        **{key: config.get(key) for key in MADE_WITH},
        "config": {key: value for key, value in config.items() if key not in BESIDE},
        "epochs_planned": recipe.get("epochs") if isinstance(recipe, Mapping) else None,
        "wandb": {"mode": "online", "id": run.id, "url": run.url},
    }
    figures = {key: summary[key] for key in METRICS if key in summary}
    return {key: value for key, value in (known | figures).items() if value is not None}


def _rows(run: wandb.apis.public.Run, say_of: Say) -> list[dict[str, Any]]:
    """Every row of the history: W&B takes samples where more rows are there than are asked for."""
    lines = run.history_line_count or 0
    if not lines:
        return []
    # A run that is still running writes rows between the two questions.
    rows = run.history(samples=2 * lines, pandas=False)
    if len(rows) < lines:
        say_of(f"W&B gave {len(rows)} of {lines} rows of its history")
    return rows


def _history(rows: Sequence[Mapping[str, Any]], say_of: Say) -> dict[str, list[float | None]]:
    """Columns as in `metrics.csv`, of the epochs in order; what is no number, and rows without figures, stay out."""
    epochs: dict[float, dict[str, float | None]] = {}
    wrong = []
    for row in rows:
        values = {key: _plain(value) for key, value in row.items() if not key.startswith("_")}
        numbers = {key: value for key, value in values.items() if value is None or is_number(value)}
        # W&B writes the last epoch, 0 before the first, beside tables too.
        if not is_number(numbers.get(EPOCH)) or len(numbers) == 1:
            continue
        unfit = [key for key, value in numbers.items() if value is not None and not column_fits(key, value)]
        wrong += [f"{key}={numbers[key]:g}" for key in unfit]
        numbers |= dict.fromkeys(unfit)
        epochs.setdefault(numbers[EPOCH], {}).update(numbers)
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        say_of(f"{', '.join(wrong[:3])}{more} {'is' if len(wrong) == 1 else 'are'} invalid and ignored in its epochs")
    columns = dict.fromkeys(key for values in epochs.values() for key in values)
    return {key: [epochs[epoch].get(key) for epoch in sorted(epochs)] for key in columns}


def _downloaded(file: wandb.apis.public.File) -> Any:
    """The JSON in a file. Raises DamagedError where it is none, and where W&B has lost the file."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with file.download(root=folder) as opened:
                return json.load(opened)
        except ValueError:
            raise DamagedError("its file is no JSON") from None
        except Exception as error:  # the client wraps the server's answer into errors of several types
            if (status := http_status(error)) in (403, 404, 410):
                raise DamagedError(f"HTTP {status}") from None
            raise


def _table(run: wandb.apis.public.Run, logged: Any, columns: Sequence[str]) -> list[list[Any]]:
    """The rows of a table, as wide as `columns`, by which they begin.

    Args:
        logged: what the summary says of the table.

    Raises:
        DamagedError: W&B has lost or cut the table, or it is not one that a run writes.
    """
    if not isinstance(logged, Mapping) or not isinstance(logged.get("path"), str):
        raise DamagedError("it is no table")
    files = list(run.files(names=[logged["path"]]))
    if not files:
        raise DamagedError(f"W&B has no file {logged['path']}")
    table = _downloaded(files[0])
    if not isinstance(table, dict) or table.get("columns", [])[: len(columns)] != list(columns):
        raise DamagedError(f"its columns are not {', '.join(columns)}")
    rows = table.get("data")
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) >= len(columns) for row in rows):
        raise DamagedError("it has no rows")
    if len(rows) >= TABLE_LIMIT:
        raise DamagedError(f"W&B keeps {TABLE_LIMIT:,} of its rows")
    return [row[: len(columns)] for row in rows]


def _evaluation(run: wandb.apis.public.Run, summary: Mapping[str, Any]) -> Evaluation | None:
    """What the tables of the confusion matrix and of the classes say; None of a run that has logged none.

    Raises:
        DamagedError: see `_table`.
    """
    if CONFUSION_TABLE not in summary:
        return None
    rows = _table(run, summary[CONFUSION_TABLE], CONFUSION_COLUMNS)
    classes = list(dict.fromkeys(row[0] for row in rows if isinstance(row[0], str)))
    if len(rows) != len(classes) ** 2:  # cells without images are not recorded, nor the order of the classes
        classes = [name for (name,) in _table(run, summary.get(PER_CLASS_TABLE), [PER_CLASS_LABEL])]
    if not all(isinstance(name, str) for name in classes) or len(set(classes)) != len(classes):
        raise DamagedError("its classes are no names, or two have the same")
    places = {name: index for index, name in enumerate(classes)}
    cells = []
    for true, predicted, images in rows:
        if true not in classes or predicted not in classes or not is_number(images) or images != int(images):
            raise DamagedError(
                f"it has {shown([true, predicted, images])}, which is no class, class and number of images"
            )
        cells.append([places[true], places[predicted], int(images)])
    return Evaluation(*checked_evaluation({"split": "validation", "classes": classes, "confusion": cells}))
