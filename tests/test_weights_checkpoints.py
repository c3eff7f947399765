"""Checkpoints as PyTorch's training scripts write them: weights among settings, optimizers and running averages."""

import argparse
import collections
import datetime
import decimal
import http
import os
import pathlib
import warnings

import numpy as np
import pytest
from safetensors.numpy import save_file

import zoo
from helpers import checks
from helpers.networks import NAME, SHAPE

torch = pytest.importorskip("torch", reason="files of PyTorch are read by PyTorch, which is not installed")


def prefixed(state: dict, prefix: str) -> dict:
    return {f"{prefix}{name}": value for name, value in state.items()}


def other(state: dict) -> dict:
    return {name: value + 1 for name, value in state.items()}


def check(model, path, **settings) -> None:
    """The file gives a network the weights of `model`."""
    loaded = zoo.create(NAME, input_shape=SHAPE, weights=path, **settings)
    for weight, expected in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


def refusal(path, error=ValueError) -> str:
    return checks.refusal(lambda: zoo.create(NAME, input_shape=SHAPE, weights=path), error)


def training(state: dict) -> dict:
    """What is saved beside weights: a real optimizer's and scheduler's state, settings and figures of every kind."""
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    folder = pathlib.PurePosixPath("out")
    return {
        "epoch": 3,
        "arch": NAME,
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1).state_dict(),
        "scaler": {"scale": 65536.0, "_growth_tracker": 1},
        "args": argparse.Namespace(
            lr=0.1, model=NAME, device=torch.device("cpu"), out=folder, size=(3, 224, 224), n=None
        ),
        "metric": np.float64(71.5),
        "best": np.float32(0.5),
        "mean": np.array([0.5, 0.5]),
        "paths": [pathlib.Path("run"), pathlib.PureWindowsPath("C:/run")],
        "history": collections.defaultdict(list, {"loss": [1.0, 0.5]}),
        "counts": collections.Counter("aab"),
        "saved": [datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), datetime.date(2026, 1, 1)],
        "settings": [range(3), slice(1, 2), frozenset({1}), decimal.Decimal("0.1"), http.HTTPStatus.OK],
        "torch": torch.__version__,
        "rng": torch.get_rng_state(),
        "step": torch.tensor(7),
    }


@pytest.mark.parametrize("layout", [
    lambda state: {"model": state},
    lambda state: {"model_state_dict": state},
    lambda state: {"state_dict": prefixed(state, "module.")},
    lambda state: {"state_dict": {"model": prefixed(state, "_orig_mod.module.")}},
    lambda state: {"module": prefixed(state, "module._orig_mod.")},
    lambda state: {"state_dict": prefixed(state, "model._orig_mod."), "hyper_parameters": {"lr": 0.1},
                   "pytorch-lightning_version": "2.4.0", "callbacks": {}, "loops": {"fit_loop": {}}},
    lambda state: {"state_dict": {name.replace("blocks.", "blocks._orig_mod.", 1): v for name, v in state.items()}},
    lambda state: prefixed(state, "_orig_mod._fsdp_wrapped_module."),
    lambda state: {**state, "bn1.num_batches_tracked": torch.tensor(3)},
    lambda state: {"model_ema": {"n_averaged": torch.tensor(5), **prefixed(state, "module.")}},
    lambda state: {"model_ema": {"n_averaged": 5, **prefixed(state, "module.module.")}},
    lambda state: {"state_dict_ema": prefixed(state, "module.")},
    lambda state: {"state_dict": collections.OrderedDict(state)},
    lambda state: {"state_dict": {name: torch.nn.Parameter(value) for name, value in state.items()}},
])  # fmt: skip
@pytest.mark.parametrize("name", ["last.pth.tar", pytest.param("legacy.pth", marks=pytest.mark.heavy)])
def test_weights_are_read_from_among_everything_else(model, state, tmp_path, layout, name):
    path = tmp_path / name
    torch.save({**training(state), **layout(state)}, path, _use_new_zipfile_serialization="legacy" not in name)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check(model, path)


