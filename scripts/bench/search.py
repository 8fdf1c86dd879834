#!/usr/bin/env python3
"""How many trainings a search needs, on tables where every answer is known, beside other optimisers.

    python scripts/bench/search.py --tables PATH [--methods cpmodel,random,...] [--seeds 0:20] [--minutes 4]
    python scripts/bench/search.py --grid samples.csv        # trainings of the plain family
    python scripts/bench/search.py --summary                 # the table, from what was measured

`--tables` holds nats_bench_size.csv.gz (NATS-Bench sizes, MIT: 32,768 channel configurations, precision on
CIFAR-10 and CIFAR-100, MACs). One row of that table is one seed, and the cheapest feasible ones are lucky by
2 to 3 standard deviations. So the truth is the table smoothed: a second-degree polynomial in the logs of the
channels plus a Gaussian process with a Matern-5/2 product kernel, by maximum likelihood on all rows (exact,
by the Kronecker structure of the grid); a training observes it with fresh normal noise as large as what is
left over. `raw` cases take the table as it is, without noise.

A search *has found* the answer with its first training of a configuration that truly reaches the target
and costs at most 1.10 times the cheapest that does: one rule for every method, whatever it believes. A
search's *claim* is what it says reaches the target in the end. Trainings are counted in the order they are
asked for: baseline, design, repeats and verification included, 60 at most. Each (case, method, seed) is one
line of the CSV, written when it is done; lines that are there are not measured again.
"""

from __future__ import annotations

import argparse
import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from smoothing import smoothed
from threadpoolctl import threadpool_limits

from cpmodel.errors import FitWarning
from cpmodel.pipeline.fitting import fit_precision
from cpmodel.records.sample import Sample
from cpmodel.samples import Samples
from cpmodel.search.decide import View, decide
from cpmodel.search.first import first_requests, first_size
from cpmodel.space import Floats, Parameter, Space

MEASURED = Path(__file__).parents[2] / "data" / "measured"
OUT, STEPS = MEASURED / "search.csv", MEASURED / "search_steps.csv"
BUDGET, NEAR, CONFIDENCE, TOLERANCE = 60, 1.10, 0.95, 0.05
QUANTILES = (0.5, 0.8, 0.95)


@dataclass(frozen=True, eq=False)
class Case:
    """A table whose truth is known, and a target on it.

    Parameters
    ----------
    name : str
    space : Space
    X, cost, truth : shapes (n, d), (n,), (n,)
        Every configuration, its complexity, its mean precision over seeds.
    noise : float
        Standard deviation of one training.
    target : float
    """

    name: str
    space: Space
    X: Floats
    cost: Floats
    truth: Floats
    noise: float
    target: float

    @property
    def optimum(self) -> float:
        """Cost of the cheapest that truly reaches the target."""
        return float(self.cost[self.truth >= self.target].min())

    def reaches(self, row: int) -> bool:
        """Whether a configuration truly reaches the target."""
        return bool(self.truth[row] >= self.target)


class FoundError(Exception):
    """The search has found the answer, and nothing more is asked of it."""


@dataclass(eq=False)
class Trainings:
    """Answers trainings of a case, and remembers them."""

    case: Case
    seed: int
    until_found: bool = False
    budget: int = BUDGET
    rows: list[int] = field(default_factory=list)
    observed: list[float] = field(default_factory=list)

    def train(self, row: int) -> float:
        """Precision of one more training of a configuration; the same for all methods that ask for it."""
        repeat = self.rows.count(row)
        rng = np.random.default_rng([self.seed, *map(ord, self.case.name), row, repeat])
        precision = float(np.clip(self.case.truth[row] + self.case.noise * rng.standard_normal(), 0, 1))
        self.rows.append(int(row))
        self.observed.append(precision)
        if self.until_found and self.found_after() < self.budget:
            raise FoundError
        return precision

    @property
    def left(self) -> int:
        """Trainings that may still be asked for."""
        return self.budget - len(self.rows)

    def found_after(self) -> int:
        """Trainings until one truly reaches the target at 1.10 of the optimum or less; the budget if none."""
        for number, row in enumerate(self.rows, start=1):
            if self.case.reaches(row) and self.case.cost[row] <= NEAR * self.case.optimum:
                return number
        return self.budget

    def found(self) -> float:
        """Cost of the cheapest trained that truly reaches the target, of the optimum's; infinite if none."""
        good = [self.case.cost[row] for row in self.rows if self.case.reaches(row)]
        return float(min(good, default=np.inf) / self.case.optimum)


Method = Callable[[Trainings], int | None]
"""A search: asks for trainings while there are any left; returns the row it claims to reach the target."""


# ---- the tables


