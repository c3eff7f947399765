"""A training whose W&B server fails is the same training, takes the same time, and can be uploaded afterwards."""

import re
import socket
import subprocess
import time
from contextlib import closing

import pytest

from helpers.resumed_runs import figures, final_weights
from helpers.training import TINY, command
from helpers.wandb_client import KEY, WANDB, environment
from helpers.wandb_server import Server

OPTIONS = [*TINY, "deterministic=true", "tracking.mode=online"]


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def trained(data_dir, directory, url, *options):
    """Seconds that a run took, and what it printed."""
    script = command(data_dir, *OPTIONS, f"hydra.run.dir={directory}", *options)
    variables = environment(directory.parent / "home", WANDB_API_KEY=KEY, WANDB_BASE_URL=url, TF_CPP_MIN_LOG_LEVEL="3")
    began = time.monotonic()
    done = subprocess.run(script, capture_output=True, text=True, env=variables, cwd=directory.parent, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and KEY not in done.stdout + done.stderr
    return time.monotonic() - began, done.stderr


def unreachable():
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_a_server_that_fails_changes_neither_the_weights_nor_the_time(data_dir, tmp_path, server):
    epochs, seconds = 40, {}
    for number in range(3):  # in turn, for the machine's speed varies
        for state in ("disabled", "unreachable", "slow", "500"):
            directory = tmp_path / f"{state}-{number}"
            server.answer, server.delay = 500 if state == "500" else "well", 10 if state == "slow" else 0
            url = unreachable() if state == "unreachable" else server.url
            mode = ["tracking=disabled"] if state == "disabled" else []
            took, err = trained(data_dir, directory, url, f"recipe.epochs={epochs}", *mode)
            seconds.setdefault(state, []).append(took)
            first = tmp_path / "disabled-0"
            assert final_weights(directory) == final_weights(first) and figures(directory) == figures(first)
            if state == "disabled":
                continue
            assert "W&B: offline, since " in err and (directory / "model.keras").exists()
            server.answer, server.delay, server.history = "well", 0, []
            sync = re.search("`wandb (sync .*?)`", err)[1].split()
            variables = environment(tmp_path / "home", WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url)
            subprocess.run([*WANDB, *sync], check=True, cwd=tmp_path, env=variables, timeout=120)
            assert {row["epoch"] for row in server.history if "train/loss" in row} == set(range(1, epochs + 1))
    print("; ".join(f"{state} {', '.join(f'{each:.1f}' for each in took)} s" for state, took in seconds.items()))
