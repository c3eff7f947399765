"""What is written to a file: the model in float32, fused, with preprocessing before it and softmax behind it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from blocks.ops.keras_internals import graph_of, nodes_of, source_of, sublayers
from zoo.exporting.formats import ExportError, is_grouped
from zoo.exporting.precision import in_float32
from zoo.folding import fuse
from zoo.folding import report as folding_report

PICTURES = "pictures"  # the input where preprocessing is inside
PROBABILITIES = "probabilities"  # the output behind softmax
DEPTHWISE = (
    *(keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D),
    *(keras.layers.SeparableConv1D, keras.layers.SeparableConv2D),
)
CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
Size = tuple[int | None, int | None]


def check_graph(model: Any) -> None:
    """Raise TypeError or ValueError unless `model` is a functional or Sequential Keras model that is built.

    Example:
        >>> from zoo.exporting.assembly import check_graph
        >>> check_graph(zoo.create("lcnet_035", 10, (32, 32, 3)))
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"export takes a keras.Model, functional or Sequential; got {type(model).__name__}.")
    if not getattr(model, "outputs", None):
        raise ValueError(f"{model.name} is subclassed or not built: export takes functional and Sequential models.")


def assemble(
    model: keras.Model, preprocessing: keras.Layer | None = None, size: Size = (None, None), softmax: bool = False
) -> keras.Model:
    """`model` with preprocessing of uint8 pictures before it and softmax behind it; itself where there is neither.

    Args:
        size: height and width of the pictures; None is open.

    Raises:
        ValueError: a model with several inputs or outputs, or one that has what is to be added already.

    Example:
        >>> from zoo.exporting.assembly import assemble
        >>> from zoo.input_pipeline import Preprocessing
        >>> network = zoo.create("lcnet_035", 10, (32, 32, 3))
        >>> whole = assemble(network, Preprocessing(32), softmax=True)
        >>> whole.input_names, whole.output_names
        (['pictures'], ['probabilities'])
    """
    if preprocessing is None and not softmax:
        return model
    if softmax:
        _check_softmax(model)
    if preprocessing is None:
        inputs: Any = model.inputs[0] if _is_single(model) else model.input
        outputs = model.outputs[0]
    else:
        if not _is_single(model):
            raise ValueError(f"{model.name} has {len(model.inputs)} inputs: preprocessing is for one input of images.")
        inputs = keras.Input((*size, preprocessing_channels(model)), dtype="uint8", name=PICTURES)
        prepared = preprocessing(inputs)
        _check_prepared(model, tuple(prepared.shape))
        outputs = model(prepared)
    if softmax:
        outputs = keras.layers.Softmax(name=PROBABILITIES, dtype="float32")(outputs)
    return keras.Model(inputs, outputs, name=model.name)


def preprocessing_channels(model: keras.Model) -> int:
    """Channels of the images that `model` takes.

    Example:
        >>> from zoo.exporting.assembly import preprocessing_channels
        >>> preprocessing_channels(zoo.create("lcnet_035", 10, (32, 32, 1)))
        1
    """
    return model.inputs[0].shape[-1]


def fused_or_not(model: keras.Model) -> tuple[keras.Model, list[str]]:
    """`zoo.fuse(model)` and sentences on what stays; where it cannot be fused at all, `model` itself and why.

    Example:
        >>> from zoo.exporting.assembly import fused_or_not
        >>> fused, notes = fused_or_not(zoo.create("lcnet_035", 10, (32, 32, 3)))
        >>> notes
        []
    """
    try:
        left = folding_report(model).left
        fused = fuse(model)
    except (TypeError, ValueError) as error:
        return model, [f"It is not fused: {' '.join(str(error).split())}"]
    if not left:
        return fused, []
    first, reason = next(iter(left.items()))
    what = f"{len(left)} normalisations are not fused, as {first}" if len(left) > 1 else f"{first} is not fused"
    return fused, [f"{what}: {reason}."]


def named(model: keras.Model, batch: int | None = None) -> tuple[keras.Model, list[Any], list[str], list[str]]:
    """`model` with a dictionary of outputs, the signature of its call, and the names of inputs and outputs in the file.

    Args:
        batch: images of a call; None leaves it open.

    Raises ValueError where `model` was built for another number of images.

    Example:
        >>> from zoo.exporting.assembly import named
        >>> _, signature, inputs, outputs = named(zoo.create("lcnet_035", 10, (32, 32, 3)), batch=4)
        >>> signature[0].shape, inputs, outputs
        ((4, 32, 32, 3), ['images'], ['logits'])
    """
    names = [_origin(tensor) for tensor in model.outputs]
    inputs = model.inputs[0] if _is_single(model) else model.input
    outputs = dict(zip(names, model.outputs, strict=True))
    if len(outputs) < len(names):  # one layer with several outputs
        outputs = {f"{name}_{index}": each for index, (name, each) in enumerate(zip(names, model.outputs, strict=True))}

    def specification(tensor: Any) -> keras.InputSpec:
        own = tensor.shape[0]
        if batch is not None and own not in (None, batch):
            raise ValueError(f"batch={batch} is not allowed: {model.name} was built for batches of {own}.")
        shape = (own if batch is None else batch, *tensor.shape[1:])
        return keras.InputSpec(tensor.dtype, shape=shape, name=source_of(tensor)[0].name)

    signature = keras.tree.map_structure(specification, inputs)
    input_names = [spec.name for spec in keras.tree.flatten(signature)]
    return keras.Model(inputs, outputs, name=model.name), [signature], input_names, list(outputs)


