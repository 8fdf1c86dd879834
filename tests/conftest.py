"""What all tests share: one thread each, and a small verified study that is made once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers of the suite share the cores already
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # started in the background of a script: Ctrl-C must not be ignored by the processes of the tests too
    signal.signal(signal.SIGINT, signal.default_int_handler)

import forked_worker
import pytest
from running import Command, forked_commands
from small_images import make_images

from cpmodel.locks import locked

forked_worker.begin_at_once()


@pytest.fixture(scope="session")
def cpmodel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """The command, in quickly forked processes, so that many cases can be tried."""
    with forked_commands(tmp_path_factory.mktemp("streams")) as run:
        yield run


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of a dozen trainings whose answer is verified; for reading only, copy it to change it."""
    import cpmodel

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # of all workers: the first one makes it
    study = shared / "small_study"
    with locked(shared / "small_study.lock"):
        if not (study / "choice.json").exists():
            images = make_images(shared / "images.npz")
            made = cpmodel.open(
                study,
                dataset=f"npz:{images}",
                values={"f": (2, 4, 8), "s": (6, 8), "k": (2, 3), "l": (1, 2)},
                recipe={"epochs": 2, "batch_size": 32},
            )
            made.sample(budget=10, workers=1)
            made.measure(count=0)
            answer = made.verify(target=0.5, configuration="f=8,s=8,k=2,l=1", workers=1)
            assert answer.verdict is not None
    return study
