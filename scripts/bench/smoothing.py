"""What is smooth in a measured table: the truth of searches and models that are to see fresh noise."""

from __future__ import annotations

import numpy as np
from scipy import optimize

from cpmodel.space import Floats


def smoothed(X: Floats, y: Floats) -> Floats:
    """The smooth part of y, shape (n,), over a full grid X, shape (n, d), of equal values in all columns."""
    order, taken = np.lexsort(X.T[::-1]), np.unique(X)
    values = np.log(taken / taken[0]) / np.log(taken[-1] / taken[0])
    smooth = np.empty(len(y))
    smooth[order] = _smoothed(values[np.searchsorted(taken, X[order])], values, y[order])
    return smooth


def _smoothed(levels: Floats, values: Floats, y: Floats) -> Floats:
    """As `smoothed`: levels, shape (n, d), in the order of the grid; values, shape (q,), that they take."""
    first, second = np.triu_indices(levels.shape[1])
    centred = 2 * levels - 1
    terms = np.column_stack([np.ones(len(y)), centred, centred[:, first] * centred[:, second]])
    mean = terms @ np.linalg.lstsq(terms, y, rcond=None)[0]
    d = levels.shape[1]

    def parts(theta: Floats) -> tuple[list[Floats], Floats]:
        eigen = []
        for log_length in theta[:d]:
            r = np.sqrt(5) * np.abs(values[:, None] - values) / np.exp(log_length)
            eigen.append(np.linalg.eigh((1 + r + r * r / 3) * np.exp(-r)))
        spectrum = eigen[0][0]
        for value, _ in eigen[1:]:
            spectrum = np.multiply.outer(spectrum, value).ravel()
        return [vectors for _, vectors in eigen], np.exp(2 * theta[d]) * np.maximum(spectrum, 0)

    def through(factors: list[Floats], table: Floats) -> Floats:
        cube = table.reshape((len(values),) * d)
        for axis, factor in enumerate(factors):
            cube = np.moveaxis(np.tensordot(factor, cube, axes=(1, axis)), 0, axis)
        return cube.ravel()

    def loss(theta: Floats) -> float:
        vectors, spectrum = parts(theta)
        along = through([v.T for v in vectors], y - mean)
        variance = spectrum + np.exp(2 * theta[-1])
        return float(0.5 * np.sum(along**2 / variance + np.log(variance)))

    spread = np.log((y - mean).std())
    start = np.array([*np.zeros(d), spread, spread - 0.7])
    best = optimize.minimize(loss, start, bounds=[(-3, 4)] * d + [(-8, 6)] * 2).x
    vectors, spectrum = parts(best)
    kept = spectrum / (spectrum + np.exp(2 * best[-1]))
    return np.asarray(mean + through(vectors, through([v.T for v in vectors], y - mean) * kept))
