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
from dataclasses import dataclass

import numpy as np
import pandas as pd
from search import MEASURED, Case, Cpmodel, Trainings

from cpmodel.families.base import Task
from cpmodel.families.plain import PlainFamily
from cpmodel.pipeline.fitting import fit_precision
from cpmodel.pipeline.loop import pooled_noise
from cpmodel.samples import Samples, read_csv

FACES = Task(64, 64, 3, 2)
DROP, BUDGET, CONFIDENCE = 0.02, 40, 0.9
LFW = MEASURED / "lfw_gender"


@dataclass(frozen=True, eq=False)
class Faces:
    """The study as a case."""

    case: Case
    baseline_macs: float

    @classmethod
    def of(cls) -> Faces:
        """What the study's two tables hold."""
        tables = [read_csv(LFW / name) for name in ("samples.csv", "run_samples.csv")]
        frame = pd.concat([table.frame for table in tables], ignore_index=True)
        samples = Samples(tables[0].space, frame.drop_duplicates([*"fskl", "seed"], ignore_index=True))
        noise, _ = pooled_noise(samples.keys, samples.precision)
        model = fit_precision(samples, validate=False).model
        space = PlainFamily().space(FACES)
        X = space.enumerate()
        macs = PlainFamily().costs(X, FACES)["macs"]
        top = space.matrix([space.baseline])
        target = float(model.predict(top)[0]) - DROP
        case = Case("faces", space, X, macs, model.predict(X), noise, target)
        return cls(case, float(PlainFamily().costs(top, FACES)["macs"][0]))

    def lines(self, seeds: range) -> Iterator[dict[str, object]]:
        """One line a search."""
        case = self.case
        for seed in seeds:
            trainings = Trainings(case, seed, budget=BUDGET)
            claim = Cpmodel(confidence=CONFIDENCE)(trainings)
            key = "" if claim is None else case.space.key(case.space.configurations(case.X[[claim]])[0])
            yield {
                "seed": seed,
                "trainings": len(trainings.rows),
                "claim": key,
                "fewer_macs": np.nan if claim is None else self.baseline_macs / case.cost[claim],
                "right": "" if claim is None else int(case.reaches(claim)),
                "cheapest_fewer_macs": self.baseline_macs / case.optimum,
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", default="0:20", help="first and one past the last")
    parser.add_argument("--out", default=MEASURED / "search_lfw.csv")
    options = parser.parse_args()
    table = pd.DataFrame(Faces.of().lines(range(*map(int, options.seeds.split(":")))))
    table.to_csv(options.out, index=False, float_format="%.4g")
    print(table.to_string(index=False, float_format="{:.3g}".format))
    print(table["fewer_macs"].describe().to_string(float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
