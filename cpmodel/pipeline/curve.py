"""The whole curve: C(P) between two precisions, with its band; trainings go where it is least certain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cpmodel.errors import BadInputError
from cpmodel.pipeline.answer import keep, kept
from cpmodel.pipeline.costing import complexity_of, resolved, within
from cpmodel.pipeline.fitting import PrecisionFit
from cpmodel.pipeline.loop import Moment, searched
from cpmodel.pipeline.options import CurveGoal, Effort
from cpmodel.pipeline.project import Project
from cpmodel.pipeline.watch import SILENT, Watcher
from cpmodel.records.sample import Purpose, Request
from cpmodel.samples import Samples
from cpmodel.search.acquisition import least_certain, suggest_for_curve
from cpmodel.search.belief import Belief, Rows
from cpmodel.search.decide import Step
from cpmodel.search.evidence import training_seed
from cpmodel.search.first import first_size
from cpmodel.space import Floats, Space, rows_of

TARGETS = 13  # precisions at which the band is told; between them the error falls by equal factors
LEVEL = 0.9
_CANDIDATES = 60  # drawn together for each of them
_BASELINE_SEEDS = 2
_FILE = "curve.json"


@dataclass(frozen=True, eq=False)
class Curve:
    """C(P) with its band.

    Parameters
    ----------
    status : whether the band is as narrow everywhere as was asked, or the budget ended before
    unit : complexity of the baseline
    level : of the band
    targets : shape (m,), precisions, ascending
    keys : the cheapest configuration predicted to reach each; empty where none is
    least : shape (m,), its complexity; NaN where there is none
    low, high : shape (m,); between these the least complexity lies, with probability `level`; infinite where
        perhaps nothing reaches the precision
    reachable : shape (m,), probability that any configuration reaches it
    width : shape (m,), standard deviation of the logarithm of the least complexity
    """

    status: Literal["settled", "open"]
    reason: str
    complexity: str
    unit: float
    level: float
    targets: Floats
    keys: tuple[str, ...]
    least: Floats
    low: Floats
    high: Floats
    reachable: Floats
    width: Floats
    trainings: int
    train_s: float


def last_curve(project: Project) -> Curve | None:
    """The curve that the study's ``curve.json`` holds, if it is there; raises as `kept` does."""
    return kept(project.folder / _FILE, Curve, "a curve", "cpmodel run --curve")


def run_curve(project: Project, goal: CurveGoal, effort: Effort, watch: Watcher = SILENT) -> Curve:
    """Train where the curve is least certain; the same call goes on from what the study has.

    It ends when the least complexity is known to the tolerance (one standard deviation) everywhere.
    """
    space, material = project.space, project.material()
    goal, size = resolved(goal, material), check_curve(space, effort)
    X = within(material, goal.limits)
    # refused now, not after the first trainings
    price = complexity_of(material, goal.complexity).of
    cost, unit = price(X), float(price(space.matrix([space.baseline]))[0])
    found: list[Curve] = []

    def next_step(now: Moment) -> Step:
        state = State.of(now.material.samples, goal, now.fit, X, cost)
        left = math.inf if effort.budget is None else effort.budget - len(now.material.samples)
        settled = float(state.width.max()) <= math.log1p(effort.tolerance)
        rows = np.empty(0, dtype=np.int64)
        if settled:
            reason = f"known to {effort.tolerance:.0%} everywhere"
        elif now.clock.late:
            reason = f"the time is up; {state.said}"
        elif left <= 0:
            reason = f"the budget of {effort.budget} trainings is spent; {state.said}"
        else:
            rows = state.next(int(min(now.workers, left)))
            reason = state.said if len(rows) else f"no training is expected to tell more; {state.said}"
        if not len(rows):
            found.append(state.curve("settled" if settled else "open", reason, unit))
            return Step("stop", reason)
        seed = training_seed(project.study.settings.seed, 0)
        requests = tuple(Request(c, seed, Purpose.REFINE) for c in space.configurations(X[rows]))
        return Step("explore", reason, requests)

    searched(project, X, (size, _BASELINE_SEEDS, 0), next_step, effort, watch)
    keep(project.folder / _FILE, found[-1])
    return found[-1]


