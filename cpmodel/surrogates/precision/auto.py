"""The default precision model: several models averaged by their evidence and by what they foresee."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from sklearn.base import clone

from cpmodel.errors import FitError, FitWarning
from cpmodel.space import Floats
from cpmodel.surrogates.crossval import fold_numbers, left_out
from cpmodel.surrogates.estimator import coefficients, relative_error
from cpmodel.surrogates.features import Derived
from cpmodel.surrogates.precision import process
from cpmodel.surrogates.precision.model import PrecisionModel, least_error
from cpmodel.surrogates.predictive import Link, Predictive, student_log_density

# What each model weighs before the rows speak. This, the temper and the beliefs below were chosen over all
# tables of scripts/bench/surrogates.py together
_BELIEFS = {"loggp": 1.0, "loggp, saturating": 1.0, "additive": 4.0, "quadratic": 8.0}
# What is added to the name of a model that sees derived columns too
_DERIVED = ", derived"
# Temper: no model is true, so that evidence says more than is known, and of few rows much more. The root of
# it is taken, the 1 + 20 / rows'th
_TEMPER_ROWS = 20.0
# A polynomial is believed once the rows are so many times its coefficients
_POLYNOMIAL_ROWS = 5.0 / 3.0
# and this much before
_LEAST_POLYNOMIAL_BELIEF = 0.2
# An asymptote is believed once there are so many rows: curvature tells it, which few rows do not show
_SATURATION_ROWS = 15.0
# Before, the belief is this power of the share of these rows
_SATURATION_POWER = 6
# Asymptote of the saturating process, as a share of the least error measured
_SATURATION = 0.6
# A model that weighs less than this is left out: it would cost time and change nothing
_LEAST_WEIGHT = 0.02
# Parts that are left out in turn
_FOLDS = 10
# Tails of the average: heavier than normal ones, since what its members do not know is not normal
_FREEDOM = 8.0
# Standard deviation of the log of the stretch, before the rows speak
_STRETCH_SPREAD = 0.5
# Fewer configurations than this cannot be told apart by leaving some out
_LEAST_ROWS = 5


@dataclass(frozen=True)
class Candidate:
    """How one model did on the rows left out, and what it weighs in the average.

    Parameters
    ----------
    log_evidence : log density of the rows it was fitted to, before they were seen
    log_score, relative_error : on the rows left out; None where none were
    """

    name: str
    weight: float
    log_evidence: float
    log_score: float | None
    relative_error: float | None


@dataclass(eq=False, repr=False, kw_only=True)
class AutoPrecision(PrecisionModel):
    """Average of other precision models, weighted by evidence and cross-validated log score.

    Parameters
    ----------
    folds : parts that are left out in turn; one configuration each where there are fewer than twice as many
    derived, domain, names, categorical : as in `ProcessModel`

    Attributes
    ----------
    report_ : which models were averaged and why, in a sentence
    candidates_ : all that were tried, the heaviest first
    members_, weights_ : the fitted models that have weight, and that weight, shape (m,)
    stretch_ : factor on the spread of the average, from the rows left out

    Notes
    -----
    Prior beliefs and evidence say what each model weighs before a row is left out. The weights are those of
    the greatest log score of the mixture on the rows left out and on as many believed ones.
    """

    name = "auto"

    folds: int = _FOLDS
    derived: Derived | None = None

    report_: str = field(init=False)
    candidates_: tuple[Candidate, ...] = field(init=False)
    members_: tuple[PrecisionModel, ...] = field(init=False)
    weights_: Floats = field(init=False)
    stretch_: float = field(init=False)

    def _candidates(self, X: Floats) -> dict[str, process.ProcessModel]:
        found: dict[str, process.ProcessModel] = {
            "loggp": process.LogErrorGP(),
            "loggp, saturating": process.LogErrorGP(saturation=_SATURATION),
            "additive": process.AdditivePrecision(),
            "quadratic": process.QuadraticPrecision(),
        }
        for name in ("loggp", "loggp, saturating") if self.derived is not None else ():
            found[name + _DERIVED] = clone(found[name]).set_params(derived=self.derived)
        for model in found.values():
            model.set_params(domain=self.domain, names=self._column_names(), categorical=self._codes(X))
        return found

    def _learn(self, X: Floats, y: Floats, weight: Floats) -> None:
        if self.folds < 2:
            raise FitError(f"folds: expected 2 or more, got {self.folds}")
        self.link_ = Link("log_error", floor=least_error(1.0 - y))
        rows, candidates = len(np.unique(X, axis=0)), self._candidates(X)
        names, models = list(candidates), list(candidates.values())
        with warnings.catch_warnings():
            # what a single model lacks, the others may have
            warnings.simplefilter("ignore", FitWarning)
            evidence = np.array([model.fit(X, y, weight).log_evidence_ for model in models])
        weights = weighed(evidence, _beliefs(names, rows, X.shape[1]), 1.0 + _TEMPER_ROWS / rows)
        self.stretch_ = 1.0
        scores: dict[str, tuple[float, float]] = {}
        if rows < _LEAST_ROWS:
            self._warn("too few configurations to compare models by leaving some out")
        else:
            tried = np.flatnonzero(weights)
            laws, densities = self._foreseen([models[i] for i in tried], X, y, weight)
            weights[tried] = _kept(stacked(densities, weight, weights[tried] * weight.sum()))
            self.stretch_ = calibrated(averaged(laws, weights[tried], self.link_, _FREEDOM), y, weight)
            for i, density, law in zip(tried, densities, laws, strict=True):
                score = float(np.average(density, weights=weight))
                scores[names[i]] = score, relative_error(y, law.mean(), weight)
        order = np.argsort(-weights, kind="stable")
        used = order[weights[order] > 0]
        self.members_, self.weights_ = tuple(models[i] for i in used), weights[used]
        self.candidates_ = tuple(
            Candidate(names[i], float(weights[i]), float(evidence[i]), *scores.get(names[i], (None, None)))
            for i in order
        )
        self.report_ = _sentence(self.candidates_)
        labels = [f"weight of {names[i]}" for i in used]
        self.coefficients_ = coefficients(labels, self.weights_, np.full(len(used), np.nan))

    def _foreseen(
        self, candidates: Sequence[process.ProcessModel], X: Floats, y: Floats, weight: Floats
    ) -> tuple[list[Predictive], Floats]:
        """What each candidate, fitted without a row's fold, says of it: laws, and log densities (m, n)."""
        fold = fold_numbers(X, self.folds, seed=0, singly=True)
        laws, densities = [], np.empty((len(candidates), len(y)))
        for density, model in zip(densities, candidates, strict=True):
            location, scale, noise = np.empty((3, len(y)))
            for test, law in left_out(model, X, y, weight, fold, model.process_.theta):
                density[test] = law.log_density(y[test])
                common = law.on(self.link_)
                location[test], scale[test], noise[test] = common.location, common.scale, common.noise
            laws.append(Predictive(self.link_, location, scale, noise))
        return laws, densities

    def _predictive(self, X: Floats) -> Predictive:
        laws = [member._predictive(X) for member in self.members_]
        return averaged(laws, self.weights_, self.link_, _FREEDOM).stretched(self.stretch_)

    def _draws(self, X: Floats, count: int, rng: np.random.Generator, stretch: float = 1.0) -> Floats:
        # each draw follows one member all over the space; members as often as they weigh
        shares = np.diff(np.round(count * np.cumsum(self.weights_)).astype(np.int64), prepend=0)
        # trainings left out tell the width of means and noise together: means are no better known for it
        stretch *= max(self.stretch_, 1.0)
        pairs = zip(self.members_, shares.tolist(), strict=True)
        return np.concatenate([member._draws(X, share, rng, stretch) for member, share in pairs])


