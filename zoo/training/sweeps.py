"""What surrounds the runs of a sweep: its files, what Hydra knows of it, and what its launcher needs."""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from zoo import hardware
from zoo.checks import close_matches
from zoo.errors import UserError
from zoo.metrics import METRICS, OF_RUNS, RESULT_FILE
from zoo.training.parallel_runs import go_behind
from zoo.training.settings import RunConfig, shown
from zoo.training.subprocess_run import python_path

FOLDER = "sweep"  # in conf/: sweeps for W&B, which -m runs too
SAVED = "multirun.yaml"
LEAST = {  # of whole numbers
    "launcher": {
        **{"n_jobs": -(2**31), "nodes": 1, "tasks_per_node": 1, "cpus_per_task": 1, "gpus_per_node": 0},
        **{"timeout_min": 1, "signal_delay_s": 0, "max_num_timeout": 0, "array_parallelism": 1},
    },
    "sweeper": {"n_trials": 1, "n_jobs": 1},
}
SUBMITTED = "What SLURM has been given goes on: `squeue --me` lists it, `scancel` with a job's number ends it."
DIRECTION = "direction"  # a key of sweepers that search


class SweepCallback(Callback):
    """What Hydra calls around a sweep: it prepares what the runs and the launcher's processes need.

    goes_on: what to say of the runs where the program that waits for them is stopped.
    """

    goes_on = ""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        hydra = config.hydra
        if not (_is_installed(hydra.launcher) and _is_installed(hydra.sweeper)):
            return  # Hydra itself says so next
        try:
            check_numbers(hydra)
            if DIRECTION in hydra.sweeper:
                check_search(config.get("objective", RunConfig.objective), hydra.sweeper.direction)
        except UserError as error:
            sys.exit(str(error))  # Hydra takes errors of callbacks for warnings
        os.environ["PYTHONPATH"] = python_path()  # of processes that load a pickled function of train.py
        if hydra.launcher["_target_"].endswith(".JoblibLauncher"):
            go_behind()
        if hydra.launcher["_target_"].endswith(".SlurmLauncher"):
            SweepCallback.goes_on = f" {SUBMITTED}"
        folder = Path(hydra.sweep.dir)
        with suppress(OSError):  # of which the sweeper speaks next
            folder.mkdir(parents=True, exist_ok=True)
            OmegaConf.save(config, folder / SAVED)  # as the basic sweeper does, and no other

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        from zoo.training.progress import compare_line, console

        folder = Path(config.hydra.sweep.dir).resolve()
        if any(folder.glob(f"*/{RESULT_FILE}")):
            console().print(compare_line(folder))


def prefer_own_files(conf: Path) -> None:
    """Take the files of conf/hydra/ as they are: by its deprecated matching Hydra would merge them into what plugins
    have registered under the same names, with a warning, and refuse that of Optuna.
    """
    Plugins.instance()  # imports the plugins, which register themselves
    registered = ConfigStore.instance().repo
    for path in (conf / "hydra").rglob("*.yaml"):
        *groups, name = path.relative_to(conf).parts
        folder = registered
        for group in groups:
            folder = folder.get(group, {})
        folder.pop(name, None)


def _is_installed(plugin: DictConfig) -> bool:
    try:
        return find_spec(plugin["_target_"].rpartition(".")[0]) is not None
    except ModuleNotFoundError:
        return False


def sweep_of(hydra: DictConfig) -> tuple[str | None, list[str]]:
    """The time stamp of the sweep that this job belongs to and the overrides that vary in it; (None, []) for none."""
    if hydra.mode != RunMode.MULTIRUN:
        return None, []
    folder = Path(hydra.sweep.dir)
    saved = folder / SAVED
    whole = OmegaConf.load(saved).hydra if saved.exists() else hydra
    asked = list(whole.overrides.task) + [f"{key}={value}" for key, value in (whole.sweeper.params or {}).items()]
    parsed = OverridesParser.create().parse_overrides(asked)
    return folder.name, sorted({override.key_or_group for override in parsed if override.is_sweep_override()})


def figure(objective: str, result: Mapping[str, Any], hydra: Any) -> float | None:
    """What a search looks at: the figure of a run's `result.json`. None where it has none and no search needs it.

    Raises:
        UserError: a search needs it.
    """
    value: float | None = result.get(objective)
    if value is None and hydra.mode == RunMode.MULTIRUN and DIRECTION in hydra.sweeper:
        measured = [name for name in METRICS if result.get(name) is not None]
        raise UserError(f"objective={objective} was not measured in this run: use one of {', '.join(measured)}.")
    return value


def check_numbers(hydra: DictConfig) -> None:
    """Raise UserError for a setting of launcher or sweeper that is not the whole number that it must be."""
    for section, keys in LEAST.items():
        for key, least in keys.items():
            value = hydra[section].get(key)
            if value is None or (type(value) is int and value >= least and (key != "n_jobs" or value != 0)):
                continue
            allowed = "another whole number than 0" if least < 0 else f"a whole number from {least} on"
            raise UserError(f"hydra.{section}.{key}={shown(value)} is not allowed: it must be {allowed}.")


def check_search(objective: Any, direction: Any) -> None:
    """Raise UserError where a search has no such figure to look at, or would look for the worst.

    Example:
        >>> from zoo.training.sweeps import check_search
        >>> check_search("val_loss", "minimize")
    """
    if objective not in OF_RUNS:
        raise UserError(f"objective={objective} is not allowed: {close_matches(objective, OF_RUNS)}")
    more = METRICS[objective].higher_is_better
    better = "maximize" if more else "minimize"
    if direction != better:
        raise UserError(
            f"hydra.sweeper.direction={direction} is not allowed with objective={objective}, of which "
            f"{'more' if more else 'less'} is better: use {better}."
        )


def threads_of_a_run(hydra: DictConfig) -> int | None:
    """Threads for each operation of a run that shares the machine's cores with others; None where it has them alone.

    Example:
        >>> from omegaconf import OmegaConf
        >>> from zoo.training.sweeps import threads_of_a_run
        >>> threads_of_a_run(OmegaConf.create({"launcher": {"_target_": "a.JoblibLauncher", "n_jobs": 10000}}))
        1
    """
    runs, cores = hydra.launcher.get("n_jobs", 1), hardware.cores()
    if runs < 0:  # joblib's way to say all cores, or all but some
        runs = max(1, cores + 1 + runs)
    return max(1, cores // runs) if runs > 1 else None


def from_file(name: str, conf: Path) -> list[str]:
    """The overrides of `-m` that make the same runs as the sweep conf/sweep/NAME.yaml of W&B.

    Raises:
        UserError: there is no such file, or it is a search of W&B's and no grid.
    """
    path = conf / FOLDER / f"{name}.yaml"
    names = sorted(file.stem for file in (conf / FOLDER).glob("*.yaml"))
    if name not in names:
        raise UserError(f"There is no sweep {name!r}: {close_matches(name, names)}")
    sweep: Any = OmegaConf.to_container(OmegaConf.load(path))
    if sweep["method"] != "grid":
        raise UserError(
            f"sweep={name} is a search (method: {sweep['method']}) that W&B's server directs: `wandb sweep {path}`; "
            "hydra/sweeper=optuna searches without it."
        )
    grid = [f"{key}={','.join(map(_quoted, each['values']))}" for key, each in sweep["parameters"].items()]
    return [*grid, *(part for part in sweep["command"] if "=" in part)]


def _quoted(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
