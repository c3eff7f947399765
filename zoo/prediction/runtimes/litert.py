"""A network in LiteRT, in float32 or quantised."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data_config import KEY
from zoo.errors import UserError
from zoo.prediction.network import Network, check_input

IDENTIFIER = b"TFL3"  # bytes 4 to 7 of a file


def open_litert(path: Path, threads: int | None = None) -> Network:
    """The network in a `.tflite` file.

    Args:
        threads: of the runtime; None is one a core.

    Raises:
        UserError: LiteRT cannot read it, or it is not from pictures to classes.
        ImportError: LiteRT is not installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ImportError(
            f"{path} needs LiteRT, which is not installed: pip install 'grouped-convolution-zoo[export]'."
        ) from error
    content = path.read_bytes()
    if content[4:8] != IDENTIFIER:
        raise UserError(f"{path} is no LiteRT file, or a damaged one.")
    try:
        interpreter = Interpreter(model_content=content, num_threads=threads or os.cpu_count())
        sources, targets = interpreter.get_input_details(), interpreter.get_output_details()
        config = _metadata(content)
    except Exception as error:  # of many kinds, for a damaged file
        raise UserError(f"{path} cannot be read by LiteRT: {str(error).strip().splitlines()[0]}") from error
    shapes = [tuple(None if axis < 0 else int(axis) for axis in _signature(each)) for each in sources]
    shape = check_input(str(path), shapes, len(targets))
    source, target = sources[0], targets[0]

    def call(images: np.ndarray) -> np.ndarray:
        if tuple(interpreter.get_input_details()[0]["shape"]) != images.shape or not allocated:
            interpreter.resize_tensor_input(source["index"], images.shape, strict=True)
            interpreter.allocate_tensors()
            allocated.append(True)
        interpreter.set_tensor(source["index"], quantised(images, source))
        interpreter.invoke()
        return dequantised(interpreter.get_tensor(target["index"]), target)

    allocated: list[bool] = []
    is_integer = np.issubdtype(source["dtype"], np.integer)
    return Network(str(path), shape, call, takes_levels=is_integer and not _scale(source), config=config)


def quantised(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Numbers in the type of a tensor of LiteRT, by its scale and zero point where it has such.

    Args:
        details: as `Interpreter.get_input_details` has them.
    """
    dtype, scale = details["dtype"], _scale(details)
    if not scale:
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    steps = np.rint(values.astype(np.float32) / np.float32(scale)) + details["quantization"][1]
    return np.clip(steps, limits.min, limits.max).astype(dtype)


def dequantised(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """The numbers that a tensor of LiteRT stands for."""
    scale = _scale(details)
    return (values.astype(np.float64) - details["quantization"][1]) * scale if scale else values


def _scale(details: dict[str, Any]) -> float:
    """0 where the tensor is not quantised."""
    return float(details["quantization"][0]) if np.issubdtype(details["dtype"], np.integer) else 0.0


def _signature(details: dict[str, Any]) -> Any:
    """The shape with -1 for dynamic axes; a file without any may lack it."""
    signature = details.get("shape_signature")
    return details["shape"] if signature is None or not len(signature) else signature


def _metadata(content: bytes) -> str | None:
    """The text under `KEY` in the FlatBuffer."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    for place in range(model.MetadataLength()):
        entry = model.Metadata(place)
        if entry.Name() == KEY.encode():
            return model.Buffers(entry.Buffer()).DataAsNumpy().tobytes().decode("utf-8")
    return None
