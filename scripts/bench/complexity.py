#!/usr/bin/env python3
"""How right the complexity models are, on run-times of a public benchmark and of the plain family.

    python scripts/bench/complexity.py --tables PATH [--costs costs.csv ...] [--out PATH]

`--tables` holds mlperf_mobilenets.csv (MLPerf inference results v3.0, Apache-2.0): MobileNet v1 and v2 by
width and resolution on many devices. For every device and number format with the whole MobileNet v1 grid (16
networks): each network predicted from the 15 others, and MobileNet v2 from the 16 of v1. `--costs` are
run-times of the plain family that ``cpmodel measure`` wrote: 50 random configurations held out, 10 times.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cpmodel.costs.table import read_csv
from cpmodel.errors import FitWarning
from cpmodel.families.base import Task
from cpmodel.families.plain import PlainFamily
from cpmodel.files import replacing
from cpmodel.layers import Tally
from cpmodel.space import Floats
from cpmodel.surrogates.complexity.auto import AutoComplexity
from cpmodel.surrogates.complexity.model import ComplexityModel, errors
from cpmodel.surrogates.complexity.steps import WorkSteps
from cpmodel.surrogates.complexity.work import Eq1, LinearWork

OUT = Path(__file__).parents[2] / "data" / "measured" / "surrogates_c.csv"
MODELS: dict[str, Callable[[], ComplexityModel]] = {
    "eq1": Eq1,
    "eq1 relative": lambda: Eq1(weighting="relative"),
    "macs and traffic": lambda: LinearWork(terms=["conv_macs", "activation_elements"]),
    "linear, squared": lambda: LinearWork(loss="squared"),
    "linear": LinearWork,
    "steps": WorkSteps,
    "auto": AutoComplexity,
}
HELD_OUT, REPEATS = 50, 10
CLASSES = 1001

# Output channels and stride of the 13 separable layers; expansion, channels, repeats, stride of the 7 stages
V1 = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
V2 = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


class Mobile:
    """Adds up the layers of one MobileNet, from the image on."""

    def __init__(self, resolution: int) -> None:
        self.tally = Tally(1)
        self.f, self.s = 3, resolution
        self.depthwise = self.maps = self.pixels = 0.0

    def convolution(self, k: int, f: int, stride: int = 1) -> None:
        """A convolution with batch norm; one with as many groups as maps where f is 0."""
        groups, out, s = (self.f, self.f, 0) if f == 0 else (1, f, 0)
        s = -(-self.s // stride)
        self.tally.convolution(self.f, k, out, self.s, s, bias=False, groups=groups)
        self.tally.batch_norm(out)
        self.depthwise += k * k * out * s * s if f == 0 else 0
        self.maps += out
        self.pixels += s * s
        self.f, self.s = out, s

    def columns(self) -> dict[str, float]:
        """Amounts of work, the average pooling and the dense layer included."""
        self.tally.pooling(self.f, self.s, 1)
        self.tally.dense(self.f, CLASSES)
        columns = {name: float(values[0]) for name, values in self.tally.columns().items()}
        return {**columns, "depthwise_macs": self.depthwise, "maps": self.maps, "pixels": self.pixels}


def rounded(channels: float) -> int:
    """MobileNet v2's channels: the nearest multiple of 8, but never less than nine tenths."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def mobilenet_v1(width: float, resolution: int) -> dict[str, float]:
    net = Mobile(resolution)
    net.convolution(3, max(int(32 * width), 8), 2)
    for f, stride in V1:
        net.convolution(3, 0, stride)
        net.convolution(1, max(int(f * width), 8))
    return net.columns()


def mobilenet_v2(width: float, resolution: int) -> dict[str, float]:
    net = Mobile(resolution)
    net.convolution(3, rounded(32 * width), 2)
    for expansion, f, repeats, stride in V2:
        for repeat in range(repeats):
            if expansion > 1:
                net.convolution(1, net.f * expansion)
            net.convolution(3, 0, stride if repeat == 0 else 1)
            net.convolution(1, rounded(f * width))
    net.convolution(1, max(1280, rounded(1280 * width)))
    return net.columns()


def devices(path: Path) -> Iterator[tuple[str, str, pd.DataFrame, pd.DataFrame]]:
    """Device, number format, and the MobileNet v1 and v2 rows, where the whole grid of v1 is there."""
    table = pd.read_csv(path)
    builders = {"mobilenet_v1": mobilenet_v1, "mobilenet_v2": mobilenet_v2}
    table = table[table["family"].isin(list(builders)) & table["latency_p50_ms"].notna()]
    work = [
        builders[f](w, r)
        for f, w, r in zip(table["family"], table["width"], table["resolution"], strict=True)
    ]
    table = pd.concat([table.reset_index(drop=True), pd.DataFrame(work)], axis=1)
    for (system, dtype), rows in table.groupby(["system", "precision"]):
        v1, v2 = (rows[rows["family"] == f].reset_index(drop=True) for f in builders)
        if len(v1[["width", "resolution"]].drop_duplicates()) == 16 == len(v1):
            yield str(system), str(dtype), v1, v2


