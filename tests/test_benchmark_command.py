"""`zoo benchmark`: contenders in processes of their own, their rows, and the file that `zoo compare` reads."""

import csv
import io
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from helpers import run_directories
from helpers.processes import process_environment
from helpers.terminal import Terminal
from zoo.__main__ import run
from zoo.benchmarking import contenders, measuring
from zoo.benchmarking.load import Load, busy_share
from zoo.commands.benchmark import CONTENDERS, MODES, load_sentence
from zoo.comparison import benchmark_file
from zoo.comparison.ranking import ranked
from zoo.comparison.reading import read_runs
from zoo.costs import costs
from zoo.errors import UserError
from zoo.timing import percentile, repeated_seconds

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture
def classifier(tmp_path):
    """A file of ONNX: means over 16 x 16 pixels, times a matrix."""
    weights = onnx.numpy_helper.from_array(np.ones((3, 5), "float32"), "weights")
    nodes = [
        onnx.helper.make_node("ReduceMean", ["images"], ["means"], axes=[1, 2], keepdims=0),
        onnx.helper.make_node("MatMul", ["means", "weights"], ["logits"]),
    ]
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("images", ["batch", 16, 16, 3]), ("logits", ["batch", 5]))
    ]
    graph = onnx.helper.make_graph(nodes, "means", values[:1], values[1:], [weights])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    path = tmp_path / "means.onnx"
    onnx.save(model, path)
    return path


def test_the_command_knows_the_contenders():
    """It names them without importing what measures them."""
    assert tuple(contenders.CONTENDERS) == CONTENDERS and contenders.MODES == MODES
    assert set(contenders.DEFAULT) <= set(CONTENDERS)


