"""What a network on the command line is: published weights, a training run, or a file; and how it sees pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.comparison.reading import read_run
from zoo.comparison.runs import Run
from zoo.data_config import DataConfig
from zoo.datasets.config import DatasetConfig, data_config
from zoo.errors import UserError
from zoo.exporting.openvino import OpenVINO
from zoo.exporting.savedmodel import SavedModel
from zoo.metrics import RESULT_FILE
from zoo.registry import variants
from zoo.training.run_directory import MODEL_FILE, without_model
from zoo.weights.published import resolve, tags

if TYPE_CHECKING:
    from zoo.prediction.network import Network

SAVED_MODEL, OPENVINO = SavedModel.main_file, OpenVINO.main_file
KINDS = (
    f"a training run (a folder with {MODEL_FILE}), one of its checkpoints, a .keras, .onnx or .tflite file, or the "
    "folder of a SavedModel or of OpenVINO"
)
EMBEDDING = 768  # outputs of CLIP's image towers, which are no classes
RECORDED = ("image_size", "channels", "mean", "std", "resize_method", "crop_fraction")  # of a data set, by a run
Say = Callable[[str], None]


def open_network(source: str, given: Mapping[str, Any], say: Say) -> tuple[Network, DataConfig]:
    """The network that `source` means, and how it sees pictures.

    Args:
        given: fields of the DataConfig that the user has set, in place of what the network says of itself.
        say: called with a sentence on where that comes from, if it does not lie in the file.

    Raises:
        UserError, ValueError: there is no such network, it has no weights or is no classifier, it cannot be read, or it
            does not say how it sees pictures and neither does `given`.
        ImportError: a package is not installed.

    Example:
        >>> import pathlib, tempfile
        >>> from zoo.prediction.opening import open_network
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.keras"
        >>> zoo.create("lcnet_035", 10, (32, 32, 3)).save(path)
        >>> network, config = open_network(str(path), {"mean": (0.5,), "std": (0.5,)}, say=print)
        >>> network.outputs(np.zeros((2, 32, 32, 3), "float32")).shape, config.size, config.classifier_activation
        ((2, 10), (32, 32), 'logits')
    """
    path = Path(source)
    if path.exists():
        return _from_file(path, given, say)
    if source in tags():
        return _published(source, given)
    raise UserError(_unknown(source))


def _is_training_checkpoint(path: Path) -> bool:
    from zoo.weights.readers.training import is_training_checkpoint  # NumPy, which a misspelt name need not wait for

    return is_training_checkpoint(path)


def _unknown(source: str) -> str:
    if source in variants():
        own = tags(source)
        listed = f"a tag of its published weights, {', '.join(own[:3])}{', ...' if len(own) > 3 else ''}" if own else ""
        instead = f"give {listed}, or {KINDS}" if own else f"none are published for it: give {KINDS}"
        return f"{source!r} is a network without weights, which predicts nothing: {instead}."
    if source.endswith((".keras", ".onnx", ".tflite", ".xml")):
        return f"There is no file {source!r}."
    try:
        resolve(source)  # raises, with the nearest tags
    except ValueError as error:
        return f"{error} Or give {KINDS}."
    raise AssertionError(source)


def _published(tag: str, given: Mapping[str, Any]) -> tuple[Network, DataConfig]:
    published = resolve(tag)
    if published.num_classes in (0, EMBEDDING):
        raise UserError(f"{tag} is published without a classifier: it gives features, no classes.")
    config = replace(published.data_config(), **given)
    if config.channels != 3:
        raise UserError(f"channels={config.channels} is not allowed for {tag}: it takes 3.")
    from zoo.prediction.runtimes.keras_model import open_published

    network = open_published(tag, config.size)
    return network, _checked(network, config)


def _from_file(path: Path, given: Mapping[str, Any], say: Say) -> tuple[Network, DataConfig]:
    name = path.name.lower()
    config: DataConfig | None = None
    if path.is_dir() and (path / MODEL_FILE).is_file():
        config = _of_run(path, say)
        network = _keras(path / MODEL_FILE)
    elif path.is_dir() and (path / SAVED_MODEL).is_file():
        from zoo.prediction.runtimes.saved_model import open_saved_model

        network = open_saved_model(path)
    elif name.endswith(".xml") or (path / OPENVINO).is_file():
        from zoo.prediction.runtimes.openvino import open_openvino

        network = open_openvino(path)
    elif path.is_dir():
        raise UserError(
            without_model(path)
            or f"{path} is a folder without {MODEL_FILE}, {SAVED_MODEL} or {OPENVINO}: give {KINDS}."
        )
    elif name.endswith(".keras"):
        config = DataConfig.from_keras(path)
        if config is None and path.name == MODEL_FILE and (path.parent / RESULT_FILE).is_file():
            config = _of_run(path.parent, say)
        network = _keras(path)
    elif name.endswith(".safetensors") and _is_training_checkpoint(path):
        from zoo.prediction.runtimes.keras_model import open_checkpoint

        network, config = open_checkpoint(path)
    elif name.endswith(".onnx"):
        from zoo.prediction.runtimes.onnx import open_onnx

        network = open_onnx(path)
    elif name.endswith(".tflite"):
        from zoo.prediction.runtimes.litert import open_litert

        network = open_litert(path)
    else:
        raise UserError(f"{path} is of no kind that predict opens: give {KINDS}.")
    if network.config is not None:
        config = DataConfig.from_json(network.config, str(path))
    if config is None:
        return network, _checked(network, _from_options(network, given))
    inside = [key for key in given if key not in ("class_names", "classifier_activation")]
    if config.include_preprocessing and inside:
        raise UserError(f"{path} has its preprocessing inside, so {', '.join(inside)} cannot be set.")
    return network, _checked(network, replace(config, **given))


def _keras(path: Path) -> Network:
    from zoo.prediction.runtimes.keras_model import open_keras

    return open_keras(path)


def _of_run(folder: Path, say: Say) -> DataConfig | None:
    """What the model of a run says; where it has been saved anew by another program, what the run's record says."""
    config = DataConfig.from_keras(folder / MODEL_FILE)
    if config is not None or not (folder / RESULT_FILE).is_file():
        return config
    run = read_run(folder, say)
    config = None if run is None else _recorded(run)
    if config is not None:
        names = "its classes" if config.class_names else "it names no classes"
        say(f"{folder / MODEL_FILE} does not say how it sees pictures: taken from {RESULT_FILE}, {names} too.")
    return config


