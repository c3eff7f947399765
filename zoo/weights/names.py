"""Names of tensors in checkpoints of PyTorch, without what wrappers of modules write into them."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

from zoo.weights.checkpoint import Entry, damaged

Tensor = TypeVar("Tensor")

# At the beginning: DataParallel, DistributedDataParallel and AveragedModel; modules of Lightning, which name their
# network so as a rule.
PREFIXES = ("module.", "model.", "net.", "network.")
# Anywhere: torch.compile, fully sharded modules and how these were called before, checkpointed activations, Fabric.
WRAPPERS = (
    "_orig_mod.", "_fsdp_wrapped_module.", "_fpw_module.", "_checkpoint_wrapped_module.", "_forward_module.",
)  # fmt: skip
# Of batches and of models seen, which Keras does not count; thop's, of operations and parameters, in every module.
COUNTERS = ("num_batches_tracked", "n_averaged", "total_ops", "total_params")
# In the name of a module that trains or measures a network, and is no layer of one.
TRAINING = re.compile(r"loss|criterion|metric|accuracy|optimizer|scheduler|scaler|(?<![a-z])acc(?![a-z])")


def plain_names(names: Iterable[str], source: str) -> dict[str, str]:
    """The names that tensors have in the network itself, each with its name in the file; counters are left out.

    Raises ValueError where two tensors have one name.

    Example:
        >>> from zoo.weights.names import plain_names
        >>> plain_names(["module._orig_mod.conv1.weight", "n_averaged"], "last.pth")
        {'conv1.weight': 'module._orig_mod.conv1.weight'}
    """
    names_in_file: dict[str, str] = {}
    for name in names:
        plain = _plain(name)
        if plain.rpartition(".")[2] in COUNTERS:
            continue
        if plain in names_in_file:
            raise damaged(source, f"{plain} is in it twice, as {names_in_file[plain]} and as {name}")
        names_in_file[plain] = name
    return names_in_file


def modules(table: Mapping[str, Tensor], keys: Collection[str]) -> dict[str | None, dict[str, Tensor]]:
    """The tensors of `table` by the module of a training script that they lie in, where that is called like one of
    `keys`; None has the others.

    Example:
        >>> from zoo.weights.names import modules
        >>> modules({"model.fc.bias": 1, "ema.module.fc.bias": 2}, ["ema"])
        {None: {'model.fc.bias': 1}, 'ema': {'module.fc.bias': 2}}
    """
    parts: dict[str | None, dict[str, Tensor]] = {}
    for name, tensor in table.items():
        module, _, inner = _plain(name).partition(".") if isinstance(name, str) else ("", "", name)
        if inner and module in keys:
            parts.setdefault(module, {})[inner] = tensor
        else:
            parts.setdefault(None, {})[name] = tensor
    return parts


def is_beside_the_network(name: str, entry: Entry) -> bool:
    """Whether a tensor that no layer of a network wants is one number of a training script: a count, or a value of what
    is called a loss, a metric and the like. Other single values may be a layer's, as the slope of a PReLU is.

    Example:
        >>> from zoo.weights.checkpoint import Entry
        >>> from zoo.weights.names import is_beside_the_network
        >>> is_beside_the_network("best_acc", Entry((), "float32"))
        True
        >>> is_beside_the_network("act.weight", Entry((1,), "float32"))  # the slope of a PReLU
        False
    """
    return entry.shape in ((), (1,)) and (entry.is_integer or TRAINING.search(name.lower()) is not None)


def _plain(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    while name.startswith(PREFIXES):
        name = name.partition(".")[2]
    return name
