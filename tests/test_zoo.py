"""`zoo.create` and `zoo.list_models`: names, groups, stems, files, refusals."""

from dataclasses import replace

import keras
import numpy as np
import pytest

import blocks
import zoo
from helpers.processes import run_code
from zoo import registry
from zoo.models.mobilenet_v2 import MobileNetV2
from zoo.models.resnext import ResNeXt

SMALLEST = [
    "resnet26",
    "shufflenet_g8_wd4",
    "shufflenet_v2_x0_5",
    "mobilenetv1_025",
    "mobilenetv2_035",
    "mobilenetv3_small_050",
]


def spatial(model) -> list:
    """The layers with kernels larger than 1x1, the stem left out."""
    convolutions = [
        layer for layer in model.layers if isinstance(layer, blocks.GroupedConv2D) and layer.kernel_size != (1, 1)
    ]
    return convolutions[1:]


def test_every_variant_is_named_as_its_configuration_names_itself():
    assert all(config.name == name for name, config in registry.variants().items())
    assert len(zoo.list_models()) == len(registry.variants()) >= 236


def test_list_models_takes_shell_patterns():
    assert zoo.list_models("shufflenet_v2*") == [f"shufflenet_v2_x{w}" for w in ("0_5", "1_0", "1_5", "2_0")]
    assert zoo.list_models("resnext*_32x4d") == ["resnext101_32x4d", "resnext50_32x4d", "resnext50d_32x4d"]
    assert zoo.list_models("vgg*") == []
    assert len(zoo.list_models("shufflenet_g*")) == 20


