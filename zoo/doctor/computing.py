"""Rows on what computes: TensorFlow, its devices, threads, oneDNN, XLA, Keras, and the kernels of `blocks`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo import hardware
from zoo.doctor.asking import Answer
from zoo.doctor.rows import NOTE, OK, PROBLEM, Row, path_text, shown, writable

Values = Mapping[str, Any]
COMPILERS = ("g++", "clang++", "c++")  # that the kernels are compiled with, unless CXX names one
INSTALL_COMPILER = "Install a C++ compiler (Debian, Ubuntu: apt-get install g++) or the wheel with prebuilt kernels."
VERSION_SECONDS = 20
OWN_ERROR = "This is TensorFlow's or Keras's own error: the packages above may not fit each other."
REMEDIES = {  # of parts that fail
    "tensorflow": "Install TensorFlow anew, of a version that the packages above allow, in an environment of its own.",
    "keras": "Install the backend that KERAS_BACKEND or ~/.keras/keras.json names, or have it name tensorflow.",
}


def rows(answers: Mapping[str, Answer]) -> Iterator[Row]:
    """A row for each part that TensorFlow's process was asked for."""
    described: tuple[tuple[str, str, Callable[[Values], Row]], ...] = (
        ("tensorflow", "tensorflow.import", _import),
        ("devices", "tensorflow.devices", _devices),
        ("threads", "tensorflow.threads", _threads),
        ("onednn", "tensorflow.onednn", _onednn),
        ("xla", "tensorflow.xla", _xla),
        ("keras", "keras.backend", _keras),
        ("kernels", "kernels.state", lambda values: _kernels(values, answers["keras"].values.get("backend"))),
    )
    broken = {name for name in ("tensorflow", "keras") if answers[name].failure is not None}
    for part, key, row in described:
        answer = answers[part]
        if answer.failure is None:
            yield row(answer.values)
            continue
        data = {"failure": answer.failure}
        if part != "tensorflow" and "tensorflow" in broken:
            yield Row(key, NOTE, "unknown, since TensorFlow does not import", None, data)
        elif part in ("onednn", "kernels") and "keras" in broken:
            yield Row(key, NOTE, "unknown, since Keras does not import", None, data)
        else:
            yield Row(key, PROBLEM, f"fails: {answer.failure}", REMEDIES.get(part, OWN_ERROR), data)


def compiler(is_needed: bool = True) -> Iterator[Row]:
    """The C++ compiler, which kernels that came with the package do not need."""
    wanted = os.environ.get("CXX")
    path = next((path for name in ([wanted] if wanted else COMPILERS) if (path := shutil.which(name))), None)
    if path is None and not is_needed:
        yield Row("kernels.compiler", OK, "none, and none is needed", None, {"path": None, "version": None})
        return
    if path is None:
        names = wanted or "g++, clang++ or c++"
        remedy = "Set CXX to a compiler that is there, or unset it." if wanted else INSTALL_COMPILER
        yield Row("kernels.compiler", NOTE, f"none ({shown(names)})", remedy, {"path": None, "version": None})
        return
    done = subprocess.run(
        [path, "--version"], capture_output=True, text=True, errors="replace", check=False, timeout=VERSION_SECONDS
    )
    version = shown(next(iter(done.stdout.splitlines()), ""))
    data = {"path": path_text(path), "version": version or None}
    if done.returncode:
        remedy = "Install another C++ compiler, or set CXX to one."
        yield Row("kernels.compiler", NOTE, f"{path_text(path)} fails with exit code {done.returncode}", remedy, data)
    else:
        yield Row("kernels.compiler", OK, f"{path_text(path)}, {version}", None, data)


def _import(values: Values) -> Row:
    built = f", built for CUDA {values['cuda']}" if values["cuda"] else ", built for ROCm" if values["rocm"] else ""
    text = f"{values['version']}, imported in {values['seconds']:.1f} s{built}"
    return Row("tensorflow.import", OK, text, None, values)


def _devices(values: Values) -> Row:
    driver = hardware.nvidia_driver()
    data = {**values, "nvidia_driver": driver}
    if values["gpus"]:
        return Row("tensorflow.devices", OK, f"GPU: {shown(', '.join(values['gpus']))}", None, data)
    if driver and os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1"):
        text = f"CPU; NVIDIA's driver {driver} is there, and TensorFlow sees no GPU"
        remedy = 'pip install "tensorflow[and-cuda]" installs the CUDA libraries that it needs.'
        return Row("tensorflow.devices", NOTE, text, remedy, data)
    return Row("tensorflow.devices", OK, "CPU", None, data)


