#!/usr/bin/env python3
"""Seconds a suggestion takes on one core: fit to 30 trainings, and decide over every configuration.

    python scripts/bench/search_speed.py [--out CSV]     # alone on the machine

Made-up precision (a power law of the error with noise of 0.2 points) over grids of 32,768 and 1,000,000
configurations, cost a sum of products of neighbouring parameters, targets at three quantiles of the
precision. Time of the processor and of the clock, medians of three.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from cpmodel.pipeline.fitting import fit_precision
from cpmodel.records.sample import Purpose, Sample
from cpmodel.samples import Samples
from cpmodel.search.decide import View, decide
from cpmodel.search.first import first_requests, first_size
from cpmodel.space import Floats, Parameter, Space

TRAININGS, REPEATS, NOISE = 30, 3, 0.002
SIZES = {32_768: (5, 8), 1_000_000: (6, 10)}  # parameters, values of each


def truth(X: Floats) -> Floats:
    """Precision of the rows of X."""
    exponents = np.linspace(0.03, 0.08, X.shape[1])
    return np.asarray(1 - 0.1 * np.prod((X / X.max()) ** -exponents, axis=1))


def lines() -> Iterator[dict[str, float]]:
    """One line a size and a target."""
    for size, (parameters, values) in SIZES.items():
        steps = tuple(range(8, 8 * values + 1, 8))
        space = Space(tuple(Parameter(f"c{i}", steps) for i in range(parameters)))
        X = space.candidates()
        cost = (X[:, :-1] * X[:, 1:]).sum(axis=1)
        for quantile in (0.5, 0.8, 0.95):
            rng = np.random.default_rng(0)
            target = float(np.quantile(truth(X), quantile))

            first = first_requests(space, X, cost, first=first_size(space), baseline_seeds=2, study_seed=0)
            asked = [(r.configuration, r.seed, r.purpose) for r in first]
            near = rng.choice(np.flatnonzero(np.abs(truth(X) - target) < 2 * NOISE), TRAININGS, replace=False)
            asked += [(c, 0, Purpose.REFINE) for c in space.configurations(X[near])]
            asked = asked[:TRAININGS]
            means = truth(np.concatenate([space.matrix([c for c, *_ in asked]), X[-1:]]))
            observed = means[:-1] + NOISE * rng.standard_normal(len(asked))
            table = Samples.of(
                space,
                [
                    Sample(c, seed, float(p), purpose=why)
                    for (c, seed, why), p in zip(asked, observed, strict=True)
                ],
            )
            clock, processor = [], []
            for _ in range(REPEATS):
                begun, used = time.perf_counter(), time.process_time()
                model = fit_precision(table).model
                decide(View(space, table, X, cost, model, target, 0.95, 60, 0.05, 1, 0))
                clock.append(time.perf_counter() - begun)
                processor.append(time.process_time() - used)
            yield {
                "configurations": size,
                "target_quantile": quantile,
                "trainings": TRAININGS,
                "processor_s": float(np.median(processor)),
                "clock_s": float(np.median(clock)),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    out = Path(__file__).parents[2] / "data" / "measured" / "search_speed.csv"
    parser.add_argument("--out", type=Path, default=out)
    options = parser.parse_args()
    with threadpool_limits(1):
        table = pd.DataFrame(lines())
    table.to_csv(options.out, index=False, float_format="%.3g")
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
