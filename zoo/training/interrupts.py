"""Ctrl-C that is not lost.

Python raises KeyboardInterrupt wherever it happens to be. In a finalizer, of which TensorFlow has many while it traces
a step, Python drops it; in a function that TensorFlow called back it may come out as another error.
"""

import signal
import sys
import threading

import keras


class Interrupts(keras.callbacks.Callback):
    """Remembers Ctrl-C while its `with` block runs; as a callback of `fit` it raises it again before the next batch.

    Raises:
        KeyboardInterrupt: at the end of the block at the latest, in place of whatever error came of it.
    """

    def __init__(self):
        super().__init__()
        self.seen = False
        self.replaced = None

    def __enter__(self):
        handler = signal.getsignal(signal.SIGINT)
        # Ignored (None, or a number) it stays ignored, and only the main thread may set handlers.
        if callable(handler) and threading.current_thread() is threading.main_thread():
            self.replaced = handler
            signal.signal(signal.SIGINT, self._remember)
            self.reported, sys.unraisablehook = sys.unraisablehook, self._report
        return self

    def _remember(self, number, frame):
        self.seen = True
        self.replaced(number, frame)

    def _report(self, dropped):
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            self.reported(dropped)

    def __exit__(self, kind, error, traceback):
        if self.replaced is not None:
            signal.signal(signal.SIGINT, self.replaced)
            sys.unraisablehook = self.reported
        if self.seen and not isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt from error

    def _again(self):
        if self.seen:
            raise KeyboardInterrupt

    def on_train_batch_begin(self, batch, logs=None):
        self._again()

    def on_train_batch_end(self, batch, logs=None):
        self._again()

    def on_test_batch_begin(self, batch, logs=None):
        self._again()
