"""What is measured: a network's name, published weights, the directory of a run, or a file. Imports no Keras."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from zoo.comparison.benchmark_file import COPIED
from zoo.comparison.reading import read_run
from zoo.costs import image_size
from zoo.errors import UserError
from zoo.metrics import RESULT_FILE
from zoo.registry import FAMILIES, family_key, variants
from zoo.training.run_directory import MODEL_FILE, without_model
from zoo.weights.published import resolve, tags

RUNTIME_FILES = {".onnx": "onnx", ".tflite": "litert"}  # suffix -> the contender that runs it


@dataclass(frozen=True)
class Source:
    """One thing to measure.

    name: as the user gave it.
    request: what a worker of TensorFlow takes, {"network": NAME} or {"path": FILE}; empty for a file of a runtime.
    file: of a runtime, where it is one.
    size: height and width of its images; None leaves it to the model.
    record: what is known of it, as `result.json` names it: model, family, groups; of a run its accuracies too.

    Example:
        >>> from zoo.benchmarking.sources import resolved
        >>> resolved("lcnet_035", print).size
        (224, 224)
    """

    name: str
    request: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None
    size: tuple[int, int] | None = None
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def runtime(self) -> str | None:
        """The one contender that runs the file of a runtime."""
        return None if self.file is None else RUNTIME_FILES[self.file.suffix.lower()]


def resolved(name: str, say: Callable[[str], None]) -> Source:
    """The source that a name means. Raises UserError, one sentence, where there is none.

    Args:
        say: called with a sentence on what of a run's record cannot be read.

    Example:
        >>> from zoo.benchmarking.sources import resolved
        >>> resolved("timm/convnext_atto.d2_in1k", print).record["model"]
        'convnext_atto'
    """
    path = Path(name)
    if name in variants() and not path.is_dir():
        return network(name)
    if path.exists():
        return _directory(path, say) if path.is_dir() else _file(path)
    if path.suffix.lower() in (".keras", *RUNTIME_FILES) or path.is_absolute() or name.startswith((".", "~")):
        raise UserError(f"There is no file or folder {name!r}.")
    if name in tags():
        published = resolve(name)
        size = published.top1_size or published.input_size
        return network(published.model, name, (size, size))
    if name in FAMILIES:
        raise UserError(f"{name!r} is a family: give one of its networks, `zoo list --family {name}` lists them.")
    close = get_close_matches(name.lower(), [*variants(), *tags()], n=3, cutoff=0.4)
    nearest = f"did you mean {', '.join(close)}?" if close else "`zoo list` shows the networks."
    raise UserError(f"There is no network, tag of weights, run or file {name!r}: {nearest}")


def network(model: str, name: str | None = None, size: tuple[int, int] | None = None) -> Source:
    """A network with random weights, which are as fast as trained ones.

    Example:
        >>> from zoo.benchmarking.sources import network
        >>> network("lcnet_035").request
        {'network': 'lcnet_035'}
    """
    config = variants()[model]
    record = {"model": model, "family": family_key(config), "groups": config.groups}
    return Source(name or model, {"network": model}, size=size or (image_size(model),) * 2, record=record)


def _directory(path: Path, say: Callable[[str], None]) -> Source:
    if not (path / MODEL_FILE).is_file():
        raise UserError(without_model(path) or f"{path} is a folder without {MODEL_FILE}: give that of a trained run.")
    run = read_run(path, say) if (path / RESULT_FILE).is_file() else None
    record = {} if run is None else {key: run.result[key] for key in COPIED if key in run.result}
    return Source(str(path), {"path": str(path / MODEL_FILE)}, record=record)


def _file(path: Path) -> Source:
    suffix = path.suffix.lower()
    if suffix == ".keras":
        if not zipfile.is_zipfile(path):
            raise UserError(f"{path} is damaged, or no file of Keras: it is no zip file.")
        return Source(str(path), {"path": str(path)})
    if suffix in RUNTIME_FILES:
        return Source(str(path), file=path)
    raise UserError(f"{path} is of no kind that is measured: give a .keras, .onnx or .tflite file.")
