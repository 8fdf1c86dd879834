#!/usr/bin/env python3
"""What stopping early saves, and what it costs the surrogates, replayed on whole trainings.

    python scripts/bench/early.py [TABLE] [--trainings 60] [--repeats 20] [--shares 1,1.5,2,3]

TABLE is a samples table of whole trainings with their curves (cpmodel sample --full). In each repeat so many
of them are taken in random order and replayed as the pool would train them: the rule is fitted to those that
ended before (one other is always in hand), each training stops where the rule says, and its precision is the
forecast. Then the surrogate is fitted to what was seen, and tested on all other configurations of the table,
beside the same surrogate fitted to the same trainings run whole. One CSV line for each share of a
seed's variance that a forecast may add: means over repeats; `rate` is epochs of whole trainings by epochs
spent, `rate_later` that of the second half, `rms_in_sd` and `within_90` say how right the forecasts'
deviations are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.stats import sem
from threadpoolctl import threadpool_limits

from cpmodel.files import replacing
from cpmodel.pipeline.fitting import fit_precision
from cpmodel.records.sample import Sample
from cpmodel.samples import Samples, read_csv
from cpmodel.training.early import Rule

MEASURED = Path(__file__).parents[2] / "data" / "measured"
IMAGES = 5000  # of the validation split of the embedded images
IN_HAND = 1  # trainings that are at work, and so unknown, when another one is handed out


@dataclass(frozen=True)
class Whole:
    """Whole trainings, one of each configuration.

    Parameters
    ----------
    table : of `samples`, row by row
    """

    samples: tuple[Sample, ...]
    table: Samples

    @classmethod
    def of(cls, path: Path) -> Whole:
        """What a file holds."""
        read = read_csv(path)
        found: dict[str, Sample] = {}
        for sample in samples_of(read):
            found.setdefault(read.space.key(sample.configuration), sample)
        return cls(tuple(found.values()), Samples.of(read.space, found.values()))

    @property
    def epochs(self) -> int:
        """Of a whole training."""
        return len(self.samples[0].curve)


def samples_of(table: Samples) -> list[Sample]:
    """The rows of a table that have a precision, as far as a replay needs them."""
    usable = table.usable
    configurations = table.space.configurations(usable.X)
    cells = (usable.frame[name] for name in ("seed", "precision", "status", "curve"))
    return [
        Sample(configuration, int(seed), float(precision), status=status, curve=tuple(json.loads(curve)))
        for configuration, seed, precision, status, curve in zip(configurations, *cells, strict=True)
    ]


def replayed(whole: Whole, order: Sequence[int], share: float) -> list[Sample]:
    """The samples of a study that trains in this order and stops early."""
    seen: list[Sample] = []
    rule, known = None, -1
    for row in order:
        sample = whole.samples[row]
        ended = seen[: max(0, len(seen) - IN_HAND)]
        if (count := sum(s.status == "complete" for s in ended)) != known:
            table, known = Samples.of(whole.table.space, ended), count
            rule = Rule.of(table, whole.epochs, IMAGES, share)
        if rule is not None:
            stopping = rule.stopping(sample.configuration)
            for epoch in range(1, whole.epochs):
                curve = sample.curve[:epoch]
                forecast = stopping.forecast(curve)
                if forecast is not None and stopping(curve):
                    sample = replace(
                        sample,
                        precision=forecast.precision,
                        precision_sd=forecast.sd,
                        status="stopped",
                        curve=curve,
                    )
                    break
        seen.append(sample)
    return seen


def held_out_error(whole: Whole, samples: Sequence[Sample], rest: Sequence[int], model: str) -> float:
    """Mean of |predicted - measured| / measured of the trainings in `rest`."""
    space = whole.table.space
    fitted = fit_precision(Samples.of(space, samples), model).model
    measured = whole.table.precision[list(rest)]
    predicted = fitted.predict(space.filled(whole.table.X[list(rest)]))
    return float(np.mean(np.abs(predicted - measured) / measured))


def one_repeat(
    whole: Whole, trainings: int, shares: Sequence[float], model: str, repeat: int
) -> list[dict[str, float]]:
    """One row a share, all of the same trainings."""
    order = np.random.default_rng(repeat).permutation(len(whole.samples))
    first, rest = order[:trainings].tolist(), order[trainings:].tolist()
    found = []
    with threadpool_limits(1):
        error = held_out_error(whole, [whole.samples[row] for row in first], rest, model)
        for share in shares:
            seen = replayed(whole, first, share)
            stopped = [
                (s, whole.samples[row]) for s, row in zip(seen, first, strict=True) if s.status == "stopped"
            ]
            missed = [(s.precision - w.precision) / s.precision_sd for s, w in stopped]
            epochs = np.array([len(s.curve) for s in seen])
            found.append(
                {
                    "share": share,
                    "repeat": repeat,
                    "stopped": len(stopped),
                    "spent": epochs.sum() / (whole.epochs * trainings),
                    "spent_later": epochs[trainings // 2 :].mean() / whole.epochs,
                    "error_whole": error,
                    "error": held_out_error(whole, seen, rest, model),
                    "missed": float(np.mean(np.square(missed))) if missed else np.nan,
                    "within": float(np.mean(np.abs(missed) <= 1.645)) if missed else np.nan,
                }
            )
    return found


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """One line a share; a ratio of means has its standard error by the delta method."""
    lines = []
    for share, rows in results.groupby("share"):
        error, error_whole = rows["error"].to_numpy(float), rows["error_whole"].to_numpy(float)
        stopped, ratio = rows["stopped"].to_numpy(float), error.mean() / error_whole.mean()
        lines.append(
            {
                "share": share,
                "repeats": len(rows),
                "stopped": stopped.mean(),
                "rate": 1.0 / rows["spent"].to_numpy(float).mean(),
                "rate_later": 1.0 / rows["spent_later"].to_numpy(float).mean(),
                "error_whole": error_whole.mean(),
                "error": error.mean(),
                "ratio": ratio,
                "ratio_se": sem(error - ratio * error_whole) / error_whole.mean(),
                "rms_in_sd": np.sqrt(np.average(rows["missed"].fillna(0), weights=stopped)),
                "within_90": np.average(rows["within"].fillna(0), weights=stopped),
            }
        )
    return pd.DataFrame(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", type=Path, nargs="?", default=MEASURED / "fashion_mnist_grid.csv")
    parser.add_argument("--trainings", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--shares", default="1,1.5,2,3")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=MEASURED / "early.csv")
    options = parser.parse_args()
    whole = Whole.of(options.table)
    if len(whole.samples) < options.trainings:
        parser.error(f"expected {options.trainings} whole trainings, got {len(whole.samples)}")
    shares = [float(share) for share in options.shares.split(",")]
    work = [
        delayed(one_repeat)(whole, options.trainings, shares, options.model, repeat)
        for repeat in range(options.repeats)
    ]
    lines = summary(pd.DataFrame([row for rows in Parallel(options.jobs)(work) for row in rows]))
    lines.insert(0, "configurations", len(whole.samples))
    lines.insert(1, "trainings", options.trainings)
    with replacing(options.out) as temporary:
        lines.to_csv(temporary, index=False, float_format="%.6g")
    print(lines.to_string(index=False, float_format="{:.4g}".format))


if __name__ == "__main__":
    main()
