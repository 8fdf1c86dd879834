"""The workers of one process: they train what the study's queue holds; each outcome is recorded at once."""

from __future__ import annotations

import json
import math
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self

from cpmodel.codec import dump
from cpmodel.cost import available_cores
from cpmodel.datasets.base import ImageSet
from cpmodel.errors import CpmodelError
from cpmodel.metrics import get_metric
from cpmodel.recipe import Recipe
from cpmodel.records.sample import Purpose, Request, Sample
from cpmodel.records.store import BEAT_S, Claim, Store
from cpmodel.training.early import Rule, Stopping
from cpmodel.training.jobs import Job, Setup

ATTEMPTS = 2  # a training during which its worker dies is tried once more, then recorded as failed
PLACES = 8  # trainings at once on one GPU, unless told: one H100 does no more with 16 or 32
NOTE_S = 0.25  # points of a curve are written no closer, for whoever looks on; the sample has them all
POLL_S = 0.5  # how often a process with nothing to claim looks whether others have finished


@dataclass(frozen=True)
class Event:
    """Something that happened, for whoever draws the progress."""

    kind: Literal["started", "epoch", "recorded", "waiting"]  # waiting: others have the rest in hand
    request: Request | None = None
    epoch: int = 0
    precision: float = 0.0  # after that epoch
    sample: Sample | None = None  # what was recorded


OnEvent = Callable[[Event], None]

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # what CUDA's library of products needs to give the same bits again
    "CUDA_DEVICE_MAX_CONNECTIONS": "32",  # streams that do not wait for each other
}


