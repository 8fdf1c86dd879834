"""The record of a study: an Optuna storage that holds its settings, its queue and its samples.

What it guarantees, whatever process is killed when:

- a sample that was recorded is never lost, and none is recorded twice;
- a training that was claimed by a process that died is claimed again by the next one that asks;
- a queue is written whole before its first training, so an interrupted study goes on as planned;
- processes that share the folder (or, through a server storage, the study) never train one identity twice.

Every training is an Optuna trial (value: validation precision; intermediate values: points of its curve), so
optuna-dashboard and Optuna's own tools open a study as it is.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from cpmodel.codec import dump
from cpmodel.datasets.base import ImageSet, whole_hash
from cpmodel.errors import BadInputError, StudyError
from cpmodel.interrupts import deferred
from cpmodel.locks import locked
from cpmodel.records.sample import FRESH, TRAINABLE, Purpose, Request, Sample, identity, request_of, sample_of
from cpmodel.records.settings import FORMAT, Settings, settings_of
from cpmodel.records.storage import backend_of, file_there, place_of, readable, study_in
from cpmodel.samples import Samples
from cpmodel.space import Parameter, Space

BEAT_S = 20.0  # how often a busy process shows that it lives
DEAD_S = 180.0  # silence after which a process of another machine counts as dead
RACE_S = 1.0  # within this, a machine that claims a training through a server has said so
CLOCK_S = 2.0  # a process's time of birth may shift by so much when the clock is set

OPENINGS = "openings"  # the note of every opening of a test split, see `cpmodel.pipeline.proof`
TEST_LOCK = "test.lock"  # held while a test split is opened, or another takes its place

_TASK = "cpmodel:task"
_SAMPLE = "cpmodel:sample"
_WORKER = "cpmodel:worker"
_ATTEMPTS = "cpmodel:attempts"
_SETTINGS = "cpmodel:settings"

_CALLED = {"test": "test split"}  # fields of the settings as errors name them


@dataclass(frozen=True)
class Claim:
    """A training that this process has taken on, to be answered by `record` or `release`."""

    trial_id: int
    request: Request
    attempts: int


class Store:
    """One study, open for reading and writing; make it with `create` or `open`."""

    def __init__(self, folder: Path, storage: BaseStorage, storage_url: str, study_id: int) -> None:
        self.folder, self.storage_url = folder, storage_url
        self._storage, self._study_id = storage, study_id
        self._asked: dict[int, tuple[Request, str]] = {}  # by trial, each with its identity
        self._waiting: list[FrozenTrial] = []  # when they were last looked at, in order
        self._me = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "born": _born(os.getpid()),
            "token": uuid.uuid4().hex,
        }
        with self._guarded():
            attributes = storage.get_study_user_attrs(study_id)
        if _SETTINGS not in attributes:
            raise StudyError("not a cpmodel study", expected="settings in it", where=storage_url)
        self.settings = settings_of(attributes[_SETTINGS], storage_url)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        settings: Settings,
        storage: str | BaseStorage | None = None,
        images: ImageSet | None = None,
    ) -> Store:
        """The study in `folder`, made if there is none; one with other settings is refused.

        Its record is in an Optuna storage, or the one of a URL; by default in a file in the folder. The
        images are those of the settings, by which a study of an older format is known.
        """
        place, url = place_of(folder, storage)
        try:
            place.mkdir(parents=True, exist_ok=True)
            with locked(place / "claim.lock"), deferred():
                backend = backend_of(storage or url)
                with readable(url):
                    study_id = study_in(backend, place, storage)
                    if study_id is None:
                        study_id = backend.create_new_study([StudyDirection.MAXIMIZE], place.name)
                    if _SETTINGS not in backend.get_study_user_attrs(study_id):
                        backend.set_study_user_attr(study_id, _SETTINGS, dump(settings))
        except OSError as error:
            raise StudyError(f"cannot use the folder: {error.strerror}", where=str(place)) from error
        study = cls(place, backend, url, study_id)
        if images is not None:
            study._learn(images)
        study._require(settings)
        study.enqueue([])
        return study

    @classmethod
    def open(cls, folder: str | Path, storage: str | BaseStorage | None = None) -> Store:
        """The study that `folder` holds."""
        place, url = place_of(folder, storage)
        if storage is None and not (place / "study.db").exists():
            raise StudyError("no study here", expected="a folder with study.db", where=str(place))
        if not file_there(url):  # connecting would make it
            raise StudyError("no record there", expected="one that cpmodel sample or run has made", where=url)
        lock = place / "claim.lock"
        # whoever makes the study holds the lock until it is whole
        with locked(lock) if lock.exists() else nullcontext(), deferred():
            backend = backend_of(storage or url)
            with readable(url):
                study_id = study_in(backend, place, storage)
        if study_id is None:
            raise StudyError("no study of that name", expected=f"'{place.name}' in the storage", where=url)
        return cls(place, backend, url, study_id)

    def _require(self, settings: Settings) -> None:
        """Refuse to mix samples that cannot be compared."""
        kept, given = dump(self.settings), dump(settings)
        for name, here in kept.items():
            there = given[name]
            if here == there or name in ("dataset", "format"):
                continue
            if name == "space":
                here, there = _spelled(self.settings.space), _spelled(settings.space)
            if isinstance(here, dict):
                here, there = _differing(here, there)
            what, expected = f"another {_CALLED.get(name, name)}", f"{here} (or another folder)"
            raise StudyError(
                f"the study there has {what}", expected=expected, got=there, where=str(self.folder)
            )

    def accept(self, images: ImageSet) -> None:
        """Make sure that these are the study's images, as they were when it was made.

        Only the test split may be another one, and only where the images name the study's among those whose
        place theirs has taken, `ImageSet.earlier`. So somebody meant it; images that have changed by accident
        are refused. No training sees a test image, so every sample stays. What was opened stays on record
        under the hash of its split, and counts when the stated error is shared, see `cpmodel.pipeline.proof`.
        """
        self._learn(images)
        s, got = self.settings, (images.data_hash, images.test_hash)
        if got != (s.data, s.test):
            what = f"the images of '{s.dataset}' are others than when the study was made"
            expected = " and ".join(filter(None, ("content " + s.data, s.test)))
            here = " and ".join(got) if s.test else whole_hash(images)
            raise StudyError(what, expected=expected, got=here, where=str(self.folder))

    def _learn(self, images: ImageSet) -> None:
        """Bring the settings to today's format and test split, if the study was made of these images."""
        known = [images, *(replace(images, test=split) for split in images.earlier)]
        then = next(filter(self._made_of, known), None)
        if then is None or (then is images and self.settings.format == FORMAT):
            return
        with locked(self.folder / TEST_LOCK):
            # openings first: a crash between the two writes leaves each with the split that it was of
            opened = self.note(OPENINGS) or []
            self.keep(OPENINGS, [{"split": then.test_hash, **each} for each in opened])
            new = self.settings.of_today(images)
            with self._guarded():
                self._storage.set_study_user_attr(self._study_id, _SETTINGS, dump(new))
        self.settings = new
        self._asked.clear()

    def _made_of(self, images: ImageSet) -> bool:
        """Whether the settings are those of a study of just these images."""
        s = self.settings
        if s.format == 1:
            return whole_hash(images) == s.data
        return (images.data_hash, images.test_hash) == (s.data, s.test)

    # what is there

    def identity_of(self, request: Request | Sample) -> str:
        """What makes a training of this study the one it is; see `identity`."""
        s = self.settings
        return identity(
            request.configuration,
            request.seed,
            family=s.family,
            data=s.data,
            recipe=s.recipe_for(request.configuration).hash,
            start=request.start,
        )

    def weights_of(self, request: Request | Sample) -> Path:
        """Where the weights of a training are or are to be; format 1 named them by configuration and seed."""
        folder = self.folder / "weights"
        path = folder / f"{self.identity_of(request)}.pt"
        old = folder / f"{self.settings.space.key(request.configuration)}_seed{request.seed}.pt"
        return old if request.start == FRESH and old.exists() and not path.exists() else path

    def samples(self, purposes: Iterable[Purpose] | None = None) -> Samples:
        """All samples, failed ones too, in the order in which they were asked for."""
        wanted = set(Purpose if purposes is None else purposes)
        # a trial with a sample may not be closed yet, if its process was killed just then
        rows = [self._sample(t) for t in self._trials() if _SAMPLE in t.user_attrs]
        return Samples.of(self.settings.space, [s for s in rows if s.purpose in wanted])

    def _sample(self, trial: FrozenTrial) -> Sample:
        """A sample with the names that its study's data and recipe have today."""
        sample, s = sample_of(trial.user_attrs[_SAMPLE]), self.settings
        return replace(sample, data=s.data, recipe=s.recipe_for(sample.configuration).hash)

    def open_requests(self, purposes: Collection[Purpose] | None = None) -> list[Request]:
        """Trainings asked for (of these purposes, if given) and not yet recorded, in order."""
        trials = (t for t in self._trials() if not t.state.is_finished() and _SAMPLE not in t.user_attrs)
        return [request for request, _ in map(self._of, trials) if _wanted(request, purposes)]

    def _of(self, trial: FrozenTrial) -> tuple[Request, str]:
        """What a trial was asked for, and its identity; neither changes while the settings are the same."""
        if trial._trial_id not in self._asked:
            request = request_of(trial.user_attrs[_TASK])
            self._asked[trial._trial_id] = request, self.identity_of(request)
        return self._asked[trial._trial_id]

    def _trials(self) -> list[FrozenTrial]:
        with self._guarded():
            trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        return sorted((t for t in trials if _TASK in t.user_attrs), key=lambda t: t.number)

    # asking

    def unasked(self, requests: Iterable[Request]) -> tuple[list[Request], int]:
        """Those that nobody has asked for yet, and how many trainings have been asked for."""
        there = {self._of(t)[1] for t in self._trials()}
        return [request for request in requests if self.identity_of(request) not in there], len(there)

    def enqueue(self, requests: Iterable[Request]) -> int:
        """Ask for trainings; those already asked for or done are left out. Returns how many were new."""
        asked = list(requests)
        for request in asked:
            if request.start.kind not in TRAINABLE:
                known = " or ".join(TRAINABLE)
                raise BadInputError("the start of a training", expected=known, got=request.start.kind)
        with locked(self.folder / "claim.lock"):
            # the plan is one write, its trials are many: what a crash cut off is completed by the next call
            there = {self._of(t)[1] for t in self._trials()}
            planned = self.note("queue") or []
            wanted: dict[str, Request] = {}
            for given in [*map(request_of, planned), *asked]:
                request = replace(given, configuration=self.settings.space.validated(given.configuration))
                key = self.identity_of(request)
                if key not in there:
                    wanted.setdefault(key, request)
            if wanted:
                self.keep("queue", [dump(r) for r in wanted.values()])
            for key, request in wanted.items():
                parameters = dict(request.configuration)
                template = optuna.trial.create_trial(
                    state=TrialState.WAITING,
                    params=parameters,
                    distributions={name: _distribution(self.settings.space[name]) for name in parameters},
                    user_attrs={
                        _TASK: {**dump(request), "identity": key},
                        "seed": request.seed,
                        "purpose": str(request.purpose),
                    },
                )
                with self._guarded():
                    self._storage.create_new_trial(self._study_id, template)
        return len(wanted)

    # doing

    def claim(self, purposes: Collection[Purpose] | None = None) -> Claim | None:
        """The next training (of these purposes, if given) nobody living is at, now this process's."""
        with locked(self.folder / "claim.lock"), self._guarded():
            return self._claim_known(purposes) or self._claim_any(purposes)

    def _claim_known(self, purposes: Collection[Purpose] | None) -> Claim | None:
        """One of those that were waiting at the last look at all: that look costs time for each of them."""
        for place, trial in enumerate(self._waiting):
            if not _wanted(self._of(trial)[0], purposes):
                continue
            self._waiting = self._waiting[:place] + self._waiting[place + 1 :]
            with suppress(UpdateFinishedTrialError):  # another process has done it meanwhile
                if self._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                    return self._taken(trial)
            return None
        return None

    def _claim_any(self, purposes: Collection[Purpose] | None) -> Claim | None:
        """The first of all; notes what waits behind it, unless a process gave up something there."""
        claim: Claim | None = None
        waiting: list[FrozenTrial] = []
        self._waiting = []
        for trial in self._first_asked():
            running = trial.state == TrialState.RUNNING
            if trial.state == TrialState.WAITING:
                free = claim is None and _wanted(self._of(trial)[0], purposes)
                if not free:
                    waiting.append(trial)
                elif self._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                    claim = self._taken(trial)
            elif running and _SAMPLE in trial.user_attrs:
                with suppress(UpdateFinishedTrialError):  # its own process is quicker
                    self._finish(trial._trial_id, self._sample(trial))
            elif running and not self._alive(trial.user_attrs.get(_WORKER)):
                if claim is not None:
                    return claim
                if _wanted(self._of(trial)[0], purposes):
                    claim = self._taken_over(trial)
        self._waiting = waiting
        return claim

    def _first_asked(self) -> Iterator[FrozenTrial]:
        """All trials; where two machines asked for the same at once, the first one counts."""
        taken: set[str] = set()
        for trial in self._trials():
            key = self._of(trial)[1]
            if key not in taken:
                taken.add(key)
                yield trial
            elif trial.state == TrialState.WAITING:
                self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    def _taken(self, trial: FrozenTrial) -> Claim:
        claim = Claim(trial._trial_id, self._of(trial)[0], int(trial.user_attrs.get(_ATTEMPTS, 0)))
        self.beat([claim])
        return claim

    def _taken_over(self, trial: FrozenTrial) -> Claim | None:
        """The training of a process that died; None if another machine is at it after all."""
        # processes that share the folder hold its lock; machines that share a server's storage may race
        if self.storage_url.startswith("sqlite"):
            return self._taken(trial)
        time.sleep(RACE_S)  # whoever has just claimed it may not have said so yet
        seen = self._storage.get_trial(trial._trial_id)
        if seen.state != TrialState.RUNNING or self._alive(seen.user_attrs.get(_WORKER)):
            return None
        claim = self._taken(seen)
        time.sleep(RACE_S)
        worker = self._storage.get_trial(trial._trial_id).user_attrs.get(_WORKER)
        return claim if worker and worker["token"] == self._me["token"] else None

    def beat(self, claims: Iterable[Claim]) -> None:
        """Show that this process is alive and at work on `claims`; due every `BEAT_S` seconds."""
        for claim in claims:
            with self._guarded(), suppress(UpdateFinishedTrialError):
                worker = {**self._me, "beat": time.time()}
                self._storage.set_trial_user_attr(claim.trial_id, _WORKER, worker)

    def _alive(self, worker: Mapping[str, Any] | None) -> bool:
        if worker is None:
            return False
        if worker["token"] == self._me["token"]:
            return True
        if worker["host"] != self._me["host"]:
            return bool(time.time() - worker["beat"] < DEAD_S)
        born = _born(worker["pid"])
        return born is not None and abs(born - worker["born"]) < CLOCK_S

    def progress(self, claim: Claim, epoch: int, precision: float) -> None:
        """Note one point of the learning curve of a training in hand."""
        with self._guarded(), suppress(UpdateFinishedTrialError):
            self._storage.set_trial_intermediate_value(claim.trial_id, epoch, precision)

    def record(self, claim: Claim, sample: Sample) -> None:
        """Keep the outcome of a claimed training: from here on it is never lost.

        If this process counted as dead meanwhile (its machine slept, say) and another one has recorded the
        training, that record stays.
        """
        with self._guarded(), suppress(UpdateFinishedTrialError):
            self._storage.set_trial_user_attr(claim.trial_id, _SAMPLE, dump(sample))
            self._finish(claim.trial_id, sample)

    def _finish(self, trial_id: int, sample: Sample) -> None:
        if sample.precision is None:
            self._storage.set_trial_user_attr(trial_id, "reason", sample.reason)
            self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
        else:
            self._storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [sample.precision])

    def release(self, claim: Claim, *, failed_attempt: bool = False) -> None:
        """Give a training back untrained; `failed_attempt` counts against it."""
        self._waiting = []
        with self._guarded(), suppress(UpdateFinishedTrialError):
            if failed_attempt:
                self._storage.set_trial_user_attr(claim.trial_id, _ATTEMPTS, claim.attempts + 1)
            self._storage.set_trial_user_attr(claim.trial_id, _WORKER, None)

    # notes kept with the study (verdicts, say)

    def note(self, name: str) -> Any:
        """What was kept under `name`, or None."""
        with self._guarded():
            return self._storage.get_study_user_attrs(self._study_id).get(f"cpmodel:{name}")

    def keep(self, name: str, value: Any) -> None:
        """Keep a JSON-ready value under `name`."""
        with self._guarded():
            self._storage.set_study_user_attr(self._study_id, f"cpmodel:{name}", value)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with deferred(), readable(self.storage_url):
            yield


