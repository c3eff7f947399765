"""What `zoo.fuse` leaves as it is, refuses, keeps of the original, and writes to files."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import blocks
import zoo
from helpers.randomized import check_same, inputs_of, layer_types, normalizations, numpy, randomized
from zoo.folding import report

GROUPED, NORM = blocks.GroupedConv2D, blocks.BatchNormalization


class Scale(layers.Layer):
    """A layer of the user's own, with sublayers, that Keras does not know by name."""

    def __init__(self, factor: float, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor
        self.norm = layers.BatchNormalization(name="inner")

    def build(self, input_shape):
        self.norm.build(input_shape)

    def call(self, inputs):
        return self.factor * self.norm(inputs)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def bent(x):
    """An activation of the user's own."""
    return ops.where(x > 0, x, 0.1 * x)


def behind(make):
    """A model of a convolution named conv and whatever `make` puts behind it, flattened."""
    images = keras.Input((8, 8, 4))
    x = GROUPED(4, 3, padding=1, name="conv")(images)
    return randomized(keras.Model(images, layers.Flatten()(make(images, x))))


def twice_normalized(images, x):
    norm = layers.BatchNormalization(name="norm")
    return layers.Concatenate()([norm(x), norm(images)])


def twice_convolved(images, x):
    conv = layers.Conv2D(4, 3, padding="same", name="shared")
    return layers.BatchNormalization(name="norm")(conv(conv(x)))


def inside_a_model(images, x):
    inner = keras.Sequential([layers.Conv2D(4, 3), layers.BatchNormalization(name="norm")], name="inner")
    return inner(x, training=True)


STAYS = {  # what is put behind the convolution -> a part of the reason that is given
    "it is called more than once": twice_normalized,
    "'shared' (Conv2D), is called more than once": twice_convolved,
    "is called with training=True": lambda _, x: layers.BatchNormalization(name="norm")(x, training=True),
    "is no convolution": lambda images, x: NORM(name="norm")(layers.Concatenate(name="both")([x, images])),
    "is used elsewhere too": lambda _, x: layers.Concatenate()([x, layers.BatchNormalization(name="norm")(x)]),
    "ends in an activation": lambda _, x: NORM(name="norm")(layers.ReLU()(x)),
    "is not the channels": lambda _, x: layers.BatchNormalization(1, name="norm")(x),
    "computes in float64": lambda _, x: layers.BatchNormalization(name="norm", dtype="float64")(x),
    "'images_norm'": lambda _, x: GROUPED(2, 3, padding=1)(
        NORM(name="norm")(layers.MaxPooling2D(name="images_norm")(x))
    ),
    "'mine' (Scale), which is not taken apart": lambda _, x: Scale(2.0, name="mine")(x),
    "'inner' (Sequential), which is called with training=True": inside_a_model,
}


@pytest.mark.parametrize("reason", STAYS)
def test_what_cannot_be_folded_stays_and_says_why(reason):
    model = behind(STAYS[reason])
    plan = report(model)
    assert len(plan.left) == 1 and reason in next(iter(plan.left.values()))
    assert next(iter(plan.left.values())) in str(plan)
    check_same(model, fused := zoo.fuse(model))
    assert len(normalizations(fused)) == 1


def test_activations_and_sums_stay_where_they_cannot_go():
    def make(images, x):
        bounded = layers.ReLU(negative_slope=0.1)(x)  # no function of keras.activations has this slope by itself
        x = layers.Activation(bent)(layers.Conv2D(4, 3, padding="same")(bounded))  # Keras's convolution adds nothing
        return layers.Add()([x, layers.Conv2D(4, 1)(bounded), layers.Conv2D(4, 1, activation="relu")(images)])

    model = behind(make)
    fused = zoo.fuse(model)
    check_same(model, fused)
    assert sorted(set(layer_types(fused))) == ["Add", "Conv2D", "Flatten", "GroupedConv2D", "InputLayer", "ReLU"]
    assert bent in [getattr(layer, "activation", None) for layer in fused.layers]


def test_a_sum_of_different_shapes_is_no_residual():
    model = behind(lambda _, x: layers.Add()([x, ops.mean(x, axis=(1, 2), keepdims=True)]))
    check_same(model, fused := zoo.fuse(model))
    assert "Add" in layer_types(fused)


def test_a_change_of_type_is_no_identity():
    model = behind(lambda _, x: layers.Dropout(0.5, dtype="float16")(x))
    check_same(model, fused := zoo.fuse(model))
    assert "Dropout" in layer_types(fused)


def test_layers_with_state_of_their_own_are_copied_with_it():
    adapted = layers.Normalization()
    adapted.adapt(np.random.default_rng(0).normal(3.0, 2.0, (64, 8, 8, 4)).astype("float32"))
    images = keras.Input((8, 8, 4))
    offset = 0.25
    x = layers.Lambda(lambda x: x + offset)(adapted(images))
    x = layers.LayerNormalization()(layers.LSTM(5)(layers.Reshape((16, 16))(x)))
    model = keras.Model(images, layers.BatchNormalization()(layers.Dense(3)(x)))
    check_same(model, zoo.fuse(model))

    words = layers.StringLookup(output_mode="multi_hot")
    words.adapt([["a", "b"], ["c", "b"]])
    text = keras.Input((2,), dtype="string")
    model = keras.Model(text, words(text))
    sentences = ops.convert_to_tensor([["b", "c"], ["a", "d"]], dtype="string")
    np.testing.assert_array_equal(zoo.fuse(model)(sentences), model(sentences))


def test_several_inputs_and_outputs_in_dictionaries():
    first, second = keras.Input((8, 8, 2), name="first"), keras.Input((8, 8, 2), name="second")
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(first))
    y = layers.ReLU(name="active")(x)
    outputs = {"linear": x, "active": y, "dropped": layers.Dropout(0.5)(y), "as_it_came": second}
    model = randomized(keras.Model({"first": first, "second": second}, outputs))
    fused = zoo.fuse(model)
    check_same(model, fused)
    assert fused.get_layer("conv").activation is keras.activations.linear and not normalizations(fused)


