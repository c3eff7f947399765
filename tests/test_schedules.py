"""The learning rate of every schedule is timm's and PyTorch's, by step and by epoch, in epochs, steps and images."""

import keras
import numpy as np
import pytest

from helpers.checks import refusal
from helpers.timm_training import expected
from zoo.training.recipe_config import RecipeConfig, check
from zoo.training.schedules import Schedule, schedule

SCHEDULES = expected("schedules")
STEPS = SCHEDULES["updates_per_epoch"]
KINDS = {"step": "steps", "multistep": "steps", "poly": "polynomial"}
RENAMED = {"warmup_lr": "warmup_learning_rate", "min_lr": "min_learning_rate", "decay_epochs": "decay_every"}
RENAMED |= {"decay_milestones": "milestones"}


def recipe(options, by_update):
    """The recipe of the options that timm's schedule has been given."""
    options = dict(options)
    kind = options.pop("sched")
    del options["num_epochs"]
    values = {RENAMED.get(key, key): value for key, value in options.items()}
    values = {"warmup_epochs": 0, "warmup_prefix": False} | values
    if kind == "poly":
        values["power"] = values.pop("decay_rate")
    config = RecipeConfig(
        epochs=SCHEDULES["epochs"],
        learning_rate=SCHEDULES["peak"],
        schedule=KINDS.get(kind, kind),
        schedule_by="step" if by_update else "epoch",
        **values,
    )
    check(config)
    return config


def rates(config, steps=STEPS):
    chosen = schedule(config, steps)
    return [float(chosen(step)) for step in range(config.epochs * steps)]