def _born(pid: int) -> float | None:
    """When a process of this machine started; with its number it is unique. None if it is there no more."""
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None  # killed, and nobody has asked for its status
        return float(process.create_time())
    except psutil.Error:
        return None


def _distribution(parameter: Parameter) -> BaseDistribution:
    """How Optuna sees a parameter; its own values need not be all that lie between the bounds."""
    if parameter.categorical:
        return CategoricalDistribution(parameter.values)
    low, high = parameter.values[0], parameter.values[-1]
    if all(isinstance(v, int) for v in parameter.values):
        return IntDistribution(int(low), int(high))
    return FloatDistribution(float(low), float(high))


def _wanted(request: Request, purposes: Collection[Purpose] | None) -> bool:
    """Whether a training is one of those looked for, and one that can be done."""
    return request.start.kind in TRAINABLE and (purposes is None or request.purpose in purposes)


def _differing(here: Mapping[str, Any], there: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    names = [n for n in here if here[n] != there.get(n)]
    return {n: here[n] for n in names}, {n: there.get(n) for n in names}


def _spelled(space: Space) -> dict[str, str]:
    """A space as short texts, one a parameter."""
    rows = {p.name: " ".join(map(str, p.values)) + (f" {p.when}" if p.when else "") for p in space.parameters}
    return {**rows, "baseline": space.key(space.baseline)}
