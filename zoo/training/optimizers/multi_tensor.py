"""Operations of a training step that take all variables of a network at once: our kernels', where they can be used.

TensorFlow's own update one variable each. A network has hundreds, and to trace, optimise and start so many operations
takes longer than their arithmetic.
"""

from collections.abc import Sequence
from typing import Any

import keras

from zoo.typing import Tensor

SMALL = 2**14  # entries of a tensor


def kernels_for(tensors: Sequence[Tensor | None]) -> Any:
    """The operations of our kernels where they take these gradients, of float32 and dense; else None.

    Example:
        >>> from zoo.training.optimizers.multi_tensor import kernels_for
        >>> kernels_for([np.ones(2, "float16")]) is None
        True
    """
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    from blocks.ops.tensorflow.runtime import kernels

    dense = all(isinstance(each, tf.Tensor) and each.dtype == tf.float32 for each in tensors)
    return kernels() if dense and tensors else None


def handles(variables: Sequence[Any]) -> list[Any] | None:
    """What TensorFlow's operations know variables by; None where some are tensors, or no float32.

    Example:
        >>> from zoo.training.optimizers.multi_tensor import handles
        >>> handles([keras.Variable([1], dtype="int32")]) is None
        True
    """
    import tensorflow as tf

    own = [each.value if isinstance(each, keras.Variable) else each for each in variables]
    known = all(isinstance(each, tf.Variable) and each.dtype == tf.float32 for each in own)
    return [each.handle for each in own] if known else None


def update_with_momentum(
    operations: Any, optimizer: Any, indices: Sequence[int], rate_in_momentum: bool, coupled: bool, **inputs: Any
) -> None:
    """One step of gradient descent with momentum, of variables whose accumulators `optimizer.momentums` has.

    Args:
        rate_in_momentum: whether the accumulators have the learning rate in them, as Keras's; PyTorch's have not.
        coupled: whether the weight decay is added to the gradient, as PyTorch's, or subtracted from the weights.
        inputs: see `ScaledRates.update_by`.

    Example:
        >>> from zoo.training.optimizers import TorchSGD
        >>> weight = keras.Variable([1.0])
        >>> TorchSGD(0.5, momentum=0.9).apply([np.ones(1, "float32")], [weight])  # by this, where the kernels are there
        >>> weight.numpy()
        array([0.5], dtype=float32)
    """
    operations.blocks_momentum_update(
        accumulators=handles([optimizer.momentums[index] for index in indices]),
        momentum=optimizer.momentum,
        nesterov=optimizer.nesterov,
        rate_in_momentum=rate_in_momentum,
        coupled=coupled,
        **inputs,
    )


def assign_where(condition: Tensor | bool, values: Sequence[tuple[keras.Variable, Tensor]]) -> None:
    """Assign variables their values where `condition`, () bool, is true; the kernels must be available.

    Example:
        >>> from zoo.training.optimizers.multi_tensor import assign_where, kernels_for
        >>> variable = keras.Variable([1.0])
        >>> if kernels_for([keras.ops.ones(1)]):  # which has been asked before
        ...     assign_where(keras.ops.convert_to_tensor(False), [(variable, keras.ops.zeros(1))])
        >>> variable.numpy()
        array([1.], dtype=float32)
    """
    from blocks.ops.tensorflow.runtime import kernels

    if values:
        kernels().blocks_assign_if(
            assign=condition,
            variables=[variable.value.handle for variable, _ in values],
            values=[value for _, value in values],
        )


def all_finite(tensors: Sequence[Tensor | None]) -> Any:
    """bool (): whether no entry of any tensor is NaN or infinite; of those that are not for the kernels, by their sum.

    Example:
        >>> from zoo.training.optimizers.multi_tensor import all_finite
        >>> tensors = [keras.ops.ones(3), keras.ops.convert_to_tensor([1.0, np.inf])]
        >>> bool(all_finite(tensors[:1])), bool(all_finite(tensors))
        (True, False)
    """
    import tensorflow as tf

    dense = [tf.convert_to_tensor(each) for each in tensors if each is not None]
    operations = kernels_for(dense)
    if operations is not None:
        return operations.blocks_all_finite(tensors=dense)
    sums = [tf.reduce_sum(each) for each in dense if each.shape.num_elements() > SMALL]
    # Small ones together: a network has a hundred, and each operation costs as much as summing thousands of entries.
    small = [tf.reshape(each, (-1,)) for each in dense if each.shape.num_elements() <= SMALL]
    if small:
        sums.append(tf.reduce_sum(tf.concat([tf.cast(each, tf.float32) for each in small], 0)))
    return tf.math.is_finite(tf.add_n([tf.cast(each, tf.float32) for each in sums]))
