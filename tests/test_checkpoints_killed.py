"""Runs that are killed at random moments end with the weights of one that is not, bit for bit."""

import random
import signal
import subprocess
import time

import pytest

from helpers.processes import process_environment
from helpers.resumed_runs import figures, final_weights, resumable

LONG = ["recipe.epochs=4", "recipe.batch_size=16", "checkpoints.every_steps=20"]


def start(data_dir, directory, *options):
    command = resumable(data_dir, directory, *options)
    env = process_environment(TF_CPP_MIN_LOG_LEVEL="3")
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


@pytest.mark.heavy
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_twenty_runs_that_are_stopped_at_random_moments(name, data_dir, tmp_path):
    number, chance = getattr(signal, name), random.Random(name)
    undisturbed = start(data_dir, tmp_path / "undisturbed", *LONG)
    begin = time.monotonic()
    assert undisturbed.communicate()[1] and undisturbed.returncode == 0
    seconds = time.monotonic() - begin
    expected = final_weights(tmp_path / "undisturbed"), figures(tmp_path / "undisturbed")
    assert [row["epoch"] for row in expected[1]] == ["1", "2", "3", "4"]
    stopped, places = 0, []
    for run in range(20):
        directory, kills = tmp_path / str(run), 0
        while True:
            process = start(data_dir, directory, *LONG)
            try:
                err = process.communicate(timeout=chance.uniform(0.3, 1) * seconds if kills < 2 else None)[1]
            except subprocess.TimeoutExpired:
                process.send_signal(number)
                kills += 1
                err = process.communicate()[1]
            places += [line.partition("after ")[2] for line in err.splitlines() if line.startswith("Goes on from")]
            assert process.returncode in (0, -9 if name == "SIGKILL" else 143), err
            assert "Traceback" not in err, err
            if process.returncode == 0:
                break
        stopped += kills
        assert (final_weights(directory), figures(directory)) == expected, (run, places)
        assert not list(directory.rglob("part.*"))
    print(f"{stopped} times stopped by {name}; gone on after: {'; '.join(places)}")
    assert stopped >= 15 and len(places) >= 10
