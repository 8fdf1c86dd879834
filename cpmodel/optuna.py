"""The search as an Optuna sampler: the cheapest configuration that reaches a precision."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from cpmodel.errors import BadInputError, FitError
from cpmodel.pipeline.fitting import fit_precision
from cpmodel.pipeline.options import Effort, Goal
from cpmodel.records.sample import Purpose, Sample
from cpmodel.samples import Samples, Status
from cpmodel.search.decide import Step, View, decide
from cpmodel.search.evidence import Evidence
from cpmodel.search.first import first_requests, first_size
from cpmodel.space import Configuration, Floats, Parameter, Space, distinct, rows_of

# Values that stand for a continuous range
_LEVELS = 33
_BASELINE_SEEDS = 2
_PURPOSE = "purpose"


class EnvelopeSampler(BaseSampler):
    """Searches the cheapest parameters whose objective reaches a target, their cost being known beforehand.

    It trains what has most to give (probability of reaching the target times the saving), then the cheapest
    that is likely to reach it several times more, and stops when one stands: the same decisions as
    `cpmodel run`. The objective is a precision, a fraction to be maximised; whatever is random in it should
    differ between trials (``trial.number`` is a good seed), for trials of equal parameters tell the noise.

    Everything is read from the study's trials, so that any storage will do, several processes may share one
    (running trials are accounted for), and a study goes on as it would have. Trials say in their user
    attribute ``purpose`` what they were for: ``baseline``, ``design``, ``refine`` or ``verify``.

    Parameters
    ----------
    cost : callable
        Parameters of a trial, without axes -> their cost, a number above 0; called once for each network
        that is looked at.
    target : value of the objective to be reached, in (0, 1]
    space : Space, optional
        The values that may be chosen, conditions and axes included. Unless given, those of the distributions
        that the trials suggest (at most 33 values of a range); parameters that not every trial has are then
        drawn at random.
    confidence : of the claim that the answer reaches the target, in [0.5, 1)
    budget : trials in all; half of them are kept for proof
    tolerance : the search ends when the expected further saving falls below this fraction of the cost
    model : a precision model
    candidates : configurations that are looked at; of a space with more, so many are drawn
    seed : same seed, same values, one process: same trials
    stop : whether to stop `Study.optimize` when the search is over

    Examples
    --------
    >>> import optuna, random
    >>> def macs(parameters):
    ...     return 7056 * parameters["width"] ** 2 * parameters["depth"]
    >>> def objective(trial):
    ...     width = trial.suggest_int("width", 4, 64, step=4)
    ...     depth = trial.suggest_int("depth", 1, 4)
    ...     luck = random.Random(trial.number).gauss(0, 0.002)
    ...     return 1 - 0.4 / width**0.5 - 0.1 / depth + luck
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> sampler = EnvelopeSampler(macs, target=0.87, budget=40)
    >>> study = optuna.create_study(sampler=sampler, direction="maximize")
    >>> study.optimize(objective, n_trials=40)
    >>> answer = sampler.answer(study)
    >>> print(answer.configuration, answer.mean >= 0.87, len(study.trials) < 40)
    {'width': 16, 'depth': 4} True True
    """

    def __init__(
        self,
        cost: Callable[[Configuration], float],
        target: float,
        *,
        space: Space | None = None,
        confidence: float = 0.9,
        budget: int = 60,
        tolerance: float = 0.05,
        model: str = "auto",
        candidates: int = 50_000,
        seed: int = 0,
        stop: bool = True,
    ) -> None:
        if candidates < 1:
            raise BadInputError("candidates", expected="one or more", got=candidates)
        # refused as the options of these names are
        goal, effort = Goal(target=target, confidence=confidence), Effort(budget=budget, tolerance=tolerance)
        self._asked: dict[str, Any] = {"target": goal.target, "confidence": goal.confidence}
        self._asked |= {"budget": effort.budget, "tolerance": effort.tolerance, "study_seed": seed}
        self._cost, self._space, self._most = cost, space, candidates
        self._model, self._seed, self._stop = model, seed, stop
        self._candidates: _Candidates | None = None
        self._decided: tuple[Any, Step | None] | None = None
        self._plans: dict[int, Configuration] = {}

    # what Optuna asks

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Empty: `before_trial` has planned the whole trial."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Empty, too."""
        return {}

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Plan the trial, and say what it is for."""
        if study.directions != [StudyDirection.MAXIMIZE]:
            raise BadInputError("study", expected="one objective, a precision to be maximised")
        if "fixed_params" in trial.system_attrs:
            return  # somebody else has planned it
        planned = self._planned(study, trial)
        if planned is not None:
            self._plans[trial.number] = planned[0]
        purpose = planned[1] if planned is not None else Purpose.BASELINE if _first(trial) else Purpose.DESIGN
        study._storage.set_trial_user_attr(trial._trial_id, _PURPOSE, str(purpose))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The planned value; the largest one of the first trials, by which the space becomes known."""
        plan = self._plans.get(trial.number)
        if plan is None and _first(trial):
            return _values(param_distribution)[0][-1]
        if plan is not None and param_name in plan and _holds(param_distribution, plan[param_name]):
            return plan[param_name]
        seed = zlib.crc32(f"{self._seed} {trial.number} {param_name}".encode())
        return RandomSampler(seed).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Stop the study if the search is over."""
        self._plans.pop(trial.number, None)
        if not self._stop:
            return
        trials = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        ended = copy(trial)
        ended.state, ended.value = state, None if values is None else values[0]
        record = self._record(sorted([*trials, ended], key=lambda t: t.number))
        if record is None or record.running or record.missing():
            return
        step = self._step(record, 1)
        if step is not None and step.action in ("prove", "stop"):
            # where trials are asked for and told one by one, whoever does that decides
            with suppress(RuntimeError):
                study.stop()

    # what people ask

    def state(self, study: Study) -> Step | None:
        """What the search would do next, and why: ``action``, ``reason``, ``outlook``; None without a fit."""
        record = self._record(study.get_trials(deepcopy=False))
        return None if record is None else self._step(record, 1)

    def answer(self, study: Study) -> Evidence | None:
        """The cheapest configuration that stood on fresh trials, with what they said; None if none did."""
        step = self.state(study)
        return None if step is None else step.evidence

    # how it decides

    def _planned(self, study: Study, trial: FrozenTrial) -> tuple[Configuration, Purpose] | None:
        """The parameters of a trial and what it is for; None while no space is known.

        Processes that ask at the same time take different rows of one and the same batch: each counts the
        running trials before its own that have no parameters yet.
        """
        others = [t for t in study.get_trials(deepcopy=False) if t.number < trial.number or t.params]
        record = self._record([t for t in others if t.number != trial.number])
        if record is None:
            return None
        missing = record.missing()
        if len(missing) > record.unplanned:
            return missing[record.unplanned]
        ahead = record.unplanned - len(missing)  # of those before it, that plan beyond the first design
        running = (*record.running, *(record.space.key(c) for c, _ in missing))
        step = self._step(replace(record, running=running), ahead + 1)
        if step is not None and step.evidence is not None:
            return step.evidence.configuration, Purpose.VERIFY
        if step is not None and (step.action == "verify" or len(step.requests) > ahead):
            request = step.requests[min(ahead, len(step.requests) - 1)]
            return request.configuration, request.purpose
        rng = np.random.default_rng([self._seed, trial.number])
        row = int(rng.integers(len(record.candidates.X)))
        return record.space.configurations(record.candidates.X[[row]])[0], Purpose.DESIGN

    def _record(self, trials: Sequence[FrozenTrial]) -> _Record | None:
        space = self._space or _inferred(trials)
        if space is None:
            return None
        if self._candidates is None or self._candidates.space != space:
            self._candidates = _Candidates.of(space, self._cost, self._most, self._seed)
        return _Record.of(self._candidates, trials, self._seed)

    def _step(self, record: _Record, count: int) -> Step | None:
        """What to do next; None while too little is known to fit a model."""
        key = (record.space, record.finished, record.running, count)
        if self._decided is None or self._decided[0] != key:
            try:
                model = fit_precision(record.samples, self._model).model
            except FitError:
                self._decided = key, None
            else:
                of, how = record.candidates, {"workers": count, "pending": record.running, **self._asked}
                self._decided = key, decide(View(of.space, record.samples, of.X, of.cost, model, **how))
        return self._decided[1]


@dataclass(frozen=True, eq=False)
class _Candidates:
    """What may be chosen, with its cost."""

    space: Space
    X: Floats
    cost: Floats

    @classmethod
    def of(cls, space: Space, cost: Callable[[Configuration], float], most: int, seed: int) -> _Candidates:
        X = space.candidates(most, rng=np.random.default_rng(seed))
        networks = distinct(space.networks_of(X))
        configurations = space.networks.configurations(networks)
        values = np.array([float(cost(c)) for c in configurations], dtype=np.float64)
        for row in np.flatnonzero(~(np.isfinite(values) & (values > 0))):
            key = space.networks.key(configurations[row])
            raise BadInputError(f"cost of {key}", expected="a number above 0", got=values[row])
        return cls(space, X, values[rows_of(networks, space.networks_of(X))])


@dataclass(frozen=True, eq=False)
class _Record:
    """The trials of a study as the search sees them."""

    candidates: _Candidates
    samples: Samples  # of the trials that ended, in order
    finished: tuple[int, ...]  # their numbers
    running: tuple[str, ...]  # keys of what is being trained
    unplanned: int  # running trials whose parameters are not known yet
    issued: Counter[tuple[str, Purpose]]  # how often each (key, purpose) was asked for
    seed: int

    @classmethod
    def of(cls, candidates: _Candidates, trials: Sequence[FrozenTrial], seed: int) -> _Record:
        space = candidates.space
        rows: list[Sample] = []
        finished: list[int] = []
        running: list[str] = []
        unplanned = 0
        issued: Counter[tuple[str, Purpose]] = Counter()
        for trial in trials:
            if trial.state == TrialState.WAITING:
                continue
            given = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
            try:
                configuration = space.validated({n: v for n, v in given.items() if n in space.names})
            except BadInputError:  # it is none of the space, or none yet
                unplanned += trial.state == TrialState.RUNNING and not set(space.names) <= set(given)
                continue
            known = trial.user_attrs.get(_PURPOSE)
            purpose = Purpose(known) if known in set(Purpose) else Purpose.DESIGN
            key = space.key(configuration)
            issued[key, purpose] += 1
            if trial.state == TrialState.RUNNING:
                running.append(key)
                continue
            value = trial.value if trial.state == TrialState.COMPLETE else None
            if value is not None and not 0 <= value <= 1:
                what = f"value of trial {trial.number}"
                raise BadInputError(what, expected="a precision in [0, 1]", got=value)
            status: Status = "failed" if value is None else "complete"
            finished.append(trial.number)
            rows.append(Sample(configuration, trial.number, value, status=status, purpose=purpose))
        samples = Samples.of(space, rows)
        return cls(candidates, samples, tuple(finished), tuple(running), unplanned, issued, seed)

    @property
    def space(self) -> Space:
        """The values that may be chosen."""
        return self.candidates.space

    def missing(self) -> list[tuple[Configuration, Purpose]]:
        """What of the first design nobody has asked for yet."""
        of, issued, missing = self.candidates, Counter(self.issued), []
        sizes = {"first": first_size(of.space), "baseline_seeds": _BASELINE_SEEDS}
        for request in first_requests(of.space, of.X, of.cost, study_seed=self.seed, **sizes):
            at = of.space.key(request.configuration), request.purpose
            if issued[at] > 0:
                issued[at] -= 1
            else:
                missing.append((request.configuration, request.purpose))
        return missing


def _inferred(trials: Sequence[FrozenTrial]) -> Space | None:
    """The parameters that all complete trials have, with every number that was tried among their values."""
    # one that runs, or failed, may have had more parameters to ask for
    told = [t for t in trials if t.distributions and t.state == TrialState.COMPLETE]
    parameters = []
    for name in told[0].distributions if told else ():
        if not all(name in t.distributions for t in told):
            continue
        values, categorical = _values(told[-1].distributions[name])
        if not categorical:
            values = sorted({*values, *(t.params[name] for t in told)}, key=float)
        parameters.append(Parameter(name, tuple(values), categorical=categorical))
    return Space(tuple(parameters)) if parameters else None


def _values(distribution: BaseDistribution) -> tuple[list[Any], bool]:
    """Values that stand for a distribution, and whether they have no order."""
    if isinstance(distribution, CategoricalDistribution):
        choices = list(distribution.choices)
        numbers = all(isinstance(c, (int, float)) and not isinstance(c, bool) for c in choices)
        return (sorted(choices), False) if numbers else (choices, True)
    if not isinstance(distribution, (IntDistribution, FloatDistribution)):
        raise BadInputError("distribution", expected="a range or choices", got=type(distribution).__name__)
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is not None and (high - low) / step < _LEVELS:
        steps = low + step * np.arange(round((high - low) / step) + 1)
    else:
        steps = (np.geomspace if distribution.log else np.linspace)(low, high, _LEVELS)
        if step is not None:
            steps = low + step * np.round((steps - low) / step)
    if isinstance(distribution, IntDistribution):
        return sorted({round(v) for v in steps}), False
    return sorted({float(np.clip(v, low, high)) for v in steps}), False


def _first(trial: FrozenTrial) -> bool:
    """Whether a trial is among those that make the space known, with the largest values."""
    return trial.number < _BASELINE_SEEDS


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    """Whether the value is one of the distribution's."""
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (ValueError, TypeError):
        return False
