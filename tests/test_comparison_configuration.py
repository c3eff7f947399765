"""What counts as a seed and what does not: rows, spreads over seeds, repeats, and figures that are invalid."""

import copy
import csv
import json
import statistics

import pytest
from click.testing import CliRunner

from helpers import run_directories
from helpers.wandb_api_server import READ, Server, call, run_node
from zoo.commands.compare import compare
from zoo.comparison import configuration
from zoo.comparison.page_data import page_data
from zoo.comparison.ranking import ranked
from zoo.comparison.runs import Run, planned_epochs
from zoo.comparison.table import figure_text, progress
from zoo.comparison.wandb import panels
from zoo.comparison.wandb.report import escaped, markdown_table

FOLDER = {"files": 4, "bytes": 400, "digest": "ab" * 32}


def run(path="runs/0", status="finished", history=None, without=(), **more):
    values = run_directories.result() | more
    values = {key: value for key, value in values.items() if key not in without}
    return Run(path, values["name"], status, values, history or {}, None)


def changed(key, value, one=None):
    """A run that differs from `one` in a single key, with dots into what is nested."""
    result = copy.deepcopy((one or run()).result)
    *folders, last = key.split(".")
    place = result
    for folder in folders:
        place = place[folder]
    place[last] = value
    return Run(f"runs/{key}", result["name"], "finished", result, {}, None)


OTHER = {
    "commit": "fedcba9876543210",
    "dirty": True,
    "changes": "ab" * 32,
    "versions": {"tensorflow": "2.20.0", "keras": "3.15.1"},
    "packages": {"pillow": "12.0.0"},
    "backend": "jax",
    "kernels": False,
    "processor": "another processor",
    "instructions": ["avx2"],
    "threads": 64,
    "accelerators": ["NVIDIA H100"],
    "variables": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "data": {"builder": "fashion_mnist/2.0.0"},
    "config.recipe.learning_rate": 0.1,
    "config.recipe.epochs": 6,
    "config.dataset.image_size": 40,
    "config.limit_steps": 3,
}


@pytest.mark.parametrize("key", OTHER)
def test_whatever_changes_a_result_makes_a_row_of_its_own_that_says_so(key):
    runs = [run(), changed(key, OTHER[key])]
    rows = ranked(runs)
    assert len(rows) == 2 and all(row.figures["val_top1"].deviation is None for row in rows)
    last = {"versions": "tensorflow", "packages": "pillow", "variables": "TF_ENABLE_ONEDNN_OPTS", "data": "builder"}
    name = last.get(key, key.rpartition(".")[2])
    assert len({row.label for row in rows}) == 2 and all(f"{name}=" in row.label for row in rows)


SAME = {
    "seed": 1,
    "config.seed": 1,
    "config.tracking.name": "mine",
    "config.tracking.notes": "a note",
    "config.dataset.data_dir": "/mnt/copy",
    "config.resume": "auto",
    "config.objective": "val_loss",
    "process": {"host": "elsewhere", "pid": 5},
    "wandb": {"id": "abc"},
    "val_top1": 0.5,
}


@pytest.mark.parametrize("key", SAME)
def test_what_changes_no_result_does_not(key):
    assert configuration.identity(run()) == configuration.identity(changed(key, SAME[key]))
    assert len(ranked([run(), changed(key, SAME[key])])) == 1


def test_data_are_told_by_what_they_are_and_else_by_their_folder():
    here = run(data=FOLDER)
    assert len(ranked([here, changed("config.dataset.data_dir", "/mnt/copy", here)])) == 1
    for key, value in (("data.files", 5), ("data.bytes", 401), ("data.digest", "cd" * 32)):
        assert len(ranked([here, changed(key, value, here)])) == 2  # at the same path
    old = run(without=["data"])
    assert len(ranked([old, changed("seed", 1, old)])) == 1
    moved = changed("config.dataset.data_dir", "/mnt/other", old)
    rows = ranked([old, moved])
    assert len(rows) == 2 and {row.label.rpartition("(")[2] for row in rows} == {
        "data_dir=/data/0)",
        "data_dir=/mnt/other)",
    }
    assert len(ranked([old, here])) == 2  # whether they are the same is unknown


def test_two_folders_of_data_as_they_were_reported():
    one = run(without=["data"], val_top1=0.90)
    other = changed("config.dataset.data_dir", "/data/other", run(without=["data"], val_top1=0.1056))
    assert [figure_text(row, "val_top1") for row in ranked([one, other])] == ["90.00 %", "10.56 %"]


def test_repeats_of_a_seed_are_no_seeds():
    runs = [run(f"runs/{number}", val_top1=0.9 + number / 1000) for number in range(5)]
    (row,) = ranked(runs)
    known = row.figures["val_top1"]
    assert (known.deviation, known.count, known.runs) == (None, 1, 5)
    assert figure_text(row, "val_top1") == "90.20 % (5 repeats)"


