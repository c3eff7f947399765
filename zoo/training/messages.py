"""The command line as Hydra understands it, and what goes wrong before and around a run as one sentence."""

import re
import traceback
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException

from zoo import registry
from zoo.checks import close_matches
from zoo.errors import UserError
from zoo.training import sweeps
from zoo.training.settings import SWEEP_FILES, as_dict

MULTIRUN = ("-m", "--multirun")
PLUGIN = re.compile(r"Unknown plugin class : 'hydra_plugins\.(hydra_\w+)\.")
NO_GRID = "A grid needs no search: without hydra/sweeper=optuna, -m runs all combinations."
SAMPLER = "hydra/sweeper/sampler"  # files of Optuna's plugin, of which conf/hydra/sweeper/optuna.yaml chooses one
LAUNCHING = ("submitit", "joblib", "optuna", "sqlalchemy")  # whose errors are of settings that they were given
WHERE = "HYDRA_FULL_ERROR=1 in the environment shows where."
EXTRAS = {"hydra_joblib_launcher": "joblib", "hydra_submitit_launcher": "slurm", "hydra_optuna_sweeper": "optuna"}


def arranged(arguments: Sequence[str], conf: Path) -> list[str]:
    """The command line as Hydra understands it, where it has `-m`.

    `sweep=groups` stands for the runs of conf/sweep/groups.yaml.

    argparse wants `-m` before or after all overrides, not between. And in a sweep over models Hydra looks for
    `model.width=0.5` in the default model first; as a choice of one value it is left to the runs.

    Args:
        conf: the folder of the configuration.

    Raises:
        UserError: there is no such sweep, or it cannot be run so.
    """
    flags = [text for text in arguments if text in MULTIRUN]
    others = [text for text in arguments if text not in MULTIRUN]
    if not flags:
        return others
    others = _with_sweep(others, conf)
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


def _with_sweep(arguments: Sequence[str], conf: Path) -> list[str]:
    """`arguments` with the overrides of a sweep in place of its name; those that are given themselves go before."""
    names = [text for text in arguments if text.lstrip("+").startswith(f"{sweeps.FOLDER}=")]
    if len(names) != 1 or "," in names[0]:  # of several, check() has the sentence
        return list(arguments)
    given = {text.lstrip("+").partition("=")[0] for text in arguments}
    own = sweeps.from_file(names[0].partition("=")[2], conf)
    own = [text for text in own if text.partition("=")[0] not in given]
    return [*own, *(text for text in arguments if text not in names)]


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
        if group == SAMPLER and not error.options:
            return _missing_plugin("hydra_optuna_sweeper", overrides)
        if group == "model" and (other := _of_the_zoo(name)):
            return other
        return f"There is no {group} {name!r}: {close_matches(name, error.options)}"
    if isinstance(error, OverrideParseException):
        return f"The argument {error.override!r} cannot be read: write KEY=VALUE, for example groups=16."
    if isinstance(error, ConfigCompositionException):
        return _composition(error, overrides, conf)
    if isinstance(error, RuntimeError) and (plugin := PLUGIN.search(str(error))):
        return _missing_plugin(plugin[1], overrides)
    if type(error).__module__.startswith("submitit."):
        return _of_submitit(error)
    if isinstance(error, RuntimeError) and "srun" in str(error):
        return (
            "hydra/launcher=submitit_slurm needs a login node of a SLURM cluster, and there is no srun here: "
            "hydra/launcher=submitit_local runs the same on this machine."
        )
    if isinstance(error, HydraException):
        return " ".join(str(error).split())
    if isinstance(error, ValueError) and str(error).startswith("GridSampler only"):  # Optuna's, and so is the next
        return f"The space has intervals, which have no grid. {NO_GRID}"
    if isinstance(error, RuntimeError) and "`Study.stop` is supposed" in str(error):
        return f"The last run of the grid failed, where Optuna ends without a result. {NO_GRID}"
    if isinstance(error, ValueError) and str(error) == "No trials are completed yet.":
        return "No run of the search has finished, so there are no best settings: what each failed of stands above."
    if isinstance(error, ValueError) and str(error).startswith("Config group override must be"):
        return _no_choice(overrides, conf)
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}; {WHERE}"
    if (package := _raised_in(error)) in LAUNCHING:
        return f"{package}: {str(error).splitlines()[0].rstrip('.')}; {WHERE}"
    return None


def _of_the_zoo(name: str) -> str | None:
    """How to train what is no file of conf/model/, and yet a family or a network of the zoo."""
    if name in registry.FAMILIES:
        variant = next(iter(registry.family(name).VARIANTS))
        return (
            f"The family {name!r} has no file conf/model/{name}.yaml: write it (docs/extend.md), or train a network of "
            f"it by name, with model=named model.variant={variant}."
        )
    if name in registry.variants():
        return f"{name!r} is a network, and model= takes a file of conf/model/: model=named model.variant={name}."
    return None


def exit_code(error: Exception) -> int:
    """What the program ends with: 1, or what the error says a scheduler should know."""
    return getattr(error, "exit_code", 1)


def _raised_in(error: Exception) -> str:
    """The package of the function that raised `error`."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")).partition(".")[0] if frames and str(error) else ""


def _missing_plugin(plugin: str, overrides: Sequence[str]) -> str:
    chosen = [text for text in overrides if text.startswith(("hydra/launcher=", "hydra/sweeper="))]
    package = plugin.replace("_", "-")
    extra = f'".[{EXTRAS[plugin]}]"' if plugin in EXTRAS else package
    return f"{' '.join(chosen) or 'The sweep'} needs {package}, which is not installed: pip install -e {extra}"


def _of_submitit(error: Exception) -> str:
    """Of a job that has left no result, of one that failed outside of its run, and of what SLURM refused."""
    text = " ".join(str(error).split())
    if silent := re.search(r"Job (\S+) .*?with path (\S+) has not produced any output \(state: ([^)]*)\)", text):
        job, path, state = silent.groups()
        return (
            f"Job {job} ended without a result (state {state}): {Path(path).parent} has what it printed. The others "
            "go on; the same command with hydra.sweep.dir=FOLDER resume=auto runs what is not finished."
        )
    raised = re.findall(r"^[\w.]+(?:Error|Exception|Interrupt)\b.*", str(error), re.MULTILINE)
    return f"submitit: {raised[-1] if raised else text[:500]}"


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
    groups = {path.name for path in conf.iterdir() if path.is_dir()} - {"sweep", "hydra"}
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
