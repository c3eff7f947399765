"""SGD, AdamW, LAMB and RMSprop are timm's: ten steps at changing learning rates, against what timm's give."""

import keras
import numpy as np
import pytest

from helpers.paths import ROOT
from helpers.processes import run_code
from helpers.timm_training import expected, optimizer_of, stepped
from zoo.training.optimizers.keras_fused import FusedAdamW, KerasLamb, KerasRMSprop, MomentumSGD
from zoo.training.optimizers.timm_optimizers import Lamb, RMSpropTF, TorchAdamW, TorchSGD

CASES = expected("optimizers")["cases"]


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("name", CASES)
def test_ten_steps_are_those_of_timm(name, traced):
    weights = stepped(optimizer_of(CASES[name]["options"]), traced)
    for variable, values in CASES[name]["weights"].items():
        np.testing.assert_allclose(weights[variable], values, rtol=0, atol=1e-6, err_msg=variable)


@pytest.mark.parametrize(
    "keras_s, name",
    [
        (MomentumSGD(0.1, 0.9, nesterov=True, weight_decay=0.05), "sgd"),
        (FusedAdamW(0.1, weight_decay=0.05), "adamw"),
        (KerasLamb(0.1, weight_decay=0.02), "lamb"),
        (KerasRMSprop(0.1, 0.9, 0.9, epsilon=1e-10, weight_decay=0.05), "rmsprop"),
    ],
)
def test_those_of_keras_differ(keras_s, name):
    """Else the fixture would not tell the two apart."""
    weights = stepped(keras_s)
    apart = [np.abs(weights[key] - values).max() for key, values in CASES[name]["weights"].items()]
    assert max(apart) > 1e-5


@pytest.mark.parametrize("name", ["sgd", "sgd, no Nesterov", "lamb", "rmsprop", "adamw, other constants"])
def test_they_come_back_from_their_configuration(name):
    optimizer = optimizer_of(CASES[name]["options"])
    restored = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(restored) is type(optimizer) and restored.get_config() == optimizer.get_config()
    weights, again = stepped(optimizer), stepped(restored)
    assert all(np.array_equal(weights[key], again[key]) for key in weights)


@pytest.mark.parametrize("kind", [TorchSGD, TorchAdamW, Lamb, RMSpropTF, KerasLamb, KerasRMSprop])
def test_variables_may_have_rates_of_their_own(kind):
    """A factor is the same as another learning rate, decay included; the others are as without."""
    draw = np.random.default_rng(0)
    starts = [draw.normal(size=(3, 2)).astype("float32") for _ in range(2)]
    gradients = [[draw.normal(size=(3, 2)).astype("float32") for _ in range(2)] for _ in range(3)]

    def trained(rate, factors):
        variables = [keras.Variable(start, name=name) for start, name in zip(starts, ("old", "new"), strict=True)]
        optimizer = kind(rate, weight_decay=0.1, rate_factors=factors)
        optimizer.build(variables)
        for step in gradients:
            optimizer.apply(step)
        return [each.numpy() for each in variables]

    both, plain, faster = trained(0.01, {"new": 5.0}), trained(0.01, None), trained(0.05, None)
    np.testing.assert_allclose(both[0], plain[0], rtol=1e-6)
    np.testing.assert_allclose(both[1], faster[1], rtol=1e-5)


PLAIN = """
import sys
sys.path.insert(0, "tests")
import numpy as np
from helpers.timm_training import expected, optimizer_of, stepped
for name, case in expected('optimizers')['cases'].items():
    weights = stepped(optimizer_of(case["options"]))
    for variable, values in case["weights"].items():
        np.testing.assert_allclose(weights[variable], values, rtol=2e-6, atol=1e-6, err_msg=f"{name} {variable}")
print("the same")
"""


@pytest.mark.heavy
@pytest.mark.parametrize("backend", ["torch"])
def test_they_are_the_same_on_another_backend(backend):
    """Without TensorFlow's kernels: the plain operations."""
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    assert run_code(PLAIN, cwd=ROOT, KERAS_BACKEND=backend).endswith("the same\n")
