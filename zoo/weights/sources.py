"""What `weights=` may name, by the name alone. Imports neither Keras nor NumPy."""

import os
from pathlib import Path

TORCH_SUFFIXES = (".pth", ".pt", ".zip", ".bin", ".ckpt", ".tar")
SUFFIXES = (".safetensors", ".weights.h5", *TORCH_SUFFIXES, ".keras")
RUN_MODEL = "model.keras"  # in the folder of a run of train.py


def is_tag(source: str | os.PathLike[str]) -> bool:
    """Whether `source` can only be the tag of published weights, known or not: there is no such path, nor is it one.

    Example:
        >>> from zoo.weights.sources import is_tag
        >>> is_tag("timm/resnext50_32x4d.a1h_in1k"), is_tag("resnext.safetensors")
        (True, False)
    """
    return isinstance(source, str) and not Path(source).exists() and not source.lower().endswith(SUFFIXES)
