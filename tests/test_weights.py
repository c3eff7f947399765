"""`zoo.create(weights=)`, `zoo.load_weights` and `zoo.save_torch`: what fits, what is adapted, what is refused."""

import re
import warnings

import keras
import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import zoo
from helpers.checks import refusal
from helpers.networks import IMAGES, NAME, SHAPE
from helpers.randomized import perturbed
from zoo.weights.layout import slots


@pytest.fixture(scope="module")
def trained():
    """A network whose weights, statistics included, are all its own."""
    return perturbed(zoo.create(NAME, 7, SHAPE))


@pytest.fixture(scope="module")
def tensors(trained, tmp_path_factory):
    """Its weights, as the tensors of PyTorch."""
    path = tmp_path_factory.mktemp("weights") / "trained.safetensors"
    zoo.save_torch(trained, path)
    return load_file(path)


def written(tensors: dict, folder, name: str = "weights.safetensors") -> str:
    save_file(tensors, folder / name)
    return str(folder / name)


def kernel(model, name: str) -> np.ndarray:
    return keras.ops.convert_to_numpy(model.get_layer(name).kernel)


def test_what_save_torch_writes_gives_the_same_logits(trained, tmp_path):
    path = tmp_path / "weights.safetensors"
    zoo.save_torch(trained, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = zoo.create(NAME, input_shape=SHAPE, weights=path)
    np.testing.assert_array_equal(model(IMAGES), trained(IMAGES))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    with safe_open(path, "numpy") as file:
        assert file.metadata()["format"] == "pt"
        assert file.get_slice("conv_stem.weight").get_shape() == [8, 3, 3, 3]
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F32"}  # noqa: SIM118


def test_save_torch_writes_a_convolution_where_the_reference_has_one_for_its_classifier(tmp_path):
    model = zoo.create("dpn68", 5, SHAPE)
    zoo.save_torch(model, tmp_path / "weights.safetensors")
    assert load_file(tmp_path / "weights.safetensors")["classifier.weight"].shape == (5, 832, 1, 1)
    loaded = zoo.create("dpn68", input_shape=SHAPE, weights=tmp_path / "weights.safetensors")
    np.testing.assert_array_equal(kernel(loaded, "classifier"), kernel(model, "classifier"))


def test_keras_own_files_fit_too(trained, tmp_path):
    compiled = zoo.create(NAME, 7, SHAPE, dropout=0.1)
    compiled.set_weights(trained.get_weights())
    compiled.compile("adam", "mse", metrics=["mae"])
    compiled.optimizer.build(compiled.trainable_variables)
    compiled.evaluate(IMAGES, np.zeros((2, 7)), verbose=0)  # the file then holds an optimizer and metrics as well
    compiled.save_weights(tmp_path / "model.weights.h5")
    model = zoo.create(NAME, input_shape=SHAPE, weights=tmp_path / "model.weights.h5")
    np.testing.assert_allclose(model(IMAGES), compiled(IMAGES), atol=1e-6)
    backbone = zoo.create(NAME, input_shape=SHAPE, weights=tmp_path / "model.weights.h5", features_only=True)
    np.testing.assert_array_equal(kernel(backbone, "conv_stem"), kernel(compiled, "conv_stem"))
    with pytest.warns(UserWarning, match="has 7 classes, and 3 are wanted"):
        zoo.create(NAME, 3, SHAPE, weights=tmp_path / "model.weights.h5")
    sentence = refusal(lambda: zoo.create("mobilenetv1_050", 7, SHAPE, weights=tmp_path / "model.weights.h5"))
    assert "conv_stem.0 is (3, 3, 3, 8) in the file and (3, 3, 3, 16) in the network" in sentence


@pytest.mark.parametrize("dtype", ["float16", "float64", ml_dtypes.bfloat16])
def test_other_precisions_become_float32(tensors, tmp_path, dtype):
    narrow = {name: value.astype(dtype) for name, value in tensors.items()}
    model = zoo.create(NAME, input_shape=SHAPE, weights=written(narrow, tmp_path))
    for name, slot in slots(model).items():
        np.testing.assert_array_equal(slot.to_torch(), narrow[name].astype("float32"))


def test_counters_of_batches_are_passed_over_and_nothing_else_is(tensors, tmp_path):
    counted = {**tensors, "bn1.num_batches_tracked": np.array(3, "int64")}
    zoo.create(NAME, input_shape=SHAPE, weights=written(counted, tmp_path))
    extra = written({**counted, "head_dist.weight": np.zeros((7, 4), "float32")}, tmp_path)
    sentence = refusal(lambda: zoo.create(NAME, input_shape=SHAPE, weights=extra))
    assert sentence == f"{extra} does not fit {NAME}: 1 tensors of the file are left over: head_dist.weight."


def test_one_error_lists_everything_that_does_not_fit(tensors, tmp_path):
    broken = {name: value for name, value in tensors.items() if not name.endswith("bn1.weight")}
    broken |= {f"neck.{index}.weight": np.zeros(1, "float32") for index in range(9)}
    broken["conv_stem.weight"] = np.zeros((8, 3, 5, 5), "float32")
    broken["classifier.bias"] = np.zeros(7, "int32")
    sentence = refusal(lambda: zoo.create(NAME, input_shape=SHAPE, weights=written(broken, tmp_path)))
    missing = re.search(r"(\d+) of its weights are missing in the file: (.*?);", sentence)
    assert int(missing[1]) == sum(name.endswith("bn1.weight") for name in tensors)
    assert missing[2].startswith("bn1.weight, ") and missing[2].endswith(", ...") and missing[2].count(",") == 5
    assert "9 tensors of the file are left over: neck.0.weight, neck.1.weight, " in sentence
    assert "1 have another shape: conv_stem.weight is (8, 3, 5, 5) in the file and (8, 3, 3, 3) in the" in sentence
    assert "1 have another type: classifier.bias is int32 and should be floating-point" in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_what_is_not_finite_is_refused_and_the_model_keeps_its_weights(trained, tensors, tmp_path, value):
    model = zoo.create(NAME, 7, SHAPE)
    before = model.get_weights()
    last = np.array([value, 0, 0, 0, 0, 0, 0])
    broken = written({**tensors, "classifier.bias": last}, tmp_path)
    assert "classifier.bias holds infinities or NaN" in refusal(lambda: zoo.load_weights(model, broken))
    for weight, previous in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, previous)
    zoo.load_weights(model, written(tensors, tmp_path))
    np.testing.assert_array_equal(model(IMAGES), trained(IMAGES))


