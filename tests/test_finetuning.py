"""Runs that begin with weights: what is loaded, new and frozen, and how fast each layer learns."""

import json
import logging

import keras
import numpy as np
import pytest

import zoo
from helpers.checks import refusal
from helpers.networks import NAME
from helpers.training import QUICK, config_with_data
from train import train
from zoo import registry
from zoo.data_config import DataConfig
from zoo.datasets import augment
from zoo.datasets.config import DatasetConfig, data_config
from zoo.datasets.sizes import training_size
from zoo.datasets.splits import open_splits
from zoo.errors import UserError
from zoo.training import recipe
from zoo.training.finetuning import built, freeze_as_set
from zoo.training.layer_rates import BLOCK, depths, rate_factors
from zoo.training.optimizers.keras_fused import FusedAdamW, MomentumSGD
from zoo.training.pretrained import Pretrained
from zoo.training.recipe_config import RecipeConfig
from zoo.transforms import prepare

DIGITS = tuple(map(str, range(10)))
NAMED = ["model=named", *QUICK[2:]]


def write(path, class_names=DIGITS, channels=1, classes=10):
    """A network of random weights as the file that a run on images of 8 pixels leaves."""
    model = zoo.create(NAME, classes, (8, 8, channels), small_stem=True)
    for variable in model.weights:  # else normalisations have the values that every network begins with
        variable.assign(variable + 0.01 * np.random.default_rng(0).random(variable.shape).astype("float32"))
    path.parent.mkdir(exist_ok=True)
    keras.Model(model.inputs, model.outputs, name=model.name).save(path)
    DataConfig((8, 8), (0.3,), (0.4,), channels, class_names=class_names).add_to_keras(path)
    return model


@pytest.fixture(scope="module")
def former(tmp_path_factory):
    folder = tmp_path_factory.mktemp("former")
    return write(folder / "model.keras"), folder


def test_a_frozen_backbone_stays_as_it_was_loaded(former, tmp_path, data_dir, capsys, monkeypatch):
    """And the classifier, for the same classes, goes on from what it was."""
    model, folder = former
    shown = []
    monkeypatch.setattr("zoo.training.run.open_tracking", tracking_that_shows(shown))
    result = train(config_with_data(data_dir, *NAMED, f"weights={folder}", "freeze=backbone"), tmp_path / "run")
    saved = keras.models.load_model(tmp_path / "run" / "model.keras")
    for before, after in zip(model.weights, saved.weights, strict=True):
        assert np.array_equal(before.numpy(), after.numpy()) == (not before.path.startswith("classifier")), before.path
    facts = result["finetuning"]
    assert facts["weights"] == str(folder) and facts["fresh"]["names"] == facts["adapted"]["names"] == []
    assert facts["loaded"] == {"tensors": 137, "parameters": sum(each.numpy().size for each in model.weights)}
    assert facts["trained"] == {"tensors": 2, "parameters": 2570}
    assert facts["frozen"]["tensors"] == 135 and facts["frozen"]["until"] == "backbone"
    assert result["parameters"] == zoo.profile(model).parameters
    assert result["class_names"] == list(DIGITS) and result["small_stem"] is True
    assert result["config"]["dataset"]["mean"] == [0.3] and result["config"]["model"]["variant"] == NAME
    assert DataConfig.from_keras(tmp_path / "run" / "model.keras").class_names == DIGITS
    assert shown[0]["finetuning"] == facts
    err = capsys.readouterr().err
    assert (
        f"weights: {folder}: 137 tensors (218,400 parameters) loaded\n".replace(
            "218,400", f"{facts['loaded']['parameters']:,}"
        )
        in err
    )
    assert "freeze=backbone: 54 layers are frozen, 135 tensors" in err and "trained: 2 tensors (2,570" in err


def tracking_that_shows(shown):
    from zoo.training import run

    original = run.open_tracking

    def tracking(current, facts, *others):
        shown.append(facts)
        return original(current, facts, *others)

    return tracking


class Ten:
    """What is asked of the data, of so many classes."""

    num_classes, input_shape, class_names = 10, (8, 8, 1), DIGITS


def network(weights=None, data=Ten, **changes):
    from helpers.training import compose_config
    from zoo.training.settings import check

    given = [] if weights is None else [f"weights={weights}"]
    overrides = [f"{key.replace('__', '.')}={value}" for key, value in changes.items()]
    settings = check(compose_config("model=named", f"model.variant={NAME}", *given, *overrides))
    model = built(settings, data)
    freeze_as_set(settings, model)
    return model


