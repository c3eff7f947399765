"""Keras's own tests of its convolutions and its batch normalisation, from its wheel, pass with our layers."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import keras
import pytest

from helpers.paths import ROOT
from helpers.processes import process_environment

FOLDER = Path(keras.__file__).parent / "src" / "layers"
FILES = (FOLDER / "convolutional" / "conv_test.py", FOLDER / "normalization" / "batch_normalization_test.py")

# It compares the sentences of Keras's errors with ours, which name the nearest allowed value.
WORDING = "test_bad_init_args"

# Of tests that train a model in one, two and three dimensions, or for several values, one each.
QUICK = (
    "not (enable_lora_conv1d or enable_lora_conv3d or lora_conv2d_kernel_size3 or basics or masked_values or "
    "basic0 or basic2 or basic3)"
)


def failures(tmp_path: Path, selected: str = "") -> tuple[int, dict[str, str]]:
    """How many tests were run, and what those that failed say; `selected` is an expression of pytest's -k."""
    report = tmp_path / "report.xml"
    # Keras sets its tests up by itself: neither our settings nor our fixtures are for them.
    command = [sys.executable, "-m", "pytest", "-p", "helpers.keras_exchanged", "-p", "no:cacheprovider"]
    command += ["-c", os.devnull, f"--rootdir={tmp_path}", f"--junitxml={report}", "-k", selected, *map(str, FILES)]
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    environment = process_environment(PYTHONPATH=path, TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert report.is_file(), done.stderr
    cases = list(ElementTree.parse(report).iter("testcase"))
    assert not [case for case in cases if case.find("error") is not None or case.find("skipped") is not None]
    return len(cases), {case.get("name"): each.get("message") for case in cases for each in case.iter("failure")}


def check(count: int, failed: dict[str, str], least: int) -> None:
    assert count >= least
    assert failed.keys() == {WORDING}, failed
    assert "filters=0 is not allowed: it must be an integer of at least 1." in failed[WORDING]


def test_the_quick_tests_of_keras_pass_with_our_layers(tmp_path):
    check(*failures(tmp_path, QUICK), least=45)


@pytest.mark.heavy
def test_all_tests_of_keras_pass_with_our_layers(tmp_path):
    check(*failures(tmp_path), least=74)
