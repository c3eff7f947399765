"""What only TensorFlow and Keras can answer: a program of its own, `python -m zoo.doctor.tensorflow_answers`."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from zoo.doctor.asking import answer

SECONDS = 180.0  # a first import from a file server can take minutes


def imported() -> Mapping[str, Any]:
    """TensorFlow itself."""
    began = time.perf_counter()
    import tensorflow as tf

    build = tf.sysconfig.get_build_info()
    return {
        "version": tf.__version__,
        "seconds": round(time.perf_counter() - began, 2),
        "cuda": build.get("cuda_version") if build.get("is_cuda_build") else None,
        "rocm": bool(build.get("is_rocm_build")),
    }


def devices() -> Mapping[str, Any]:
    """GPUs by name, and how many CPUs TensorFlow makes of the processor."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(each).get("device_name", each.name) for each in gpus]
    return {"gpus": names, "logical_gpus": len(tf.config.list_logical_devices("GPU"))}


def threads() -> Mapping[str, Any]:
    """TensorFlow's settings; 0 is the number of cores."""
    import tensorflow as tf

    intra, inter = (
        tf.config.threading.get_intra_op_parallelism_threads(),
        tf.config.threading.get_inter_op_parallelism_threads(),
    )
    return {"intra_op": intra, "inter_op": inter}


def onednn() -> Mapping[str, Any]:
    """Whether the processor's grouped gradients are there, which oneDNN alone has."""
    import tensorflow as tf

    from blocks.ops.tensorflow.runtime import native_gradients

    with tf.device("CPU:0"):
        return {
            "enabled": native_gradients("float32"),
            "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS"),
        }


def xla() -> Mapping[str, Any]:
    """Whether XLA compiles a function, and whether TensorFlow gives it graphs unasked."""
    import tensorflow as tf

    doubled = tf.function(lambda number: number + number, jit_compile=True)
    flags = os.environ.get("TF_XLA_FLAGS", "")  # which `get_jit` leaves out
    automatic = bool(tf.config.optimizer.get_jit() or re.search(r"tf_xla_auto_jit=(?:[1-9]|fusible)", flags))
    return {"works": float(doubled(tf.constant(1.0))) == 2.0, "automatic": automatic}


def keras_state() -> Mapping[str, Any]:
    """Keras's backend and settings, and what `jit_compile="auto"` is here."""
    import keras

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    return {
        "backend": keras.config.backend(),
        "float": keras.config.floatx(),
        "precision": keras.config.dtype_policy().name,
        "image_data_format": keras.config.image_data_format(),
        "jit_compile": bool(model.jit_compile),
    }


def kernels() -> Mapping[str, Any]:
    """The kernels of `blocks`."""
    from blocks.kernels.status import kernel_status

    status = asdict(kernel_status())
    return status | {"file": None if status["file"] is None else str(status["file"])}


PARTS = {
    "tensorflow": imported,
    "devices": devices,
    "threads": threads,
    "xla": xla,
    "keras": keras_state,
    "onednn": onednn,  # this and the kernels through `blocks`, which imports Keras
    "kernels": kernels,
}

if __name__ == "__main__":
    answer(PARTS)
