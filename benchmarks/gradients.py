"""How far the gradients of whole networks are from those in float64: the zoo's and PyTorch's, float32 and bfloat16.

usage: python benchmarks/gradients.py [--models NAME ...] [--batch 16] [--size 96] [--torch PYTHON]

PyTorch writes a checkpoint of random weights and the gradients of its loss for one batch in training mode, in float64,
float32 and bfloat16 (autocast). `zoo.create` loads the checkpoint, and computes the gradients of the same loss in
float32 and mixed bfloat16; it loads PyTorch's gradients as it loads weights, so that they have one layout. An error is
the Euclidean length of the difference to float64, over that of float64: of all weights as one vector, and the median of
the tensors. Ends with status 1 where the zoo's error in a type is larger than PyTorch's by more than a twentieth.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from contenders import Contenders
from networks import DEFAULT
from options import add_torch_option, network, positive

PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # -> Keras's name of it
TOLERANCE = 1.05  # of one batch to another


def parser() -> argparse.ArgumentParser:
    argument_parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    argument_parser.add_argument("--models", type=network, nargs="+", default=list(DEFAULT))
    argument_parser.add_argument("--batch", type=positive, default=16)
    argument_parser.add_argument("--size", type=positive, default=96, help="pixels, a multiple of 32")
    add_torch_option(argument_parser)
    return argument_parser


def gradients(name: str, folder: Path, policy: str, batch: int, size: int) -> list[np.ndarray]:
    """The zoo's, of the trainable weights in their order."""
    import keras
    import tensorflow as tf
    from torch_parity import images, labels

    import zoo

    keras.backend.clear_session()
    keras.config.set_dtype_policy(policy)
    model = zoo.create(name, input_shape=(size, size, 3), weights=folder / "weights.safetensors")
    with tf.GradientTape() as tape:
        logits = keras.ops.cast(model(images(size, batch), training=True), "float32")
        losses = keras.losses.sparse_categorical_crossentropy(labels(batch), logits, from_logits=True)
        loss = keras.ops.mean(losses)
    found = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    return [np.asarray(each, "float64") for each in found]


def reference(name: str, file: Path, size: int) -> list[np.ndarray]:
    """Gradients that PyTorch wrote, in the zoo's layout and order."""
    import keras

    import zoo

    keras.backend.clear_session()
    keras.config.set_dtype_policy("float32")
    model = zoo.create(name, input_shape=(size, size, 3), weights=file)
    return [np.asarray(variable.value, "float64") for variable in model.trainable_variables]


def errors(found: list[np.ndarray], true: list[np.ndarray]) -> tuple[float, float]:
    """Of all weights as one vector, and the median of the tensors."""
    lengths = [(np.sum((a - b) ** 2), np.sum(b**2)) for a, b in zip(found, true, strict=True)]
    off, whole = (float(np.sqrt(sum(column))) for column in zip(*lengths, strict=True))
    return off / whole, float(np.median([np.sqrt(a / b) for a, b in lengths if b]))


def main() -> int:
    arguments = parser().parse_args()
    further_off = 0
    with Contenders() as contenders, tempfile.TemporaryDirectory() as temporary:
        contenders.start_alone("torch", "torch_parity.py", arguments.torch)
        folder, batch, size = Path(temporary), arguments.batch, arguments.size
        for name in arguments.models:
            contenders.ask("torch", "gradients", model=name, size=size, batch=batch, folder=temporary)
            true = reference(name, folder / "float64.safetensors", size)
            for precision, policy in PRECISIONS.items():
                own = errors(gradients(name, folder, policy, batch, size), true)
                theirs = errors(reference(name, folder / f"{precision}.safetensors", size), true)
                further_off += own[0] > TOLERANCE * theirs[0]
                print(
                    f"{name:24} {precision:9} zoo {own[0]:.2e} (tensors {own[1]:.2e}), PyTorch {theirs[0]:.2e} "
                    f"({theirs[1]:.2e}): {own[0] / theirs[0]:.2f} times",
                    flush=True,
                )
    return 1 if further_off else 0


if __name__ == "__main__":
    sys.exit(main())
