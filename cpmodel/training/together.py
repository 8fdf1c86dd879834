"""The trainings of one process, a turn each: several share a GPU, each in a stream of its own.

One thread serves them all. A training queues some work on the device and makes way; it gets its next turn
when that is done, so that none waits for another and none is captured while another one is. Nothing that a
training computes depends on who trains beside it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpmodel import locks
from cpmodel.engine.devices import broken, fits, memory_of
from cpmodel.engine.steps import Ready
from cpmodel.errors import BadInputError, CpmodelError, MemoryExhaustedError
from cpmodel.records.sample import TRAINABLE
from cpmodel.training.jobs import Job
from cpmodel.training.trainer import Trained, Trainer, Turns

MOST_PARTS = 16  # of a batch; with fewer images each, batch norm would learn something else

Say = Callable[..., None]  # told of everything, as ``say(seat=..., event=..., ...)``


@dataclass
class _Running:
    job: Job
    turns: Turns
    ready: Ready
    held: ExitStack


class Together:
    """Does jobs, as many at once as the device has memory for; the study's lock is held meanwhile."""

    def __init__(self, trainer: Trainer, study: Path, say: Say) -> None:
        self._trainer, self._study, self._say = trainer, study, say
        self._device = trainer.plan.device
        self._waiting: deque[Job] = deque()
        self._running: dict[int, _Running] = {}
        self._needs: dict[int, int] = {}  # bytes of the device that the training in a seat will take

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._waiting and not self._running

    def add(self, job: Job) -> None:
        """One more; its seat must be free."""
        self._needs[job.seat] = self._bytes(job)
        self._waiting.append(job)

    def turn(self) -> bool:
        """Start what may start, and give a turn to each training whose device is ready; whether any had."""
        had = self._start()
        for running in list(self._running.values()):
            had = self._advance(running) or had
        return had

    def _start(self) -> bool:
        if not self._waiting or not self._room(self._waiting[0]):
            return False
        held = ExitStack()
        try:
            # who waits for the lock holds up the trainings that a measurement waits for
            held.enter_context(locks.training(self._study, wait=not self._running))
        except BlockingIOError:
            return False
        held.enter_context(self._trainer.settled())
        job = self._waiting.popleft()
        if job.start.kind not in TRAINABLE:
            held.close()
            self._failed(job, BadInputError("start", expected=" or ".join(TRAINABLE), got=job.start.kind))
            return True

        def on_epoch(epoch: int, precision: float) -> None:
            self._say(seat=job.seat, event="epoch", epoch=epoch, precision=precision)

        turns = self._trainer.turns(job, on_epoch)
        self._running[job.seat] = _Running(job, turns, lambda: True, held)
        self._say(seat=job.seat, event="begun")
        return True

    def _room(self, job: Job) -> bool:
        """Whether a job may start beside those that run."""
        if not self._running:
            return True
        if job.alone or any(running.job.alone for running in self._running.values()):
            return False
        memory = memory_of(self._device)
        promised = self._trainer.resized.bytes + sum(self._needs[seat] for seat in self._running)
        return memory is None or fits(self._needs[job.seat], promised, memory)

    def _bytes(self, job: Job) -> int:
        try:
            return self._trainer.device_bytes(job.configuration, job.recipe.batch_size)
        except CpmodelError:
            return 0  # it cannot be built either, and will say so

    def _advance(self, running: _Running) -> bool:
        job = running.job
        try:
            if not running.ready():
                return False
            running.ready = next(running.turns)
            return True
        except StopIteration as end:
            self._end(running)
            self._finish(job, end.value)
        except MemoryExhaustedError:
            self._end(running)
            self._again(job)
        except Exception as error:  # a fault of one configuration is data; the study goes on
            if broken(error):  # the device is of no use any more
                raise
            self._end(running)
            self._failed(job, error)
        return True

    def _end(self, running: _Running) -> None:
        del self._running[running.job.seat]
        running.held.close()

    def _again(self, job: Job) -> None:
        """Memory ran out: once more alone; if it was, in smaller parts."""
        if self._running:
            job.happened.append(f"out of memory beside {len(self._running)} more, then alone")
            job.alone = True
        elif job.parts < min(MOST_PARTS, job.recipe.batch_size):
            job.happened.append(f"out of memory with {job.parts} parts")
            job.parts *= 2
        else:
            self._say(seat=job.seat, event="failed", reason="; ".join([*job.happened, "out of memory"]))
            return
        self._waiting.appendleft(job)

    def _finish(self, job: Job, trained: Trained) -> None:
        try:
            if job.weights is not None:
                trained.save(Path(job.weights))
        except Exception as error:
            self._failed(job, error)
            return
        self._say(
            seat=job.seat,
            event="done",
            **_outcome(trained, job),
            curve=list(trained.curve),
            train_s=trained.train_s,
            plan="; ".join([str(trained.plan), *job.happened]),
        )

    def _failed(self, job: Job, error: Exception) -> None:
        reason = str(error) if isinstance(error, CpmodelError) else f"{type(error).__name__}: {error}"
        self._say(seat=job.seat, event="failed", reason=reason)


def _outcome(trained: Trained, job: Job) -> dict[str, Any]:
    """The precision of a training and how it is known: measured, or foreseen where it was stopped."""
    done, epochs = len(trained.curve), job.recipe.epochs
    forecast = None if job.stopping is None or done == epochs else job.stopping.forecast(trained.curve)
    if forecast is None:
        return {"precision": trained.validation.precision, "metrics": dict(trained.validation.figures)}
    return {
        "precision": forecast.precision,
        "precision_sd": forecast.sd,
        "status": "stopped",
        "reason": f"extrapolated from {done} of {epochs} epochs",
    }