@pytest.mark.parametrize(
    "names, is_new", [(DIGITS, False), (tuple("abcdefghij"), True), (None, False), (DIGITS[::-1], True)], ids=str
)
def test_the_classifier_is_new_where_the_classes_are_others(tmp_path, names, is_new):
    model = write(tmp_path / "model.keras", names)
    loaded = network(tmp_path)
    same = np.array_equal(loaded.get_layer("classifier").kernel.numpy(), model.get_layer("classifier").kernel.numpy())
    assert same != is_new and bool(loaded.loaded.initialized) == is_new
    np.testing.assert_array_equal(loaded.get_layer("conv_stem").kernel, model.get_layer("conv_stem").kernel)


def test_another_number_of_classes_and_of_channels_is_said(tmp_path, caplog):
    write(tmp_path / "model.keras", None, channels=3, classes=7)
    with caplog.at_level(logging.WARNING):
        model = network(tmp_path, dataset__channels=1)
    assert model.loaded.initialized == ("classifier/kernel", "classifier/bias")
    assert model.loaded.adapted == ("conv_stem/kernel",)
    assert "has 7 classes, and 10 are wanted: classifier is randomly initialized" in caplog.text
    assert "its kernels are summed over RGB" in caplog.text


@pytest.mark.parametrize("until", [
    "blocks.1",
    "backbone",
    *(pytest.param(until, marks=pytest.mark.heavy) for until in ("conv_stem", 2, "bn1")),
])  # fmt: skip
def test_freeze_takes_what_zoo_freeze_takes(former, until):
    expected = zoo.create(NAME, 10, (8, 8, 1), small_stem=True)
    frozen = zoo.freeze(expected, "pre_logits" if until == "backbone" else until)
    model = network(former[1], freeze=until)
    assert [each.name for each in model.layers if each.weights and not each.trainable] == frozen


def test_what_cannot_be_frozen_is_said(former, caplog):
    sentence = refusal(lambda: network(former[1], freeze="stage9"))
    assert sentence == (
        f"freeze=stage9 is not allowed: {NAME} has no layer or stage 'stage9': its stages are bn1, blocks.0, blocks.1, "
        "blocks.2, blocks.3, blocks.4."
    )
    assert "did you mean blocks." in refusal(lambda: network(former[1], freeze="blocks.9"))
    assert "no feature map of stride 3: its strides are 1, 2" in refusal(lambda: network(former[1], freeze=3))
    assert "it leaves nothing to train" in refusal(lambda: network(former[1], freeze="classifier"))
    network(freeze="backbone")
    assert "Without weights= what is frozen keeps random weights" in caplog.text


@pytest.mark.heavy
def test_frozen_statistics_are_neither_used_up_nor_batch_wise(former):
    """The loss and its gradients are those of the running statistics; scale and shift are trained."""
    model = network(former[1], recipe__freeze_statistics="true")
    images = np.random.default_rng(0).normal(size=(8, 8, 8, 1)).astype("float32")
    np.testing.assert_allclose(model(images, training=True), model(images, training=False), rtol=1e-5, atol=1e-6)
    before = {each.path: each.numpy() for each in model.weights}
    recipe.compile_model(
        model, RecipeConfig(optimizer="sgd", learning_rate=9.0, warmup_epochs=0.0, weight_decay=0.0), 1
    )
    model.fit(images, np.arange(8), batch_size=8, verbose=0)
    moved = {path for path, value in before.items() if not np.array_equal(value, model_weight(model, path))}
    assert not any("moving" in path for path in moved)
    assert {"blocks.4.1.bn2/gamma", "blocks.4.1.bn2/beta", "classifier/kernel"} <= moved


def model_weight(model, path):
    return next(each.numpy() for each in model.weights if each.path == path)


def test_gradients_with_frozen_statistics_are_kerass():
    import tensorflow as tf

    from blocks import BatchNormalization

    images = np.random.default_rng(0).normal(size=(4, 5, 6, 3)).astype("float32")
    gradients = []
    for kind in (BatchNormalization, keras.layers.BatchNormalization):
        layer = kind(momentum=0.9, epsilon=1e-3)
        layer.build(images.shape)
        for variable, value in zip(layer.weights, (1.5, 0.3, -0.2, 2.0), strict=True):
            variable.assign(np.full(3, value, "float32") + np.arange(3, dtype="float32"))
        layer.statistics_frozen = True  # ours alone knows it: Keras's computes with training=False
        with tf.GradientTape() as tape:
            x = tf.constant(images)
            tape.watch(x)
            y = layer(x, training=kind is BatchNormalization)
            loss = tf.reduce_sum(y**3)
        gradients.append(tape.gradient(loss, [x, layer.gamma.value, layer.beta.value]))
        assert float(layer.moving_mean[0]) == pytest.approx(-0.2)
    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


