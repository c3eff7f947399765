"""Ctrl-C reaches the user's program from wherever it comes."""

import os
import signal
import sys

import keras
import numpy as np
import pytest

from zoo.training.interrupts import Interrupts


def press():
    os.kill(os.getpid(), signal.SIGINT)


class Finalized:
    def __del__(self):
        press()


def test_one_that_a_finalizer_drops(capsys):
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:
        thing = Finalized()
        del thing  # Python drops the error here
        after = interrupts.seen
    assert after and "Traceback" not in capsys.readouterr().err
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == before


def test_one_that_becomes_another_error():
    with pytest.raises(KeyboardInterrupt) as raised, Interrupts():
        try:
            press()
        except KeyboardInterrupt:
            raise RuntimeError("out of a callback") from None
    assert isinstance(raised.value.__cause__, RuntimeError)


def test_training_ends_before_the_next_batch():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    batches = []

    class Drops(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            batches.append(batch)
            if batch == 1:
                thing = Finalized()
                del thing

    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:
        model.fit(np.ones((8, 2)), np.ones((8, 1)), batch_size=1, verbose=0, callbacks=[interrupts, Drops()])
    assert batches == [0, 1]


def test_other_errors_and_none_pass():
    with Interrupts():
        pass
    with pytest.raises(ZeroDivisionError), Interrupts():
        _ = 1 / 0


def test_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            press()
        assert not interrupts.seen and signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
