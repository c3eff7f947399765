"""Single convolutions in TensorFlow: the zoo's layer, Keras's own, split and concatenate, and each implementation.

All of them run in a loop inside one graph, one call after the other, so that a timing is of the convolution and not
of calling TensorFlow from Python.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import tensorflow as tf
from worker import Calls

import blocks
import blocks.ops.tensorflow.conv2d

CALLS_PER_ITERATION = (
    8  # calls in one iteration of the graph's loop: its own operations take as long as a small convolution
)


@dataclass(frozen=True)
class Convolution:
    """The convolution that is asked for. `padding` in pixels on every side is kernel // 2."""

    size: int
    channels: int
    filters: int
    kernel: int
    strides: int
    groups: int

    @property
    def padding(self) -> tuple:
        return ((self.kernel // 2,) * 2,) * 2

    @property
    def ends(self) -> tuple[tuple, tuple]:
        """(H, W, C) of an input and an output."""
        after = -(-self.size // self.strides)
        return (self.size, self.size, self.channels), (after, after, self.filters)

    def apply(self, contender: str) -> tuple[Callable[[tf.Tensor], tf.Tensor], list[tf.Variable]]:
        """The convolution as `contender` does it, in the type of the policy, and its kernel.

        Raises ValueError where the contender does not offer this one.
        """
        if contender == "zoo":
            pair = self.strides, self.padding
            layer = blocks.GroupedConv2D(self.filters, self.kernel, *pair, groups=self.groups, use_bias=False)
            return self.built(layer)
        if contender == "keras":
            from stock_keras import convolution

            both = [(value, value) for value in (self.kernel, self.strides, 1)]
            kernel, strides, dilation = both
            names = convolution(
                self.channels, self.filters, kernel, strides, self.padding, dilation, self.groups, use_bias=False
            )
            return self.built(names[0] if len(names) == 1 else keras.Sequential(names))
        shape = (self.kernel, self.kernel, self.channels // self.groups, self.filters)
        kernel = tf.Variable(tf.random.stateless_normal(shape, (0, 2), dtype=keras.config.dtype_policy().name))
        if contender == "split":
            return lambda inputs: self.split(inputs, kernel.value()), [kernel]
        name = contender.removeprefix("implementation:")
        strides = (self.strides, self.strides)
        return (
            lambda inputs: blocks.grouped_convolution(
                inputs, kernel.value(), strides, self.padding, implementation=None if name == "None" else name
            ),
            [kernel],
        )

    def built(self, layer: keras.layers.Layer):
        layer.build((None, self.size, self.size, self.channels))
        return layer, [variable.value for variable in layer.trainable_variables]

    def split(self, inputs, kernel):
        """What one writes without a grouped convolution: a slice of the channels for each group."""
        if self.groups == 1:
            raise ValueError("a dense convolution has no groups to split")
        padding = "SAME"
        if self.strides > 1:
            inputs, padding = tf.pad(inputs, ((0, 0), *self.padding, (0, 0))), "VALID"
        slices = zip(tf.split(inputs, self.groups, -1), tf.split(kernel, self.groups, -1), strict=True)
        return tf.concat([tf.nn.conv2d(x, weights, self.strides, padding) for x, weights in slices], -1)


class Layers(Calls):
    """The convolutions that are timed in this process."""

    def prepare(
        self,
        key: str,
        contender: str,
        mode: str,
        precision: str,
        batch: int,
        shape: dict,
        least: float,
        xla: bool = False,
    ) -> dict:
        """Build one; how many calls of it last `least` seconds, the seconds of one, and what the layer's rules chose.

        Args:
            contender: "zoo", "keras", "split", or "implementation:NAME" out of `blocks.ops.implementation`.
            mode: "forward", or "gradients": forward, and the gradients of inputs and kernel.
            precision: of inputs, kernel and arithmetic: "float32" or "bfloat16".
            xla: compile each call with XLA.

        Raises:
            ValueError: where the contender does not offer this convolution.
        """
        keras.config.set_dtype_policy(precision)
        asked = Convolution(**shape)
        with choices() as chosen:
            apply, weights = asked.apply(contender)
            inputs, outputs = ((batch, *each) for each in asked.ends)
            run = loop(apply, weights, inputs, outputs, precision, mode == "gradients", xla)
            timed = self.add(key, run, least)
        return {**timed, "chosen": chosen[0] if chosen else None}


@contextmanager
def choices() -> Iterator[list[str]]:
    """What `blocks.ops.implementation` chooses while this lasts, in order: nothing but the choice itself tells it."""
    names, choose = [], blocks.ops.tensorflow.conv2d.choose

    def recorded(spec):
        names.append(choose(spec))
        return names[-1]

    blocks.ops.tensorflow.conv2d.choose = recorded
    try:
        yield names
    finally:
        blocks.ops.tensorflow.conv2d.choose = choose


def loop(
    apply, weights: list[tf.Variable], inputs: tuple, outputs: tuple, precision: str, gradients: bool, xla: bool
) -> Callable[[int], float]:
    """A function that calls the convolution a number of times and fetches a number that depends on every result.

    The gradients are those of sum(outputs * cotangent), the cotangent random and fixed. `inputs` and `outputs` are
    shapes.
    """
    images = tf.random.stateless_normal(inputs, (0, 1), dtype=precision)
    cotangent = tf.random.stateless_normal(outputs, (0, 3), dtype=precision)

    @tf.function(jit_compile=xla, autograph=False)
    def once(x):
        if not gradients:
            return [apply(x)]
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = apply(x)
        return [y, *tape.gradient(y, [x, *weights], output_gradients=cotangent)]

    def chain(calls: int):
        """The body of a loop with so many calls in it."""

        def body(count, x, total):
            for _ in range(calls):
                total += tf.add_n([tf.cast(tf.reshape(result, (-1,))[0], tf.float32) for result in once(x)])
                with tf.control_dependencies([total]):
                    x = tf.identity(x)  # the next call waits for this one, and cannot be moved out of the loop
            return count - calls, x, total

        return body

    @tf.function(jit_compile=False, autograph=False)
    def repeat(calls):
        state = (calls, images, tf.zeros(()))
        for each in (CALLS_PER_ITERATION, 1):
            state = tf.while_loop(
                lambda count, *_, least=each: count >= least, chain(each), state, parallel_iterations=1
            )
        return state[2]

    return lambda calls: float(repeat(tf.constant(calls)))
