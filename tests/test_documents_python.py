"""The Python blocks of README.md and docs/ run, each page from top to bottom in one namespace."""

import contextlib
import io
import os
import tempfile

import keras
import numpy as np
import pytest
from PIL import Image

import zoo
from helpers import hub
from helpers.documents import PAGES, Block, blocks_of
from helpers.paths import ROOT


def pages_with(*markers: str | None) -> list:
    return [page for page in PAGES if any(block.marker in markers for block in python_of(page))]


def python_of(page) -> list[Block]:
    return [block for block in blocks_of(page) if block.language == "python" and block.marker != "not run"]


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """The folder that blocks run in, with the picture that they name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pixels = np.random.default_rng(0).integers(0, 256, (80, 100, 3), np.uint8)
    Image.fromarray(pixels).save("photo.jpg")
    return tmp_path


def run(blocks: list[Block]) -> None:
    """Run them in one namespace; an error names page and line."""
    namespace: dict = {"__name__": "__main__"}
    printed = io.StringIO()
    for block in blocks:
        code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec")
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)


@pytest.mark.parametrize("page", pages_with(None), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_of_a_page_runs_from_top_to_bottom(page, workspace):
    run([block for block in python_of(page) if block.marker is None])


@pytest.mark.heavy
@pytest.mark.parametrize("page", pages_with("heavy"), ids=lambda page: str(page.relative_to(ROOT)))
def test_what_needs_published_weights_runs_too(page, workspace, monkeypatch):
    """Against a hub on this machine; the files and the run that the page names are written before."""
    with hub.published("timm/resnext50_32x4d.a1h_in1k", workspace, monkeypatch):
        zoo.save_torch(zoo.create("mobilenetv3_small_100"), "mobilenetv3.safetensors")
        zoo.save_torch(zoo.create("resnext50_32x4d", 1000), "resnext.safetensors")
        os.makedirs("outputs/2026-11-23/07-00-00")
        zoo.create("lcnet_035", 10, (32, 32, 3)).save("outputs/2026-11-23/07-00-00/model.keras")
        run(python_of(page))


def test_an_error_names_page_and_line(workspace):
    page = ROOT / "README.md"
    with pytest.raises(ZeroDivisionError) as error:
        run([Block(page, 40, "python", None, "x = 1\nx / 0\n")])
    (*_, last) = error.traceback
    assert (str(last.path), last.lineno + 1) == (str(page), 41)


def test_keras_is_left_as_it_was():
    """Blocks run in the process of other tests: none may set Keras's precision or data format."""
    assert keras.config.floatx() == "float32" and keras.config.image_data_format() == "channels_last"
