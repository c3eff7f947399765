"""Networks as backbones: feature maps, frozen stages, stochastic depth."""

import keras
import numpy as np
import pytest

import zoo
from helpers.arrays import draw
from helpers.checks import refusal
from zoo import registry
from zoo.weights.layout import slots

SHAPE = (64, 64, 3)
IMAGES = draw(2, *SHAPE)
# One network a way to build: strides and channels as timm's features_only=True gives them, where timm has the network.
FEATURES = {
    "resnet26": ((2, 64), (4, 256), (8, 512), (16, 1024), (32, 2048)),
    "mobilenetv2_035": ((2, 8), (4, 8), (8, 16), (16, 32), (32, 112)),
    "shufflenet_v2_x0_5": ((2, 24), (4, 24), (8, 48), (16, 96), (32, 192)),
    "convnext_atto": ((4, 40), (8, 80), (16, 160), (32, 320)),
    "resnext29_32x4d_cifar10": ((1, 256), (2, 512), (4, 1024)),
}


@pytest.mark.parametrize("name", FEATURES)
def test_feature_info_says_what_a_backbone_gives(name):
    expected = [zoo.FeatureInfo(*each) for each in FEATURES[name]]
    assert zoo.feature_info(name) == expected
    model = zoo.create(name, input_shape=(None, None, 3), features_only=True)
    assert zoo.feature_info(model) == expected
    maps = model(np.zeros((1, 64, 96, 3)))
    assert [each.shape for each in maps] == [(1, 64 // e.stride, 96 // e.stride, e.channels) for e in expected]


def test_feature_info_of_other_models():
    small = zoo.create("resnet26", input_shape=(32, 32, 1), features_only=True, small_stem=True)
    assert [each.stride for each in zoo.feature_info(small)] == [1, 1, 2, 4, 8]
    assert zoo.feature_info("resnet26", small_stem=True) == zoo.feature_info(small)
    assert zoo.feature_info(registry.variant("resnet26")) == zoo.feature_info("resnet26")
    assert zoo.feature_info(zoo.create("resnet26", 2, (None, 45, 2))) == zoo.feature_info("resnet26")
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    assert "are not known" in refusal(lambda: zoo.feature_info(other))
    assert "did you mean resnet26" in refusal(lambda: zoo.feature_info("resnet2"))


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "shufflenet_v2_x0_5"])
def test_a_backbone_takes_the_weights_of_the_whole_network_but_for_what_it_leaves_out(name, tmp_path):
    """These two have a convolution between the last map and the classifier."""
    whole = zoo.create(name, 3, SHAPE)
    path = tmp_path / "weights.safetensors"
    zoo.save_torch(whole, path)
    backbone = zoo.create(name, input_shape=SHAPE, weights=path, features_only=True)
    ours, theirs = slots(backbone), slots(whole)
    assert ours.keys() < theirs.keys()
    for key, slot in ours.items():
        np.testing.assert_array_equal(slot.to_torch(), theirs[key].to_torch())
    zoo.save_torch(backbone, path)  # a file of a backbone alone will do
    zoo.create(name, input_shape=SHAPE, weights=path, features_only=True)
    extra = keras.Model(whole.input, keras.layers.Dense(2, name="extra")(whole.output), name=name)
    zoo.save_torch(extra, path)
    sentence = refusal(lambda: zoo.create(name, input_shape=SHAPE, weights=path, features_only=True))
    assert "2 tensors of the file are left over: extra.bias, extra.weight" in sentence


def test_a_backbone_has_no_classifier():
    for settings in ({"num_classes": 10}, {"dropout": 0.1}):
        assert "no meaning" in refusal(lambda settings=settings: zoo.create("resnet26", features_only=True, **settings))


