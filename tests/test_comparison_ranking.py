"""Ranks, means over seeds, names of rows and the Pareto front, each against its definition."""

import itertools
import random
import statistics

import pytest

from helpers import run_directories
from zoo.comparison import configuration, pareto
from zoo.comparison.ranking import FRONTS, accuracy_of, check_metric, ranked
from zoo.comparison.runs import Run, dataset, groups, printable
from zoo.metrics import METRICS


def run(values=None, status="finished", history=None, path=None, **more):
    values = (values or run_directories.result()) | more
    path = path or f"runs/{values.get('name')}-{values.get('seed')}"
    return Run(path, values.get("name"), status, values, history or {}, None)


def single(name, top1, macs, **more):
    """A run that no other one shares its settings with."""
    return run(run_directories.result(name=name, val_top1=top1, macs=macs, config={"note": name}, **more))


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_nothing_dominates(seed):
    chance = random.Random(seed)
    # Few different values, so that many points are equal in one coordinate or in both.
    points = [(chance.randrange(6) / 10, chance.randrange(6)) for _ in range(chance.randrange(30))]
    expected = [
        index
        for index, (accuracy, cost) in enumerate(points)
        if not any(
            other[0] >= accuracy and other[1] <= cost and (other[0] > accuracy or other[1] < cost) for other in points
        )
    ]
    front = pareto.front(points)
    assert sorted(front) == expected
    assert [points[index][1] for index in front] == sorted(points[index][1] for index in front)
    for one, other in itertools.product(front, repeat=2):
        assert not pareto.dominates(points[one], points[other])


def test_equal_points_are_both_on_the_front():
    assert pareto.front([(0.9, 5), (0.9, 5), (0.9, 6), (0.8, 5), (0.8, 4)]) == [4, 0, 1]
    assert pareto.front([]) == []


def test_seeds_make_one_row():
    runs = [run(run_directories.result("resnext", 32, seed)) for seed in range(3)]
    other = run(run_directories.result("resnext", 16, 0))
    rows = ranked([*runs, other], "val_top1")
    (row,) = [row for row in rows if len(row.runs) == 3]
    values = [each.result["val_top1"] for each in runs]
    spread = row.figures["val_top1"]
    assert spread.mean == pytest.approx(sum(values) / 3) and spread.count == 3
    assert spread.deviation == pytest.approx(statistics.stdev(values))
    assert row.figures["macs"].mean == runs[0].result["macs"] and isinstance(row.figures["macs"].mean, int)
    assert next(each for each in rows if each is not row).figures["val_top1"].deviation is None
    apart = ranked([*runs, other], "val_top1", single=True)
    assert len(apart) == 4 and {each.label for each in apart} == {
        *(f"resnext-g32-fashion_mnist (seed={seed})" for seed in range(3)),
        "resnext-g16-fashion_mnist",
    }


def test_only_finished_runs_are_averaged():
    runs = [
        run(run_directories.result(seed=seed), status) for seed, status in enumerate(["finished"] * 2 + ["crashed"])
    ]
    assert sorted(len(row.runs) for row in ranked(runs)) == [1, 2]


def test_what_makes_two_runs_differ_in_the_seed_alone():
    one = run_directories.result(seed=0)
    other = run_directories.result(seed=1)  # another folder of the data too
    other["config"]["tracking"]["name"] = "mine"
    assert configuration.identity(run(one)) == configuration.identity(run(other))
    other["config"]["recipe"]["learning_rate"] = 0.1
    assert configuration.identity(run(one)) != configuration.identity(run(other))
    old = [
        {key: value for key, value in run_directories.result(seed=seed).items() if key != "config"} for seed in (0, 1)
    ]
    assert configuration.identity(run(old[0])) == configuration.identity(run(old[1]))
    assert configuration.identity(run(old[0])) != configuration.identity(run(old[0] | {"epochs_planned": 99}))
    nothing = [Run(f"runs/{number}", "x", "finished", {}, {}, None) for number in range(2)]
    assert configuration.identity(nothing[0]) != configuration.identity(nothing[1])


def test_rows_are_ranked_best_first_and_ties_share_a_rank():
    runs = [single(name, top1, 100) for name, top1 in (("a", 0.5), ("b", 0.9), ("c", 0.9), ("d", 0.7), ("e", None))]
    assert [(row.rank, row.label) for row in ranked(runs)] == [(1, "b"), (1, "c"), (3, "d"), (4, "a"), (None, "e")]
    costs = [single(name, 0.5, macs) for name, macs in (("a", 300), ("b", 100), ("c", 200))]
    assert [row.label for row in ranked(costs, "macs")] == ["b", "c", "a"]  # the lowest first
    for key, metric in METRICS.items():
        runs = [run(run_directories.result(groups=value, name=str(value), **{key: value / 10})) for value in (1, 2)]
        assert ranked(runs, key)[0].label == ("2" if metric.higher_is_better else "1")


def test_data_sets_are_ranked_apart():
    runs = [
        single("a", 0.9, 5, dataset="digits"),
        single("b", 0.5, 9, dataset="cifar10"),
        single("c", 0.8, 9, dataset="digits"),
    ]
    rows = ranked(runs)
    assert [(dataset(row.first), row.label, row.rank) for row in rows] == [
        ("cifar10", "b", 1),
        ("digits", "a", 1),
        ("digits", "c", 2),
    ]
    assert "macs" in rows[0].front and "macs" in rows[1].front and "macs" not in rows[2].front


