"""What a result follows from: to find runs that differ in the seed alone, to name runs and to show differences."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.comparison.runs import Run, seed
from zoo.metrics import DATA, MADE_WITH

SEED = "seed"
FOLD = "dataset.fold"
# Names, notes and places of logs and outputs, whether a run went on after a stop, and what a search looks at: the same
# network is trained in the same way whatever they are.
WITHOUT_EFFECT = (SEED, "tracking.", "hydra.", "_wandb", "resume", "objective")
CHECKPOINT = "checkpoint"  # of an evaluation
DATA_FOLDER = "dataset.data_dir"  # tells the data apart only where the run does not record which data they are
# Recorded beside the configuration; older runs have nothing else.
BESIDE = ("model", "family_settings", "groups", "dataset", "small_stem", "epochs_planned", SEED)
MOST_SETTINGS = 3  # that a label names to set it apart
LONGEST_VALUE = 24  # characters of a value in a label
HASHES = {"commit": 10, "changes": 10, f"{DATA}.digest": 10}  # hexadecimal values -> digits that a label shows


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested values as dotted key -> text: {"recipe": {"epochs": 3}} -> {"recipe.epochs": "3"}."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, default=str)
    return flat


def settings(run: Run) -> dict[str, str]:
    """The configuration of a run, as dotted key -> text; what is known of it where the run does not record it."""
    config = run.result.get("config")
    if config:
        return flattened(config)
    return flattened({key: run.result[key] for key in BESIDE if key in run.result})


def recorded(run: Run) -> dict[str, str]:
    """`settings`, and what the run was made with: data, commit, versions, kernels, processor and the rest."""
    known = {key: run.result[key] for key in MADE_WITH if run.result.get(key) not in (None, {}, [])}
    return settings(run) | flattened(known)


def determining(run: Run) -> dict[str, str]:
    """All of `recorded` that a result follows from, but for the seed and the fold: equal in runs that differ in these.

    Data are the same wherever they lie; where a run does not record their identity, their folder stands for it. Of the
    fold the number of folds remains: its validation images are a sample, as the seed's random numbers are.
    """
    without_effect = (*WITHOUT_EFFECT, DATA_FOLDER) if run.result.get(DATA) else WITHOUT_EFFECT
    values = {key: value for key, value in recorded(run).items() if not _is_one_of(key, without_effect)}
    if "/" in values.get(FOLD, ""):
        values[FOLD] = f"of {values[FOLD].partition('/')[2]}"
    return values


def _is_one_of(key: str, names: Sequence[str]) -> bool:
    return any(key.startswith(name) if name.endswith((".", "_wandb")) else key == name for name in names)


def identity(run: Run) -> tuple[Any, ...]:
    """Equal for two runs that differ in their seed alone, or are repeats of one seed."""
    if not any(not _is_one_of(key, WITHOUT_EFFECT) for key in settings(run)):
        return (run.path,)  # its configuration is unknown, so it is treated as distinct
    # The network's name beside its settings: several variants of one family may differ in nothing else.
    return (run.result.get("model"), run.result.get("dataset"), *sorted(determining(run).items()))


def differing(runs: Sequence[dict[str, str]]) -> list[str]:
    """Keys that not all of these have with the same value, in the order of their first appearance."""
    keys = dict.fromkeys(key for each in runs for key in each)
    return [key for key in keys if len({each.get(key) for each in runs}) > 1]


def labels(rows: Sequence[Sequence[Run]]) -> list[str]:
    """A name for each row of runs, no two alike: that of its first run, and where others share it what differs."""
    by_name: dict[str, list[int]] = {}
    for index, runs in enumerate(rows):
        by_name.setdefault(runs[0].name, []).append(index)
    unique = [""] * len(rows)
    for name, indices in by_name.items():
        for index, label in zip(indices, _set_apart(name, [rows[index] for index in indices]), strict=True):
            unique[index] = label
    return unique


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _short(key: str, value: str) -> str:
    longest = HASHES.get(key, LONGEST_VALUE)
    if len(value) <= longest:
        return value
    if key in (CHECKPOINT, DATA_FOLDER):
        return f"…{value[1 - longest :]}"  # folders and tags differ at their ends
    return value[:longest] if key in HASHES else f"{value[: longest - 1]}…"


def _telling(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """The settings of a label, in their order: first those that tell apart rows which the ones before them do not.

    Args:
        columns: of each setting that differs, the value in each row.
    """
    unlike: dict[tuple[str, ...], str] = {}
    for key, values in columns.items():
        # Interpolated settings, as `groups` and `model.groups` are, have equal values under one name: once is enough.
        # So it is of what belongs to one thing, as `dataset.color_jitter.brightness` and `.contrast` do.
        group = key.rpartition(".")[0]
        names = [_last(key), *([group] if "." in group else [])]
        if not any((name, *values) in unlike for name in names):
            unlike |= {(name, *values): key for name in names}
    candidates = list(dict.fromkeys(unlike.values()))
    chosen: list[str] = []
    for key in candidates:
        if _distinct(columns, [*chosen, key]) > _distinct(columns, chosen):
            chosen.append(key)
    chosen = [*chosen, *(key for key in candidates if key not in chosen)][:MOST_SETTINGS]
    return [key for key in candidates if key in chosen]


def _distinct(columns: Mapping[str, Sequence[str]], keys: Sequence[str]) -> int:
    """How many kinds of rows these settings tell apart."""
    return len(set(zip(*(columns[key] for key in keys), strict=True))) if keys else 1


def _set_apart(name: str, rows: Sequence[Sequence[Run]]) -> list[str]:
    if len(rows) == 1:
        return [name]
    each = [determining(runs[0]) for runs in rows]
    columns = {key: [values.get(key, "-") for values in each] for key in differing(each)}
    keys = _telling(columns)
    names = [_last(key) for key in keys]
    seeds_differ = len({seed(run) for runs in rows for run in runs}) > 1
    labelled = []
    for index, runs in enumerate(rows):
        parts = [
            f"{last if names.count(last) == 1 else key}={_short(key, columns[key][index])}"
            for key, last in zip(keys, names, strict=True)
        ]
        if seeds_differ and len(runs) == 1 and seed(runs[0]) is not None:
            parts.append(f"{SEED}={seed(runs[0])}")
        labelled.append(f"{name} ({', '.join(parts)})" if parts else name)
    return [
        f"{label} [{runs[0].path}]" if labelled.count(label) > 1 else label
        for label, runs in zip(labelled, rows, strict=True)
    ]
