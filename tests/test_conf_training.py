"""Every file under conf/ is composed and trained for one step: the list is read from the folder, new files included."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from helpers.drawn_datasets import prepare_drawn
from helpers.paths import CONF
from helpers.training import TINY, compose_config
from train import train

ALONE = ("config", "dataset_base")  # what each composition has, and what each data set starts from
# Of sweeps, see test_launchers.py; what needs processes of its own, see test_lost_workers.py and test_replicas.py.
ELSEWHERE = {
    *(CONF / "hydra").rglob("*.yaml"),
    *(CONF / "distribution" / f"{name}.yaml" for name in ("mirrored", "multi_worker")),
}
FILES = [path for path in sorted(CONF.rglob("*.yaml")) if path.stem not in ALONE and path not in ELSEWHERE]
CHEAP = {("recipe", "sgd")}
STEP = ["limit_steps=1", "recipe.epochs=1", "recipe.warmup_epochs=0", "recipe.batch_size=4"]
# Images of a size that every network takes.
DRAWN = ["dataset=synthetic", "dataset.num_classes=10", "dataset.image_size=64", "dataset.synthetic_train_size=8"]
DRAWN += ["dataset.synthetic_validation_size=4"]
REQUIRED = {
    ("dataset", "tfds"): ["dataset.builder=mnist"],
    ("model", "named"): ["model.variant=lcnet_035"],
}
# Of files that take images by their number: there are fewer here.
PLACES = {
    ("experiment", "fashion_mnist_families"): [
        "dataset.train_split='train[:50]'",
        "dataset.validation_split='train[50:]'",
    ]
}


def overrides(path):
    """What trains a step with this file, in the smallest network and on few images where it does not say which."""
    group, name = path.parent.name, path.stem
    if group == "sweep":  # W&B's: the first of its runs
        sweep = yaml.safe_load(path.read_text())
        chosen = [f"{key}={each.get('values', [each.get('min')])[0]}" for key, each in sweep["parameters"].items()]
        return [*chosen, *(part for part in sweep["command"] if "=" in part), "tracking=disabled"]
    own = [f"{group}={name}", *REQUIRED.get((group, name), []), *PLACES.get((group, name), [])]
    own += DRAWN if group == "model" else TINY if group != "experiment" else []
    return own + ([] if group == "tracking" else ["tracking=disabled"])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    for split, count in (("train", 4), ("validation", 1)):
        for label in ("cat", "dog"):
            (root / split / label).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw.integers(0, 256, (40, 48, 3), np.uint8)).save(
                    root / split / label / f"{number}.png"
                )
    return root


def marked(path):
    cheap = (path.parent.name, path.stem) in CHEAP
    return pytest.param(path, id=str(path.relative_to(CONF)), marks=() if cheap else pytest.mark.heavy)


@pytest.mark.usefixtures("forget_networks")
@pytest.mark.parametrize("path", [marked(path) for path in FILES])
def test_every_file_is_composed_and_trained_for_a_step(path, data_dir, pictures, tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))  # no key of W&B lies there
    options = [*overrides(path), *STEP]
    dataset = compose_config(*options).dataset
    if dataset.source == "image_folder":
        options.append(f"dataset.data_dir={pictures}")
    if dataset.source == "tfds":
        options.append(f"dataset.data_dir={data_dir}")
        if not dataset.builder.startswith("digits"):  # which, and their halves, come with scikit-learn
            prepare_drawn(dataset.builder, data_dir)
    result = train(compose_config(*options), tmp_path / "run")
    assert (result["status"], result["epochs"]) == ("finished", 1) and result["train_images_per_second"] > 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["val_loss"] > 0
    assert (tmp_path / "run" / "model.keras").exists()
    expected = {"wandb": "offline", "offline": "offline"} if path.parent.name == "tracking" else {}
    assert result["wandb"]["mode"] == expected.get(path.stem, "disabled")


def test_the_files_are_those_of_the_folder():
    groups = {path.parent.name for path in FILES}
    assert groups >= {"model", "dataset", "recipe", "tracking", "experiment", "debug", "sweep"}
    assert {(path.parent.name, path.stem) for path in FILES} >= {*CHEAP, *REQUIRED, *PLACES}
