#!/usr/bin/env python3
"""How a search of 40 trainings fares on gender on LFW, many times over: the study's networks as the truth.

    python scripts/bench/search_lfw.py [--seeds 0:20] [--out CSV]

A training of the study in data/measured/lfw_gender/ takes minutes, so it searched once. Here `auto`, fitted
to all its trainings, is the truth, and a training observes it with fresh noise as large as its repeats
tell. The target is the truth of the baseline less 0.02, the confidence 0.9. One line a search: its claim,
by how many times that has fewer MACs than the baseline, and whether it truly reaches the target; and how
many times fewer the cheapest has that does.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
from search import MEASURED, Case, Cpmodel, Trainings

from cpmodel.families.base import Task
from cpmodel.families.plain import PlainFamily
from cpmodel.pipeline.fitting import fit_precision
from cpmodel.samples import Samples, read_csv
from cpmodel.search.evidence import pooled_noise
from cpmodel.space import Floats, Space

FACES = Task(64, 64, 3, 2)
DROP, BUDGET, CONFIDENCE = 0.02, 40, 0.9
LFW = MEASURED / "lfw_gender"


def faces() -> Case:
    """The study's two tables, as a truth."""
    tables = [read_csv(LFW / name) for name in ("samples.csv", "run_samples.csv")]
    frame = pd.concat([table.frame for table in tables], ignore_index=True)
    samples = Samples(tables[0].space, frame.drop_duplicates([*"fskl", "seed"], ignore_index=True))
    noise, _ = pooled_noise(samples.keys, samples.precision)
    space = PlainFamily().space(FACES)
    X = space.candidates()
    truth = fit_precision(samples).model.predict(X)
    target = float(truth[baseline_row(space, X)]) - DROP
    return Case("faces", space, X, PlainFamily().costs(X, FACES)["macs"], truth, noise, target)


def baseline_row(space: Space, X: Floats) -> int:
    """Where the baseline stands in X."""
    return int(np.flatnonzero((space.matrix([space.baseline]) == X).all(axis=1))[0])


def lines(case: Case, seeds: range) -> Iterator[dict[str, object]]:
    """One line a search."""
    whole = case.cost[baseline_row(case.space, case.X)]
    for seed in seeds:
        trainings = Trainings(case, seed, budget=BUDGET)
        claim = Cpmodel(confidence=CONFIDENCE)(trainings)
        none = claim is None
        yield {
            "seed": seed,
            "trainings": len(trainings.rows),
            "claim": "" if none else case.space.key(case.space.configurations(case.X[[claim]])[0]),
            "fewer_macs": np.nan if none else whole / case.cost[claim],
            "right": "" if none else int(case.reaches(claim)),
            "cheapest_fewer_macs": whole / case.optimum,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", default="0:20", help="first and one past the last")
    parser.add_argument("--out", default=MEASURED / "search_lfw.csv")
    options = parser.parse_args()
    table = pd.DataFrame(lines(faces(), range(*map(int, options.seeds.split(":")))))
    table.to_csv(options.out, index=False, float_format="%.4g")
    print(table.to_string(index=False, float_format="{:.3g}".format))
    print(table["fewer_macs"].describe().to_string(float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
