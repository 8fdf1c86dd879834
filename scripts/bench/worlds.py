"""Made tables of complexity and precision, their truth known: what a search's constants are chosen on.

    python scripts/bench/worlds.py [--worlds 0:12]        # what they look like

Each world is a space of networks of some layers: a width each, of some an operation (which has no order), an
input size, perhaps a kernel and a depth on which the later layers depend. The error falls with every one of
them as a saturating power, layers interact, operations help or harm more beside one or another neighbour.
Some worlds have a floor below a size, some a region or two in which networks train badly, in some costs are
rounded and so tied, and all have what no such formula says: a smooth part of no simple form. One training
errs by 0.05 to 1 point. A world is its number: the same everywhere, and apart from all real tables.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cpmodel.space import Condition, Floats, Parameter, Space, Value

SMALLEST, LARGEST = 200, 1_000_000
NOISE = (0.0005, 0.01)  # standard deviation of one training
QUANTILES = (0.5, 0.97)  # of the precisions of all, between which the target lies
ROUNDED, CONDITIONAL, FLOORED, BAD = 0.3, 0.4, 0.3, 0.5  # how often worlds are so


@dataclass(frozen=True, eq=False)
class World:
    """A table whose truth is known, and a target on it; see `search.Case`.

    Parameters
    ----------
    X, cost, params, truth : shapes (n, d), (n,), (n,), (n,)
    noise : standard deviation of one training
    """

    name: str
    space: Space
    X: Floats
    cost: Floats
    params: Floats
    truth: Floats
    noise: float
    target: float
    kind: dict[str, object] = field(default_factory=dict)


class _Shape(NamedTuple):
    """What the networks of a world have."""

    layers: int
    operations: dict[int, int]  # of a layer: how many there are to choose from
    conditional: bool
    sized: bool
    kernels: bool


def world(number: int, largest: int = LARGEST) -> World:
    """The world of that number; with `largest` fewer than a million its values are thinned to so many."""
    rng = np.random.default_rng([1911, number])
    size = int(np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST))))
    shape, space = _space(rng, min(size, largest))
    X = space.candidates()
    filled = _Columns(space, X, shape)
    cost, params = _costs(rng, filled)
    error = _errors(rng, filled)
    best = np.exp(rng.uniform(np.log(0.02), np.log(0.5)))
    worst = best + rng.uniform(0.08, 0.4)
    low, high = np.quantile(error, [0.0, 0.98])
    truth = np.clip(1 - (best + (worst - best) * (error - low) / (high - low)), 0.0, 1.0)
    noise = float(np.exp(rng.uniform(*np.log(NOISE))))
    target = float(np.quantile(truth, rng.uniform(*QUANTILES)))
    kind = {**shape._asdict(), "size": len(X), "noise": noise, "best": float(truth.max()), "target": target}
    return World(f"world {number}", space, X, cost, params, truth, noise, target, kind)


def _space(rng: np.random.Generator, size: int) -> tuple[_Shape, Space]:
    """What the networks have, and the values: about `size` configurations."""
    layers = int(rng.integers(2, 6))
    with_operations = rng.permutation(layers)[: rng.integers(0, layers + 1)]
    shape = _Shape(
        layers,
        {int(j): int(rng.integers(2, 6)) for j in with_operations},
        bool(rng.random() < CONDITIONAL and layers > 2),
        bool(rng.random() < 0.7),
        bool(rng.random() < 0.4),
    )
    counts = {f"w{j}": int(rng.integers(4, 11)) for j in range(layers)}
    counts["s"], counts["k"] = (int(rng.integers(3, 9)) if shape.sized else 1), (3 if shape.kernels else 1)
    least, ratio = 2.0 ** rng.integers(2, 5), float(rng.choice([2**0.5, 2.0]))
    while True:
        space = _of_values(shape, counts, least, ratio)
        names = [name for name, count in counts.items() if count > 2]
        if space.size <= size or not names:
            break
        counts[names[int(rng.integers(len(names)))]] -= 1
    while space.size < SMALLEST:
        counts[f"w{int(rng.integers(layers))}"] += 1
        space = _of_values(shape, counts, least, ratio)
    return shape, space


def _of_values(shape: _Shape, counts: dict[str, int], least: float, ratio: float) -> Space:
    parameters: list[Parameter] = []
    if shape.conditional:
        parameters.append(Parameter("depth", tuple(range(2, shape.layers + 1))))
    for j in range(shape.layers):
        deep = tuple(range(max(2, j + 1), shape.layers + 1))
        when = Condition("depth", deep) if shape.conditional and j >= 2 else None
        # a space of more than a few values has them as a person writes them: whole numbers, no two the same
        widths = sorted({round(least * ratio**i) for i in range(counts[f"w{j}"])})
        parameters.append(Parameter(f"w{j}", tuple(widths), when=when))
        if j in shape.operations:
            names: tuple[Value, ...] = tuple(f"op{i}" for i in range(shape.operations[j]))
            parameters.append(Parameter(f"o{j}", names, categorical=True, when=when))
    if shape.sized:
        parameters.append(Parameter("s", tuple(8 + 4 * i for i in range(counts["s"]))))
    if shape.kernels:
        parameters.append(Parameter("k", tuple(range(3, 3 + 2 * counts["k"], 2))))
    return Space(tuple(parameters), most=LARGEST)


class _Columns:
    """The columns of a table by name; what is inactive is NaN."""

    def __init__(self, space: Space, X: Floats, shape: _Shape) -> None:
        self.shape, self.space, self.X = shape, space, X

    def __getitem__(self, name: str) -> Floats:
        column: Floats = self.X[:, self.space.names.index(name)]
        return column

    def get(self, name: str, default: float) -> Floats:
        """The column, or the same number everywhere."""
        return self[name] if name in self.space.names else np.full(len(self.X), default)

    def relative(self, name: str) -> Floats:
        """A numeric column over its least value."""
        return self[name] / self.space[name].codes[0]

    def place(self, name: str) -> NDArray[np.int64]:
        """A categorical column as whole numbers, 0 where it is inactive."""
        return np.nan_to_num(self[name]).astype(np.int64)


def _costs(rng: np.random.Generator, at: _Columns) -> tuple[Floats, Floats]:
    """Multiplications and parameters: layer by layer, halved maps, an operation's own share."""
    n = len(at.X)
    size, kernel = at.get("s", 16.0), at.get("k", 3.0)
    before, side = np.full(n, 3.0), size.copy()
    macs, params = np.zeros(n), np.zeros(n)
    for j in range(at.shape.layers):
        width = at[f"w{j}"]
        share = np.ones(n)
        if j in at.shape.operations:
            shares = np.exp(rng.uniform(np.log(0.1), 0.0, at.shape.operations[j]))
            if rng.random() < 0.3:  # two operations of one cost
                shares[-1] = shares[0]
            share = shares[at.place(f"o{j}")]
        weights = np.nan_to_num(before * width * kernel**2 * share)
        params += weights
        macs += weights * side**2
        before = np.where(np.isnan(width), before, width)
        side = np.where(np.isnan(width), side, np.maximum(side / 2, 1.0))
    macs, params = macs + 10 * before, params + 10 * before
    if rng.random() < ROUNDED:
        digits = 10.0 ** (np.floor(np.log10(macs)) - 1)
        macs = np.round(macs / digits) * digits
    return macs, params


