"""A server on this machine that speaks as the hub of published weights does."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import pytest

import zoo
from helpers.file_server import serve
from zoo.weights.published import resolve


@contextmanager
def published(tag: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[keras.Model]:
    """The network of `tag` with random weights, which the block downloads under that tag."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="the extra 'weights' is not installed")
    model = zoo.create(resolve(tag).model)
    zoo.save_torch(model, folder / "weights.safetensors")
    content = (folder / "weights.safetensors").read_bytes()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    with serve(content) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        server.headers = {"X-Repo-Commit": "c" * 40, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        yield model
