"""`weights=` in a configuration: what it decides, what the user decides, and what is refused before TensorFlow."""

import json
import re
import zipfile

import keras
import pytest

import zoo
from helpers.checks import refusal
from helpers.networks import NAME
from helpers.processes import run_code
from helpers.training import compose_config
from zoo.data_config import DataConfig
from zoo.training.pretrained import inspect, settled
from zoo.training.settings import check, dataset_config

TAG = "timm/mobilenetv3_small_100.lamb_in1k"
NAMED = "model=named", f"weights={TAG}"
PHOTOS = "dataset=image_folder", "dataset.data_dir=photos"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The directory of a run on grey images of 12 pixels, as training leaves it."""
    folder = tmp_path_factory.mktemp("run")
    model = zoo.create(NAME, 3, (12, 12, 1), small_stem=True)
    keras.Model(model.inputs, model.outputs, name=model.name).save(folder / "model.keras")
    config = DataConfig((12, 12), (0.25,), (0.5,), 1, "area", 0.75, class_names=("a", "b", "c"), source="a run")
    config.add_to_keras(folder / "model.keras")
    return folder


def dataset(*overrides):
    return check(compose_config(*overrides)).dataset


def prepared(config):
    return (config.image_size, config.channels, config.resize_method, config.crop_fraction, config.crop_mode)


@pytest.mark.parametrize(
    "data", [PHOTOS, ("dataset=digits",), ("dataset=cifar10",), ("dataset=imagenet2012",)], ids=str
)
def test_images_are_prepared_as_the_tag_says(data):
    published = zoo.weights.published.resolve(TAG).data_config()
    config = dataset(*NAMED, *data)
    assert prepared(config) == (224, 3, "bicubic", 0.875, "center")
    assert tuple(config.mean) == published.mean and tuple(config.std) == published.std


def test_images_are_prepared_as_by_the_run(run):
    config = dataset("model=named", f"weights={run}", "dataset=fashion_mnist")
    assert prepared(config) == (12, 1, "area", 0.75, "center") and (config.mean, config.std) == ([0.25], [0.5])
    assert dataset("model=named", f"weights={run}/model.keras") == dataset("model=named", f"weights={run}")


def test_the_crop_of_a_tag_that_squashes():
    tag = next(tag for tag in zoo.weights.published.tags() if zoo.weights.published.resolve(tag).crop_mode == "squash")
    config = dataset("model=named", f"weights={tag}", *PHOTOS)
    assert (config.crop_mode, config.crop_fraction) == ("squash", 1.0)


@pytest.mark.parametrize(
    "override, expected",
    [
        ("dataset.image_size=96", {"image_size": 96, "channels": 3}),
        ("dataset.mean=[0.5]", {"mean": [0.5], "std": [0.229, 0.224, 0.225]}),
        ("dataset.resize_method=area", {"resize_method": "area", "image_size": 224}),
        ("dataset.channels=1", {"channels": 1, "mean": [0.449], "std": [0.226]}),
        ("experiment=fashion_mnist_families", {"image_size": 40, "channels": 3}),
    ],
)
def test_what_is_set_holds(override, expected):
    config = dataset(*NAMED, override)
    assert {key: getattr(config, key) for key in expected} == expected


def test_without_weights_the_data_sets_have_their_own():
    assert prepared(dataset("dataset=fashion_mnist"))[:2] == (28, 1)
    assert prepared(dataset(*PHOTOS)) == (224, 3, "bilinear", 0.875, "center")
    assert dataset("dataset=mnist").mean == [0.1307]


def test_the_network_is_that_of_the_weights(run):
    assert check(compose_config(*NAMED)).model.name == "mobilenetv3_small_100"
    assert check(compose_config("model=named", f"weights={run}")).model.name == NAME
    grouped = check(compose_config("model=named", "model.variant=mobilenetv1_025_g4"))
    assert grouped.groups == 4


def test_settings_that_the_weights_were_trained_with_are_taken():
    tag = next(
        tag for tag in zoo.weights.published.tags() if zoo.weights.published.resolve(tag).settings.get("epsilon")
    )
    expected = zoo.weights.published.resolve(tag).settings["epsilon"]
    assert check(compose_config("model=named", f"weights={tag}")).model.epsilon == expected


def test_the_stem_is_that_of_the_weights(run):
    settings = check(compose_config(*NAMED, "dataset.image_size=32"))
    assert (settings.small_stem, settings.small_stem_chosen) == (None, True)
    assert check(compose_config(*NAMED, "small_stem=true")).small_stem is True
    for small_stem, weights in ((True, run), (False, None)):
        network = zoo.create(NAME, 3, (12, 12, 1), weights=weights)
        assert network.small_stem is small_stem


def test_a_settled_configuration_needs_the_weights_no_more(run, tmp_path):
    copy = tmp_path / "moved"
    run.rename(copy)
    cfg = settled(compose_config("model=named", f"weights={copy}"))
    copy.rename(run)
    assert "oc.select" not in json.dumps(cfg.dataset.image_size)
    assert dataset_config(cfg).image_size == 12
    assert "There is no file" in refusal(lambda: check(cfg))


REFUSED = [
    (["model=named", f"weights={TAG}k"], "There are no published weights '.*k': did you mean timm/mobilenetv3_small_1"),
    ([f"weights={TAG}"], "weights='timm/.*' are of mobilenetv3_small_100, and the configuration is of resnext50_32x4d: "
     "use model=named model.variant=mobilenetv3_small_100, or"),
    ([*NAMED, "model.variant=lcnet_050"], ".*mobilenetv3_small_100, and the configuration is of lcnet_050"),
    (["model=named", "weights=lcnet_050"], "'lcnet_050' is a network; its published weights are timm/lcnet_050"),
    (["model=named", "weights=gone.keras"], "There is no file 'gone.keras'."),
    (["model=named", "weights=gone.pth"], "There is no file 'gone.pth'."),
    (["model=named", "weights=a/b/c"], "There is no file or folder 'a/b/c'."),
    (["model=named", "weights={folder}"], "There is no file '.*': it is a folder, and has no model.keras."),
    (["model=named", "weights={folder}/cut.keras"], ".*cut.keras cannot be read as a file of weights"),
    (["model=named", "weights={folder}/text.safetensors"], ".*text.safetensors cannot be read as a file of weights"),
    (["model=named", "weights={folder}/wide.keras"], "weights='.*' are of a network for images of 8 x 9 pixels"),
    (["weights=true"], "weights=True is not allowed: give a published tag, a file, the directory of a run, or null."),
    (["weights="], "weights='' is not allowed"),
    (["weights=[a]"], r"weights=\['a'\] is not allowed"),
    (["freeze=true"], r"freeze=true is not allowed: use backbone \(all but the classifier\), the name of a stage"),
    (["freeze=[1]"], r"freeze=\[1\] is not allowed"),
    (["freeze=1.5"], "freeze=1.5 is not allowed"),
    (["+as_trained=3"], "as_trained is what weights= say, and no setting"),
    (["recipe.layer_decay=1.5"], "recipe.layer_decay=1.5 is not allowed: it is a factor above 0 and at most 1"),
    (["recipe.layer_decay=0"], "recipe.layer_decay=0 is not allowed: .*; try 0.5."),
    (["recipe.layer_decay=nan"], "recipe.layer_decay=nan is not allowed"),
    (["recipe.head_learning_rate=-1"], "recipe.head_learning_rate=-1 is not allowed: it must be a finite number"),
    (["recipe.freeze_statistics=some"], "recipe.freeze_statistics='some' is not allowed: it must be true or false."),
    (["dataset.crop_mode=centre"], "dataset.crop_mode='centre' is none of center, squash, border; did you mean"),
]  # fmt: skip


@pytest.mark.parametrize("overrides, sentence", REFUSED, ids=[str(overrides) for overrides, _ in REFUSED])
def test_what_cannot_be_is_refused(overrides, sentence, tmp_path, run):
    (tmp_path / "cut.keras").write_bytes((run / "model.keras").read_bytes()[:999])
    (tmp_path / "text.safetensors").write_text("no weights")
    (tmp_path / "wide.keras").write_bytes((run / "model.keras").read_bytes())
    with zipfile.ZipFile(run / "model.keras") as whole, zipfile.ZipFile(tmp_path / "wide.keras", "w") as wide:
        for name in whole.namelist():
            if name != "data_config.json":
                wide.writestr(name, whole.read(name))
    DataConfig((8, 9), (0.5,), (0.5,)).add_to_keras(tmp_path / "wide.keras")
    overrides = [each.replace("{folder}", str(tmp_path)) for each in overrides]
    assert re.match(sentence, refusal(lambda: check(compose_config(*overrides))))


def test_it_is_known_before_tensorflow_is_imported(run):
    code = f"""
import sys
from zoo.training.pretrained import inspect
print(inspect({TAG!r}).model, inspect({str(run)!r}).model)
print(sorted({{"tensorflow", "keras", "torch"}} & sys.modules.keys()))
"""
    assert run_code(code).strip() == f"mobilenetv3_small_100 {NAME}\n[]"


def test_files_that_say_little(tmp_path):
    zoo.save_torch(zoo.create(NAME, 3, (12, 12, 3)), tmp_path / "net.safetensors")
    pretrained = inspect(str(tmp_path / "net.safetensors"))
    assert (pretrained.model, pretrained.data_config) == (NAME, None)
    assert dataset("model=named", f"weights={tmp_path}/net.safetensors").image_size == 8
