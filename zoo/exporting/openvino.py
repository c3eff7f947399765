"""OpenVINO: a folder, for Intel's processors and graphics."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.exporting.formats import PROPERTIES, Batch, Format, Outcome, Task, is_grouped
from zoo.exporting.onnx import Onnx
from zoo.exporting.openvino_package import openvino
from zoo.exporting.saved_model_process import median_seconds

MODEL = "openvino_model.xml"  # beside openvino_model.bin, the weights: names that Optimum gives them


class OpenVINO(Format):
    """A folder with `openvino_model.xml` and `openvino_model.bin`, weights in float32; its metadata are runtime info of
    the model. It is written as ONNX first, which OpenVINO reads.

    Example:
        >>> from zoo.exporting.openvino import OpenVINO
        >>> OpenVINO().main_file
        'openvino_model.xml'
    """

    name = "openvino"
    suffix = ""
    main_file = MODEL
    packages = (*Onnx.packages, "openvino")
    extra = "openvino"

    def write(self, task: Task, path: Path) -> None:
        package = openvino()
        path.mkdir()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "model.onnx")
            Onnx().write(task, file)
            model = package.Core().read_model(file)
            for name, text in task.properties.items():
                model.set_rt_info(text, [name])
            package.save_model(model, path / MODEL, compress_to_fp16=False)

    def run(
        self, path: Path, inputs: Sequence[str], outputs: Sequence[str], batches: Sequence[Batch], threads: int
    ) -> Outcome:
        model = read(path)
        request = inference(model, INFERENCE_NUM_THREADS=threads, PERFORMANCE_HINT="LATENCY")

        def call(batch: Batch) -> list[Any]:
            request.infer(dict(zip(inputs, batch, strict=True)))
            return [request.get_tensor(name).data.copy() for name in outputs]

        results = [call(batch) for batch in batches]
        return Outcome(results, median_seconds(lambda: call(batches[0])), _grouped(model))

    def properties(self, path: Path) -> dict[str, str]:
        return texts(read(path))


def read(path: Path) -> Any:
    """The model in a folder, or in an `.xml` file. Raises ValueError for what is none.

    Example:
        >>> import pathlib
        >>> from zoo.exporting.openvino import read
        >>> read(pathlib.Path("net.xml"))
        Traceback (most recent call last):
            ...
        ValueError: net.xml is no model of OpenVINO, or a damaged one.
    """
    try:
        return openvino().Core().read_model(path / MODEL if path.is_dir() else path)
    except RuntimeError as error:
        raise ValueError(f"{path} is no model of OpenVINO, or a damaged one.") from error


def inference(model: Any, **settings: Any) -> Any:
    """The request by which OpenVINO runs a model in float32; where a processor has bfloat16, it would compute in that.

    settings: properties of OpenVINO.

    Example:
        >>> from zoo.exporting.openvino import inference
        >>> from zoo.exporting.openvino_package import openvino
        >>> size = openvino().opset13.parameter([2])
        >>> request = inference(openvino().Model([openvino().opset13.relu(size)], [size]))
        >>> request.infer([np.array([-1.0, 2.0], "float32")])[0]
        array([0., 2.], dtype=float32)
    """
    settings = {"INFERENCE_PRECISION_HINT": "f32", **settings}
    return openvino().Core().compile_model(model, "CPU", settings).create_infer_request()


def texts(model: Any) -> dict[str, str]:
    """The properties among the runtime info of a model.

    Example:
        >>> import numpy as np
        >>> from zoo.exporting.openvino import texts
        >>> from zoo.exporting.openvino_package import openvino
        >>> model = openvino().Model([], [])
        >>> model.set_rt_info("mit", ["license"])
        >>> texts(model)
        {'license': 'mit'}
    """
    return {name: model.get_rt_info([name]).astype(str) for name in PROPERTIES if model.has_rt_info([name])}


def _grouped(model: Any) -> int:
    """Convolutions of more than one group: those that have the group as an axis of their own in the kernel."""
    count = 0
    for node in model.get_ops():
        if node.get_type_name() == "GroupConvolution":
            groups, filters, channels, *window = node.input_value(1).get_shape()
            count += is_grouped(groups * channels, channels, groups * filters, window)
    return count
