"""Files that are damaged, hostile or of another kind: one sentence, no code run, no half-filled model."""

import json
import os
import pickle
import struct
import sys
import zipfile

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import zoo
from helpers import checks
from helpers.networks import NAME, SHAPE


@pytest.fixture(scope="module")
def good(model, tmp_path_factory) -> bytes:
    """A whole file of its weights."""
    path = tmp_path_factory.mktemp("weights") / "good.safetensors"
    zoo.save_torch(model, path)
    return path.read_bytes()


def refusal(model, path) -> str:
    """What loading `path` raises; it must leave the weights alone, whichever way they are asked for."""
    before = [weight.numpy().copy() for weight in model.weights]
    sentence = checks.refusal(lambda: zoo.load_weights(model, path))
    assert all(np.array_equal(weight, previous) for weight, previous in zip(model.weights, before, strict=True))
    checks.refusal(lambda: zoo.create(NAME, input_shape=SHAPE, weights=path))
    return sentence


def headed(header: dict | bytes, data: bytes = b"", size: int | None = None) -> bytes:
    """A file of safetensors with that header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def one(shape: list, offsets: list, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize("content", [
    b"",
    b"short",
    b"<html>404</html>" * 100,
    headed(b"{}", size=2**62),
    headed(b"{}", size=2**27),
    headed(b"{not json"),
    headed(b"\xff\xfe{}"),
    headed({"a": one([2], [0, 8]), "b": one([2], [4, 12])}, bytes(12)),
    headed({"a": one([2], [8, 16])}, bytes(16)),
    headed({"a": one([2**40, 2**40], [0, 8])}, bytes(8)),
    headed({"a": one([-2], [0, 8])}, bytes(8)),
    headed({"a": one([2], [0, 8], "F31")}, bytes(8)),
    headed({"a": one([2], [0, 4])}, bytes(4)),
    headed({"a": one([2], [0, 8])}, bytes(9)),
    headed(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
           bytes(8)),
    headed(b"[" * 100000),
], ids=["empty", "short", "page", "huge header", "long header", "no json", "no text", "overlap", "hole", "huge shape",
        "negative shape", "unknown type", "wrong size", "more data", "twice the name", "deep json"])  # fmt: skip
def test_damaged_safetensors(model, tmp_path, content):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    assert refusal(model, path).startswith(f"{path} cannot be read as a file of weights: ")


@pytest.mark.parametrize("dtype", ["C64", "BOOL", "F8_E4M3"])
def test_types_that_are_no_weights(model, good, tmp_path, dtype):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(good)
    tensors = load_file(path)
    width = {"C64": 8, "BOOL": 1, "F8_E4M3": 1}[dtype]
    header, data = {}, b""
    for name, value in tensors.items():
        body = bytes(4 * width) if name == "classifier.bias" else value.tobytes()
        kind = dtype if name == "classifier.bias" else "F32"
        header[name] = one(list(value.shape), [len(data), len(data) + len(body)], kind)
        data += body
    path.write_bytes(headed(header, data))
    assert f"classifier.bias is {dtype} and should be floating-point" in refusal(model, path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_truncated_file(model, good, tmp_path, share):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(good[: int(share * len(good))])
    assert "cannot be read as a file of weights" in refusal(model, path)


def test_a_file_that_shrinks_while_it_is_read(good, tmp_path):
    """The header was right when it was read; the values end early."""
    from zoo.weights.opening import open_weights

    path = tmp_path / "weights.safetensors"
    path.write_bytes(good)
    with open_weights(path) as checkpoint:
        os.truncate(path, len(good) // 2)
        with pytest.raises(ValueError, match="ends in the middle of"):
            for name in checkpoint.entries:
                checkpoint.read(name)


def test_paths_that_are_no_files(model, tmp_path):
    assert refusal(model, tmp_path / "none.safetensors") == f"There is no file '{tmp_path}/none.safetensors'."
    assert "it is a folder" in refusal(model, tmp_path)
    (tmp_path / "weights.npz").write_bytes(b"x")
    assert "its name must end in .safetensors, .weights.h5, .pth, .pt, .zip" in refusal(model, tmp_path / "weights.npz")
    with pytest.raises(TypeError, match="neither the path of a file nor a tag"):
        zoo.create(NAME, weights=True)


def test_unknown_tags_name_the_nearest(model):
    assert "did you mean timm/resnext50_32x4d.a1h_in1k" in refusal(model, "timm/resnext50_32x4d.a1h_in1")


def test_a_tag_is_fetched_and_must_be_of_this_network(model, good, tmp_path, monkeypatch):
    from zoo.weights import published

    path = tmp_path / "model.safetensors"
    path.write_bytes(good)
    tensors = load_file(path)
    save_file(tensors, path)  # as published: without our own metadata
    monkeypatch.setattr(published, "fetch", lambda each: path)
    tag = published.tags("mobilenetv1_100")[0]
    assert f"{tag} has weights of mobilenetv1_100, and {NAME} is wanted" in refusal(model, tag)
    monkeypatch.setattr(published, "resolve", lambda each: published.Published(each, NAME, "https://x", "x", 4))
    loaded = zoo.create(NAME, input_shape=SHAPE, weights="timm/any")
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])


def test_damaged_keras_files(model, tmp_path):
    path = tmp_path / "bad.weights.h5"
    path.write_bytes(b"no HDF5")
    assert "cannot be read as a file of weights" in refusal(model, path)
    model.save_weights(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "cannot be read as a file of weights" in refusal(model, path)
    with h5py.File(path, "w"):
        pass
    assert "of its weights are missing in the file" in refusal(model, path)


def test_keras_files_that_point_to_other_files(model, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(np.zeros(4, "float32").tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["vars/0"] = np.zeros(4, "float32")

    def external(file):
        group = file.create_group("layers/x/vars")
        group.attrs["name"] = "classifier"
        group.create_dataset("0", (4,), "float32", external=[(str(secret), 0, 16)])

    def virtual(file):
        layout = h5py.VirtualLayout((4,), "float32")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "vars/0", (4,))
        file.create_group("layers/x/vars").create_virtual_dataset("0", layout)

    def linked(file):
        file["layers"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/")

    for number, make in enumerate((external, virtual, linked)):
        path = tmp_path / f"bad{number}.weights.h5"
        with h5py.File(path, "w") as file:
            make(file)
        assert "lies in another file" in refusal(model, path)


def test_without_pytorch_its_files_are_refused_with_advice(model, tmp_path, monkeypatch):
    (tmp_path / "weights.pth").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="pip install torch, or give the same weights as .safetensors"):
        zoo.load_weights(model, tmp_path / "weights.pth")


class Attack:
    """What a hostile file would run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="files of PyTorch are read by PyTorch, which is not installed")