def _recorded(run: Run) -> DataConfig | None:
    composed = run.result.get("config", {}).get("dataset")
    if not isinstance(composed, dict) or not composed.keys() >= {*RECORDED}:
        return None
    known = {field.name for field in fields(DatasetConfig)}
    try:
        dataset = DatasetConfig(**{key: value for key, value in composed.items() if key in known})
        return data_config(dataset, run.evaluation.classes if run.evaluation else None, run.name)
    except (ValueError, TypeError) as error:
        raise UserError(f"{run.path}, {RESULT_FILE}: {error}") from error


def _from_options(network: Network, given: Mapping[str, Any]) -> DataConfig:
    """For a file that says nothing: what its input and output show, and what the user says."""
    values = dict(given)
    if network.channels is not None:
        values.setdefault("channels", network.channels)
    height, width = network.size
    if height is not None and width is not None:
        values.setdefault("size", (height, width))
    if network.activation is not None:
        values.setdefault("classifier_activation", network.activation)
    if network.takes_levels:
        values = {"size": (1, 1), "mean": (0.0,), "std": (1.0,), **values, "include_preprocessing": True}
    options = {"size": "--size", "mean": "--mean", "std": "--std", "classifier_activation": "--activation"}
    missing = [option for key, option in options.items() if key not in values]
    if missing:
        raise UserError(
            f"{network.name} does not say how it sees pictures: give {', '.join(missing)}, as it was trained; "
            "--classes FILE names its classes."
        )
    values.setdefault("crop_pct", 1.0)
    return DataConfig(**values)


def _checked(network: Network, config: DataConfig) -> DataConfig:
    """`config`. Raises UserError where the network takes other pictures."""
    if network.takes_levels and not config.include_preprocessing:
        raise UserError(f"{network.name} takes integers, and its data config says that it takes normalised pictures.")
    pairs = [(network.channels, config.channels)]
    if not config.include_preprocessing:  # which resizes pictures to what the network behind it takes
        pairs = [*zip(network.size, config.size, strict=True), *pairs]
    if any(own not in (None, wanted) for own, wanted in pairs):
        shown, wanted = (
            " x ".join("any" if axis is None else str(axis) for axis in axes) for axes in zip(*pairs, strict=True)
        )
        raise UserError(f"{network.name} takes pictures of {shown} (height, width, channels), not of {wanted}.")
    return config
