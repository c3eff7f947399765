"""Train a network of the zoo: `python train.py model=resnext groups=32`.

Settings come from conf/ and the command line (Hydra). Nothing slow is imported until they have been checked.
"""

import logging
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from zoo.training.errors import UserError
from zoo.training.messages import arranged, explain, sweep_of
from zoo.training.settings import check

CONF = Path(__file__).resolve().parent / "conf"
WANTS_TRACEBACK = "HYDRA_FULL_ERROR" in os.environ


def train(cfg: DictConfig, directory: Path | None = None) -> dict[str, Any]:
    """Train what `cfg` composes, and return what the run's `result.json` says.

    Args:
        directory: of the run; None takes Hydra's, or outputs/ and the time where Hydra does not run.

    Raises:
        UserError: one sentence on what cannot be; for a wrong setting, before TensorFlow is imported.
        KeyboardInterrupt: the user stopped the run; what was learnt has been saved.
    """
    try:
        settings = check(cfg)
    except ValueError as error:
        raise UserError(str(error)) from error
    sweep_id, swept = None, []
    if HydraConfig.initialized():
        directory = directory or Path(HydraConfig.get().runtime.output_dir)
        sweep_id, swept = sweep_of(HydraConfig.get())
    directory = directory or Path("outputs", datetime.now().strftime("%Y-%m-%d/%H-%M-%S"))

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads it while it is imported
    logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS tells there of every file that it opens
    from zoo.training.run import Sweep
    from zoo.training.run import train as run

    return run(settings, OmegaConf.to_container(cfg, resolve=True), directory, Sweep(sweep_id, swept))


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def job(cfg: DictConfig) -> float | None:
    """One run; its validation top-1 is what a sweeper may optimise."""
    try:
        return train(cfg)["val_top1"]
    except UserError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            print(f"This run failed, the sweep goes on: {error}", file=sys.stderr)
            raise
        if WANTS_TRACEBACK:
            raise
        sys.exit(str(error))  # raised further, Hydra would put a line of its own before it


def main() -> None:
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra's own report has many lines; ours has one
    sys.argv[1:] = arranged(sys.argv[1:])
    try:
        job()
    except KeyboardInterrupt:
        print("Stopped by Ctrl-C.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        sentence = None if WANTS_TRACEBACK else explain(error, sys.argv[1:], CONF)
        if sentence is None:
            raise
        print(sentence, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
