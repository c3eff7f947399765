"""What a format of exported files is: how a model is written to it, and how a file of it runs in its own runtime."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from zoo.data_config import KEY

if TYPE_CHECKING:
    import keras
    import numpy as np

Batch = Sequence["np.ndarray"]  # an array (B, ...) for each input of the model
CLASS_NAMES, LICENSE = "class_names", "license"  # beside the whole DataConfig, for programs that know no zoo
PROPERTIES = (KEY, CLASS_NAMES, LICENSE)


class ExportError(ValueError):
    """A model cannot be written to a format, or what was written differs from the model: one sentence.

    Example:
        >>> from zoo.exporting import ExportError
        >>> print(ExportError("net.onnx is not written: its outputs differ."))
        net.onnx is not written: its outputs differ.
    """


@dataclass(frozen=True)
class Task:
    """What a format writes.

    model: its outputs are a dictionary, whose keys are their names in the file.
    signature: of its call, as `keras.Model.export` takes it; a batch axis of None is dynamic.
    inputs, outputs: names in the file, in the order of the model.
    properties: some of PROPERTIES -> text, which the file keeps as metadata.
    calibration: batches that stand for all that the file will see; none for formats that are not calibrated.
    opset: of ONNX; None is the converter's own.
    parts: where preprocessing is inside and the format is calibrated, preprocessing and the network as tasks of their
        own, the latter with the calibration.

    Example:
        >>> from zoo.exporting.formats import Task
        >>> model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(2, name="y")])
        >>> Task(model, [keras.InputSpec("float32", (None, 4), name="x")], ("x",), ("y",)).properties
        {}
    """

    model: keras.Model
    signature: list[Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    properties: Mapping[str, str] = field(default_factory=dict)
    calibration: Sequence[Batch] = ()
    opset: int | None = None
    parts: Sequence[Task] = ()


@dataclass(frozen=True)
class Outcome:
    """What a file computes in its own runtime.

    outputs: of each batch an array for each output, in the order of the names that were asked for.
    seconds: median of the first batch.
    grouped_convolutions: operators of more than one group in the file.

    Example:
        >>> from zoo.exporting.formats import Outcome
        >>> Outcome(outputs=[], seconds=0.002, grouped_convolutions=16).seconds
        0.002
    """

    outputs: list[list[np.ndarray]]
    seconds: float
    grouped_convolutions: int


@dataclass(frozen=True)
class Bounds:
    """How far a file's outputs may be from the model's, over all images.

    difference: the largest one, as a share of the largest output; None sets no bound.
    cosine: of the two outputs for an image, the mean over images.
    variation: of the outputs over the images, as a share of the model's; 0 where a file gives the same for every image,
        however near that is to the model's outputs.

    Example:
        >>> from zoo.exporting.formats import Bounds
        >>> Bounds(difference=1e-4).cosine
        -1.0
    """

    difference: float | None = None
    cosine: float = -1.0
    variation: float = 0.0


def is_grouped(channels: int, channels_per_group: int, filters: int, window: Sequence[int]) -> bool:
    """Whether a convolution counts as one of more than one group.

    One of a single pixel and of one filter a channel is a scale for each channel, and does not: a normalisation that is
    not fused may be written as one.

    Example:
        >>> from zoo.exporting.formats import is_grouped
        >>> is_grouped(64, 2, 64, (3, 3)), is_grouped(64, 1, 64, (1, 1)), is_grouped(64, 64, 128, (3, 3))
        (True, False, False)
    """
    scale = channels_per_group == 1 and filters == channels and set(window) == {1}
    return channels > channels_per_group and not scale


class Format(ABC):
    """A format of files. Another one is a subclass, of which an instance goes into `zoo.exporting.FORMATS`.

    name: as `zoo.export(format=)` takes it.
    suffix: of its files; empty where it is a folder. main_file: by which such a folder is known.
    packages: modules that writing needs; runtimes: those that running needs, beside TensorFlow; extra: of this project,
        which installs both.
    bounds: beyond which a file is refused.
    calibrated: whether `write` needs images. opsets: which it can be written in, where it has such.

    Raises ImportError (`check_installed`) where a package is missing.

    Example:
        >>> from zoo.exporting import FORMATS
        >>> FORMATS["onnx"].suffix, FORMATS["litert-int8"].calibrated
        ('.onnx', True)
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    main_file: ClassVar[str] = ""
    packages: ClassVar[tuple[str, ...]] = ()
    runtimes: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = "export"
    bounds: ClassVar[Bounds] = Bounds(difference=1e-4)
    calibrated: ClassVar[bool] = False

    def opsets(self) -> range | None:
        """Operator sets that the format can be written in; None where it has no such choice."""
        return None

    def prepared(self, model: keras.Model) -> keras.Model:
        """The network as it is to be written: another one that computes the same, where that suits the format."""
        return model

    @abstractmethod
    def write(self, task: Task, path: Path) -> None:
        """Write `task.model` to `path`, which does not exist yet, with its properties."""

    @abstractmethod
    def run(
        self, path: Path, inputs: Sequence[str], outputs: Sequence[str], batches: Sequence[Batch], threads: int
    ) -> Outcome:
        """What the file at `path` computes for the batches, in its own runtime."""

    @abstractmethod
    def properties(self, path: Path) -> dict[str, str]:
        """The metadata that `write` has put into a file: name -> text. Raises ValueError for a file that is none."""

    def check_installed(self, *, running: bool) -> None:
        """Raise ImportError, with what to install, where a package is missing that writing, or `running`, needs."""
        wanted = dict.fromkeys((*self.packages, *(self.runtimes if running else ())))
        missing = [package for package in wanted if importlib.util.find_spec(package) is None]
        if missing:
            raise ImportError(
                f"format={self.name!r} needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
                f"installed: pip install 'grouped-convolution-zoo[{self.extra}]'."
            )