def _beliefs(names: Sequence[str], rows: int, d: int) -> Floats:
    """What each model weighs before the rows speak; shape (m,)."""
    belief = _BELIEFS.copy()
    surplus = (rows / (1 + d + d * (d + 1) / 2) - 1.0) / (_POLYNOMIAL_ROWS - 1.0)
    belief["quadratic"] = max(belief["quadratic"] * min(surplus, 1.0), _LEAST_POLYNOMIAL_BELIEF)
    belief["loggp, saturating"] *= min(rows / _SATURATION_ROWS, 1.0) ** _SATURATION_POWER
    return np.array([belief[name.removesuffix(_DERIVED)] for name in names])


def weighed(evidence: Floats, belief: Floats, temper: float) -> Floats:
    """Weights of models, shape (m,), the least of them 0, by their log evidence, of which a root is taken."""
    weights: Floats = belief * np.exp((evidence - evidence.max()) / temper)
    return _kept(weights / weights.sum())


def _kept(weights: Floats) -> Floats:
    """The weights without those that would cost time and change nothing."""
    weights = np.where(weights < _LEAST_WEIGHT, 0.0, weights)
    return np.asarray(weights / weights.sum())


def stacked(densities: Floats, weight: Floats, belief: Floats) -> Floats:
    """Weights of the mixture with the greatest log score, shape (m,), by log densities, shape (m, n).

    Each model is believed to have foreseen already so many rows as `belief` says, shape (m,), above 0.
    """
    likelihood: Floats = np.exp(densities - densities.max(axis=0))
    weights: Floats = belief / belief.sum()
    for _ in range(200):
        share = weights[:, None] * likelihood
        share /= share.sum(axis=0)
        weights = share @ weight + belief
        weights /= weights.sum()
    return weights


def averaged(laws: Sequence[Predictive], weights: Floats, link: Link, freedom: float) -> Predictive:
    """One law with the mean and the variance of the mixture of laws, on the scale of `link`."""
    means = np.stack([law.mean() for law in laws])
    mean = weights @ means
    variance = weights @ (np.stack([law.std() for law in laws]) ** 2 + (means - mean) ** 2)
    noise = weights @ np.stack([law.noise * law.link.slope(law.location) for law in laws]) ** 2
    location: Floats = link.forward(mean)
    slope = link.slope(location)
    return Predictive(link, location, np.sqrt(variance) / slope, np.sqrt(noise) / slope, freedom)


def calibrated(law: Predictive, y: Floats, weight: Floats) -> float:
    """The stretch of a law under which rows left out are likeliest, believed to be near 1."""
    t = (law.link.forward(y) - law.location) / law.total(True)
    grid = np.geomspace(0.5, 2.5, 101)
    score = student_log_density(t / grid[:, None], law.freedom) @ weight - np.log(grid) * weight.sum()
    score -= 0.5 * (np.log(grid) / _STRETCH_SPREAD) ** 2
    return float(grid[np.argmax(score)])


def _sentence(candidates: Sequence[Candidate]) -> str:
    """Which models are averaged, and why, of candidates the heaviest first."""
    best = candidates[0]
    used = ", ".join(f"{c.name} ({c.weight:.0%})" for c in candidates if c.weight > 0)
    if best.relative_error is None:
        why = "beliefs and evidence: too few configurations to leave some out"
    else:
        why = "evidence and by how well each foresaw configurations left out; "
        why += f"{best.name} alone missed those by {best.relative_error:.2%} on average"
    return f"Average of {used}, weighted by {why}."
