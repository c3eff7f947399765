"""What the workers of this folder do alike: they measure their own time and memory.

Imports no framework, and of the zoo only what times calls, asks for memory and answers requests (`serve`).
"""

import gc
import math
import time
from collections.abc import Callable
from typing import SupportsFloat

from zoo.benchmarking.serving import sentence, serve  # noqa: F401  (for the workers)
from zoo.environment import peak_memory_bytes, reset_peak_memory, resident_memory_bytes
from zoo.timing import call_seconds

LONG = 5.0  # seconds of a step after which one more, before anything is timed, is enough
MOST_CALLS = 4096  # of one timing


class Steps:
    """A step of a network, timed: what every framework does alike once it has built one."""

    def __init__(self) -> None:
        self.step: Callable[[], SupportsFloat] | None = None
        self.imported_mb = megabytes(resident_memory_bytes())
        self.total_mb = None
        self.peak_is_of_steps = False

    def begin(self, build: Callable[[], tuple[Callable[[], SupportsFloat], Callable[[], dict]]]) -> dict:
        """Build a step, take the first one and a few more.

        `build` returns the step, whose result is a number, on the device perhaps, and a function of facts about what
        was built. The first step's seconds hold everything but the import and the facts: construction, tracing,
        compilation.

        Raises ArithmeticError where the number is not finite.
        """
        start = time.perf_counter()
        self.step, describe = build()
        first_seconds = time.perf_counter() - start
        facts = describe()
        # What it alone holds is free for the steps, as it is for who keeps the step only: a network before its
        # normalisations were folded.
        del describe
        gc.collect()
        start = time.perf_counter()
        first = float(self.step())
        first_seconds += time.perf_counter() - start
        if not math.isfinite(first):
            raise ArithmeticError(f"the first step gave {first}, which is no number to compare")
        warm = [self.timed()]
        if warm[0] < LONG:
            warm.append(self.timed())
        self.total_mb = megabytes(peak_memory_bytes())
        self.peak_is_of_steps = reset_peak_memory()
        return {"first_step_seconds": first_seconds, "first_value": first, "warm_seconds": warm[-1], **facts}

    def timed(self, count: int = 1) -> float:
        """Seconds of `count` steps; the result of the last is fetched to the host."""
        result = None

        def steps() -> None:
            nonlocal result  # freed once the clock has been read: PyTorch's holds the graph that it came from
            for _ in range(count):
                result = self.step()
            float(result)

        return call_seconds(steps)

    def take(self, count: int, fetch_each: bool = True) -> dict:
        """Time `count` steps: each alone, or all together with one result fetched, as a training loop on a GPU does."""
        if fetch_each:
            return {"seconds": [self.timed() for _ in range(count)]}
        return {"seconds": [self.timed(count) / count]}

    def memory(self) -> dict:
        """Peak of the timed steps above what the imported framework takes, and of the process so far, in MB (10^6).

        The resident set, measured by the kernel; the former is None where the peak cannot begin anew.
        """
        peak = megabytes(peak_memory_bytes())
        steps = peak - self.imported_mb if self.peak_is_of_steps else None
        return {"peak_mb": steps, "total_peak_mb": max(peak, self.total_mb)}


class Calls:
    """Short functions, timed by many calls one after the other; each has a key that the parent gives it."""

    def __init__(self) -> None:
        self.made: dict[str, Callable[[int], object]] = {}

    def add(self, key: str, run: Callable[[int], object], least: float) -> dict:
        """Take `run`, which makes a number of calls; the answer says how many last `least` seconds, and for one."""
        self.made[key] = run
        run(1)
        calls = 1
        while (seconds := self.time(key, calls)["seconds"]) * calls < least and calls < MOST_CALLS:
            calls = min(max(2 * calls, math.ceil(1.1 * least / seconds)), MOST_CALLS)
        return {"calls": calls, "seconds": seconds}

    def time(self, key: str, calls: int) -> dict:
        """Seconds of each of `calls` calls, one after the other.

        Several are preceded by as many that are not timed: the threads and caches of a process that has waited for
        the others are not those of one at work.
        """
        if calls > 1:
            self.made[key](calls)
        return {"seconds": call_seconds(lambda: self.made[key](calls)) / calls}

    def forget(self) -> dict:
        """Drop all of them, and their memory."""
        self.made.clear()
        gc.collect()
        return {}


def megabytes(size: int | None) -> float | None:
    """Bytes in MB (10^6)."""
    return None if size is None else size / 1e6
