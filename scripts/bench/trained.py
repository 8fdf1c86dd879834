#!/usr/bin/env python3
"""The search on real trainings: the product and other optimisers, each with as many trainings.

    python scripts/bench/trained.py [--drops 0.01,0.02,0.05] [--repeats 3] [--methods ...] [--jobs 2]
    python scripts/bench/trained.py --summary

Networks of the plain family are trained on the embedded images with the product's recipe. The target is the
baseline's mean validation precision (3 seeds) minus a drop. `cpmodel run`'s decisions are taken as they are,
until they stop by themselves; every other method then has exactly as many trainings: as many to search with
as the product searched with, and as many fresh seeds to verify with. Their candidates are the configurations
that were seen to reach the target, the cheapest first; each gets 3 fresh seeds, and the first whose mean
over them reaches the target is the answer (the product asks more of its own: see `cpmodel.search.decide`).

The n-th training of a configuration in a repeat has the same seed for every method, and on the CPU the same
seed gives the same network, so a training that several ask for is done once: `--store` keeps them all. One
CSV line for each drop, repeat and method; lines that are there are not made again.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from search import MEASURED, Case, Cpmodel, Trainings, append

import cpmodel.datasets
from cpmodel.families import get_family
from cpmodel.families.base import Task
from cpmodel.locks import locked
from cpmodel.recipe import Recipe
from cpmodel.search.evidence import training_seed
from cpmodel.space import Space
from cpmodel.training.trainer import Trainer

OUT, STORE = MEASURED / "trained.csv", MEASURED / "trained_samples.csv"
GRID = MEASURED / "fashion_mnist_grid.csv"
SEEDS_EACH = 3
FAMILY = get_family("plain")


@cache
def trainer() -> Trainer:
    images = cpmodel.datasets.load()
    return Trainer(images, FAMILY, Recipe.default(len(images.train.images)))


@cache
def task() -> Task:
    images = trainer().images
    return Task(*images.image_shape, len(images.class_names))


@cache
def grid() -> dict[tuple[str, int], float]:
    """The trainings of the whole space that are there already, by configuration and seed."""
    table = pd.read_csv(GRID)
    keys = ("f={},s={},k={},l={}".format(*row) for row in table[["f", "s", "k", "l"]].itertuples(index=False))
    return dict(zip(zip(keys, table["seed"], strict=True), table["precision"], strict=True))


def precision(store: Path, space: Space, row: Any, seed: int) -> float:
    """Validation precision of one training; from the store if it was done before."""
    configuration = space.configurations(np.atleast_2d(row))[0]
    key = space.key(configuration)

    def kept() -> float | None:
        if (key, seed) in grid():
            return grid()[key, seed]
        if not store.exists():
            return None
        table = pd.read_csv(store)
        found = table[(table["configuration"] == key) & (table["seed"] == seed)]["precision"]
        return float(found.iloc[0]) if len(found) else None

    with locked(store.with_suffix(".lock")):
        known = kept()
    if known is not None:
        return known
    trained = trainer().train(configuration, seed)
    with locked(store.with_suffix(".lock")):
        if kept() is None:  # else another process was at it, too
            line = {"configuration": key, "seed": seed, "precision": trained.validation.precision}
            append(store, [line | {"train_s": trained.train_s, "plan": str(trained.plan)}])
    return trained.validation.precision


@dataclass(eq=False)
class Real(Trainings):
    """Trainings that are done, not looked up in a table of what is true."""

    store: Path = STORE

    def train(self, row: int) -> float:
        """Precision of one more training of a configuration."""
        seed = training_seed(self.seed, self.rows.count(row))
        observed = precision(self.store, self.case.space, self.case.X[row], seed)
        self.rows.append(int(row))
        self.observed.append(observed)
        return observed

    def verified(self, budget: int) -> int | None:
        """The cheapest seen to reach the target that does so on fresh seeds, too."""
        seen = pd.DataFrame({"row": self.rows, "p": self.observed}).groupby("row")["p"].mean()
        good = [int(row) for row in seen[seen >= self.case.target].index]
        for row in sorted(good, key=lambda r: float(self.case.cost[r])):
            if budget < SEEDS_EACH:
                break
            budget -= SEEDS_EACH
            if np.mean([self.train(row) for _ in range(SEEDS_EACH)]) >= self.case.target:
                return row
        return None


def case_of(drop: float, store: Path) -> Case:
    """The plain family on the embedded images; what is true is not known, and not used."""
    space = FAMILY.space(task())
    X = space.candidates()
    cost = FAMILY.costs(X, task())["macs"]
    baseline = space.matrix([space.baseline])[0]
    mean = np.mean([precision(store, space, baseline, n) for n in range(SEEDS_EACH)])
    return Case(f"baseline - {drop:g}", space, X, cost, np.ones(len(X)), 0.0, float(mean) - drop)


def searched(drop: float, repeat: int, names: list[str], out: Path, store: Path) -> None:
    """All methods on one drop and repeat."""
    from search_peers import PEERS

    have = set()
    if out.exists():
        table = pd.read_csv(out)
        have = set(zip(table["drop"], table["repeat"], table["method"], strict=True))
    case = case_of(drop, store)
    own = Real(case, repeat, store=store)
    search = Cpmodel(confidence=0.9)
    answer = search(own)
    lines = [("cpmodel", own, answer)]
    for name in names:
        if (drop, repeat, name) in have:
            continue
        other = Real(case, repeat, store=store, budget=len(own.rows) - search.fresh)
        PEERS[name](other)
        lines.append((name, other, other.verified(search.fresh)))
    dearest = float(case.cost[(case.X.max(axis=0) == case.X).all(axis=1)][0])
    with locked(out.with_suffix(".lock")):
        append(
            out,
            [
                {
                    "drop": drop,
                    "repeat": repeat,
                    "method": name,
                    "target": case.target,
                    "trainings": len(trainings.rows),
                    "answer": ""
                    if row is None
                    else case.space.key(case.space.configurations(case.X[[row]])[0]),
                    "macs": np.nan if row is None else case.cost[row],
                    "of_baseline": np.nan if row is None else case.cost[row] / dearest,
                }
                for name, trainings, row in lines
                if (drop, repeat, name) not in have
            ],
        )


def to_own(table: pd.DataFrame) -> pd.DataFrame:
    """The table with each answer's cost by that of the product's on the same drop and repeat."""
    own = table[table["method"] == "cpmodel"].set_index(["drop", "repeat"])["macs"]
    return table.assign(
        to_own=[m / own[d, r] for m, d, r in zip(table["macs"], table["drop"], table["repeat"], strict=True)]
    )


def overall(table: pd.DataFrame) -> pd.DataFrame:
    """Geometric mean over all drops and repeats in which there was an answer."""
    logs = np.log(to_own(table).set_index("method")["to_own"]).groupby(level=0, sort=False)
    return pd.DataFrame({"answered": logs.count(), "to_cpmodel": np.exp(logs.mean())})


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Median over the repeats of the cost of the verified answer, and of it to the product's."""
    return (
        to_own(table)
        .groupby(["drop", "method"], sort=False)
        .agg(
            repeats=("repeat", "size"),
            answered=("macs", "count"),
            trainings=("trainings", "median"),
            macs=("macs", "median"),
            of_baseline=("of_baseline", "median"),
            to_cpmodel=("to_own", "median"),
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--drops", default="0.01,0.02,0.05")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--methods", default="random,tpe (optuna),gp (optuna)", help="names of search_peers.py"
    )
    parser.add_argument("--jobs", type=int, default=2, help="searches at once, one core each")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--store", type=Path, default=STORE)
    parser.add_argument("--summary", action="store_true", help="only print what was measured")
    options = parser.parse_args()
    if not options.summary:
        case_of(0.0, options.store)  # the baseline's trainings, once
        Parallel(options.jobs)(
            delayed(searched)(drop, repeat, options.methods.split(","), options.out, options.store)
            for repeat in range(options.repeats)
            for drop in map(float, options.drops.split(","))
        )
    found = pd.read_csv(options.out)
    print(summary(found).to_string(float_format="{:.4g}".format))
    print(
        "in all, of cpmodel's, geometric mean",
        overall(found).to_string(float_format="{:.3g}".format),
        sep="\n",
    )


if __name__ == "__main__":
    import trained  # what is cached can be sent to other processes by the name of its module only

    trained.main()