@pytest.mark.parametrize("layout", [
    lambda state: {"state_dict": prefixed(state, "_forward_module.model.")},
    lambda state: {"state_dict": prefixed(state, "_fpw_module.module.")},
    lambda state: {name.replace("blocks.", "blocks._fpw_module.", 1): value for name, value in state.items()},
    lambda state: {"weights": state},
    lambda state: {"checkpoint": {"model_state": state}},
    lambda state: {"params_ema": state},
    lambda state: {"student": prefixed(state, "module.")},
    lambda state: {"teacher": state},
    lambda state: prefixed(state, "student."),
    lambda state: {**state, "total_ops": torch.zeros(1, dtype=torch.float64),
                   "blocks.0.total_params": torch.zeros(1, dtype=torch.float64)},
    lambda state: {"state_dict": {**prefixed(state, "model."), "loss.scale": torch.tensor(1.0),
                                  "criterion.temperature": torch.ones(1), "val_acc.total": torch.tensor(0.5),
                                  "metric.total": torch.zeros(1), "schedule.step": torch.tensor(3)}},
    lambda state: {**state, "best": torch.ones(1)},
], ids=range(12))  # fmt: skip
def test_what_other_scripts_write(model, state, tmp_path, layout):
    torch.save(layout(state), tmp_path / "last.ckpt")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check(model, tmp_path / "last.ckpt")


@pytest.mark.parametrize("name", ["act.weight", "blocks.0.alpha", "pool.p"])
def test_single_values_that_may_be_a_layers_are_not_passed_over(state, tmp_path, name):
    torch.save({**state, name: torch.ones(1)}, tmp_path / "last.pth")
    assert refusal(tmp_path / "last.pth").endswith(f"1 tensors of the file are left over: {name}.")


@pytest.mark.parametrize(("trained", "averaged", "module"), [
    ("model.", "ema_model.module.", "ema_model"),
    ("student.", "teacher.", "teacher"),
    pytest.param("model.", "ema_model.", "ema_model", marks=pytest.mark.heavy),
    pytest.param("net.", "ema.module.", "ema", marks=pytest.mark.heavy),
    pytest.param(
        "_forward_module.model.", "_forward_module.model_ema.module.", "model_ema", marks=pytest.mark.heavy
    ),
])  # fmt: skip
def test_a_running_average_in_the_same_table_is_a_table_of_its_own(model, state, tmp_path, trained, averaged, module):
    path, counters = tmp_path / "last.ckpt", {averaged.partition("module.")[0] + "n_averaged": torch.tensor(3)}
    table = {**prefixed(other(state), trained), **prefixed(state, averaged), **counters}
    torch.save({"state_dict": table}, path)
    with pytest.warns(UserWarning, match=f"state_dict.{module} is read; use_ema=False takes those that are no running"):
        check(model, path)
    torch.save({"state_dict": {**prefixed(state, trained), **prefixed(other(state), averaged), **counters}}, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check(model, path, use_ema=False)


def test_where_no_table_is_recognised_the_keys_are_named(state, tmp_path):
    torch.save({"epoch": 3, "my_weights": state}, tmp_path / "last.pth")
    sentence = refusal(tmp_path / "last.pth")
    assert "it holds no table of tensors, but a dict of epoch, my_weights; tables are read at the top and" in sentence
    assert "under state_dict, model_state_dict, model," in sentence


@pytest.mark.parametrize(("averaged", "trained"), [("model_ema", "model"), ("state_dict_ema", "state_dict")])
def test_of_weights_and_their_running_average_the_average_is_read_unless_asked_otherwise(
    model, state, tmp_path, averaged, trained
):
    path, swapped = tmp_path / "last.pth.tar", tmp_path / "swapped.pth"
    average = {"n_averaged": torch.tensor(9), **prefixed(state, "module.")}
    torch.save({trained: other(state), averaged: average, "args": argparse.Namespace(lr=1)}, path)
    expected = f"under {averaged}, {trained}: {averaged} is read; use_ema=False takes those that are no running average"
    with pytest.warns(UserWarning, match=expected):
        check(model, path)
    torch.save({trained: state, averaged: other(state)}, swapped)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check(model, swapped, use_ema=False)
    loaded = zoo.create(NAME, 4, SHAPE)
    zoo.load_weights(loaded, swapped, use_ema=False)
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])


def test_a_running_average_alone_is_no_answer_for_the_weights(state, tmp_path):
    torch.save({"model_ema": state}, tmp_path / "last.pth")
    with pytest.raises(ValueError, match="has a running average of the weights alone: read it with use_ema=True"):
        zoo.create(NAME, weights=tmp_path / "last.pth", use_ema=False)


