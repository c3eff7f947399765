"""A network in OpenVINO."""

from pathlib import Path

import numpy as np

from zoo.data_config import KEY
from zoo.errors import UserError
from zoo.exporting.openvino import inference, read, texts
from zoo.prediction.network import Network, check_input

TYPES = {"f32": "float32", "f16": "float16", "f64": "float64", "u8": "uint8"}


def open_openvino(path: Path, threads: int | None = None) -> Network:
    """The network in a folder of `zoo export`, or in an `.xml` file beside its `.bin`.

    Args:
        threads: of the runtime; None leaves them to it.

    Raises:
        UserError: OpenVINO cannot read it, or it is not from pictures to classes.
        ImportError: OpenVINO is not installed.
    """
    try:
        model = read(path)
    except ImportError as error:
        raise ImportError(
            f"{path} needs OpenVINO, which is not installed: pip install 'grouped-convolution-zoo[openvino]'."
        ) from error
    except ValueError as error:
        raise UserError(str(error)) from error
    shapes = [
        tuple(axis.get_length() if axis.is_static else None for axis in each.get_partial_shape())
        if each.get_partial_shape().rank.is_static
        else ()
        for each in model.inputs
    ]
    shape = check_input(str(path), shapes, len(model.outputs))
    kind = model.input().get_element_type().get_type_name()
    if kind not in TYPES:
        raise UserError(f"{path} takes {kind}: predict gives {', '.join(TYPES)}.")
    request = inference(model, **({} if threads is None else {"INFERENCE_NUM_THREADS": threads}))

    def call(images: np.ndarray) -> np.ndarray:
        request.infer([images.astype(TYPES[kind], copy=False)])
        return request.get_output_tensor().data.copy()

    return Network(str(path), shape, call, takes_levels=kind == "u8", config=texts(model).get(KEY))