@dataclass
class _Worker:
    """A child process, or one seat of a process that trains several at once; and the training it is at."""

    process: subprocess.Popen[str]
    log: IO[bytes]
    device: str = "cpu"
    seat: int = 0
    claim: Claim | None = None
    ready: bool = False
    begun: bool = False
    noted: float = -math.inf  # when a point of its training's curve was written last
    started: float = field(default_factory=time.monotonic)

    def send(self, message: dict[str, Any]) -> None:
        """Hand over one JSON line; a worker that is gone is noticed when its output ends."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()


class Pool:
    """Trains requests of a study with some worker processes; use it as a context.

    Unless they are `full`, trainings whose end can be foreseen (see `early`) may stop there, but for those
    whose networks are kept or whose recipe has a patience of its own. What trains is the processor, with a
    process for each training; or GPUs, with one process for each, which does as many trainings at once as
    there is memory for.
    """

    def __init__(
        self,
        study: Store,
        images: ImageSet,
        workers: int | None = None,
        on_event: OnEvent | None = None,
        *,
        full: bool = False,
        devices: Sequence[str] = ("cpu",),
    ) -> None:
        self.study, self.images = study, images
        self.size, self._devices = workers or default_workers(devices), tuple(devices)
        self._tell = on_event or (lambda event: None)
        self._workers: list[_Worker] = []
        self._events: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue()
        self._last_beat = time.monotonic()
        self._stops = not full and study.settings.recipe.patience is None
        self._rule: Rule | None = None
        self._rule_is_old = self._stops

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.wait()
            worker.log.close()
            if worker.claim is not None:
                self.study.release(worker.claim)
        self._workers.clear()

    def drain(self, deadline: float | None = None, purposes: Collection[Purpose] | None = None) -> None:
        """Train until the queue is empty and whatever other processes had in hand is recorded too.

        After the deadline, by `time.monotonic()`, nothing new is started; what is in hand is finished.
        Trainings asked for with other purposes, where some are given, stay in the queue.
        """
        waiting = False
        while True:
            late = deadline is not None and time.monotonic() >= deadline
            exhausted = late or not self._assign(purposes)
            if exhausted and not any(w.claim for w in self._workers):
                if late or not self.study.open_requests(purposes):
                    return
                if not waiting:
                    self._tell(Event("waiting"))
                waiting = True
            self._handle(timeout=POLL_S)
            if time.monotonic() - self._last_beat > BEAT_S:
                self.study.beat([w.claim for w in self._workers if w.claim])
                self._last_beat = time.monotonic()

    def _assign(self, purposes: Collection[Purpose] | None) -> bool:
        """Give every idle worker a training; False when there was none to give."""
        while True:
            idle = next((w for w in self._workers if w.claim is None), None)
            if idle is None and len(self._workers) >= self.size:
                return True
            claim = self.study.claim(purposes)
            if claim is None:
                return False
            try:
                worker = idle or self._spawn()
            except BaseException:
                self.study.release(claim)
                raise
            worker.claim, worker.started, worker.begun = claim, time.monotonic(), False
            worker.noted = -math.inf
            request, settings = claim.request, self.study.settings
            recipe = settings.recipe_for(request.configuration)
            job = Job(
                worker.seat,
                settings.space.network(request.configuration),
                request.seed,
                recipe,
                request.start,
                str(self.study.weights_of(request)) if request.purpose.keeps_weights else None,
                self._stopping(request, recipe),
                alone=claim.attempts > 0,  # whatever ended its process last time takes no other along
            )
            worker.send(dump(job))
            self._tell(Event("started", request))

    def _stopping(self, request: Request, recipe: Recipe) -> Stopping | None:
        """When a training may be stopped; None where it goes to its end."""
        settings = self.study.settings
        if request.purpose.keeps_weights:
            return None
        if self._rule_is_old:
            images = get_metric(settings.metric).images_told(self.images.validation.labels)
            self._rule = Rule.of(self.study.samples(), settings.recipe.epochs, images)
            self._rule_is_old = False
        # an axis may give a training another length, or a patience of its own
        like_others = recipe.epochs == settings.recipe.epochs and not recipe.watches_validation
        return self._rule.stopping(request.configuration) if self._rule and like_others else None

    def _spawn(self) -> _Worker:
        from cpmodel.datasets.cache import save_arrays

        settings = self.study.settings
        device, seats = self._next_device()
        images = save_arrays(self.images, self.study.folder / "cache")
        log = (self.study.folder / "workers.log").open("ab")
        # a session of its own: Ctrl-C reaches this process alone, which then decides what to do
        process = subprocess.Popen(
            [sys.executable, "-m", "cpmodel.training.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
            env={**os.environ, **_ENVIRONMENT},
        )
        workers = [_Worker(process, log, device, seat) for seat in range(seats)]
        self._workers += workers
        threading.Thread(target=self._listen, args=(workers,), daemon=True).start()
        folder = str(self.study.folder)
        setup = Setup(device, str(images), folder, settings.family, settings.recipe, settings.metric)
        workers[0].send(dump(setup))
        return workers[0]

    def _next_device(self) -> tuple[str, int]:
        """Where the next process trains, and how many at once."""
        if self._devices == ("cpu",):
            return "cpu", 1
        busy = {worker.device for worker in self._workers}
        index, device = next((i, name) for i, name in enumerate(self._devices) if name not in busy)
        # as many for each GPU; the first ones have one more where it does not come out even
        return device, -(-(self.size - index) // len(self._devices))

    def _listen(self, workers: list[_Worker]) -> None:
        """Queue what a process says; None when it is gone."""
        output = workers[0].process.stdout
        assert output is not None
        try:
            for line in output:
                said = json.loads(line)
                self._events.put((workers[said.pop("seat", 0)], said))
        except ValueError:  # its last line is cut off
            pass
        finally:
            self._events.put((workers[0], None))

    def _handle(self, timeout: float) -> None:
        """Deal with one thing that a worker said, if it says one in time."""
        try:
            worker, said = self._events.get(timeout=timeout)
        except queue.Empty:
            return
        if worker not in self._workers:
            return
        claim = worker.claim
        if said is None:
            self._bury(worker.process)
        elif said["event"] == "ready":
            for each in self._workers:
                each.ready = each.ready or each.process is worker.process
        elif claim is None:
            return
        elif said["event"] == "begun":
            worker.begun, worker.started = True, time.monotonic()
        elif said["event"] == "epoch":
            if time.monotonic() - worker.noted >= NOTE_S:
                self.study.progress(claim, said["epoch"], said["precision"])
                worker.noted = time.monotonic()
            self._tell(Event("epoch", claim.request, said["epoch"], said["precision"]))
        elif said["event"] == "done":
            del said["event"]
            self._record(worker, **{**said, "curve": tuple(said["curve"])})
        else:
            self._failed(worker, said["reason"])

    def _failed(self, worker: _Worker, reason: str) -> None:
        self._record(worker, precision=None, status="failed", reason=reason)

    def _record(self, worker: _Worker, **outcome: Any) -> None:
        claim = worker.claim
        assert claim is not None
        settings = self.study.settings
        outcome.setdefault("train_s", time.monotonic() - worker.started)
        sample = Sample(
            **vars(claim.request),
            family=settings.family,
            dataset=settings.dataset,
            data=settings.data,
            recipe=settings.recipe_for(claim.request.configuration).hash,
            **outcome,
        )
        self.study.record(claim, sample)
        worker.claim = None
        self._rule_is_old = self._rule_is_old or (self._stops and sample.status == "complete")
        self._tell(Event("recorded", claim.request, sample=sample, precision=sample.precision or 0.0))

    def _bury(self, process: subprocess.Popen[str]) -> None:
        """A process died: its trainings are tried once more, by another one, then recorded as failed."""
        code = process.wait()
        dead = [worker for worker in self._workers if worker.process is process]
        self._workers = [worker for worker in self._workers if worker.process is not process]
        dead[0].log.close()
        lost = [(worker, worker.claim) for worker in dead if worker.claim is not None]
        if lost and code > 0 and not dead[0].ready:  # whatever it is, it is no fault of a configuration
            for _, claim in lost:
                self.study.release(claim)
            log = Path(dead[0].log.name)
            said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            why = "".join(said[-1:])
            raise CpmodelError(f"a worker could not start (status {code}); see {log}: {why}")
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        for worker, claim in lost:
            if not worker.begun and any(each.begun for each, _ in lost):  # it was another's turn
                self.study.release(claim)
            elif claim.attempts + 1 < ATTEMPTS:
                self.study.release(claim, failed_attempt=True)
            else:
                self._failed(worker, f"the worker {how}, {ATTEMPTS} times")


def default_workers(devices: Sequence[str]) -> int:
    """Trainings at once: one a core, or `PLACES` a GPU."""
    return available_cores() if tuple(devices) == ("cpu",) else PLACES * len(devices)
