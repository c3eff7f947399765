"""Networks as files for other runtimes, with tensors and axes that have names."""

import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from blocks import exportable
from blocks.ops.keras_internals import source_of
from zoo.checks import check_name

FORMATS = {"savedmodel": "tf_saved_model", "litert": "litert", "onnx": "onnx"}  # our name -> Keras's
SUFFIXES = {"savedmodel": "", "litert": ".tflite", "onnx": ".onnx"}
IMAGE_AXES = ("batch", "height", "width", "channels")


def export(model: keras.Model, path: str | os.PathLike[str], format: str | None = None) -> None:
    """Write `model` for inference in another runtime.

    The file names its tensors as the model does, `images` and `logits` for a network of `zoo.create`; open axes of an
    ONNX file are batch, height and width. It holds operations of the runtime alone, in the form of
    `blocks.exportable`. It is written aside and moved to `path` when complete: an existing file is replaced, an
    existing folder is not.

    Args:
        model: functional or Sequential, built; on Keras's TensorFlow backend.
        path: a file ending in .tflite or .onnx, or the new folder of a SavedModel.
        format: "savedmodel", "litert" or "onnx"; None takes it from the end of `path`.

    Raises:
        ValueError: an unknown format, a path that does not end as the format's files do, a model that is subclassed or
            not built.
        FileExistsError: the folder exists already and is not empty.
        ImportError: for ONNX, tf2onnx is not installed (`pip install -e ".[export]"`).

    Example:
        >>> import pathlib, tempfile
        >>> model = keras.Sequential([keras.Input((8, 8, 4), name="images"), blocks.GroupedConv2D(8, 3, groups=2)])
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> zoo.export(model, folder / "model.tflite")
        >>> (folder / "model.tflite").stat().st_size > 1000
        True
    """
    target = Path(path)
    if format is None:
        format = next((name for name, suffix in SUFFIXES.items() if suffix == target.suffix), "savedmodel")
    check_name("format", format, FORMATS, "export")
    suffix = SUFFIXES[format]
    if suffix and target.suffix != suffix:
        raise ValueError(f"{str(path)!r} is not the name of a file of format={format!r}: it must end in {suffix}.")
    if not getattr(model, "outputs", None):
        raise ValueError(f"{model.name} is subclassed or not built: export takes functional and Sequential models.")
    if target.is_dir() and (suffix or any(target.iterdir())):
        raise FileExistsError(f"{path} is a folder that exists already: export replaces files only. Name another path.")
    if format == "onnx":
        _check_onnx()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder, exportable():
        complete = Path(folder) / target.name
        named, signature = _with_named_outputs(model)
        named.export(complete, format=FORMATS[format], input_signature=signature, verbose=False)
        if format == "onnx":
            _finish_onnx(complete, list(named.output))
        os.replace(complete, target)


def _check_onnx() -> None:
    missing = [package for package in ("onnx", "tf2onnx") if importlib.util.find_spec(package) is None]
    if missing:
        raise ImportError(
            f"format='onnx' needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            "pip install 'grouped-convolution-zoo[export]'."
        )


def _with_named_outputs(model: keras.Model) -> tuple[keras.Model, list[Any]]:
    """`model` with a dictionary of outputs, whose keys become the names in the file, and the names of its inputs."""
    names = [_origin(tensor) for tensor in model.outputs]
    single = isinstance(model, keras.Sequential) or not isinstance(model.input, (dict, list, tuple))
    inputs = model.inputs[0] if single else model.input
    outputs = dict(zip(names, model.outputs, strict=True))
    if len(outputs) < len(names):  # one layer with several outputs
        outputs = {f"{name}_{index}": each for index, (name, each) in enumerate(zip(names, model.outputs, strict=True))}
    signature = keras.tree.map_structure(
        lambda tensor: keras.InputSpec(tensor.dtype, shape=tensor.shape, name=source_of(tensor)[0].name),
        inputs,
    )
    return keras.Model(inputs, outputs, name=model.name), [signature]


def _origin(tensor: Any) -> str:
    """The name of the layer that computes `tensor`, within nested models too: `logits` behind preprocessing as well."""
    operation, index = source_of(tensor)
    inner = getattr(operation, "outputs", None) if isinstance(operation, keras.Model) else None
    return _origin(inner[index]) if inner else operation.name


def _finish_onnx(path: Path, outputs: list[str]) -> None:
    """Put the outputs of an ONNX file in this order, name its open axes, and have no operation that ONNX lacks."""
    import onnx

    file = onnx.load(path)
    _replace_erfc(file.graph)
    by_name = {value.name: value for value in file.graph.output}
    del file.graph.output[:]
    file.graph.output.extend(by_name[name] for name in outputs)
    inputs = {value.name for value in file.graph.input}
    for value in [*file.graph.input, *file.graph.output]:
        axes = value.type.tensor_type.shape.dim
        names = IMAGE_AXES if len(axes) == 4 and value.name in inputs else ("batch",)
        for axis, name in zip(axes, names, strict=False):
            if not axis.HasField("dim_value"):
                axis.dim_param = name
    onnx.save(file, path)


def _replace_erfc(graph: Any) -> None:
    """1 - erf(x) for the complementary error function, TensorFlow's way to GELU, which ONNX does not have."""
    from onnx import helper, numpy_helper

    nodes, one = [], f"{graph.name}_one"
    for node in graph.node:
        if node.op_type == "Erfc":
            error = f"{node.output[0]}_erf"
            nodes += [helper.make_node("Erf", node.input, [error]), helper.make_node("Sub", [one, error], node.output)]
        else:
            nodes.append(node)
    if len(nodes) > len(graph.node):
        graph.initializer.append(numpy_helper.from_array(np.ones((), "float32"), one))
        del graph.node[:]
        graph.node.extend(nodes)
