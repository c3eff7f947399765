"""What a run was told to do: to find runs that differ in the seed alone, to name runs, and to show what differs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.comparison.runs import Run

SEED = "seed"
# Where a run is logged and finds its data; it trains the same network in the same way wherever that is.
ELSEWHERE = ("tracking.", "dataset.data_dir", "hydra.", "_wandb")
# What is told beside the configuration; older runs have nothing else.
BESIDE = ("model", "family_settings", "groups", "dataset", "small_stem", "epochs_planned", SEED)
LONGEST_LABEL = 3  # settings that a label tells to set it apart


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested values as dotted key -> text: {"recipe": {"epochs": 3}} -> {"recipe.epochs": "3"}."""
    flat = {}
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
    """`settings`, and what the run was made with: commit and versions."""
    made = {key: run.result[key] for key in ("commit", "versions") if run.result.get(key)}
    return settings(run) | flattened(made)


def identity(run: Run) -> tuple:
    """Equal for two runs that differ in their seed alone."""
    relevant = [(key, value) for key, value in settings(run).items() if key != SEED and not key.startswith(ELSEWHERE)]
    if not relevant:
        return (run.path,)  # nothing is known of it, so nothing says that it is as another
    # The network's name beside its settings: several variants of one family may be told apart by nothing else.
    return (run.result.get("model"), run.result.get("dataset"), *sorted(relevant))


def differing(runs: Sequence[dict[str, str]]) -> list[str]:
    """Keys that not all of these have with the same value, in the order of their first appearance."""
    keys = dict.fromkeys(key for each in runs for key in each)
    return [key for key in keys if len({each.get(key) for each in runs}) > 1]


def labels(rows: Sequence[Sequence[Run]]) -> list[str]:
    """A name for each row of runs, no two alike: that of its first run, and where others share it what differs."""
    named: dict[str, list[int]] = {}
    for index, runs in enumerate(rows):
        named.setdefault(runs[0].name, []).append(index)
    made = [""] * len(rows)
    for name, indices in named.items():
        for index, label in zip(indices, _set_apart(name, [rows[index] for index in indices]), strict=True):
            made[index] = label
    return made


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _set_apart(name: str, rows: Sequence[Sequence[Run]]) -> list[str]:
    if len(rows) == 1:
        return [name]
    each = [settings(runs[0]) for runs in rows]
    keys = [key for key in differing(each) if key != SEED and not key.startswith(ELSEWHERE)]
    # Interpolated settings, as `groups` and `model.groups` are, tell the same under one name: once is enough.
    told = {(_last(key), *(values.get(key, "-") for values in each)): key for key in reversed(keys)}
    keys = [key for key in keys if key in told.values()][:LONGEST_LABEL]
    names = [_last(key) for key in keys]
    made = []
    for runs, values in zip(rows, each, strict=True):
        parts = [
            f"{last if names.count(last) == 1 else key}={values.get(key, '-')}"
            for key, last in zip(keys, names, strict=True)
        ]
        if len(runs) == 1 and runs[0].result.get(SEED) is not None:
            parts.append(f"{SEED}={runs[0].result[SEED]}")
        made.append(f"{name} ({', '.join(parts)})" if parts else name)
    return [
        f"{label} [{runs[0].path}]" if made.count(label) > 1 else label for label, runs in zip(made, rows, strict=True)
    ]
