"""What a run is called and where it is tracked: the `tracking` group of the configuration.

Nothing here imports W&B: a configuration is checked before anything slow is loaded.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

MODES = ("auto", "online", "offline", "disabled")

# W&B's own limits; a run that breaks them would only fail after the model has been built.
PROJECT_LIMIT = 128
PROJECT_FORBIDDEN = "/\\#?%:"
NAME_LIMIT = 128
TAG_LIMIT = 64

# Configuration groups that set model, groups and data set all at once.
SETS_EVERYTHING = ("experiment", "debug")


@dataclass
class TrackingConfig:
    """Where and under which name a run is tracked.

    Names that are None are made from the model, its groups and the data set: see `run_name` and `group_name`.

    Example:
        >>> from zoo.tracking.config import TrackingConfig
        >>> TrackingConfig(project="cifar", tags=["baseline"]).mode
        'auto'
    """

    mode: str = "auto"  # auto: online where an API key is configured, else offline
    project: str = "grouped-convolutions"
    entity: str | None = None  # None: the API key's default team
    name: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    notes: str | None = None
    init_timeout_seconds: float = 15.0  # wait for the server at the start, then go on offline
    finish_timeout_seconds: float = 60.0  # wait for the upload at the end, then leave it to `wandb sync`


def check(config: TrackingConfig) -> None:
    """Raises ValueError, in one sentence, for the first value that W&B would not take.

    Example:
        >>> from zoo.tracking.config import TrackingConfig, check
        >>> check(TrackingConfig(mode="ofline"))
        Traceback (most recent call last):
            ...
        ValueError: tracking.mode='ofline' is not one of auto, online, offline, disabled; the nearest is offline.
    """
    if config.mode not in MODES:
        nearest = difflib.get_close_matches(str(config.mode).lower(), MODES, n=1, cutoff=0.5)
        hint = f"; the nearest is {nearest[0]}" if nearest else ""
        raise ValueError(f"tracking.mode={config.mode!r} is not one of {', '.join(MODES)}{hint}.")
    _check_project(config.project)
    for key in ("entity", "name", "group"):
        value = getattr(config, key)
        if value is not None and not 1 <= len(value) <= NAME_LIMIT:
            raise ValueError(f"tracking.{key} has {len(value)} characters; allowed are 1 to {NAME_LIMIT}, or null.")
    for tag in config.tags:
        if not 1 <= len(tag) <= TAG_LIMIT:
            raise ValueError(
                f"tracking.tags has a tag of {len(tag)} characters, {tag[:20]!r}; allowed: 1 to {TAG_LIMIT}."
            )
    for key in ("init_timeout_seconds", "finish_timeout_seconds"):
        seconds = getattr(config, key)
        if not (math.isfinite(seconds) and seconds > 0):
            raise ValueError(
                f"tracking.{key}={seconds} is not a number of seconds above 0; the nearest useful value is 1."
            )


def run_name(model: str, groups: Any, dataset: str) -> str:
    """The name of one run, e.g. `resnext50_32x4d-g32-digits`; without a groups part when `groups` is None.

    `groups` is a number, a word such as `depthwise`, or the sizes of uneven groups, which read `g13x4+12`
    for (13, 13, 13, 13, 12). A model whose own name ends in its groups, as `mnasnet_050_g4` does, has them once.

    Example:
        >>> from zoo.tracking.config import run_name
        >>> run_name("resnext50", 32, "digits"), run_name("mine", (13, 13, 13, 13, 12), "digits")
        ('resnext50-g32-digits', 'mine-g13x4+12-digits')
    """
    text = _groups_text(groups)
    return _join(model, None if text and model.endswith(f"_{text}") else text, dataset)


def group_name(model: str, groups: Any, dataset: str, swept: Collection[str], sweep_id: str | None) -> str:
    """The name that groups runs on a dashboard: one for all runs of a sweep.

    Args:
        swept: names of the overrides that vary within the sweep, e.g. `["model", "recipe.learning_rate"]`;
            empty for a single run.
        sweep_id: what tells this sweep from others (its time stamp); None for a single run.

    A single run's group is its name. Within a sweep the parts that vary are left out and the sweep's id comes
    last, so that `model` swept on digits gives `digits-2026-11-22_21-00-00`. A swept `model` takes its groups
    with it.

    Example:
        >>> from zoo.tracking.config import group_name
        >>> group_name("resnext50", 32, "digits", swept=["groups"], sweep_id="2026-11-22_21-00-00")
        'resnext50-digits-2026-11-22_21-00-00'
    """
    if sweep_id is None:
        return run_name(model, groups, dataset)
    # `model@net`, `+model` and `model.depth` all change what `model` stands for in the name.
    varying = {re.split(r"[.@]", name.lstrip("+~"))[0] for name in swept}
    if varying.intersection(SETS_EVERYTHING):
        varying.update(("model", "dataset"))
    parts = [
        None if "model" in varying else model,
        None if varying.intersection(("model", "groups")) else _groups_text(groups),
        None if "dataset" in varying else dataset,
    ]
    # A name that is too long is cut before the id, which tells sweeps apart.
    return f"{_join(*parts, limit=NAME_LIMIT - len(sweep_id) - 1) or 'sweep'}-{sweep_id}"


def _check_project(project: str) -> None:
    if not 1 <= len(project) <= PROJECT_LIMIT:
        raise ValueError(f"tracking.project has {len(project)} characters; 1 to {PROJECT_LIMIT} are allowed.")
    valid = re.sub(f"[{re.escape(PROJECT_FORBIDDEN)}]", "-", project)
    if valid != project:
        raise ValueError(
            f"tracking.project={project!r} has one of the characters {' '.join(PROJECT_FORBIDDEN)}, which W&B"
            f" does not allow; the nearest valid name is {valid!r}."
        )


def _groups_text(groups: Any) -> str | None:
    if groups is None:
        return None
    if isinstance(groups, str):
        return groups
    if isinstance(groups, int):
        return f"g{groups}"
    sizes = [(size, len(list(same))) for size, same in groupby(groups)]
    return "g" + "+".join(f"{size}x{count}" if count > 1 else f"{size}" for size, count in sizes)


def _join(*parts: str | None, limit: int = NAME_LIMIT) -> str:
    """Parts joined by dashes, without the slashes and colons of data sets such as `folder/cats`."""
    return "-".join(re.sub(r"[^\w.+-]+", "-", part).strip("-") for part in parts if part)[:limit]
