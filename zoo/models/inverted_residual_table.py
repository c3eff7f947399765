"""Tables of inverted residuals: from the lines that a paper prints to the blocks that they stand for.

Shared by the families that searched or scaled MobileNet v2's block. Layer names, the channels inside a
squeeze-and-excitation and the rates of stochastic depth follow timm's `_efficientnet_builder.py`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from zoo.checks import round_channels
from zoo.typing import Tensor


@dataclass(frozen=True)
class Row:
    """One line of a paper's table: `blocks` alike, but that only the first has `strides`.

    Example:
        >>> from zoo.models.inverted_residual_table import Row
        >>> Row(blocks=2, kernel=3, strides=2, expansion=6, channels=24).squeeze
        0.0
    """

    blocks: int
    kernel: int | tuple[int, ...]  # several: MixNet's, each over its share of the channels
    strides: int
    expansion: float  # over the input's channels; 0: depthwise separable, no convolution expands
    channels: int  # of the output
    squeeze: float = 0.0  # channels in the squeeze-and-excitation, over the input's; 0 is none
    act: str = "relu"
    skip: bool = True  # the input is added where the shape allows


@dataclass(frozen=True)
class Block:
    """One block, in numbers of channels.

    Example:
        >>> from zoo.models.inverted_residual_table import Row, unroll
        >>> block = unroll([[Row(1, 5, 2, 6, 40, squeeze=0.25)]], stem=24)[0]
        >>> block.name, block.expanded, block.squeeze
        ('blocks.0.0', 144, 6)
    """

    name: str
    row: Row
    strides: int
    expanded: int
    channels: int

    @property
    def squeeze(self) -> int:
        """Channels in the squeeze-and-excitation."""
        return round(self.expanded * (self.row.squeeze / (self.row.expansion or 1)))


def unroll(stages: Iterable[Iterable[Row]], stem: int, width: float = 1.0) -> list[Block]:
    """Every block of the table `stages`, its channels times `width`, after a stem of `stem` channels.

    Example:
        >>> from zoo.models.inverted_residual_table import Row, unroll
        >>> table = [[Row(1, 3, 1, 1, 16)], [Row(2, 3, 2, 6, 24)]]
        >>> [(block.name, block.strides, block.expanded, block.channels) for block in unroll(table, stem=32)]
        [('blocks.0.0', 1, 32, 16), ('blocks.1.0', 2, 96, 24), ('blocks.1.1', 1, 144, 24)]
    """
    channels, blocks = stem, []
    for stage, rows in enumerate(stages):
        repeated = [(row, row.strides if block == 0 else 1) for row in rows for block in range(row.blocks)]
        for block, (row, strides) in enumerate(repeated):
            expanded = round_channels(channels * row.expansion) if row.expansion else channels
            channels = round_channels(row.channels * width)
            blocks.append(Block(f"blocks.{stage}.{block}", row, strides, expanded, channels))
    return blocks


class Strided(Protocol):
    """A block of any table.

    Example:
        >>> from zoo.models.inverted_residual_table import Row, trunk, unroll
        >>> table = unroll([[Row(1, 3, 2, 6, 24)], [Row(2, 3, 2, 6, 40)]], stem=16)
        >>> [block.strides for block in table]
        [2, 2, 1]
    """

    @property
    def strides(self) -> int: ...


BlockType = TypeVar("BlockType", bound=Strided)


def trunk(x: Tensor, table: Iterable[BlockType], drop_path: float, make: Callable[..., Tensor]) -> list[Tensor]:
    """Apply `make(x, block, drop_path=rate)` for each block of `table` in turn; the last map of every resolution.

    The rate of stochastic depth grows linearly: 0 for the first of n blocks, `drop_path` for what would be block n + 1.

    Example:
        >>> from zoo.models.inverted_residual_table import Row, inverted_residual, trunk, unroll
        >>> table = unroll([[Row(1, 3, 1, 1, 16)], [Row(2, 3, 2, 6, 24)]], stem=32)
        >>> def make(x, block, drop_path):
        ...     return inverted_residual(x, block, groups=None, drop_path=drop_path)
        >>> [x.shape for x in trunk(keras.Input((16, 16, 32)), table, 0.2, make)]
        [(None, 16, 16, 16), (None, 8, 8, 24)]
    """
    blocks = list(table)
    features: list[Tensor] = []
    for index, block in enumerate(blocks):
        if block.strides == 2:
            features.append(x)
        x = make(x, block, drop_path=drop_path * index / len(blocks))
    return [*features, x]


def inverted_residual(
    x: Tensor, block: Block, *, groups: int | None, drop_path: float, epsilon: float = 1e-5
) -> Tensor:
    """The block that `block` describes, its spatial convolution in `groups` groups (None is depthwise).

    Raises ValueError where `groups` does not divide the channels that the block convolves.

    Example:
        >>> from zoo.models.inverted_residual_table import Row, inverted_residual, unroll
        >>> block = unroll([[Row(1, 5, 2, 6, 40, squeeze=0.25)]], stem=24)[0]
        >>> inverted_residual(keras.Input((16, 16, 24)), block, groups=None, drop_path=0.0).shape
        (None, 8, 8, 40)
    """
    from blocks import mobilenet_v1_block, mobilenet_v3_block

    shared: dict[str, Any] = {
        "kernel_size": block.row.kernel,
        "act": block.row.act,
        "squeeze": block.squeeze,
        "squeeze_act": block.row.act,
        "gate": "sigmoid",
        "skip": block.row.skip,
        "drop_path": drop_path,
        "epsilon": epsilon,
        "name": block.name,
    }
    if not block.row.expansion:
        return mobilenet_v1_block(x, block.channels, block.strides, groups, final_act=None, **shared)
    return mobilenet_v3_block(x, block.channels, block.expanded, block.strides, groups, **shared)
