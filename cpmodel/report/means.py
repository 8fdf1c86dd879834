"""Trainings gathered by configuration: the mean over seeds and how far the seeds lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cpmodel.report.content import ReportContent
from cpmodel.space import Floats, Space


@dataclass(frozen=True, eq=False)
class Means:
    """One row a configuration that has a precision, in the order of their first trainings.

    Parameters
    ----------
    keys : tuple of str, n of them
    X : shape (n, d)
    mean, low, high : shape (n,)
        Over seeds: mean, least and greatest precision.
    seeds : shape (n,)
        Trainings behind each.
    complexity : shape (n,)
        NaN where unknown.
    """

    keys: tuple[str, ...]
    X: Floats
    mean: Floats
    low: Floats
    high: Floats
    seeds: NDArray[np.int64]
    complexity: Floats

    def of(self, key: str) -> int | None:
        """The row of a configuration."""
        return self.keys.index(key) if key in self.keys else None


def means_of(content: ReportContent) -> Means:
    """The trainings of a report, gathered by configuration; failed ones are left out."""
    samples = content.samples
    rows = np.flatnonzero(np.isfinite(samples.precision))
    X = samples.X[rows]
    keys = [samples.space.key(c) for c in samples.space.configurations(X)]
    known = content.sample_complexity
    complexity = np.full(len(rows), np.nan) if known is None else np.asarray(known, dtype=np.float64)[rows]
    places: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        places.setdefault(key, []).append(row)
    precision = samples.precision[rows]
    groups = [np.array(group, dtype=np.int64) for group in places.values()]
    return Means(
        tuple(places),
        X[[group[0] for group in groups]],
        np.array([precision[group].mean() for group in groups]),
        np.array([precision[group].min() for group in groups]),
        np.array([precision[group].max() for group in groups]),
        np.array([len(group) for group in groups], dtype=np.int64),
        np.array([complexity[group].mean() for group in groups]),
    )


def on_plane(space: Space, X: Floats, columns: Sequence[int]) -> NDArray[np.bool_]:
    """Rows of X that differ from the baseline in these columns at most, and in what exists only with them."""
    base = space.matrix([space.baseline])
    same = (base == X) | np.isnan(X) | np.isnan(base)
    same[:, columns] = ~np.isnan(X[:, columns])
    return np.asarray(same.all(axis=1), dtype=bool)
