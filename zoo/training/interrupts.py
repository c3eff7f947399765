"""Ctrl-C, and the other signals that stop a run, that are not lost.

Python raises KeyboardInterrupt wherever it happens to be. In a finalizer, of which TensorFlow has many while it traces
a step, Python drops it; in a function that TensorFlow called back it may come out as another error.
"""

import sys
import threading
import types
from collections.abc import Mapping
from typing import Self

import keras

from zoo.training import signals


class Interrupts(keras.callbacks.Callback):
    """Remembers a signal while its `with` block runs; as a callback of `fit` it raises it again before the next batch.

    Raises:
        KeyboardInterrupt: at the end of the block at the latest, in place of whatever error came of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: int | None = None  # the number of the first signal
        self.replaced: dict[int, signals.Handler] = {}
        self.again: threading.Timer | None = None

    def __enter__(self) -> Self:
        self.replaced = signals.handle(self._remember)
        if self.replaced:
            self.reported, sys.unraisablehook = sys.unraisablehook, self._report
        return self

    def _remember(self, number: int, frame: types.FrameType | None) -> None:
        self.seen = self.seen or signals.first_of(number)
        signals.leave_closed_terminal()
        raise signals.interrupt(self.seen)

    def _report(self, dropped: "sys.UnraisableHookArgs") -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            self.reported(dropped)
        elif self.seen:  # at once, not with the next batch: the first step may take a minute to trace
            self.again = signals.send_again(self.seen)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None
    ) -> None:
        if self.again is not None:
            self.again.cancel()
        if self.replaced:
            signals.restore(self.replaced)
            sys.unraisablehook = self.reported
        if self.seen and not isinstance(error, KeyboardInterrupt):
            raise signals.interrupt(self.seen) from error

    def _again(self) -> None:
        if self.seen:
            raise signals.interrupt(self.seen)

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self._again()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self._again()

    def on_test_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self._again()
