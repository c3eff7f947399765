"""A run that begins with weights: the network that has them, what of it trains, and what the run says of both."""

import logging
import os
import warnings
from collections.abc import Iterable
from typing import Any

import keras

from blocks import BatchNormalization
from blocks.ops.keras_internals import sublayers
from zoo.backbone import PRE_LOGITS, freeze
from zoo.datasets.pipeline import Data
from zoo.factory import create
from zoo.training.settings import BACKBONE, Settings

logger = logging.getLogger(__name__)
NAMED = 6  # tensors at most that a line names


def built(settings: Settings, data: Data) -> keras.Model:
    """The network of the settings, with the weights that it begins with.

    The classifier is new where the data have another number of classes than the weights, or, by their names, other
    classes than those of the run that the weights are from.

    Raises:
        ValueError: images that the network cannot have, or weights that do not fit it.
        ImportError, zoo.weights.download.DownloadError: the weights cannot be read, or not be fetched.
    """
    pretrained = settings.pretrained
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        model = create(
            settings.model,
            num_classes=data.num_classes,
            input_shape=data.input_shape,
            small_stem=settings.small_stem,
            dropout=settings.recipe.dropout,
            weights=None if pretrained is None else pretrained.source,
            new_classifier=_other_classes(settings, data),
        )
    for warning in caught:
        logger.warning("%s", warning.message)
    return model


def freeze_as_set(settings: Settings, model: keras.Model) -> None:
    """Freeze the layers and the statistics that the settings say, before the model is compiled.

    Raises ValueError where there is no such layer, stage or stride, or nothing is left to train.
    """
    if settings.recipe.freeze_statistics:
        _freeze_statistics(model)
    if settings.freeze is not None:
        _freeze(model, settings.freeze)
    if settings.pretrained is None and (settings.freeze is not None or settings.recipe.freeze_statistics):
        logger.warning("Without weights= what is frozen keeps random weights, and statistics of 0 and 1.")


def _other_classes(settings: Settings, data: Data) -> bool:
    """Whether the classes are known to be others than those of the run that the weights are from."""
    pretrained = settings.pretrained
    if pretrained is None or not pretrained.of_run or pretrained.data_config is None:
        return False
    names = pretrained.data_config.class_names
    return None not in (names, data.class_names) and names != data.class_names


def _freeze_statistics(model: keras.Model) -> None:
    every = (each for layer in model.layers for each in sublayers(layer))
    normalizations = [each for each in every if isinstance(each, BatchNormalization)]
    for each in normalizations:
        each.statistics_frozen = True
    if not normalizations:
        logger.warning("recipe.freeze_statistics=true changes nothing: %s has no batch normalisation.", model.name)


def _freeze(model: keras.Model, until: str | int) -> None:
    try:
        freeze(model, PRE_LOGITS if until == BACKBONE else until)
    except ValueError as error:
        raise ValueError(f"freeze={until} is not allowed: {error}") from error
    if not model.trainable_weights:
        raise ValueError(f"freeze={until} is not allowed: it leaves nothing to train; use {BACKBONE}, or a stage.")


def described(settings: Settings, model: keras.Model) -> dict[str, Any]:
    """What was loaded, is fresh and is frozen, counted in tensors and parameters: for `result.json` and W&B."""
    if settings.pretrained is None and settings.freeze is None and not settings.recipe.freeze_statistics:
        return {}
    frozen = [layer for layer in model.layers if layer.weights and not layer.trainable]
    inside = _counted(weight for layer in frozen for weight in layer.weights)
    values: dict[str, Any] = {
        "frozen": {"until": settings.freeze, "layers": len(frozen), **inside},
        "trained": _counted(model.trainable_weights),
        "statistics_frozen": settings.recipe.freeze_statistics,
    }
    loaded = getattr(model, "loaded", None)
    if loaded is not None:
        weights = {each.path: each for each in model.weights}
        values |= {"weights": os.path.abspath(loaded.source) if os.path.exists(loaded.source) else loaded.source}
        for key, paths in (("loaded", loaded.filled), ("adapted", loaded.adapted), ("fresh", loaded.initialized)):
            names = {} if key == "loaded" else {"names": list(paths)}
            values[key] = {**_counted(weights[path] for path in paths), **names}
    return {"finetuning": values}


def _counted(weights: Iterable[keras.Variable]) -> dict[str, int]:
    sizes = [int(keras.ops.size(each)) for each in weights]
    return {"tensors": len(sizes), "parameters": sum(sizes)}


def lines(settings: Settings, facts: dict[str, Any]) -> list[str]:
    """What `described` found, for the terminal."""
    values = facts.get("finetuning")
    if values is None:
        return []
    text = []
    if "weights" in values:
        others = [key for key in ("adapted", "fresh") if values[key]["names"]]
        parts = [f"{_amount(values['loaded'])} loaded"]
        parts += [f"{_amount(values[key])} {key}: {_listed(values[key]['names'])}" for key in others]
        text.append(f"weights: {values['weights']}: {'; '.join(parts)}")
        text += _how_images_are_prepared(settings)
    if settings.freeze is not None:
        frozen = values["frozen"]
        text.append(f"freeze={settings.freeze}: {frozen['layers']} layers are frozen, {_amount(frozen)}")
    if settings.recipe.freeze_statistics:
        text.append("recipe.freeze_statistics: normalisations keep their mean and variance, and train scale and shift")
    return [*text, f"trained: {_amount(values['trained'])}"]


def _amount(counted: dict[str, Any]) -> str:
    return f"{counted['tensors']:,} tensors ({counted['parameters']:,} parameters)"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def _how_images_are_prepared(settings: Settings) -> list[str]:
    if settings.pretrained is None or settings.pretrained.data_config is None:
        return ["images: the weights do not say how they see them, and they are prepared as conf/dataset/ says"]
    dataset = settings.dataset
    crop = f"{dataset.crop_mode} crop of {dataset.crop_fraction:g}"
    return [
        f"images: {dataset.image_size} pixels, {dataset.resize_method}, {crop}, mean {list(dataset.mean)}, "
        f"std {list(dataset.std)}: as the weights were trained, but for what is set in dataset"
    ]
