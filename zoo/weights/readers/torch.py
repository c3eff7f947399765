"""Checkpoints of PyTorch: `.pth`, `.pt`, `.bin`, `.ckpt`, `.pth.tar`, and the archives that pytorchcv packs them in.

They are pickles, which can run any code; `torch.load(weights_only=True)` builds tensors alone and refuses the rest.
"""

import contextlib
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo.weights.checkpoint import Checkpoint, Entry, damaged
from zoo.weights.names import modules, plain_names
from zoo.weights.readers.archive import check_size, unpacked

# The keys under which training scripts put a running average of the weights, and the weights.
AVERAGED = (
    "state_dict_ema", "model_ema", "ema_state_dict", "model_ema_state_dict", "ema", "ema_model", "ema_state",
    "params_ema", "averaged_model", "teacher",  # of a student that it is the average of, as in Mean Teacher and DINO
)  # fmt: skip
TRAINED = (
    "state_dict", "model_state_dict", "model", "module", "net", "network", "model_state", "weights", "params",
    "checkpoint", "student",
)  # fmt: skip
MODULES = (*AVERAGED, "student")  # which may lie in one table, their names at the beginning of those of the tensors
LISTED = 8  # keys in an error
DEEPEST = 4  # keys that lead to a table of tensors
# What lies beside weights in checkpoints and is data: settings, paths, numbers. None of it is imported or made.
PYTHON_DATA = (
    "argparse.Namespace", "types.SimpleNamespace", "typing.Any", "torch.torch_version.TorchVersion",
    *(f"datetime.{kind}" for kind in ("datetime", "date", "time", "timedelta", "timezone")),
    "decimal.Decimal", "fractions.Fraction", "uuid.UUID",
    *(f"builtins.{kind}" for kind in ("range", "slice", "frozenset")),
    # Enumerations, of those that scripts of training have among their arguments.
    "torchvision.transforms.functional.InterpolationMode", "PIL.Image.Resampling", "http.HTTPStatus", "re.RegexFlag",
    "signal.Signals",
    *(f"{home}.{flavour}{system}Path"
      for home in ("pathlib", "pathlib._local")
      for flavour, system in (("", "Posix"), ("", "Windows"), ("Pure", "Posix"), ("Pure", "Windows"))),
)  # fmt: skip
NUMPY_DATA = (
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    "numpy.dtype", "numpy.ndarray",
    *(f"numpy.dtypes.{kind}DType" for kind in (
        "Bool", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float16", "Float32",
        "Float64", "Str", "Bytes",
    )),
    *(f"numpy.{kind}" for kind in ("float32", "float64", "int32", "int64", "bool_")),
)  # fmt: skip
OMEGACONF_DATA = tuple(f"omegaconf.{name}" for name in (
    "dictconfig.DictConfig", "listconfig.ListConfig", "base.Metadata", "base.ContainerMetadata", "nodes.AnyNode",
    "nodes.StringNode", "nodes.IntegerNode", "nodes.FloatNode", "nodes.BooleanNode",
))  # fmt: skip
DICTIONARIES = (
    "collections.defaultdict", "builtins.dict", "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict", "lightning.fabric.utilities.data.AttributeDict",
)  # fmt: skip
TYPES = ("builtins.int", "builtins.float", "builtins.str", "builtins.bool", "builtins.list", "builtins.tuple")


