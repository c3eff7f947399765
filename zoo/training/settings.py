"""From a composed configuration to typed, checked settings, before anything slow is imported."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from zoo import registry
from zoo.checks import close_matches
from zoo.training import data_config, recipe_config, tracking_config
from zoo.training.data_config import DatasetConfig
from zoo.training.recipe_config import RecipeConfig
from zoo.training.tracking_config import TrackingConfig

SMALL = 64  # pixels; below, a stem made for 224 leaves hardly any resolution to the stages


@dataclass
class RunConfig:
    """The keys of the configuration that belong to no group."""

    seed: int = 0  # of weights, order and augmentation
    small_stem: Any = "auto"  # true, false, or "auto": by the size of the images
    limit_steps: int | None = None  # training steps of an epoch at most; None is the whole epoch


@dataclass(frozen=True)
class Settings:
    """One training run, checked. `model` is a family's own dataclass."""

    model: Any
    dataset: DatasetConfig
    recipe: RecipeConfig
    tracking: TrackingConfig
    seed: int
    small_stem: bool
    small_stem_chosen: bool  # by the size of the images, not by the user
    limit_steps: int | None

    @property
    def groups(self) -> int | None:
        return self.model.groups


def check(cfg: DictConfig) -> Settings:
    """The settings that `cfg` means.

    Raises:
        ValueError: one sentence, for an unknown key, a wrong type or an impossible value.
    """
    plain = _resolve(cfg)
    sections = {key: plain.pop(key, None) for key in ("model", "dataset", "recipe", "tracking")}
    for key, section in sections.items():
        if not isinstance(section, Mapping):
            raise ValueError(f"{key}={section!r} is not allowed: it must be a group of keys, as in conf/{key}/.")
    plain.pop("groups", None)  # the model group has taken it already, see conf/model/
    run = typed(RunConfig, plain, "")
    dataset = typed(DatasetConfig, sections["dataset"], "dataset.")
    recipe = typed(RecipeConfig, sections["recipe"], "recipe.")
    tracking = typed(TrackingConfig, sections["tracking"], "tracking.")
    data_config.check(dataset)
    recipe_config.check(recipe)
    tracking_config.check(tracking)
    if run.small_stem not in (True, False, "auto"):
        raise ValueError(f"small_stem={run.small_stem!r} is not allowed: use true, false or auto.")
    if not 0 <= run.seed < 2**32:
        raise ValueError(f"seed={run.seed} is not allowed: use a number from 0 to {2**32 - 1}.")
    if run.limit_steps is not None and run.limit_steps < 1:
        raise ValueError(f"limit_steps={run.limit_steps} is not allowed: use at least 1, or null for the whole epoch.")
    chosen = run.small_stem == "auto"
    return Settings(
        model=model_config(sections["model"]),
        dataset=dataset,
        recipe=recipe,
        tracking=tracking,
        seed=run.seed,
        small_stem=dataset.image_size < SMALL if chosen else bool(run.small_stem),
        small_stem_chosen=chosen,
        limit_steps=run.limit_steps,
    )


def model_config(section: Mapping[str, Any]) -> Any:
    """The family's dataclass that the `model` group describes. Raises ValueError."""
    values = dict(section)
    family = values.pop("family", None)
    if not isinstance(family, str):
        raise ValueError(f"model.family={family!r} is not allowed: use one of {', '.join(registry.FAMILIES)}.")
    configuration = registry.config_class(family)
    return typed(configuration, values, "model.")


def typed(schema: type, values: Mapping[str, Any], prefix: str) -> Any:
    """An instance of the dataclass `schema` with `values`, converted where the types allow it; ValueError else."""
    assert is_dataclass(schema)
    known = [field.name for field in fields(schema)]
    for key in values:
        if key not in known:
            raise ValueError(f"There is no setting {prefix}{key}: {close_matches(key, known)}")
    node = OmegaConf.structured(schema)
    OmegaConf.set_readonly(node, False)
    for key, value in values.items():
        try:
            node[key] = value
        except OmegaConfBaseException as error:
            raise ValueError(f"{prefix}{key}={value!r} is not allowed: {_reason(error)}") from None
    return OmegaConf.to_object(node)


def _reason(error: Exception) -> str:
    """The first line of OmegaConf's message; those below repeat the key."""
    line = str(error).splitlines()[0].strip()
    return line if line.endswith(".") else line + "."


def _resolve(cfg: DictConfig) -> dict[str, Any]:
    try:
        missing = sorted(OmegaConf.missing_keys(cfg))
        if missing:
            raise ValueError(f"{missing[0]} has no value yet: give it on the command line, {missing[0]}=VALUE.")
        return OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise ValueError(f"The configuration cannot be resolved: {_reason(error)}") from None
