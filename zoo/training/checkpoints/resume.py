"""Which checkpoint a run goes on from, and whether it is the same run. Needs no TensorFlow."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf

from zoo.checks import close_matches
from zoo.datasets.config import DatasetConfig
from zoo.errors import UserError
from zoo.metrics import METRICS_FILE, RESULT_FILE
from zoo.registry import family_key
from zoo.training.checkpoints.folder import BEST, FOLDER, newest_first
from zoo.training.recipe_config import RecipeConfig
from zoo.training.run_directory import UNFINISHED, learnt, read_json, refuse_used
from zoo.training.settings import AUTO, Settings, check

if TYPE_CHECKING:
    from zoo.weights.readers.training import CheckpointFile

RESTARTS = "SLURM_RESTART_COUNT"  # set by SLURM in a job that it starts again

# All other settings decide what is trained, on what, or how: a run that goes on must have the same. The number of
# epochs is among them, for the schedule of the learning rate depends on it. Data may have moved; they are compared by
# themselves, see `zoo.datasets.identity`.
MAY_DIFFER = (
    "tracking",
    "checkpoints",
    "distribution",
    "resume",
    "deterministic",
    "small_stem_chosen",
    "dataset.data_dir",
)


def say(line: str) -> None:
    """A line for the user; the terminal of the run is not set up yet."""
    print(line, file=sys.stderr, flush=True)


def going_on(cfg: DictConfig) -> DictConfig:
    """`cfg` with `resume=auto` where SLURM has started the job again and nothing else is set; a line says so.

    It does so with jobs that were preempted, whose node failed, or that were requeued when their time was over.
    """
    restarts = os.environ.get(RESTARTS, "0")
    if restarts == "0" or cfg.resume is not None:
        return cfg
    say(f"SLURM has started this job again ({RESTARTS}={restarts}): it goes on as with resume=auto.")
    return cast(DictConfig, OmegaConf.merge(cfg, {"resume": AUTO}))


def identity(settings: Settings) -> dict[str, Any]:
    """What makes a run the same run: its settings in JSON's types, but those that may differ."""
    values = asdict(settings) | {"model": {"family": family_key(settings.model), **asdict(settings.model)}}
    flat = _flat(json.loads(json.dumps(values)))
    return {key: value for key, value in flat.items() if not any(f"{key}.".startswith(f"{k}.") for k in MAY_DIFFER)}


def differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Key by key what is not as it was. A key that one of the two lacks, of another version, is null there.

    Example:
        >>> from zoo.training.checkpoints.resume import differences
        >>> differences({"seed": 0, "recipe.epochs": 12}, {"seed": 0, "recipe.epochs": 24})
        ['recipe.epochs (12 there, 24 now)']
    """
    return [
        f"{key} ({json.dumps(earlier.get(key))} there, {json.dumps(now.get(key))} now)"
        for key in [*earlier, *(key for key in now if key not in earlier)]
        if earlier.get(key) != now.get(key)
    ]


def refuse_another(place: object, different: list[str]) -> None:
    """Raise UserError where anything is different."""
    if different:
        raise UserError(
            f"{place} is of another run, and this one cannot go on with it; different are {', '.join(different)}. Give "
            "the settings that it had, or start a new run in another directory."
        )


def finished(settings: Settings, directory: Path, quiet: bool = False) -> dict[str, Any] | None:
    """With `resume=auto`, the result of a run in `directory` that has nothing more to do, and a line says so.

    quiet: no line does.

    Raises:
        UserError: that run had other settings.
    """
    result = read_json(directory / RESULT_FILE) if settings.resume == AUTO else {}
    if result.get("status") != "finished":
        return None
    _refuse_other_settings(settings, directory, result)
    if not quiet:
        say(f"{directory}: this run is finished, and is not started again.")
    return result


def choose(settings: Settings, directory: Path) -> CheckpointFile | None:
    """The checkpoint that the run in `directory` goes on from; None for a run that starts anew.

    Of a folder it is the newest that can be read; a line names those that cannot.

    Raises:
        RecordError: `directory` holds an earlier run, and is not what is to be gone on with.
        UserError: there is no such file or folder, no checkpoint in it can be used, or it is of another run.
    """
    if settings.resume is None:
        refuse_used(directory)
        return None
    source = directory if settings.resume == AUTO else Path(settings.resume)
    if settings.resume == AUTO and not newest_first(directory / FOLDER):
        _refuse_without_checkpoint(settings, directory)
        return None
    if not source.exists():
        beside = [str(path) for path in source.parent.glob("*")] if source.parent.is_dir() else []
        raise UserError(f"There is no file or folder resume={source}: {close_matches(str(source), [AUTO, *beside])}")
    if directory.resolve() not in [source.resolve(), *source.resolve().parents]:
        refuse_used(directory)
    checkpoint = _newest_sound(source)
    # Recipes and data sets of an earlier version lack keys whose usual values mean what they did.
    usual = _flat(json.loads(json.dumps({"recipe": asdict(RecipeConfig()), "dataset": asdict(DatasetConfig())})))
    refuse_another(checkpoint.path, differences(usual | checkpoint.metadata["settings"], identity(settings)))
    return checkpoint


def _newest_sound(source: Path) -> CheckpointFile:
    from zoo.weights.readers.training import CheckpointError, open_checkpoint

    if source.is_file():
        return open_checkpoint(source)
    folder = source / FOLDER if (source / FOLDER).is_dir() else source
    paths = newest_first(folder)
    if not paths:
        raise CheckpointError(
            f"There is no checkpoint in {folder}: it should have files such as epoch-0003.safetensors."
        )
    for path in [*paths, *folder.glob(BEST)]:
        try:
            return open_checkpoint(path)
        except CheckpointError as error:
            say(f"{str(error).rstrip('.')}; it is passed over.")
    raise CheckpointError(f"No checkpoint in {folder} can be used; to start anew, remove {source}.")


def _refuse_without_checkpoint(settings: Settings, directory: Path) -> None:
    """Raise where starting anew in `directory` would lose more than the figures of epochs that come again."""
    contents, result = learnt(directory), read_json(directory / RESULT_FILE)
    if not contents:
        return
    if contents != METRICS_FILE or result.get("status") not in UNFINISHED:
        refuse_used(directory)
    _refuse_other_settings(settings, directory, result)
    say(f"{directory}: the run there has left no checkpoint, and starts anew.")


def _refuse_other_settings(settings: Settings, directory: Path, result: Mapping[str, Any]) -> None:
    """Raise UserError where the run of that `result.json` had other settings."""
    try:
        earlier = check(OmegaConf.create(result["config"]))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{directory} holds a run of another version of this program, and this one cannot go on with it: "
            f"{str(error).rstrip('.')}. Start a new run in another directory."
        ) from error
    refuse_another(directory, differences(identity(earlier), identity(settings)))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