def test_a_file_is_measured_and_read_by_zoo_compare(classifier, tmp_path, capsys):
    output = tmp_path / "speed.json"
    arguments = ["--mode", "inference", "--rounds", "2", "--threads", "1", "-o", str(output), "--json"]
    assert run(["benchmark", str(classifier), *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    (row,) = document["rows"]
    assert row["contender"] == "onnx" and row["status"] == "measured" and row["threads"] == document["threads"] == 1
    assert (row["height"], row["width"], row["batch"]) == (16, 16, 1)
    assert 0 < row["median_seconds"] <= row["p90_seconds"] and row["timings"] >= 2
    assert row["images_per_second"] == pytest.approx(1 / row["median_seconds"])
    assert row["peak_memory_bytes"] > 2**20 and 0 <= row["busy_before"] <= 1 and 0 <= row["others_during"] <= 1
    (read,) = read_runs([output], pytest.fail)
    assert read.result["latency_seconds"] == row["median_seconds"] and read.status == "finished"
    assert ranked([read], "latency_seconds")[0].rank == 1
    assert run(["compare", str(output), "--metric", "latency_seconds", "--no-page", "--csv"]) == 0
    (line,) = csv.DictReader(io.StringIO(capsys.readouterr().out, newline=""))
    assert float(line["latency_seconds"]) == row["median_seconds"]


def test_what_cannot_be_measured_is_a_sentence_and_the_rest_goes_on(classifier, tmp_path, capsys):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    arguments = ["--mode", "inference", "--rounds", "1", "--csv"]
    assert run(["benchmark", str(broken), str(classifier), *arguments]) == 1
    out, err = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert [row["status"] == "measured" for row in rows] == [False, True]
    assert err.count("\n") == 1 and f"{broken} cannot be read by ONNX Runtime" in err


def test_a_runtime_that_is_not_installed_is_a_sentence_with_how_to_get_it(classifier, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert run(["benchmark", str(classifier), "--mode", "inference"]) == 1
    out, err = capsys.readouterr()
    assert out.count("means.onnx") == 1
    assert "onnx needs onnxruntime, which is not installed: pip install 'grouped-convolution-zoo[export]'." in err


REFUSED = [
    ("lcnet_35", "There is no network, tag of weights, run or file 'lcnet_35': did you mean lcnet_035, "),
    ("lcnet", "'lcnet' is a family: give one of its networks, "),
    ("none.onnx", "There is no file or folder 'none.onnx'."),
    ("/none", "There is no file or folder '/none'."),
    ("lcnet_035 --contenders onnx --mode training", "--mode training leaves nothing to measure of lcnet_035: onnx is"),
    ("lcnet_035 --contenders onx", "Invalid value for '--contenders': there is no contender 'onx': did you mean onnx?"),
    ("lcnet_035 --mode train", "Invalid value for '--mode': there is no mode 'train': did you mean training?"),
    ("lcnet_035 -o speed.html", "--output speed.html is not allowed: give the name of a .json file, speed.json say."),
    ("lcnet_035 -o result.json", "--output result.json is not allowed: give the name of a .json file"),
    ("lcnet_035 -o nowhere/speed.json", "--output nowhere/speed.json is not allowed: there is no folder "),
    ("lcnet_035 --threads 1025", "give a whole number of at least 1, and of at most 1024."),
    ("lcnet_035 --batch 65537", "give a whole number of at least 1, and of at most 65536."),
    ("FILE --contenders fused", "means.onnx runs as onnx alone, and --contenders is fused."),
]


@pytest.mark.parametrize("arguments, sentence", REFUSED)
def test_bad_arguments_are_one_sentence(classifier, capsys, arguments, sentence):
    words = [str(classifier) if word == "FILE" else word for word in arguments.split()]
    assert run(["benchmark", *words]) in (1, 2)
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and sentence in err


def test_a_text_in_place_of_a_network_is_said_to_be_no_file_of_keras(tmp_path, capsys):
    (tmp_path / "text.keras").write_text("no network")
    assert run(["benchmark", str(tmp_path / "text.keras")]) == 1
    assert "text.keras is damaged, or no file of Keras: it is no zip file." in capsys.readouterr().err


@pytest.mark.heavy
def test_a_name_may_look_like_markup(tmp_path, capsys):
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    (tmp_path / "a[").mkdir()
    model.save(tmp_path / "a[" / "b].keras")
    command = ["benchmark", str(tmp_path / "a[" / "b].keras"), "--mode", "inference", "--contenders", "fused"]
    assert run([*command, "--rounds", "1"]) == 0
    assert "b].keras" in capsys.readouterr().out


def written(tmp_path, *rows, **records):
    path = tmp_path / "speed.json"
    common = {"name": "net", "mode": "inference", "contender": "fused", "batch": 1, "status": "measured"}
    benchmark_file.write(path, [common | row for row in rows], records, {"processor": "one"})
    return path


def test_the_figures_of_a_run_stand_beside_its_measured_latency(tmp_path):
    record = {key: value for key, value in run_directories.result().items() if key in benchmark_file.COPIED}
    path = written(
        tmp_path,
        {"median_seconds": 0.004, "parameters": 5},
        {"median_seconds": 0.002, "contender": "onnx"},
        {"median_seconds": 0.03, "batch": 8},
        {"mode": "training", "images_per_second": 99.0, "median_seconds": 0.3},
        net=record,
    )
    runs = read_runs([path], pytest.fail)
    assert [run.result.get("latency_seconds") for run in runs] == [0.004, 0.002, None, None]
    assert runs[3].result["train_images_per_second"] == 99.0
    assert {run.result["val_top1"] for run in runs} == {record["val_top1"]}
    rows = ranked(runs, "latency_seconds")
    assert [row.first.name for row in rows[:2]] == ["net, onnx", "net, fused"] and len(rows) == 4
    assert "latency_seconds" in rows[0].front


def test_int8_has_not_the_accuracy_of_the_float_model(tmp_path):
    said = []
    rows = [{"median_seconds": 0.004, "contender": name} for name in ("litert", "litert-int8", "bfloat16")]
    runs = read_runs([written(tmp_path, *rows, net={"val_top1": 0.9, "dataset": "digits"})], said.append)
    assert [run.result.get("val_top1") for run in runs] == [0.9, None, None]
    assert [run.result["dataset"] for run in runs] == ["digits"] * 3
    assert len(said) == 2 and all("its accuracy is not measured, so it has none." in line for line in said)


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("{", "is cut off, or no JSON"),
        ("[]", "is no file of `zoo benchmark --output`"),
        ('{"kind": "zoo benchmark", "version": 2}', "is of version 2, and 1 is read"),
        ('{"kind": "zoo benchmark", "version": 1}', "is damaged"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, text, sentence):
    path = tmp_path / "speed.json"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_runs([path], pytest.fail)


def test_rows_without_figures_are_named_and_left_out(tmp_path):
    said = []
    path = written(
        tmp_path, {"status": "it is not installed"}, {"median_seconds": -1.0}, {"name": 3}, {"median_seconds": 0.5}
    )
    runs = read_runs([path], said.append)
    assert [run.result.get("latency_seconds") for run in runs] == [None, 0.5]
    assert [line.partition(": ")[2] for line in said[:1]] == ["it is not installed"] and len(said) == 3
    assert "latency_seconds=-1.0 is invalid" in said[1] and "no measurement" in said[2]


def test_times_and_percentiles():
    readings = list(range(1, 101))
    assert (percentile(readings, 50), percentile(readings, 90), percentile(readings, 100)) == (50, 90, 100)
    with pytest.raises(ValueError, match="no percentile of no times"):
        percentile([], 90)
    calls = []
    assert len(repeated_seconds(lambda: calls.append(1), budget=10.0, most=7)) == len(calls) == 7


def test_others_are_told_from_what_measures():
    """A program beside this one that computes is one of the others, until it is named as one that measures."""
    code = "import time; end = time.monotonic() + 5\nwhile time.monotonic() < end: pass"
    program = subprocess.Popen([sys.executable, "-c", code])
    try:
        own, foreign = Load([os.getpid(), program.pid]), Load([os.getpid()])
        busy_share(0.5)
        measured, others = own.others(), foreign.others()
    finally:
        program.kill()
        program.wait()
    assert 0 <= measured < others <= 1


def test_the_load_is_told():
    row = {"busy_before": 0.04, "others_during": 0.03}
    assert load_sentence([row]) == (
        "Load: 4% of the processors busy before, 3% used by other programs during the rounds."
    )
    assert "only their ratios tell something" in load_sentence([row, row | {"others_during": 0.3}])
    assert "not known" in load_sentence([{"busy_before": None, "others_during": None}])


@pytest.mark.heavy
def test_all_contenders_of_a_tiny_network(capsys):
    arguments = ["--size", "32", "--rounds", "1", "--batch", "2", "--json"]
    assert run(["benchmark", "lcnet_035", *arguments]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {(row["mode"], row["contender"]) for row in rows} == {
        *(("inference", name) for name in contenders.DEFAULT),
        *(("training", name) for name in ("float32", "bfloat16", "stock")),
    }
    assert all(row["images_per_second"] > 0 and row["parameters"] == costs("lcnet_035").parameters for row in rows)
    kernels = {row["contender"]: row["kernels"] for row in rows}
    assert kernels["stock"] is False
    files = {row["contender"]: row["file_bytes"] for row in rows if row["file_bytes"]}
    assert files["litert-int8"] < 0.5 * files["litert"]


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["net.keras", "run"])
def test_saved_models_and_runs_are_measured(tmp_path, capsys, name):
    import zoo

    path = tmp_path / "run" / "model.keras" if name == "run" else tmp_path / name
    path.parent.mkdir(exist_ok=True)
    zoo.create("lcnet_035", 10, (32, 32, 3)).save(path)
    if name == "run":
        (path.parent / "result.json").write_text(json.dumps(run_directories.result(groups=None)))
    output = tmp_path / "speed.json"
    source = path.parent if name == "run" else path
    arguments = ["--contenders", "bfloat16,fused", "--rounds", "1", "--mode", "inference", "-o", str(output), "--json"]
    assert run(["benchmark", str(source), *arguments]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["contender"] for row in rows] == ["bfloat16", "fused"] and rows[0]["height"] == 32
    accuracies = [run.result.get("val_top1") for run in read_runs([output], pytest.fail)]
    assert (None not in accuracies) == (name == "run")


@pytest.mark.heavy
def test_ctrl_c_keeps_what_was_measured(classifier, tmp_path):
    """Two of a great many rounds, on a terminal, whose Ctrl-C reaches the workers too."""
    output = tmp_path / "speed.json"
    arguments = ["--mode", "inference", "--rounds", "10000", "-o", str(output)]
    command = [sys.executable, "-m", "zoo", "benchmark", str(classifier), *arguments]
    terminal = Terminal(command, tmp_path, process_environment(TERM="xterm"))
    terminal.read(until="round 3 of")
    terminal.type(b"\x03")
    terminal.read()
    assert terminal.process.wait() == 130 and "Stopped by Ctrl-C." in terminal.shown
    assert "Traceback" not in terminal.shown
    (row,) = json.loads(output.read_text())["rows"]
    assert row["timings"] >= 2 and row["median_seconds"] > 0


def test_a_failure_is_told_without_the_words_of_the_machinery():
    assert measuring.sentence_of("The contender 'x' failed: UserError: a b.") == "a b."
    assert measuring.sentence_of("a: b failed") == "a: b failed"
