"""The optimizer, the schedule and the loss of a recipe, against Keras's own and against the arithmetic."""

import math
from dataclasses import replace

import keras
import numpy as np
import pytest

import blocks
from helpers.timm_training import expected
from zoo.training import recipe
from zoo.training.optimizers.keras_fused import FusedAdamW, KerasLamb, KerasRMSprop, MomentumSGD
from zoo.training.optimizers.timm_optimizers import Lamb, RMSpropTF, TorchAdamW, TorchSGD
from zoo.training.recipe_config import RecipeConfig, check

STEPS = 10  # of an epoch


def weights():
    """A kernel, a bias, a scale and a shift, named as layers name them; the same numbers at every call."""
    generator = np.random.default_rng(0)
    shapes = {"kernel": (3, 4), "bias": (4,), "gamma": (4,), "beta": (4,)}
    return [keras.Variable(generator.normal(size=shape).astype("float32"), name=key) for key, shape in shapes.items()]


def trained(optimizer, steps=6):
    """What `weights()` become in a few steps along fixed, large gradients."""
    generator, variables = np.random.default_rng(1), weights()
    optimizer.build(variables)
    for _ in range(steps):
        optimizer.apply([3 * generator.normal(size=each.shape).astype("float32") for each in variables])
    return [each.numpy() for each in variables]


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"weight_decay": 0.1}, {"global_clipnorm": 0.5}, {"weight_decay": 0.1, "clipvalue": 0.2}], ids=str
)
def test_the_fused_momentum_is_kerass(options, nesterov):
    rates = keras.optimizers.schedules.CosineDecay(0.3, 5)
    ours = trained(MomentumSGD(rates, momentum=0.9, nesterov=nesterov, **options))
    theirs = trained(keras.optimizers.SGD(rates, momentum=0.9, nesterov=nesterov, **options))
    for our, their, start in zip(ours, theirs, weights(), strict=True):
        np.testing.assert_allclose(our, their, rtol=1e-5, atol=1e-6)
        assert not np.allclose(our, start.numpy())


@pytest.mark.parametrize(
    "options",
    [{}, {"weight_decay": 0.1}, {"global_clipnorm": 0.5}, {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3}],
    ids=str,
)
def test_the_fused_adamw_is_kerass(options):
    rates = keras.optimizers.schedules.CosineDecay(0.3, 5)
    ours, theirs = trained(FusedAdamW(rates, **options)), trained(keras.optimizers.AdamW(rates, **options))
    for our, their, start in zip(ours, theirs, weights(), strict=True):
        np.testing.assert_allclose(our, their, rtol=1e-4, atol=1e-5)
        assert not np.allclose(our, start.numpy())


def test_the_fused_momentum_comes_back_from_its_configuration():
    restored = keras.optimizers.deserialize(keras.optimizers.serialize(MomentumSGD(0.1, 0.8, nesterov=True)))
    assert type(restored) is MomentumSGD and restored.momentum == 0.8 and restored.nesterov


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_decay_is_decoupled_and_spares_vectors(name):
    config = RecipeConfig(optimizer=name, learning_rate=0.1, weight_decay=0.5, schedule="constant", warmup_epochs=0)
    optimizer, variables = recipe.optimizer(config, STEPS), weights()
    optimizer.build(variables)
    optimizer.apply([np.zeros(each.shape, "float32") for each in variables])
    for variable, start in zip(variables, weights(), strict=True):
        factor = 1 - 0.1 * 0.5 if variable.name == "kernel" else 1.0
        np.testing.assert_allclose(variable.numpy(), factor * start.numpy(), rtol=1e-6)


