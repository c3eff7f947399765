"""Fixtures that several test files share."""

import gc
import os
import signal
import zlib
from pathlib import Path

import keras
import pytest
from safetensors.numpy import load_file

import zoo
from blocks.kernels import sources
from helpers.chromium import open_browser
from helpers.networks import NAME, SHAPE
from zoo.datasets.config import DatasetConfig

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # So it is in a job that a shell has put in the background; the programs that tests interrupt would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Programs that tests start with a home folder of their own find the kernels that have been compiled.
os.environ.setdefault("XDG_CACHE_HOME", str(Path.home() / ".cache"))
# What a test sees does not depend on whether kernels have been compiled meanwhile; nor do the programs that it starts.
os.environ.setdefault("BLOCKS_KERNELS", "wait")

# Files that take long, the longest first: they train, build large networks or start many programs. They go first, so
# that no process ends with one while others have nothing left to do.
LONG = (
    "test_train",
    "test_variants",
    "test_exports",
    "test_folding_networks",
    "test_goldens",
    "test_apart",
    "test_commands_profile",
    "test_commands_shell",
    "test_doctor",
    "test_panels",
    "test_evaluation",
    "test_tracking",
    "test_zoo",
    "test_kernel_build",
    "test_saved_files",
    "test_backends",
    "test_sweeps",
    "test_stops",
    "test_publish_training",
    "test_registration",
    "test_benchmarks",
)


def pytest_collection_modifyitems(items):
    rank = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONG)))  # stable: the others keep their order


def pytest_collection_finish():
    """Garbage collections pass over what is imported by now, hundreds of thousands of objects that stay."""
    gc.collect()
    gc.freeze()


def seed(name: str) -> None:
    """Weights and other random values are the same in each run, and different for each test and fixture: two networks
    of the same seed would be equal before anything is loaded into them."""
    keras.utils.set_random_seed(zlib.crc32(name.encode()))


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef, request):
    seed(f"{fixturedef.argname} of {request.node.nodeid}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    seed(item.nodeid)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> str:
    """Where data sets are prepared, once for all tests."""
    return str(tmp_path_factory.mktemp("tfds"))


@pytest.fixture
def digits(data_dir) -> DatasetConfig:
    return DatasetConfig(data_dir=data_dir, mean=[0.3], std=[0.4], crop_padding=1)


@pytest.fixture(scope="module")
def model():
    """The small network of helpers/networks.py, for 4 classes."""
    return zoo.create(NAME, 4, SHAPE)


@pytest.fixture(scope="module")
def state(model, tmp_path_factory) -> dict:
    """Its weights as PyTorch's tensors, under PyTorch's names."""
    torch = pytest.importorskip("torch", reason="files of PyTorch are read by PyTorch, which is not installed")
    path = tmp_path_factory.mktemp("state") / "weights.safetensors"
    zoo.save_torch(model, path)
    return {name: torch.from_numpy(value) for name, value in load_file(path).items()}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    yield from open_browser(tmp_path_factory.mktemp("chromium"))


@pytest.fixture
def kernel_sources(tmp_path, monkeypatch) -> Path:
    """Where the sources of the kernels are taken from, instead of this project's; and a cache of its own."""
    folder = tmp_path / "kernels"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "FOLDER", folder)
    return folder


@pytest.fixture
def forget_networks():
    """Keras forgets the networks that a test has built."""
    yield
    import keras

    keras.backend.clear_session()