def test_another_number_of_classes_gives_a_fresh_classifier_and_says_so(trained, tensors, tmp_path):
    path = written(tensors, tmp_path)
    with pytest.warns(UserWarning, match="has 7 classes, and 3 are wanted: classifier is randomly initialized"):
        model = zoo.create(NAME, 3, SHAPE, weights=path)
    assert model.output_shape == (None, 3) and np.ptp(kernel(model, "classifier")) > 0
    features = zoo.create(NAME, 0, SHAPE, weights=path)
    expected = keras.Model(trained.input, trained.get_layer("classifier").input)(IMAGES)
    np.testing.assert_array_equal(features(IMAGES), expected)
    assert "(7,) in the file and (3,) in the network" in refusal(lambda: zoo.load_weights(model, path))
    headless = written({name: tensors[name] for name in tensors if not name.startswith("classifier")}, tmp_path)
    with pytest.warns(UserWarning, match="has no classes, and 3 are wanted"):
        zoo.create(NAME, 3, SHAPE, weights=headless)
    assert "2 of its weights are missing" in refusal(lambda: zoo.create(NAME, input_shape=SHAPE, weights=headless))


@pytest.mark.parametrize("channels", [1, 2, 4, 6, 13])
def test_other_channels_adapt_the_stem_such_that_grey_images_give_what_they_gave(trained, tensors, tmp_path, channels):
    path = written(tensors, tmp_path)
    with pytest.warns(UserWarning, match="conv_stem.weight of .* is for images of 3 channels: its kernels are"):
        model = zoo.create(NAME, input_shape=(32, 32, channels), weights=path)
    converted = kernel(model, "conv_stem").transpose(3, 2, 0, 1)
    rgb = tensors["conv_stem.weight"]
    # The definition: timm's adapt_input_conv.
    repeated = np.tile(rgb, (1, -(-channels // 3), 1, 1))[:, :channels] * (3 / channels)
    np.testing.assert_allclose(converted, rgb.sum(1, keepdims=True) if channels == 1 else repeated, rtol=1e-6)
    if channels in (1, 6):
        grey = IMAGES[..., :1]
        np.testing.assert_allclose(
            model(np.repeat(grey, channels, -1)), trained(np.repeat(grey, 3, -1)), rtol=1e-4, atol=1e-4
        )


def test_every_branch_of_a_stem_adapts(tmp_path):
    zoo.save_torch(zoo.create("repvgg_a0", 3, SHAPE), tmp_path / "weights.safetensors")
    with pytest.warns(UserWarning) as caught:
        zoo.create("repvgg_a0", 3, (32, 32, 1), weights=tmp_path / "weights.safetensors")
    assert {str(warning.message).split(".weight")[0] for warning in caught} == {
        "stem.conv_kxk.conv", "stem.conv_1x1.conv"
    }  # fmt: skip


def test_only_kernels_for_rgb_adapt(tensors, tmp_path):
    grey = {**tensors, "conv_stem.weight": tensors["conv_stem.weight"][:, :1]}
    path = written(grey, tmp_path)
    zoo.create(NAME, input_shape=(32, 32, 1), weights=path)
    for channels in (3, 4):
        sentence = refusal(lambda n=channels: zoo.create(NAME, input_shape=(32, 32, n), weights=path))
        assert f"(8, 1, 3, 3) in the file and (8, {channels}, 3, 3) in the network" in sentence


def test_weights_for_one_size_of_images_serve_others(tensors, tmp_path):
    for size in (None, 47, 64):
        model = zoo.create(NAME, input_shape=(size, size, 3), weights=written(tensors, tmp_path))
        assert np.isfinite(model(np.zeros((1, size or 40, size or 40, 3)))).all()


def test_a_dense_layer_takes_the_kernel_of_a_1x1_convolution(trained, tensors, tmp_path):
    wide = {**tensors, "classifier.weight": tensors["classifier.weight"][:, :, None, None]}
    model = zoo.create(NAME, input_shape=SHAPE, weights=written(wide, tmp_path))
    np.testing.assert_array_equal(model(IMAGES), trained(IMAGES))


def test_integers_stay_integers(tmp_path):
    model = zoo.create("condensenet74_c4_g4", 2, SHAPE)
    path = tmp_path / "weights.safetensors"
    zoo.save_torch(model, path)
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith(".index"))
    assert tensors[name].dtype == "int64"
    tensors[name] = tensors[name][::-1].copy()
    zoo.load_weights(model, written(tensors, tmp_path))
    np.testing.assert_array_equal(slots(model)[name].to_torch(), tensors[name])
    large = tensors[name].astype("uint64") + np.uint64(2**63)
    for values, sentence in ((large, "has numbers too large for int"), (tensors[name] * 1.0, "should be integers")):
        wrong = written({**tensors, name: values}, tmp_path)
        assert sentence in refusal(lambda wrong=wrong: zoo.load_weights(model, wrong))


@pytest.mark.parametrize("channel", [16, *(pytest.param(channel, marks=pytest.mark.heavy) for channel in (-1, 2**40))])
def test_a_selection_of_channels_that_there_are_not_is_refused(tmp_path, channel):
    """The first unit of this network sees 16 channels; what is taken beyond them would be anything."""
    model = zoo.create("condensenet74_c4_g4", 2, SHAPE)
    path, name = tmp_path / "weights.safetensors", "features.stage1.unit1.conv1.index"
    zoo.save_torch(model, path)
    tensors = load_file(path)
    tensors[name][3] = channel
    before = model.get_weights()
    sentence = refusal(lambda: zoo.load_weights(model, written(tensors, tmp_path)))
    assert sentence.endswith(f": {name} chooses channel {channel}, and there are those from 0 to 15.")
    for weight, previous in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, previous)
    model.get_layer(name.removesuffix(".index")).index.assign(tensors[name])
    model.save_weights(tmp_path / "model.weights.h5")
    sentence = refusal(lambda: zoo.create("condensenet74_c4_g4", 2, SHAPE, weights=tmp_path / "model.weights.h5"))
    assert f"chooses channel {channel}" in sentence


def test_a_file_that_says_of_which_network_it_is_is_not_taken_for_another(trained, tmp_path):
    zoo.save_torch(trained, tmp_path / "weights.safetensors")
    sentence = refusal(lambda: zoo.create("mobilenetv1_050", weights=tmp_path / "weights.safetensors"))
    assert f"has weights of {NAME}, and mobilenetv1_050 is wanted: use zoo.create('{NAME}', weights=" in sentence
    other = zoo.create("mobilenetv1_050", 7, SHAPE)
    assert "mobilenetv1_050 is wanted" in refusal(lambda: zoo.load_weights(other, tmp_path / "weights.safetensors"))


def test_save_torch_refuses_what_pytorch_has_no_place_for(trained, tmp_path):
    assert "must end in .safetensors" in refusal(lambda: zoo.save_torch(trained, tmp_path / "weights.pth"))
    images = keras.Input((8, 8, 3))
    foreign = keras.Model(images, keras.layers.Conv2D(4, 3, name="conv")(images))
    sentence = refusal(lambda: zoo.save_torch(foreign, tmp_path / "weights.safetensors"))
    assert "conv is a Conv2D" in sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "convnext_atto", "dpn68"])
def test_timm_loads_what_save_torch_writes(name, tmp_path):
    timm = pytest.importorskip("timm", reason="the other side of this test is timm, which is not installed")
    torch = pytest.importorskip("torch")
    path = tmp_path / "weights.safetensors"
    model = zoo.create(name, input_shape=SHAPE)
    zoo.save_torch(model, path)
    reference = timm.create_model(name)
    reference.load_state_dict({key: torch.from_numpy(value) for key, value in load_file(path).items()}, strict=True)
    for each in (reference, timm.create_model(name, checkpoint_path=str(path))):
        with torch.no_grad():
            logits = each.eval()(torch.from_numpy(IMAGES).permute(0, 3, 1, 2)).numpy()
        ours = keras.ops.convert_to_numpy(model(IMAGES))
        assert np.abs(logits - ours).max() <= 1e-4 * np.abs(ours).max()
