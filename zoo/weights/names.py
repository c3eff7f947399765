"""Names of tensors in checkpoints of PyTorch, without what wrappers of modules write into them."""

from collections.abc import Iterable

from zoo.weights.checkpoint import damaged

# At the beginning: DataParallel, DistributedDataParallel and AveragedModel; modules of Lightning, which name their
# network so as a rule.
PREFIXES = ("module.", "model.", "net.", "network.")
# Anywhere: torch.compile, fully sharded modules, checkpointed activations.
WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
COUNTERS = ("num_batches_tracked", "n_averaged")  # of batches and of models seen, which Keras does not count


def plain_names(names: Iterable[str], source: str) -> dict[str, str]:
    """The names that tensors have in the network itself, each with its name in the file; counters are left out.

        plain_names(["module._orig_mod.conv1.weight", "n_averaged"], "last.pth") -> {"conv1.weight": "module._orig...."}

    Raises ValueError where two tensors have one name.
    """
    found: dict[str, str] = {}
    for name in names:
        plain = _plain(name)
        if plain.rpartition(".")[2] in COUNTERS:
            continue
        if plain in found:
            raise damaged(source, f"{plain} is in it twice, as {found[plain]} and as {name}")
        found[plain] = name
    return found


def _plain(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    while name.startswith(PREFIXES):
        name = name.partition(".")[2]
    return name
