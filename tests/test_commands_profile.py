"""`zoo profile`, and the times that it shows."""

import csv
import io
import json

import click
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import zoo
from blocks import BatchNormalization, GroupedConv2D
from blocks.layers.initializers import without_random_numbers
from zoo import timing
from zoo.__main__ import run
from zoo.commands.listing import listing
from zoo.commands.profile import profile
from zoo.complexity import profile_layers

pytestmark = pytest.mark.usefixtures("forget_networks")
KEYS = ["layer", "kind", "output", "groups", "parameters", "macs", "activations", "seconds", "share"]


def run_profile(capfd, *arguments: str) -> str:
    """Standard output of `zoo profile` with these arguments, that of TensorFlow's own code included."""
    code = run(["profile", *arguments])
    out, err = capfd.readouterr()
    assert code == 0, err
    return out


def test_the_totals_are_those_of_profile(capfd):
    profile = json.loads(run_profile(capfd, "mobilenetv1_025", "--no-time", "--json"))
    expected = zoo.profile(zoo.create("mobilenetv1_025"))
    totals = profile["totals"]
    assert (totals["parameters"], totals["macs"]) == (expected.parameters, expected.macs)
    assert totals["activations"] == expected.activations
    for key in ("parameters", "macs", "activations"):
        assert totals[key] == sum(row[key] for row in profile["layers"])
    assert profile["network_seconds"] is totals["seconds"] is profile["repeats"] is None
    first = profile["layers"][0]
    assert list(first) == KEYS
    assert (first["layer"], first["kind"], first["output"]) == ("conv_stem", "GroupedConv2D", [112, 112, 8])
    assert (first["parameters"], first["macs"]) == (3 * 3 * 3 * 8, 3 * 3 * 3 * 8 * 112 * 112)
    depthwise = next(row for row in profile["layers"] if row["layer"] == "blocks.0.0.conv_dw")
    assert depthwise["groups"] == 8


def test_every_option_reaches_the_network(capfd):
    """And the measured times add up."""
    options = ["--groups", "4", "--input", "64x32", "--channels", "1", "--classes", "7", "--batch", "3", "--fused"]
    profile = json.loads(run_profile(capfd, "mobilenetv1_025", *options, "--repeats", "2", "--json"))
    expected = zoo.profile(zoo.fuse(zoo.create("mobilenetv1_025", 7, (64, 32, 1), groups=4)))
    assert profile["totals"]["parameters"] == expected.parameters == 0
    assert (profile["totals"]["macs"], profile["totals"]["activations"]) == (expected.macs, expected.activations)
    assert (profile["input"], profile["batch"], profile["classes"], profile["groups"]) == ([64, 32, 1], 3, 7, 4)
    assert profile["fused"] is True and profile["repeats"] == 2
    assert profile["layers"][0]["output"] == [32, 16, 8]
    assert {row["groups"] for row in profile["layers"]} == {1, 4, None}
    assert not any(row["kind"] == "BatchNormalization" for row in profile["layers"])
    rows = profile["layers"]
    assert all(row["seconds"] > 0 for row in rows if row["macs"]), "whatever multiplies takes time"
    assert profile["totals"]["seconds"] == pytest.approx(sum(row["seconds"] for row in rows))
    assert sum(row["share"] for row in rows) == pytest.approx(1, abs=1e-3)
    assert profile["network_seconds"] > 0


def test_csv_has_a_row_a_layer(capfd):
    rows = list(csv.DictReader(io.StringIO(run_profile(capfd, "lcnet_035", "--no-time", "--csv"), newline="")))
    assert list(rows[0]) == KEYS and rows[0]["output"] == "112 112 8" and rows[0]["seconds"] == ""
    assert sum(int(row["macs"]) for row in rows) == zoo.info("lcnet_035").macs


def test_the_page(capfd):
    lines = run_profile(capfd, "resnext20_32x2d_cifar10", "--repeats", "1").splitlines()
    assert lines[0] == "resnext20_32x2d_cifar10: images of 32 x 32 pixels, 3 channels, 10 outputs"
    assert lines[2].split() == ["layer", "kind", "output", "groups", "param.", "MACs", "act.", "ms", "%"]
    grouped = next(line for line in lines if line.startswith("features.stage1.unit1.body.conv2.conv "))
    assert grouped.split()[1:4] == ["GroupedConv2D", "32x32x64", "32"]
    (total,) = (line for line in lines if " layers  " in line)
    assert total.rstrip().endswith("100.0")
    assert lines[-1].startswith("Whole network, one image: ") and " ms together, each called alone" in lines[-1]


WRONG = [
    ("mobilenetv2_1000", 1, "There is no network 'mobilenetv2_1000': did you mean mobilenetv2_100, "),
    ("resnext", 1, "'resnext' is a family: give one of its networks, which `zoo list --family resnext` lists."),
    ("timm/lcnet_050.ra2_in1k", 1, "'timm/lcnet_050.ra2_in1k' is a tag of weights: give the network that they are for"),
    ("mobilenetv2_100 --groups 7", 1, "groups=7 does not divide the channels of every spatial convolution of Mobile"),
    ("resnext50_32x4d --groups 0", 1, "groups=0 is not allowed for ResNeXt: it must be above 0, 1 for instance."),
    ("resnext50_32x4d --groups 270", 1, "groups=270 makes a bottleneck of one channel a group over twice as large"),
    ("alexnet --input 32", 1, "Images of 32 pixels are too small for AlexNet: give at least 39"),
    ("lcnet_035 --input 0", 2, "Invalid value for '--input': '0' is not allowed: give pixels, one number or HEIGHTxW"),
    ("lcnet_035 --input 224x", 2, "Invalid value for '--input': '224x' is not allowed: give pixels, one number or "),
    ("lcnet_035 --input -5", 2, "Invalid value for '--input': '-5' is not allowed: give pixels, one number or "),
    ("lcnet_035 --batch 0", 2, "Invalid value for '--batch': '0' is not allowed: give a whole number of at least 1."),
    ("lcnet_035 --batch 1.5", 2, "Invalid value for '--batch': '1.5' is not allowed: give a whole number of at least"),
    ("lcnet_035 --no-time --repeats 3", 2, "--no-time and --repeats exclude each other: give one of them."),
    ("lcnet_035 --batch 1000000000", 1, "A batch of 1000000000 needs "),
]


