"""Tables, charts and images as the real W&B client keeps and uploads them."""

import base64
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from helpers.wandb_client import KEY, environment, history, inspect
from helpers.wandb_server import Server
from zoo import metrics
from zoo.comparison.wandb import panels as readers

# A run for each number of classes; W&B reads the environment once a process. argv: mode, directory, seconds to wait for
# the end of an upload, numbers of classes.
SCRIPT = """
import sys
from collections import Counter
from pathlib import Path
import numpy as np
import zoo
from zoo.complexity import profile_layers
from zoo.tracking.evaluation import Evaluation, Mistake
from zoo.tracking.panels import evaluation_panels, layer_panels
from zoo.tracking.run import open_run
from zoo.tracking.config import TrackingConfig

mode, root = sys.argv[1], Path(sys.argv[2])
config = TrackingConfig(mode=mode, finish_timeout_seconds=float(sys.argv[3]))
layers = profile_layers(zoo.create("shufflenet_g3_wd4", 10, (32, 32, 3)))
for count in map(int, sys.argv[4:]):
    names = ["<script>alert(1)</script>", "a,\\"b\\"\\n\\u2028", "broken \\udcff", "../../etc"]
    names = tuple(names + [f"class {index}" for index in range(4, count)])[:count]
    confusion = Counter({(0, 0): 5, (0, 1): 2, (1, 0): 1, (count - 1, count - 1): 4})
    grey, colour = np.arange(48, dtype=np.uint8).reshape(6, 8), np.arange(72, dtype=np.uint8).reshape(4, 6, 3) * 3
    mistakes = (
        Mistake(7, grey, 1, 0, 0.0, float("nan"), float("inf")),
        Mistake(2, colour, 0, 1, 0.125, 0.75, 2.0794),
    )
    evaluation = Evaluation("validation", names, confusion, mistakes)
    options = dict(name=f"r{count}", group="g", resolved={}, directory=root / str(count), say=print)
    with open_run(config, **options) as tracker:
        tracker.show(lambda: layer_panels(layers), step=0)
        tracker.log({"epoch": 1, "val/top1": 0.5}, step=1)
        tracker.show(lambda: {"broken": 1 / 0}, step=2)
        tracker.show(lambda: evaluation_panels(evaluation), step=3)
        tracker.summarise({"val_top1": 0.5})
"""


def run_script(tmp_path, mode, *arguments, **variables):
    """The lines that the runs print."""
    command = [sys.executable, "-c", SCRIPT, mode, str(tmp_path), *map(str, arguments)]
    env = environment(tmp_path / "home", **variables)
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=120)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """Two runs, of 4 and of 150 classes: their directory, and what they print."""
    root = tmp_path_factory.mktemp("offline")
    return root, run_script(root, "offline", 60, 4, 150)


def tables_of(root, count):
    """The tables of a run that was kept offline, by key, and its last summary."""
    (directory,) = (root / str(count)).glob("wandb/offline-run-*")
    records = inspect(directory)
    summary = {}
    for record in records:
        summary |= record.get("summary", {}).get("update", {})
    tables = {}
    for key, value in summary.items():
        if key.endswith(".path") and summary.get(f"{key.removesuffix('path')}_type") == "table-file":
            tables[key.removesuffix(".path")] = json.loads((directory / "files" / value).read_text())
    return directory, tables, summary, records


def test_a_chart_of_few_classes(offline):
    _, tables, summary, records = tables_of(offline[0], 4)
    names = ["<script>alert(1)</script>", 'a,"b"\n\u2028', "broken ?", "../../etc"]
    matrix = tables[readers.CONFUSION_TABLE]
    assert tuple(matrix["columns"]) == readers.CONFUSION_COLUMNS
    cells = {(names.index(true), names.index(guess)): images for true, guess, images in matrix["data"]}
    assert len(matrix["data"]) == 16 and +Counter(cells) == {(0, 0): 5, (0, 1): 2, (1, 0): 1, (3, 3): 4}
    classes = tables[readers.PER_CLASS_TABLE]
    assert classes["columns"][:2] == [readers.PER_CLASS_LABEL, readers.PER_CLASS_VALUE]
    assert classes["data"] == [
        [names[0], 5 / 7, 5, 7],
        [names[1], 0, 0, 1],
        [names[2], None, 0, 0],
        [names[3], 1, 4, 4],
    ]
    charts = {}
    for record in records:
        charts |= record.get("config", {}).get("update", {})
    for key, chart in ((metrics.CONFUSION, readers.CONFUSION_CHART), (metrics.PER_CLASS, readers.PER_CLASS_CHART)):
        assert charts[f"_wandb.visualize.{key}"]["panel_config"]["panelDefId"] == chart
    assert summary["val_top1"] == 0.5


def test_many_classes_are_tables_under_the_same_keys(offline):
    _, tables, _, records = tables_of(offline[0], 150)
    matrix = tables[readers.CONFUSION_TABLE]
    assert tuple(matrix["columns"]) == readers.CONFUSION_COLUMNS
    first, second, *_ = matrix["data"]
    assert first == ["<script>alert(1)</script>", "<script>alert(1)</script>", 5] and second[2] == 4
    assert len(matrix["data"]) == 4 and len(tables[readers.PER_CLASS_TABLE]["data"]) == 150
    assert not [record for record in records if "_wandb.visualize" in json.dumps(record)]


