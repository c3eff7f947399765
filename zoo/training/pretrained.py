"""What `weights=` says before anything is built: of which network it is, and how that sees pictures.

Imports neither Keras nor TensorFlow.
"""

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from zoo.data_config import DataConfig
from zoo.weights.published import resolve
from zoo.weights.sources import RUN_MODEL, TORCH_SUFFIXES, is_tag

AS_TRAINED = "as_trained"  # the section that conf/dataset/ refers to, of a configuration that is being settled
FOLLOWING = ("image_size", "channels", "resize_method", "crop_fraction", "crop_mode", "mean", "std")


@dataclass(frozen=True)
class Pretrained:
    """What is known of weights, without reading their values.

    source: the tag, file or directory of a run, as the user gave it.
    model: the network that they are of; None where the file does not say it.
    data_config: how it sees pictures; None likewise.
    settings: fields of its configuration that it was trained with, where they are not the usual ones.
    of_run: whether training wrote the file, and the names of classes in it are those of a data set here.

    Example:
        >>> from zoo.training.pretrained import Pretrained
        >>> Pretrained("resnet.pth").model is None
        True
    """

    source: str
    model: str | None = None
    data_config: DataConfig | None = None
    settings: Mapping[str, float] = field(default_factory=dict)
    of_run: bool = False


def inspect(weights: str) -> Pretrained:
    """What `weights`, as `zoo.create` takes it, says of itself. Nothing is fetched, and no value of a weight is read.

    Raises:
        ValueError: there is no such tag, file or run, or it is damaged.

    Example:
        >>> from zoo.training.pretrained import inspect
        >>> pretrained = inspect("timm/mobilenetv3_small_100.lamb_in1k")
        >>> pretrained.model, pretrained.data_config.interpolation
        ('mobilenetv3_small_100', 'bicubic')
    """
    from zoo.weights.opening import open_weights  # NumPy, which a configuration without weights can do without

    weights = os.path.expanduser(weights)
    if is_tag(weights):
        published = resolve(weights)
        return Pretrained(weights, published.model, published.data_config(), published.settings)
    path = Path(weights)
    file = path / RUN_MODEL if path.is_dir() else path
    if file.is_file() and file.name.lower().endswith(TORCH_SUFFIXES):
        return Pretrained(weights)  # PyTorch, which reads it, is imported when the network is built
    with open_weights(weights) as checkpoint:
        if checkpoint.data_config is not None:
            of_run: DataConfig | None = DataConfig.from_json(checkpoint.data_config, weights)
        else:
            of_run = DataConfig.from_keras(file) if file.suffix == ".keras" else None
        return Pretrained(weights, checkpoint.model, of_run, checkpoint.settings, of_run is not None)


def of_config(cfg: DictConfig) -> Pretrained | None:
    """What the weights of a configuration say; None where it has none.

    Raises ValueError as `inspect` does, and for a value that can be no weights.

    Example:
        >>> from omegaconf import OmegaConf
        >>> from zoo.training.pretrained import of_config
        >>> of_config(OmegaConf.create({"weights": "timm/dpn68.mx_in1k"})).model
        'dpn68'
    """
    weights = _value(cfg, "weights")
    if weights is None:
        return None
    if isinstance(weights, bool) or not isinstance(weights, (str, int)) or weights == "":
        raise ValueError(
            f"weights={weights!r} is not allowed: give a published tag, a file, the directory of a run, or null."
        )
    return inspect(str(weights))  # a directory may be called 0


def settled(cfg: DictConfig, pretrained: Pretrained | None = None) -> DictConfig:
    """`cfg` with what its `weights` decide where it leaves that to them: the network of `model=named`, and how pictures
    are prepared. Without weights, and once it is settled, it is `cfg` itself.

    Args:
        pretrained: of the weights, where that is known already.

    Raises:
        ValueError: as `inspect`; or the network's images are no squares.

    Example:
        >>> from omegaconf import OmegaConf
        >>> from zoo.training.pretrained import settled
        >>> dataset = {"image_size": "${oc.select:as_trained.image_size,32}", "channels": 3}
        >>> cfg = OmegaConf.create({"weights": "timm/mobilenetv3_small_100.lamb_in1k", "dataset": dataset})
        >>> settled(cfg).dataset
        {'image_size': 224, 'channels': 3}
    """
    pretrained = pretrained or of_config(cfg)
    if pretrained is None:
        return cfg
    cfg = copy.deepcopy(cfg)
    with open_dict(cfg):
        if isinstance(cfg.get("model"), DictConfig) and OmegaConf.is_missing(cfg.model, "variant") and pretrained.model:
            cfg.model.variant = pretrained.model
        if isinstance(cfg.get("dataset"), DictConfig) and pretrained.data_config is not None:
            _prepare_as_trained(cfg, pretrained.data_config, pretrained.source)
    return cfg


def _value(cfg: DictConfig, key: str) -> Any:
    """None for a value that cannot be resolved too: that is said when the whole configuration is."""
    try:
        return cfg.get(key)
    except OmegaConfBaseException:
        return None


def _prepare_as_trained(cfg: DictConfig, expected: DataConfig, source: str) -> None:
    """Put the values into `cfg.dataset` that it refers to."""
    unresolved: Any = OmegaConf.to_container(cfg.dataset, resolve=False)
    following = [key for key in FOLLOWING if f"oc.select:{AS_TRAINED}." in str(unresolved.get(key))]
    if not following:
        return
    height, width = expected.size
    if height != width and "image_size" in following:
        raise ValueError(
            f"weights={source!r} are of a network for images of {height} x {width} pixels, and training takes squares: "
            f"set dataset.image_size, {max(height, width)} for instance."
        )
    channels = expected.channels if "channels" in following else _value(cfg.dataset, "channels")
    cfg[AS_TRAINED] = {
        "image_size": height,
        "channels": channels,
        "resize_method": expected.interpolation,
        "crop_fraction": expected.crop_pct,
        "crop_mode": expected.crop_mode,
        "mean": _for_channels(expected.mean, channels),
        "std": _for_channels(expected.std, channels),
    }
    for key in following:
        cfg.dataset[key] = cfg.dataset[key]
    del cfg[AS_TRAINED]


def _for_channels(values: tuple[float, ...], channels: Any) -> list[float]:
    """One number for each of so many channels: for grey images the mean of those of red, green and blue."""
    if len(values) == channels:
        return list(values)
    return [round(sum(values) / len(values), 6)]
