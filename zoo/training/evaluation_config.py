"""The configuration of an evaluation: what a checkpoint says of itself, and the data set. Imports no TensorFlow."""

import json
import logging
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from zoo.data_config import DataConfig
from zoo.errors import UserError
from zoo.metrics import RESULT_FILE
from zoo.registry import family_key, named
from zoo.training.run_directory import COMPOSITION, MODEL_FILE, without_model
from zoo.training.settings import EVALUATE, as_dict, model_config
from zoo.typing import ModelConfig
from zoo.weights.published import resolve, tags
from zoo.weights.sources import SUFFIXES

KINDS = f"the directory of a run, a file of weights (its name ends in {', '.join(SUFFIXES)}) or a tag"
OTHER_KINDS = (".onnx", ".tflite")
NETWORK = ("model", "groups", "small_stem")  # what says which network it is
OF_RUN = (*NETWORK, "dataset", "recipe", "seed")  # what an evaluation takes from the run
# The keys of a recipe that an evaluation depends on.
EFFECTIVE = ("recipe.batch_size", "recipe.loss")
TOGETHER = ("experiment", "debug")  # groups that set keys of other groups
logger = logging.getLogger(__name__)


def evaluation_config(cfg: DictConfig, overrides: Sequence[str] = ()) -> DictConfig:
    """`cfg`, of `mode=evaluate`, with the network and the pictures that its `checkpoint` is of; another `cfg` as it is.

    From a run come its network, its data set and its recipe; from a file or a tag the network, and size and
    normalisation of the pictures, for the data set of `cfg`.

    Args:
        overrides: what the user has set, as on the command line: `dataset=NAME`, `dataset.KEY=VALUE`, and the batch
            size take the place of what the run says. What is without effect is named in the log.

    Raises:
        UserError: there is no such checkpoint, it cannot be read, or the user asks for another network than its.

    Example:
        >>> from omegaconf import OmegaConf
        >>> from zoo.training.evaluation_config import evaluation_config
        >>> cfg = OmegaConf.create({"mode": "evaluate", "checkpoint": "timm/lcnet_050.ra2_in1k", "dataset": {}})
        >>> cfg = evaluation_config(cfg)
        >>> cfg.model.variant, cfg.dataset.image_size, cfg.dataset.crop_fraction
        ('lcnet_050', 224, 0.875)
    """
    if cfg.get("mode") != EVALUATE or not isinstance(cfg.get("checkpoint"), str):
        return cfg
    source, path = cfg.checkpoint, Path(cfg.checkpoint).expanduser()
    keys = [each.key_or_group for each in OverridesParser.create().parse_overrides(list(overrides))]
    try:
        if (path / MODEL_FILE).is_file():
            return _of_run(cfg, path, keys)
        if path.is_dir():
            raise UserError(without_model(path) or f"{path} is a folder without {MODEL_FILE}: give {KINDS}.")
        if path.is_file() or source.lower().endswith((*SUFFIXES, *OTHER_KINDS)):
            return _of_file(cfg, path, keys)
        return _of_tag(cfg, source, keys)
    except (ValueError, ImportError) as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error


def _of_run(cfg: DictConfig, folder: Path, keys: Sequence[str]) -> DictConfig:
    own = _composed(folder)
    taken = cfg.copy()
    OmegaConf.set_struct(taken, False)
    for key in OF_RUN:
        taken.pop(key, None)
        if key in own:
            taken[key] = own[key]
    for key in EFFECTIVE:
        if key in keys:
            OmegaConf.update(taken, key, OmegaConf.select(cfg, key))
    if "dataset" in keys:
        taken.dataset = cfg.dataset.copy()
        taken.dataset.update(_pictures(own.dataset))
    for key in keys:
        if key.startswith("dataset."):
            OmegaConf.update(taken, key, OmegaConf.select(cfg, key))
    _see(taken, DataConfig.from_keras(folder / MODEL_FILE), keys)
    _refuse_other_network(cfg, taken, keys)
    _name_without_effect(cfg, taken, keys)
    return taken


def _composed(folder: Path) -> DictConfig:
    """The configuration of a run, from where Hydra's users look for it, else from its record."""
    composed, result = folder / COMPOSITION / "config.yaml", folder / RESULT_FILE
    values: Any = None
    try:
        if composed.is_file():
            values = OmegaConf.to_container(OmegaConf.load(composed), resolve=True)
        elif result.is_file():
            values = json.loads(result.read_text(encoding="utf-8")).get("config")
    except (ValueError, AttributeError, RecursionError, OmegaConfBaseException) as error:
        raise UserError(f"{composed if composed.is_file() else result} is damaged: {_first_line(error)}.") from error
    except Exception as error:  # of PyYAML, which has no public base but Exception
        raise UserError(f"{composed} is no YAML that can be read: {_first_line(error)}.") from error
    if not isinstance(values, dict) or not all(isinstance(values.get(key), dict) for key in ("model", "dataset")):
        raise UserError(
            f"{folder} does not say what was trained on what, in {COMPOSITION}/config.yaml or {RESULT_FILE}: give "
            f"checkpoint={folder / MODEL_FILE} and the data set, dataset=NAME."
        )
    return OmegaConf.create(values)


