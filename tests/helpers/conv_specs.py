"""What the choice of an implementation is asked about: a grouped convolution of 3 x 3 on a CPU."""

from blocks.ops.implementation import ConvSpec

PLAIN = ConvSpec(
    device="CPU",
    dtype="float32",
    groups=8,
    in_channels_per_group=8,
    out_channels_per_group=8,
    kernel_size=(3, 3),
    strides=(1, 1),
    dilation=(1, 1),
    positions=1024,
    onednn=True,
    xla=False,
    min_kernel_channels=16,
    matrix_units=False,
)