def test_the_original_is_not_touched():
    images = keras.Input((8, 8, 4))
    x = blocks.resnext_block(images, 8, 4, 2, name="block")
    model = randomized(keras.Model(images, layers.Dense(4)(layers.Flatten()(x))))
    model.compile("adam", "mse")
    images = inputs_of(model)
    model.train_on_batch(images, np.zeros((3, 4), "float32"))
    before = [variable.numpy() for variable in (*model.variables, *model.optimizer.variables)]
    calls = [len(layer._inbound_nodes) for layer in model.layers]
    fused = zoo.fuse(model)
    after = [*model.variables, *model.optimizer.variables]
    assert all(np.array_equal(old, new) for old, new in zip(before, after, strict=True))
    assert [len(layer._inbound_nodes) for layer in model.layers] == calls
    assert model.trainable and model.trainable_weights and model.get_layer("block.bn1").trainable
    assert not fused.trainable and not fused.trainable_weights and not fused.compiled
    assert not {id(weight) for weight in fused.weights} & {id(weight) for weight in model.weights}
    np.testing.assert_array_equal(fused(images, training=True), fused(images))


def test_files_of_a_fused_network(tmp_path):
    tf = pytest.importorskip("tensorflow")
    model = zoo.fuse(randomized(zoo.create("resnext20_16x4d_cifar10", 5, (32, 32, 3))))
    images = inputs_of(model)
    expected = numpy(model(images))[0]
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, rtol=1e-4, atol=1e-4)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images), expected)
    assert not loaded.trainable and layer_types(loaded) == layer_types(model)

    model.export(tmp_path / "saved", verbose=False)
    exported = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(exported.serve(images), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())

    model.export(tmp_path / "model.tflite", format="litert", verbose=False)
    interpreter = tf.lite.Interpreter(str(tmp_path / "model.tflite"))
    runner = interpreter.get_signature_runner()
    (name,), (output,) = runner.get_input_details(), runner.get_output_details()
    lite = np.concatenate([runner(**{name: image[None]})[output] for image in images])
    np.testing.assert_allclose(lite, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


class Mine(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


class Doubled(keras.Model):
    """A graph, and a computation of its own on top."""

    def call(self, inputs):
        return 2 * super().call(inputs)


class Unsaved(layers.Layer):
    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, inputs):
        return self.function(inputs)


def graph(kind=keras.Model, layer=layers.ReLU, **arguments):
    inputs = keras.Input((3,))
    return kind(inputs, layer(**arguments)(inputs), name="mine")


@pytest.mark.parametrize(("make", "error", "sentence"), [
    (lambda: Mine(name="mine"), ValueError, "mine is a Mine, whose computation is code and no graph: fuse takes func"),
    (lambda: graph(Doubled), ValueError, "mine is a Doubled, whose computation is code"),
    (lambda: keras.Sequential([layers.Dense(2)], name="mine"), ValueError, "mine is not built: begin it with keras.In"),
    (lambda: layers.Dense(2), TypeError, "fuse takes a keras.Model, functional or Sequential; got Dense"),
    (lambda: graph(layer=Unsaved, function=ops.relu, name="odd"), ValueError, "Layer 'odd' cannot be copied: Unsaved"),
])  # fmt: skip
def test_refusals_are_one_clear_sentence(make, error, sentence):
    with pytest.raises(error) as caught:
        zoo.fuse(make())
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_the_report_says_what_goes_where():
    model = keras.Sequential([
        keras.Input((8, 8, 4)),
        layers.Conv2D(4, 3, groups=2, name="conv"),
        layers.BatchNormalization(name="norm"),
        layers.Dropout(0.1, name="drop"),
        layers.ReLU(name="relu"),
        layers.BatchNormalization(name="late"),
    ])  # fmt: skip
    plan = report(model)
    assert plan.folded == {"norm": "conv", "relu": "conv"} and plan.removed == ["drop"]
    assert plan.replaced == {"conv": "GroupedConv2D"} and list(plan.left) == ["late"]
    assert str(plan).splitlines() == [
        "folded    norm into conv",
        "folded    relu into conv",
        "removed   drop, which does nothing at inference",
        "replaced  conv by GroupedConv2D",
        "left      late: 'conv' ends in an activation or a sum",
    ]
