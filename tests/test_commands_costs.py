"""`zoo.costs`: what is recorded of every network, so that `zoo list` and `zoo.info` need not build it."""

import re
import subprocess
import sys

import keras
import pytest

import zoo
from blocks.layers.initializers import without_random_numbers
from helpers.paths import ROOT
from helpers.processes import process_environment
from helpers.reference import COUNTS
from zoo.costs import costs, image_size, in_words, recorded, runs
from zoo.registry import variant

SMALL = ("mobilenetv1_025", "shufflenet_v2_x0_5", "shufflenet_g3_wd4", "lcnet_035", "resnext20_32x2d_cifar10")
BEYOND = 40  # numbers tried above the largest that is allowed


def test_every_network_is_recorded_and_agrees_with_its_reference():
    assert set(recorded()) == set(zoo.list_models())
    for name, row in COUNTS.items():
        profile = costs(name)
        assert (profile.parameters, profile.macs, profile.size) == (row["parameters"], row["macs"], row["size"]), name


@pytest.mark.parametrize("name", SMALL)
def test_what_is_recorded_is_what_profile_counts(name):
    size = image_size(name)
    with without_random_numbers():
        profile = zoo.profile(zoo.create(name, input_shape=(size, size, 3)))
    keras.backend.clear_session()
    row = costs(name)
    assert (row.parameters, row.macs, row.activations) == (profile.parameters, profile.macs, profile.activations)


def test_the_recorded_groups_are_those_that_a_configuration_accepts():
    """All of them, and none between them or a little above."""
    for name in zoo.list_models():
        config, allowed = variant(name), costs(name).groups
        tried = range(allowed[-1] - BEYOND if allowed == tuple(range(1, allowed[-1] + 1)) else 1, allowed[-1] + BEYOND)
        accepted = []
        for groups in tried:
            try:
                config.with_groups(groups)
            except ValueError:
                continue
            accepted.append(groups)
        assert accepted == [groups for groups in allowed if groups >= tried[0]], name


@pytest.mark.parametrize("name", [
    "shufflenet_g3_wd4",
    *(pytest.param(name, marks=pytest.mark.heavy) for name in ("resnet26", "regnetx_002", "igcv3_wd4", "mixnet_s")),
])  # fmt: skip
def test_the_largest_number_of_groups_can_be_built(name):
    with without_random_numbers():
        model = zoo.create(name, input_shape=(64, 64, 3), groups=costs(name).groups[-1])
    assert model.output_shape == (None, 1000)
    keras.backend.clear_session()


@pytest.mark.heavy
def test_the_script_writes_the_line_of_a_network_again(tmp_path):
    recorded_file = (ROOT / "zoo" / "data" / "costs.json").read_text()
    without = "".join(line for line in recorded_file.splitlines(keepends=True) if "lcnet_035" not in line)
    (tmp_path / "costs.json").write_text(without)
    command = [sys.executable, ROOT / "benchmarks" / "network_costs.py", "lcnet_035", "--out", tmp_path / "costs.json"]
    subprocess.run(command, env=process_environment(), capture_output=True, check=True, timeout=120)
    assert len(without) < len(recorded_file) == len((tmp_path / "costs.json").read_text())
    assert (tmp_path / "costs.json").read_text() == recorded_file


def test_info_has_the_costs():
    info = zoo.info("mobilenetv2_100")
    assert (info.parameters, info.macs, info.activations, info.size) == (3504872, 300774272, 6678112, 224)
    assert info.groups_allowed == (1, 2, 4, 8, 16)
    page = str(info)
    assert "3,504,872 parameters; 300,774,272 multiply-accumulates" in page and "groups allowed: 1, 2, 4, 8, 16" in page
    assert "groups allowed: 1 to 269" in str(zoo.info("timm/resnext50_32x4d.a1h_in1k"))


def test_a_network_that_is_not_recorded_is_refused():
    sentence = "of mine is not recorded: `python benchmarks/network_costs.py mine` records it."
    with pytest.raises(ValueError, match=re.escape(sentence)):
        costs("mine")


def test_numbers_in_words():
    assert runs((1, 2, 3, 8)) == [(1, 3), (8, 8)]
    assert runs(()) == []
    assert in_words((1, 2, 4, 8)) == "1, 2, 4, 8"
    assert in_words(tuple(range(1, 270))) == "1 to 269"
    assert in_words((1, 2, 3, 4, 5, 6, 12)) == "1 to 6, 12"
