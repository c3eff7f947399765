"""The real W&B client: the environment that it runs in, and what it has kept of a run."""

import json
import subprocess
import sys
from pathlib import Path

from helpers.processes import process_environment

WANDB = [sys.executable, "-m", "wandb"]
KEY = "0123456789abcdef" * 3  # well formed and nobody's


def environment(home, **variables):
    """The variables of a process that runs W&B's client and has no key but one that is given."""
    home.mkdir(exist_ok=True)
    places = {"HOME": str(home), "NETRC": str(home / "netrc")}
    return process_environment(without=("WANDB_",), **places | variables)


def inspect(directory):
    """The records of a run as W&B's own reader prints them."""
    reader = [*WANDB, "leet", "inspect", "--json", str(directory)]
    variables = environment(Path(directory) / "home")
    done = subprocess.run(reader, capture_output=True, text=True, check=True, env=variables)
    return [json.loads(line) for line in done.stdout.splitlines()]


def history(records):
    """The rows of the epochs; those of tables are left out."""
    rows = [record["history"]["item"] for record in records if record["type"] == "history"]
    return [row for row in rows if not any(key.endswith("._type") for key in row)]
