"""What to train first: the baseline, and a design spread over cost in which each is likely worth its own."""

from __future__ import annotations

import numpy as np

from cpmodel.records.sample import Purpose, Request
from cpmodel.search.belief import Rows
from cpmodel.search.evidence import training_seed
from cpmodel.space import Floats, Space

# Fall of the log of the error over a parameter's range, as is usual: median and standard deviation
_RATE = (0.3, 0.3)
# The least number of configurations of a first design
_LEAST = 4
# A cost of nothing has no logarithm
_LEAST_COST = 1e-300


def first_requests(
    space: Space, X: Floats, cost: Floats, *, first: int, baseline_seeds: int, study_seed: int
) -> list[Request]:
    """The baseline's seeds and a design spread over cost, the longest trainings first.

    Parameters
    ----------
    X, cost : shape (m, d), (m,), every configuration that may be chosen
    first : configurations of the design
    baseline_seeds : trainings of the baseline; they also tell the noise of a training
    """
    rows = first_rows(_levels(space, X), np.maximum(cost, _LEAST_COST), first, study_seed)
    rows = rows[np.argsort(-cost[rows], kind="stable")]
    baseline = [
        Request(space.baseline, training_seed(study_seed, n), Purpose.BASELINE) for n in range(baseline_seeds)
    ]
    seed = training_seed(study_seed, 0)
    design = [Request(c, seed, Purpose.DESIGN) for c in space.configurations(X[rows])]
    return [*baseline, *(r for r in design if r.configuration != space.baseline)]


def first_size(space: Space) -> int:
    """How many configurations a first design needs: one more than there are parameters, at least 4."""
    return max(_LEAST, len(space.parameters) + 1)


def first_rows(levels: Floats, cost: Floats, count: int, seed: int) -> Rows:
    """A first design: rows spread over the logarithm of the cost, each likely to be worth its cost.

    Parameters
    ----------
    levels : shape (n, d), in [0, 1], rising, each parameter on a scale on which precision is about linear
        (usually the logarithm)
    cost : shape (n,), above 0
    count : how many rows, at most; distinct

    Notes
    -----
    For each of `count` levels of cost a precision that grows with each parameter at a random rate is made up;
    the best row under it, of those near that cost, is taken. A uniform design trains mostly what no search
    would choose, since it is beaten in every parameter by something no dearer.
    """
    rng = np.random.default_rng(seed)
    position = np.log(cost)
    low, width = float(position.min()), float(np.ptp(position)) / max(count, 1)
    chosen: list[int] = []
    for number in range(min(count, len(cost))):
        away = np.abs(position - (low + (number + 0.5) * width))
        away[chosen] = np.inf
        near = np.flatnonzero(away <= max(width / 2, float(away.min())))
        worth = levels[near] @ np.maximum(rng.normal(*_RATE, levels.shape[1]), 0.0)
        best = near[np.flatnonzero(worth >= worth.max() - 1e-12)]
        chosen.append(int(rng.choice(best)))
    return np.array(chosen, dtype=np.int64)


def _levels(space: Space, X: Floats) -> Floats:
    """Each parameter from 0 to 1 over its range, by logarithms where it has them; shape (n, d)."""
    filled = space.filled(X)
    levels = np.full(filled.shape, 0.5)  # a categorical parameter has no order
    for column, parameter in enumerate(space.parameters):
        values = np.log(filled[:, column]) if filled[:, column].min() > 0 else filled[:, column]
        if not parameter.categorical and np.ptp(values) > 0:
            levels[:, column] = (values - values.min()) / np.ptp(values)
    return levels
