"""From a composed configuration to typed, checked settings, before anything slow is imported.

The dataclasses are filled here and not registered in Hydra's ConfigStore. Hydra 1.3 refuses to compose a file over a
frozen one, which families are; it takes `+model.grups=2` without a word; and it says what was received, neither what is
allowed nor what is nearest.
"""

import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from zoo import registry
from zoo.checks import close_matches
from zoo.datasets import config as data_config
from zoo.datasets.config import DatasetConfig
from zoo.distribution import config as distribution_config
from zoo.distribution.config import DistributionConfig
from zoo.metrics import OF_RUNS
from zoo.tracking import config as tracking_config
from zoo.tracking.config import TrackingConfig
from zoo.training import recipe_config
from zoo.training.checkpoints import config as checkpoints_config
from zoo.training.checkpoints.config import CheckpointsConfig
from zoo.training.pretrained import AS_TRAINED, Pretrained, of_config, settled
from zoo.training.recipe_config import RecipeConfig
from zoo.typing import ModelConfig

SMALL = 64  # pixels; below, a stem made for 224 leaves hardly any resolution to the stages
BACKBONE = "backbone"  # all but the classifier
SECTIONS = ("model", "dataset", "recipe", "tracking", "checkpoints", "distribution")
AUTO = "auto"  # of resume
EVALUATE = "evaluate"
MODES = ("train", EVALUATE)
SWEEP_FILES = (
    "The files of conf/sweep/ are for W&B and no settings of a run: `wandb sweep conf/sweep/groups.yaml`, then "
    "`wandb agent` with the id that it prints; without W&B, -m runs one of them: `python train.py -m sweep=groups`."
)
Schema = TypeVar("Schema")
MEANT = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}


@dataclass
class RunConfig:
    """The keys of the configuration that belong to no group."""

    seed: int = 0  # of weights, order and augmentation
    small_stem: Any = "auto"  # true, false, or "auto": by the size of the images
    limit_steps: int | None = None  # training steps of an epoch at most; None is the whole epoch
    resume: str | None = None  # "auto": go on where the run in this directory stopped; or what to go on from
    deterministic: bool = False  # the same weights bit for bit in every run on the same machine
    weights: str | None = None  # that training begins with, as zoo.create takes them; None is random ones
    freeze: Any = None  # a layer, a stage, the stride of a feature map, or BACKBONE; None trains all layers
    mode: str = "train"  # or "evaluate"
    checkpoint: str | None = None  # what is evaluated: a run, a file or a tag
    objective: str = "val_top1"  # of a search over settings: a figure of result.json


@dataclass
class NamedModel:
    """A `model` group that takes a published network instead of a family's fields."""

    variant: str
    groups: int | None = None  # None is the network's own
    drop_path: float | None = None  # None is the network's own


@dataclass(frozen=True)
class Settings:
    """One training run, checked. `model` is a family's own dataclass."""

    model: ModelConfig
    dataset: DatasetConfig
    recipe: RecipeConfig
    tracking: TrackingConfig
    checkpoints: CheckpointsConfig
    distribution: DistributionConfig
    seed: int
    small_stem: bool | None  # None: as the weights were trained
    small_stem_chosen: bool  # by the weights or the size of the images, not by the user
    limit_steps: int | None
    resume: str | None
    deterministic: bool
    pretrained: Pretrained | None
    freeze: str | int | None
    mode: str
    checkpoint: str | None

    @property
    def groups(self) -> int | None:
        return self.model.groups


