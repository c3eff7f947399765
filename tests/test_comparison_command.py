"""`zoo compare` as it is called: tables, JSON, CSV, the page, filters, and a sentence for each mistake."""

import csv
import json
import os
import pty
import subprocess
import sys

import pytest
from click.testing import CliRunner

from helpers import run_directories
from helpers.processes import process_environment, run_code
from helpers.wandb_api_server import Server, run_node
from helpers.wandb_client import KEY
from zoo.commands.compare import compare


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "multirun"
    run_directories.write_sweep(folder, seeds=2)
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run_compare(*arguments):
    return CliRunner().invoke(compare, [str(each) for each in arguments])


def test_a_table_and_a_page(sweep, tmp_path):
    done = run_compare(sweep)
    assert done.exit_code == 0, done.output
    header, *lines = done.stdout.splitlines()
    titles = "rank name family groups data set status validation top-1 params MACs peak mem img/s latency epochs"
    assert header.split() == [*titles.split(), "Pareto", "front"]
    assert len(lines) == 11 and [line.split()[0] for line in lines] == [str(rank) for rank in range(1, 12)]
    assert "± " in lines[0] and lines[0].split()[1] == "resnext-g32-fashion_mnist" and "(2)" in lines[0]
    assert all(line == line.rstrip() for line in lines)
    assert "22 runs in 11 rows, ranked by validation top-1, the highest first." in done.stderr
    page = (tmp_path / "comparison.html").read_text()
    assert page.startswith("<!doctype html>") and "Page: " in done.stderr and len(page) < 10_000_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["comparison.html"]


def test_json_and_csv_are_all_that_is_on_standard_output(sweep, tmp_path):
    result = json.loads(run_compare(sweep, "--json", "--metric", "macs").stdout)
    assert result["metric"] == {"key": "macs", "title": "multiply-accumulates of an image", "higher_is_better": False}
    macs = [row["figures"]["macs"]["mean"] for row in result["rows"]]
    assert macs == sorted(macs) and len(macs) == 11 and result["rows"][0]["figures"]["val_top1"]["runs"] == 2
    rows = list(csv.DictReader(run_compare(sweep, "--csv", "--split-seeds").stdout.splitlines()))
    assert len(rows) == 22 and {row["runs"] for row in rows} == {"1"} and {row["val_top1_sd"] for row in rows} == {""}
    best = max(rows, key=lambda row: float(row["val_top1"]))
    assert best["rank"] == "1" and best["paths"].startswith(str(sweep))
    assert not list(tmp_path.iterdir())
    assert run_compare(sweep, "--csv", "-o", "here.html").exit_code == 0 and (tmp_path / "here.html").exists()


def test_filters(sweep):
    done = run_compare(sweep, "--no-page", "--csv", "--family", "resnext", "--family", "regnet")
    assert {row["family"] for row in csv.DictReader(done.stdout.splitlines())} == {"resnext", "regnet"}
    message = str(run_compare(sweep, "--family", "resnxt").exception)
    assert message == "--family resnxt: no run has it; did you mean resnext, regnet, convnext?"
    message = str(run_compare(sweep, "--status", "failed").exception)
    assert message == "--status failed leaves no run; those here have finished."
    assert "did you mean finished" in str(run_compare(sweep, "--status", "finish").exception)
    assert "no run has it" in str(run_compare(sweep, "--dataset", "digits").exception)


MISTAKES = [
    ([], "Nothing to compare is named: give run directories or folders of them, outputs/ say."),
    (["missing"], "There is no missing: name run directories, or folders of them, outputs/ say."),
    ([".", "--metric", "val_top"], "There is no metric 'val_top': did you mean val_top1, val_top5, best_val_top1?"),
    ([".", "--no-page", "-o", "x.html"], "--no-page and --output x.html cannot go together: choose one."),
    (["SWEEP", "-o", "."], ". is a folder: --output names a file, comparison.html say."),
    (
        ["SWEEP", "-o", "no/such/page.html"],
        "Cannot write no/such/page.html: No such file or directory; --output FILE chooses another place.",
    ),
]


@pytest.mark.parametrize("arguments, sentence", MISTAKES, ids=[sentence[:50] for _, sentence in MISTAKES])
def test_a_mistake_costs_one_sentence(sweep, arguments, sentence):
    done = run_compare(*(sweep if each == "SWEEP" else each for each in arguments))
    assert done.exit_code == 1 and str(done.exception) == sentence


