"""The record of a study: an Optuna storage that holds its settings, its queue and its samples.

What it guarantees, whatever process is killed when:

- a sample that was recorded is never lost, and none is recorded twice;
- a training that was claimed by a process that died is claimed again by the next one that asks;
- a queue is written whole before its first training, so an interrupted study goes on as planned;
- processes that share the folder (or, through a server storage, the study) never train one identity twice.

Every training is an Optuna trial (value: validation precision; intermediate values: its curve), so
optuna-dashboard and Optuna's own tools open a study as it is.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from cpmodel.errors import CpmodelError, StudyError
from cpmodel.interrupts import deferred
from cpmodel.locks import locked
from cpmodel.records.sample import Purpose, Request, Sample, Start, identity
from cpmodel.records.settings import Settings
from cpmodel.samples import Samples
from cpmodel.space import Parameter, Space

BEAT_S = 20.0  # how often a busy process shows that it lives
DEAD_S = 180.0  # silence after which a process of another machine counts as dead
RACE_S = 1.0  # within this, a machine that claims a training through a server has said so
CLOCK_S = 2.0  # a process's time of birth may shift by so much when the clock is set

_TASK = "cpmodel:task"
_SAMPLE = "cpmodel:sample"
_WORKER = "cpmodel:worker"
_ATTEMPTS = "cpmodel:attempts"
_SETTINGS = "cpmodel:settings"


@dataclass(frozen=True)
class Claim:
    """A training that this process has taken on, to be answered by `record` or `release`."""

    trial_id: int
    request: Request
    attempts: int


class Store:
    """One study, open for reading and writing; make it with `create` or `open`.

    Parameters
    ----------
    folder : Path
        Where its files are.
    storage_url : str
        Where its record is.
    """

    def __init__(self, folder: Path, storage: BaseStorage, storage_url: str, study_id: int) -> None:
        self.folder = folder
        self.storage_url = storage_url
        self._storage = storage
        self._study_id = study_id
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
        try:
            self.settings = Settings.from_dict(attributes[_SETTINGS])
        except (KeyError, TypeError, ValueError) as error:
            raise StudyError(
                "settings of another kind",
                expected="those of this version",
                got=repr(error),
                where=storage_url,
            ) from error

    @classmethod
    def create(cls, folder: str | Path, settings: Settings, storage: str | None = None) -> Store:
        """The study in `folder`, made if there is none.

        Raises
        ------
        StudyError
            The folder or the storage cannot be used, or holds a study with other settings.
        """
        place, url = _place(folder, storage)
        try:
            place.mkdir(parents=True, exist_ok=True)
            with locked(place / "claim.lock"), deferred():
                backend = _backend(url)
                with _readable(url):
                    study_id = _study_in(backend, place, storage)
                    if study_id is None:
                        study_id = backend.create_new_study([StudyDirection.MAXIMIZE], place.name)
                    if _SETTINGS not in backend.get_study_user_attrs(study_id):
                        backend.set_study_user_attr(study_id, _SETTINGS, settings.to_dict())
        except OSError as error:
            raise StudyError(f"cannot use the folder: {error.strerror}", where=str(place)) from error
        study = cls(place, backend, url, study_id)
        study._require(settings)
        study.enqueue([])
        return study

    @classmethod
    def open(cls, folder: str | Path, storage: str | None = None) -> Store:
        """The study that `folder` holds.

        Raises
        ------
        StudyError
            There is none, or it cannot be read.
        """
        place, url = _place(folder, storage)
        if storage is None and not (place / "study.db").exists():
            raise StudyError("no study here", expected="a folder with study.db", where=str(place))
        if not _file_there(url):  # connecting would make it
            raise StudyError("no record there", expected="one that cpmodel sample or run has made", where=url)
        lock = place / "claim.lock"
        # whoever makes the study holds the lock until it is whole
        with locked(lock) if lock.exists() else nullcontext(), deferred():
            backend = _backend(url)
            with _readable(url):
                study_id = _study_in(backend, place, storage)
        if study_id is None:
            raise StudyError("no study of that name", expected=f"'{place.name}' in the storage", where=url)
        return cls(place, backend, url, study_id)

    def _require(self, settings: Settings) -> None:
        """Refuse to mix samples that cannot be compared."""
        for name, here in self.settings.to_dict().items():
            there = settings.to_dict()[name]
            if here != there and name != "dataset":
                if name == "space":
                    here, there = _spelled(self.settings.space), _spelled(settings.space)
                if isinstance(here, dict) and isinstance(there, dict):
                    here, there = _differing(here, there)
                raise StudyError(
                    f"the study there has another {name}",
                    expected=f"{here} (or another folder)",
                    got=there,
                    where=str(self.folder),
                )

    # what is there

    @property
    def weights(self) -> Path:
        """Folder of the weights of verified networks."""
        return self.folder / "weights"

    def samples(self, purposes: Iterable[str] | None = None) -> Samples:
        """All samples, failed ones too, in the order in which they were asked for."""
        wanted = None if purposes is None else set(purposes)
        rows = [
            _sample(t.user_attrs[_SAMPLE])
            for t in self._trials()
            if _SAMPLE in t.user_attrs  # its trial may not be closed yet, if its process was killed just then
        ]
        return Samples.of(self.settings.space, [s for s in rows if wanted is None or s.purpose in wanted])

    def open_requests(self, purposes: Collection[str] | None = None) -> list[Request]:
        """Trainings asked for (of these purposes, if given) and not yet recorded, in order."""
        trials = (t for t in self._trials() if not t.state.is_finished() and _SAMPLE not in t.user_attrs)
        return [r for r in map(_request, trials) if purposes is None or r.purpose in purposes]

    def _trials(self) -> list[FrozenTrial]:
        with self._guarded():
            trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        return sorted((t for t in trials if _TASK in t.user_attrs), key=lambda t: t.number)

    # asking

    def enqueue(self, requests: Iterable[Request]) -> int:
        """Ask for trainings; those already asked for or done are left out.

        Returns
        -------
        int
            How many were new.
        """
        with locked(self.folder / "claim.lock"):
            # the plan is one write, its trials are many: what a crash cut off is completed by the next call
            known = {self._identity(t) for t in self._trials()}
            planned = self.note("queue") or []
            wanted: dict[str, Request] = {}
            for asked in [*map(_request_of, planned), *requests]:
                request = replace(asked, configuration=self.settings.space.validated(asked.configuration))
                key = self._request_identity(request)
                if key not in known:
                    wanted.setdefault(key, request)
            if wanted:
                self.keep("queue", [asdict(r) for r in wanted.values()])
            for key, request in wanted.items():
                parameters = dict(request.configuration)
                template = optuna.trial.create_trial(
                    state=TrialState.WAITING,
                    params=parameters,
                    distributions={name: _distribution(self.settings.space[name]) for name in parameters},
                    user_attrs={
                        _TASK: {**asdict(request), "identity": key},
                        "seed": request.seed,
                        "purpose": request.purpose,
                    },
                )
                with self._guarded():
                    self._storage.create_new_trial(self._study_id, template)
        return len(wanted)

    def _request_identity(self, request: Request) -> str:
        s = self.settings
        return identity(
            request.configuration,
            request.seed,
            family=s.family,
            data=s.data,
            recipe=s.recipe.hash,
            start=request.start,
        )

    @staticmethod
    def _identity(trial: FrozenTrial) -> str:
        return str(trial.user_attrs[_TASK]["identity"])

    # doing

    def claim(self, purposes: Collection[str] | None = None) -> Claim | None:
        """The next training nobody living is at, now this process's; None if there is none.

        Parameters
        ----------
        purposes : collection of str, optional
            Only trainings asked for with one of these.
        """
        with locked(self.folder / "claim.lock"), self._guarded():
            taken: set[str] = set()
            for trial in self._trials():
                key = self._identity(trial)
                if key in taken:  # two machines asked for it at once; the first one counts
                    if trial.state == TrialState.WAITING:
                        self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                    continue
                taken.add(key)
                if purposes is not None and _request(trial).purpose not in purposes:
                    continue
                if trial.state == TrialState.RUNNING and _SAMPLE in trial.user_attrs:
                    with suppress(UpdateFinishedTrialError):  # its own process is quicker
                        self._finish(trial._trial_id, _sample(trial.user_attrs[_SAMPLE]))
                elif trial.state == TrialState.WAITING:
                    if self._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                        return self._taken(trial)
                elif trial.state == TrialState.RUNNING and not self._alive(trial.user_attrs.get(_WORKER)):
                    claim = self._taken_over(trial)
                    if claim is not None:
                        return claim
        return None

    def _taken(self, trial: FrozenTrial) -> Claim:
        claim = Claim(trial._trial_id, _request(trial), int(trial.user_attrs.get(_ATTEMPTS, 0)))
        self.beat([claim])
        return claim

    def _taken_over(self, trial: FrozenTrial) -> Claim | None:
        """The training of a process that died; None if another machine is at it after all.

        Processes that share the folder hold its lock; machines that share a server's storage may race.
        """
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
            self._storage.set_trial_user_attr(
                claim.trial_id, _SAMPLE, {**asdict(sample), "curve": list(sample.curve)}
            )
            self._finish(claim.trial_id, sample)

    def _finish(self, trial_id: int, sample: Sample) -> None:
        if sample.precision is None:
            self._storage.set_trial_user_attr(trial_id, "reason", sample.reason)
            self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
        else:
            self._storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [sample.precision])

    def release(self, claim: Claim, *, failed_attempt: bool = False) -> None:
        """Give a training back untrained; `failed_attempt` counts against it."""
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
        with deferred(), _readable(self.storage_url):
            yield


def _place(folder: str | Path, storage: str | None) -> tuple[Path, str]:
    place = Path(folder).resolve()
    if storage is not None:
        return place, storage
    inside = str(place / "study.db")
    url = URL.create("sqlite", database=inside).render_as_string()
    if make_url(url).database != inside:
        raise StudyError("folder", expected="a path that an SQLite URL can hold", where=str(place))
    return place, url.replace("{", "{{").replace("}", "}}")  # Optuna fills in what stands in single braces


def _study_in(backend: BaseStorage, place: Path, storage: str | None) -> int | None:
    """The study's number: in a storage of many the one named as the folder, in the folder's own the only one.

    So a study's folder may be moved and renamed.
    """
    known = {s.study_name: s._study_id for s in backend.get_all_studies()}
    if storage is None and len(known) == 1:
        return next(iter(known.values()))
    return known.get(place.name)


def _file_there(url: str) -> bool:
    """Whether the file of an SQLite URL exists; True for storages that are no file."""
    if not url.startswith("sqlite"):
        return True
    with _readable(url):
        name = make_url(url.replace("{{", "{").replace("}}", "}")).database
    return not name or name == ":memory:" or name.startswith("file:") or Path(name).exists()


def _backend(url: str) -> BaseStorage:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _readable(url):
        if url.startswith("sqlite"):
            storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})
            return optuna.storages.get_storage(storage)
        return optuna.storages.get_storage(url)


@contextmanager
def _readable(url: str) -> Iterator[None]:
    """One clear error for whatever a database may say."""
    try:
        yield
    except CpmodelError:
        raise
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StudyError(f"the study's record cannot be used: {cause}", where=url) from error
    except UpdateFinishedTrialError:
        raise
    except (ImportError, ValueError, LookupError, RuntimeError) as error:
        said = str(error).splitlines() or [type(error).__name__]
        raise StudyError(f"the study's record cannot be used: {said[0]}", where=url) from error


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


def _request(trial: FrozenTrial) -> Request:
    return _request_of(trial.user_attrs[_TASK])


def _request_of(task: Mapping[str, Any]) -> Request:
    start = Start(**task["start"]) if "start" in task else Start()
    return Request(dict(task["configuration"]), int(task["seed"]), Purpose(task["purpose"]), start)


def _sample(fields: Mapping[str, Any]) -> Sample:
    kept = {k: v for k, v in fields.items() if k != "parent"}
    kept["start"] = Start(**kept["start"]) if "start" in kept else Start()
    return Sample(**{**kept, "curve": tuple(kept["curve"]), "purpose": Purpose(kept["purpose"])})


def _differing(here: Mapping[str, Any], there: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    names = [n for n in here if here[n] != there.get(n)]
    return {n: here[n] for n in names}, {n: there.get(n) for n in names}


def _spelled(space: Space) -> dict[str, str]:
    """A space as short texts, one a parameter."""
    rows = {p.name: " ".join(map(str, p.values)) + (f" {p.when}" if p.when else "") for p in space.parameters}
    return {**rows, "baseline": space.key(space.baseline)}
