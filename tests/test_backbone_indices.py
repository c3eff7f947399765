"""`out_indices`: which feature maps a backbone gives, as timm counts them."""

import keras
import numpy as np
import pytest

import zoo
from helpers.arrays import draw
from helpers.checks import refusal
from zoo.factory import selected_maps
from zoo.weights.layout import slots

SHAPE = (64, 64, 3)
IMAGES = draw(2, *SHAPE)
# Channels of mobilenetv2_035's five maps, as timm's feature_info has them.
CHANNELS = (8, 8, 16, 32, 112)


@pytest.mark.parametrize(("out_indices", "expected"), [
    ((1, 3, -1), (1, 3, 4)),
    pytest.param([-5], (0,), marks=pytest.mark.heavy),
    pytest.param(range(1, 4), (1, 2, 3), marks=pytest.mark.heavy),
    ((3, 1), (1, 3)),  # timm's modules run in the order of the network
    (2, (3, 4)),  # and one number is of maps at the end
])  # fmt: skip
def test_maps_are_chosen(out_indices, expected):
    model = zoo.create("mobilenetv2_035", input_shape=SHAPE, features_only=True, out_indices=out_indices)
    infos = [zoo.FeatureInfo(2 ** (index + 1), CHANNELS[index]) for index in expected]
    assert zoo.feature_info(model) == zoo.feature_info("mobilenetv2_035", out_indices=out_indices) == infos
    whole = zoo.create("mobilenetv2_035", 2, SHAPE)
    assert zoo.feature_info(whole, out_indices=out_indices) == infos
    assert [tuple(each.shape) for each in model.outputs] == [
        (None, 64 // e.stride, 64 // e.stride, e.channels) for e in infos
    ]


@pytest.mark.parametrize("out_indices", [
    (5,), (-6,), (1, -4), (), 0, 6, -1, True, (True,), (1.0,), "12", {"a": 1}, [None],
])  # fmt: skip
def test_maps_that_there_are_not_are_refused(out_indices):
    sentence = refusal(lambda: selected_maps(out_indices, 5, "mobilenetv2_035"))
    assert sentence == (
        f"out_indices={out_indices!r} is not allowed for mobilenetv2_035: it has 5 feature maps, so give different "
        "numbers from 0 to 4, or from -5 to -1 counted from the last."
    )
    if out_indices in ((5,), True):  # by all who take them
        settings = {"features_only": True, "out_indices": out_indices}
        assert refusal(lambda: zoo.create("mobilenetv2_035", **settings)) == sentence
        assert refusal(lambda: zoo.feature_info("mobilenetv2_035", out_indices=out_indices)) == sentence


def test_without_features_only_they_mean_nothing():
    assert "give features_only=True with it" in refusal(lambda: zoo.create("mobilenetv2_035", out_indices=(1,)))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mobilenetv3_small_050", "weights.safetensors"),
        pytest.param("mobilenetv3_small_050", "model.weights.h5", marks=pytest.mark.heavy),
        pytest.param("shufflenet_v2_x0_5", "model.keras", marks=pytest.mark.heavy),
    ],
)
def test_weights_of_the_whole_network_fill_a_part_of_it(name, kind, tmp_path):
    """Layers behind the last map are not there; tensors that are of no layer of the network are refused still."""
    whole = zoo.create(name, 3, SHAPE)
    path = tmp_path / kind
    {"safetensors": zoo.save_torch, "h5": keras.Model.save_weights, "keras": keras.Model.save}[kind.rpartition(".")[2]](
        whole, path
    )
    settings = {"input_shape": SHAPE, "weights": path, "features_only": True}
    backbone = zoo.create(name, **settings, out_indices=(1, -3))
    full = zoo.create(name, **settings)
    ours, all_maps = slots(backbone), slots(full)
    assert ours.keys() < all_maps.keys()
    for actual, expected in zip(backbone(IMAGES), [full(IMAGES)[1], full(IMAGES)[2]], strict=True):
        np.testing.assert_array_equal(actual, expected)
    if kind.endswith("safetensors"):
        zoo.save_torch(backbone, path)  # a file of such a part alone will do
        zoo.create(name, **settings, out_indices=(1, 2))
        assert "of its weights are missing" in refusal(lambda: zoo.create(name, **settings))