def _threads(values: Values) -> Row:
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    variables = {name: os.environ[name] for name in names if name in os.environ}
    text = (
        f"{values['intra_op'] or hardware.cores()} in an operation, {values['inter_op'] or hardware.cores()} operations"
    )
    text += "".join(f", {name}={shown(value)}" for name, value in variables.items())
    if "TF_NUM_INTEROP_THREADS" not in variables:
        text += " (one operation in train.py and zoo)"
    data = {**values, "variables": variables}
    wrong = [name for name in names[:2] if name in variables and not variables[name].isdecimal()]
    if wrong:
        return Row("tensorflow.threads", PROBLEM, text, f"Set {wrong[0]} to a whole number, or unset it.", data)
    return Row("tensorflow.threads", OK, text, None, data)


def _onednn(values: Values) -> Row:
    setting = values["TF_ENABLE_ONEDNN_OPTS"]
    if values["enabled"]:
        return Row("tensorflow.onednn", OK, "on, with gradients of grouped convolutions", None, values)
    if setting is not None and setting.lower() not in ("1", "true"):
        text = f"off, by TF_ENABLE_ONEDNN_OPTS={shown(setting)}"
        return Row("tensorflow.onednn", NOTE, text, "Unset TF_ENABLE_ONEDNN_OPTS: convolutions are slower so.", values)
    text = "off: this build of TensorFlow does not have it for this processor"
    return Row(
        "tensorflow.onednn",
        NOTE,
        text,
        "Grouped convolutions take a slower way; TensorFlow's wheel for Linux has it.",
        values,
    )


def _xla(values: Values) -> Row:
    text = "jit_compile=True works" if values["works"] else "jit_compile=True gives wrong values"
    text += f"; automatic clustering is {'on' if values['automatic'] else 'off'}"
    if not values["works"]:
        return Row("tensorflow.xla", PROBLEM, text, "Pass jit_compile=False to model.compile.", values)
    if values["automatic"]:
        return Row(
            "tensorflow.xla",
            NOTE,
            text,
            "Unset TF_XLA_FLAGS: XLA takes seconds for grouped gradients on a CPU.",
            values,
        )
    return Row("tensorflow.xla", OK, text, None, values)


def _keras(values: Values) -> Row:
    compiled = f'jit_compile="auto" is {"on" if values["jit_compile"] else "off"}'
    text = f"{values['backend']}, {values['precision']}, {values['image_data_format']}, {compiled}"
    if values["backend"] not in ("tensorflow", "jax", "torch"):
        remedy = "Unset KERAS_BACKEND, or set it to tensorflow, jax or torch."
        return Row("keras.backend", PROBLEM, text, remedy, values)
    return Row("keras.backend", OK, text, None, values)


def _kernels(values: Values, backend: str | None) -> Row:
    state, reason = values["state"], values["reason"]
    paths = {name: values[name] and path_text(values[name]) for name in ("file", "compiler")}
    data = {**values, **paths, "reason": reason and shown(reason)}
    if backend not in (None, "tensorflow"):
        return Row("kernels.state", OK, f"not used on Keras's backend {backend}", None, data)
    if state == "in use":
        text = f"in use, level {values['level']}, {values['origin']}, {path_text(values['file'])}"
        return Row("kernels.state", OK, text, None, data)
    text = f"{state}: {shown(reason)}"
    if state == "off":
        return Row("kernels.state", NOTE, text, "Unset BLOCKS_KERNELS for faster training on a CPU.", data)
    if state == "compiling":
        return Row(
            "kernels.state",
            NOTE,
            text,
            "Wait for it: what starts meanwhile computes without them, unless BLOCKS_KERNELS=wait.",
            data,
        )
    if state == "not compiled yet":
        folder = Path(values["file"]).parent
        if not writable(folder):
            remedy = "Set XDG_CACHE_HOME to a folder that can be written."
            return Row("kernels.state", PROBLEM, f"{text}, and {path_text(folder)} cannot be written", remedy, data)
        return Row("kernels.state", NOTE, text, "The first training compiles them, once, in the background.", data)
    return Row("kernels.state", PROBLEM, text, _remedy(values), data)


def _remedy(values: Values) -> str:
    reason = values["reason"]
    if "BLOCKS_KERNELS_FLAGS" in reason:
        return "Correct BLOCKS_KERNELS_FLAGS, or unset it."
    if "BLOCKS_KERNELS_LEVEL" in reason:
        return "Set BLOCKS_KERNELS_LEVEL to a level that this processor has, or unset it."
    if "BLOCKS_KERNELS=" in reason:
        return "Set BLOCKS_KERNELS to on, wait or off, or unset it."
    if values["compiler"] is None:
        wanted = os.environ.get("CXX")
        return "Set CXX to a compiler that is there, or unset it." if wanted else INSTALL_COMPILER
    if values["file"]:
        file = path_text(values["file"])
        return f"Delete {file} and {file.removesuffix('.so')}.failed, if they are there, to compile anew."
    return "TensorFlow's operations give the same results; BLOCKS_KERNELS=off silences the warning."
