"""What `zoo predict` is given: pictures that cannot be read, folders and patterns, runs, tags, files that are none."""

import dataclasses
import json
import os
import signal
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import keras
import pytest
from PIL import Image

import zoo
from helpers.hub import published
from helpers.prediction import CLASSES, DATASET, check_same, evaluated, expected_config, network, table, write_pictures
from helpers.processes import process_environment
from helpers.run_directories import result, write_run
from helpers.terminal import Terminal
from zoo.__main__ import run
from zoo.data_config import DataConfig
from zoo.weights.published import resolve


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The network in ONNX, which opens at once."""
    path = tmp_path_factory.mktemp("files") / "pets.onnx"
    zoo.export(network(), path, config=expected_config(), verify=False)
    return path


def refused(capsys, *arguments: object) -> str:
    """The one sentence of a command that does nothing."""
    assert run(["predict", *map(str, arguments)]) in (1, 2)
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1, err
    return err.rstrip("\n")


def bomb(side: int) -> bytes:
    """A PNG whose header says side x side pixels, in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_what_cannot_be_read_is_named_and_the_others_go_on(file, pictures, tmp_path, capsys):
    whole = Path(pictures[0]).read_bytes()
    icon = struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 24, len(bomb(20_000)), 22) + bomb(20_000)
    broken = {
        "absent.jpg": (None, "there is no such file"),
        "empty.jpg": (b"", "it is empty"),
        "text.jpg": (b"hello", "it is no picture of a format that Pillow reads"),
        "cut.jpg": (whole[: len(whole) // 2], "it is damaged or cut off"),
        "cut.png": (Path(pictures[7]).read_bytes()[:60], "it is damaged or cut off"),
        "bomb.png": (bomb(20_000), "it has 400,000,000 pixels, and at most 89,478,485 are read (--max-pixels)"),
        "icon.ico": (icon, "it has 400,000,000 pixels, and at most 89,478,485 are read (--max-pixels)"),
        "postscript.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "its format is EPS,"),
    }
    for name, (content, _) in broken.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "pipe.jpg")
    with (tmp_path / "huge.jpg").open("wb") as huge:
        huge.truncate(2**40)  # of which the disk holds nothing
    broken["huge.jpg"] = (None, "it is no picture of a format that Pillow reads")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    broken |= {"pipe.jpg": (None, "it is no regular file"), "loop.jpg": (None, "Too many levels of symbolic links")}
    names = [str(tmp_path / name) for name in broken]
    assert run(["predict", str(file), names[0], pictures[0], *names[1:], pictures[1], "--csv", "--batch", "2"]) == 1
    out, err = capsys.readouterr()
    assert list(table(out)) == pictures[:2]
    lines = err.splitlines()
    for name, (_, reason) in broken.items():
        (line,) = (line for line in lines if line.startswith(f"{tmp_path / name} is not predicted: "))
        assert reason in line and line.endswith(".")
    assert len(lines) == len(broken)
    assert run(["predict", str(file), *names, pictures[0], "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [each["picture"] for each in document["errors"]] == names and len(document["pictures"]) == 1


def test_nothing_to_predict(file, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("")
    sentence = refused(capsys, file, tmp_path / "a.jpg", tmp_path / "*.png", tmp_path / "none" / "**")
    assert sentence.startswith(f"There is nothing to predict: {tmp_path / 'a.jpg'}: there is no such file; ")
    assert f"{tmp_path / '*.png'}: no file matches it" in sentence
    assert run(["predict", str(file), str(tmp_path)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path}: 1 (notes.txt) left out, for the suffix is of no format of pictures.",
        f"There is nothing to predict: {tmp_path}: it holds no pictures.",
    ]
    (tmp_path / "b.jpg").write_bytes(b"")
    assert run(["predict", str(file), str(tmp_path / "b.jpg"), "--csv"]) == 1
    assert capsys.readouterr().out == "picture,rank,index,name,probability\r\n"


def test_the_limit_of_pixels_is_the_users(file, tmp_path, capsys):
    Image.new("RGB", (40, 25), "red").save(tmp_path / "a.png")
    assert run(["predict", str(file), str(tmp_path / "a.png"), "--max-pixels", "1000"]) == 0
    capsys.readouterr()
    before = Image.MAX_IMAGE_PIXELS
    for limit in (999, 499, 1):
        assert run(["predict", str(file), str(tmp_path / "a.png"), "--max-pixels", str(limit)]) == 1
        assert f"it has 1,000 pixels, and at most {limit} are read (--max-pixels)." in capsys.readouterr().err
    assert before == Image.MAX_IMAGE_PIXELS
    assert "give a whole number of at least 1" in refused(capsys, file, tmp_path / "a.png", "--max-pixels", "0")


def test_files_folders_and_patterns(file, tmp_path, capsys, monkeypatch):
    names = [
        "a/2.png",
        "a/10.PNG",
        "a/deep/er/x.jpg",
        "b/[1].png",
        ".hidden/h.png",
        "a/.h.png",
        "a/notes.txt",
        "c/y.gif",
    ]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("txt"):
            path.write_text("notes")
        else:
            Image.new("RGB", (16, 16), "red").save(path)
    (tmp_path / "c" / "up").symlink_to(tmp_path / "c")
    (tmp_path / "b" / "linked").symlink_to(tmp_path / "a" / "deep")
    monkeypatch.chdir(tmp_path)

    def listed(*arguments: str) -> list[str]:
        assert run(["predict", str(file), *arguments, "--csv", "--top", "1"]) == 0
        return list(table(capsys.readouterr().out))

    inside = ["a/10.PNG", "a/2.png", "a/deep/er/x.jpg"]
    assert listed("a") == listed("a/") == listed("a", "./a/2.png", str(tmp_path / "a" / "2.png")) == inside
    assert listed("./a/2.png", "a/2.png") == ["./a/2.png"], "as it was given"
    (tmp_path / "linked").symlink_to(tmp_path / "a" / "deep")
    assert listed("linked/../2.png") == ["linked/../2.png"], "through the link, and not 2.png"
    assert listed("a/*.png") == ["a/2.png"]
    assert listed("[a]") == inside
    assert run(["predict", str(file), "a/*", "--csv"]) == 1, "as a shell would give the names"
    out, err = capsys.readouterr()
    assert list(table(out)) == inside
    assert err == "a/notes.txt is not predicted: it is no picture of a format that Pillow reads.\n"
    assert listed("a/d*/**/*.jpg") == listed("a/deep/*/x.*") == ["a/deep/er/x.jpg"]
    assert listed("b/[1].png") == ["b/[1].png"], "a file of that name goes before the pattern"
    assert listed("b/[[]1].png", "a/2.png") == ["b/[1].png", "a/2.png"]
    assert listed("c", "c/y.gif") == ["c/y.gif"]
    assert listed("b") == ["b/[1].png", "b/linked/er/x.jpg"]


def test_nothing_that_is_shown_moves_the_cursor(tmp_path, capsys):
    classes = ("\x1b[2J\x1b[31mcat", "dog\r\n", "\u202efdp")
    path = tmp_path / "a.onnx"
    zoo.export(network(), path, config=expected_config(class_names=classes, source="\x1b]0;x\x07"), verify=False)
    picture = tmp_path / "\x1b[2Jred\x9b.png"
    Image.new("RGB", (16, 16), "red").save(picture)
    bad = tmp_path / os.fsdecode(b"\x1b[2J\xff.png")
    bad.write_bytes(b"")
    for form in ([], ["--csv"], ["--json"]):
        assert run(["predict", str(path), str(picture), str(bad), str(tmp_path / "\x1bno"), *form]) == 1
        out, err = capsys.readouterr()
        assert not set(out + err) & set("\x1b\x9b\x07\u202e"), form
        assert "\r" not in out.replace("\r\n", "") and "red" in out and "2J" in err
    assert json.loads(out)["pictures"][0]["picture"] == str(picture), "of JSON a program gets the names as they are"


def test_a_run_that_was_saved_anew_is_read_by_its_record(tmp_path, pictures, capsys):
    folder = tmp_path / "run"
    recorded = {"dataset": {**dataclasses.asdict(DATASET), "later": 1}}
    write_run(folder, result(config=recorded, name="pets"), classes=CLASSES)
    model = network()
    model.save(folder / "model.keras")
    expected = dict(zip(pictures, evaluated(model, pictures), strict=True))
    for source in (folder, folder / "model.keras"):
        assert run(["predict", str(source), *pictures, "--csv"]) == 0
        out, err = capsys.readouterr()
        check_same(table(out), expected, 1e-6)
        assert set(CLASSES) >= {line.split(",")[3] for line in out.splitlines()[1:]}
        assert err == (
            f"{folder / 'model.keras'} does not say how it sees pictures: taken from result.json, its classes too.\n"
        )
    del recorded["dataset"]["mean"]
    write_run(folder, result(config=recorded), classes=CLASSES)
    assert "give --mean, --std, as it was trained" in refused(capsys, folder, pictures[0])


@pytest.mark.parametrize("source, expected", [
    ("resnext50_32x4d", "is a network without weights, which predicts nothing: give a tag of its published weights"),
    ("regnetx_004_g4", "There are no published weights"),
    ("timm/resnext50_32x4d.a1h_in1", "did you mean timm/resnext50_32x4d.a1h_in1k"),
    ("nothing.onnx", "There is no file 'nothing.onnx'."),
    ("nothing.tflite", "There is no file 'nothing.tflite'."),
    ("timm/convnext_tiny.dinov3_lvd1689m", "is published without a classifier"),
])  # fmt: skip
def test_what_is_no_network_is_refused_before_anything_is_loaded(source, expected, pictures, capsys, monkeypatch):
    monkeypatch.setattr(zoo, "create", None)
    assert expected in refused(capsys, source, pictures[0])


def test_files_that_are_none(tmp_path, pictures, capsys):
    for name, reason in {
        "a.onnx": "cannot be read by ONNX Runtime",
        "a.tflite": "is no LiteRT file, or a damaged one",
        "a.xml": "is no model of OpenVINO, or a damaged one",
        "a.keras": "is damaged, or no file of Keras",
        "a.pth": "is of no kind that predict opens: give a training run",
    }.items():
        (tmp_path / name).write_bytes(b"0123TFL3" + bytes(99) if name == "b.tflite" else b"nothing of the kind")
        assert f"{tmp_path / name} {reason}" in refused(capsys, tmp_path / name, pictures[0])
    (tmp_path / "b.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(99))
    assert "cannot be read by LiteRT" in refused(capsys, tmp_path / "b.tflite", pictures[0])
    assert "is a folder without model.keras, saved_model.pb or openvino_model.xml" in refused(
        capsys, tmp_path, pictures[0]
    )
    for number in range(5):
        (tmp_path / "sweep" / str(number)).mkdir(parents=True)
        (tmp_path / "sweep" / str(number) / "model.keras").touch()
    first = tmp_path / "sweep" / "0"
    assert f"is a folder of runs: give one of them, {first}, " in refused(capsys, tmp_path / "sweep", pictures[0])
    (first / "model.keras").unlink()
    (first / "result.json").write_text("{}")
    assert "is a run that has not saved model.keras" in refused(capsys, first, pictures[0])
    (tmp_path / "saved_model.pb").write_bytes(b"nothing")
    assert "cannot be read by TensorFlow" in refused(capsys, tmp_path, pictures[0])


def test_a_config_that_does_not_fit_is_refused(tmp_path, pictures, capsys):
    path = tmp_path / "model.keras"

    def saying(config: DataConfig, *options: object, model=None) -> str:
        (model or network()).save(path)
        config.add_to_keras(path)
        return refused(capsys, path, pictures[0], *options)

    assert "takes pictures of 16 x 16 x 3 (height, width, channels), not of 24 x 16 x 3" in (
        saying(expected_config(), "--size", "24x16")
    )
    assert "has 3 outputs, and 2 classes are named" in saying(expected_config(class_names=("a", "b")))
    assert "takes pictures of 16 x 16 x 3" in saying(expected_config(channels=1, mean=(0.5,), std=(0.5,)))
    for wrong in ("grey", "1/0", "0.5,", "1e999/1e999"):
        assert "mean" in saying(expected_config(), "--mean", wrong)
    assert "divide values meant for 0..255 by 255" in saying(expected_config(), "--mean", "123")
    assert "crop_pct=2.0 is not allowed" in saying(expected_config(), "--crop", 2)
    assert "did you mean bilinear" in saying(expected_config(), "--interpolation", "bilinera")
    names = tmp_path / "names.txt"
    names.write_text("cat\n\ndog\n")
    assert "names no class in line 2" in saying(expected_config(), "--classes", names)
    assert "no.txt cannot be read: No such file or directory." in saying(
        expected_config(), "--classes", tmp_path / "no.txt"
    )
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("data_config.json", '{"version": 1}')
    assert "size, mean, std are missing" in refused(capsys, path, pictures[0])
    images = keras.Input((16, 16, 3))
    two = keras.Model(images, [keras.layers.Flatten()(images), keras.layers.Flatten()(images)])
    assert "has 1 inputs and 2 outputs" in saying(expected_config(), model=two)
    maps = keras.Model(images, keras.layers.ReLU()(images))
    assert "predict needs a row of at least 2 classes" in saying(expected_config(), model=maps)


def test_outputs_that_are_no_numbers_are_named(tmp_path, pictures, capsys):
    model = network()
    model.layers[-1].bias.assign([float("nan")] * 3)
    model.save(tmp_path / "model.keras")
    expected_config().add_to_keras(tmp_path / "model.keras")
    for form in ("--json", "--csv"):
        assert run(["predict", str(tmp_path / "model.keras"), pictures[0], form]) == 1
        err = capsys.readouterr().err
        assert err == f"{pictures[0]} is not predicted: the outputs of the network are NaN or infinite.\n"


def test_published_weights_through_the_hub(tmp_path, monkeypatch, capsys, pictures):
    """Spoken by a server on this machine: random weights under a published tag."""
    tag = "timm/lcnet_050.ra2_in1k"
    with published(tag, tmp_path, monkeypatch) as model:
        assert run(["predict", tag, *pictures[:2], "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    prepare = zoo.preprocessing(tag)
    for each, path in zip(document["pictures"], pictures[:2], strict=True):
        outputs = keras.ops.convert_to_numpy(model(prepare(path)))[0]
        assert each["picture"] == path and each["predictions"][0]["index"] == int(outputs.argmax())
        assert each["predictions"][0]["name"] == resolve(tag).class_names[int(outputs.argmax())]
    assert (document["source"], document["license"]) == (tag, resolve(tag).licence)


def test_ctrl_c_ends_with_one_line(file, tmp_path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "a.png")
    for number in range(3000):
        (tmp_path / f"{number}.png").symlink_to("a.png")
    command = [sys.executable, "-m", "zoo", "predict", str(file), str(tmp_path), "--batch", "1", "--json"]
    terminal = Terminal(command, tmp_path, process_environment(TERM="xterm"))
    terminal.read(until=" of 3,001 pictures", seconds=60)
    terminal.type(b"\x03")
    terminal.read()
    assert terminal.process.wait(20) in (130, -signal.SIGINT)
    assert "Stopped by Ctrl-C." in terminal.shown and "Traceback" not in terminal.shown
    assert "predictions" not in terminal.shown
