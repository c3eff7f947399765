"""The benchmarks run, and compare what they say they compare."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_keras_grouped_convolution_compares_equal_networks():
    command = [sys.executable, str(ROOT / "benchmarks" / "keras_grouped_convolution.py")]
    arguments = ["--model", "shufflenet_g2_wd4", "--batch", "2", "--size", "32", "--rounds", "1", "--steps", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["layers_on_keras"] == 3 * 16 - 1, "three grouped convolutions a unit; the first pointwise is dense"
    assert report["relative_difference_of_logits"] < 1e-4
    assert report["times_as_fast"] > 0 and report["zoo_step_seconds"] > 0
    losses = [line.split("losses ")[1] for line in done.stdout.splitlines() if "losses" in line]
    first = [json.loads(text)[0] for text in losses]
    assert len(first) == 2 and abs(first[0] - first[1]) < 1e-3, "the same weights and images, the same loss"