def test_the_spread_is_that_of_the_seeds_means():
    values = {0: [0.80, 0.82, 0.84], 1: [0.90], 2: [0.70, 0.72]}
    runs = [
        run(f"runs/{seed}-{number}", seed=seed, val_top1=value)
        for seed, several in values.items()
        for number, value in enumerate(several)
    ]
    (row,) = ranked(runs)
    means = [statistics.fmean(several) for several in values.values()]
    known = row.figures["val_top1"]
    assert known.mean == pytest.approx(statistics.fmean(means)) and known.deviation == pytest.approx(
        statistics.stdev(means)
    )
    assert (known.count, known.runs, row.seeds) == (3, 6, {0: 3, 1: 1, 2: 2})
    assert figure_text(row, "val_top1") == "81.00 ± 9.54 % (3 seeds, 6 runs)"
    assert escaped("81.00 ± 9.54 % (3 seeds, 6 runs)") in markdown_table([row], "val_top1")


def test_folds_are_a_sample_as_seeds_are_and_other_numbers_of_folds_another():
    def of_fold(fold, top1, seed=0):
        one = changed("config.dataset.fold", fold, run(f"runs/{fold}-{seed}", seed=seed, val_top1=top1))
        return Run(f"runs/{fold}-{seed}", one.name, "finished", one.result, {}, None)

    values = [0.80, 0.90, 0.70]
    runs = [of_fold(f"{number}/3", value) for number, value in enumerate(values)]
    row, *others = ranked([*runs, of_fold("0/4", 0.5), run("runs/whole", val_top1=0.6)])
    known = row.figures["val_top1"]
    assert len(others) == 2 and known.count == 3
    assert known.deviation == pytest.approx(statistics.stdev(values))
    (row,) = ranked([*runs, of_fold("0/3", 0.9, seed=1)])
    assert list(row.seeds) == ["0, fold 0/3", "0, fold 1/3", "0, fold 2/3", "1, fold 0/3"]


def test_runs_without_a_recorded_seed_are_no_sample_of_seeds():
    runs = [run(f"runs/{number}", without=["seed", "config"], val_top1=number / 10) for number in (7, 9)]
    (row,) = ranked(runs)
    assert row.figures["val_top1"].deviation is None and row.figures["val_top1"].runs == 2


def written(folder, seeds):
    for number, seed in enumerate(seeds):
        run_directories.write_run(folder / str(number), run_directories.result(seed=seed))
    return str(folder)


def test_json_csv_and_page_tell_repeats(tmp_path):
    folder = written(tmp_path / "runs", [0, 0, 1, 0])
    (row,) = json.loads(CliRunner().invoke(compare, [folder, "--json"]).stdout)["rows"]
    assert row["repeats"] == [{"seed": 0, "runs": 3}, {"seed": 1, "runs": 1}]
    assert row["figures"]["val_top1"]["seeds"] == 2 and row["figures"]["val_top1"]["runs"] == 4
    done = CliRunner().invoke(compare, [folder, "--csv"])
    (line,) = csv.DictReader(done.stdout.splitlines())
    assert (line["seeds"], line["repeats"], line["val_top1_n"], line["runs"]) == ("0 1", "3 1", "2", "4")
    done = CliRunner().invoke(compare, [folder, "--no-page"])
    assert "(2 seeds, 4 runs)" in done.stdout and "Repeats of a seed count as their mean" in done.stderr
    data = page_data([run(seed=seed) for seed in (0, 0, 1)], "val_top1", [], _now())
    assert [each["seed"] for each in data["runs"]] == [0, 0, 1] and {each["row"] for each in data["runs"]} == {0}


def _now():
    from datetime import UTC, datetime

    return datetime(2026, 11, 23, tzinfo=UTC)


HISTORY = {
    "epoch": [1.0, 2.0, 3.0],
    "val/top1": [0.7, 0.9, None],
    "val/loss": [1.0, 0.5, None],
    "seconds": [1, 2, None],
}


@pytest.mark.parametrize("status", ["finished", "interrupted", "failed", "crashed"])
def test_an_invalid_last_value_is_not_replaced_by_an_earlier_one(status):
    (row,) = ranked([run(status=status, history=HISTORY, epochs=3, without=["val_top1", "val_loss", "seconds"])])
    assert not {"val_top1", "val_loss", "seconds"} & row.figures.keys() and row.rank is None
    assert figure_text(row, "val_top1") == "invalid" and row.figures["best_val_top1"].mean > 0.9
    valid = HISTORY | {"val/top1": [0.7, 0.9, 0.2]}
    (row,) = ranked([run(status=status, history=valid, epochs=3, without=["val_top1"])])
    assert row.figures["val_top1"].mean == 0.2