def test_the_recipe_reaches_the_optimizer():
    sgd = recipe.optimizer(RecipeConfig(optimizer="sgd", momentum=0.8, clip_norm=2.0), STEPS)
    assert (type(sgd), sgd.momentum, sgd.nesterov, sgd.global_clipnorm) == (MomentumSGD, 0.8, True, 2.0)
    plain = recipe.optimizer(RecipeConfig(optimizer="sgd", momentum=0.0, weight_decay=0.0), STEPS)
    assert (plain.nesterov, plain.weight_decay) == (False, None)
    adamw = recipe.optimizer(RecipeConfig(optimizer="adamw", weight_decay=0.2, clip_norm=2.0), STEPS)
    assert (type(adamw), adamw.weight_decay, adamw.global_clipnorm) == (FusedAdamW, 0.2, 2.0)


def rate(schedule, step):
    return schedule if isinstance(schedule, float) else float(schedule(step))


@pytest.mark.parametrize("name", ["cosine", "constant"])
@pytest.mark.parametrize("warmup_epochs", [0, 1, 2.5])
def test_the_learning_rate_rises_linearly_and_falls_as_it_should(name, warmup_epochs):
    config = RecipeConfig(epochs=10, learning_rate=0.4, schedule=name, warmup_epochs=warmup_epochs)
    schedule, warmup, total = recipe.schedule(config, STEPS), round(warmup_epochs * STEPS), 10 * STEPS
    for step in range(warmup):
        assert rate(schedule, step) == pytest.approx(0.4 * step / warmup, abs=1e-7)
    for step in range(warmup, total + 1):
        share = (step - warmup) / (total - warmup)
        expected = 0.4 if name == "constant" else 0.2 * (1 + math.cos(math.pi * share))
        assert rate(schedule, step) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_the_smoothed_loss_is_kerass_on_smoothed_targets(smoothing):
    generator = np.random.default_rng(2)
    logits = generator.normal(scale=4, size=(16, 7)).astype("float32")
    labels = generator.integers(0, 7, 16)
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    expected = float(theirs(keras.ops.one_hot(labels, 7), logits))
    assert float(recipe.SmoothedCrossentropy(smoothing)(labels, logits)) == pytest.approx(expected, rel=1e-5)
    restored = recipe.SmoothedCrossentropy.from_config(recipe.SmoothedCrossentropy(smoothing).get_config())
    assert restored.smoothing == smoothing


def test_precision():
    assert recipe.policy(RecipeConfig(precision="bfloat16")) == "mixed_bfloat16"
    assert recipe.policy(RecipeConfig()) == "float32"


@pytest.mark.parametrize(
    "values, sentence",
    [
        ({"optimizer": "sdg"}, "recipe.optimizer='sdg' is not known: did you mean sgd?"),
        ({"schedule": "linear"}, "recipe.schedule='linear' is not known: did you mean cosine?"),
        ({"precision": "float64"}, "recipe.precision='float64' is not known: did you mean float16, bfloat16, float32?"),
        ({"epochs": 0}, "recipe.epochs=0 is not allowed: it must be at least 1."),
        ({"epochs": 2**31}, "recipe.epochs=2147483648 is not allowed: it must be at most 2147483647."),
        ({"batch_size": -1}, "recipe.batch_size=-1 is not allowed: it must be at least 1."),
        ({"learning_rate": 0.0}, "recipe.learning_rate=0 is not allowed: it must be a finite number above 0."),
        ({"learning_rate": math.nan}, "recipe.learning_rate=nan is not allowed"),
        ({"clip_norm": math.inf}, "recipe.clip_norm=inf is not allowed"),
        ({"momentum": 1.0}, "recipe.momentum=1 is not allowed: it is a share, from 0 up to but not 1; try 0.9."),
        ({"dropout": -0.1}, "recipe.dropout=-0.1 is not allowed: it is a share, from 0 up to but not 1; try 0."),
        ({"label_smoothing": math.nan}, "recipe.label_smoothing=nan is not allowed"),
        ({"weight_decay": -1e-4}, "recipe.weight_decay=-0.0001 is not allowed: it must be finite, 0 or more."),
        ({"epochs": 2, "warmup_epochs": 2.0}, "recipe.warmup_epochs=2 is not allowed with recipe.epochs=2"),
        ({"warmup_epochs": math.nan}, "recipe.warmup_epochs=nan is not allowed"),
    ],
)
def test_what_cannot_be_meant_is_refused(values, sentence):
    with pytest.raises(ValueError) as raised:
        check(replace(RecipeConfig(), **values))
    assert str(raised.value).startswith(sentence)


