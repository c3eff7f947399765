"""What the layers of a recipe compute in; the weights are float32 in every precision."""

import keras

from zoo import hardware
from zoo.training.recipe_config import RecipeConfig

AMX, AMPERE, VOLTA = "amx_bf16", (8, 0), (7, 0)  # the processor's matrix units; generations of NVIDIA's GPUs


def precision(config: RecipeConfig) -> str:
    """float32, bfloat16 or float16; "auto" is what this machine multiplies matrices in fastest.

    That is bfloat16 on GPUs from Ampere on and on processors with AMX, float16 on GPUs from Volta on, else float32.

    Example:
        >>> from zoo.training.precision import precision
        >>> from zoo.training.recipe_config import RecipeConfig
        >>> precision(RecipeConfig(precision="float16"))
        'float16'
    """
    if config.precision != "auto":
        return config.precision
    if capability := _capability():
        return "bfloat16" if capability >= AMPERE else "float16" if capability >= VOLTA else "float32"
    return "bfloat16" if AMX in hardware.instructions() and not hardware.accelerators() else "float32"


def policy(config: RecipeConfig) -> str:
    """Keras's name of the precision.

    Example:
        >>> from zoo.training.precision import policy
        >>> from zoo.training.recipe_config import RecipeConfig
        >>> policy(RecipeConfig(precision="bfloat16"))
        'mixed_bfloat16'
    """
    chosen = precision(config)
    return chosen if chosen == "float32" else f"mixed_{chosen}"


def _capability() -> tuple[int, int] | None:
    """The compute capability of the weakest of NVIDIA's GPUs that TensorFlow uses; None where there is none."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    details = [tf.config.experimental.get_device_details(each) for each in tf.config.list_physical_devices("GPU")]
    return min((each["compute_capability"] for each in details if "compute_capability" in each), default=None)