def check(cfg: DictConfig) -> Settings:
    """The settings that `cfg` means.

    Raises:
        ValueError: one sentence, for an unknown key, a wrong type or an impossible value.
    """
    if "sweep" in cfg:
        raise ValueError(SWEEP_FILES)
    if AS_TRAINED in cfg:
        raise ValueError(f"{AS_TRAINED} is what weights= say, and no setting: set the keys of dataset themselves.")
    pretrained = of_config(cfg)
    plain = _resolve(cfg if pretrained is None else settled(cfg, pretrained))
    plain.setdefault("distribution", {})  # which runs of earlier versions lack
    sections = {key: plain.pop(key, None) for key in SECTIONS}
    for key, section in sections.items():
        if not isinstance(section, Mapping):
            raise ValueError(f"{key}={shown(section)} is not allowed: it must be a group of keys, as in conf/{key}/.")
    rooted = "groups" in plain
    if rooted:  # the model group has taken it already, see conf/model/
        _same_groups(plain.pop("groups"), sections["model"].get("groups"))
    run = typed(RunConfig, plain, "", also=(*SECTIONS, "groups"))
    dataset = _dataset(sections["dataset"])
    recipe = nested(RecipeConfig, sections["recipe"], "recipe.")
    tracking = typed(TrackingConfig, sections["tracking"], "tracking.")
    checkpoints = typed(CheckpointsConfig, sections["checkpoints"], "checkpoints.")
    distribution = typed(DistributionConfig, sections["distribution"], "distribution.")
    recipe_config.check(recipe)
    _check_mixing(dataset, recipe)
    if dataset.sampling == "balanced" and recipe.class_weights is not None:
        raise ValueError(
            "recipe.class_weights is not allowed with dataset.sampling=balanced, which shows each class equally often "
            "already: use one of them."
        )
    tracking_config.check(tracking)
    checkpoints_config.check(checkpoints)
    distribution_config.check(distribution)
    if run.small_stem not in (True, False, "auto"):
        raise ValueError(f"small_stem={shown(run.small_stem)} is not allowed: use true, false or auto.")
    if not 0 <= run.seed < 2**32:
        raise ValueError(f"seed={run.seed} is not allowed: use a number from 0 to {2**32 - 1}.")
    if run.limit_steps is not None and run.limit_steps < 1:
        raise ValueError(f"limit_steps={run.limit_steps} is not allowed: use at least 1, or null for the whole epoch.")
    if run.resume == "":
        raise ValueError("resume='' is not allowed: use auto, a run's folder, a checkpoint, or null for a new run.")
    if run.freeze is not None and (isinstance(run.freeze, bool) or not isinstance(run.freeze, (str, int))):
        raise ValueError(
            f"freeze={shown(run.freeze)} is not allowed: use {BACKBONE} (all but the classifier), the name of a "
            "stage or a layer, the stride of a feature map, or null."
        )
    if run.objective not in OF_RUNS:
        raise ValueError(f"objective={shown(run.objective)} is not allowed: {close_matches(run.objective, OF_RUNS)}")
    _check_mode(run)
    if run.mode == EVALUATE and distribution.strategy != distribution_config.NONE:
        raise ValueError(f"distribution={distribution.strategy} is of a training: mode=evaluate uses one device.")
    chosen = run.small_stem == "auto"
    network = model_config(sections["model"], rooted)
    if pretrained is not None:
        network = _as_trained(network, sections["model"], pretrained)
    return Settings(
        model=network,
        dataset=dataset,
        recipe=recipe,
        tracking=tracking,
        checkpoints=checkpoints,
        distribution=distribution,
        seed=run.seed,
        small_stem=_small_stem(dataset, pretrained) if chosen else bool(run.small_stem),
        small_stem_chosen=chosen,
        limit_steps=run.limit_steps,
        resume=run.resume,
        deterministic=run.deterministic,
        pretrained=pretrained,
        freeze=run.freeze,
        mode=run.mode,
        checkpoint=run.checkpoint,
    )


def dataset_config(cfg: DictConfig) -> DatasetConfig:
    """The data set of a configuration, of a former run for instance, whose weights need not be there any more.

    Raises ValueError as `check` does.

    Example:
        >>> from omegaconf import OmegaConf
        >>> from zoo.training.settings import dataset_config
        >>> dataset_config(OmegaConf.create({"dataset": {"name": "digits", "image_size": 8}})).image_size
        8
    """
    return _dataset(_resolve(cfg).get("dataset", {}))