def test_the_defaults_are_allowed():
    check(RecipeConfig())
    check(RecipeConfig(epochs=1, warmup_epochs=0.5, clip_norm=1.0, weight_decay=0.0, momentum=0.0))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_step_is_traced_once(optimizer, monkeypatch):
    """With variables that the first call creates TensorFlow traces it twice, which of a network takes seconds."""
    traced, call = [], recipe.SmoothedCrossentropy.call
    monkeypatch.setattr(
        recipe.SmoothedCrossentropy, "call", lambda *arguments: traced.append(arguments) or call(*arguments)
    )
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5)])
    recipe.compile_model(model, RecipeConfig(optimizer=optimizer), 2)
    model.fit(np.ones((8, 3)), np.zeros(8, "int32"), batch_size=4, epochs=2, verbose=0)
    assert len(traced) == 1 and model.optimizer.iterations == 4


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weights_may_be_without_decay(optimizer):
    weight = keras.Variable([1.0])
    recipe.optimizer(RecipeConfig(optimizer=optimizer, weight_decay=0.0), 2).apply([np.zeros(1, "float32")], [weight])
    assert weight.numpy() == 1


@pytest.mark.parametrize(
    "name, definition, kind",
    [
        ("sgd", None, MomentumSGD),
        ("sgd", "timm", TorchSGD),
        ("adamw", None, FusedAdamW),
        ("adamw", "timm", TorchAdamW),
        ("lamb", None, Lamb),
        ("lamb", "keras", KerasLamb),
        ("rmsprop", None, RMSpropTF),
        ("rmsprop", "keras", KerasRMSprop),
    ],
)
def test_the_definition_and_the_constants_reach_the_optimizer(name, definition, kind):
    config = RecipeConfig(optimizer=name, optimizer_definition=definition, weight_decay=0.3, accumulation_steps=4)
    config.momentum, config.nesterov, config.rho, config.beta_1, config.beta_2 = 0.7, False, 0.8, 0.6, 0.95
    config.epsilon, config.clip_value = 1e-4, 0.5
    optimizer = recipe.optimizer(config, STEPS)
    has = optimizer.get_config()
    assert type(optimizer) is kind and has["weight_decay"] == 0.3
    assert (has["gradient_accumulation_steps"], has["clipvalue"]) == (4, 0.5)
    expected = {"momentum": 0.7, "nesterov": False, "rho": 0.8, "beta_1": 0.6, "beta_2": 0.95, "epsilon": 1e-4}
    assert {key: has[key] for key in expected.keys() & has.keys()} == {
        key: expected[key] for key in expected if key in has
    }
    assert expected.keys() & has.keys() == set(recipe.KEYS[name]) | ({"nesterov"} if name == "sgd" else set())


def test_timms_lamb_clips_at_1_unless_told_otherwise():
    assert recipe.optimizer(RecipeConfig(optimizer="lamb"), STEPS).global_clipnorm == 1.0
    assert recipe.optimizer(RecipeConfig(optimizer="lamb", clip_norm=3.0), STEPS).global_clipnorm == 3.0
    by_value = recipe.optimizer(RecipeConfig(optimizer="lamb", clip_value=0.1), STEPS)
    assert (by_value.global_clipnorm, by_value.clipvalue) == (None, 0.1)