def test_fronts_follow_the_accuracy_that_is_ranked_by():
    runs = [
        single(name, val, macs, test_top1=test) for name, val, test, macs in (("a", 0.9, 0.5, 10), ("b", 0.8, 0.7, 20))
    ]
    assert [row.label for row in ranked(runs, "val_top1") if "macs" in row.front] == ["a"]
    assert [row.label for row in ranked(runs, "test_top1") if "macs" in row.front] == ["b", "a"]
    assert accuracy_of("macs") == "val_top1" and set(FRONTS) <= set(METRICS)
    without = single("c", 0.99, 30, latency_seconds=None)
    (row,) = [row for row in ranked([*runs, without]) if row.label == "c"]
    assert "latency_seconds" not in row.front


def test_a_running_run_counts_with_its_last_epoch():
    history = {"epoch": [1.0, 2.0, 3.0], "val/top1": [0.7, 0.9, None], "train/images_per_second": [10.0, 30.0, 50.0]}
    values = {"name": "a", "model": "resnext", "macs": 5}
    (row,) = ranked([Run("a", "a", "running", values, history, None)])
    assert row.figures["val_top1"].mean == 0.9 and row.figures["train_images_per_second"].mean == 40 and row.epochs == 3


def test_rows_of_one_name_are_told_apart_by_what_differs():
    def named(seed=0, **recipe):
        values = run_directories.result(seed=seed, name="same")
        values["config"]["recipe"] |= recipe
        return run(values, path=f"runs/{seed}{recipe}")

    assert configuration.labels([[named(learning_rate=0.1)], [named(learning_rate=0.2)]]) == [
        "same (learning_rate=0.1)",
        "same (learning_rate=0.2)",
    ]
    assert configuration.labels([[named(1, learning_rate=0.1)], [named(2, learning_rate=0.2)]]) == [
        "same (learning_rate=0.1, seed=1)",
        "same (learning_rate=0.2, seed=2)",
    ]
    seeds = [named(seed) for seed in range(2)]
    assert configuration.labels([[seeds[0]], [seeds[1]]]) == ["same (seed=0)", "same (seed=1)"]
    assert configuration.labels([[seeds[0], seeds[1]]]) == ["same"]
    twice = [run(named().result, path=f"runs/{number}") for number in range(2)]
    assert configuration.labels([[each] for each in twice]) == ["same [runs/0]", "same [runs/1]"]


def test_settings_are_flattened_and_compared():
    flat = configuration.flattened({"a": {"b": {"c": 1}, "d": [1, "x"]}, "e": None, "f": True, "g": "text", "h": {}})
    assert flat == {"a.b.c": "1", "a.d": '[1, "x"]', "e": "null", "f": "true", "g": "text", "h": "{}"}
    assert configuration.differing([{"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}]) == ["b", "c"]


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(ValueError, match=r"^There is no metric 'val_top': did you mean val_top1, val_top5"):
        check_metric("val_top")


def test_texts_cannot_command_the_terminal():
    assert printable("\x1b[31mred\x07\n\u202e \ud800 é 日本") == "\ufffd[31mred\ufffd\ufffd\ufffd \ufffd é 日本"
    assert groups(run(groups=[13, 13, 12])) == "13+13+12" and groups(run(groups=None)) == "-"


def test_a_label_tells_a_setting_once():
    def row(groups, model):
        config = {"groups": groups, "model": {"groups": groups} | model}
        return [Run(f"runs/{groups}", "net", "finished", {"name": "net", "config": config}, {}, None)]

    rows = [row(1, {"width": 8}), row(2, {"width": 4})]
    assert configuration.labels(rows) == ["net (groups=1, width=8)", "net (groups=2, width=4)"]
    rows = [row(1, {}), row(2, {"groups": 3})]
    assert configuration.labels(rows) == ["net (groups=1, model.groups=1)", "net (groups=2, model.groups=3)"]


def test_a_label_has_the_settings_that_tell_its_row_from_the_others():
    """Of four that differ, those are left out that differ with another, and of one thing the first stands for all."""

    def row(number, fraction, mode, jitter, epochs):
        color = {"brightness": jitter, "contrast": jitter, "saturation": jitter}
        dataset = {"crop_fraction": fraction, "crop_mode": mode, "color_jitter": color}
        config = {"seed": 0, "dataset": dataset, "recipe": {"epochs": epochs}}
        return [Run(f"runs/{number}", "net", "finished", {"name": "net", "seed": 0, "config": config}, {}, None)]

    values = [(0.875, "center", 0.0, 12), (1.0, "squash", 0.0, 12), (1.0, "squash", 0.4, 12), (1.0, "squash", 0.4, 60)]
    assert configuration.labels([row(number, *each) for number, each in enumerate(values)]) == [
        "net (crop_fraction=0.875, brightness=0.0, epochs=12)",
        "net (crop_fraction=1.0, brightness=0.0, epochs=12)",
        "net (crop_fraction=1.0, brightness=0.4, epochs=12)",
        "net (crop_fraction=1.0, brightness=0.4, epochs=60)",
    ]
    assert configuration.labels([row(0, *values[0]), row(1, *values[3])]) == [
        "net (crop_fraction=0.875, crop_mode=center, brightness=0.0)",
        "net (crop_fraction=1.0, crop_mode=squash, brightness=0.4)",
    ]