def test_a_damaged_last_line_is_not_replaced_by_an_earlier_one():
    history = {"epoch": [1.0, 2.0], "val/top1": [0.7, 0.9]}
    (row,) = ranked([run(history=history, epochs=3, without=["val_top1"])])
    assert "val_top1" not in row.figures and figure_text(row, "val_top1") == "invalid"


def test_what_was_not_measured_is_not_invalid():
    (row,) = ranked([run(latency_seconds=None)])
    assert not row.invalid("latency_seconds") and not row.invalid("test_top1") and figure_text(row, "test_top1") == "-"


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1.5", "null"])
def test_a_directory_with_an_invalid_last_accuracy_says_so(tmp_path, value):
    folder = run_directories.write_run(tmp_path / "run", run_directories.result())
    text = json.dumps(json.loads((folder / "result.json").read_text()) | {"val_top1": "HERE"})
    (folder / "result.json").write_text(text.replace('"HERE"', value))
    done = CliRunner().invoke(compare, [str(folder), "--csv"])
    (line,) = csv.DictReader(done.stdout.splitlines())
    assert (line["val_top1"], line["rank"], line["invalid"]) == ("", "", "val_top1")
    (row,) = json.loads(CliRunner().invoke(compare, [str(folder), "--json"]).stdout)["rows"]
    assert row["invalid"] == {"val_top1": 1} and "val_top1" not in row["figures"]
    done = CliRunner().invoke(compare, [str(folder), "--no-page"])
    assert " invalid " in done.stdout and "its last validation top-1 is invalid" in done.stderr


def test_a_diverged_seed_is_named_beside_the_mean_of_the_others():
    runs = [run(f"runs/{seed}", seed=seed, val_top1=value) for seed, value in enumerate([0.8, 0.9, None])]
    (row,) = ranked(runs)
    assert figure_text(row, "val_top1") == "85.00 ± 7.07 % (2, 1 invalid)"


def test_a_running_run_shows_how_far_it_is():
    history = {"epoch": [float(epoch) for epoch in range(1, 35)], "val/top1": [0.5] * 34}
    running = run("a", "running", history, without=["epochs", "epochs_planned"])
    running.result["config"]["recipe"]["epochs"] = 300
    (row,) = ranked([running])
    assert progress(row) == "34/300" and planned_epochs(running) == 300
    assert page_data([running], "val_top1", [], _now())["runs"][0]["planned"] == 300


def test_runs_on_w_and_b_are_told_apart_alike(tmp_path):
    result = run_directories.result()
    config = result["config"] | {"family": "resnext", "network": "resnext"}
    config |= {key: result[key] for key in ("commit", "dirty", "versions", "kernels", "processor", "threads", "data")}
    seeds = [config | {"seed": seed} for seed in (0, 0, 1)]
    others = [config | each for each in ({"kernels": False}, {"dirty": True}, {"data": FOLDER}, {"commit": "fed"})]
    invalid = config | {"threads": 3}
    server = Server()
    figures = {"val_top1": 0.5, "macs": 5}
    server.runs = [run_node(f"r{at}", "net", "finished", each, figures) for at, each in enumerate([*seeds, *others])]
    rows = [{"_step": 1, "epoch": 1, "val/top1": 0.9}, {"_step": 2, "epoch": 2, "val/top1": "NaN"}]
    server.runs.append(run_node("nan", "diverged", "finished", invalid, {"macs": 5}, rows))
    try:
        outcome = call(tmp_path, server.url, READ)
    finally:
        server.close()
    runs = [Run(**each) for each in outcome["result"]]
    ranks = ranked(runs)
    assert sorted(len(row.runs) for row in ranks) == [1, 1, 1, 1, 1, 3]
    (three,) = [row for row in ranks if len(row.runs) == 3]
    assert three.seeds == {0: 2, 1: 1}
    (diverged,) = [row for row in ranks if row.label == "diverged"]
    assert figure_text(diverged, "val_top1") == "invalid"
    assert runs[0].result["data"] == {"builder": "fashion_mnist/3.0.1"} and "kernels" not in runs[0].result["config"]


def test_panels_on_w_and_b_average_over_seeds_alone():
    seeds = [run(seed=seed) for seed in (0, 1)]
    assert panels.grouped_by(seeds) == ["family", "groups"]
    others = [changed(key, OTHER[key]) for key in ("commit", "config.recipe.learning_rate", "kernels")]
    network = run(model="resnext101", family_settings={"depth": 101})
    several = [*seeds, *others, network]
    keys = panels.grouped_by(several)
    assert set(keys) == {"family", "groups", "network", "commit", "recipe.learning_rate", "kernels"}