@pytest.mark.parametrize("norm", [0.5, 100.0])
@pytest.mark.parametrize("definition", ["keras", "timm"])
def test_clipping_by_norm_is_of_all_gradients_together(definition, norm):
    """torch.nn.utils.clip_grad_norm_, but for the 1e-6 that it adds to the norm."""
    variables = [keras.Variable(np.ones(2, "float32")), keras.Variable(np.ones(3, "float32"))]
    gradients = [np.array([3.0, -4.0], "float32"), np.array([0.0, 12.0, 0.0], "float32")]  # together of norm 13
    config = RecipeConfig(optimizer="sgd", optimizer_definition=definition, momentum=0.0, clip_norm=norm)
    config.schedule, config.warmup_epochs, config.weight_decay, config.learning_rate = "constant", 0, 0.0, 1.0
    recipe.optimizer(config, STEPS).apply(gradients, variables)
    for variable, gradient in zip(variables, gradients, strict=True):
        np.testing.assert_allclose(variable.numpy(), 1 - gradient * min(1, norm / 13), rtol=1e-5)


@pytest.mark.parametrize("value", [0.1, 10.0])
def test_clipping_by_value_is_pytorchs(value):
    """torch.nn.utils.clip_grad_value_: each entry by itself."""
    variable, gradient = keras.Variable([1.0, 2.0, 3.0]), np.array([-5.0, 0.05, 0.4], "float32")
    config = RecipeConfig(optimizer="sgd", momentum=0.0, clip_value=value, weight_decay=0.0, learning_rate=1.0)
    config.warmup_epochs, config.schedule = 0, "constant"
    recipe.optimizer(config, STEPS).apply([gradient], [variable])
    np.testing.assert_allclose(variable.numpy(), [1, 2, 3] - np.clip(gradient, -value, value), rtol=1e-6)


@pytest.mark.parametrize("definition", ["keras", "timm"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop", "lamb"])
@pytest.mark.parametrize(
    "no_decay", [[], ["bias"], ["normalization"], ["depthwise"], ["bias", "normalization"]], ids=str
)
def test_decay_is_excluded_by_kind(optimizer, definition, no_decay):
    """Gradients of 0: the weights that change are those that decay."""
    images = keras.Input((4, 4, 3))
    x = blocks.GroupedConv2D(6, 1, use_bias=True, bias_initializer="ones", name="dense")(images)
    x = blocks.GroupedConv2D(6, 3, groups=6, padding="same", use_bias=False, name="depthwise")(x)
    x = blocks.BatchNormalization(beta_initializer="ones", name="norm")(x)
    x = keras.layers.DepthwiseConv2D(3, use_bias=False, name="keras_depthwise")(x)
    model = keras.Model(images, keras.layers.Dense(5, bias_initializer="ones")(keras.layers.GlobalMaxPooling2D()(x)))
    config = RecipeConfig(optimizer=optimizer, optimizer_definition=definition, learning_rate=0.1, weight_decay=0.1)
    config.schedule, config.warmup_epochs, config.no_decay = "constant", 0, no_decay
    recipe.compile_model(model, config, STEPS)
    before = {each.path: each.numpy() for each in model.trainable_weights}
    model.optimizer.apply([keras.ops.zeros(each.shape) for each in model.trainable_weights])
    same = {each.path for each in model.trainable_weights if np.array_equal(before[each.path], each.numpy())}
    kinds = {
        "bias": {path for path in before if path.endswith("bias")},
        "normalization": {"norm/gamma", "norm/beta"},
        "depthwise": {"depthwise/kernel", "keras_depthwise/kernel"},
    }
    assert same == set().union(*(kinds[kind] for kind in no_decay))


@pytest.mark.parametrize("prepare", ["compile_model", "compile_for_evaluation"])
@pytest.mark.parametrize("name", ["cross_entropy", "bce"])
def test_labels_are_smoothed_in_training_alone(name, prepare):
    draw = np.random.default_rng(0)
    images, labels = draw.standard_normal((8, 5), np.float32), draw.integers(0, 5, 8).astype("int32")
    losses = {}
    for smoothing in (0.0, 0.1):
        config = RecipeConfig(loss=name, label_smoothing=smoothing, optimizer="sgd", learning_rate=1e-9)
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(5, kernel_initializer="identity")])
        arguments = (1,) if prepare == "compile_model" else ()
        getattr(recipe, prepare)(model, config, *arguments)
        evaluated = model.evaluate(images, labels, verbose=0)[0]
        trained = float(model.compute_loss(y=labels, y_pred=images, training=True))
        losses[smoothing] = evaluated, trained
        if prepare == "compile_model":
            history = model.fit(images, labels, validation_data=(images, labels), verbose=0).history
            assert history["val_loss"][0] == pytest.approx(evaluated, rel=1e-5)
            assert history["loss"][0] == pytest.approx(trained, rel=1e-5)
    assert losses[0.1][0] == pytest.approx(losses[0.0][0], rel=1e-6)
    assert losses[0.0][1] == pytest.approx(losses[0.0][0], rel=1e-6)
    assert losses[0.1][1] == pytest.approx(float(model.loss(labels, images)), rel=1e-6)
    assert losses[0.1][1] > 1.001 * losses[0.1][0]