def _of_file(cfg: DictConfig, path: Path, keys: Sequence[str]) -> DictConfig:
    name = path.name.lower()
    if not path.is_file():
        raise UserError(f"There is no file {str(path)!r}.")
    if not name.endswith(SUFFIXES):
        instead = f": `zoo predict {path}` shows what it predicts" if name.endswith(OTHER_KINDS) else ""
        raise UserError(f"{path} is of no kind that mode=evaluate takes, {KINDS}{instead}.")
    taken = cfg.copy()
    OmegaConf.set_struct(taken, False)
    if name.endswith(".keras"):
        network = named(_model_name(path))
        if network is not None:
            _set_network(taken, {"family": family_key(network), **asdict(network)}, network.groups)
        config = DataConfig.from_keras(path)
        if config is None:
            logger.warning("%s does not say how it sees pictures: taken to be as dataset=%s.", path, cfg.dataset.name)
        _see(taken, config, keys)
    elif not any(_head(key) in NETWORK for key in keys):
        from zoo.weights.opening import open_weights  # NumPy, which a training can do without until it starts

        with open_weights(path) as checkpoint:
            if checkpoint.model is not None:
                _set_network(taken, {"variant": checkpoint.model, "groups": None})
            if checkpoint.data_config is not None:
                _see(taken, DataConfig.from_json(checkpoint.data_config, str(path)), keys)
    _refuse_other_network(cfg, taken, keys)
    _name_without_effect(cfg, taken, keys)
    return taken


def _of_tag(cfg: DictConfig, tag: str, keys: Sequence[str]) -> DictConfig:
    if tag not in tags():
        try:
            resolve(tag)  # raises, with the nearest tags
        except ValueError as error:
            raise UserError(f"{error} Or give {KINDS}.") from error
    published = resolve(tag)
    taken = cfg.copy()
    OmegaConf.set_struct(taken, False)
    _set_network(taken, {"variant": published.model, "groups": None})
    taken.small_stem = cfg.small_stem if "small_stem" in keys else False  # as its publisher has it, at any size
    _see(taken, published.data_config(), keys)
    _refuse_other_network(cfg, taken, keys)
    _name_without_effect(cfg, taken, keys)
    return taken


def _set_network(cfg: DictConfig, model: Mapping[str, Any], groups: Any = None) -> None:
    cfg.pop("groups", None)
    cfg.model = OmegaConf.create(dict(model))


def _model_name(path: Path) -> str:
    """The name of the model in a `.keras`; empty where the file is damaged, which its reader says."""
    try:
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("config.json"))["config"]["name"])
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _pictures(dataset: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("image_size", "channels", "mean", "std", "resize_method", "crop_fraction", "crop_mode")
    return {key: dataset[key] for key in keys if key in dataset}


def _see(cfg: DictConfig, config: DataConfig | None, keys: Sequence[str]) -> None:
    """Let the data set of `cfg` show pictures as `config` says, but for what the user has set."""
    if config is None:
        return
    if config.include_preprocessing:
        raise UserError(f"{cfg.checkpoint} has its preprocessing inside: give the network without it.")
    if config.size[0] != config.size[1]:
        shape = f"{config.size[0]} x {config.size[1]} pixels"
        raise UserError(f"{cfg.checkpoint} takes images of {shape}, and mode=evaluate gives squares.")
    values = {
        "image_size": config.size[0],
        "channels": config.channels,
        "mean": list(config.mean),
        "std": list(config.std),
        "resize_method": config.interpolation,
        "crop_fraction": config.crop_pct,
        "crop_mode": config.crop_mode,
    }
    for key, value in values.items():
        if f"dataset.{key}" not in keys and not _same(cfg.dataset.get(key), value):
            cfg.dataset[key] = value


def _same(own: Any, value: Any) -> bool:
    """Whether two settings mean the same: one value of `mean` serves all channels."""
    if isinstance(value, list) and own is not None:
        return list(own) * (len(value) // len(own) if len(own) else 1) == value
    return own == value


def _head(key: str) -> str:
    return key.partition(".")[0].partition("@")[0]


def _refuse_other_network(asked: DictConfig, taken: DictConfig, keys: Sequence[str]) -> None:
    """Raise UserError where the user has named another network than the checkpoint is of."""
    set_here = [key for key in keys if _head(key) in NETWORK[:2]]
    if not set_here:
        return
    wanted, own = (_network(each) for each in (asked, taken))
    if wanted != own:
        raise UserError(
            f"{', '.join(set_here)} asks for {wanted.name}, and {asked.checkpoint} is of {own.name}: leave it out, for "
            "the checkpoint says which network it is of."
        )


def _network(cfg: DictConfig) -> ModelConfig:
    return model_config(as_dict(cfg)["model"], "groups" in cfg)


def _name_without_effect(asked: DictConfig, taken: DictConfig, keys: Sequence[str]) -> None:
    """Name, in the log, what the user has set and an evaluation does not depend on."""
    without = []
    for key in keys:
        if _head(key) in ("recipe", "limit_steps"):
            ineffective = key not in EFFECTIVE
        elif key in TOGETHER:
            ineffective = any(_differ(asked, taken, each) for each in ("model", "dataset", "recipe"))
        else:
            ineffective = _head(key) not in ("model", "groups", "dataset") and _differ(asked, taken, key)
        if ineffective:
            without.append(key)
    if without:
        logger.warning("Without effect on an evaluation: %s.", ", ".join(without))


def _differ(first: DictConfig, second: DictConfig, key: str) -> bool:
    return OmegaConf.select(first, key) != OmegaConf.select(second, key)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