def grouped_convolutions(model: keras.Model) -> int:
    """Convolutions of more than one group that a call of `model` computes; uneven groups count once a size.

    Example:
        >>> from zoo.exporting.assembly import grouped_convolutions
        >>> grouped_convolutions(zoo.create("resnext50_32x4d", 10, (32, 32, 3)))
        16
    """
    graph, count = graph_of(model), 0
    for node in [] if graph is None else nodes_of(graph):
        layer = node.operation
        if isinstance(layer, keras.Model) and graph_of(layer) is not None:
            count += grouped_convolutions(layer)
        elif not node.is_input:
            count += _grouped(layer)
    return count


def float32(model: keras.Model) -> keras.Model:
    """`in_float32(model)`. Raises ExportError where a layer cannot be copied for that.

    Example:
        >>> from zoo.exporting.assembly import float32
        >>> model = zoo.create("lcnet_035", 10, (32, 32, 3))
        >>> float32(model) is model
        True
    """
    try:
        return in_float32(model)
    except (TypeError, ValueError) as error:
        line = " ".join(str(error).split())
        raise ExportError(
            f"{model.name} computes in another precision than float32, and has no copy: {line}"
        ) from error


@contextmanager
def tensors_as_arrays(model: keras.Model) -> Iterator[None]:
    """Within this, layers hold arrays of NumPy where they held tensors that are no variables.

    What is not computed by the graph, as the mean in `keras.layers.Normalization`, tf2onnx takes for an input.

    Example:
        >>> from zoo.exporting.assembly import tensors_as_arrays
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Normalization(mean=0.5, variance=4.0)])
        >>> with tensors_as_arrays(model):
        ...     type(model.layers[0].mean).__name__
        'ndarray'
    """
    held = [
        (layer, name, value)
        for layer in sublayers(model)
        for name, value in vars(layer).items()
        if keras.ops.is_tensor(value) and not isinstance(value, keras.Variable)
    ]
    for layer, name, value in held:
        object.__setattr__(layer, name, keras.ops.convert_to_numpy(value))  # past Keras, which tracks attributes
    try:
        yield
    finally:
        for layer, name, value in held:
            object.__setattr__(layer, name, value)


def ends_in_softmax(model: keras.Model) -> bool:
    """Whether the first output of `model` are probabilities.

    Example:
        >>> from zoo.exporting.assembly import ends_in_softmax
        >>> ends_in_softmax(zoo.create("lcnet_035", 10, (32, 32, 3)))
        False
    """
    operation: Any = source_of(model.outputs[0])[0]
    while isinstance(operation, keras.Model):
        operation = source_of(operation.outputs[0])[0]
    activation = getattr(operation, "activation", None)
    return isinstance(operation, keras.layers.Softmax) or activation is keras.activations.softmax


def _grouped(layer: Any) -> int:
    parts = [getattr(layer, name) for name in ("depthwise", "pointwise") if hasattr(layer, name)]
    if parts:
        return sum(map(_grouped, parts))
    if hasattr(layer, "group_runs"):
        runs = layer.group_runs
        return sum(is_grouped(run.channels, run.channels // run.groups, run.filters, layer.kernel_size) for run in runs)
    if isinstance(layer, DEPTHWISE):
        kernel = layer.depthwise_kernel if hasattr(layer, "depthwise_kernel") else layer.kernel
        *window, channels, multiplier = kernel.shape
        return int(is_grouped(channels, 1, channels * multiplier, window))
    if isinstance(layer, CONVOLUTIONS):
        *window, per_group, filters = layer.kernel.shape
        return int(is_grouped(per_group * layer.groups, per_group, filters, window))
    return 0


def _is_single(model: keras.Model) -> bool:
    """Whether the model takes one tensor, and no list or dictionary of them."""
    return isinstance(model, keras.Sequential) or not isinstance(model.input, (dict, list, tuple))


def _origin(tensor: Any) -> str:
    """The name of the layer that computes `tensor`, within nested models too: `logits` behind preprocessing as well."""
    operation, index = source_of(tensor)
    inner = getattr(operation, "outputs", None) if isinstance(operation, keras.Model) else None
    return _origin(inner[index]) if inner else operation.name


def _check_softmax(model: keras.Model) -> None:
    if len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in model.outputs)
        raise ValueError(f"softmax=True is for one output of logits (B, classes); {model.name} has {shapes}.")
    if ends_in_softmax(model):
        raise ValueError(f"{model.name} ends in a softmax already: leave softmax=False.")


def _check_prepared(model: keras.Model, shape: tuple[Any, ...]) -> None:
    expected = tuple(model.inputs[0].shape)
    if len(expected) != 4 or any(
        None not in (ours, own) and ours != own for ours, own in zip(shape, expected, strict=True)
    ):
        raise ValueError(f"Preprocessing gives images {shape[1:]}, and {model.name} takes {expected[1:]}.")
