"""Designs: which configurations to train before anything is known about P(T)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cpmodel.errors import BadInputError
from cpmodel.space import Floats, Space, distinct

Design = Literal["sweep", "pairs", "grid", "random", "sobol", "spread"]
DESIGNS: tuple[str, ...] = get_args(Design)


def design(
    name: str,
    space: Space,
    budget: int | None,
    seed: int,
    cost: Callable[[Floats], Floats] | None = None,
    vary: Collection[str] | None = None,
) -> Floats:
    """Distinct configurations to train, X of shape (n, d), the baseline first where the design has it.

    Parameters
    ----------
    name : str
        ``sweep``: one parameter at a time, the others at the baseline (the paper's 1-D data); ``pairs``: two
        at a time (2-D); ``grid``: all; ``random``: uniform; ``sobol``: low discrepancy over the parameters'
        values; ``spread``: evenly over the logarithm of the cost, random within a stratum.
    budget : int or None
        At most so many rows (a random part of sweep, pairs and grid, the baseline kept). None: all rows of
        sweep, pairs and grid, 40 of the others.
    seed : int
    cost : callable, optional
        Cost of rows of X, shape (n,); `spread` needs it.
    vary : collection of str, optional
        The only parameters that move, the others stay at the baseline; all of them unless given.

    Raises
    ------
    BadInputError
        Unknown design or parameter, a budget below one, or a grid of more than `Space.most` rows.
    """
    if name not in DESIGNS:
        raise BadInputError("design", expected="one of " + ", ".join(DESIGNS), got=name)
    if budget is not None and budget < 1:
        raise BadInputError("budget", expected="one training or more", got=budget)
    rng, still = np.random.default_rng([seed, DESIGNS.index(name)]), _still(space, vary)
    if name in ("sweep", "pairs", "grid"):
        rows = _moved(space, {"sweep": 1, "pairs": 2, "grid": len(still)}[name], still)
        if budget is not None and budget < len(rows):
            # the baseline is what the others are compared with, so it stays
            others = np.sort(1 + rng.choice(len(rows) - 1, budget - 1, replace=False))
            rows = rows[np.concatenate([[0], others])]
        return np.asarray(rows)
    everything = space.candidates()
    if still.any():
        rest = space.filled(everything)
        rest[:, still] = space.filled(space.matrix([space.baseline]))[:, still]
        everything = space.ordered(rest)
    n = min(budget or 40, len(everything))
    if name == "random":
        return np.asarray(everything[rng.choice(len(everything), n, replace=False)])
    if name == "sobol":
        return _sobol(space, everything, n, rng, still)
    if cost is None:
        raise BadInputError("design spread", expected="the cost of every configuration")
    costs = cost(everything)
    known = ~np.isnan(costs)  # others cannot be built
    everything, position = everything[known], np.log(np.maximum(costs[known], 1e-300))
    return np.asarray(everything[_spread(position, min(n, len(everything)), rng)])


def _moved(space: Space, most: int, still: NDArray[np.bool_]) -> Floats:
    """The baseline, then all configurations in which at most so many parameters differ from it, in order.

    An inactive parameter counts as unmoved: one that goes takes those that hang on it along.
    """
    free = np.flatnonzero(~still).tolist()
    base = space.filled(space.matrix([space.baseline]))
    parts = [base]
    if most == len(space.parameters) and not still.any() and space.size <= space.most:
        parts.append(space.filled(space.candidates()))
    else:
        for columns in itertools.combinations(free, min(most, len(free))):
            parts.append(_product(space, base, columns))
    X = space.ordered(np.concatenate(parts))
    first = (space.filled(X) == base).all(axis=1)
    return np.concatenate([X[first], X[~first]])


def _product(space: Space, base: Floats, columns: Sequence[int]) -> Floats:
    """The row `base`, shape (1, d), with every combination of values in some columns."""
    codes = [space.parameters[column].codes for column in columns]
    count = math.prod(map(len, codes))
    if count > space.most:
        raise BadInputError(
            "design grid",
            expected=f"at most {space.most:,} configurations (another design takes any space)",
            got=f"{count:,}",
        )
    rows = np.repeat(base, count, axis=0)
    for column, axis in zip(columns, np.meshgrid(*codes, indexing="ij"), strict=True):
        rows[:, column] = axis.ravel()
    return rows


def _still(space: Space, vary: Collection[str] | None) -> NDArray[np.bool_]:
    """Whether each parameter stays at the baseline."""
    for name in vary or ():
        space[name]  # an unknown name is refused
    return np.array([vary is not None and name not in vary for name in space.names])


def _sobol(
    space: Space, everything: Floats, n: int, rng: np.random.Generator, still: NDArray[np.bool_]
) -> Floats:
    """The first n distinct configurations of a scrambled Sobol sequence over the positions of the values."""
    from scipy.stats import qmc

    levels = np.array([len(p.values) for p in space.parameters])
    sequence, base = qmc.Sobol(len(levels), rng=rng), space.filled(space.matrix([space.baseline]))
    rows = np.empty((0, len(levels)))
    while len(rows) < n:
        points = sequence.random(2 ** max(6, math.ceil(math.log2(n + 1))))
        positions = np.minimum((points * levels).astype(int), levels - 1)
        met = np.column_stack([p.codes[positions[:, i]] for i, p in enumerate(space.parameters)])
        met[:, still] = base[:, still]
        rows = distinct(np.concatenate([rows, space.settled(met)]))
        if sequence.num_generated > 64 * len(everything):  # conditions can make a configuration that rare
            rows = distinct(np.concatenate([rows, rng.permutation(everything)]))
    return np.asarray(rows[:n])


def _spread(position: Floats, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of n rows, one from each of n strata of equal width; empty strata are made up for."""
    edges = np.linspace(position.min(), position.max(), n + 1)
    stratum = np.clip(np.searchsorted(edges, position, side="right") - 1, 0, n - 1)
    chosen = [int(rng.choice(members)) for s in range(n) if len(members := np.flatnonzero(stratum == s))]
    left = np.setdiff1d(np.arange(len(position)), chosen)
    return np.array([*chosen, *rng.choice(left, n - len(chosen), replace=False)], dtype=np.int64)
