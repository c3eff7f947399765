"""LiteRT, once called TensorFlow Lite: a file for phones and small machines, in float32 or quantised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from zoo.exporting.formats import PROPERTIES, Batch, Bounds, ExportError, Format, Outcome, Task
from zoo.exporting.saved_model_process import median_seconds

if TYPE_CHECKING:
    import keras

SIGNATURE = "serving_default"


class LiteRT(Format):
    """A file in float32; its metadata are metadata buffers of the FlatBuffer, named as the properties.

    Example:
        >>> from zoo.exporting.litert import LiteRT
        >>> LiteRT().bounds.difference
        0.0001
    """

    name = "litert"
    suffix = ".tflite"
    runtimes = ("ai_edge_litert",)

    def settings(self, task: Task) -> dict[str, Any]:
        """What TensorFlow's converter is told beside the model: attributes of `tf.lite.TFLiteConverter`."""
        return {}

    def write(self, task: Task, path: Path) -> None:
        from zoo.exporting import litert_files

        _refuse_integer_products(task)
        self.convert(task, path)
        lacking = litert_files.finish(path, task.properties)
        if lacking:
            raise ExportError(f"LiteRT lacks the operations {', '.join(lacking)}.")

    def convert(self, task: Task, path: Path) -> None:
        """Write the model, without metadata."""
        settings = self.settings(task)
        task.model.export(path, format="litert", input_signature=task.signature, verbose=False, **settings)

    def run(
        self, path: Path, inputs: Sequence[str], outputs: Sequence[str], batches: Sequence[Batch], threads: int
    ) -> Outcome:
        from ai_edge_litert.interpreter import Interpreter

        from zoo.exporting import litert_files

        interpreter = Interpreter(str(path), num_threads=threads)
        sources, targets = _places(interpreter, inputs, outputs)
        results = []
        for batch in [*batches, batches[0]]:
            _load(interpreter, sources, batch)
            interpreter.invoke()
            results.append([interpreter.get_tensor(index) for index in targets])
        return Outcome(results[:-1], median_seconds(interpreter.invoke), litert_files.grouped_convolutions(path))

    def properties(self, path: Path) -> dict[str, str]:
        from zoo.exporting import litert_files

        return litert_files.texts(path, PROPERTIES)


class LiteRTFloat16(LiteRT):
    """Weights in half precision, which the runtime turns into float32: half the size.

    Weights are rounded by up to 2^-11 of themselves, which a network adds up over its layers: within 1 % of the largest
    output.

    Example:
        >>> from zoo.exporting.litert import LiteRTFloat16
        >>> LiteRTFloat16().bounds.difference
        0.01
    """

    name = "litert-fp16"
    bounds: ClassVar[Bounds] = Bounds(difference=1e-2)

    def settings(self, task: Task) -> dict[str, Any]:
        import tensorflow as tf

        return {"optimizations": [tf.lite.Optimize.DEFAULT], "target_spec": {"supported_types": [tf.float16]}}


class LiteRTDynamic(LiteRT):
    """Weights of int8, one scale a filter; activations are quantised as they come, where a kernel can: a quarter.

    What 8 bits cost depends on the network and its images, so that no largest difference tells a sound file from a
    broken one; the accuracy in the report tells what it is worth. A file is refused where the cosine between its
    outputs and the model's is below 0.95, an error of a third of the output, or where it does not tell images apart as
    the model does.

    Example:
        >>> from zoo.exporting.litert import LiteRTDynamic
        >>> LiteRTDynamic().bounds.cosine
        0.95
    """

    name = "litert-dynamic"
    bounds: ClassVar[Bounds] = Bounds(cosine=0.95, variation=0.1)

    def settings(self, task: Task) -> dict[str, Any]:
        import tensorflow as tf

        return {"optimizations": [tf.lite.Optimize.DEFAULT]}


class LiteRTInt8(LiteRT):
    """Weights and activations of int8, with scales from images of calibration; inputs and outputs stay float32.

    Activations have one scale a tensor, so that the error is larger than of `LiteRTDynamic`: networks with hard_silu
    reach cosines of 0.95 after little training, at the accuracy of the model. The cosine must be 0.8. A network that
    does not tell images apart any more, as one with a padding of -3.4e38 in it, may have a high one; its outputs
    do not vary over the images. Preprocessing is kept in float32, for its sums are of 24 bits.

    Source: Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference, arXiv:1712.05877.

    Example:
        >>> from zoo.exporting.litert import LiteRTInt8
        >>> LiteRTInt8().calibrated
        True
    """

    name = "litert-int8"
    bounds: ClassVar[Bounds] = Bounds(cosine=0.8, variation=0.1)
    calibrated = True

    def prepared(self, model: keras.Model) -> keras.Model:
        from zoo.exporting.int8_form import for_int8

        return for_int8(model)

    def convert(self, task: Task, path: Path) -> None:
        if not task.parts:
            super().convert(task, path)
            return
        from zoo.exporting import litert_files

        front, rest = (path.with_name(name) for name in ("front.tflite", "rest.tflite"))
        LiteRT().convert(task.parts[0], front)
        super().convert(task.parts[1], rest)
        litert_files.join(front, rest, path)

    def settings(self, task: Task) -> dict[str, Any]:
        import tensorflow as tf

        def images() -> Iterator[dict[str, Any]]:
            for batch in task.calibration:
                yield dict(zip(task.inputs, batch, strict=True))

        return {
            "optimizations": [tf.lite.Optimize.DEFAULT],
            "representative_dataset": images,
            "target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]},
        }


def _refuse_integer_products(task: Task) -> None:
    """Raise ExportError for layers of Keras that multiply int8 by int8: the converter knows no such operation."""
    from keras import layers

    from blocks.ops.keras_internals import sublayers

    names = [
        layer.name
        for layer in sublayers(task.model)
        if isinstance(layer, layers.Dense) and getattr(layer, "inputs_quantizer", None) is not None
    ]
    if names:
        raise ExportError(
            f"LiteRT has no product of int8 matrices, which the quantised {', '.join(names)} would need: quantise "
            "weights alone, by config=keras.quantizers.Int8QuantizationConfig(activation_quantizer=None), or export "
            "the model as it was before, as litert-int8."
        )


def _places(interpreter: Any, inputs: Sequence[str], outputs: Sequence[str]) -> tuple[list[int], list[int]]:
    """Indices of the tensors of these names; whoever holds the runner cannot resize them."""
    runner = interpreter.get_signature_runner(SIGNATURE)
    sources, targets = runner.get_input_details(), runner.get_output_details()
    return [sources[name]["index"] for name in inputs], [targets[name]["index"] for name in outputs]


def _load(interpreter: Any, sources: Sequence[int], batch: Batch) -> None:
    """Set the inputs, and their sizes where these are others than before."""
    sizes = {each["index"]: tuple(each["shape"]) for each in interpreter.get_input_details()}
    for index, array in zip(sources, batch, strict=True):
        if sizes[index] != array.shape:
            interpreter.resize_tensor_input(index, array.shape)
    interpreter.allocate_tensors()
    for index, array in zip(sources, batch, strict=True):
        interpreter.set_tensor(index, array)
