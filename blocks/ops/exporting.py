"""The switch under which graphs are traced with TensorFlow's own operations, for programs that have no others."""

import contextlib
import contextvars
import inspect
from collections.abc import Iterator

# Programs that turn a traced model into a file: what they trace needs no switch.
EXPORTERS = ("keras.src.export", "tensorflow.lite", "tensorflow.python.saved_model", "tf2onnx")

_EXPORTABLE = contextvars.ContextVar("exportable", default=False)


@contextlib.contextmanager
def exportable() -> Iterator[None]:
    """Within this context layers are traced with TensorFlow's own operations, in the form that other runtimes run best.

    Keras's `model.export`, `tf.saved_model.save`, TFLite's `from_keras_model` and `tf2onnx.convert.from_keras` trace so
    by themselves. It is for graphs that you trace yourself, to be converted, frozen or counted afterwards.

    Depthwise convolutions are DepthwiseConv2dNative then and all others Conv2D, grouped ones included, whatever trains
    fastest here; max pooling is padded with values that int8 can represent. Outputs are equal up to rounding. A
    `tf.function` that was traced before keeps its graph: trace a new one. The context is of the thread (or the
    coroutine) that enters it. Other backends than TensorFlow are not affected.

    Example:
        >>> import tensorflow as tf
        >>> layer = blocks.GroupedConv2D(4, 3, groups=2)
        >>> layer.build((None, 8, 8, 4))
        >>> with blocks.exportable():
        ...     traced = tf.function(layer).get_concrete_function(tf.TensorSpec((1, 8, 8, 4)))
        >>> [operation.type for operation in traced.graph.get_operations() if "Conv" in operation.type]
        ['Conv2D']
    """
    token = _EXPORTABLE.set(True)
    try:
        yield
    finally:
        _EXPORTABLE.reset(token)


def is_exportable(tracing: bool) -> bool:
    """Whether what is computed now is for other runtimes: within `exportable`, or `tracing` for one of EXPORTERS.

    Example:
        >>> from blocks.ops.exporting import is_exportable
        >>> is_exportable(tracing=False)
        False
        >>> with blocks.exportable():
        ...     is_exportable(tracing=False)
        True
    """
    return _EXPORTABLE.get() or (tracing and _called_by_an_exporter())


def _called_by_an_exporter() -> bool:
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(EXPORTERS):
            return True
        frame = frame.f_back
    return False