@pytest.mark.parametrize("arguments, code, sentence", WRONG, ids=[arguments for arguments, _, _ in WRONG])
def test_a_mistake_costs_one_sentence(arguments, code, sentence, capsys):
    status = run(["profile", *arguments.split()])
    out, err = capsys.readouterr()
    assert (status, out, err[: len(sentence)], err.count("\n")) == (code, "", sentence, 1)


@pytest.mark.heavy  # TensorFlow asks ten seconds long for memory before it gives up
def test_weights_that_do_not_fit_into_memory(capsys):
    assert run(["profile", "lcnet_035", "--no-time", "--classes", "1000000000000"]) == 1
    assert "and 1000000000000 classes do not fit into memory." in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["shufflenet_v2_x0_5", "resnest14d", pytest.param("mixnet_s", marks=pytest.mark.heavy), "alexnet"]
)
def test_every_call_can_be_repeated_alone(name):
    """Splits, sums, products, axes and other arguments that are no tensors included."""
    with without_random_numbers():
        model = zoo.create(name, 10, (64, 64, 3))
    pool = timing._Pool(2)
    for row in profile_layers(model):
        again, values = timing._replay(row, pool)
        outputs = tf.nest.flatten(again(*values))
        assert tuple(outputs[0].shape) == (2, *row.outputs[1:]), row.layer.name


def test_a_repeated_call_computes_what_the_graph_does():
    images = keras.Input((4, 4, 6))
    left, right = ops.split(images, [2], axis=-1)
    model = keras.Model(images, ops.concatenate([ops.flip(right, axis=1), left], axis=-1))
    pool = timing._Pool(1)
    results = {}
    for row in profile_layers(model):
        again, values = timing._replay(row, pool)
        results[row.kind] = [each.numpy() for each in tf.nest.flatten(again(*values))], [v.numpy() for v in values]
    pieces, (whole,) = results["Split"]
    np.testing.assert_array_equal(np.concatenate(pieces, -1), whole)
    (flipped,), (inputs,) = results["Flip"]
    np.testing.assert_array_equal(flipped, inputs[:, ::-1])
    (joined,), (first, second) = results["Concatenate"]
    np.testing.assert_array_equal(joined, np.concatenate([first, second], -1))


def test_a_layer_with_two_inputs_gets_two():
    """Of the same shape, and yet not one tensor: reading it twice would be cheaper."""
    images = keras.Input((8, 8, 4))
    x = BatchNormalization(activation="relu", name="residual")(GroupedConv2D(4, 3, padding="same")(images), images)
    row = profile_layers(keras.Model(images, x))[-1]
    again, (first, second) = timing._replay(row, timing._Pool(1))
    assert row.inputs == ((None, 8, 8, 4),) * 2
    scale = (1 + row.layer.epsilon) ** -0.5
    np.testing.assert_allclose(again(first, second), np.maximum(first * scale + second, 0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("clock", [timing._inside, timing._outside])
def test_a_clock_runs_the_whole_function(clock):
    """Every call, all of the function, in order: the clock of the graph must not be optimised past it."""
    calls = tf.Variable(0)

    def function(values):
        calls.assign_add(1)
        return tf.linalg.matmul(values, values)

    call = clock(function, [tf.random.normal((512, 512))])
    least = min(call() for _ in range(5))
    assert calls.numpy() == 5
    nothing = clock(lambda values: values, [tf.zeros(())])
    assert least > min(nothing() for _ in range(5)) >= 0, "268 million multiply-accumulates against none"


def test_what_cannot_be_timed_is_refused():
    model = zoo.create("mobilenetv1_025", 10, (None, None, 3))
    with pytest.raises(ValueError, match="takes images of any size, .* create it with one to time it"):
        timing.measure(model, profile_layers(model, 64))
    fixed = profile_layers(zoo.create("mobilenetv1_025", 10, (64, 64, 3)))
    timing.check_memory(fixed, 1)
    with pytest.raises(ValueError, match=r"GB for the layers' inputs alone, and the machine has .* at most [0-9]+ fit"):
        timing.check_memory(fixed, 10**12)


def test_numbers_and_names_are_ranges_and_choices_of_click():
    """So that help and shells show what click knows of them; only the messages are this project's."""
    options = {option.name: option.type for command in (listing, profile) for option in command.params}
    for name in ("batch", "channels", "classes", "repeats"):
        assert isinstance(options[name], click.IntRange) and options[name].min == 1
    for name in ("family_name", "sort"):
        assert isinstance(options[name], click.Choice)
    for refused in ("0", "-1", "1.5", "", "9" * 5000):  # int() itself refuses the last
        with pytest.raises(click.BadParameter, match=f"'{refused}' is not allowed: give a whole number of at least 1"):
            options["batch"].convert(refused, None, None)
