"""Which data a run has read: the same for a copy in another place, another for other images; and what a run records."""

import json
import os
from pathlib import Path

import pytest

from helpers.processes import git, run_code
from zoo import environment, hardware
from zoo.datasets.config import DatasetConfig
from zoo.datasets.identity import data_identity


def images(root, split="train", sizes=((10, 20), (30, 40))):
    for number, several in enumerate(sizes):
        folder = root / split / f"class{number}"
        folder.mkdir(parents=True, exist_ok=True)
        for index, size in enumerate(several):
            (folder / f"{index}.jpg").write_bytes(b"x" * size)
    return root


def identity(root):
    return data_identity(DatasetConfig(source="image_folder", data_dir=str(root), builder=None))


@pytest.fixture
def folder(tmp_path):
    root = images(tmp_path / "data")
    images(root, "validation", ((5,), (6,)))
    return root


def test_a_copy_is_the_same_data(folder, tmp_path):
    known = identity(folder)
    assert (known["files"], known["bytes"]) == (6, 111) and len(known["digest"]) == 64
    copy = images(tmp_path / "copy")
    images(copy, "val", ((5,), (6,)))  # another name that is understood
    assert identity(copy) == known
    os.utime(folder / "train" / "class0" / "0.jpg", (0, 0))
    assert identity(folder) == known


def rename(root):
    for split in ("train", "validation"):
        (root / split / "class0").rename(root / split / "another")


def move(root):
    (root / "train" / "class0" / "0.jpg").rename(root / "train" / "class1" / "9.jpg")


CHANGES = {
    "a file more": lambda root: (root / "train" / "class0" / "2.jpg").write_bytes(b"x"),
    "a file less": lambda root: (root / "validation" / "class0" / "0.jpg").unlink(),
    "another size": lambda root: (root / "train" / "class0" / "0.jpg").write_bytes(b"x" * 11),
    "another class": rename,
    "another label": move,
    "deeper": lambda root: images(root / "train" / "class0", "more"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_images_are_other_data(folder, change):
    known = identity(folder)
    CHANGES[change](folder)
    assert identity(folder)["digest"] != known["digest"]


def test_what_is_not_read_does_not_count(folder):
    known = identity(folder)
    ignored = ("train/class0/.DS_Store", "train/class0/notes.txt", "train/__MACOSX/a.jpg", "outputs/1/result.json")
    for path in (".ipynb_checkpoints/a.jpg", *ignored):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("x")
    images(folder, "test")  # a split that the run does not use
    assert identity(folder) == known


def test_links_are_followed_but_not_in_circles(folder, tmp_path):
    known = identity(folder)
    linked = tmp_path / "linked"
    linked.mkdir()
    for split in ("train", "validation"):
        (linked / split).symlink_to(folder / split)
    assert identity(linked) == known
    (folder / "train" / "class0" / "up").symlink_to(folder / "train")
    (folder / "train" / "class0" / "itself").symlink_to(folder / "train" / "class0")
    assert identity(folder) == known
    (folder / "train" / "class0" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    assert identity(folder)["files"] == known["files"] + 1


def test_names_of_any_bytes_count(folder):
    known = identity(folder)
    Path(os.fsdecode(os.fsencode(folder) + b"/train/class0/\xff.jpg")).write_bytes(b"x")
    assert identity(folder)["files"] == known["files"] + 1


def test_synthetic_data_are_told_by_the_configuration():
    config = DatasetConfig(source="synthetic", num_classes=3, data_dir="/nowhere")
    assert data_identity(config) == {"source": "synthetic"}


def test_a_data_set_of_tfds_is_its_builder_and_version(digits, tmp_path):
    from zoo.datasets.pipeline import load

    load(digits, 64, 0)
    here = data_identity(digits)
    assert here == {"builder": "digits/1.0.0", "examples": {"train": 1437, "validation": 360}}
    copy = DatasetConfig(data_dir=str(tmp_path / "copy"))
    load(copy, 64, 0)
    assert data_identity(copy) == here


def test_the_processor_is_that_of_the_system():
    described = hardware.described()
    assert described["processor"] and described["threads"] == len(os.sched_getaffinity(0))
    assert described["backend"] == "tensorflow" and described["accelerators"] == []
    flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")
    assert [name for name in ("avx2", "fma", "avx512f") if name in described["instructions"]] == [
        name for name in ("avx2", "fma", "avx512f") if name in flags.split()
    ]


@pytest.mark.heavy
def test_kernels_that_are_off_and_threads_that_are_set_are_told():
    code = "import json; from zoo import hardware as h; print(json.dumps(h.described() | {'k': h.kernels()}))"
    output = run_code(code, BLOCKS_KERNELS="off", TF_NUM_INTRAOP_THREADS="1")
    facts = json.loads(output.splitlines()[-1])
    assert facts["k"] is False and facts["threads"] == 1


def test_changes_of_the_work_tree_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment.source(tmp_path) == {"commit": None, "dirty": None, "changes": None}
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "a")
    clean = environment.source(tmp_path)
    assert clean["commit"] and clean["dirty"] is False and clean["changes"] is None
    hashes = []
    for content in (b"2", b"3", b"\xff\xfe"):  # in any encoding
        (tmp_path / "a").write_bytes(content)
        now = environment.source(tmp_path)
        assert now["dirty"] is True and now["commit"] == clean["commit"]
        hashes.append(now["changes"])
    assert len(set(hashes)) == 3
