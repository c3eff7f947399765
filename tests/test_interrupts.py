"""Ctrl-C, and the other signals that stop a run, reach it from wherever they come, and wait while it saves."""

import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from helpers.processes import process_environment
from helpers.terminal import Terminal
from zoo.training import signals
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


def test_one_that_a_finalizer_drops_while_a_program_prepares_its_run():
    program = """if True:
        import os, signal, time
        from zoo.training.signals import stop_on_signals
        class Finalized:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGTERM)
        stop_on_signals()
        try:
            thing = Finalized()
            del thing
            time.sleep(60)
        except KeyboardInterrupt as error:
            print("stopped by", error)
    """
    done = subprocess.run([sys.executable, "-c", program], env=process_environment(), capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("stopped by SIGTERM\n", "")


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


@pytest.fixture
def stopping(monkeypatch):
    """SIGTERM and SIGHUP raise KeyboardInterrupt, as `train.py` has it."""
    before = {number: signal.getsignal(number) for number in signals.STOPPING}
    for number in set(signals.STOPPING) - {signal.SIGINT}:
        signal.signal(number, signal.SIG_DFL)  # the tests themselves may run under nohup
    monkeypatch.setattr(signals, "_program", None)  # which is back behind the test
    signals.stop_on_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    "name, code", [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129), ("SIGUSR1", 138), ("SIGUSR2", 140)]
)
def test_every_signal_that_ends_a_program_is_raised_by_its_name(stopping, name, code):
    number = getattr(signal, name)
    with pytest.raises(KeyboardInterrupt) as plain:
        signal.raise_signal(number)
    with pytest.raises(KeyboardInterrupt) as remembered, Interrupts():
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise RuntimeError("out of a callback") from None
    assert 128 + signals.signal_of(plain.value) == 128 + signals.signal_of(remembered.value) == code


def test_what_is_being_saved_is_saved_however_often_the_user_presses(stopping, capfd):
    saved = []
    handlers = [signal.getsignal(number) for number in signals.STOPPING]
    with pytest.raises(KeyboardInterrupt) as raised, signals.deferred("Saving model.keras"):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGINT, signal.SIGHUP):
            signal.raise_signal(number)
        saved.append("model")
    assert saved == ["model"] and raised.value.args == ("SIGTERM",)
    assert capfd.readouterr().err == "\nSaving model.keras: the program stops when that is done.\n"
    assert [signal.getsignal(number) for number in signals.STOPPING] == handlers
    with pytest.raises(ZeroDivisionError), signals.deferred("Saving model.keras"):
        press()
        _ = 1 / 0


def test_training_ends_at_once_within_what_is_deferred(stopping):
    """None of the presses falls between the end of training and the saving."""
    done = []
    with signals.deferred("Saving model.keras"):
        with pytest.raises(KeyboardInterrupt), Interrupts():
            press()
            done.append("not reached")
        done.append("saved")
    assert done == ["saved"]


def test_the_first_signal_counts_though_another_arrives_while_saving(stopping):
    with pytest.raises(KeyboardInterrupt) as raised, signals.deferred("Saving model.keras") as stop:
        with pytest.raises(KeyboardInterrupt) as first, Interrupts() as interrupts:
            try:
                signal.raise_signal(signal.SIGTERM)
            except KeyboardInterrupt:
                press()
        stop.error = first.value
        press()
    assert first.value.args == raised.value.args == ("SIGTERM",) and interrupts.seen == signal.SIGTERM


def test_the_first_signal_counts_while_a_program_is_ending(stopping):
    """A second one arrives as the first unwinds: the exit code and the last line are those of the first."""
    with pytest.raises(KeyboardInterrupt) as raised:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            press()
    assert signals.signal_of(raised.value) == signal.SIGTERM


def test_what_ends_a_program_is_done_though_a_signal_arrives_before_it_is_held_back(stopping, monkeypatch):
    """As handlers are replaced one by one: a second signal of another kind used to cost the whole action."""
    handlers = {number: signal.getsignal(number) for number in signals.STOPPING}
    replace, done = signal.signal, []

    def interrupted(number, handler):
        if number == signal.SIGTERM and not done:
            done.append("interrupted")
            signal.raise_signal(signal.SIGTERM)  # SIGINT is held back by now
        return replace(number, handler)

    monkeypatch.setattr(signal, "signal", interrupted)
    signals.complete("Writing result.json", lambda: done.append("written"))
    assert done == ["interrupted", "written"]
    assert {number: signal.getsignal(number) for number in signals.STOPPING} == handlers


def test_under_nohup_a_closed_terminal_is_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signals.stop_on_signals()
        with Interrupts() as interrupts, signals.deferred("Saving"):
            signal.raise_signal(signal.SIGHUP)
        assert not interrupts.seen and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_is_closed_does_not_keep_a_program_from_saving(tmp_path):
    code = """if True:
        import sys, time
        from pathlib import Path
        from zoo.training.signals import signal_of, stop_on_signals
        stop_on_signals()
        try:
            print("ready", flush=True)
            time.sleep(30)
        except KeyboardInterrupt as error:
            for stream in (sys.stdout, sys.stderr):
                print("Stopped: saving the model.", file=stream, flush=True)
            Path("saved").write_text(signal_of(error).name)
            sys.exit(128 + signal_of(error))
    """
    terminal = Terminal([sys.executable, "-c", code], tmp_path, process_environment())
    terminal.read(until="ready")
    os.close(terminal.ours)
    assert terminal.process.wait(20) == 129
    assert (tmp_path / "saved").read_text() == "SIGHUP"