@pytest.mark.parametrize("wrap", [
    lambda state: state,
    lambda state: {"state_dict": state, "epoch": 3},
    lambda state: {"model": {f"module.{name}": value for name, value in state.items()}},
    lambda state: {"state_dict_ema": state, "state_dict": {name: 0 * value for name, value in state.items()}},
], ids=["plain", "state_dict", "model, module.", "running average first"])  # fmt: skip
@pytest.mark.parametrize("form", ["weights.pth", "weights.pt", "legacy.pth", "weights.pth.zip"])
def test_files_of_pytorch(torch, model, state, tmp_path, wrap, form):
    path = tmp_path / form
    inner = tmp_path / form.removesuffix(".zip")
    torch.save(wrap(state), inner, _use_new_zipfile_serialization=not form.startswith("legacy"))
    if form.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(inner, inner.name)
    loaded = zoo.create(NAME, input_shape=SHAPE, weights=path)
    for weight, expected in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_half_precision_of_pytorch(torch, model, state, tmp_path):
    torch.save({name: value.bfloat16() for name, value in state.items()}, tmp_path / "weights.pth")
    loaded = zoo.create(NAME, input_shape=SHAPE, weights=tmp_path / "weights.pth")
    for weight, expected in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=2**-8)


def test_hostile_files_of_pytorch_run_nothing(torch, model, state, tmp_path):
    trace = tmp_path / "trace"
    attack = {**state, "extra": Attack(trace)}
    torch.save(attack, tmp_path / "zipped.pth")
    torch.save(attack, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps(Attack(trace)))
    for name in ("zipped.pth", "legacy.pth", "pickle.pth"):
        assert "it holds more than tensors, which may be code and is not loaded" in refusal(model, tmp_path / name)
    assert not trace.exists()


def test_damaged_files_of_pytorch(torch, model, state, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    content = path.read_bytes()
    for broken in (b"", b"x", content[: len(content) // 2], content[:100]):
        path.write_bytes(broken)
        assert "cannot be read as a file of weights" in refusal(model, path)
    for value in ([1, 2], {}, {"a": 3}, {1: torch.ones(2)}, torch.ones(2), {"a": torch.ones(2).to_sparse()}):
        torch.save(value, path)
        assert "cannot be read as a file of weights" in refusal(model, path)


def test_archives_that_unpack_to_far_more_than_their_size(torch, model, tmp_path):
    for name, member in (("bomb.pth", "archive/data.pkl"), ("bomb.pth.zip", "bomb.pth")):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(member, bytes(10**7))
        assert "it would unpack to over 20 times its size" in refusal(model, tmp_path / name)
    with zipfile.ZipFile(tmp_path / "two.pth.zip", "w") as archive:
        archive.writestr("a.pth", b"x")
        archive.writestr("../b.pth", b"x")
    assert "it must hold one file" in refusal(model, tmp_path / "two.pth.zip")
