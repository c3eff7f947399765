"""What `zoo export` is given: a network, published weights, a run's directory or a file of Keras, as a model."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras

import zoo
from zoo.commands.arguments import unknown
from zoo.costs import image_size
from zoo.data_config import DataConfig
from zoo.datasets.config import DatasetConfig
from zoo.errors import UserError
from zoo.registry import FAMILIES, variants
from zoo.training.run_directory import COMPOSITION, MODEL_FILE
from zoo.weights.published import Published, resolve, tags
from zoo.weights.readers.training import is_training_checkpoint
from zoo.weights.trained import network_of_checkpoint

UNKNOWN = (
    "It is not known how {model} sees pictures: give --data-config FILE, JSON such as "
    '{{"version": 1, "size": [224, 224], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}}.'
)


@dataclass(frozen=True)
class Source:
    """A model, and what is known of it.

    config: how it sees pictures; dataset: what its run trained on; network: whether it is one of the zoo's by name.
    """

    model: keras.Model
    config: DataConfig | None = None
    dataset: DatasetConfig | None = None
    network: bool = False

    def assumed(self, say: Callable[[str], None]) -> DataConfig:
        """How a network of the zoo sees pictures as a rule. Raises UserError for another model, whose rules differ."""
        height, width, channels = self.model.inputs[0].shape[1:] if len(self.model.inputs[0].shape) == 4 else (0, 0, 0)
        if not self.network or channels != 3:
            raise UserError(UNKNOWN.format(model=self.model.name))
        usual = Published(tag="", model="", address="", file="").data_config()
        say(f"It is not known how {self.model.name} sees pictures: as on ImageNet, mean {usual.mean}, std {usual.std}.")
        return replace(usual, size=(height, width), source=None, class_names=None)


def load(source: str, weights: str | None, size: tuple[int, int] | None, data_config: Path | None) -> Source:
    """The model that `source` names. Raises UserError or ValueError, one sentence, where there is none."""
    path = Path(source)
    if source in variants() and not path.is_dir():
        loaded = _network(source, weights, size)
    elif path.exists() or path.suffix == ".keras":
        for option, value in (("--weights", weights), ("--size", size)):
            if value is not None:
                raise UserError(f"{option} is for the networks that `zoo list` shows: {source} has its own.")
        loaded = _saved(path)
    elif source in tags():
        if weights is not None:
            raise UserError(f"{source} is a tag of weights, and --weights {weights} names others: give one of them.")
        loaded = _network(resolve(source).model, source, size)
    elif source in FAMILIES:
        raise UserError(f"{source!r} is a family: give one of its networks, `zoo list --family {source}` lists them.")
    else:
        raise UserError(unknown("network, tag of weights, run or file", source, {*variants(), *tags()}))
    if data_config is None:
        return loaded
    return replace(loaded, config=DataConfig.from_json(_text(data_config), str(data_config)))


def _network(name: str, weights: str | None, size: tuple[int, int] | None) -> Source:
    config = _config_of(weights)
    height, width = size or (config.size if config else (image_size(name),) * 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a saved network that was built for another size
        model = zoo.create(name, input_shape=(height, width, config.channels if config else 3), weights=weights)
    return Source(model, config and replace(config, size=(height, width)), network=True)


def _config_of(weights: str | None) -> DataConfig | None:
    """How a network with these weights sees pictures."""
    if weights is None:
        return None
    path = Path(weights) / MODEL_FILE if Path(weights).is_dir() else Path(weights)
    if path.exists():
        return DataConfig.from_keras(path) if path.suffix == ".keras" else None
    return resolve(weights).data_config() if weights in tags() else None


def _saved(path: Path) -> Source:
    """The model in a file of Keras, or in the directory of a run, whose data set is known then too."""
    file = path / MODEL_FILE if path.is_dir() else path
    if path.is_dir() and not file.exists():
        raise UserError(f"{path} is a folder without {MODEL_FILE}: give the directory of a run that has trained.")
    if not file.exists():
        raise UserError(f"There is no file {str(path)!r}.")
    if is_training_checkpoint(file):
        model, config = network_of_checkpoint(file)
        return Source(model, config, _dataset(file.parent.parent))  # RUN/checkpoints/best.safetensors
    if file.suffix != ".keras":
        raise UserError(f"{path} is no .keras file: of a network's weights, give its name and --weights {path}.")
    config = DataConfig.from_keras(file)
    try:
        model = keras.models.load_model(file, compile=False)
    except (TypeError, ValueError, OSError, KeyError, ImportError) as error:
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{file} cannot be loaded: {line}") from error
    return Source(model, config, _dataset(path) if path.is_dir() else None)


def _dataset(run: Path) -> DatasetConfig | None:
    """What the run trained on; None where its configuration is not there."""
    composed = run / COMPOSITION / "config.yaml"
    if not composed.exists():
        return None
    from omegaconf import OmegaConf

    from zoo.training.settings import dataset_config

    return dataset_config(OmegaConf.load(composed))  # type: ignore[arg-type]  # a mapping, else it is refused


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8.") from error