def scored(
    row: dict[str, Any], model: ComplexityModel, rest: Any, measured: Floats, start: float
) -> dict[str, Any]:
    error, within = errors(measured, model.predict(rest))
    seconds = time.perf_counter() - start
    return {**row, "tested": len(measured), "relative_error": error, "within_10": within, "seconds": seconds}


def mlperf(path: Path) -> Iterator[dict[str, Any]]:
    """One row a device, number format, protocol and model."""
    for system, dtype, v1, v2 in devices(path):
        work = list(mobilenet_v1(1.0, 224))
        columns, c = [*work, "width", "resolution"], v1["latency_p50_ms"].to_numpy()
        for name, new in MODELS.items():
            row: dict[str, Any] = {"table": "mlperf", "system": system, "conditions": dtype, "model": name}
            start, predicted = time.perf_counter(), np.empty(16)
            for out in range(16):
                rest = np.arange(16) != out
                model = new().fit(v1.loc[rest, columns], c[rest])
                predicted[out] = model.predict(v1.loc[[out], columns])[0]
            error, within = errors(c, predicted)
            seconds = (time.perf_counter() - start) / 16
            yield {
                **row,
                "protocol": "leave one out",
                "trained": 15,
                "tested": 16,
                "relative_error": error,
                "within_10": within,
                "seconds": seconds,
            }
            if len(v2):
                start = time.perf_counter()
                model = new().fit(v1[work], c)
                row |= {"protocol": "v1 to v2", "trained": 16}
                yield scored(row, model, v2[work], v2["latency_p50_ms"].to_numpy(), start)


def plain(path: Path, task: Task) -> Iterator[dict[str, Any]]:
    """One row a repeat, conditions and model."""
    family = PlainFamily()
    table = read_csv(path, family.space(task))
    for cost in table.kinds:
        rows, conditions = table.matching(cost), cost.conditions
        X, c = rows.X, rows.values
        assert conditions is not None
        if len(c) < 2 * HELD_OUT:
            raise SystemExit(
                f"{path}: {conditions}: expected {2 * HELD_OUT} configurations or more, got {len(c)}"
            )
        names = ["f", "s", "k", "l"]
        work = pd.concat([pd.DataFrame(family.costs(X, task)), pd.DataFrame(X, columns=names)], axis=1)
        for repeat in range(REPEATS):
            order = np.random.default_rng(repeat).permutation(len(c))
            test, train = order[:HELD_OUT], order[HELD_OUT:]
            for name, new in MODELS.items():
                row = {
                    "table": "plain",
                    "system": conditions.device,
                    "conditions": f"batch {conditions.batch}",
                    "model": name,
                    "protocol": f"repeat {repeat}",
                    "trained": len(train),
                }
                start = time.perf_counter()
                model = new().fit(work.iloc[train], c[train])
                yield scored(row, model, work.iloc[test], c[test], start)


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """Median over systems (mean over repeats) of the relative error, share of all points within 10 %."""
    lines = []
    results = results.assign(protocol=results["protocol"].str.replace(r"repeat \d+", "held out", regex=True))
    own = results["system"] + ", " + results["conditions"]
    for (table, protocol, model, group), rows in results.groupby(
        ["table", "protocol", "model", own.where(results["table"] == "plain", "all")], sort=False
    ):
        middle = rows["relative_error"].median() if table == "mlperf" else rows["relative_error"].mean()
        lines.append(
            {
                "table": table,
                "conditions": group,
                "protocol": protocol,
                "model": model,
                "runs": len(rows),
                "relative_error": middle,
                "within_10": np.average(rows["within_10"], weights=rows["tested"]),
                "fit_s": rows["seconds"].median(),
            }
        )
    return pd.DataFrame(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", type=Path, help="folder with mlperf_mobilenets.csv")
    parser.add_argument("--costs", type=Path, nargs="*", default=[], help="run-times of the plain family")
    parser.add_argument("--side", type=int, default=28, help="pixels of the images of --costs")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    warnings.simplefilter("ignore", FitWarning)
    results: list[dict[str, Any]] = []
    if options.tables:
        results += mlperf(options.tables / "mlperf_mobilenets.csv")
    for path in options.costs:
        results += plain(path, Task(options.side, options.side, options.channels, options.classes))
    if not results:
        parser.error("nothing to do: give --tables, --costs or both")
    table = pd.DataFrame(results)
    with replacing(options.out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    lines = summary(table)
    print(
        lines.to_string(
            index=False,
            formatters={
                "relative_error": "{:.2%}".format,
                "within_10": "{:.0%}".format,
                "fit_s": "{:.3f}".format,
            },
        )
    )


if __name__ == "__main__":
    main()
