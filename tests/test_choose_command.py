"""`zoo choose`: what it lists, ranks and refuses, and its page, in a real Chromium too."""

import csv
import errno
import io
import json
import os

import pytest

from blocks.kernels.build import cache_folder
from helpers.chromium import complaints, open_browser, requests, show
from helpers.processes import run_code
from zoo.__main__ import run
from zoo.choosing.candidates import Limits, candidates, passing
from zoo.choosing.measured import Cache, Latency, conditions
from zoo.choosing.measured import cache_folder as measured_folder
from zoo.choosing.page import page_of
from zoo.choosing.results import Result, results
from zoo.choosing.search import networks
from zoo.errors import UserError

SMALL = ("--params", "2M", "--threads", "1")


@pytest.fixture
def cache_home(tmp_path, monkeypatch):
    """A cache folder of the test's own, but for the kernels, which are compiled already."""
    own = tmp_path / "grouped-convolution-zoo"
    own.mkdir()
    (own / "kernels").symlink_to(cache_folder(), target_is_directory=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def measured(cache_home):
    """Networks of at most 2 M parameters, whose latencies, MACs / 10^10, an earlier call has left in the cache."""
    small = passing(candidates("fused").all, Limits(params=2_000_000).criteria({}))
    cache = Cache(conditions("fused", 1, 1), pytest.fail)
    for (model, size), each in networks(small).items():
        cache.put(model, size, Latency(each.macs / 1e10, each.macs / 9e9, 50, 0.02))
    return small


def refused(capsys, *arguments: str) -> str:
    """The one line of a command that can't be done."""
    assert run(["choose", *arguments]) in (1, 2)
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ("", "Nothing is asked for: give at least one of --top1, --latency,"),
        ("--latency 10", "'10' is no time: give a number and us, ms or s, as in 10ms or 0.01s; the nearest is 10ms."),
        ("--params 5m", "the nearest is 5M."),
        ("--params 5,000,000", "the nearest is 5000000."),
        ("--params 1.2345k", "the nearest is 5M."),
        ("--latency 1,5ms", "the nearest is 1.5ms."),
        ("--top1 72 --page nowhere/x.html", "--page nowhere/x.html is not allowed: there is no folder "),
        ("--top1 72 --threads 1025", "give a whole number of at least 1, and of at most 1024."),
        ("--top1 0.72", "the nearest is 72."),
        ("--format tflite --top1 72", "There is no format 'tflite': did you mean litert, litert-int8"),
        ("--licence free --top1 72", "there is no licence 'free'"),
        ("--top1 72 --limit 0", "'0' is not allowed: give a whole number of at least 1."),
        ("--top1 72 --page . --params 2M", "--page . is not allowed: . is a folder."),
        ("--top1 72 --page x.html --batch 2", "--page x.html is not allowed with --batch 2: it shows"),
        ("--top1 72 --page x.html --dry-run", "--dry-run measures nothing that it could show."),
        ("--top1 95 --params 5M", "No published checkpoint passes. --top1 95 excludes most, 275 of 275. The"),
        ("--json --csv --top1 72", "--json and --csv exclude each other"),
    ],
)  # fmt: skip
def test_bad_arguments_are_one_sentence(cache_home, capsys, arguments, sentence):
    assert sentence.lower() in refused(capsys, *arguments.split()).lower()


def test_a_dry_run_lists_all_candidates_and_imports_no_tensorflow(tmp_path):
    code = """
import json, sys
from zoo.__main__ import run
assert run(["choose", "--top1", "70", "--params", "4M", "--dry-run", "--json"]) == 0
assert not {"tensorflow", "keras", "numpy", "plotly"} & set(sys.modules)
"""
    document = json.loads(run_code(code, XDG_CACHE_HOME=str(tmp_path)))
    expected = passing(candidates("fused").all, Limits(top1=70.0, params=4_000_000).criteria({}))
    assert [row["checkpoint"] for row in document["rows"]] == [each.tag for each in expected]
    assert all(row["median_seconds"] is row["rank"] is None for row in document["rows"])
    assert document["accuracy"] == "published, float model"
    assert len(document["without_accuracy"]) == 67
    assert list(tmp_path.iterdir()) == []