def _errors(rng: np.random.Generator, at: _Columns) -> Floats:
    """The error of each row, up to scale: powers, interactions, operations, floors, bad regions, the rest."""
    n, layers = len(at.X), at.shape.layers
    error = np.zeros(n)
    terms: list[Floats] = []
    for j in range(layers):
        active = ~np.isnan(at[f"w{j}"])
        power = np.where(active, np.nan_to_num(at.relative(f"w{j}"), nan=1.0) ** -rng.uniform(0.3, 1.5), 1.0)
        weight = np.exp(rng.normal(0.0, 0.6))
        helped = np.ones(n)
        if j in at.shape.operations:
            effect = rng.normal(0.0, 0.5, at.shape.operations[j])
            helped = np.where(active, np.exp(effect)[at.place(f"o{j}")], 1.0)
        terms.append(power)
        # a layer that is left out leaves more to the others than one that is narrow
        error += weight * np.where(active, power * helped, rng.uniform(1.0, 1.6))
    for first, second in zip(range(layers - 1), range(1, layers), strict=True):
        error += rng.normal(0.0, 0.5) ** 2 * terms[first] * terms[second]
        if {first, second} <= set(at.shape.operations):
            table = rng.normal(0.0, 0.15, (at.shape.operations[first], at.shape.operations[second]))
            error += table[at.place(f"o{first}"), at.place(f"o{second}")] * ~np.isnan(at[f"w{second}"])
    for name in ("s", "k"):
        if name in at.space.names:
            error += np.exp(rng.normal(0.0, 0.6)) * at.relative(name) ** -rng.uniform(0.5, 2.5)
    if rng.random() < FLOORED and "s" in at.space.names:
        levels = np.sort(rng.uniform(error.min(), np.quantile(error, 0.6), len(at.space["s"].values)))[::-1]
        error = np.maximum(error, levels[np.searchsorted(at.space["s"].codes, at["s"])])
    span = float(np.quantile(error, 0.98) - error.min())
    error += rng.uniform(0.0, 0.04) * span * _smooth(rng, at)
    for _ in range(int(rng.integers(1, 3)) if rng.random() < BAD else 0):
        error += rng.uniform(0.1, 0.5) * span * _region(rng, at)
    return error


def _smooth(rng: np.random.Generator, at: _Columns) -> Floats:
    """A part of no simple form, of mean 0 and deviation 1: waves over the places of all values."""
    places = []
    for parameter, column in zip(at.space.parameters, at.X.T, strict=True):
        place = np.searchsorted(parameter.codes, np.nan_to_num(column, nan=parameter.codes[0]))
        if parameter.categorical:
            place = rng.permutation(len(parameter.codes))[place]
        places.append(place / max(len(parameter.codes) - 1, 1))
    phases = np.stack(places, axis=1) @ rng.normal(0.0, 3.0, (len(places), 40))
    waves: Floats = np.cos(phases + rng.uniform(0, 2 * np.pi, 40)).sum(axis=1)
    return (waves - waves.mean()) / max(float(waves.std()), 1e-12)


def _region(rng: np.random.Generator, at: _Columns) -> NDArray[np.bool_]:
    """Where two parameters, or all that there are, lie in a part of their values each."""
    inside = np.ones(len(at.X), dtype=bool)
    for column in rng.permutation(at.X.shape[1])[:2]:
        codes = at.space.parameters[column].codes
        most = max(1, len(codes) // 3)
        first = int(rng.integers(0, len(codes) - most + 1))
        inside &= np.isin(at.X[:, column], codes[first : first + most])
    return inside


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--worlds", default="0:12", help="first and one past the last")
    first, end = map(int, parser.parse_args().worlds.split(":"))
    rows = []
    for number in range(first, end):
        made = world(number)
        good = made.truth >= made.target
        near = good & (made.cost <= 1.1 * made.cost[good].min())
        rows.append({**made.kind, "reach": good.mean(), "near": int(near.sum())})
    print(pd.DataFrame(rows).to_string(float_format="{:.4g}".format))


if __name__ == "__main__":
    main()
