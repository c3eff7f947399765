"""Rows on what users set: how runs are tracked, and variables of the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator

from zoo import environment
from zoo.doctor.asking import Answer
from zoo.doctor.rows import NOTE, OK, PROBLEM, Row, shown

# Their values are shown. Everything else in the environment is nobody's business.
SHOWN = (
    *environment.VARIABLES,
    *("BLOCKS_KERNELS", "BLOCKS_KERNELS_FLAGS", "BLOCKS_KERNELS_LEVEL", "CXX", "XDG_CACHE_HOME"),
    *("KERAS_BACKEND", "KERAS_HOME", "TF_CPP_MIN_LOG_LEVEL", "TF_FORCE_GPU_ALLOW_GROWTH", "CUDA_VISIBLE_DEVICES"),
    *("TFDS_DATA_DIR", "HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE"),
    *("WANDB_MODE", "WANDB_BASE_URL", "WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"),
    *("SSL_CERT_FILE", "PYTHONPATH", "PYTHONUTF8", "LD_LIBRARY_PATH", "LD_PRELOAD", "MALLOC_ARENA_MAX"),
    *("LANG", "LC_ALL", "SLURM_JOB_ID", "CI"),
)
# Of these only whether they are set.
SECRET = (
    *("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "TF_CONFIG"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)


def tracking(answer: Answer) -> Row:
    """How `train.py` would track a run."""
    if answer.failure is not None:
        remedy = "tracking=disabled trains without W&B; WANDB_* variables and its settings file are what it reads."
        return Row("tracking.mode", PROBLEM, answer.failure, remedy, {"failure": answer.failure})
    values = answer.values
    key = f"API key from {values['key_from']}" if values["key_from"] else "no API key"
    why = f", since {shown(values['why'])}" if values["why"] else ""
    text = f"{values['mode']}{why}; {key}; {values['base_url']}"
    if values["why"] and "malformed" in values["why"]:
        return Row("tracking.mode", PROBLEM, text, "`wandb login --relogin` asks for the API key again.", dict(values))
    return Row("tracking.mode", OK, text, None, dict(values))


def variables() -> Iterator[Row]:
    """Variables that change what programs do, a row for each that is set."""
    for name in dict.fromkeys(SHOWN):
        if name in os.environ:
            value = shown(os.environ[name])
            yield Row(f"environment.{name}", OK, value or "(empty)", None, {"value": value})
    for name in SECRET:
        if name in os.environ:
            status = OK if os.environ[name] else NOTE
            remedy = None if os.environ[name] else f"Unset {name}, or give it a value."
            text = "set (not shown)" if os.environ[name] else "set, and empty"
            yield Row(f"environment.{name}", status, text, remedy, {"set": True})
