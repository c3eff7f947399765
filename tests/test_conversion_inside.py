"""`blocks.convert` on models and layers that are code: the layers inside them, and what cannot be exchanged."""

import keras
import numpy as np
import pytest
from keras import layers

import blocks
from helpers.conversion import check_same_outputs, check_same_training, images_of, randomized

pytestmark = pytest.mark.usefixtures("forget_networks")


class OwnStep(keras.Model):
    """A functional model whose class has a training step and a constructor of its own."""

    def __init__(self, filters, **kwargs):
        images = keras.Input((8, 8, 4))
        conv = layers.Conv2D(filters, 3, groups=2, name="conv")
        x = conv(images)
        super().__init__(images, layers.GlobalAveragePooling2D()(x), **kwargs)
        self.filters, self.stem, self.maps, self.levels = filters, conv, {"P1": x}, [1, 2]

    def train_step(self, data):
        return {"own": keras.ops.convert_to_tensor(7.0)}

    def get_config(self):
        return {"filters": self.filters, "name": self.name}


def test_a_functional_model_of_the_users_own_class_keeps_it():
    model = OwnStep(8, name="own")
    new = blocks.convert(model)
    assert type(new) is OwnStep and (new.name, new.filters, new.levels) == ("own", 8, [1, 2])
    assert new.stem is new.get_layer("conv") and type(new.stem) is blocks.Conv2D
    maps = keras.Model(new.input, new.maps["P1"])
    check_same_outputs(maps, keras.Model(model.input, model.maps["P1"]), images_of(model))
    new.compile("sgd", "mse")
    assert new.train_on_batch(images_of(model), np.ones((4, 8)), return_dict=True)["own"] == 7


def test_what_is_saved_of_the_users_own_class_loads_as_stock_layers(tmp_path):
    model = randomized(OwnStep(8, name="own"))
    blocks.convert(model).save(tmp_path / "own.keras")
    loaded = keras.models.load_model(tmp_path / "own.keras", custom_objects={"OwnStep": OwnStep})
    assert type(loaded.stem) is layers.Conv2D
    check_same_outputs(loaded, model, images_of(model), tolerance=0)


class Block(layers.Layer):
    """A layer of the user's with stock layers inside, in attributes, lists and dictionaries."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.convs = [layers.Conv2D(filters, 3, padding="same", groups=2) for _ in range(2)]
        self.parts = {"norm": layers.BatchNormalization()}
        self.pair = (layers.DepthwiseConv2D(3, padding="same"), "a word")

    def build(self, input_shape):
        for conv in self.convs:
            conv.build(input_shape)
            input_shape = (*input_shape[:-1], self.filters)
        self.parts["norm"].build(input_shape)
        self.pair[0].build(input_shape)

    def call(self, x, training=None):
        for conv in self.convs:
            x = conv(x)
        return self.pair[0](self.parts["norm"](x, training=training))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


class Subclassed(keras.Model):
    """A model that is code, with a block, a functional model and a shared layer inside."""

    def __init__(self, filters=4, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.block = Block(filters)
        self.again = self.block.convs[1]
        images = keras.Input((None, None, filters))
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(filters, 1)(images)))
        self.tail = keras.Model(images, x, name="tail")

    def call(self, x, training=None):
        return self.tail(self.again(self.block(x, training=training)), training=training)

    def get_config(self):
        return {"filters": self.filters, "name": self.name}


def test_layers_inside_a_subclassed_model_are_exchanged():
    model = Subclassed(name="code")
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 4)).astype("float32")
    model(images)
    randomized(model)
    model.block.parts["norm"].trainable = False
    new, report = blocks.convert(model, report=True)
    assert type(new) is Subclassed and not report.left
    kinds = {type(layer) for layer in (*new.block.convs, new.block.parts["norm"], new.block.pair[0])}
    assert kinds == {blocks.Conv2D, blocks.BatchNormalization, blocks.DepthwiseConv2D}
    assert new.again is new.block.convs[1] and type(new.tail.layers[1]) is blocks.Conv2D
    assert type(model.block.convs[0]) is layers.Conv2D  # the old one is as it was
    assert len(report.exchanged) == 4 + 2 and len(report.absorbed) == 1
    assert not new.block.parts["norm"].trainable
    check_same_outputs(new, model, images)
    check_same_outputs(new, model, images, training=True)
    back = blocks.restore(new)
    assert type(back.block.convs[0]) is layers.Conv2D
    check_same_outputs(back, model, images)
    check_same_training(new, model, images, np.ones((4, 8, 8, 4), "float32"))


def test_layers_inside_the_users_own_layers_are_exchanged():
    images = keras.Input((8, 8, 4))
    model = randomized(keras.Model(images, Block(4, name="block")(layers.Conv2D(4, 1)(images))))
    new, report = blocks.convert(model, report=True)
    assert type(new.get_layer("block").convs[0]) is blocks.Conv2D
    assert {name.split("/")[0] for name in report.exchanged} == {"block", model.layers[1].name}
    check_same_outputs(new, model, images_of(model))
    check_same_training(new, model, images_of(model), np.ones((4, 8, 8, 4), "float32"))


def test_layers_inside_wrappers_of_keras_are_exchanged():
    films = keras.Input((3, 8, 8, 4))
    model = randomized(keras.Model(films, layers.TimeDistributed(layers.Conv2D(4, 3, groups=2))(films)))
    new = blocks.convert(model)
    assert type(new.layers[1].layer) is blocks.Conv2D
    check_same_outputs(new, model, images_of(model))


class OwnConv(layers.Conv2D):
    """May compute something else than its base."""


def test_what_is_left_is_named_with_the_reason():
    images = keras.Input((8, 8, 4))
    model = keras.Model(images, OwnConv(4, 3, name="own")(images), name="net")
    sentence = "OwnConv is a subclass of Conv2D and may compute something else"
    assert blocks.convert(model, report=True)[1].left == {"own": sentence}
    with pytest.warns(UserWarning, match=f"net: One layer stays as it is, as own: {sentence}. report=True lists all."):
        new = blocks.convert(model)
    assert type(new.layers[1]) is OwnConv


class OtherConfig(layers.Layer):
    """Its configuration is that of another layer."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.dense, self.units = layers.Dense(units), units

    def call(self, inputs):
        return inputs + self.dense(inputs)

    def get_config(self):
        return {**super().get_config(), "units": self.units + 1}


def test_a_layer_whose_copy_is_another_is_refused():
    images = keras.Input((8, 8, 4))
    model = keras.Model(images, OtherConfig(4, name="odd")(images))
    with pytest.raises(ValueError, match="Layer 'odd' cannot be copied: OtherConfig does not make it again"):
        blocks.convert(model)


class NoConfig(keras.Model):
    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def call(self, x):
        return self.conv(x)


def test_what_cannot_be_copied_is_refused():
    with pytest.raises(TypeError, match="convert takes a keras.Model; got Conv2D"):
        blocks.convert(layers.Conv2D(4, 3))
    model = NoConfig(layers.Conv2D(4, 3))
    model(np.ones((1, 8, 8, 4)))
    with pytest.raises(ValueError, match="cannot be copied: NoConfig"):
        blocks.convert(model)
