"""What is used of Keras and TensorFlow without a public name is in the installed versions, and means what it did."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import zoo
from blocks.kernels.tensorflow import internals
from blocks.ops import keras_internals
from zoo.distribution.internals import CoordinatedJob, context
from zoo.lora import is_adapted, merged_kernel, stored_kernel


def small() -> keras.Sequential:
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="first"), layers.Dense(2, name="last")], name="small"
    )


def functional() -> keras.Model:
    images = keras.Input((4,))
    return keras.Model(images, layers.Dense(2)(images))


ATTRIBUTES = (
    (lambda: small(), "_functional"),
    (lambda: small(), "_called"),
    (lambda: functional(), "_nodes_by_depth"),
    (lambda: small().outputs[0], "_keras_history"),
    (lambda: layers.Layer, "_flatten_layers"),
    (lambda: layers.Layer, "_track_variable"),
    (lambda: layers.Layer, "_untrack_variable"),
    (lambda: layers.Layer, "_quantization_mode_error"),
    (lambda: layers.Layer, "_check_load_own_variables"),
    (lambda: layers.Dense(2), "_tracker"),
    (lambda: layers.Dense(2), "_trainable_variables"),
    (lambda: layers.Dense(2), "_non_trainable_variables"),
    (lambda: layers.Lambda(abs), "_output_shape"),
    (lambda: keras.Variable(0.0), "_path"),
    (lambda: keras.Optimizer, "_get_variable_index"),
    (lambda: keras.Optimizer, "_backend_update_step"),
    (lambda: keras.Optimizer, "_apply_weight_decay"),
    (lambda: keras.Optimizer, "_backend_increment_gradient_accumulators"),
    (lambda: keras.optimizers.LossScaleOptimizer, "_common_apply"),
    (lambda: small(), "_distribute_strategy"),
)


@pytest.mark.parametrize("owner, name", ATTRIBUTES, ids=[name for _, name in ATTRIBUTES])
def test_the_attributes_of_keras_are_there(owner, name):
    assert hasattr(owner(), name), f"Keras {keras.__version__} has no {name}: blocks/ops/keras_internals.py needs it"


def test_the_names_of_tensorflow_are_there():
    for name in internals.__all__:
        assert callable(getattr(internals, name)), name
    assert not internals.GraphOrParentsInXlaContext(tf.Graph())
    assert (
        callable(context().configure_coordination_service) and CoordinatedJob(name="worker", num_tasks=2).num_tasks == 2
    )


def test_the_graph_of_a_model_is_every_call_in_order():
    shared, images = layers.Dense(4, name="shared"), keras.Input((4,), name="images")
    model = keras.Model(images, ops.add(shared(shared(images)), images))
    graph = keras_internals.graph_of(model)
    names = [node.operation.name for node in keras_internals.nodes_of(graph)]
    assert names[:3] == ["images", "shared", "shared"] and len(names) == 4
    operation, index = keras_internals.source_of(model.output)
    assert keras_internals.is_operation(operation, "Add") and index == 0
    assert not keras_internals.is_operation(layers.Add(), "Add") and not keras_internals.is_operation(shared, "Add")


def test_of_sequential_models_the_inner_graph_is_read_and_code_has_none():
    nodes = keras_internals.nodes_of(keras_internals.graph_of(small()))
    assert [node.operation.name for node in nodes][1:] == ["first", "last"]
    assert keras_internals.graph_of(keras.Sequential([layers.Dense(2)])) is None, "without an input it is not built"

    class Code(keras.Model):
        def call(self, inputs):
            return inputs

    assert keras_internals.graph_of(Code()) is None


def test_concatenation_is_known_too():
    tensor = keras.KerasTensor((None, 2))
    operation, _ = keras_internals.source_of(ops.concatenate([tensor, tensor]))
    assert keras_internals.is_operation(operation, "Concatenate")


def test_sublayers_are_those_of_every_depth():
    outer = keras.Sequential([keras.Input((4,)), small()], name="outer")
    names = {layer.name for layer in keras_internals.sublayers(outer)}
    assert {"outer", "small", "first", "last"} <= names
    assert outer not in list(keras_internals.sublayers(outer, include_self=False))


def test_the_moments_of_adam_and_sgd_belong_to_the_variable():
    first, second = keras.Variable(np.zeros(2, "float32")), keras.Variable(np.zeros(3, "float32"))
    adam, sgd = keras.optimizers.AdamW(), keras.optimizers.SGD(momentum=0.9)
    for optimizer in (adam, sgd):
        optimizer.build([first, second])
    assert [moment.shape for moment in keras_internals.adam_moments(adam, second)] == [(3,), (3,)]
    optimizer_state = sgd.momentums[keras_internals.variable_index(sgd, first)]
    assert optimizer_state.shape == (2,)
    adam.apply([np.ones(2, "float32"), np.ones(3, "float32")])
    mean, square = keras_internals.adam_moments(adam, first)
    np.testing.assert_allclose(mean, 0.1, rtol=1e-6)  # 1 - beta_1, and 1 - beta_2
    np.testing.assert_allclose(square, 0.001, rtol=1e-4)


def test_a_built_layer_is_given_weights_and_loses_them():
    layer = layers.Dense(3)
    layer.build((None, 4))
    with pytest.raises(ValueError, match="cannot add new elements of state"):
        layer.add_weight(shape=())
    with keras_internals.unlocked(layer):
        extra = layer.add_weight(shape=(), name="extra")
    assert [each.name for each in layer.weights] == ["kernel", "bias", "extra"]
    assert keras_internals.own_variables(layer) == layer.weights and not keras_internals.own_variables(small())
    keras_internals.untrack(layer, extra)
    assert [each.name for each in layer.weights] == ["kernel", "bias"]


def test_a_layer_that_is_marked_is_not_quantised_once_more():
    layer = layers.Dense(3)
    layer.build((None, 4))
    keras_internals.mark_quantized(layer)
    with pytest.raises(ValueError, match="is already quantized"):
        layer.quantize("int8")


def test_a_model_passes_over_a_layer_that_refuses_a_mode():
    class Refusing(layers.Dense):
        def quantize(self, mode=None, type_check=True, config=None):
            raise keras_internals.refused_mode(self, f"{mode} is not for me")

    model = keras.Sequential([keras.Input((4,)), Refusing(3)])
    with pytest.warns(UserWarning, match="int8 is not for me"):
        model.quantize("int8")


def test_another_number_of_weights_is_refused():
    layer = layers.Dense(3)
    layer.build((None, 4))
    keras_internals.check_number_of_weights(layer, {"0": 0, "1": 0})
    with pytest.raises(ValueError, match="expected 2 variables"):
        keras_internals.check_number_of_weights(layer, {"0": 0})


def test_the_output_shape_of_a_lambda_is_what_was_given():
    shape = lambda inputs: inputs  # noqa: E731
    assert keras_internals.lambda_output_shape(layers.Lambda(abs, output_shape=shape)) is shape
    assert keras_internals.lambda_output_shape(layers.Lambda(abs)) is None


def adapted(layer: layers.Layer, shape: tuple[int, ...], dtype: str = "float32") -> keras.Model:
    inputs = keras.Input(shape, dtype=dtype)
    model = keras.Model(inputs, layer(inputs), name="adapted")
    layer.enable_lora(2)
    layer.trainable_weights[-1].assign(np.ones(layer.trainable_weights[-1].shape))
    return model


def test_what_is_adapted_is_thawed_without_what_it_adapts():
    """Keras freezes the stored kernel, of an embedding its table; thawing such a layer leaves it frozen."""
    for layer, shape, dtype in (
        (layers.Dense(3), (4,), "float32"),
        (layers.Conv2D(3, 3), (5, 5, 4), "float32"),
        (layers.EinsumDense("ab,bc->ac", 3), (4,), "float32"),
        (layers.Embedding(5, 3), (4,), "int32"),
    ):
        model = adapted(layer, shape, dtype)
        assert is_adapted(layer) and not stored_kernel(layer).trainable
        before = [each.path for each in model.trainable_weights]
        zoo.freeze(model, layer.name)
        zoo.unfreeze(model)
        assert [each.path for each in model.trainable_weights] == before and not stored_kernel(layer).trainable


def test_the_merged_kernel_is_that_of_keras():
    layer = layers.Dense(3)
    adapted(layer, (4,))
    np.testing.assert_allclose(merged_kernel(layer), layer.kernel, rtol=1e-6)
    assert np.abs(stored_kernel(layer) - layer.kernel).max() > 0.1