@pytest.mark.parametrize("name", SCHEDULES["cases"])
def test_each_step_has_timms_rate(name):
    case = SCHEDULES["cases"][name]
    np.testing.assert_allclose(rates(recipe(case["options"], case["by_update"])), case["rates"], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("case", SCHEDULES["one_cycle"], ids=lambda case: str(case["share"]))
def test_one_cycle_is_pytorchs(case):
    epochs = SCHEDULES["epochs"]
    config = RecipeConfig(epochs=epochs, learning_rate=SCHEDULES["peak"], schedule="one_cycle")
    config.warmup_epochs = case["share"] * epochs
    np.testing.assert_allclose(rates(config), case["rates"], rtol=1e-6, atol=1e-9)


def test_exponential_is_kerass():
    config = RecipeConfig(epochs=6, learning_rate=0.3, schedule="exponential", decay_every=2.4, decay_rate=0.97)
    config.warmup_epochs = 0
    theirs = keras.optimizers.schedules.ExponentialDecay(0.3, 2.4 * 7, 0.97)
    np.testing.assert_allclose(rates(config, 7), [float(theirs(step)) for step in range(42)], rtol=1e-6)


@pytest.mark.parametrize("by", ["step", "epoch"])
@pytest.mark.parametrize("kind", ["steps", "exponential"])
def test_lengths_may_be_in_epochs_steps_or_images(kind, by):
    lengths = {"epochs": 1, "steps": 20, "images": 20 * 32}

    def of(unit):
        own = {key: value * lengths[unit] for key, value in (("warmup", 2), ("decay_every", 3))}
        return rates(RecipeConfig(batch_size=32, schedule=kind, schedule_unit=unit, schedule_by=by, **own), 20)

    assert of("steps") == of("images") == of("epochs") and len(set(of("epochs"))) > 3
    in_steps = rates(
        RecipeConfig(schedule="steps", schedule_unit="steps", milestones=[40.0, 61.0], warmup_epochs=0), 20
    )
    assert [step for step in range(1, 240) if in_steps[step] != in_steps[step - 1]] == [40, 61]


@pytest.mark.parametrize("steps, accumulation", [(5, 29), (7, 3), (7, 25), (9, 7), (6, 4), (24, 16)])
def test_the_rate_of_an_epoch_begins_with_its_first_update(steps, accumulation):
    """Of the epoch that the first step of an update is in, also where an epoch is no whole number of updates."""
    config = RecipeConfig(epochs=60, schedule="polynomial", schedule_by="epoch", warmup_epochs=0, learning_rate=0.6)
    config.accumulation_steps = accumulation
    begins = [step // accumulation * accumulation for step in range(60 * steps)]
    np.testing.assert_allclose(rates(config, steps), [0.6 - 0.01 * (begin // steps) for begin in begins], rtol=1e-6)


@pytest.mark.parametrize("kind", ["cosine", "polynomial", "steps"])
def test_accumulated_steps_count_once(kind):
    every = {"decay_every": 1.0} if kind == "steps" else {}
    plain = rates(RecipeConfig(epochs=4, schedule=kind, **every), 6)
    accumulated = rates(RecipeConfig(epochs=4, schedule=kind, accumulation_steps=3, **every), 18)
    assert accumulated == [rate for rate in plain for _ in range(3)]


@pytest.mark.parametrize("unit, lengths", [("epochs", {"decay_every": 30.0}), ("steps", {"milestones": [50.0]})])
def test_a_length_that_is_a_whole_number_of_updates_ends_with_it(unit, lengths):
    """30 * (25 / 3) and 50 * (11 / 5) / 11 are above 250 and 10 as floats."""
    steps, accumulation, update = (25, 3, 250) if unit == "epochs" else (11, 5, 10)
    config = RecipeConfig(
        epochs=40, schedule="steps", schedule_unit=unit, learning_rate=0.1, warmup_epochs=0, **lengths
    )
    config.accumulation_steps = accumulation
    of_updates = rates(config, steps)[::accumulation]
    np.testing.assert_allclose(of_updates[update - 1 : update + 1], [0.1, 0.01], rtol=1e-6)


def test_one_cycle_ends_with_the_last_whole_update():
    config = RecipeConfig(epochs=4, schedule="one_cycle", learning_rate=0.1, accumulation_steps=3)
    last = rates(config, 10)[38]  # the 13th update, for which the last of 40 steps is too few
    assert last == pytest.approx(0.1 / 25 / 1e4, rel=1e-4)


def test_no_epoch_has_a_rate_of_zero_where_the_rate_is_that_of_an_epoch():
    rise = rates(RecipeConfig(epochs=6, schedule_by="epoch", learning_rate=0.3, warmup_epochs=2), 4)
    np.testing.assert_allclose(rise[::4][:3], [0.1, 0.2, 0.3], rtol=1e-6)
    assert rates(RecipeConfig(epochs=6, learning_rate=0.3, warmup_epochs=2), 4)[0] == 0


def test_the_length_of_a_warmup_replaces_that_in_epochs():
    check(RecipeConfig(epochs=1, warmup=10.0, schedule_unit="steps"))
    assert refusal(lambda: check(RecipeConfig(epochs=1))).startswith("recipe.warmup_epochs=1 is not allowed with")


def test_what_lies_behind_the_last_step_is_the_end():
    for kind in ("cosine", "polynomial", "one_cycle"):
        rate = schedule(RecipeConfig(epochs=3, schedule=kind, min_learning_rate=1e-4), 10)
        assert float(rate(30)) == float(rate(1000)) == pytest.approx(1e-4)
    floor = schedule(RecipeConfig(epochs=9, schedule="steps", decay_every=1.0, min_learning_rate=1e-4), 10)
    assert float(floor(89)) == pytest.approx(1e-4)


def test_a_step_in_the_tens_of_millions_is_still_that_step():
    rate = Schedule("polynomial", peak=1.0, total=2**25, smallest=0.0)
    assert float(rate(2**25 - 1)) == pytest.approx(2.0**-25)


def test_it_comes_back_from_its_configuration():
    rate = schedule(RecipeConfig(schedule="steps", milestones=[2.0, 5.0]), 10)
    restored = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(rate))
    assert type(restored) is Schedule and [float(restored(step)) for step in range(99)] == [
        float(rate(step)) for step in range(99)
    ]


@pytest.mark.parametrize(
    "values, sentence",
    [
        ({"schedule": "steps"}, "recipe.schedule=steps needs recipe.decay_every=30, for instance or recipe.milestones"),
        ({"schedule": "exponential"}, "recipe.schedule=exponential needs recipe.decay_every=30, for instance."),
        ({"decay_every": 3.0}, "recipe.decay_every=3 is not allowed with recipe.schedule=cosine: use null, or"),
        ({"milestones": [3.0]}, "recipe.milestones=[3.0] is not allowed with recipe.schedule=cosine: use steps."),
        ({"schedule": "steps", "milestones": [3.0], "decay_every": 1.0}, "recipe.milestones=[3.0] and recipe.decay_"),
        ({"schedule": "steps", "milestones": [5.0, 3.0]}, "recipe.milestones=[5.0, 3.0] is not allowed: they are"),
        ({"schedule": "steps", "milestones": [3.0, 3.0]}, "recipe.milestones=[3.0, 3.0] is not allowed: they are"),
        ({"schedule": "steps", "milestones": []}, "recipe.milestones=[] is not allowed: they are rising numbers"),
        ({"schedule_unit": "images", "warmup": -1.0}, "recipe.warmup=-1 is not allowed: it must be finite, 0 or more."),
        ({"schedule_unit": "minutes"}, "recipe.schedule_unit='minutes' is not known"),
        ({"schedule_by": "batch"}, "recipe.schedule_by='batch' is not known"),
        ({"decay_rate": 2.0}, "recipe.decay_rate=2 is not allowed: it is a factor above 0 and at most 1; try 1."),
        ({"power": 0.0}, "recipe.power=0 is not allowed: it must be a finite number above 0."),
        ({"min_learning_rate": 1.0}, "recipe.min_learning_rate=1 is not allowed with recipe.learning_rate=0.002"),
        ({"schedule": "linear"}, "recipe.schedule='linear' is not known"),
    ],
)
def test_what_cannot_be_meant_is_refused(values, sentence):
    assert refusal(lambda: check(RecipeConfig(**values))).startswith(sentence)


def test_a_training_without_an_update_is_refused():
    config = RecipeConfig(epochs=2, accumulation_steps=21, warmup_epochs=0)
    assert refusal(lambda: schedule(config, 10)) == (
        "recipe.accumulation_steps=21 is not allowed: the training has 20 steps, so that the weights would never be "
        "updated; the largest possible is 20."
    )
    config.accumulation_steps = 20
    schedule(config, 10)


def test_a_warmup_as_long_as_the_training_is_refused():
    config = RecipeConfig(epochs=3, schedule_unit="steps", warmup=30.0)
    check(config)
    assert refusal(lambda: schedule(config, 10)).startswith(
        "The warm-up of 30 updates is not allowed: the training has"
    )
