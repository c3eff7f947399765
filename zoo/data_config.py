"""What a network expects of its images, and what its outputs mean: plain data, which travels with the saved model.

The words are timm's (`pretrained_cfg`) and Keras's. Imports neither Keras, TensorFlow nor NumPy.
"""

import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from zoo.checks import close_matches

INTERPOLATIONS = ("bilinear", "bicubic", "area", "nearest")  # "area" is Pillow's BOX
CROP_MODES = ("center", "squash", "border")
ACTIVATIONS = ("logits", "softmax")
CHANNELS = (1, 3)  # grey; red, green and blue
LARGEST_SIDE = 4096  # pixels; beyond, one image takes gigabytes of activations
LARGEST_TEXT = 2**24  # bytes of JSON: names of 100,000 classes take a tenth of it
VERSION = 1  # of the JSON; a higher one gives a key another meaning
MEMBER = "data_config.json"  # in the archive of a .keras file
KEY = "zoo"  # of the metadata of exported files


@dataclass(frozen=True)
class DataConfig:
    """How pictures become the input of a network, and what its outputs are called.

    A picture is resized and cropped as `zoo.transforms.resize_and_crop` does it, to levels 0..255; the network gets
    (level / 255 - mean) / std, float32 (B, height, width, channels).

    size: (height, width) of the input in pixels.
    mean, std: for levels scaled to 0..1; one number for each channel, or one for all, which is repeated.
    channels: 1 (grey) or 3 (red, green, blue).
    interpolation: "bilinear", "bicubic", "area" or "nearest", with Pillow's antialiasing.
    crop_pct: share of the resized picture's side that is cut out, above 0 and at most 1.
    crop_mode: "center", "squash" or "border", as in timm.
    class_names: of the outputs, in their order; None where they are not known.
    classifier_activation: what the outputs are: "logits", or with "softmax" probabilities.
    include_preprocessing: whether the model itself resizes, crops and normalises, and takes uint8 pictures.
    license: of the weights, as their publisher states it.
    source: what the weights are, a tag or the name of a run.

    Raises ValueError, in one sentence, for an invalid value.

    Source: the names are those of timm's pretrained_cfg (`crop_pct`, `crop_mode`, `license`) and of keras.applications
    (`classifier_activation`, `include_preprocessing`).

    Example:
        >>> from zoo.data_config import DataConfig
        >>> config = DataConfig(size=(224, 224), mean=(0.5,), std=(0.25,), crop_pct=0.875, class_names=("cat", "dog"))
        >>> config.mean, DataConfig.from_json(config.to_json()) == config
        ((0.5, 0.5, 0.5), True)
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int = 3
    interpolation: str = "bilinear"
    crop_pct: float = 1.0
    crop_mode: str = "center"
    class_names: tuple[str, ...] | None = None
    classifier_activation: str = "logits"
    include_preprocessing: bool = False
    license: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        _check_size(self.size)
        _choice("channels", self.channels, CHANNELS)
        for key in ("mean", "std"):
            object.__setattr__(self, key, _per_channel(key, getattr(self, key), self.channels))
        if min(self.std) <= 0:
            raise ValueError(
                f"std={_shown(self.std)} is not allowed: images are divided by it, so give numbers above 0."
            )
        _choice("interpolation", self.interpolation, INTERPOLATIONS)
        _choice("crop_mode", self.crop_mode, CROP_MODES)
        _choice("classifier_activation", self.classifier_activation, ACTIVATIONS)
        if not _is_number(self.crop_pct) or not 0 < self.crop_pct <= 1:
            raise ValueError(f"crop_pct={_shown(self.crop_pct)} is not allowed: it is a share, above 0 and at most 1.")
        _check_names(self.class_names)
        if not isinstance(self.include_preprocessing, bool):
            raise ValueError(
                f"include_preprocessing={_shown(self.include_preprocessing)} is not allowed: use true or false."
            )
        for key in ("license", "source"):
            if not isinstance(getattr(self, key), (str, type(None))):
                raise ValueError(f"{key}={_shown(getattr(self, key))} is not allowed: it must be text or null.")

    def to_json(self) -> str:
        """One line of JSON, in ASCII.

        Example:
            >>> from zoo.data_config import DataConfig
            >>> DataConfig(size=(8, 8), mean=(0.0,), std=(1.0,), channels=1).to_json()[:46]
            '{"version": 1, "size": [8, 8], "mean": [0.0], '
        """
        return json.dumps({"version": VERSION, **asdict(self)}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes, source: str = "The data config") -> "DataConfig":
        """What `to_json` wrote, here or in another version.

        A key that this version does not know is ignored, and one that is missing has its default, so that later
        versions may add some; one that changes what a key means raises the version, which is refused here.

        Args:
            text: from outside; it is not trusted.
            source: how messages call it, the name of a file for instance.

        Raises ValueError, in one sentence, for what is no JSON, too long, invalid, or of a later version.

        Example:
            >>> from zoo.data_config import DataConfig
            >>> DataConfig.from_json('{"version": 1, "size": [8, 8], "mean": [0.5], "std": [1], "later": 0}').size
            (8, 8)
            >>> DataConfig.from_json('{"version": 1, "size": [8, 8], "mean": [0.5], "std": [0]}', "net.onnx")
            Traceback (most recent call last):
                ...
            ValueError: net.onnx: std=[0.0, 0.0, 0.0] is not allowed: images are divided by it, so give numbers above 0.
        """
        values = _parsed(text, source)
        version: Any = values.get("version")
        if not _is_whole(version) or version < 1:
            raise ValueError(f"{source}: version={_shown(version)} is not allowed: this program writes {VERSION}.")
        if version > VERSION:
            raise ValueError(
                f"{source}: version={version} is of a later version of this program, which reads up to {VERSION}: "
                "update it."
            )
        missing = [key for key in ("size", "mean", "std") if key not in values]
        if missing:
            raise ValueError(f"{source}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing.")
        known = {field.name for field in fields(cls)}
        try:
            return cls(**{key: _tuple(value) for key, value in values.items() if key in known})
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error

    @classmethod
    def from_keras(cls, path: Path) -> "DataConfig | None":
        """What a `.keras` file of a training run says; None where it says nothing, as Keras itself writes it.

        Raises ValueError for a file that is no archive or whose entry is invalid, OSError for one that cannot be read.

        Example:
            >>> import pathlib, tempfile
            >>> from zoo.data_config import DataConfig
            >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.keras"
            >>> keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]).save(path)
            >>> config = DataConfig(size=(8, 8), mean=(0.5,), std=(0.5,), class_names=("cat", "dog"))
            >>> config.add_to_keras(path)
            >>> DataConfig.from_keras(path).class_names, keras.models.load_model(path).output_shape
            (('cat', 'dog'), (None, 2))
        """
        try:
            with zipfile.ZipFile(path) as archive:
                if MEMBER not in archive.namelist():
                    return None
                with archive.open(MEMBER) as member:
                    text = member.read(LARGEST_TEXT + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
            raise ValueError(f"{path} is damaged, or no file of Keras: {str(error).rstrip('.')}.") from error
        return cls.from_json(text, f"{path}, {MEMBER}")

    def add_to_keras(self, path: Path) -> None:
        """Add this to a `.keras` file, an archive in which Keras reads its own entries alone; once for a file."""
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(MEMBER, self.to_json())


def _parsed(text: str | bytes, source: str) -> Mapping[str, Any]:
    if len(text) > LARGEST_TEXT:
        raise ValueError(f"{source} has over {LARGEST_TEXT:,} bytes of data config, and so much is not read.")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{source}: the data config is no JSON that can be read: {str(error).splitlines()[0]}."
        ) from error
    if not isinstance(values, dict):
        raise ValueError(f"{source}: the data config is {_shown(values)}, and not a JSON object.")
    return values


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _shown(value: Any) -> str:
    """A value as JSON has it, cut."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    """Whether it is a finite number, of a size that cannot overflow."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e30