@pytest.mark.parametrize("name", SMALLEST)
@pytest.mark.parametrize("small_stem", [False, pytest.param(True, marks=pytest.mark.heavy)])
def test_shapes_and_strides(name, small_stem):
    """Five feature maps, each half as large as the one before it (but for the stem that keeps the resolution)."""
    config = registry.variant(name)
    module = registry.family_of(config)
    images = keras.Input((64, 96, 1))
    features = module.build(config, images, small_stem)
    strides = [64 // feature.shape[1] for feature in features]
    mobile = name.startswith("mobilenet")
    assert strides == ([2, 4, 8, 16, 32] if not small_stem else [1, 2, 4, 8, 16] if mobile else [1, 1, 2, 4, 8])
    assert all(96 // feature.shape[2] == stride for feature, stride in zip(features, strides, strict=True))

    model = zoo.create(name, num_classes=100, input_shape=(64, 96, 1), small_stem=small_stem)
    assert model.output_shape == (None, 100)
    logits = model(np.ones((2, 64, 96, 1), "float32"))
    assert logits.dtype == "float32" and np.all(np.isfinite(logits)) and np.ptp(logits) > 0
    assert np.min(logits) < 0, "raw logits, not probabilities"


@pytest.mark.parametrize("name", SMALLEST)
def test_the_small_stem_changes_no_weight_but_resnexts_first(name):
    large, small = (zoo.create(name, 3, (32, 32, 3), small_stem=flag) for flag in (False, True))
    differ = [
        ours.path for ours, theirs in zip(large.weights, small.weights, strict=True) if ours.shape != theirs.shape
    ]
    assert differ == (["conv1/kernel"] if name == "resnet26" else [])


def test_images_of_any_size():
    model = zoo.create("shufflenet_v2_x0_5", 4, (None, None, 3))
    for size in (32, 45, 64):
        assert model(np.zeros((1, size, size + 7, 3), "float32")).shape == (1, 4)


def test_without_classes_the_model_gives_features():
    assert zoo.create("mobilenetv2_035", 0, (32, 32, 3)).output_shape == (None, 1280)


def test_groups_of_resnext_keep_its_size():
    """The d of each C in table 2 of the paper, and ResNet-50 where C is 1."""
    for groups, width in ((1, 64), (2, 40), (4, 24), (8, 14), (32, 4)):
        assert ResNeXt(depth=50, groups=groups).width_per_group == width
        assert registry.variant("resnext50_32x4d").with_groups(groups) == ResNeXt(50, groups, width)
    single, *others = [zoo.create("resnext50_32x4d", groups=groups) for groups in (1, 8)]
    sizes = [zoo.profile(model).parameters for model in (single, *others)]
    assert max(sizes) / min(sizes) < 1.05
    resnet = zoo.create("resnet50")
    assert [w.shape for w in single.weights] == [w.shape for w in resnet.weights]
    assert single.name == "resnet50"


def test_an_explicit_width_is_kept():
    assert ResNeXt(depth=50, groups=16, width_per_group=4).name == "resnext50_16x4d"


@pytest.mark.parametrize("name", [name for name in SMALLEST if name != "shufflenet_g8_wd4"])
def test_groups_reach_every_spatial_convolution(name):
    model = zoo.create(name, 2, (32, 32, 3), groups=2)
    assert {layer.groups for layer in spatial(model)} == {2}


@pytest.mark.parametrize("name", [name for name in SMALLEST if not name.startswith(("resnet", "shufflenet_g"))])
def test_spatial_convolutions_are_depthwise_by_default(name):
    assert all(layer.groups == layer.filters for layer in spatial(zoo.create(name, 2, (32, 32, 3))))


@pytest.mark.parametrize(("groups", "width"), [(1, 0.5), (2, 0.75), (3, 1), (4, 0.25), (8, 0.25), (8, 1)])
def test_groups_of_shufflenet_v1_are_those_of_the_pointwise_convolutions(groups, width):
    config = replace(registry.variant("shufflenet_g1_w1"), groups=groups, width=width)
    model = zoo.create(config, 2, (32, 32, 3))
    pointwise = [
        layer for layer in model.layers if isinstance(layer, blocks.GroupedConv2D) and layer.kernel_size == (1, 1)
    ]
    assert [layer.groups for layer in pointwise] == [1] + [groups] * (len(pointwise) - 1)
    assert len(pointwise) == 2 * (4 + 8 + 4)


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda: zoo.create("resnext50_32x4"), "There is no model 'resnext50_32x4': did you mean resnext50_32x4d"),
    (lambda: zoo.create("shufflenet_g3_w1", groups=5), "groups=5 is not allowed for ShuffleNet v1: use 1, 2, 3, 4, 8"),
    (lambda: zoo.create("mobilenetv1_100", groups=3), "1, 2, 4, 8, 16, 32, or null for depthwise; the nearest is 2"),
    (lambda: zoo.create("shufflenet_v2_x1_0", groups=4), "use 1, 2, or null for depthwise; the nearest is 2"),
    (lambda: zoo.create("resnext50_32x4d", groups=0), "groups=0 is not allowed for ResNeXt"),
    (lambda: zoo.create("resnext50_32x4d", groups=1000), "groups=1000 makes a bottleneck of one channel a group over"),
    (lambda: ResNeXt(depth=77), "depth=77 is not allowed for ResNeXt: use 26, 50, 101, 152; the nearest is 101"),
    (lambda: MobileNetV2(width=0.0), "width=0 is not allowed for MobileNet v2: it must be above 0"),
    (lambda: zoo.create("resnet26", num_classes=-1), "num_classes=-1 is not allowed"),
    (lambda: zoo.create("resnet26", input_shape=(224, 224)), "input_shape=(224, 224) is not allowed"),
    (lambda: zoo.create("resnet26", input_shape=(0, 8, 3)), "input_shape=(0, 8, 3) is not allowed"),
    (lambda: zoo.create("resnet26", dropout=1.0), "dropout=1.0 is not allowed"),
    (lambda: registry.family("resnet"), "There is no family 'resnet': did you mean resnext"),
])  # fmt: skip
def test_refusals_are_one_clear_sentence(make, sentence):
    with pytest.raises(ValueError) as caught:
        make()
    assert sentence in str(caught.value)


def test_what_is_neither_name_nor_configuration_is_refused():
    with pytest.raises(TypeError, match="neither a model's name nor the configuration"):
        zoo.create(50)


def test_importing_zoo_is_cheap_and_importing_blocks_stays_clear_of_the_training_packages():
    heavy = "('hydra', 'omegaconf', 'wandb', 'tensorflow_datasets')"
    cheap = "import sys, zoo; zoo.list_models(); print('keras' in sys.modules)"
    rest = f"import blocks; zoo.create, zoo.profile; print([name for name in {heavy} if name in sys.modules])"
    assert run_code(f"{cheap}; {rest}") == "False\n[]\n"


def test_zoo_registers_its_layers_where_keras_is_in_use():
    code = "import keras, zoo; print(keras.saving.get_registered_object('blocks>GroupedConv2D').__name__)"
    assert run_code(code) == "GroupedConv2D\n"