NAMED_ALIKE = ("resnext", "shufflenet_v1", "shufflenet_v2", "regnet", "convnext", "dpn", "xception", "lcnet", "alexnet")


@pytest.mark.parametrize(
    "family", [pytest.param(key, marks=[] if key in NAMED_ALIKE else pytest.mark.heavy) for key in registry.FAMILIES]
)
def test_the_blocks_of_every_family_are_known(family):
    """By name, in the order of the network: stem, blocks, and what lies behind them."""
    config = next(iter(registry.family(family).VARIANTS.values()))
    with zoo.factory.without_random_numbers():
        model = zoo.create(config, 10, (64, 64, 3))
    names = [layer.name for layer in model.layers if layer.weights]
    depth_of = depths(names)
    values = [depth_of[name] for name in names]
    blocks = list(dict.fromkeys(match[0] for name in names if (match := BLOCK.match(name))))
    assert values == sorted(values) and values[-1] == len(blocks) + 1 and len(blocks) >= 4, blocks
    assert model.classifier in names and depth_of[model.classifier] == max(values)
    assert family == "alexnet" or 1 <= values.count(0) <= 12


RATES = {"learning_rate": 0.1, "weight_decay": 0.2, "schedule": "constant", "warmup_epochs": 0.0}


@pytest.mark.parametrize("optimizer, kerass", [("sgd", keras.optimizers.SGD), ("adamw", keras.optimizers.AdamW)])
def test_each_variable_learns_as_by_an_optimizer_of_its_own_rate(optimizer, kerass):
    """Rate and decay are multiplied: the definition is one optimizer of Keras's for each variable."""
    factors = {"a/kernel": 0.25, "c/kernel": 3.0, "c/bias": 3.0}
    shapes = {"a/kernel": (3, 4), "b/kernel": (4, 2), "c/kernel": (2, 2), "c/bias": (2,)}
    random = np.random.default_rng(0)
    starts = {path: random.normal(size=shape).astype("float32") for path, shape in shapes.items()}
    gradients = [[random.normal(size=shape).astype("float32") for shape in shapes.values()] for _ in range(4)]

    def variables():
        created = []
        for path, value in starts.items():
            with keras.name_scope(path.partition("/")[0]):
                created.append(keras.Variable(value, name=path.partition("/")[2]))
        return created

    ours = variables()
    assert [each.path for each in ours] == list(shapes)
    chosen = recipe.optimizer(RecipeConfig(optimizer=optimizer, **RATES), 10, factors)
    chosen.build(ours)
    for step in gradients:
        chosen.apply(step, ours)
    for index, (path, variable) in enumerate(zip(shapes, variables(), strict=True)):
        settings = {"momentum": 0.9, "nesterov": True} if optimizer == "sgd" else {}
        decay = 1e-9 if path.endswith("bias") else 0.2
        single = kerass(0.1 * factors.get(path, 1.0), weight_decay=decay, **settings)
        single.build([variable])
        for step in gradients:
            single.apply([step[index]], [variable])
        np.testing.assert_allclose(ours[index].numpy(), variable.numpy(), rtol=1e-4, atol=1e-5, err_msg=path)
    plain = recipe.optimizer(RecipeConfig(optimizer=optimizer, **RATES), 10)
    plain.build(variables())
    assert [each.shape for each in chosen.variables] == [each.shape for each in plain.variables], "no state of its own"
    restored = keras.optimizers.deserialize(keras.optimizers.serialize(chosen))
    assert type(restored) in (MomentumSGD, FusedAdamW) and restored.rate_factors == factors