def png(data):
    """Pixels of a PNG file."""
    import tensorflow as tf

    return tf.io.decode_png(data).numpy()


def manifest(records, key):
    """path -> (file on disk, MD5 in hexadecimal) of the artifact that holds the table `key`."""
    (artifact,) = [record["artifact"] for record in records
                if key.replace("/", "") in record.get("artifact", {}).get("name", "")]  # fmt: skip
    return {
        each["path"]: (each["local_path"], base64.b64decode(each["digest"]).hex())
        for each in artifact["manifest"]["contents"]
    }


def test_the_worst_mistakes_have_their_images_in_the_run_directory(offline):
    directory, tables, _, records = tables_of(offline[0], 4)
    table = tables[metrics.MISTAKES]
    assert table["columns"][:4] == ["image", "true", "predicted", "probability of predicted"]
    assert [row[1:] for row in table["data"]] == [
        ['a,"b"\n\u2028', "<script>alert(1)</script>", None, 0, None, 7],
        ["<script>alert(1)</script>", 'a,"b"\n\u2028', 0.75, 0.125, 2.0794, 2],
    ]
    files = manifest(records, metrics.MISTAKES)
    images = {path: Path(local) for path, (local, _) in files.items() if path.endswith(".png")}
    assert len(images) == 2 and all(each.is_relative_to(directory.parent) for each in images.values())
    (whole,) = [Path(local) for path, (local, _) in files.items() if path.endswith(".table.json")]
    shown = [images[row[0]["path"]].read_bytes() for row in json.loads(whole.read_text())["data"]]
    assert (png(shown[0])[..., 0] == [[8 * y + x for x in range(8)] for y in range(6)]).all()
    colour = png(shown[1])
    assert colour.shape == (4, 6, 3) and (colour.ravel() == [3 * value for value in range(72)]).all()


def test_the_layers_add_up_to_the_profile(offline):
    import zoo

    _, tables, _, _ = tables_of(offline[0], 4)
    table = tables[metrics.LAYERS]
    assert table["columns"] == ["layer", "kind", "output", "groups", "parameters", "macs", "activations"]
    cost = zoo.profile(zoo.create("shufflenet_g3_wd4", 10, (32, 32, 3)))
    sums = [sum(row[column] for row in table["data"]) for column in (4, 5, 6)]
    assert sums == [cost.parameters, cost.macs, cost.activations]
    rows = {row[0]: row for row in table["data"]}
    assert rows["features.init_block.conv"][1:4] == ["GroupedConv2D", "16 x 16 x 6", "1"]
    assert rows["features.stage1.unit2.compress_conv1"][3] == "3"
    assert rows["features.stage1.unit1.compress_bn1"][3] is None


def test_what_cannot_be_shown_costs_a_line_and_nothing_else(offline):
    root, lines = offline
    assert [line for line in lines if "missing" in line] == [
        "W&B: tables and images are missing (division by zero); training goes on."
    ] * 2
    rows = history(tables_of(root, 4)[3])
    assert [row["val/top1"] for row in rows if "val/top1" in row] == [0.5]
    assert not any("broken" in key for row in rows for key in row)
    assert not (root / "home" / ".local").exists()


@pytest.mark.heavy
def test_tables_and_images_are_uploaded(tmp_path):
    server = Server()
    lines = run_script(tmp_path, "online", 60, 4, WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url)
    server.close()
    run = f"W&B: {server.url}/lab/grouped-convolutions/runs/{server.runs[0]['name']}"
    assert lines == [run, "W&B: tables and images are missing (division by zero); training goes on."]
    uploaded = dict(server.uploads)
    summary = json.loads(uploaded["wandb-summary.json"])
    for key in (readers.CONFUSION_TABLE, readers.PER_CLASS_TABLE, metrics.MISTAKES, metrics.LAYERS):
        assert json.loads(uploaded[summary[key]["path"]])["data"]
    whole = json.loads(uploaded[f"artifact/{metrics.MISTAKES}.table.json"])
    shown = [png(uploaded[f"artifact/{row[0]['path']}"]).shape for row in whole["data"]]
    assert shown == [(6, 8, 1), (4, 6, 3)]


class LostServer(Server):
    """It answers until it is asked about a table, which the client then asks again and again."""

    def artifact(self, query, variables):
        if "query ArtifactType" in query:
            self.answer = 500
        return super().artifact(query, variables)


@pytest.mark.heavy  # in test_tracking.py for the whole run
def test_a_server_that_is_lost_costs_the_tables_alone(tmp_path):
    server = LostServer()
    _, *missing, rest = run_script(tmp_path, "online", 2, 4, WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url)
    assert missing == [f"W&B: tables and images are missing ({server.url} does not answer); training goes on."] * 2
    assert "not uploaded whole within 2 s; upload the rest with `wandb sync" in rest
    server.answer, advice = "well", rest.split("`")[1].split()
    variables = environment(tmp_path / "home", WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url)
    sync = [sys.executable, "-m", *advice]
    subprocess.run(sync, check=True, capture_output=True, cwd=tmp_path, env=variables, timeout=60)
    server.close()
    assert [row["val/top1"] for row in server.history if "val/top1" in row] == [0.5]
