"""What the machine can do at most, measured in each framework: large matrix products and large copies.

Each function returns {"float32_gflops", "bfloat16_gflops", ..., "copy_gbs"}: 10^9 operations a second, two a
multiply-accumulate, and 10^9 bytes a second, read and written bytes added.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from zoo.hardware import cores
from zoo.timing import call_seconds, least_seconds

WIDTH = 4096  # of the square matrices
BLOCK = 64 * 2**20  # bytes copied, far more than a core's own cache holds
PRECISIONS = ("float32", "bfloat16")
REPEATS = 5


def best(action: Callable[[], object]) -> float:
    """The shortest time of several, in seconds, after one that does not count."""
    (seconds,) = least_seconds([partial(call_seconds, action)], REPEATS, warm_up=1)
    return seconds


def products(width: int, precisions: Sequence[str], product: Callable[[str], Callable[[], object]]) -> dict:
    """The rates of `product(precision)`, a function that multiplies two width x width matrices."""
    return {f"{precision}_gflops": 2 * width**3 / best(product(precision)) / 1e9 for precision in precisions}


def tensorflow_ceilings(width: int = WIDTH, block: int = BLOCK, precisions: Sequence[str] = PRECISIONS) -> dict:
    """Products by TensorFlow; the copy by NumPy on as many threads as there are cores."""
    import tensorflow as tf

    multiply = tf.function(lambda matrix: tf.reduce_max(tf.matmul(matrix, matrix)), jit_compile=False)

    def product(precision: str) -> Callable[[], object]:
        matrix = tf.cast(tf.random.stateless_normal((width, width), (0, 0)), precision)
        return lambda: float(multiply(matrix))

    return {**products(width, precisions, product), "copy_gbs": 2 * block / best(threaded_copy(block)) / 1e9}


def torch_device() -> str:
    """Where PyTorch computes."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def torch_ceilings(width: int = WIDTH, block: int = BLOCK, precisions: Sequence[str] = PRECISIONS) -> dict:
    """Products and copy by PyTorch, into memory that is there already."""
    import torch

    device = torch_device()
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    source = torch.ones(block // 4, device=device)
    target = torch.zeros_like(source)

    def product(precision: str) -> Callable[[], object]:
        matrix = torch.randn(width, width, device=device).to(getattr(torch, precision))
        result = torch.empty_like(matrix)
        return lambda: (torch.mm(matrix, matrix, out=result), wait())

    copied = best(lambda: (target.copy_(source), wait()))
    return {**products(width, precisions, product), "copy_gbs": 2 * block / copied / 1e9}


def jax_ceilings(width: int = WIDTH, block: int = BLOCK, precisions: Sequence[str] = PRECISIONS) -> dict:
    """Products and copy by JAX; the copy adds a number, so that it is one."""
    import jax

    multiply = jax.jit(lambda matrix: matrix @ matrix)
    copy = jax.jit(lambda source: source + 1)

    def product(precision: str) -> Callable[[], object]:
        matrix = jax.random.normal(jax.random.key(0), (width, width)).astype(precision)
        return lambda: multiply(matrix).block_until_ready()

    source = jax.numpy.ones(block // 4)
    copied = best(lambda: copy(source).block_until_ready())
    return {**products(width, precisions, product), "copy_gbs": 2 * block / copied / 1e9}


def threaded_copy(block: int) -> Callable[[], object]:
    """A copy of one block, a slice for each core; NumPy gives the interpreter up while it copies."""
    import numpy as np

    count = cores()
    source = np.ones(block // 4, np.float32)
    target = np.zeros_like(source)
    slices = list(zip(np.array_split(target, count), np.array_split(source, count), strict=True))
    pool = ThreadPoolExecutor(count)
    return lambda: list(pool.map(lambda pair: np.copyto(*pair), slices))