def _choice(key: str, value: Any, allowed: Iterable[Any]) -> None:
    names = [str(each) for each in allowed]
    if isinstance(value, (bool, float)) or value not in allowed:
        near = close_matches(value, names) if isinstance(value, str) else f"use {' or '.join(names)}."
        raise ValueError(f"{key}={_shown(value)} is not allowed: {near}")


def _check_size(size: Any) -> None:
    if not isinstance(size, tuple) or len(size) != 2 or not all(map(_is_whole, size)):
        raise ValueError(
            f"size={_shown(size)} is not allowed: give height and width in pixels, [224, 224] for instance."
        )
    if not all(1 <= side <= LARGEST_SIDE for side in size):
        nearest = [min(max(side, 1), LARGEST_SIDE) for side in size]
        raise ValueError(
            f"size={_shown(size)} is not allowed: a side has 1 to {LARGEST_SIDE} pixels; the nearest is {nearest}."
        )


def _per_channel(key: str, values: Any, channels: int) -> tuple[float, ...]:
    if not isinstance(values, (tuple, list)) or not all(map(_is_number, values)) or len(values) not in (1, channels):
        wanted = "1 number" if channels == 1 else f"{channels} numbers, or 1 for all channels"
        raise ValueError(f"{key}={_shown(values)} is not allowed: give {wanted}.")
    if any(abs(value) > 1 for value in values):
        raise ValueError(
            f"{key}={_shown(values)} is not allowed: it is for pixels in 0..1; divide values meant for 0..255 by 255."
        )
    return tuple(map(float, values)) * (channels // len(values))


def _check_names(names: Any) -> None:
    if names is None:
        return
    if not isinstance(names, tuple) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"class_names={_shown(names)} is not allowed: give a list of names, or null where they are unknown."
        )
