"""`python train.py` as a stranger starts it, and what it imports."""

import subprocess
import sys

from helpers.paths import ROOT
from helpers.processes import process_environment

SLOW = ("tensorflow", "keras", "wandb", "tensorflow_datasets", "numpy", "sklearn")


def run_train(*arguments, cwd, **variables):
    """The finished `python train.py` with these arguments, and the names of the modules that it imported."""
    command = [sys.executable, "-X", "importtime", str(ROOT / "train.py"), *arguments]
    env = process_environment(without=("WANDB_", "HYDRA_"), **variables)
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=120)
    lines = done.stderr.splitlines(keepends=True)
    imports = [line for line in lines if line.startswith("import time:")]
    done.stderr = "".join(line for line in lines if line not in imports)
    return done, {line.rpartition("|")[2].strip().partition(".")[0] for line in imports}
