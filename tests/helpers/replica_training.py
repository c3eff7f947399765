"""The training of a small network by several replicas, or by one: a program, `python replica_training.py OUT DEVICES`.

With DEVICES 0 it is one of the workers that TF_CONFIG names, else a process with so many parts of the CPU.
"""

import os
import sys

import keras
import numpy as np

import blocks
from zoo.datasets.config import DatasetConfig
from zoo.datasets.pipeline import load
from zoo.distribution.replicas import ALONE
from zoo.training.recipe import compile_model
from zoo.training.recipe_config import RecipeConfig
from zoo.training.replica_share import synchronise_statistics

SIZE = 8
DATA = DatasetConfig(
    name="images", source="synthetic", image_size=SIZE, channels=1, num_classes=10, crop_padding=1, flip=True,
    synthetic_train_size=70, synthetic_validation_size=31,
)  # fmt: skip
RECIPES = {  # batches of 7: no two replicas have as many images
    "plain": RecipeConfig(batch_size=7, optimizer="sgd", momentum=0.9, learning_rate=0.02, epochs=5, warmup_epochs=0),
    "normalised": RecipeConfig(
        batch_size=7,
        optimizer="sgd",
        momentum=0.9,
        learning_rate=0.02,
        epochs=5,
        warmup_epochs=0,
        ema_decay=0.9,
        clip_norm=1.0,
    ),
    "accumulated": RecipeConfig(batch_size=7, learning_rate=1e-3, epochs=1, warmup_epochs=0, accumulation_steps=3),
    "scaled": RecipeConfig(
        batch_size=7, optimizer="rmsprop", epochs=1, warmup_epochs=0, precision="float16", learning_rate=1e-4
    ),
}


def network(kind):
    images = keras.Input((SIZE, SIZE, 1))
    normalised = kind == "normalised"
    x = blocks.GroupedConv2D(8, 3, padding="same", use_bias=not normalised, activation=None if normalised else "relu")(
        images
    )
    x = blocks.BatchNormalization(momentum=0.9, activation="relu")(x) if normalised else x
    x = blocks.GroupedConv2D(16, 3, groups=4, strides=2, padding="same", activation="relu")(x)
    return keras.Model(images, blocks.Dense(10, dtype="float32")(keras.layers.Flatten()(x)))


def trained(kind, replicas=ALONE, poisoned=False):
    """Loss of each step, figures of each epoch and all variables behind a training of `RECIPES[kind]`.

    poisoned: the first image of the third batch is no number.
    """
    recipe = RECIPES[kind]
    data = load(DATA, recipe.batch_size, 0, share=replicas.share)
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("mixed_float16" if recipe.precision == "float16" else "float32")
    with replicas.scope():
        model = network(kind)
        synchronise_statistics(model)
        average = compile_model(model, recipe, data.steps_per_epoch, replicas)
    keras.config.set_dtype_policy("float32")
    logs = []
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: kept(logs))

    def kept(of_step):
        logs.append([of_step["step_loss"], of_step["step_finite"]])

    batches = data.stream()
    if poisoned and replicas.share[0] == 0:
        import tensorflow as tf

        batches = batches.enumerate().map(
            lambda step, batch: (tf.where(step == 2, tf.fill(tf.shape(batch[0]), np.nan), batch[0]), batch[1])
        )
    history = model.fit(
        batches, steps_per_epoch=data.steps_per_epoch, epochs=recipe.epochs, validation_data=data.validation_share,
        callbacks=[callback], shuffle=False, verbose=0,
    ).history  # fmt: skip
    variables = [*model.variables, *model.optimizer.variables, *(average.averages if average else [])]
    copies = [[np.asarray(each) for each in local_copies(variable, replicas)] for variable in variables]
    for own in copies:
        for copy in own[1:]:
            np.testing.assert_array_equal(copy, own[0])
    metrics = {name: values for name, values in history.items() if not name.startswith("step_")}
    return {
        "steps": np.array(logs),
        **{f"metric/{name}": np.array(values) for name, values in metrics.items()},
        **{f"variable/{number}": own[0] for number, own in enumerate(copies)},
    }


def local_copies(variable, replicas):
    return (
        [variable.value] if replicas.strategy is None else replicas.strategy.experimental_local_results(variable.value)
    )


def main(out, devices):
    from zoo.distribution.cluster import cluster_of
    from zoo.distribution.config import DistributionConfig
    from zoo.distribution.rendezvous import meet
    from zoo.distribution.replicas import open_replicas

    if devices:
        replicas = open_replicas(DistributionConfig(strategy="mirrored", devices=devices))
    else:
        cluster = cluster_of(os.environ)
        meet(cluster, "the same", 100)
        replicas = open_replicas(DistributionConfig(strategy="multi_worker"), cluster)
    for kind in RECIPES if devices else ("plain", "normalised"):
        np.savez(f"{out}-{kind}.npz", **trained(kind, replicas))
    np.savez(f"{out}-poisoned.npz", **trained("normalised", replicas, poisoned=True))
    if not devices:
        copy = f"{out}-copy"
        source = __file__ if replicas.is_chief else None
        from pathlib import Path

        assert replicas.broadcast_file(Path(source) if source else None, Path(copy))
        assert replicas.is_chief or Path(copy).read_bytes() == Path(__file__).read_bytes()
        assert not replicas.broadcast_file(None, Path(copy))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
