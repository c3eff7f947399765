"""The file of a comparison's page: one file, its policy, its size, and what it is told of many and of long runs."""

import base64
import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from helpers import run_directories
from zoo.comparison import page_data as page_data_module
from zoo.comparison.page import SCRIPTS, page, write_page
from zoo.comparison.page_data import page_data
from zoo.comparison.runs import Evaluation, Run
from zoo.errors import UserError

PAGE = Path(page_data_module.__file__).parent / "page"
NOW = datetime(2026, 11, 23, 6, 30, tzinfo=UTC)


def run(seed=0, epochs=5, classes=2, **more):
    result = run_directories.result(seed=seed, **more)
    numbers = [float(epoch) for epoch in range(1, epochs + 1)]
    history = {"epoch": numbers, "val/top1": [epoch / epochs for epoch in numbers], "train/seconds": [2.0] * epochs}
    names = tuple(f"class {number}" for number in range(classes))
    evaluation = Evaluation("validation", names, tuple((number, number, 7) for number in range(classes)))
    return Run(f"runs/{seed}", result["name"], "finished", result, history, evaluation)


def scripts(text):
    """The three script elements, as an HTML parser sees them: up to the next end tag."""
    return re.findall(r"<script(?: [^>]*)?>(.*?)</script", text, flags=re.DOTALL | re.IGNORECASE)


def test_only_the_two_scripts_of_the_page_may_run():
    text = page([run(name="</script><!-- <script>")], created_at=NOW)
    data, *code = scripts(text)
    assert len(code) == 2 and text.lower().count("</script") == 3 and "<!--" not in data
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in code]
    assert policy.startswith(f"default-src 'none'; script-src 'sha256-{digests[0]}' 'sha256-{digests[1]}'; ")
    assert "unsafe-eval" not in policy and "http" not in policy
    assert json.loads(data)["runs"][0]["label"] == "</script><!-- <script>"
    assert data.isascii() and "<" not in data
    outside = text.replace(code[0], "").replace(code[1], "").replace(data, "")
    assert (
        not re.findall(r"(?:src|href)=\"(?!#|data:,)", outside) and "url(" not in outside and "@import" not in outside
    )
    assert "{{" not in outside and "</html>" in outside


def test_texts_that_break_encodings_are_written():
    hostile = ["\ud800 lone", "\u2028\u2029", "\x00\x1b[31m", "{{script}}", "\\u003c", "日本 😀"]
    text = page([run(seed, name=name) for seed, name in enumerate(hostile)], created_at=NOW)
    text.encode()
    labels = [each["label"] for each in json.loads(scripts(text)[0])["runs"]]
    assert labels == hostile


def test_the_same_runs_make_the_same_page():
    assert page([run()], created_at=NOW) == page([run()], created_at=NOW)


def test_long_runs_are_thinned_and_it_is_told():
    few = page_data([run(epochs=100)], "val_top1", [], NOW)
    assert few["thinned"] is None and len(few["runs"][0]["curves"]["val_top1"]) == 100
    many = page_data([run(0), run(1, epochs=70_000)], "val_top1", [], NOW)
    curve = many["runs"][1]["curves"]
    assert many["thinned"] == 30_000 == len(curve["epoch"]) == len(curve["val_top1"])
    assert curve["epoch"][0] == 1 and curve["epoch"][-1] == 70_000 and curve["val_top1"][-1] == 1
    assert curve["epoch"] == sorted(set(curve["epoch"]))


def test_confusion_matrices_of_the_best_are_kept_and_the_others_named():
    classes = 100_000  # cells of a run
    runs = [run(seed, classes=classes, val_top1=0.5 + seed / 10, config={"seed": seed, "a": seed}) for seed in range(5)]
    data = page_data(runs, "val_top1", ["a file was damaged."], NOW)
    assert [each["evaluation"] is not None for each in data["runs"]] == [False, False, True, True, True]
    assert data["notes"][0] == "a file was damaged." and "The confusion matrices of 2 runs" in data["notes"][1]
    assert len(data["classes"]) == 1 and data["runs"][4]["evaluation"]["cells"][:6] == [0, 0, 7, 1, 1, 7]


def test_only_settings_that_differ_are_in_the_page():
    data = page_data([run(0), run(1), run(0, groups=8)], "val_top1", [], NOW)
    assert set(data["keys"]) == {"seed", "groups", "model.groups", "dataset.data_dir"}
    place = data["keys"].index("groups")
    assert [data["texts"][each["settings"][place]] for each in data["runs"]] == ["32", "32", "8"]
    assert data["settings"] > 10


def test_wall_time_of_older_runs_is_that_of_their_training():
    data = page_data([run(epochs=3)], "val_top1", [], NOW)
    assert data["runs"][0]["curves"]["seconds"] == [2, 4, 6]


def test_very_long_texts_are_cut():
    data = page_data(
        [run(name="n" * 10**6, error="e" * 10**6, config={"key": "v" * 10**6})], "val_top1", ["x" * 10**6], NOW
    )
    assert len(json.dumps(data)) < 20_000


def test_a_page_that_cannot_be_written_leaves_the_one_that_is_there(tmp_path):
    write_page(tmp_path / "page.html", "old")
    (tmp_path / "page.html.part").mkdir()
    with pytest.raises(
        UserError, match=r"^Cannot write .*page.html: Is a directory; --output FILE chooses another place."
    ):
        write_page(tmp_path / "page.html", "new")
    assert (tmp_path / "page.html").read_text() == "old"


def test_the_files_of_the_page_are_small_and_all_used():
    assert {path.stem for path in PAGE.glob("*.js")} == set(SCRIPTS)
    assert {path.name for path in PAGE.iterdir()} == {"page.html", "page.css", *(f"{name}.js" for name in SCRIPTS)}
    for path in PAGE.iterdir():
        text = path.read_text()
        assert len(text.splitlines()) <= 300, path
        assert not re.search(r"\b(?:innerHTML|outerHTML =|document\.write|eval|Function)\b", text), path
