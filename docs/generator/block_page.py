"""Writes docs/blocks.md and docs/pictures/*.svg from the blocks themselves: `python docs/generator/block_page.py`.

A test compares what lies there with what this writes; so a block that changes changes its picture and its costs.
"""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import keras  # noqa: E402
from api_page import Module, markdown  # noqa: E402
from block_list import NOTATION, SECTIONS, Block  # noqa: E402
from drawing import channels, graph  # noqa: E402

import zoo  # noqa: E402
from blocks.layers.initializers import without_random_numbers  # noqa: E402

DOCS = ROOT / "docs"
INTRODUCTION = f"""# Blocks

Every public block and layer: a picture, its equation, shapes, what it costs by groups, and an example that a test runs.
`docs/generator/block_page.py` writes this page from the code.

```python
import keras
from blocks import BatchNormalization, ChannelShuffle, DepthwiseSeparableConv2D, GroupedConv2D
from blocks import resnext_block, split_channels

model = keras.Sequential(
    [
        keras.Input((32, 32, 16)),
        GroupedConv2D(64, 3, padding="same", groups=4, use_bias=False),  # kernel: (3, 3, 16 / 4, 64)
        BatchNormalization(momentum=0.9, epsilon=1e-5, activation="relu"),  # one kernel; PyTorch's running variance
        ChannelShuffle(4),
        DepthwiseSeparableConv2D(128, 3, strides=2, padding=1, normalize=True, activation="relu6"),
    ]
)

images = keras.Input((32, 32, 64))
x = resnext_block(images, filters=256, width=128, groups=32, strides=2)  # functions: tensor in, tensor out

GroupedConv2D(134, 3, groups=(16, 16, 16, 19))  # uneven groups, on 67 channels; filters=(32, 32, 32, 38) sets theirs
GroupedConv2D(128, 3, groups=split_channels(67, 4))  # channels that do not divide: groups of 17, 17, 17 and 16
```

`GroupedConv2D` takes the arguments of `keras.layers.Conv2D`, in the same order, holds the same weights, and adds what
that layer lacks: gradients that are fast on a CPU, explicit padding, strides together with dilation,
`quantize("int8")`. `BatchNormalization(unbiased_variance=False)` has Keras's running variance in place of PyTorch's. Of
Keras's own 74 tests of these layers, `conv_test.py` and `batch_normalization_test.py`, 73 pass with ours in their
place; the other one compares the wording of errors.

Integer inputs, uint8 images say, are cast to the layer's compute type. A batch without images gives outputs without
images and gradients of zeros, and NaN and infinities stay in their group; in exported models both are left to the
runtime. Second derivatives (gradient penalties, Hessians) and forward mode go through every layer and kernel, eagerly
and in graphs; a normalisation with a mask, `renorm` or `synchronized` has Keras's.

The layers work in Sequential, functional and subclassed models, with `channels_last` and `channels_first`, in mixed
precision, and in saved models (`import blocks` before `keras.models.load_model`). The block functions take
`channels_last` images. Blocks and networks also run on Keras's JAX and PyTorch backends (`KERAS_BACKEND=jax`), through
`keras.ops` alone.

## Notation

{NOTATION}
Costs are for one image: parameters, and multiply-accumulates, which have no biases and no normalisations.
"""


def model_of(block: Block, groups: Any) -> keras.Model:
    """The block as a model, on inputs of its shape; its weights are not drawn."""
    with without_random_numbers():
        inputs = keras.Input(block.shape)
        outputs = block.call(inputs, groups)
    return keras.Model(inputs, outputs)


def costs(block: Block) -> list[str]:
    """The rows of its table."""
    rows = ["| groups | parameters | multiply-accumulates |", "|---|---|---|"]
    if block.groups == (None,):
        rows = ["| parameters | multiply-accumulates |", "|---|---|"]
    for groups in block.groups:
        cost = zoo.profile(model_of(block, groups))
        label = "depthwise" if groups is None else ", ".join(map(str, groups)) if isinstance(groups, tuple) else groups
        figures = f"{cost.parameters:,} | {cost.macs:,} |"
        rows.append(f"| {figures}" if block.groups == (None,) else f"| {label} | {figures}")
    return rows


def shapes(model: keras.Model) -> str:
    """Inputs and outputs, "(B, 28, 28, 64) -> (B, 28, 28, 128)"."""

    def text(tensors: list[Any]) -> str:
        return ", ".join("(" + ", ".join(["B", *map(str, each.shape[1:])]) + ")" for each in tensors)

    return f"{text(model.inputs)} -> {text(model.outputs)}"


def section(block: Block, package: Module) -> tuple[str, str]:
    """The Markdown of a block, and its picture."""
    import ast

    model = model_of(block, block.groups[0])
    _, node = package.resolve(block.name)
    text = markdown(ast.get_docstring(node))
    summary = text.partition("\n\n")[0]
    example = text.partition("**Example**\n\n")[2].partition("\n```\n")[0]
    equation = block.equation.replace("; ", "\n")
    parts = [
        f"### {block.name}",
        f"{summary} [Arguments](api.md#blocks.{block.name})",
        f"![{block.name}: its layers](pictures/{block.name}.svg)",
        f"```text\n{equation}\n```",
        f"Shapes: `{shapes(model)}`",
        *(["\n".join(costs(block))] if block.counted else []),
        f"{example}\n```",
    ]
    return "\n\n".join(parts) + "\n", graph(model, block.name)


def groups_picture() -> str:
    """What groups connect: one, three, and as many as there are channels."""
    count = 6

    def lines(groups: int) -> list[tuple[int, int, int]]:
        size = count // groups
        return [(i, o, i // size) for i in range(count) for o in range(count) if i // size == o // size]

    panels = [("groups=1", count, lines(1)), ("groups=3", count, lines(3)), ("groups=6, depthwise", count, lines(6))]
    return channels(panels, "Which input channels, above, reach which output channels, below")


def shuffle_picture() -> str:
    """Where a shuffle of three groups moves six channels."""
    lines = [(j * 2 + i, i * 3 + j, j) for i in range(2) for j in range(3)]
    return channels([("ChannelShuffle(3)", 6, lines)], "Output channel i * 3 + j is input channel j * 2 + i")


def files(names: set[str] | None = None) -> dict[str, str]:
    """Path below docs/ -> text, of the page and its pictures; of `names` alone, sections in place of the page."""
    package, parts, texts = Module(ROOT, "blocks"), [INTRODUCTION], {}
    for title, entries in SECTIONS:
        parts.append(f"## {title}\n")
        for block in entries:
            if names is None or block.name in names:
                text, texts[f"pictures/{block.name}.svg"] = section(block, package)
                parts.append(text)
    texts["pictures/groups.svg"] = groups_picture()
    texts["pictures/ChannelShuffle.svg"] = shuffle_picture()
    return texts | {"blocks.md": "\n".join(parts)}


def main() -> None:
    """Write the files."""
    (DOCS / "pictures").mkdir(exist_ok=True)
    for path, text in files().items():
        (DOCS / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
