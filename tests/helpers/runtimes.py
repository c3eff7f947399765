"""Exported files in the runtimes that read them: what they compute and which operators they hold."""

from collections import Counter

import numpy as np


def litert(path, shape: tuple | None = None) -> tuple:
    """A LiteRT file's interpreter, for inputs of `shape`, and its operators; "DELEGATE" counts XNNPACK's partitions."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    if shape is not None:
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], shape)
    interpreter.allocate_tensors()
    return interpreter, Counter(operator["op_name"] for operator in interpreter._get_ops_details())


def run_litert(interpreter, images) -> np.ndarray:
    """The first output for each of `images`, one at a time, as phones run it."""
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]
    shape = (1, *images.shape[1:])
    if tuple(source["shape"]) != shape:
        interpreter.resize_tensor_input(source["index"], shape)
        interpreter.allocate_tensors()
    outputs = []
    for image in images:
        interpreter.set_tensor(source["index"], image[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(target)[0])
    return np.array(outputs)


def onnx(path) -> tuple:
    """An ONNX file's session, and its operators."""
    import onnx
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session, Counter(node.op_type for node in onnx.load(path).graph.node)


def to_int8(model, path, images) -> None:
    """Write `model` as a LiteRT file whose operators are int8, calibrated on `images`."""
    import tensorflow as tf

    model.export(
        path,
        format="litert",
        verbose=False,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([image[None]] for image in images),
        target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]},
    )
