"""Updates of all variables by one operation: what one operation a variable, and Keras's own optimizers, give."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import blocks
from helpers.kernels import needs_kernels
from zoo.training.guarded_step import STEP_FINITE
from zoo.training.optimizers import FusedAdamW, MomentumSGD, TorchAdamW, TorchSGD
from zoo.training.optimizers.multi_tensor import all_finite, assign_where, kernels_for
from zoo.training.recipe import compile_model
from zoo.training.recipe_config import RecipeConfig

pytestmark = needs_kernels

# Entries of a task: 16,384. Below, at and above it, one entry, none.
SHAPES = ((3, 3, 4, 8), (16384,), (16385,), (5, 7000), (1,), (), (0, 3))
NAMES = ("kernel", "bias", "gamma", "old", "new", "scalar", "empty")
OPTIMIZERS = {
    "adamw": lambda **more: FusedAdamW(0.01, weight_decay=0.1, **more),
    "adamw, other constants": lambda **more: FusedAdamW(
        0.01, weight_decay=0.1, beta_1=0.8, beta_2=0.5, epsilon=0.1, **more
    ),
    "timm's adamw": lambda **more: TorchAdamW(0.01, epsilon=1e-3, weight_decay=0.1, **more),
    "sgd": lambda **more: MomentumSGD(0.1, 0.9, weight_decay=0.1, **more),
    "sgd, Nesterov": lambda **more: MomentumSGD(0.1, 0.9, nesterov=True, weight_decay=0.1, **more),
    "timm's sgd": lambda **more: TorchSGD(0.1, 0.9, weight_decay=0.1, **more),
    "timm's sgd, Nesterov": lambda **more: TorchSGD(0.1, 0.9, nesterov=True, weight_decay=0.1, **more),
}


def variables_of(seed=0):
    draw = np.random.default_rng(seed)
    return [
        keras.Variable(np.float32(draw.normal(size=shape)), name=name)
        for shape, name in zip(SHAPES, NAMES, strict=True)
    ]


def gradients_of(seed):
    draw = np.random.default_rng(seed)
    return [tf.constant(np.float32(draw.normal(size=shape))) for shape in SHAPES]


def trained(optimizer, steps=5, **undecayed):
    """The variables after some steps in a graph, and the state of the optimizer."""
    variables = variables_of()
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma"])
    optimizer.build(variables)
    step = tf.function(lambda gradients: optimizer.apply(gradients, variables))
    for seed in range(1, steps + 1):
        step(gradients_of(seed))
    return [np.asarray(each) for each in [*variables, *optimizer.variables]]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_all_at_once_is_one_by_one(name, monkeypatch):
    factors = {"new": 5.0, "gamma": 0.5}
    together = trained(OPTIMIZERS[name](rate_factors=factors))
    kind = type(OPTIMIZERS[name]())
    monkeypatch.setattr(kind, "has_operation", False)
    one_by_one = trained(OPTIMIZERS[name](rate_factors=factors))
    assert len(together) == len(one_by_one) > len(SHAPES)
    for ours, plain in zip(together, one_by_one, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(
    "ours, plain",
    [
        (FusedAdamW(0.01, weight_decay=0.1), keras.optimizers.AdamW(0.01, weight_decay=0.1)),
        (MomentumSGD(0.1, 0.9, weight_decay=0.1), keras.optimizers.SGD(0.1, 0.9, weight_decay=0.1)),
        (MomentumSGD(0.1, 0.9, nesterov=True), keras.optimizers.SGD(0.1, 0.9, nesterov=True)),
    ],
    ids=["adamw", "sgd", "sgd, Nesterov"],
)
def test_they_are_those_of_keras(ours, plain):
    for value, expected in zip(trained(ours), trained(plain), strict=True):
        np.testing.assert_allclose(value, expected, rtol=2e-6, atol=2e-6)


def test_one_operation_updates_all():
    variables, optimizer = variables_of(), FusedAdamW(0.01)
    optimizer.build(variables)
    step = tf.function(lambda gradients: optimizer.apply(gradients, variables))
    kinds = [each.type for each in step.get_concrete_function(gradients_of(1)).graph.get_operations()]
    assert kinds.count("BlocksAdamUpdate") == 1 and "ResourceApplyAdam" not in kinds


@pytest.mark.parametrize("name", ["adamw", "sgd", "timm's sgd"])
def test_a_step_can_be_left_out(name):
    variables, optimizer = variables_of(), OPTIMIZERS[name]()
    optimizer.build(variables)
    optimizer.apply(gradients_of(1), variables)
    state = [
        *variables,
        *(each for each in optimizer.variables if each.path.split("/")[-1] not in ("iteration", "learning_rate")),
    ]
    before = [np.array(each) for each in state]
    for condition in (False, True):
        with optimizer.only_where(tf.constant(condition)):
            optimizer.apply(gradients_of(2), variables)
        same = [np.array_equal(each, value) for each, value in zip(state, before, strict=True) if value.size]
        assert any(same) is not condition and all(same) is not condition


def test_who_has_read_a_variable_keeps_the_value():
    variables, optimizer = variables_of(), FusedAdamW(0.01)
    optimizer.build(variables)
    read = [tf.convert_to_tensor(each.value) for each in variables]
    values = [each.numpy().copy() for each in read]
    optimizer.apply(gradients_of(1), variables)
    assert all(np.array_equal(each, value) for each, value in zip(read, values, strict=True))
    assert not np.array_equal(variables[0], values[0])


def test_what_the_operation_does_not_take_is_updated_as_before():
    """A gradient that is missing, one of rows, and a variable of another type."""
    table, weight = keras.Variable(np.ones((4, 2), "float32")), keras.Variable(np.ones(2, "float32"))
    half = keras.Variable(np.ones(2), dtype="float16")
    optimizer = MomentumSGD(0.5, 0.9)
    rows = tf.IndexedSlices(tf.ones((1, 2)), tf.constant([1]), tf.constant([4, 2]))
    optimizer.build([table, weight, half])
    optimizer.apply([rows, None, tf.ones(2, tf.float16)], [table, weight, half])
    np.testing.assert_array_equal(table, [[1, 1], [0.5, 0.5], [1, 1], [1, 1]])
    np.testing.assert_array_equal(weight, [1, 1])
    np.testing.assert_array_equal(half, [0.5, 0.5])


@pytest.mark.parametrize(
    "value, finite", [(np.nan, False), (-np.inf, False), (3.4e38, True), (1e-45, True), (-0.0, True)]
)
@pytest.mark.parametrize("at", [0, 17, 20000, 40000])
def test_every_entry_is_looked_at(value, finite, at):
    entries = np.zeros(40001, "float32")
    entries[at] = value
    tensors = [tf.ones((3, 2)), tf.constant(entries), tf.zeros((0,)), tf.constant(2.0)]
    assert bool(all_finite(tensors)) is finite
    assert bool(all_finite([tf.constant(np.float32(value)), *tensors])) is finite


def test_variables_are_assigned_where_a_condition_is_true():
    variables = [keras.Variable([1.0, 2.0]), keras.Variable([3], dtype="int32"), keras.Variable(True, dtype="bool")]
    values = [tf.zeros(2), tf.constant([7]), tf.constant(False)]
    for condition in (False, True):
        assign_where(tf.constant(condition), list(zip(variables, values, strict=True)))
        expected = values if condition else ([1.0, 2.0], [3], True)
        assert all(np.array_equal(each, value) for each, value in zip(variables, expected, strict=True))


def test_shapes_and_types_that_differ_are_errors():
    operations = kernels_for([tf.ones(1)])
    variable, other = tf.Variable(tf.ones(3)), tf.Variable(tf.ones(3))
    rates = {"rate": 0.1, "rate_factors": [1.0], "momentum": 0.9, "nesterov": False}
    more = {"apply": True, "rate_in_momentum": True, "coupled": False, **rates}
    with pytest.raises(tf.errors.InvalidArgumentError, match="2 entries of float32 was expected"):
        operations.blocks_momentum_update(
            variables=[variable.handle], accumulators=[other.handle], gradients=[tf.ones(2)], decays=[0.0], **more
        )
    with pytest.raises(tf.errors.InvalidArgumentError, match="1 variables, 1 factors of the rate and 2 decays"):
        operations.blocks_momentum_update(
            variables=[variable.handle], accumulators=[other.handle], gradients=[tf.ones(3)], decays=[0.0, 0.0], **more
        )
    with pytest.raises(tf.errors.InvalidArgumentError, match="cannot be assigned"):
        operations.blocks_assign_if(assign=True, variables=[variable.handle], values=[tf.ones(4)])
    assert np.array_equal(variable, np.ones(3))


def network():
    keras.utils.set_random_seed(3)
    images = keras.Input((6, 6, 3))
    x = blocks.BatchNormalization(activation="relu")(blocks.GroupedConv2D(16, 3, groups=1)(images))
    x = keras.layers.Dropout(0.2, seed=1)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(images, blocks.Dense(5)(x))


@pytest.mark.parametrize(
    "recipe", [{}, {"optimizer": "sgd", "clip_norm": 0.5}, {"ema_decay": 0.9, "ema_warmup": "timm"}]
)
def test_a_training_is_the_same_with_and_without_branches(recipe, monkeypatch):
    """A step that is not finite among them: weights, statistics, random states, counts and metrics."""
    draw = np.random.default_rng(0)
    images, labels = draw.normal(size=(6, 4, 6, 6, 3)).astype("float32"), draw.integers(0, 5, (6, 4))
    images[3, 1, 2, 2, 0] = np.inf

    def training():
        model = network()
        average = compile_model(model, RecipeConfig(**recipe), steps_per_epoch=100)
        finite = []
        note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: finite.append(logs[STEP_FINITE]))
        history = model.fit(
            tf.data.Dataset.from_tensor_slices((images, labels)), callbacks=[note], verbose=0, shuffle=False
        )
        assert finite == [1, 1, 1, 0, 1, 1]
        state = [*model.weights, *model.optimizer.variables, *model.non_trainable_variables]
        state += average.averages if average else []
        return [np.array(each) for each in state], history.history

    ours, figures = training()
    monkeypatch.setattr(FusedAdamW, "can_skip", lambda *_: False)
    monkeypatch.setattr(MomentumSGD, "can_skip", lambda *_: False)
    branches, plain_figures = training()
    assert figures == plain_figures
    for one, other in zip(ours, branches, strict=True):
        np.testing.assert_array_equal(one, other)
