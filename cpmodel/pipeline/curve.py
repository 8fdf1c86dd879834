"""The whole curve: C(P) between two precisions, with its band; trainings go where it is least certain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from cpmodel.datasets.base import ImageSet
from cpmodel.errors import BadInputError
from cpmodel.files import read_json, write_json
from cpmodel.pipeline.answer import plain_values
from cpmodel.pipeline.clock import Clock
from cpmodel.pipeline.costing import complexity_of, within
from cpmodel.pipeline.fitting import PrecisionFit, fit_precision, no_nan
from cpmodel.pipeline.material import Material
from cpmodel.pipeline.project import Project
from cpmodel.pipeline.run import said
from cpmodel.pipeline.watch import Watcher
from cpmodel.records.sample import Purpose, Request
from cpmodel.samples import Samples
from cpmodel.search.acquisition import least_certain, suggest_for_curve
from cpmodel.search.belief import Belief, Rows
from cpmodel.search.decide import Step, first_requests, first_size, training_seed
from cpmodel.space import Floats, Space, rows_of
from cpmodel.training.pool import Pool

SILENT = Watcher()
TARGETS = 13  # precisions at which the band is told; between them the error falls by equal factors
LEVEL = 0.9
_CANDIDATES = 60  # drawn together for each of them
_BASELINE_SEEDS = 2
_FILE = "curve.json"


@dataclass(frozen=True, eq=False)
class CurveGoal:
    """Which part of C(P) is asked for.

    Parameters
    ----------
    low, high : float
        Precisions, fractions with 0 < low < high < 1.
    complexity : str
    limits : mapping
        Largest allowed values of other complexities.
    """

    low: float
    high: float
    complexity: str = "macs"
    limits: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < 1:
            raise BadInputError(
                "curve", expected="two precisions like 0.80:0.92", got=f"{self.low:g}:{self.high:g}"
            )

    @property
    def targets(self) -> Floats:
        """The precisions at which the band is told, ascending."""
        errors = np.geomspace(1 - self.low, 1 - self.high, TARGETS)
        return np.asarray(1 - errors, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Curve:
    """C(P) with its band.

    Parameters
    ----------
    status : {"settled", "open"}
        Whether the band is as narrow everywhere as was asked, or the budget ended before.
    reason : str
    complexity : str
    unit : float
        Complexity of the baseline.
    level : float
        Of the band.
    targets : shape (m,)
        Precisions, ascending.
    keys : m texts
        The cheapest configuration predicted to reach each; empty where none is.
    least : shape (m,)
        Its complexity; NaN where there is none.
    low, high : shape (m,)
        Between these the least complexity lies, with probability `level`; infinite where perhaps nothing
        reaches the precision.
    reachable : shape (m,)
        Probability that any configuration reaches it.
    width : shape (m,)
        Standard deviation of the logarithm of the least complexity.
    trainings : int
    train_s : float
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

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; what is not known, or infinite, is null."""
        described: dict[str, Any] = no_nan(asdict(self, dict_factory=plain_values))
        return described

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Curve:
        """The curve that `to_dict` described."""
        empty = {"high": math.inf, "low": math.inf}
        arrays = {
            name: np.array([empty.get(name, math.nan) if v is None else v for v in fields[name]], dtype=float)
            for name in ("targets", "least", "low", "high", "reachable", "width")
        }
        return cls(**{**fields, **arrays, "keys": tuple(fields["keys"])})


def last_curve(project: Project) -> Curve | None:
    """The curve that the study's ``curve.json`` holds, if it is there.

    Raises
    ------
    BadInputError
        The file is not one that cpmodel wrote.
    """
    path = project.folder / _FILE
    if not path.exists():
        return None
    try:
        return Curve.from_dict(read_json(path))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise BadInputError(
            "not a curve", expected="what cpmodel run --curve wrote (run it again)", where=str(path)
        ) from error


def run_curve(
    project: Project,
    images: ImageSet,
    goal: CurveGoal,
    *,
    budget: int | None = 40,
    seconds: float | None = None,
    tolerance: float = 0.05,
    workers: int | None = None,
    devices: Sequence[str] = ("cpu",),
    full: bool = False,
    watch: Watcher = SILENT,
) -> Curve:
    """Train where the curve is least certain; the same call goes on from what the study has.

    Parameters
    ----------
    budget : int, optional
        Most trainings in all.
    seconds : float, optional
        Time after which no training is started any more.
    tolerance : float
        It ends when the least complexity is known to this fraction (one standard deviation) everywhere.
    devices : sequence of str
        What trains; see `Pool`.
    full : bool
        Whether every training goes to its end, even one whose end can be foreseen.

    Raises
    ------
    BadInputError
        A complexity that must be measured was not, no configuration is within the limits, or the budget is
        below what a first design takes.
    """
    clock = Clock(seconds)
    space, study = project.space, project.study
    first = check_curve(space, budget, tolerance)
    X = within(Material.of_study(project), goal.limits)
    complexity_of(Material.of_study(project), goal.complexity)  # refused now, not after the first trainings
    watch.step(Step("explore", f"the baseline and {first} configurations spread over cost{said(space, X)}"))
    study.enqueue(first_requests(space, project.effort(X), first, study.settings.seed, _BASELINE_SEEDS, X))
    with Pool(study, images, workers, watch.event, full=full, devices=devices) as pool:
        while True:
            if budget is not None:
                watch.expect(budget)
            pool.drain(clock.deadline)
            samples = study.samples()
            samples.write_csv(project.folder / "samples.csv")
            material = Material.of_study(project, samples)
            fit = fit_precision(samples, validate=False, derived=material.derived)
            state = State.of(material, goal, fit)
            left = math.inf if budget is None else budget - len(samples)
            if float(state.width.max()) <= math.log1p(tolerance):
                return _kept(project, state.curve("settled", f"known to {tolerance:.0%} everywhere"))
            if clock.late or left <= 0:
                spent = "the time is up" if clock.late else f"the budget of {budget} trainings is spent"
                return _kept(project, state.curve("open", f"{spent}; {state.said}"))
            rows = state.next(int(min(pool.size, left)))
            if not len(rows):
                return _kept(
                    project, state.curve("open", f"no training is expected to tell more; {state.said}")
                )
            seed = training_seed(study.settings.seed, 0)
            requests = tuple(Request(c, seed, Purpose.REFINE) for c in space.configurations(state.X[rows]))
            watch.step(Step("explore", state.said, requests))
            study.enqueue(requests)


def check_curve(space: Space, budget: int | None, tolerance: float) -> int:
    """How many configurations the first design has; a search that cannot be done is refused."""
    least = _BASELINE_SEEDS + 4
    if budget is not None and budget < least:
        raise BadInputError("budget", expected=f"{least} trainings or more", got=budget)
    if not 0 <= tolerance < 1:
        raise BadInputError("tolerance", expected="a fraction in [0, 1)", got=tolerance)
    room = math.inf if budget is None else budget - _BASELINE_SEEDS
    return int(min(first_size(space), room))


@dataclass(frozen=True, eq=False)
class State:
    """What the samples so far say of the curve."""

    goal: CurveGoal
    space: Space
    samples: Samples
    fit: PrecisionFit
    X: Floats
    cost: Floats
    unit: float
    belief: Belief
    trained: Rows
    barred: Rows
    width: Floats

    @classmethod
    def of(cls, material: Material, goal: CurveGoal, fit: PrecisionFit) -> State:
        """What a fit to the material's samples says."""
        space, samples = material.space, material.samples
        X = within(material, goal.limits)
        price = complexity_of(material, goal.complexity).of
        cost, unit = price(X), float(price(space.matrix([space.baseline]))[0])
        places, known = rows_of(X, samples.X), np.isfinite(samples.precision)
        trained = np.unique(places[known & (places >= 0)])
        barred = np.setdiff1d(places[~known & (places >= 0)], trained)
        belief = Belief.of(
            fit.model, space.filled(X), cost, goal.targets.tolist(), always=trained, candidates=_CANDIDATES
        ).without(barred)
        _, width = least_certain(belief, goal.targets.tolist(), float(cost.max()) * math.e)
        return cls(goal, space, samples, fit, X, cost, unit, belief, trained, barred, width)

    @property
    def said(self) -> str:
        """Where the curve is least certain, in words."""
        widest = int(np.argmax(self.width))
        factor, P = math.exp(float(self.width[widest])), float(self.goal.targets[widest])
        return f"C(P) is least certain at P = {P:.4f}: by a factor of {factor:.2f} either way"

    def next(self, count: int) -> Rows:
        """Rows to train next."""
        ceiling = float(self.cost.max()) * math.e
        targets = self.goal.targets.tolist()
        return suggest_for_curve(
            self.belief, targets, self.trained, ceiling=ceiling, count=count, barred=self.barred
        )

    def curve(self, status: Literal["settled", "open"], reason: str) -> Curve:
        """The curve and its band, as known now."""
        targets = self.goal.targets
        draws = np.stack([self.belief.cheapest(float(t)) for t in targets], axis=1)
        low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0, method="inverted_cdf")
        predicted = np.asarray(self.fit.model.predict(self.space.filled(self.X)), dtype=np.float64)
        order = np.lexsort((-predicted, self.cost))
        best = np.maximum.accumulate(predicted[order])
        at = np.searchsorted(best, targets)  # the first, so the cheapest, whose prediction reaches it
        rows = [int(order[i]) if i < len(order) else None for i in at]
        keys = [
            self.space.key(self.space.configurations(self.X[[r]])[0]) if r is not None else "" for r in rows
        ]
        return Curve(
            status,
            reason,
            self.goal.complexity,
            self.unit,
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


def _kept(project: Project, curve: Curve) -> Curve:
    write_json(project.folder / _FILE, curve.to_dict())
    return curve
