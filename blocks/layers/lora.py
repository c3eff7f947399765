"""Low-rank adaptation (LoRA) of a convolution's kernel, with the arguments and names that Keras's layers have."""

import math
from typing import Any

import keras
from keras import ops

from blocks.ops.arguments import positive
from blocks.ops.keras_internals import unlocked
from blocks.typing import Initializer, LayerMixin, Tensor


class LowRankAdaptation(LayerMixin):
    """Mixin, before the Keras class, for a layer whose kernel can be adapted: kernel + alpha / rank * (A B).

    The kernel stays as it is and A and B are learned, float32 whatever the layer's type: A (..., C / groups, rank) as
    `lora_kernel_a`, B (rank, filters) as `lora_kernel_b`. The layer's `kernel` is the sum, and so is the one that a
    file of the layer holds, so that a layer without adaptation loads it, and this one loads that layer's: B begins
    at 0 again then.

    Attributes: `lora_enabled`, `lora_rank` and `lora_alpha`; without adaptation False, None and None.

    Raises:
        ValueError: for a rank below 1, an alpha that is no finite number, and as `enable_lora` says.

    Source: Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models, section 4.1, arXiv:2106.09685.

    Example:
        >>> layer = blocks.GroupedConv2D(8, 3, groups=2, lora_rank=2, lora_alpha=4)
        >>> layer.build((None, 8, 8, 6))
        >>> [(weight.name, tuple(weight.shape)) for weight in layer.trainable_weights]
        [('bias', (8,)), ('lora_kernel_a', (3, 3, 3, 2)), ('lora_kernel_b', (2, 8))]
    """

    stored_kernels: list[keras.Variable]
    kernel_regularizer: Any
    kernel_constraint: Any
    lora_kernel_a: keras.Variable
    lora_kernel_b: keras.Variable

    def set_lora(self, rank: int | None, alpha: float | None) -> None:
        """Note what the layer is to adapt once it is built; `rank` None is nothing.

        Raises ValueError for a rank that is no integer of at least 1, or an alpha that is no finite number.
        """
        rank = None if rank is None else positive(rank, "lora_rank")
        if alpha is not None and (isinstance(alpha, (bool, str)) or not math.isfinite(alpha)):
            raise ValueError(f"lora_alpha={alpha!r} is not allowed: give a number, or None for that of the rank.")
        self.lora_enabled, self.lora_rank, self.lora_alpha = False, rank, rank if alpha is None else alpha

    def enable_lora(
        self,
        rank: int,
        lora_alpha: float | None = None,
        a_initializer: Initializer = "he_uniform",
        b_initializer: Initializer = "zeros",
    ) -> None:
        """Freeze the kernel and learn a product of two small matrices beside it. Compile a model after this.

        Args:
            rank: columns of A, and rows of B.
            lora_alpha: the product is multiplied by lora_alpha / rank; None is `rank`.
            a_initializer, b_initializer: of A and B. With zeros in one of them the layer computes at first what it did.

        Raises:
            ValueError: for a rank below 1; a layer that is not built, is adapted already, has a kernel constraint, or
                several kernels, as uneven groups have.

        Example:
            >>> layer = blocks.GroupedConv2D(8, 3, groups=2)
            >>> layer.build((None, 8, 8, 6))
            >>> layer.enable_lora(rank=2)
            >>> layer.lora_enabled, layer.lora_alpha, len(layer.non_trainable_weights)
            (True, 2, 1)
        """
        rank = positive(rank, "rank")
        if self.kernel_constraint is not None:
            raise ValueError(
                f"{self.name} has a kernel constraint, which would hold for the stored kernel and not for the sum that "
                "LoRA makes of it: build the layer with kernel_constraint=None."
            )
        if not self.built:
            raise ValueError(f"{self.name} has no kernel to adapt yet: build it, or call it on an input.")
        if self.lora_enabled:
            raise ValueError(f"{self.name} is adapted already, with rank {self.lora_rank}: a layer is so once only.")
        if len(self.stored_kernels) > 1:
            raise ValueError(
                f"{self.name} has uneven groups and {len(self.stored_kernels)} kernels: LoRA adapts layers of one "
                "kernel, whose groups are all equal."
            )
        kernel = self.stored_kernels[0]
        factors = {
            "lora_kernel_a": ((*kernel.shape[:-1], rank), keras.initializers.get(a_initializer)),
            "lora_kernel_b": ((rank, kernel.shape[-1]), keras.initializers.get(b_initializer)),
        }
        self.set_lora(rank, lora_alpha)
        with unlocked(self):
            for name, (shape, initializer) in factors.items():
                factor = self.add_weight(
                    name=name,
                    shape=shape,
                    initializer=initializer,
                    regularizer=self.kernel_regularizer,
                    dtype="float32",  # small steps would vanish in half precision
                    autocast=False,
                )
                setattr(self, name, factor)
        kernel.trainable = False
        self.lora_enabled = True

    def low_rank_product(self) -> Tensor:
        """alpha / rank * (A B), (..., C / groups, filters) in float32: what is added to the kernel."""
        assert self.lora_rank is not None and self.lora_alpha is not None  # of a layer that is adapted
        return (self.lora_alpha / self.lora_rank) * ops.matmul(self.lora_kernel_a, self.lora_kernel_b)

    def lora_config(self) -> dict[str, Any]:
        """What `get_config` has of the adaptation: nothing where there is none."""
        return {} if self.lora_rank is None else {"lora_rank": self.lora_rank, "lora_alpha": self.lora_alpha}