def test_freezing_keeps_weights_and_statistics():
    model = zoo.create("mobilenetv2_035", 3, SHAPE)
    frozen = zoo.freeze(model, "blocks.2")
    assert frozen[0] == "conv_stem" and "blocks.2.2.bn3" in frozen and not any("blocks.3" in name for name in frozen)
    before = {variable.path: variable.numpy() for variable in model.variables}
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(IMAGES, np.ones((2, 3)), verbose=0)
    after = {variable.path: variable.numpy() for variable in model.variables}
    changed = {path for path, value in before.items() if not np.array_equal(value, after[path])}
    assert changed.isdisjoint(weight.path for name in frozen for weight in model.get_layer(name).weights)
    statistics = {path for path in before if path.endswith("moving_mean") and path.split("/")[0] not in frozen}
    assert statistics and statistics <= changed
    assert "classifier/kernel" in changed


def test_what_until_means():
    def frozen(name, until):
        return zoo.freeze(zoo.create(name, 2, SHAPE), until)

    assert frozen("resnet26", "bn1") == ["conv1", "bn1"]
    assert frozen("resnet26", "maxpool") == frozen("resnet26", 2) == ["conv1", "bn1"]
    stage = frozen("resnet26", "layer1")
    assert stage == frozen("resnet26", 4) and "layer1.0.downsample.0" in stage and "layer1.1.bn3" in stage
    assert not any(name.startswith("layer2") for name in stage)
    assert "layer2.0.conv1" not in frozen("resnet26", "layer2.0.downsample")
    assert frozen("resnet26", "fc")[-1] == "fc"
    # The gates of squeeze-and-excitation see maps of one pixel; they belong to the block whose maps they scale.
    gated = frozen("mobilenetv3_small_050", 4)
    assert gated == frozen("mobilenetv3_small_050", "blocks.0") and "blocks.0.0.se.conv_reduce" in gated
    backbone = zoo.create("mobilenetv3_small_050", input_shape=(None, None, 1), features_only=True)
    assert zoo.freeze(backbone, 4) == gated


def test_strides_of_a_loaded_model_are_not_guessed(tmp_path):
    model = zoo.create("mobilenetv3_small_050", 2, SHAPE)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert "in a model that was loaded from a file" in refusal(lambda: zoo.freeze(loaded, 4))
    assert zoo.freeze(loaded, "blocks.0") == zoo.freeze(model, 4)
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))


@pytest.mark.parametrize(("until", "sentence"), [
    ("layer5", "has no layer or stage 'layer5': did you mean layer"),
    ("layer", "has no layer or stage 'layer': did you mean layer"),
    (3, "has no feature map of stride 3: its strides are 2, 4, 8, 16, 32."),
])  # fmt: skip
def test_unknown_stages_are_refused(until, sentence):
    model = zoo.create("resnet26", 2, SHAPE)
    assert sentence in refusal(lambda: zoo.freeze(model, until))
    assert all(layer.trainable for layer in model.layers)


def test_stochastic_depth_grows_to_the_rate_asked_for():
    model = zoo.create("convnext_atto", 2, SHAPE, drop_path=0.2)
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates[-1] == pytest.approx(0.2) and rates == sorted(rates)
    plain = zoo.create("convnext_atto", 2, SHAPE, drop_path=0.0)
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(model(IMAGES), plain(IMAGES), rtol=1e-5, atol=1e-5)
    assert np.ptp(np.stack([model(IMAGES, training=True) for _ in range(4)]), axis=0).max() > 0
    assert "drop_path=1.5 is not allowed" in refusal(lambda: zoo.create("convnext_atto", drop_path=1.5))
    assert "shufflenet_g1_w1 has no stochastic depth" in refusal(lambda: zoo.create("shufflenet_g1_w1", drop_path=0.1))


def test_the_number_of_classes_is_the_references_own():
    assert zoo.create("resnext29_32x4d_cifar10", input_shape=(32, 32, 3)).output_shape == (None, 10)
    assert zoo.create("resnext29_32x4d_cifar10", 4, (32, 32, 3)).output_shape == (None, 4)
    assert zoo.create("shufflenet_g8_wd4", input_shape=(32, 32, 3)).output_shape == (None, 1000)
