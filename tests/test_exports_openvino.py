"""OpenVINO: what its folder holds, where it is told from others, and that nothing is sent."""

import pytest

import zoo
from helpers.arrays import draw
from helpers.checks import check_close, refusal
from helpers.networks import IMAGES, NAME, SHAPE
from helpers.processes import run_code
from helpers.randomized import randomized
from zoo.data_config import DataConfig
from zoo.exporting import metadata
from zoo.exporting.openvino_package import openvino

NAMES = ("a <b> & 'c'", 'd "e"', "\u00e9\u4e2d")


@pytest.fixture(scope="module")
def model():
    return randomized(zoo.create(NAME, 3, SHAPE))


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("openvino") / "net"
    config = DataConfig(SHAPE[:2], (0.5,), (0.5,), class_names=NAMES, license="mit")
    zoo.export(model, path, "openvino", config=config, images=IMAGES)
    return path


def test_the_folder_is_of_float32_and_told_from_others(folder, model):
    assert sorted(file.name for file in folder.iterdir()) == ["openvino_model.bin", "openvino_model.xml"]
    assert (folder / "openvino_model.bin").stat().st_size > 4 * zoo.profile(zoo.fuse(model)).parameters
    texts = metadata(folder)
    assert texts["license"] == "mit" and tuple(texts["class_names"].split("\n")) == NAMES
    assert DataConfig.from_json(texts["zoo"]).class_names == NAMES


def test_any_batch_runs(folder, model):
    compiled = (
        openvino().Core().compile_model(folder / "openvino_model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    )
    for count in (1, 3):
        images = draw(count, *SHAPE)
        check_close(compiled({"images": images})["logits"], model(images))


def test_the_package_is_missing(model, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "openvino" else True)
    sentence = refusal(lambda: zoo.export(model, tmp_path / "net", "openvino"), ImportError)
    assert sentence == (
        "format='openvino' needs openvino, which is not installed: pip install 'grouped-convolution-zoo[openvino]'."
    )


def test_nothing_is_sent_nor_left_in_the_home_folder(folder, tmp_path):
    """Imported plainly the package notes an identifier there, and sends it."""
    code = (
        "from zoo.exporting.openvino import read; import pathlib, sys;"
        f"read(pathlib.Path({str(folder)!r})); print('openvino_telemetry' in sys.modules)"
    )
    assert run_code(code, HOME=str(tmp_path)).split() == ["False"] and not list(tmp_path.iterdir())
