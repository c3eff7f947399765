"""Opening weights, whatever they are: a file of any kind that is read, the folder of a run, or a published tag."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from zoo.weights.checkpoint import Checkpoint, creation
from zoo.weights.sources import RUN_MODEL, SUFFIXES, TORCH_SUFFIXES, is_tag


@contextlib.contextmanager
def open_weights(
    source: str | os.PathLike[str], model: str | None = None, *, use_ema: bool = True
) -> Iterator[Checkpoint]:
    """Open a file by its path, the model of a run by its folder, or what is published under a tag such as
    "timm/resnext50_32x4d.a1h_in1k".

    Args:
        model: the network that the weights are wanted for; None is not known.
        use_ema: whether to take the running average of the weights, where a checkpoint of PyTorch has both.

    Raises:
        ValueError: the file is not one of weights, or is damaged, or is known to be of another network; an unknown
            tag, or one of another network, of which nothing is fetched.
        TypeError: `source` is neither a path nor a tag.
        ImportError: the file needs a package that is not installed.

    Example:
        >>> import tempfile
        >>> from zoo.weights.opening import open_weights
        >>> images = keras.Input((8, 8, 4))
        >>> path = tempfile.mkdtemp() + "/net.safetensors"
        >>> zoo.save_torch(keras.Model(images, blocks.convolution(images, 8, 3, name="conv"), name="net"), path)
        >>> with open_weights(path) as checkpoint:
        ...     checkpoint.model, checkpoint.entries
        ('net', {'conv.weight': Entry(shape=(8, 4, 3, 3), dtype='float32')})
    """
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"weights={source!r} is neither the path of a file nor a tag: give one of them, as a string.")
    if not is_tag(source):
        with _open(Path(source), str(source), use_ema) as checkpoint:
            check_network(model, checkpoint.model, checkpoint.source)
            yield checkpoint
        return
    from zoo.weights.published import fetch, resolve

    published = resolve(str(source))
    check_network(model, published.model, published.tag)
    with _open(fetch(published), published.tag, use_ema) as checkpoint:
        yield replace(checkpoint, model=published.model, settings=published.settings)


def check_network(wanted: str | None, model: str | None, source: str) -> None:
    """Raise ValueError where the weights are of another network: shapes do not tell all of them apart.

    Example:
        >>> from zoo.weights.opening import check_network
        >>> check_network("resnet50", "resnet50", "resnet.pth")
        >>> check_network("resnet50", "dpn68", "dpn.pth")
        Traceback (most recent call last):
            ...
        ValueError: dpn.pth has weights of dpn68, and resnet50 is wanted: use zoo.create('dpn68', weights='dpn.pth').
    """
    if wanted is not None and model not in (None, wanted):
        raise ValueError(f"{source} has weights of {model}, and {wanted} is wanted{creation(model, source)}.")


@contextlib.contextmanager
def _open(path: Path, source: str, use_ema: bool) -> Iterator[Checkpoint]:
    if (path / RUN_MODEL).is_file():
        path = path / RUN_MODEL
    if not path.is_file():
        why = f": it is a folder, and has no {RUN_MODEL}." if path.is_dir() else "."
        raise ValueError(f"There is no file {source!r}{why}")
    name = path.name.lower()
    if name.endswith(".safetensors"):
        from zoo.weights.readers.safetensors import open_safetensors
        from zoo.weights.readers.training import is_training_checkpoint, open_training

        opened = (open_training if is_training_checkpoint(path) else open_safetensors)(path, source)
    elif name.endswith(".weights.h5"):
        from zoo.weights.readers.keras import open_keras_file

        opened = open_keras_file(path, source)
    elif name.endswith(".keras"):
        from zoo.weights.readers.keras import open_keras_model

        opened = open_keras_model(path, source)
    elif name.endswith(TORCH_SUFFIXES):
        from zoo.weights.readers.torch import open_torch_file

        opened = open_torch_file(path, source, use_ema)
    else:
        raise ValueError(f"{source!r} is of no kind that can be read: its name must end in {', '.join(SUFFIXES)}.")
    with opened as checkpoint:
        yield checkpoint
