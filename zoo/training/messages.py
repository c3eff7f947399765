"""What goes wrong before and around a run, as one sentence; and what Hydra knows of the sweep around a run."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from zoo.checks import close_matches
from zoo.errors import UserError
from zoo.training.settings import SWEEP_FILES, as_dict

MULTIRUN = ("-m", "--multirun")


def arranged(arguments: Sequence[str]) -> list[str]:
    """The command line as Hydra understands it, where it has `-m`.

    argparse wants `-m` before or after all overrides, not between. And in a sweep over models Hydra looks for
    `model.width=0.5` in the default model first; as a choice of one value it is left to the runs.
    """
    flags = [text for text in arguments if text in MULTIRUN]
    others = [text for text in arguments if text not in MULTIRUN]
    if not flags:
        return others
    try:
        parsed = OverridesParser.create().parse_overrides([text for text in others if not text.startswith("-")])
    except OverrideParseException:  # Hydra meets it again
        return [*flags, *others]
    swept = {override.key_or_group for override in parsed if override.is_sweep_override()}
    depends = {
        override.input_line
        for override in parsed
        if override.type == OverrideType.CHANGE
        and not override.is_sweep_override()
        and override.key_or_group.partition(".")[0] in swept
    }
    return [*flags, *(_choice_of_one(text) if text in depends else text for text in others)]


def _choice_of_one(override: str) -> str:
    key, _, value = override.partition("=")
    return f"{key}=choice({value})"


def explain(error: Exception, overrides: Sequence[str], conf: Path) -> str | None:
    """One sentence on `error`, or None where a traceback says more.

    Args:
        overrides: the command line's arguments.
        conf: the folder of the configuration.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"There is no {group} {name!r}: {close_matches(name, error.options)}"
    if isinstance(error, OverrideParseException):
        return f"The argument {error.override!r} cannot be read: write KEY=VALUE, for example groups=16."
    if isinstance(error, ConfigCompositionException):
        return _composition(error, overrides, conf)
    if isinstance(error, HydraException):
        return " ".join(str(error).split())
    if isinstance(error, ValueError) and str(error).startswith("Config group override must be"):
        return _no_choice(overrides, conf)
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}; HYDRA_FULL_ERROR=1 in the environment shows where."
    return None


def exit_code(error: Exception) -> int:
    """What the program ends with: 1, or what the error says a scheduler should know."""
    return getattr(error, "exit_code", 1)


def _no_choice(overrides: Sequence[str], conf: Path) -> str | None:
    """Hydra names neither the group nor its files where null or a number stands in place of a file."""
    for text in overrides:
        group, _, name = text.partition("=")
        if not group.strip("@"):
            return f"The argument {text!r} cannot be read: write KEY=VALUE, for example groups=16."
        options = sorted(path.stem for path in (conf / group).glob("*.yaml"))
        if options and name not in options and "," not in name:
            return f"{text} is not allowed: leave it out, or use one of {', '.join(options)}."
    return None


def _composition(error: ConfigCompositionException, overrides: Sequence[str], conf: Path) -> str:
    text = " ".join(f"{error} {error.__cause__ or ''}".split())
    if unknown := re.search(r"Could not (?:override|delete from config\.) '([^']+)'", text):
        key = unknown[1]
        if key == "sweep":
            return SWEEP_FILES
        if key == "groups":
            return f"{_choice('model', overrides)} has no groups to set: see conf/model/ for those that have."
        if key.startswith("hydra."):
            return f"There is no setting {key}: `python train.py --cfg hydra` shows those of Hydra."
        return f"There is no setting {key}: {_near(key, _known_keys(overrides, conf))}"
    if ambiguous := re.search(r"Ambiguous value for argument '([^']+)'", text):
        return f"{ambiguous[1]} lists several values: add -m to run them one after the other."
    if sweep := re.search(r"Sweep parameters '(.+)' requires --multirun", text):
        return f"{sweep[1]} stands for several values: add -m to run them one after the other."
    if twice := re.search(r"Multiple values for (\S+)\. To override a value use 'override \S+: (\S+)'", text):
        return f"+{twice[1]}={twice[2]} would be a second {twice[1]}: write {twice[1]}={twice[2]} to replace the first."
    return text


def _choice(group: str, overrides: Sequence[str]) -> str:
    choices = [text for text in overrides if text.startswith(f"{group}=")]
    if not choices:
        return f"The {group}"
    return f"One of {choices[-1]}" if "," in choices[-1] else choices[-1]


def _near(key: str, known: Sequence[str]) -> str:
    """The keys like `key`, its section's first; where there is none, that section and not the whole configuration."""
    section, _, last = key.rpartition(".")
    leaves = {name: name.rpartition(".")[2] for name in known}
    beside = [name for name in known if name.rpartition(".")[0] == section]
    near = get_close_matches(last, [leaves[name] for name in beside], n=3, cutoff=0.5)
    elsewhere = get_close_matches(last, set(leaves.values()), n=1, cutoff=0.75)
    close = [name for name in beside if leaves[name] in near]
    close += [name for name in known if leaves[name] in elsewhere and name not in close]
    if close:
        return f"did you mean {', '.join(close)}?"
    return f"known are {', '.join(beside or [name for name in known if '.' not in name])}."


def _known_keys(overrides: Sequence[str], conf: Path) -> list[str]:
    """Every key of the configuration that the command line chooses, without what it sets in it."""
    groups = {path.name for path in conf.iterdir() if path.is_dir()} - {"sweep"}
    chosen = [text.partition(",")[0] for text in overrides if text.partition("=")[0].lstrip("~") in groups]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf.resolve()), version_base="1.3"):
        cfg = compose("config", chosen)
    return sorted({*groups, *_flatten(as_dict(cfg, resolve=False))})


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for key, value in values.items():
        keys.append(f"{prefix}{key}")
        if isinstance(value, Mapping):
            keys += _flatten(value, f"{prefix}{key}.")
    return keys


def sweep_of(hydra: DictConfig) -> tuple[str | None, list[str]]:
    """The time stamp of the sweep that this job belongs to and the overrides that vary in it; (None, []) for none."""
    if hydra.mode != RunMode.MULTIRUN:
        return None, []
    folder = Path(hydra.sweep.dir)
    saved = folder / "multirun.yaml"  # the sweeper writes it before the first job
    whole = OmegaConf.load(saved).hydra if saved.exists() else hydra
    asked = list(whole.overrides.task) + [f"{key}={value}" for key, value in (whole.sweeper.params or {}).items()]
    parsed = OverridesParser.create().parse_overrides(asked)
    return folder.name, sorted({override.key_or_group for override in parsed if override.is_sweep_override()})
