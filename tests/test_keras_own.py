"""Keras's own tests of its convolutions and its batch normalisation, from its wheel, pass with our layers.

All but three, which compare Keras's sentence on a wrong argument or a small input with ours.
"""

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
CONVOLUTIONS = FOLDER / "convolutional"
pytestmark = [
    pytest.mark.heavy,  # a minute for what tests of our own say of most layers too
    pytest.mark.skipif(not list(CONVOLUTIONS.glob("*_test.py")), reason="Keras's wheel has its tests since 3.15"),
]
FILES = (CONVOLUTIONS / "conv_test.py", FOLDER / "normalization" / "batch_normalization_test.py")
DEPTHWISE = (CONVOLUTIONS / "depthwise_conv_test.py", CONVOLUTIONS / "separable_conv_test.py")


def failures(tmp_path: Path, files: tuple[Path, ...]) -> tuple[int, dict[str, str]]:
    """How many tests were run, and what those that failed say."""
    report = tmp_path / "report.xml"
    # Keras sets its tests up by itself: neither our settings nor our fixtures are for them.
    command = [sys.executable, "-m", "pytest", "-p", "helpers.keras_exchanged", "-p", "no:cacheprovider"]
    command += ["-c", os.devnull, f"--rootdir={tmp_path}", f"--junitxml={report}", *map(str, files)]
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    environment = process_environment(PYTHONPATH=path, TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert report.is_file(), done.stderr
    cases = list(ElementTree.parse(report).iter("testcase"))
    assert not [case for case in cases if case.find("error") is not None or case.find("skipped") is not None]
    failed = [(case, each.get("message")) for case in cases for each in case.iter("failure")]
    return len(cases), {f"{case.get('classname').split('.')[-1]}.{case.get('name')}": text for case, text in failed}


def check(count: int, failed: dict[str, str], least: int, **expected: tuple[str, str]) -> None:
    """At least so many tests were run, and those alone failed that miss Keras's sentence and got this one."""
    assert count >= least
    sentences = {f"{kind}.{name}": text for kind, (name, text) in expected.items()}
    assert failed.keys() == sentences.keys(), failed
    for name, text in sentences.items():
        assert text in failed[name]


FILTERS = ("test_bad_init_args", "filters=0 is not allowed: it must be an integer of at least 1.")
SMALL = ("test_invalid_output_shape_raises", "An input of 10 steps is too small for a kernel of 11")


def test_all_tests_of_keras_pass_with_our_layers(tmp_path):
    check(*failures(tmp_path, FILES), least=74, ConvBasicTest=FILTERS)


def test_its_tests_of_depthwise_and_separable_convolutions_pass(tmp_path):
    check(*failures(tmp_path, DEPTHWISE), least=30, DepthwiseConvBasicTest=SMALL, SeparableConvBasicTest=SMALL)
