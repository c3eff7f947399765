"""Files are replaced whole: neither an error, nor a full disk, nor a kill leaves half of one."""

import resource
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from helpers.processes import process_environment
from zoo.data_config import DataConfig
from zoo.training.files import RecordError, replacing, write_text
from zoo.training.non_finite import DivergedError
from zoo.training.saving import save_model

EXPECTED = DataConfig(size=(8, 8), mean=(0.5,), std=(0.5,), channels=1)


@pytest.fixture
def model():
    """One that has learnt, with 240 kB of weights."""
    model = keras.Sequential([keras.Input((100,)), keras.layers.Dense(600)])
    model.compile("sgd", "mse")
    model.fit(np.ones((2, 100)), np.ones((2, 600)), verbose=0)
    return model


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as part:
        part.write_text("half")
        assert path.read_text() == "old"
        raise KeyboardInterrupt
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
    write_text(path, "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["new"]


def test_a_program_killed_while_it_writes(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = f"""if True:
        import os, signal
        from pathlib import Path
        from zoo.training.files import replacing
        with replacing(Path({str(path)!r})) as part:
            part.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", code], env=process_environment())
    assert killed.returncode == -signal.SIGKILL and path.read_text() == "old"


def test_a_disk_that_is_full_while_the_model_is_saved(tmp_path, model):
    path = tmp_path / "model.keras"
    save_model(model, path, EXPECTED)
    assert DataConfig.from_keras(path) == EXPECTED
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # the kernel then refuses what is longer
    try:
        with pytest.raises(RecordError, match=r"^Cannot write .*model.keras: File too large; .*hydra.run.dir=PATH.$"):
            save_model(model, path, EXPECTED)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before and [each.name for each in tmp_path.iterdir()] == ["model.keras"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_replace_no_model(tmp_path, model, value):
    path = tmp_path / "model.keras"
    save_model(model, path, EXPECTED)
    before = path.read_bytes()
    model.weights[-1].assign(np.full(600, value))
    with pytest.raises(DivergedError, match="NaN or infinite, and model.keras is not written: lower recipe.learning"):
        save_model(model, path, EXPECTED)
    assert path.read_bytes() == before
    keras.models.load_model(path)
