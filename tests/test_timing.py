"""How calls are timed, and that frameworks which the zoo does not run on can be timed by it."""

import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from zoo.timing import call_seconds, least_seconds

ROOT = Path(__file__).parent.parent


def clocks_of(*times: list[float]):
    """A clock for each list, which gives its next entry; and the order in which clocks are asked."""
    order = []

    def clock(index: int) -> float:
        order.append(index)
        return times[index].pop(0)

    return [partial(clock, index) for index in range(len(times))], order


def test_the_seconds_of_a_call_are_those_until_it_returns():
    assert 0.05 <= call_seconds(lambda: time.sleep(0.05)) < 5


def test_calls_take_turns_and_the_least_of_each_counts():
    clocks, order = clocks_of([0.1, 0.1, 5, 3, 4], [0.1, 0.1, 7, 8, 6])
    assert least_seconds(clocks, 3, warm_up=2) == [3, 6]
    assert order == [0, 0, 1, 1, 0, 1, 0, 1, 0, 1], "what warms up is not timed"


def test_a_budget_ends_turns_after_the_fewest():
    for budget, turns in ((0, 3), (60, 5)):
        clocks, order = clocks_of([9, 8, 7, 6, 5, 4])
        assert least_seconds(clocks, 5, warm_up=1, budget=budget, fewest=3) == [9 - turns]
        assert len(order) == 1 + turns


def test_timing_and_hardware_need_the_standard_library_alone():
    """The benchmarks use them in the process of PyTorch, where neither Keras nor TensorFlow need be installed."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        "from zoo import environment, hardware, timing; "
        "assert environment.peak_memory_bytes() > 1e6 and environment.resident_memory_bytes() != 0; "
        "print(hardware.processor()); print(timing.call_seconds(lambda: None) >= 0)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    name, timed = done.stdout.splitlines()
    assert name and timed == "True"