class PassedOver:
    """In the place of an object that is no weight: it takes whatever would have made that, and keeps nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class EmptyDictionary:
    """In the place of a kind of dictionary: calling this gives a plain one."""

    def __new__(cls, *args: Any) -> Any:
        return {}


@contextlib.contextmanager
def open_torch_file(path: Path, source: str, use_ema: bool = True) -> Iterator[Checkpoint]:
    """The weights may lie under a key of TRAINED, or their running average under one of AVERAGED, as timm reads them.

    It warns where there are both, or several others, and says which are read.

    Raises:
        ImportError: PyTorch is not installed.
        ValueError: a file that is damaged, that holds code, or that unpacks to far more than its size; or one with a
            running average alone where `use_ema` is False.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{source} is a file of PyTorch, which is not installed: pip install torch, "
            "or give the same weights as .safetensors."
        ) from error
    with _unzipped(path, source) as inner:
        mapped = inner == path and zipfile.is_zipfile(path)  # then tensors are read from the file when they are needed
        try:
            with torch.serialization.safe_globals(_harmless()), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of pickle's protocol
                content = torch.load(inner, map_location="cpu", weights_only=True, mmap=mapped)
        except Exception as error:  # of many kinds, for each way in which a file can be wrong
            raise damaged(source, _why(str(error) or type(error).__name__)) from error
        tensors = _tensors(content, source, use_ema, torch)

        def read(name: str) -> Any:
            tensor = tensors[name].detach()
            return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()

        entries = {
            name: Entry(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
            for name, tensor in tensors.items()
        }
        yield Checkpoint(source, entries, read)


def _harmless() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """What `torch.load` may meet beside tensors, and what it takes in the place of it."""
    data = (*PYTHON_DATA, *NUMPY_DATA, *OMEGACONF_DATA, *TYPES)
    return [*((PassedOver, name) for name in data), *((EmptyDictionary, name) for name in DICTIONARIES)]


def _why(message: str) -> str:
    """What PyTorch says of a file, in the words of a user of this package."""
    if "TorchScript" in message:
        return "it is a TorchScript archive, which is code and is not loaded: save the module's state_dict()"
    if "legacy .tar" in message:
        return "it is of the .tar format of PyTorch before 0.1.10: load and save it with PyTorch once"
    if "weights_only" in message:
        kind = re.search(r"GLOBAL ([\w.]+)", message)
        named = f" ({kind[1]})" if kind else ""
        return f"it holds more than tensors, which may be code and is not loaded{named}: save the module's state_dict()"
    return message


@contextlib.contextmanager
def _unzipped(path: Path, source: str) -> Iterator[Path]:
    """The file to load: `path` itself, or the one member of a `.zip`, for as long as it is needed."""
    if path.suffix.lower() != ".zip":
        check_size(path, source)
        yield path
        return
    with unpacked(path, source, _sole_member, "weights.pth") as inner:
        check_size(inner, source)
        yield inner


def _sole_member(members: list[str]) -> str:
    if len(members) != 1 or not members[0].lower().endswith((".pth", ".pt")):
        raise ValueError("it must hold one file, whose name ends in .pth or .pt")
    return members[0]


def _tensors(content: Any, source: str, use_ema: bool, torch: Any) -> dict[str, Any]:
    """The tensors of what a file holds, by their names in the network itself."""
    tables = dict(_tables(content, torch))
    if not tables:
        raise damaged(source, f"it holds no table of tensors, but {_described(content)}")
    averaged = [keys for keys in tables if any(key in AVERAGED for key in keys)]
    trained = [keys for keys in tables if keys not in averaged]
    if not use_ema and not trained:
        raise ValueError(f"{source} has a running average of the weights alone: read it with use_ema=True.")
    eligible = averaged if use_ema and averaged else trained
    keys = eligible[0]
    if len(eligible) > 1 or (use_ema and averaged and trained):
        listed = ", ".join(_place(each) for each in tables)
        advice = "; use_ema=False takes those that are no running average" if keys in averaged and trained else ""
        warnings.warn(f"{source} has weights under {listed}: {_place(keys)} is read{advice}.", stacklevel=2)
    table = tables[keys]
    for name, value in table.items():
        if not isinstance(name, str):
            raise damaged(source, f"{name!r} in it is no name of a tensor")
        if value.layout != torch.strided or value.is_quantized or value.is_complex() or value.device.type != "cpu":
            raise damaged(source, f"{name!r} in it is no plain tensor of numbers")
    return {plain: table[name] for plain, name in plain_names(table, source).items()}


def _tables(content: Any, torch: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Tables of tensors, without what else lies in them, under the keys that lead there."""
    if not isinstance(content, Mapping):
        return
    nested: list[tuple[tuple[str, ...], dict[str, Any]]] = []
    for key in (*AVERAGED, *TRAINED) if len(keys) < DEEPEST else ():
        nested += _tables(content.get(key), torch, (*keys, key))
    tensors = {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if nested:
        yield from nested
        return
    for module, part in modules(tensors, MODULES).items():
        weights = {name: value for name, value in part.items() if not _is_state(name, value)}
        if weights:
            yield ((*keys, module) if module else keys), weights


def _described(content: Any) -> str:
    """What a file holds that is no table of tensors, and the keys that it has."""
    if not isinstance(content, Mapping) or not content:
        return f"a {type(content).__name__}"
    shown = ", ".join(str(key) for key in list(content)[:LISTED]) + (", ..." if len(content) > LISTED else "")
    known = ", ".join((*TRAINED, *AVERAGED))
    return f"a {type(content).__name__} of {shown}; tables are read at the top and under {known}"


def _place(keys: tuple[str, ...]) -> str:
    """The keys that lead to a table, to read."""
    return ".".join(keys) or "the top"


def _is_state(name: str, tensor: Any) -> bool:
    """Whether it is a number, or a random generator's state: the name of a weight has a layer in it, and a dot."""
    return "." not in str(name) and (tensor.numel() == 1 or not tensor.is_floating_point())