def check_curve(space: Space, effort: Effort) -> int:
    """How many configurations the first design has; a search that cannot be done is refused."""
    least, budget = _BASELINE_SEEDS + 4, effort.budget
    if budget is not None and budget < least:
        raise BadInputError("budget", expected=f"{least} trainings or more", got=budget)
    room = math.inf if budget is None else budget - _BASELINE_SEEDS
    return int(min(first_size(space), room))


def targets_of(goal: CurveGoal) -> Floats:
    """The precisions at which the band is told, ascending."""
    errors = np.geomspace(1 - goal.low, 1 - goal.high, TARGETS)
    return np.asarray(1 - errors, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class State:
    """What the samples so far say of the curve."""

    complexity: str
    targets: Floats
    samples: Samples
    fit: PrecisionFit
    X: Floats
    cost: Floats
    belief: Belief
    trained: Rows
    barred: Rows
    width: Floats

    @classmethod
    def of(cls, samples: Samples, goal: CurveGoal, fit: PrecisionFit, X: Floats, cost: Floats) -> State:
        """What a fit to the samples says of the configurations X, shape (m, d), of that cost, shape (m,)."""
        space, targets = samples.space, targets_of(goal)
        places, known = rows_of(X, samples.X), np.isfinite(samples.precision)
        trained = np.unique(places[known & (places >= 0)])
        barred = np.setdiff1d(places[~known & (places >= 0)], trained)
        belief = Belief.of(
            fit.model, space.filled(X), cost, targets.tolist(), always=trained, candidates=_CANDIDATES
        ).without(barred)
        _, width = least_certain(belief, targets.tolist(), float(cost.max()) * math.e)
        return cls(goal.complexity, targets, samples, fit, X, cost, belief, trained, barred, width)

    @property
    def said(self) -> str:
        """Where the curve is least certain, in words."""
        widest = int(np.argmax(self.width))
        factor, P = math.exp(float(self.width[widest])), float(self.targets[widest])
        return f"C(P) is least certain at P = {P:.4f}: by a factor of {factor:.2f} either way"

    def next(self, count: int) -> Rows:
        """Rows to train next."""
        ceiling = float(self.cost.max()) * math.e
        return suggest_for_curve(
            self.belief, self.targets.tolist(), self.trained, ceiling=ceiling, count=count, barred=self.barred
        )

    def curve(self, status: Literal["settled", "open"], reason: str, unit: float) -> Curve:
        """The curve and its band, as known now; `unit` is the baseline's complexity."""
        targets, space = self.targets, self.samples.space
        draws = np.stack([self.belief.cheapest(float(t)) for t in targets], axis=1)
        low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0, method="inverted_cdf")
        predicted = np.asarray(self.fit.model.predict(space.filled(self.X)), dtype=np.float64)
        order = np.lexsort((-predicted, self.cost))
        best = np.maximum.accumulate(predicted[order])
        # the first, so the cheapest, whose prediction reaches it
        rows = [int(order[i]) if i < len(order) else None for i in np.searchsorted(best, targets)]
        keys = ["" if r is None else space.key(space.configurations(self.X[[r]])[0]) for r in rows]
        return Curve(
            status,
            reason,
            self.complexity,
            unit,
            LEVEL,
            targets,
            tuple(keys),
            np.array([math.nan if r is None else self.cost[r] for r in rows], dtype=np.float64),
            np.asarray(low, dtype=np.float64),
            np.asarray(high, dtype=np.float64),
            np.asarray(np.isfinite(draws).mean(axis=0), dtype=np.float64),
            self.width,
            len(self.samples),
            float(self.samples.frame["train_s"].sum()),
        )