@pytest.mark.parametrize(
    "case", expected("binary_cross_entropy"), ids=lambda case: f"{case['smoothing']}, {case['threshold']}"
)
def test_the_binary_cross_entropy_is_timms(case):
    config = RecipeConfig(loss="bce", label_smoothing=case["smoothing"], target_threshold=case["threshold"])
    check(config)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(5, kernel_initializer="identity")])
    recipe.compile_model(model, config, STEPS)
    logits, labels = np.array(case["logits"], "float32"), np.array(case["labels"])
    assert float(model.loss(labels, logits)) == pytest.approx(case["loss"], rel=1e-6)
    assert float(model.loss(np.array(case["soft_labels"], "float32"), logits)) == pytest.approx(
        case["soft_loss"], rel=1e-6
    )
    assert type(model.loss).from_config(model.loss.get_config()).threshold == case["threshold"]


@pytest.mark.parametrize(
    "values, sentence",
    [
        ({"optimizer_definition": "torch"}, "recipe.optimizer_definition='torch' is not known"),
        ({"no_decay": ["biases"]}, "recipe.no_decay has 'biases', which is not known: did you mean bias, depthwise?"),
        (
            {"clip_norm": 1.0, "clip_value": 0.5},
            "recipe.clip_norm=1 and recipe.clip_value=0.5 are not allowed together",
        ),
        ({"accumulation_steps": 0}, "recipe.accumulation_steps=0 is not allowed: it must be at least 1."),
        ({"ema_decay": 1.0}, "recipe.ema_decay=1 is not allowed: it is a share, from 0 up to but not 1; try 0.9."),
        ({"ema_decay": math.nan}, "recipe.ema_decay=nan is not allowed"),
        ({"ema_decay": 0.9, "ema_warmup": "tensorlfow"}, "recipe.ema_warmup='tensorlfow' is not known: did you mean"),
        ({"ema_warmup": "timm"}, "recipe.ema_warmup=timm is not allowed with recipe.ema_decay=null: use null, or"),
        ({"loss": "bse"}, "recipe.loss='bse' is not known: did you mean bce"),
        ({"target_threshold": 0.2}, "recipe.target_threshold=0.2 is not allowed with recipe.loss=cross_entropy"),
        ({"epsilon": 0.0}, "recipe.epsilon=0 is not allowed: it must be a finite number above 0."),
        ({"rho": 1.5}, "recipe.rho=1.5 is not allowed: it is a share"),
        ({"clip_value": -1.0}, "recipe.clip_value=-1 is not allowed: it must be a finite number above 0."),
    ],
)
def test_more_that_cannot_be_meant_is_refused(values, sentence):
    with pytest.raises(ValueError) as raised:
        check(RecipeConfig(**values))
    assert str(raised.value).startswith(sentence)
