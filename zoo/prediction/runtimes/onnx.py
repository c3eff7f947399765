"""A network in ONNX Runtime."""

from pathlib import Path

import numpy as np

from zoo.data_config import KEY
from zoo.errors import UserError
from zoo.prediction.network import Network, check_input

TYPES = {
    "tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64", "tensor(uint8)": "uint8",
}  # fmt: skip


def open_onnx(path: Path, threads: int | None = None) -> Network:
    """The network in an `.onnx` file.

    Args:
        threads: of the runtime; None leaves them to it.

    Raises:
        UserError: ONNX Runtime cannot read it, or it is not from pictures to classes.
        ImportError: ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            f"{path} needs ONNX Runtime, which is not installed: pip install 'grouped-convolution-zoo[export]'."
        ) from error
    onnxruntime.set_default_logger_severity(3)  # its warnings are of no use to whoever only runs the file
    settings = onnxruntime.SessionOptions()
    if threads is not None:
        settings.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # of kinds that it does not export
        raise UserError(f"{path} cannot be read by ONNX Runtime: {str(error).strip().splitlines()[0]}") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shapes = [tuple(axis if isinstance(axis, int) and axis > 0 else None for axis in each.shape) for each in inputs]
    shape = check_input(str(path), shapes, len(outputs))
    name, kind = inputs[0].name, inputs[0].type
    if kind not in TYPES:
        raise UserError(f"{path} takes {kind}: predict gives {', '.join(TYPES)}.")

    def call(images: np.ndarray) -> np.ndarray:
        return session.run([outputs[0].name], {name: images.astype(TYPES[kind], copy=False)})[0]

    properties = session.get_modelmeta().custom_metadata_map
    return Network(str(path), shape, call, takes_levels=TYPES[kind] == "uint8", config=properties.get(KEY))
