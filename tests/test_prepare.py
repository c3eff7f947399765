"""Preparation: once, whole or not at all, and a clear answer where it cannot be done."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tensorflow_datasets as tfds
from filelock import FileLock

from helpers.paths import ROOT
from zoo.datasets.availability import DataUnavailableError
from zoo.datasets.config import DatasetConfig
from zoo.datasets.prepare import damage, prepared_builder

PREPARE = """
import logging, sys
logging.basicConfig(level=logging.INFO)
from zoo.datasets.config import DatasetConfig
from zoo.datasets.prepare import prepared_builder
builder = prepared_builder(DatasetConfig(data_dir=sys.argv[1]))
print(sum(1 for _ in builder.as_dataset(split="train")))
"""

KILLED = """
import os, sys
from zoo.datasets.digits import Digits
from zoo.datasets.config import DatasetConfig
from zoo.datasets.prepare import prepared_builder
whole = Digits._generate_examples
def half(self, images, labels, chosen):
    for count, example in enumerate(whole(self, images, labels, chosen)):
        if count == 200:
            os.kill(os.getpid(), 9)
        yield example
Digits._generate_examples = half
prepared_builder(DatasetConfig(data_dir=sys.argv[1]))
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A data_dir with the digits in it."""
    root = tmp_path_factory.mktemp("whole")
    prepared_builder(DatasetConfig(data_dir=str(root)))
    return root


def shard(root: Path, split: str = "train") -> Path:
    return root / "digits" / "1.0.0" / f"digits-{split}.tfrecord-00000-of-00001"


@pytest.mark.heavy
def test_two_processes_prepare_once_and_say_that_they_wait(tmp_path):
    with FileLock(tmp_path / ".digits.lock"):  # holds both back until both want to prepare
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", PREPARE, str(tmp_path)],
                cwd=ROOT,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for _ in range(2)
        ]
        for process in processes:
            lines = iter(process.stderr.readline, "")
            assert any(line.startswith("Waiting for another process that prepares digits") for line in lines)
        assert not (tmp_path / "digits").exists()
    results = [process.communicate(timeout=100) for process in processes]
    assert [output for output, _ in results] == ["1437\n", "1437\n"], results
    assert sum(error.count("Preparing digits/1.0.0") for _, error in results) == 1


@pytest.mark.heavy
def test_a_killed_preparation_leaves_nothing_that_is_read(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    left = list((tmp_path / "digits").glob("incomplete.*"))
    assert left and not (tmp_path / "digits" / "1.0.0").exists()
    builder = prepared_builder(DatasetConfig(data_dir=str(tmp_path)))
    assert builder.info.splits["train"].num_examples == 1437
    assert [path.name for path in (tmp_path / "digits").iterdir()] == ["1.0.0"]


def remove_shard(root: Path) -> None:
    shard(root).unlink()


def truncate_shard(root: Path) -> None:
    shard(root, "validation").write_bytes(shard(root, "validation").read_bytes()[:-100])


def flip_a_byte(root: Path) -> None:
    data = bytearray(shard(root).read_bytes())
    data[len(data) // 2] ^= 255
    shard(root).write_bytes(data)


def remove_info(root: Path) -> None:
    (root / "digits" / "1.0.0" / "dataset_info.json").unlink()


def empty_folder(root: Path) -> None:
    shutil.rmtree(root / "digits" / "1.0.0")
    (root / "digits" / "1.0.0").mkdir()


@pytest.mark.parametrize("harm", [
    remove_shard,
    flip_a_byte,
    *(pytest.param(harm, marks=pytest.mark.heavy) for harm in (truncate_shard, remove_info, empty_folder)),
])  # fmt: skip
def test_half_written_data_is_prepared_again(whole, tmp_path, harm, caplog):
    root = tmp_path / "data"
    shutil.copytree(whole, root)
    config = DatasetConfig(data_dir=str(root))
    assert damage(tfds.builder("digits", data_dir=root)) is None
    harm(root)
    assert damage(tfds.builder("digits", data_dir=root)) is not None
    builder = prepared_builder(config)
    assert damage(builder) is None
    assert sum(1 for _ in builder.as_dataset(split="train")) == 1437
    assert sum(1 for _ in builder.as_dataset(split="validation")) == 360
    assert "prepared again" in caplog.text


def test_unreadable_info_names_the_folder_to_delete(whole, tmp_path):
    shutil.copytree(whole / "digits", tmp_path / "digits")
    (tmp_path / "digits" / "1.0.0" / "dataset_info.json").write_text('{"half')
    with pytest.raises(ValueError, match="If its files are damaged, delete .*digits"):
        prepared_builder(DatasetConfig(data_dir=str(tmp_path)))


def test_what_is_whole_is_left_alone(whole, caplog):
    before = shard(whole).stat().st_mtime_ns
    prepared_builder(DatasetConfig(data_dir=str(whole)))
    assert shard(whole).stat().st_mtime_ns == before
    assert "prepared again" not in caplog.text


def unreachable(monkeypatch) -> None:
    """No name can be looked up, as with the network down, wherever the tests run."""

    def refuse(*arguments, **options):
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_what_cannot_be_downloaded_is_named_with_its_address_and_what_to_do(tmp_path, monkeypatch):
    unreachable(monkeypatch)
    started = time.monotonic()
    with pytest.raises(DataUnavailableError) as caught:
        prepared_builder(DatasetConfig(builder="mnist", data_dir=str(tmp_path)))
    assert time.monotonic() - started < 10
    message = str(caught.value)
    assert "mnist/3.0.1 is not prepared" in message
    assert "https://storage.googleapis.com/cvdf-datasets/mnist/train-images-idx3-ubyte.gz" in message
    assert "storage.googleapis.com:443 cannot be reached (Name or service not known)" in message
    assert str(tmp_path / "mnist" / "3.0.1") in message and str(tmp_path / "downloads" / "manual") in message
    assert [path.name for path in tmp_path.iterdir()] == [".mnist.lock"]


def test_broken_data_that_cannot_be_had_again_is_refused_but_kept(tmp_path, monkeypatch):
    unreachable(monkeypatch)
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "mnist-train.tfrecord-00000-of-00001").write_bytes(b"half")
    with pytest.raises(DataUnavailableError, match="mnist/3.0.1 is broken .*no dataset_info.json"):
        prepared_builder(DatasetConfig(builder="mnist", data_dir=str(tmp_path)))
    assert (folder / "mnist-train.tfrecord-00000-of-00001").read_bytes() == b"half"


def test_wrong_files_put_there_by_hand_are_refused(tmp_path, monkeypatch):
    unreachable(monkeypatch)
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    for url in tfds.builder("mnist", data_dir=tmp_path).url_infos:
        (manual / url.rpartition("/")[2]).write_bytes(b"not the file")
    with pytest.raises(DataUnavailableError, match="mnist/3.0.1 .*wrong checksum"):
        prepared_builder(DatasetConfig(builder="mnist", data_dir=str(tmp_path)))
    assert not (tmp_path / "mnist").exists()


def test_imagenet_says_which_archives_go_where(tmp_path):
    with pytest.raises(
        DataUnavailableError, match="ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar. You need to register"
    ) as caught:
        prepared_builder(DatasetConfig(builder="imagenet2012", data_dir=str(tmp_path)))
    assert str(tmp_path / "downloads" / "manual") in str(caught.value)


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        ("fashon_mnist", "knows no data set 'fashon_mnist'; the closest names are fashion_mnist"),
        ("imagenette/nope", "cannot be opened: .*nope.*Its configs: full-size-v2, 320px-v2"),
        ("mnist:9.9.9", "cannot be loaded at version 9.9.9, only: 3.0.1"),
    ],
)
def test_unknown_names(tmp_path, builder, message):
    with pytest.raises(ValueError, match=message):
        prepared_builder(DatasetConfig(builder=builder, data_dir=str(tmp_path)))
    assert not list(tmp_path.iterdir())


def test_digits_are_an_ordinary_tfds_data_set(whole):
    builder = tfds.builder("digits", data_dir=whole)
    assert builder.info.supervised_keys == ("image", "label")
    assert "scikit-learn" in builder.info.description and builder.info.citation and builder.info.homepage
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "train": 1437,
        "validation": 360,
    }