def test_the_rates_of_a_network():
    model = zoo.create(NAME, 10, (32, 32, 3))
    factors = rate_factors(model, RecipeConfig(learning_rate=0.01, head_learning_rate=0.1, layer_decay=0.5))
    assert factors["classifier/kernel"] == factors["classifier/bias"] == pytest.approx(10)
    assert factors["blocks.4.1.conv_pw/kernel"] == factors["blocks.4.1.bn1/gamma"] == 0.5  # the last of 13 blocks
    assert factors["blocks.4.0.conv_pw/kernel"] == 0.25
    assert factors["blocks.0.0.conv_dw/kernel"] == 0.5**13 and factors["conv_stem/kernel"] == 0.5**14
    assert rate_factors(model, RecipeConfig()) == {} == rate_factors(model, RecipeConfig(layer_decay=1.0))
    only = rate_factors(model, RecipeConfig(learning_rate=0.01, head_learning_rate=0.02))
    assert only == {"classifier/kernel": 2.0, "classifier/bias": 2.0}
    headless = zoo.create(NAME, 0, (32, 32, 3))
    assert "has no classifier" in refusal(lambda: rate_factors(headless, RecipeConfig(head_learning_rate=0.1)))


def test_a_network_steps_by_its_rates(former):
    """Plain SGD without momentum and decay: each step is the gradient times the rate of its layer."""
    settings = {**RATES, "weight_decay": 0.0, "optimizer": "sgd", "momentum": 0.0}
    images, labels = np.random.default_rng(0).normal(size=(8, 8, 8, 1)).astype("float32"), np.arange(8)
    moves = []
    for more in ({}, {"layer_decay": 0.5, "head_learning_rate": 0.3}):
        model = network(former[1])
        before = {each.path: each.numpy() for each in model.trainable_weights}
        recipe.compile_model(model, RecipeConfig(**settings, **more), 1)
        model.fit(images, labels, batch_size=8, verbose=0)
        moves.append({each.path: each.numpy() - before[each.path] for each in model.trainable_weights})
    for path, factor in (("classifier/kernel", 3), ("blocks.4.1.conv_pw/kernel", 0.5), ("conv_stem/kernel", 0.5**14)):
        expected = factor * moves[0][path]
        np.testing.assert_allclose(moves[1][path], expected, rtol=2e-2, atol=1e-2 * abs(expected).max() + 1e-7)


@pytest.mark.heavy
def test_weights_that_do_not_fit_end_the_run_in_one_sentence(tmp_path, data_dir):
    write(tmp_path / "w" / "model.keras")
    cfg = config_with_data(data_dir, *NAMED, f"weights={tmp_path}/w", "dataset.channels=3", "dataset.mean=[0.5]")
    with pytest.raises(UserError, match="does not fit mobilenetv1_025: 1 have another shape: conv_stem"):
        train(cfg, tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "failed" and "does not fit" in result["error"]


@pytest.mark.parametrize("half", ["low", "high"])
def test_the_halves_of_the_digits(data_dir, half):
    """What experiment=pretrain and experiment=finetune train on."""
    config = DatasetConfig(builder=f"digits_{half}", data_dir=data_dir)
    size = training_size(config)  # before they are prepared
    splits = open_splits(config)
    assert splits.class_names == (DIGITS[:5] if half == "low" else DIGITS[5:]) and splits.num_classes == 5
    assert (splits.train.size, splits.validation.size) == (size, 180) and size in (721, 716)
    whole = open_splits(DatasetConfig(data_dir=data_dir))
    digits = whole.validation.labels.numpy()
    chosen = digits < 5 if half == "low" else digits > 4
    np.testing.assert_array_equal(splits.validation.images, whole.validation.images.numpy()[chosen])
    np.testing.assert_array_equal(splits.validation.labels, digits[chosen] % 5)


def test_pretrained_says_nothing_of_a_file_of_pytorch(tmp_path):
    (tmp_path / "net.pth").write_bytes(b"not read yet")
    from zoo.training.pretrained import inspect

    assert inspect(str(tmp_path / "net.pth")) == Pretrained(str(tmp_path / "net.pth"))


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
def test_evaluation_crops_as_the_data_config_of_the_saved_network_says(mode):
    """So zoo predict, which has that alone, sees what the network was evaluated on."""
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.2, 0.2]
    config = DatasetConfig(image_size=8, channels=3, crop_fraction=0.8, crop_mode=mode, mean=mean, std=std)
    picture = np.random.default_rng(0).integers(0, 256, (20, 33, 3), np.uint8)
    evaluated = augment.normalise(augment.centre_square(picture, config)[None], config)
    np.testing.assert_allclose(evaluated, prepare(picture[None], data_config(config)), atol=1e-6)
    assert data_config(config).crop_mode == mode