def _dataset(section: Mapping[str, Any]) -> DatasetConfig:
    config = nested(DatasetConfig, section, "dataset.")
    data_config.check(config)
    return config


def _check_mixing(dataset: DatasetConfig, recipe: RecipeConfig) -> None:
    """What needs integer labels, and what needs two images to mix."""
    if not dataset.mixing.is_on:
        return
    if recipe.class_weights is not None:
        raise ValueError(
            f"recipe.class_weights={recipe.class_weights} is not allowed with MixUp or CutMix, whose labels are of two "
            "classes each: set it to null, or dataset.mixing.mixup_alpha=0 and dataset.mixing.cutmix_alpha=0."
        )
    if recipe.batch_size < 2:
        raise ValueError(
            f"recipe.batch_size={recipe.batch_size} is not allowed with MixUp or CutMix, which mix images of one "
            "batch: use at least 2."
        )


def _small_stem(dataset: DatasetConfig, pretrained: Pretrained | None) -> bool | None:
    return dataset.image_size < SMALL if pretrained is None else None


def _as_trained(config: ModelConfig, section: Mapping[str, Any], pretrained: Pretrained) -> ModelConfig:
    """`config` with the settings that its weights were trained with. Raises ValueError for those of another network."""
    if pretrained.model not in (None, config.name):
        name = f"model.variant={pretrained.model}"
        raise ValueError(
            f"weights={pretrained.source!r} are of {pretrained.model}, and the configuration is of {config.name}: use "
            f"model=named {name}, or model=named alone, which takes the network from the weights."
        )
    known = {each.name for each in fields(config)} - section.keys()
    return replace(config, **{key: value for key, value in pretrained.settings.items() if key in known})


def _check_mode(run: RunConfig) -> None:
    if run.mode not in MODES:
        raise ValueError(f"mode={shown(run.mode)} is not allowed: {close_matches(run.mode, MODES)}")
    if run.mode == EVALUATE and not run.checkpoint:
        raise ValueError(
            "mode=evaluate needs checkpoint=RUN, the directory of a run, or checkpoint=FILE or TAG, of weights, with "
            "the data set that they are evaluated on."
        )
    if run.mode == EVALUATE and run.resume not in (None, AUTO):
        raise ValueError(
            f"resume={shown(run.resume)} goes on with a training, and mode=evaluate trains nothing: use null, or auto, "
            "which does not repeat an evaluation that is finished."
        )
    if run.mode != EVALUATE and run.checkpoint is not None:
        raise ValueError(f"checkpoint={shown(run.checkpoint)} is what mode=evaluate evaluates: give mode=evaluate too.")


def nested(schema: type[Schema], section: Mapping[str, Any], prefix: str) -> Schema:
    """As `typed`, of a dataclass with groups of keys: fields that are dataclasses themselves. A group that is null has
    its usual values.
    """
    hints, values, groups = get_type_hints(schema), dict(section), {}
    for key, group_schema in hints.items():
        if isinstance(group_schema, type) and is_dataclass(group_schema):
            group = values.pop(key, None)
            keys = [each.name for each in fields(group_schema)]
            if group is not None and not isinstance(group, Mapping):
                raise ValueError(
                    f"{prefix}{key}={shown(group)} is not allowed: it is a group of keys, of which "
                    f"{prefix}{key}.{keys[0]} is one; null stands for their usual values."
                )
            groups[key] = typed(group_schema, group or {}, f"{prefix}{key}.")
    config = typed(schema, values, prefix, also=tuple(groups))
    for key, group in groups.items():
        setattr(config, key, group)
    return config


def model_config(section: Mapping[str, Any], groups_at_root: bool = False) -> ModelConfig:
    """The family's dataclass that the `model` group describes. Raises ValueError.

    Args:
        groups_at_root: `groups` was given outside the group, and is called so in what is raised.
    """
    values = dict(section)
    at_root = ("groups",) if groups_at_root else ()
    if "variant" in values:
        return _named(typed(NamedModel, values, "model.", at_root=at_root))
    family = values.pop("family", None)
    if not isinstance(family, str):
        raise ValueError(f"model.family={shown(family)} is not allowed: use one of {', '.join(registry.FAMILIES)}.")
    configuration = registry.config_class(family)
    return typed(configuration, values, "model.", at_root=at_root)