def test_of_several_tables_the_one_that_is_read_is_named(model, state, tmp_path):
    torch.save({"state_dict": state, "net": other(state)}, tmp_path / "last.pth")
    with pytest.warns(UserWarning, match="has weights under state_dict, net: state_dict is read"):
        check(model, tmp_path / "last.pth")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(state, tmp_path, dtype):
    torch.save({"state_dict": {name: value.to(dtype) for name, value in state.items()}}, tmp_path / "weights.ckpt")
    loaded = zoo.create(NAME, input_shape=SHAPE, weights=tmp_path / "weights.ckpt")
    expected = state["conv_stem.weight"].to(dtype).float().permute(2, 3, 1, 0).numpy()
    np.testing.assert_array_equal(loaded.get_layer("conv_stem").kernel, expected)


def test_tensors_that_share_memory_or_are_views_have_their_own_values(model, state, tmp_path):
    whole = torch.cat([value.flatten() for value in state.values()])
    parts = torch.split(whole, [value.numel() for value in state.values()])
    views = {name: part.view(value.shape) for part, (name, value) in zip(parts, state.items(), strict=True)}
    views["classifier.weight"] = views["classifier.weight"].t().contiguous().t()
    torch.save({"model": views}, tmp_path / "weights.bin")
    check(model, tmp_path / "weights.bin")


def test_other_heads_are_named_and_names_that_are_there_twice(state, tmp_path):
    torch.save({"state_dict": {**prefixed(state, "model."), "criterion.weight": torch.ones(4)}}, tmp_path / "a.ckpt")
    assert refusal(tmp_path / "a.ckpt").endswith("1 tensors of the file are left over: criterion.weight.")
    torch.save({**state, **prefixed(state, "module.")}, tmp_path / "b.pth")
    name = next(iter(state))
    assert f"{name} is in it twice, as {name} and as module.{name}." in refusal(tmp_path / "b.pth")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "model._orig_mod."])
def test_safetensors_of_wrapped_modules(model, state, tmp_path, prefix):
    path = tmp_path / "model.safetensors"
    save_file({name: value.numpy() for name, value in prefixed(state, prefix).items()}, path)
    check(model, path)


class Settings(argparse.Namespace):
    """A class of the user's own, which only his code can make."""


@pytest.mark.parametrize("form", ["module", "own class", "function", "attack", "attack in the settings", "script"])
def test_code_is_refused_and_not_run(state, tmp_path, form):
    path, trace = tmp_path / "last.pth.tar", tmp_path / "trace"

    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {trace}",)

    linear = torch.nn.Linear(2, 2)
    if form == "script":
        torch.jit.save(torch.jit.script(linear), str(path))
        assert "it is a TorchScript archive, which is code and is not loaded: save the module's" in refusal(path)
        return
    content, named = {
        "module": (linear, "torch.nn.modules.linear.Linear"),
        "own class": ({"state_dict": state, "args": Settings(lr=1)}, f"{Settings.__module__}.Settings"),
        "function": ({"state_dict": state, "loss": torch.nn.functional.mse_loss}, "torch.nn.functional.mse_loss"),
        "attack": ({"state_dict": state, "args": Attack()}, "more than tensors"),
        "attack in the settings": ({"model": state, "args": argparse.Namespace(lr=Attack())}, "more than tensors"),
    }[form]
    torch.save(content, path)
    sentence = refusal(path)
    assert named in sentence and "which may be code and is not loaded" in sentence
    assert not trace.exists()


def test_the_allow_list_of_the_user_is_as_it_was(state, tmp_path):
    before = torch.serialization.get_safe_globals()
    torch.save({"model": state}, tmp_path / "last.pth")
    zoo.create(NAME, input_shape=SHAPE, weights=tmp_path / "last.pth")
    assert torch.serialization.get_safe_globals() == before


def test_tables_that_hold_themselves_end_in_one_sentence(tmp_path):
    content: dict = {"epoch": 3}
    content["model"] = content
    torch.save(content, tmp_path / "last.pth")
    assert "it holds no table of tensors, but a dict" in refusal(tmp_path / "last.pth")
