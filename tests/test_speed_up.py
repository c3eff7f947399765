"""The speed-up that `zoo benchmark` shows, and what it is relative to."""

import csv
import io
import json

import pytest

from zoo.benchmarking.speed_up import with_speed_up
from zoo.commands.benchmark import _write

COMMON = {"mode": "training", "batch": 32, "height": 96, "width": 96, "parameters": 5}
OTHERS = {"threads": 2, "median_seconds": 0.1, "p90_seconds": 0.1, "peak_memory_bytes": 1, "timings": 3}
OTHERS |= {"busy_before": 0.0, "others_during": 0.0, "accelerators": [], "kernels": True, "status": "measured"}


def row(name, contender, rate, **more):
    return {"name": name, "contender": contender, "images_per_second": rate, **COMMON, **OTHERS, **more}


def speed_ups(*rows):
    return [each["speed_up"] for each in with_speed_up(rows)]


def test_stock_of_the_same_network_and_mode_is_the_baseline():
    rows = [
        row("a", "float32", 30.0),
        row("a", "stock", 10.0),
        row("a", "float32", 8.0, mode="inference", batch=1),
        row("a", "stock", 2.0, mode="inference", batch=1),
        row("b", "float32", 70.0),  # as many parameters, and its own baseline
        row("b", "stock", 35.0),
        row("a", "litert", 12.0, mode="inference", batch=1, parameters=None),
        row("b", "bfloat16", None),  # it failed
    ]
    assert speed_ups(*rows) == [3.0, 1.0, 4.0, 1.0, 2.0, 1.0, 6.0, None]


def test_without_stock_the_first_row_of_the_model_is():
    rows = [row("mine.keras", "float32", 10.0), row("fast.keras", "float32", 25.0), row("fast.keras", "bfloat16", 40.0)]
    assert speed_ups(*rows) == [1.0, 2.5, 4.0]
    assert speed_ups(rows[0], row("other", "float32", 20.0, parameters=6)) == [None, None]
    assert speed_ups(rows[0], row("mine.keras", "float32", 20.0, height=64)) == [None, None]
    assert speed_ups(row("mine.keras", "float32", None), rows[1]) == [None, None]


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_every_form_has_it(form, capsys):
    rows = [row("net", "float32", 30.0), row("net", "stock", 10.0)]
    _write(rows, form, {"processor": "one", "instructions": []}, 2)
    out = capsys.readouterr().out
    if form == "json":
        assert [each["speed_up"] for each in json.loads(out)["rows"]] == [3.0, 1.0]
    elif form == "csv":
        assert [each["speed_up"] for each in csv.DictReader(io.StringIO(out, newline=""))] == ["3.0", "1.0"]
    else:
        assert "speed-up" in out and "3.00x" in out and "1.00x" in out
    assert all("speed_up" not in each for each in rows)  # `zoo compare` reads what was measured


def test_the_table_has_no_empty_column(capsys):
    _write([row("net", "float32", 30.0)], "table", {"processor": "one", "instructions": []}, 2)
    assert "speed-up" not in capsys.readouterr().out
