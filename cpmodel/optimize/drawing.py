"""Clouds of configurations for drawings: a fair draw of the space, and the paper's grid."""

from __future__ import annotations

import math
from functools import reduce
from operator import add

import numpy as np

from cpmodel.errors import BadInputError
from cpmodel.optimize.results import Cloud, Envelope
from cpmodel.optimize.scan import EXACT_UP_TO, Problem, Scan, costs_of, walked
from cpmodel.optimize.search import envelope
from cpmodel.space import CANDIDATES, Floats, distinct

_STEPS = 20
_LEAST_COST = 1e-300


def cloud(problem: Problem, rows: int, rng: np.random.Generator, *, curve: Envelope | None = None) -> Cloud:
    """A fair draw of the space for a drawing, with the whole envelope (`curve`, if it is known) in it.

    So many rows at most, more only where the envelope alone is longer; all configurations if they are fewer.
    """
    space, found = problem.space, curve or envelope(problem)
    on_curve = space.matrix(found.configurations)
    share = max(rows - len(on_curve), 0)
    if space.size <= min(rows, space.most):
        X = space.candidates(rows)
    elif space.size <= walked(space):
        wanted = np.sort(rng.choice(space.size, share, replace=False, shuffle=False))
        X = distinct(np.concatenate([on_curve, space.at(wanted)]))
    elif space.most < CANDIDATES:  # costs take their time, and those of these are known
        X = space.candidates(also=problem.also)
        X = distinct(np.concatenate([on_curve, rng.permutation(X)[:share]]))
    else:
        X = space.candidates(max(share - 1, 0), also=on_curve, rng=rng)  # and the baseline
    scan = Scan(problem)
    return reduce(add, [scan.evaluated(part) for part in problem.parts(X)])


def paper_grid(problem: Problem) -> Cloud:
    """The paper's own procedure, for a drawing: every gamma from 0.05 to 1 in steps of 0.05.

    Few of these points can be built. Their complexity is interpolated (and extrapolated) between the
    configurations that can, linearly in logarithms, which is exact for powers of the parameters.
    Categorical and conditional parameters, and those that others depend on, stay at the baseline. More than
    10,000,000 points are refused.

    Notes
    -----
    Source: Ke, Cao, Lv, section 3: 20 values for each of 4 parameters, 160,000 points.
    """
    from scipy.interpolate import RegularGridInterpolator

    space = problem.space
    parents = {p.when.parameter for p in space.parameters if p.when is not None}
    free = [
        column
        for column, p in enumerate(space.parameters)
        if not p.categorical and p.when is None and p.name not in parents and len(p.values) > 1
    ]
    count = _STEPS ** len(free)
    if not 1 < count <= EXACT_UP_TO:
        expected = "1 to 5 ordered parameters without conditions"
        raise BadInputError("the paper's grid", expected=expected, got=len(free))
    base = space.matrix([space.baseline])
    axes = [np.array(space.parameters[column].values, dtype=np.float64) for column in free]
    known = np.repeat(base, math.prod(map(len, axes)), axis=0)
    known[:, free] = _every(axes)
    logs = [bool(axis[0] > 0) for axis in axes]
    heights = np.log(np.maximum(costs_of(problem.cost, known, "cost"), _LEAST_COST))
    interpolator = RegularGridInterpolator(
        [np.log(axis) if log else axis for axis, log in zip(axes, logs, strict=True)],
        heights.reshape([len(axis) for axis in axes]),
        bounds_error=False,
        fill_value=None,  # extrapolate
    )
    X = np.repeat(base, count, axis=0)
    X[:, free] = _every([np.arange(1, _STEPS + 1) / _STEPS] * len(free)) * base[0, free]
    at = np.where(logs, np.log(np.where(logs, X[:, free], 1.0)), X[:, free])
    precision = np.concatenate([problem.predicted(part) for part in problem.parts(X)])
    complexity = np.exp(interpolator(at))
    kept = ~np.isnan(complexity)  # NaN beside configurations whose complexity is not known
    return Cloud(X[kept], complexity[kept], precision[kept])


def _every(axes: list[Floats]) -> Floats:
    """All points of the axes, one a row, the last axis fastest."""
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