def nats_cases(folder: Path) -> Iterator[Case]:
    """NATS-Bench sizes: smoothed with noise, and raw without."""
    table = pd.read_csv(folder / "nats_bench_size.csv.gz")
    names = ["c1", "c2", "c3", "c4", "c5"]
    table = table.sort_values(names)
    X = table[names].to_numpy(np.float64)
    values = np.unique(X)
    space = Space(tuple(Parameter(name, tuple(map(int, values))) for name in names))
    cost = table["macs_m"].to_numpy(np.float64)
    for data in ("cifar10", "cifar100"):
        raw = table[f"acc_{data}"].to_numpy(np.float64) / 100
        truth = smoothed(X, raw)
        for q in QUANTILES:
            name = f"{data} {100 * q:g}%"
            yield Case(name, space, X, cost, truth, float((raw - truth).std()), float(np.quantile(truth, q)))
        for q in QUANTILES:
            yield Case(f"{data} raw {100 * q:g}%", space, X, cost, raw, 0.0, float(np.quantile(raw, q)))


def grid_cases(path: Path) -> Iterator[Case]:
    """Trainings of the plain family, columns f, s, k, l, seed, precision; the mean over seeds is the truth.

    The noise is that of the seeds, pooled; with one seed a configuration, what a model of all rows leaves.
    """
    from cpmodel.families.base import Task
    from cpmodel.families.plain import PlainFamily
    from cpmodel.surrogates.precision.auto import AutoPrecision

    table = pd.read_csv(path).dropna(subset=["precision"])
    names = ["f", "s", "k", "l"]
    groups = table.groupby(names)["precision"]
    means = groups.mean().reset_index().sort_values(names)
    X = means[names].to_numpy(np.float64)
    space = Space(tuple(Parameter(n, tuple(map(int, np.unique(X[:, i])))) for i, n in enumerate(names)))
    if space.size != len(X):
        raise SystemExit(f"{path}: expected all {space.size} configurations of the grid, got {len(X)}")
    freedom = int((groups.count() - 1).sum())
    within = float(((groups.count() - 1) * groups.var().fillna(0)).sum())
    truth = means["precision"].to_numpy(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        model = AutoPrecision(domain=space.domain, names=names).fit(X, truth)
    noise = np.sqrt(within / freedom) if freedom else float((truth - model.predict(X)).std())
    cost = PlainFamily().costs(X, Task(28, 28, 1, 10))["macs"]
    for kind, what, sd in (("smoothed", np.asarray(model.predict(X)), noise), ("as trained", truth, noise)):
        for q in QUANTILES:
            yield Case(
                f"plain {kind} {100 * q:g}%", space, X, cost, what, float(sd), float(np.quantile(what, q))
            )


# ---- the product's search


@dataclass
class Cpmodel:
    """`cpmodel run` on a table: the same decisions, trainings answered by the table."""

    confidence: float = CONFIDENCE
    tolerance: float = TOLERANCE
    steps: list[dict[str, Any]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    fresh: int = 0  # trainings that verified a candidate

    def __call__(self, trainings: Trainings) -> int | None:
        """Search until it stops by itself, or the budget is spent."""
        case, space = trainings.case, trainings.case.space
        rows = {key: row for row, key in enumerate(map(space.key, space.configurations(case.X)))}
        size, seed = first_size(space), trainings.seed
        first = first_requests(space, case.X, case.cost, first=size, baseline_seeds=2, study_seed=seed)
        requests = tuple(first)
        samples: list[Sample] = []
        while True:
            for request in requests:
                precision = trainings.train(rows[space.key(request.configuration)])
                self.fresh += request.purpose == "verify"
                samples.append(
                    Sample(request.configuration, request.seed, precision, purpose=request.purpose)
                )
            start = time.perf_counter()
            table = Samples.of(space, samples)
            view = View(
                space, table, case.X, case.cost, fit_precision(table).model,
                case.target, self.confidence, trainings.budget, self.tolerance, 1, trainings.seed,
            )  # fmt: skip
            step = decide(view)
            self.seconds.append(time.perf_counter() - start)
            if step.outlook is not None:
                has = step.has
                cheaper = case.cost[case.truth >= case.target] < has * (1 - self.tolerance)
                self.steps.append(
                    {
                        "trainings": len(samples),
                        "action": step.action,
                        "has": has / case.optimum,
                        "said": step.outlook.probability,
                        "saving": step.outlook.saving,
                        "true": int(cheaper.any()),
                    }
                )
            if step.action not in ("explore", "verify"):
                return None if step.evidence is None else rows[step.evidence.key]
            requests = step.requests


def methods() -> dict[str, Callable[[], Method]]:
    """Every method there is: the product's, and the peers that are installed."""
    from search_peers import PEERS

    return {"cpmodel": Cpmodel, **{name: lambda peer=peer: peer for name, peer in PEERS.items()}}


# ---- the measurement


def measured(case: Case, name: str, method: Method, seed: int, until_found: bool) -> dict[str, Any]:
    """One line: what one search did."""
    trainings = Trainings(case, seed, until_found)
    start = time.perf_counter()
    claim = None
    with contextlib.suppress(FoundError):
        claim = method(trainings)
    return {
        "case": case.name,
        "method": name,
        "seed": seed,
        "found_after": trainings.found_after(),
        "found": trainings.found(),
        "trainings": len(trainings.rows),
        "claims": int(claim is not None),
        "wrong": int(claim is not None and not case.reaches(claim)),
        "claimed": np.nan if claim is None else case.cost[claim] / case.optimum,
        "seconds": time.perf_counter() - start,
    }


def append(path: Path, rows: list[dict[str, Any]]) -> None:
    """Add lines to a CSV, with a header where it is new."""
    pd.DataFrame(rows).to_csv(path, mode="a", header=not path.exists(), index=False, float_format="%.6g")


def done(path: Path) -> set[tuple[str, str, int]]:
    """The (case, method, seed) that a CSV holds."""
    if not path.exists():
        return set()
    table = pd.read_csv(path)
    return set(zip(table["case"], table["method"], table["seed"], strict=True))


def geometric_mean(values: pd.Series[float]) -> float:
    """The geometric mean."""
    return float(np.exp(np.log(values).mean()))


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One line a method and a group of cases: medians of the cases, and the claims of all searches."""
    table = table.assign(kind=table["case"].str.replace(r" [\d.]+%$", "", regex=True))
    noisy = table[table["kind"].isin(["cifar10", "cifar100"])].assign(kind="all six")
    lines = []
    for (kind, method), rows in pd.concat([noisy, table]).groupby(["kind", "method"], sort=False):
        by_case = rows.groupby("case", sort=False)
        claims = int(rows["claims"].sum())
        wrong = int(rows["wrong"].sum())
        lines.append(
            {
                "cases": kind,
                "method": method,
                "n": len(rows),
                "found_after": geometric_mean(by_case["found_after"].median()),
                "of_each": " ".join(f"{m:g}" for m in by_case["found_after"].median()),
                "never": int((rows["found_after"] >= BUDGET).sum()),
                "trainings": rows["trainings"].median(),
                "claims": claims,
                "wrong": wrong,
                # exact (Clopper-Pearson) bound on the share of wrong claims
                "wrong_at_most": stats.beta.ppf(0.95, wrong + 1, claims - wrong)
                if claims > wrong
                else np.nan,
                "claimed": rows["claimed"].median(),
                "claimed_q90": rows["claimed"].quantile(0.9),
            }
        )
    return pd.DataFrame(lines)


def calibration(steps: pd.DataFrame) -> pd.DataFrame:
    """Probability said that something cheaper exists, and the share of times that it did, by deciles."""
    decile = np.minimum((steps["said"] * 10).astype(int), 9)
    found = steps.groupby(decile).agg(n=("said", "size"), said=("said", "mean"), found=("true", "mean"))
    return found.assign(
        searches=steps.groupby(decile)[["case", "seed"]].apply(lambda g: len(g.drop_duplicates()))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", type=Path, help="folder of the public tables")
    parser.add_argument("--grid", type=Path, help="CSV of trainings of the plain family")
    parser.add_argument("--methods", default="cpmodel", help="names with commas between, or all")
    parser.add_argument("--cases", default="", help="only cases whose name starts with this")
    parser.add_argument("--noisy", action="store_true", help="only the smoothed tables with noise")
    parser.add_argument("--raw", action="store_true", help="only the tables as they are")
    parser.add_argument("--seeds", default="0:20", help="first and one past the last")
    parser.add_argument("--until-found", action="store_true", help="end a search there, without a claim")
    parser.add_argument("--minutes", type=float, default=np.inf, help="start no search after so long")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--steps", type=Path, default=STEPS)
    parser.add_argument("--summary", action="store_true", help="only print what was measured")
    options = parser.parse_args()
    start = time.perf_counter()
    if not options.summary:
        cases = [
            *(nats_cases(options.tables) if options.tables else ()),
            *(grid_cases(options.grid) if options.grid else ()),
        ]
        if options.noisy or options.raw:
            cases = [case for case in cases if (case.noise > 0) == options.noisy]
        there = methods()
        names = list(there) if options.methods == "all" else options.methods.split(",")
        have = done(options.out)
        for seed in range(*map(int, options.seeds.split(":"))):
            for case in cases:
                for name in names:
                    if (case.name, name, seed) in have or not case.name.startswith(options.cases):
                        continue
                    if time.perf_counter() - start > 60 * options.minutes:
                        return
                    method = there[name]()
                    with threadpool_limits(1):
                        line = measured(case, name, method, seed, options.until_found)
                        append(options.out, [line])
                        if isinstance(method, Cpmodel):
                            key = {"case": case.name, "seed": seed}
                            append(options.steps, [key | row for row in method.steps])
    table = pd.read_csv(options.out)
    print(summary(table).to_string(index=False, float_format="{:.3g}".format))
    if options.steps.exists():
        steps = pd.read_csv(options.steps)
        # of single seeds taken for the truth nobody can say whether a lucky one exists
        steps = steps[~steps["case"].str.contains(" raw | as trained ")]
        for plain, rows in steps.groupby(steps["case"].str.startswith("plain")):
            print("plain family" if plain else "NATS-Bench")
            print(calibration(rows).to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
