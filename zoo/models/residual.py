"""What ResNeXt and the families derived from it share: the size of a bottleneck, kept whatever its groups.

Xie et al. 2017, Aggregated Residual Transformations for Deep Neural Networks, section 3, arXiv:1611.05431.
"""

from collections.abc import Collection

from zoo.checks import check_choice, check_name, check_positive, check_share

EXPANSION = 4  # outputs of a bottleneck over its nominal width, 64 at the first stage
RESNET_WIDTH = 64
SAME_SIZE = "groups=N gives this network with another cardinality and, as nearly as can be, the same size"


class GroupWidth:
    """Mixin of a configuration whose `width_per_group`, left at None, is set to what keeps the network's size.

    Example:
        >>> from zoo.models.resnext import ResNeXt
        >>> ResNeXt(depth=50, groups=16).group_width
        8
    """

    width_per_group: int | None

    @property
    def group_width(self) -> int:
        """`width_per_group`, as it is once the configuration is complete."""
        assert self.width_per_group is not None
        return self.width_per_group


def block_weights(groups: int, width: int, scale: int = 1, spatial: float = 1) -> float:
    """Weights of a first-stage bottleneck of 256 channels, C * (256 d + 9 d^2 + 256 d): equation 4 of ResNeXt's paper.

    In families derived from it, `scale` times as many channels go through the 1x1 convolutions, and the 3x3
    convolutions have `spatial` times as many weights.

    Example:
        >>> from zoo.models.residual import block_weights
        >>> block_weights(groups=1, width=64), block_weights(groups=32, width=4)  # ResNet-50 and ResNeXt-50 32x4d
        (69632, 70144)
    """
    return groups * (2 * EXPANSION * RESNET_WIDTH * width * scale + 9 * width * width * spatial)


def equal_width(groups: int, weights: float, scale: int = 1, spatial: float = 1, step: int = 1) -> int:
    """The width of a group, d, whose bottleneck is nearest to `weights`: section 3.2 and table 2 there.

    `step` is what d must be a multiple of; the others are those of `block_weights`.
    Raises ValueError where not even `step` channels a group are that few.

    Example:
        >>> from zoo.models.residual import block_weights, equal_width
        >>> [equal_width(groups, block_weights(1, 64)) for groups in (1, 2, 4, 8, 32)]
        [64, 40, 24, 14, 4]
    """
    if block_weights(groups, step, scale, spatial) > 2 * weights:
        most = int(2 * weights // block_weights(1, step, scale, spatial))
        channels = "one channel" if step == 1 else f"{step} channels"
        raise ValueError(
            f"groups={groups} makes a bottleneck of {channels} a group over twice as large as it should be: "
            f"use at most {most}, or set width_per_group."
        )
    return min(range(step, 512, step), key=lambda width: abs(block_weights(groups, width, scale, spatial) - weights))


def check_common(
    depth: int,
    depths: Collection[int],
    groups: int,
    version: str,
    versions: Collection[str],
    drop_path: float,
    what: str,
) -> None:
    """Raise ValueError for what no residual network of the family `what` can have.

    Example:
        >>> from zoo.models.residual import check_common
        >>> check_common(50, (50, 101), 32, "f", ("b", "d"), 0.0, "ResNeXt")
        Traceback (most recent call last):
            ...
        ValueError: version='f' is not allowed for ResNeXt: known are b, d.
    """
    check_choice("depth", depth, depths, what)
    check_positive("groups", groups, what)
    check_name("version", version, versions, what)
    check_share("drop_path", drop_path, what)