def test_what_was_measured_before_is_ranked_without_measuring(measured, capsys):
    fast = sorted(each.macs / 1e10 for each in measured)[len(measured) // 2]
    assert run(["choose", *SMALL, "--latency", f"{fast}s", "--csv"]) == 0
    out, err = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    ranked = [row for row in rows if row["rank"]]
    assert len(rows) == len(measured) and 0 < len(ranked) < len(rows)
    assert all((float(row["median_seconds"]) <= fast) == bool(row["rank"]) for row in rows)
    assert ranked == sorted(ranked, key=lambda row: -float(row["top1"]))
    assert "0 of the networks measured now" in err and "top-1 is the published one, of the float model" in err
    assert "67 checkpoints without a published accuracy" in err


def test_the_table_has_the_ranking_and_the_front(measured, capsys):
    assert run(["choose", *SMALL, "--latency", "1s"]) == 0
    ranking, front = capsys.readouterr().out.split("\nPareto front of all that are measured")
    assert ranking.split()[:3] == ["rank", "checkpoint", "top-1"] and ranking.count("\n") == len(measured) + 1
    members = [each.tag for each in results(measured, _latencies(measured)) if each.on_front]
    assert sorted(line.split()[0] for line in front.splitlines()[2:]) == sorted(members)


def _latencies(members):
    cache = Cache(conditions("fused", 1, 1), pytest.fail)
    return {name: cache.get(*name) for name in networks(members)}


def test_nothing_that_is_fast_enough_is_said_with_the_nearest(measured, capsys):
    fastest = min(measured, key=lambda each: each.macs)
    assert run(["choose", *SMALL, "--latency", "1us", "--json"]) == 1
    out, err = capsys.readouterr()
    assert all(row["rank"] is None for row in json.loads(out)["rows"])
    assert err.splitlines()[-1] == (
        f"No measured candidate passes. --latency 1us excludes most, {len(measured)} of {len(measured)}. The nearest is"
        f" {fastest.tag}, with {fastest.macs / 1e7:.2f} ms (--latency 1us), which passes all else."
    )


def test_a_full_disk_leaves_no_part_of_an_entry(cache_home, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    cache = Cache(conditions("fused", 1, 1), pytest.fail)
    with monkeypatch.context() as patch, pytest.raises(UserError, match="No space left"):
        patch.setattr("json.dumps", full)
        cache.put("lcnet_035", 32, Latency(0.1, 0.1, 5, 0.0))
    assert list(cache.folder.iterdir()) == []


@pytest.mark.heavy
def test_latencies_without_kernels_are_said_and_not_kept(cache_home, monkeypatch, capsys):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", f"{os.environ['XDG_CACHE_HOME']}/other")
    arguments = ["choose", "--params", "300k", "--limit", "1", "--threads", "1"]
    assert run(arguments) == 0
    assert "The kernels of blocks were not in use" in capsys.readouterr().err
    assert not list(measured_folder().rglob("*.json"))


def test_the_page_has_the_measured_ones_and_its_texts_are_escaped(measured):
    hostile = "timm/</script><img src=x onerror=alert(1)>"
    answer = results(measured, _latencies(measured))
    odd = Result(answer[0].candidate.__class__(**vars(answer[0].candidate) | {"tag": hostile}), *_rest(answer[0]))
    text = page_of([*answer, odd], conditions("fused", 1, 1), "imagenet1k", ["<b>a note</b>"])
    assert f"Comparison of {len(answer) + 1} checkpoints" in text and "<code>zoo choose</code>" in text
    assert "<img src=x" not in text and "<b>a note" not in text and hostile.replace("<", "\\u003c") in text
    assert "published top-1, float model" in text and "{{" not in text.partition('id="data"')[0]


def _rest(result: Result) -> tuple:
    return result.latency, result.rank, result.on_front


@pytest.mark.heavy
def test_ten_networks_measured_and_their_page_looked_at(cache_home, tmp_path, capsys):
    """The latencies of ten networks here, and the page: no request elsewhere, no complaint, all within its width."""
    path = tmp_path / "answer.html"
    arguments = ["choose", "--macs", "100M", "--params", "4M", "--limit", "10", "--page", str(path), "--json"]
    assert run(arguments) == 0
    rows = [row for row in json.loads(capsys.readouterr().out)["rows"] if row["median_seconds"]]
    assert len({(row["network"], row["size"]) for row in rows}) == 10
    assert run([*arguments[:-3], "--dry-run"]) == 0
    assert "10 of their networks are measured already" in capsys.readouterr().err
    browsers = open_browser(tmp_path / "profile")
    browser = next(browsers)
    for width in (1400, 400):
        for scheme in ("light", "dark"):
            show(browser, path.as_uri(), width, 900, scheme)
            assert complaints(browser) == []
            assert [
                address for address in requests(browser) if not address.startswith(("file:", "data:", "blob:"))
            ] == []
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
            assert browser.execute_script("return document.querySelectorAll('#table [data-row]').length") == len(rows)
            assert browser.execute_script("return document.getElementById('curves').closest('section').hidden")
    next(browsers, None)


@pytest.mark.heavy
@pytest.mark.parametrize("format", ["float32", "onnx", "litert", "litert-int8"])
def test_a_network_is_measured_in_every_format(cache_home, capsys, format):
    assert run(["choose", "--macs", "45M", "--top1", "60", "--format", format, "--limit", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert sum(row["median_seconds"] is not None for row in rows) >= 1
