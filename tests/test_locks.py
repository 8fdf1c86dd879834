"""Locks between real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cpmodel.errors import BadInputError
from cpmodel.locks import locked, measuring, training

PATIENCE_S = 30.0

Hold = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Hold]:
    """Start a process that enters a lock, says "held", and leaves it when its input ends."""
    started: list[subprocess.Popen[str]] = []

    def start(what: str) -> subprocess.Popen[str]:
        code = (
            "import sys; from pathlib import Path; from cpmodel.locks import *\n"
            f"folder = Path({str(tmp_path)!r})\n"
            f"with {what}:\n    print('held', flush=True)\n    sys.stdin.read()\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def held(process: subprocess.Popen[str]) -> bool:
    assert process.stdout is not None
    return process.stdout.readline() == "held\n"


def blocked(enter: Callable[[], object]) -> threading.Event:
    """Run `enter` beside us; the event is set once it is through."""
    through = threading.Event()

    def call() -> None:
        enter()
        through.set()

    threading.Thread(target=call, daemon=True).start()
    return through


def enters(lock: object) -> Callable[[], None]:
    def call() -> None:
        with lock:  # type: ignore[attr-defined]
            pass

    return call


@pytest.mark.parametrize(
    ("theirs", "ours", "waits"),
    [("False", False, True), ("False", True, True), ("True", False, True), ("True", True, False)],
)
def test_only_those_who_share_hold_together(
    tmp_path: Path, hold: Hold, theirs: str, ours: bool, waits: bool
) -> None:
    other = hold(f"locked(folder / 'a.lock', shared={theirs})")
    assert held(other)
    through = blocked(enters(locked(tmp_path / "a.lock", shared=ours)))
    if waits:
        assert not through.wait(0.3)
        other.communicate("")
    assert through.wait(PATIENCE_S)


def test_a_killed_process_holds_nothing(tmp_path: Path, hold: Hold) -> None:
    other = hold("locked(folder / 'a.lock')")
    assert held(other)
    through = blocked(enters(locked(tmp_path / "a.lock")))
    assert not through.wait(0.3)
    os.kill(other.pid, signal.SIGKILL)
    assert through.wait(PATIENCE_S)


def test_a_child_of_the_holder_does_not_inherit_the_lock(tmp_path: Path) -> None:
    with locked(tmp_path / "a.lock"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
    try:
        assert blocked(enters(locked(tmp_path / "a.lock"))).wait(PATIENCE_S)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_the_lock_is_free_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), locked(tmp_path / "a.lock"):
        raise RuntimeError
    assert blocked(enters(locked(tmp_path / "a.lock"))).wait(PATIENCE_S)


def test_trainings_run_together_and_keep_measurements_out(tmp_path: Path, hold: Hold) -> None:
    first, second = hold("training(folder)"), hold("training(folder)")
    assert held(first)
    assert held(second)
    through = blocked(enters(measuring(tmp_path)))
    first.communicate("")
    assert not through.wait(0.3)
    os.kill(second.pid, signal.SIGKILL)
    assert through.wait(PATIENCE_S)


def test_no_training_starts_while_run_times_are_measured(tmp_path: Path, hold: Hold) -> None:
    measurer = hold("measuring(folder)")
    assert held(measurer)
    through = blocked(enters(training(tmp_path)))
    assert not through.wait(0.3)
    assert not blocked(enters(measuring(tmp_path))).wait(0.1)  # nor another measurement
    os.kill(measurer.pid, signal.SIGKILL)
    assert through.wait(PATIENCE_S)


def test_trainings_without_a_gap_do_not_keep_a_measurement_out(tmp_path: Path) -> None:
    """Overlapping trainings: there is never a moment without one, yet the measurement comes."""
    stop = threading.Event()
    running = 0
    overlaps: list[int] = []
    count = threading.Lock()

    def stream(delay: float) -> None:
        nonlocal running
        time.sleep(delay)
        while not stop.is_set():
            with training(tmp_path):
                with count:
                    running += 1
                time.sleep(0.05)
                with count:
                    running -= 1

    def measure() -> None:
        with measuring(tmp_path):
            overlaps.append(running)

    streams = [threading.Thread(target=stream, args=(i * 0.02,), daemon=True) for i in range(3)]
    for thread in streams:
        thread.start()
    time.sleep(0.2)
    measured = [blocked(measure) for _ in range(2)]
    try:
        assert all(through.wait(PATIENCE_S) for through in measured)
    finally:
        stop.set()
    assert overlaps == [0, 0]
    for thread in streams:
        thread.join(PATIENCE_S)


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for lock in (
        locked(tmp_path / "file" / "a.lock"),
        training(tmp_path / "none"),
        measuring(tmp_path / "none"),
    ):
        with pytest.raises(BadInputError, match="cannot write"), lock:
            pass


def test_a_training_need_not_wait(tmp_path: Path) -> None:
    with training(tmp_path), training(tmp_path, wait=False):
        pass
    for held in ("gate.lock", "quiet.lock"):
        with (
            locked(tmp_path / held),
            pytest.raises(BlockingIOError),
            training(tmp_path, wait=False),
        ):
            pass
    with measuring(tmp_path):  # what was refused is not held
        pass
