"""The benchmarks run, and compare what they say they compare."""

import csv
import importlib.util
import json
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from helpers.paths import ROOT
from helpers.processes import process_environment

sys.path.append(str(ROOT / "benchmarks"))  # its helpers import each other as scripts do

import gradients
import machine
import report
import worker
from contenders import ContenderError, Contenders, RequestError
from shapes import SHAPES


def installed(*packages: str) -> bool:
    return all(importlib.util.find_spec(package) for package in packages)


def run(script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """One benchmark, in a process of its own, as a user runs it, with these environment variables."""
    command = [sys.executable, str(ROOT / "benchmarks" / script), *map(str, arguments)]
    environment = process_environment(**{"TF_CPP_MIN_LOG_LEVEL": "3"} | variables)
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def rows_of(script: str, path: Path, *arguments: str, **variables: str) -> list[dict[str, str]]:
    """The rows that a benchmark writes."""
    done = run(script, *arguments, "--rounds", "1", "--csv", path, **variables)
    assert done.returncode == 0, done.stderr
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def check_ratios(rows: list[dict[str, str]], seconds: str, same: tuple[str, ...]) -> None:
    """Every ratio is the quotient of the times beside it."""
    for row in rows:
        ours = [each for each in rows if each["contender"] == "zoo" and all(each[key] == row[key] for key in same)]
        if row["status"] == "measured":
            assert float(row[seconds]) > 0
            quotient = float(row[seconds]) / float(ours[0][seconds])
            assert float(row["ratio_to_zoo"]) == pytest.approx(quotient, rel=1e-4)
        else:
            assert row[seconds] == row["ratio_to_zoo"] == ""


@pytest.mark.heavy
def test_keras_grouped_convolution_compares_equal_networks():
    arguments = ["--model", "shufflenet_g2_wd4", "--batch", "2", "--size", "32", "--rounds", "1", "--steps", "1"]
    done = run("keras_grouped_convolution.py", *arguments)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["layers_on_keras"] == 3 * 16 - 1, "three grouped convolutions a unit; the first pointwise is dense"
    assert answer["relative_difference_of_logits"] < 1e-4
    assert answer["times_as_fast"] > 0 and answer["zoo_step_seconds"] > 0
    losses = [line.split("losses ")[1] for line in done.stdout.splitlines() if "losses" in line]
    first = [json.loads(text)[0] for text in losses]
    assert len(first) == 2 and abs(first[0] - first[1]) < 1e-3, "the same weights and images, the same loss"


@pytest.mark.heavy
def test_models_compares_equal_networks_and_says_what_is_missing(tmp_path):
    settings = ["--models", "mobilenetv1_025", "--modes", "train", "--precisions", "float32", "--matrix", "256"]
    contenders = ["--contenders", "zoo,keras,applications,torch", "--torch", "/no/such/python"]
    rows = rows_of("models.py", tmp_path / "models.csv", *settings, *contenders, "--batch", "2", "--size", "32")
    assert [row["contender"] for row in rows] == ["zoo", "keras", "applications", "torch"]
    check_ratios(rows, "step_seconds", ("model", "mode", "precision"))
    zoo, keras, applications, torch = rows
    assert zoo["status"] == keras["status"] == "measured"
    assert zoo["parameters"] == keras["parameters"]
    assert float(zoo["first_value"]) == pytest.approx(float(keras["first_value"]), abs=1e-3)
    for row in (zoo, keras):
        assert float(row["images_per_s"]) == pytest.approx(2 / float(row["step_seconds"]), rel=1e-4)
        assert 0 < float(row["peak_mb"]) < float(row["total_peak_mb"])
        assert float(row["first_step_seconds"]) > float(row["step_seconds"])
        least = max(
            float(row["gflop_per_step"]) / float(row["gflops_ceiling"]),
            float(row["least_gb_per_step"]) / float(row["copy_gbs_ceiling"]),
        )
        assert float(row["share_of_ceiling"]) == pytest.approx(least / float(row["step_seconds"]), rel=1e-3)
    assert applications["status"] == "keras.applications has no counterpart of mobilenetv1_025."
    assert torch["status"].startswith("The contender 'torch' did not start: '/no/such/python' is no Python interpreter")


@pytest.mark.heavy
def test_precisions_compares_one_network_with_itself(tmp_path):
    settings = ["--models", "mobilenetv1_025", "--modes", "infer", "--batch", "2", "--size", "32"]
    float32, bfloat16 = rows_of("precisions.py", tmp_path / "precisions.csv", *settings)
    assert (float32["precision"], bfloat16["precision"]) == ("float32", "bfloat16")
    assert float32["status"] == bfloat16["status"] == "measured"
    quotient = float(float32["step_seconds"]) / float(bfloat16["step_seconds"])
    assert float(bfloat16["times_float32"]) == pytest.approx(quotient, rel=1e-4)
    assert float(float32["times_float32"]) == 1


def test_models_refuses_an_unknown_network():
    done = run("models.py", "--models", "resnext50_32x4")
    assert done.returncode == 2
    assert "did you mean resnext50_32x4d" in done.stderr


@pytest.mark.skipif(not installed("torch", "timm"), reason="needs PyTorch and timm")
def test_models_measures_pytorch(tmp_path):
    settings = [
        "--models",
        "mobilenetv2_100",
        "--contenders",
        "torch",
        "--matrix",
        "256",
        "--batch",
        "2",
        "--size",
        "32",
    ]
    rows = rows_of("models.py", tmp_path / "models.csv", *settings)
    assert [row["status"] for row in rows] == ["measured"] * 4, "two modes, two types"
    assert {row["parameters"] for row in rows} == {"3504872"}
    assert {row["ratio_to_zoo"] for row in rows} == {""}, "there is nothing to compare it with"


@pytest.mark.heavy
def test_layers_measures_every_contender(tmp_path):
    settings = ["--only", "stage2.0.branch2.3", "--precisions", "float32", "--modes", "gradients", "--batch", "1"]
    path = tmp_path / "layers.csv"
    torch = installed("torch")
    contenders = ["zoo", "keras", "split", *(["torch"] if torch else [])]
    rows = rows_of("layers.py", path, *settings, "--contenders", ",".join(contenders))
    assert [row["contender"] for row in rows] == contenders
    assert {row["status"] for row in rows} == {"measured"}
    check_ratios(rows, "call_seconds", ("mode", "precision"))
    operations = 3 * 2 * 16 * 16 * 58 * 3 * 3  # forward, and once more for each gradient
    assert float(rows[0]["gflops"]) == pytest.approx(operations / float(rows[0]["call_seconds"]) / 1e9, rel=1e-4)
    if installed("matplotlib"):
        done = run("plot.py", path)
        assert done.returncode == 0, done.stderr
        assert "gradients, float32" in path.with_suffix(".svg").read_text()


@pytest.mark.heavy
def test_implementations_marks_the_fastest_and_the_chosen(tmp_path):
    settings = ["--only", "stage2.0.branch2.3", "--precisions", "bfloat16", "--modes", "forward", "--batch", "1"]
    rows = rows_of("implementations.py", tmp_path / "implementations.csv", *settings)
    measured = [row for row in rows if row["status"] == "measured"]
    fastest = min(float(row["call_seconds"]) for row in measured)
    assert [row["is_fastest"] for row in rows].count("True") == 1
    assert [row["is_chosen"] for row in rows].count("True") == 1
    for row in measured:
        assert float(row["ratio_to_fastest"]) == pytest.approx(float(row["call_seconds"]) / fastest, rel=1e-4)
    refused = next(row for row in rows if row["implementation"] == "matmul")
    assert "implementation='matmul'" in refused["status"] and refused["call_seconds"] == ""


def test_gpu_refuses_a_machine_without_one():
    done = run("gpu.py", "--torch", "/no/such/python", CUDA_VISIBLE_DEVICES="", JAX_PLATFORMS="cpu")
    assert done.returncode == 1
    assert done.stderr.startswith("Nothing to compare.") and "--device cpu" in done.stderr
    assert ("finds no GPU" if installed("jax") else "No module named 'jax'") in done.stderr


@pytest.mark.skipif(not installed("jax"), reason="needs JAX")
def test_gpu_runs_on_a_cpu(tmp_path):
    settings = ["--device", "cpu", "--models", "mobilenetv1_025", "--precisions", "float16", "--contenders", "zoo"]
    small = ["--batch", "2", "--size", "32", "--steps", "1"]
    quick = "--xla_backend_optimization_level=0"  # to compile, not to run
    [row] = rows_of("gpu.py", tmp_path / "gpu.csv", *settings, *small, XLA_FLAGS=quick)
    assert row["status"] == "measured" and row["ratio_to_zoo"] == "1"
    assert "on jax" in row["versions"]
    assert 6 < float(row["first_value"]) < 8, "the loss of a network that knows nothing is about log(1000)"


@pytest.mark.heavy
def test_shapes_are_those_of_the_zoo():
    import blocks
    import zoo

    present = {shape.network for shape in SHAPES} & set(zoo.list_models())
    assert {shape.network for shape in SHAPES} - present <= {"regnety_008"}  # measured beside the zoo's own
    for network in present:
        model = zoo.create(network, input_shape=(128, 128, 3))
        for shape in (shape for shape in SHAPES if shape.network == network):
            layer = model.get_layer(shape.layer)
            assert isinstance(layer, blocks.GroupedConv2D)
            taken = layer.input[0] if isinstance(layer.input, list) else layer.input
            assert tuple(taken.shape[1:]) == (shape.size, shape.size, shape.channels), shape
            arguments = layer.filters, layer.kernel_size[0], layer.strides[0], layer.groups
            assert arguments == (shape.filters, shape.kernel, shape.strides, shape.groups), shape
            assert layer.padding == ((shape.kernel // 2,) * 2,) * 2
    assert len({str(shape) for shape in SHAPES}) == len(SHAPES) >= 24


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", pytest.param("mobilenetv3_small_050", marks=pytest.mark.heavy)])
def test_stock_clone_has_no_layer_of_ours_and_the_same_outputs(name):
    import keras
    import numpy as np
    from stock_keras import clone

    import zoo

    ours = zoo.create(name, 10, (32, 32, 3))
    stock = clone(ours)
    packages = {type(layer).__module__.split(".")[0] for layer in stock._flatten_layers()}
    assert packages == {"keras", "stock_keras"}, "what is in stock_keras holds stock layers together"
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    expected, actual = (keras.ops.convert_to_numpy(model(images, training=False)) for model in (ours, stock))
    assert abs(expected - actual).max() <= 1e-5 * abs(expected).max()


WORKER = """
import os, sys
sys.path.insert(0, {folder!r})
from worker import serve
def die(): print("last words", file=sys.stderr); os._exit(3)
def fail(): raise ValueError("that is wrong")
serve(lambda: (dict(die=die, fail=fail, add=lambda a, b: dict(sum=a + b)), dict(versions="none")))
"""


def test_a_contender_that_fails_or_dies_says_so(tmp_path):
    script = tmp_path / "worker_script.py"
    script.write_text(WORKER.format(folder=str(ROOT / "benchmarks")))
    with Contenders() as contenders:
        contenders.start("one", str(script), sys.executable)
        contenders.wait()
        assert contenders.ask("one", "add", a=1, b=2) == {"sum": 3}
        with pytest.raises(RequestError, match="The contender 'one' failed: ValueError: that is wrong"):
            contenders.ask("one", "fail")
        with pytest.raises(ContenderError, match="ended with status 3; it last said: last words"):
            contenders.ask("one", "die")
        assert contenders.ask_or_drop("one", "add", a=1, b=2) is None
        contenders.revive()
        assert contenders.ask("one", "add", a=2, b=2) == {"sum": 4}


def test_a_table_names_the_processor_as_a_run_does():
    from zoo import hardware

    identity = machine.identity()
    assert tuple(identity) == machine.IDENTITY
    assert identity["cpu"] == hardware.processor() and identity["cores"] == hardware.cores() >= 1
    assert identity["instructions"].split() == hardware.instructions()


def test_a_share_of_the_processors_is_at_work(capsys):
    """At least what this process takes of them while it is asked."""
    end = time.monotonic() + 20
    working = threading.Thread(target=lambda: [None for _ in iter(lambda: time.monotonic() < end, False)], daemon=True)
    working.start()
    share = machine.busy_share(0.3)
    end = 0.0
    working.join()
    assert 0.5 / (os.cpu_count() or 1) < share <= 1
    machine.warn_if_busy(0.05)
    assert capsys.readouterr().out == ""
    machine.warn_if_busy(0.25)
    assert capsys.readouterr().out.startswith("Other programs use 25% of the processors")


def test_the_peak_of_memory_begins_anew():
    steps = worker.Steps()
    steps.begin(lambda: (lambda: float(len(b"x" * 2**27)), dict))
    steps.take(1)
    memory = steps.memory()
    assert memory["total_peak_mb"] >= 2**27 / 1e6
    if sys.platform == "linux":
        assert memory["peak_mb"] == pytest.approx(2**27 / 1e6, abs=30)


WITHOUT_KERAS = """
import sys
sys.path.insert(0, {folder!r})
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("keras", "tensorflow"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
import torch_worker
torch_worker.serve(torch_worker.load)
"""


@pytest.mark.skipif(not installed("torch"), reason="needs PyTorch")
def test_the_worker_of_pytorch_needs_no_keras(tmp_path):
    script = tmp_path / "worker_script.py"
    script.write_text(WITHOUT_KERAS.format(folder=str(ROOT / "benchmarks")))
    shape = {"size": 8, "channels": 8, "filters": 8, "kernel": 3, "strides": 1, "groups": 2}
    asked = {"contender": "torch", "mode": "forward", "precision": "float32", "batch": 1, "least": 0.0}
    with Contenders() as contenders:
        contenders.start("torch", str(script), sys.executable)
        contenders.wait()
        assert not contenders.failures
        limits = contenders.ask("torch", "ceilings", width=64, block=2**16, precisions=["float32"])
        assert limits["float32_gflops"] > 0 and limits["copy_gbs"] > 0
        assert contenders.ask("torch", "layer", key="a", shape=shape, **asked)["seconds"] > 0
        assert contenders.ask("torch", "time", key="a", calls=2)["seconds"] > 0


def test_errors_of_gradients_are_relative_to_the_true_ones():
    true = [np.array([3.0, 0.0]), np.array([[0.0, 4.0]]), np.zeros(2)]
    found = [np.array([3.0, 0.3]), np.array([[0.4, 4.0]]), np.zeros(2)]
    assert gradients.errors(found, true) == pytest.approx((0.1, 0.1))
    assert gradients.errors(true, true) == (0, 0)


def test_ratios_and_means():
    rows = [
        {"model": model, "mode": "train", "contender": contender, "seconds": seconds}
        for model, contender, seconds in [
            ("a", "zoo", 2.0),
            ("a", "x", 4.0),
            ("b", "zoo", 1.0),
            ("b", "x", 8.0),
            ("c", "x", 1.0),
        ]
    ]
    report.add_ratios(rows, "seconds", ("model",))
    assert [row["ratio_to_zoo"] for row in rows] == [1.0, 2.0, 1.0, 8.0, None]
    assert report.summary(rows, ("mode",)) == [("train", "x", pytest.approx(4.0), 2)]
    assert report.geometric_mean([1.0, math.e]) == pytest.approx(math.sqrt(math.e))
    with pytest.raises(ValueError):
        report.geometric_mean([])


@pytest.mark.heavy
def test_exported_files_are_run_in_both_runtimes(tmp_path):
    done = run("exports.py", "--models", "shufflenet_g2_wd4", "--size", "32", "--rounds", "1", "--folder", tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if " ms least " in line]
    names = ("shufflenet_g2_wd4", "keras_MobileNetV2")
    assert [row[:2] for row in rows] == [[name, key] for name in names for key in ("keras", "onnx", "tflite")]
    assert all(row[-1] == "keras" and row[-2].endswith("x") for row in rows if row[1] != "keras")
    assert {path.name for path in tmp_path.iterdir()} == {".".join(row[:2]) for row in rows if row[1] != "keras"}


@pytest.mark.heavy
def test_the_pipelines_stages_and_waiting_are_measured(tmp_path):
    figures = tmp_path / "figures.json"
    settings = ["--images", "12", "--size", "32", "--batch", "4", "--steps", "2", "--passes", "1", "--json", figures]
    done = run("pipeline.py", *settings, "--network", "lcnet_035", "recipe=quick", "dataset.flip=false")
    assert done.returncode == 0, done.stderr
    answer = json.loads(figures.read_text())
    stages, training = answer["stages"], answer["training"]
    assert next(iter(stages)) == "decoder alone" and {"image folder, complete", "records, complete"} <= stages.keys()
    assert all(each["ms_per_image"] > 0 and each["images_per_second"] > 0 for each in stages.values())
    assert 0 <= training["waiting"] < 1 and training["ms_per_image"] > 0
    assert 60_000 < answer["bytes_per_image"] < 200_000, "as photographs of 500 x 375 pixels at quality 90"


def test_the_pipelines_benchmark_refuses_an_unknown_network():
    done = run("pipeline.py", "--network", "shufflenet_v3")
    assert done.returncode == 2 and "shufflenet_v3" in done.stderr
    done = run("pipeline.py", "--images", "12")
    assert done.returncode == 2 and "--images 12 is too few: draw at least 32" in done.stderr