def test_damage_is_named_and_the_rest_is_compared(sweep, tmp_path):
    run_directories.write_run(tmp_path / "runs" / "1", run_directories.result())
    run_directories.write_run(tmp_path / "runs" / "2", run_directories.result(seed=1), classes=None)
    (tmp_path / "runs" / "2" / "result.json").write_text('{"status": "fini')
    done = run_compare("runs")
    assert done.exit_code == 0 and len(done.stdout.splitlines()) == 2
    message = "runs/2/result.json: it is cut off or no JSON (line 1); this run is left out."
    assert message in done.stderr.splitlines()
    assert message in (tmp_path / "comparison.html").read_text()


def test_several_data_sets(sweep, tmp_path):
    run_directories.write_run(tmp_path / "1", run_directories.result(dataset="digits"))
    done = run_compare(sweep, tmp_path, "--no-page")
    ranks = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert ranks == ["1", *map(str, range(1, 12))]
    assert "They are of 2 data sets" in done.stderr and "cannot be compared" in done.stderr


def on_a_terminal(width, *arguments):
    """What the command writes to a terminal of so many columns."""
    screen, end = pty.openpty()
    code = "import sys; from zoo.commands.compare import compare; compare(sys.argv[1:])"
    environment = process_environment(COLUMNS=str(width), TERM="xterm", NO_COLOR="1")
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=end, stderr=subprocess.PIPE, env=environment)
    os.close(end)
    text = b""
    try:
        while part := os.read(screen, 65536):
            text += part
    except OSError:
        pass  # the other end has closed
    process.communicate(timeout=60)
    os.close(screen)
    return text.decode()


def test_a_narrow_terminal_names_what_it_does_not_show(sweep):
    text = on_a_terminal(90, sweep, "--no-page")
    assert all(len(line.replace("\x1b[1m", "").replace("\x1b[0m", "").rstrip()) <= 90 for line in text.splitlines())
    assert "latency" in text and " ms" in text and "resnext-g32-fashion_mnis" in text
    assert "The same in every row: data set fashion_mnist, status finished, epochs 5." in " ".join(text.split())
    assert "A wider terminal, or --csv, shows family" in " ".join(text.split())


def test_it_is_quick_because_nothing_slow_is_imported(sweep, tmp_path):
    code = (
        "import sys; from zoo.commands.compare import compare; compare(sys.argv[1:], standalone_mode=False);"
        "names = {name.partition('.')[0] for name in sys.modules};"
        "print(sorted(names & {'tensorflow', 'keras', 'wandb', 'hydra', 'numpy', 'pandas', 'tensorflow_datasets'}))"
    )
    assert run_code(code, sweep).splitlines()[-1] == "[]" and (tmp_path / "comparison.html").exists()


def test_runs_of_a_w_and_b_project_stand_beside_those_of_folders(tmp_path):
    result = run_directories.result("regnet", 8)
    here = run_directories.result(wandb={"mode": "online", "id": "r2", "url": None})
    run_directories.write_run(tmp_path / "runs" / "1", here)
    server = Server()
    server.runs = [
        run_node("r1", "<b>there</b>", "finished", result["config"], {"val_top1": 0.99, "macs": 10**6}, []),
        run_node("r2", "the run here", "finished", here["config"], {"val_top1": 0.5, "macs": 10**6}, []),
    ]
    own = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY, "HOME": str(tmp_path)}
    env = process_environment(without=("WANDB_",), **own)
    command = [sys.executable, "-m", "zoo", "compare", "runs", "--wandb", "lab/zoo", "--csv", "-o", "page.html"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=60)
    finally:
        server.close()
    assert done.returncode == 0, done.stderr
    rows = {row["paths"]: row for row in csv.DictReader(done.stdout.splitlines())}
    assert set(rows) == {"runs/1", "lab/zoo/r1"}  # the second run of the project is the first folder's
    assert "1 of 2 runs of lab/zoo are read from their directories here." in done.stderr
    assert (rows["lab/zoo/r1"]["name"], rows["lab/zoo/r1"]["rank"], rows["runs/1"]["rank"]) == (
        "<b>there</b>",
        "1",
        "2",
    )
    assert "\\u003cb>there" in (tmp_path / "page.html").read_text()
