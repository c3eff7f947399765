"""Train a network of the zoo: `python train.py model=resnext groups=32`.

Settings come from conf/ and the command line (Hydra). Nothing slow is imported until they have been checked.
"""

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from signal import SIGINT
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from zoo.distribution.lost import TEMPORARY_FAILURE
from zoo.errors import UserError
from zoo.output import PIPE_CLOSED, output_is_closed
from zoo.training.checkpoints.resume import going_on
from zoo.training.evaluation_config import evaluation_config
from zoo.training.messages import arranged, exit_code, explain
from zoo.training.settings import RunConfig, as_dict
from zoo.training.signals import ignore_signals, is_ours, signal_of, stop_on_signals
from zoo.training.start import start, with_weights
from zoo.training.subprocess_run import start_apart
from zoo.training.sweeps import SweepCallback, figure, prefer_own_files, sweep_of, threads_of_a_run

CONF = Path(__file__).resolve().parent / "conf"
WANTS_TRACEBACK = "HYDRA_FULL_ERROR" in os.environ


def train(cfg: DictConfig, directory: Path | None = None, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Train, or with `mode=evaluate` evaluate, what `cfg` composes, and return what the run's `result.json` says.

    Args:
        directory: of the run; None takes Hydra's, or outputs/ and the time where Hydra does not run.
        overrides: what the user has set in `cfg`, as `dataset.test_split=test`: of an evaluation, in place of what the
            evaluated run says. Where Hydra runs, it knows them.

    Raises:
        UserError: one sentence on what is invalid; for a wrong setting, before TensorFlow is imported.
        KeyboardInterrupt: the user stopped the run; the model so far has been saved.
    """
    if not HydraConfig.initialized():
        cfg = evaluation_config(cfg, overrides)
        return start(cfg, directory or Path("outputs", datetime.now().strftime("%Y-%m-%d/%H-%M-%S")))
    composed: Any = HydraConfig.get()
    cfg = going_on(with_weights(cfg))
    directory = directory or Path(composed.runtime.output_dir)
    cfg = evaluation_config(cfg, composed.overrides.task)
    composition = {
        "config.yaml": OmegaConf.to_yaml(cfg),
        "hydra.yaml": OmegaConf.to_yaml({"hydra": composed}),
        "overrides.yaml": OmegaConf.to_yaml(composed.overrides.task),
    }
    sweep_id, swept = sweep_of(composed)
    if sweep_id is None:
        return start(cfg, directory, composition=composition)
    logs = as_dict(composed.job_logging)
    return start_apart(cfg, directory, sweep_id, swept, logs, composition, threads_of_a_run(composed))


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def job(cfg: DictConfig) -> float | None:
    """One run; the figure of it that a sweeper may optimise."""
    try:
        return figure(cfg.get("objective", RunConfig.objective), train(cfg), HydraConfig.get())
    except UserError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            print(f"This run failed, the sweep goes on: {error}", file=sys.stderr)
            raise
        if WANTS_TRACEBACK:
            raise
        end(str(error), exit_code(error))  # raised further, Hydra would put a line of its own before it
    except KeyboardInterrupt as error:
        if is_ours():
            raise
        raise UserError(f"The run was stopped by {signal_of(error).name}.") from error  # its launcher goes on


def end(sentence: str, code: int) -> NoReturn:
    """Say `sentence`, and end the program; at once where a worker is lost, for whom TensorFlow's end would wait."""
    print(sentence, file=sys.stderr, flush=True)
    if code == TEMPORARY_FAILURE:
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def main() -> None:
    stop_on_signals()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra's own report has many lines; ours has one
    try:
        sys.argv[1:] = arranged(sys.argv[1:], CONF)
        prefer_own_files(CONF)
        try:
            job()
        finally:
            sys.stdout.flush()  # here, where it can still be handled that nobody reads on
        ignore_signals(but=[SIGINT])  # a scheduler's would turn the exit code of what is complete into a failure's
    except KeyboardInterrupt as error:
        ignore_signals()
        received = signal_of(error)
        name = "Ctrl-C" if received == SIGINT else received.name
        print(f"Stopped by {name}.{SweepCallback.goes_on}", file=sys.stderr)
        sys.exit(128 + received)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and output_is_closed():
            sys.exit(PIPE_CLOSED)
        sentence = None if WANTS_TRACEBACK else explain(error, sys.argv[1:], CONF)
        if sentence is None:
            raise
        end(sentence, exit_code(error))


if __name__ == "__main__":
    main()
