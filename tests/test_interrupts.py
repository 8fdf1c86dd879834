"""Ctrl-C is kept back during a step, never lost, and elsewhere answered at once."""

import signal
import threading
from types import FrameType

import pytest

from cpmodel.interrupts import deferred


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_end_of_the_step(number: signal.Signals) -> None:
    def answer(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, answer)
    steps = []
    try:
        with pytest.raises(KeyboardInterrupt), deferred():
            signal.raise_signal(number)
            steps.append("whole")
        assert steps == ["whole"]
        assert signal.getsignal(number) is answer
    finally:
        signal.signal(number, before)


def test_nested_steps_keep_it_until_the_outermost_ends() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt), deferred():
        with deferred():
            signal.raise_signal(signal.SIGINT)
            steps.append("inner")
        steps.append("outer")
    assert steps == ["inner", "outer"]


def test_an_error_of_the_step_is_seen_when_no_signal_came() -> None:
    with pytest.raises(ZeroDivisionError), deferred():
        raise ZeroDivisionError


def test_other_threads_have_nothing_to_keep_back() -> None:
    went = []

    def step() -> None:
        with deferred():
            went.append(True)

    thread = threading.Thread(target=step)
    thread.start()
    thread.join()
    assert went == [True]