def _named(model: NamedModel) -> ModelConfig:
    """The published network of that name, with what is set beside it."""
    config = registry.named(model.variant) or registry.variant(model.variant)  # the latter raises
    if model.groups is not None:
        config = config.with_groups(model.groups)
    if model.drop_path is None:
        return config
    if not hasattr(config, "drop_path"):
        raise ValueError(f"model.drop_path={model.drop_path} is not allowed: {config.name} has no stochastic depth.")
    return replace(config, drop_path=model.drop_path)


def typed(
    schema: type[Schema],
    values: Mapping[str, Any],
    prefix: str,
    also: tuple[str, ...] = (),
    at_root: tuple[str, ...] = (),
) -> Schema:
    """An instance of the dataclass `schema` with `values`, converted where the types allow it; ValueError else.

    Args:
        prefix: of the keys in what is raised.
        also: further keys to name as known.
        at_root: keys that the user gave without the prefix.
    """
    assert is_dataclass(schema)
    known = [field.name for field in fields(schema)]
    for key in values:
        if key not in known:
            near = close_matches(f"{prefix}{key}", [prefix + name for name in (*also, *known)])
            raise ValueError(f"There is no setting {prefix}{key}: {near}")
    node = OmegaConf.structured(schema)
    OmegaConf.set_readonly(node, False)
    for key, value in values.items():  # OmegaConf.merge takes mean=[[1]], and for a list that is a mapping names no key
        try:
            node[key] = value
        except OmegaConfBaseException:
            name = key if key in at_root else prefix + key
            hint = get_type_hints(schema)[key]
            raise ValueError(
                f"{name}={shown(value)} is not allowed: it must be {_meaning(hint)}{_nearest(hint, value)}."
            ) from None
    return cast(Schema, OmegaConf.to_object(node))


def shown(value: Any) -> str:
    """A value as the command line takes it: null and true, not None and True."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _meaning(hint: Any) -> str:
    """What a value of this type is, in words."""
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(map(_meaning, get_args(hint)))
    if get_origin(hint) is list:
        return "a list of numbers such as [0.5]" if get_args(hint) == (float,) else "a list such as [first, second]"
    return MEANT[hint]


def _nearest(hint: Any, value: Any) -> str:
    """The whole numbers beside a fraction that stands where only whole ones may."""
    if int not in (hint, *get_args(hint)) or not isinstance(value, float) or not math.isfinite(value):
        return ""
    low, high = math.floor(value), math.ceil(value)
    return f"; the nearest is {low}" if low == high else f"; the nearest are {low} and {high}"


def _same_groups(at_root: Any, of_model: Any) -> None:
    """Raise ValueError where `groups` at the root would be without effect."""
    if at_root != of_model:
        raise ValueError(
            f"groups={shown(at_root)} does not reach the model, which has model.groups={shown(of_model)}: give the "
            "number once, as groups=N, to a model with groups to set (see conf/model/)."
        )


def as_dict(cfg: DictConfig, resolve: bool = True) -> dict[str, Any]:
    """`cfg` as a dictionary, whose interpolations are replaced by their values."""
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=resolve))


def _resolve(cfg: DictConfig) -> dict[str, Any]:
    missing = _missing(as_dict(cfg, resolve=False))
    if missing:
        raise ValueError(f"{missing[0]} has no value yet: give it on the command line, {missing[0]}=VALUE.")
    try:
        return as_dict(cfg)
    except OmegaConfBaseException as error:
        raise ValueError(f"The configuration cannot be resolved: {str(error).splitlines()[0].rstrip('.')}.") from None


def _missing(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The keys that must be given and were not; interpolations of them are not named."""
    missing_keys = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            missing_keys += _missing(value, f"{prefix}{key}.")
        elif value == "???":
            missing_keys.append(f"{prefix}{key}")
    return missing_keys
