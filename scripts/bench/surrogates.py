#!/usr/bin/env python3
"""How right the precision models are, from few trainings, beside every serious alternative.

    pip install -r scripts/bench/requirements.txt  # two of the peers; left out when not there
    python scripts/bench/surrogates.py --tables PATH [--grid CSV [--seeds CSV]] [--repeats 20] [--minutes M]

Single results are kept beside the table of means (`--rows`) as they come; called again, with `--minutes` as
often as it takes, it computes what is missing, and then writes and prints the means. (Remove that file to
measure changed models.) `--only TABLE` and `--models NAME,...` do a part. `--floor` adds, for each table,
what a model reaches that has seen all other rows; and with `--seeds`, further trainings of some of the grid's
configurations, what one would reach that knew every mean over seeds.

`--tables` holds nats_bench_size.csv.gz (NATS-Bench sizes, MIT: 32,768 channel configurations, precision on
CIFAR-10 and CIFAR-100) and mlperf_mobilenets.csv (MLPerf inference results v3.0, Apache-2.0: MobileNet v1
and v2, fp32 rows, top-1 by width and resolution). `--grid` adds trainings of the plain family, a study's
samples.csv (columns f, s, k, l, precision; repeats of a configuration are averaged). `--noisy` adds what is
smooth in the NATS-Bench tables, with noise as large as what is left over, drawn afresh for each repeat: in
the tables as they are, all repeats that pick a configuration see the one draw of its noise.

Each model is trained on random rows and tested on (up to 2,000) others; all see the same rows. One CSV line
for each table, number of rows and model: means over repeats with their standard errors, and the mean
difference of the relative error to auto's with the standard error of that paired difference. "with costs":
the model also sees the exact multiply-accumulates and parameters of each network, as auto does in a study of
a known family. "coverage_chosen" is that of the 90 % interval at the cheapest untrained configuration
predicted to reach a target, over 200 targets.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from peers import PEERS, Peer, quadratic
from scipy import special
from smoothing import smoothed
from threadpoolctl import threadpool_limits

from cpmodel import registry
from cpmodel.families.base import Task
from cpmodel.families.plain import PlainFamily
from cpmodel.files import replacing
from cpmodel.space import Floats
from cpmodel.surrogates.features import Derived
from cpmodel.surrogates.precision.explinear import ExponentialLinear
from cpmodel.surrogates.precision.model import PrecisionModel, model_class

OUT = Path(__file__).parents[2] / "data" / "measured" / "surrogates_p.csv"
TEST_ROWS = 2000
LEVEL = 0.9
# Quantiles of a table's precision; many, so that the noise of a few configurations does not rule
TARGETS = np.linspace(0.3, 0.99, 200)
# So many rows tell a polynomial of the fourth degree; of so few, each is left out by itself
MANY_ROWS, FEW_ROWS = 10_000, 50
COLUMNS = [
    *(
        "table",
        "rows",
        "repeat",
        "model",
        "failed",
        "fit_s",
        "relative_error",
        "relative_error_p95",
        "train_sse",
    ),
    *("least", "greatest", "coverage", "width", "log_score", "coverage_chosen"),
]


@dataclass(frozen=True)
class Table:
    """A measured table: X, precision, complexity, the numbers of rows to train on, and how often.

    With `noise`, its standard deviation, P is the mean over seeds, and each repeat sees trainings of its own.
    """

    name: str
    X: Floats
    P: Floats
    C: Floats
    sizes: tuple[int, ...]
    repeats: int
    derived: Derived
    noise: float = 0.0

    def trained(self, seed: int) -> Table:
        """The table of one repeat."""
        if not self.noise:
            return self
        noise = self.noise * np.random.default_rng(seed).standard_normal(len(self.P))
        return replace(self, P=self.P + noise)

    @property
    def domain(self) -> Floats:
        """Least and greatest value of each parameter, shape (d, 2)."""
        return np.stack([self.X.min(axis=0), self.X.max(axis=0)], axis=1)


def tables(folder: Path | None, grid: Path | None, repeats: int, noisy: bool = False) -> Iterator[Table]:
    if folder is not None:
        nats = pd.read_csv(folder / "nats_bench_size.csv.gz")
        X = nats[["c1", "c2", "c3", "c4", "c5"]].to_numpy(np.float64)
        for data in ("cifar10", "cifar100"):
            P = nats[f"acc_{data}"].to_numpy() / 100
            C, derived = nats["macs_m"].to_numpy(), known(X, nats[["macs_m", "params_m"]])
            table = Table(f"nats {data}", X, P, C, (15, 30, 60, 100), repeats, derived)
            yield table
            if noisy:
                truth = smoothed(X, P)
                noise = float((P - truth).std())
                yield replace(table, name=f"nats {data}, fresh noise", P=truth, noise=noise)
        mobile = pd.read_csv(folder / "mlperf_mobilenets.csv").query("precision == 'fp32'")
        for family in ("mobilenet_v1", "mobilenet_v2"):
            rows = mobile[mobile["family"] == family].groupby(["width", "resolution"])
            means = rows[["top1", "macs_m", "params_m"]].mean().reset_index()
            X = means[["width", "resolution"]].to_numpy(np.float64)
            C = means["macs_m"].to_numpy()
            P, derived = means["top1"].to_numpy() / 100, known(X, means[["macs_m", "params_m"]])
            yield Table(family, X, P, C, (8, 12), round(2.5 * repeats), derived)
    if grid is not None:
        yield plain_family(grid, repeats)


def known(X: Floats, costs: pd.DataFrame) -> Derived:
    """Columns of a table, found again by its rows."""
    places = {row.tobytes(): place for place, row in enumerate(X)}
    values = costs.to_numpy(np.float64)
    return Derived(
        tuple(costs.columns),
        lambda rows: values[[places[row.tobytes()] for row in np.ascontiguousarray(rows)]],
    )


def plain_family(path: Path, repeats: int) -> Table:
    """Trainings of the plain family on images of the greatest input size and 10 classes."""
    samples = pd.read_csv(path).dropna(subset=["precision"])
    means = samples.groupby(list("fskl"))["precision"].mean().reset_index()
    X, side = means[list("fskl")].to_numpy(np.float64), int(means["s"].max())
    costs = pd.DataFrame(PlainFamily().costs(X, Task(side, side, 1, 10)))
    C, derived = costs["macs"].to_numpy(), known(X, costs[["macs", "params"]])
    sizes = tuple(n for n in (15, 30, 60, 100) if n <= len(X) // 2)
    return Table("plain family", X, means["precision"].to_numpy(np.float64), C, sizes, repeats, derived)


class Own(Peer):
    """A model of cpmodel behind the same questions as the peers."""

    def __init__(self, name: str, **given: Any) -> None:
        self.name, self.given = name, given

    def fit(self, X: Floats, P: Floats, domain: Floats) -> None:
        """Learn from rows."""
        self.model: PrecisionModel = model_class(self.name)(domain=domain, **self.given).fit(X, P)

    def predict(self, X: Floats) -> Floats:
        """Precision of rows."""
        # the formula as it is, so that a value out of range is seen
        if isinstance(self.model, ExponentialLinear):
            return self.model.surface(X)
        return np.asarray(self.model.predict(X))

    def law(self, X: Floats, P: Floats) -> tuple[Floats, Floats, Floats] | None:
        """Interval of LEVEL and log density."""
        law = self.model.predictive(X)
        return *law.interval(LEVEL), law.log_density(P)


class WithCosts(Peer):
    """A peer that sees the costs of a configuration beside its parameters."""

    def __init__(self, peer: Peer, derived: Derived) -> None:
        self.peer, self.derived = peer, derived

    def fit(self, X: Floats, P: Floats, domain: Floats) -> None:
        """Learn from rows."""
        self.peer.fit(self.derived.beside(X), P, np.sort(self.derived.beside(domain.T).T, axis=1))

    def predict(self, X: Floats) -> Floats:
        """Precision of rows."""
        return self.peer.predict(self.derived.beside(X))

    def law(self, X: Floats, P: Floats) -> tuple[Floats, Floats, Floats] | None:
        """Interval of LEVEL and log density."""
        return self.peer.law(self.derived.beside(X), P)


def models(derived: Derived) -> dict[str, Callable[[], Any]]:
    """All that are compared; `derived` gives the costs of the table's configurations."""
    own = {name: lambda name=name: Own(name) for name in registry.names("precision_models")}
    own["auto with costs"] = lambda: Own("auto", derived=derived)
    costly = {
        f"{name} with costs": lambda name=name: WithCosts(PEERS[name](), derived)
        for name in ("GP (scikit-learn) of log error", "kriging (SMT)")
        if name in PEERS
    }
    return own | PEERS | costly


def one_repeat(table: Table, n: int, repeat: int, names: Sequence[str]) -> list[dict[str, Any]]:
    """One row a model, all trained and tested on the same rows."""
    warnings.simplefilter("ignore")
    seed = 1000 * n + repeat
    order = np.random.default_rng(seed).permutation(len(table.P))
    table = table.trained(seed)
    train, test = order[:n], order[n : n + TEST_ROWS]
    found = []
    with threadpool_limits(1):
        for name in names:
            row: dict[str, Any] = {"table": table.name, "rows": n, "repeat": repeat, "model": name}
            model = models(table.derived)[name]()
            start = time.perf_counter()
            try:
                model.fit(table.X[train], table.P[train], table.domain)
            except (ValueError, RuntimeError, np.linalg.LinAlgError) as error:
                found.append(row | {"failed": type(error).__name__})
                continue
            row["fit_s"] = time.perf_counter() - start
            found.append(row | scores(model, table, train, test, chosen=name.startswith("auto")))
    return found


def scores(model: Any, table: Table, train: Any, test: Any, chosen: bool) -> dict[str, Any]:
    X, P = table.X[test], table.P[test]
    everywhere = model.predict(table.X)
    relative = np.abs(everywhere[test] - P) / P
    row = {
        "relative_error": relative.mean(),
        "relative_error_p95": np.quantile(relative, 0.95),
        "train_sse": np.sum((everywhere[train] - table.P[train]) ** 2),
        "least": everywhere.min(),
        "greatest": everywhere.max(),
    }
    law = model.law(X, P)
    if law is not None:
        low, high, log_density = law
        inside = (low <= P) & (high >= P)
        row |= {"coverage": inside.mean(), "width": np.mean(high - low), "log_score": log_density.mean()}
    if chosen:
        row["coverage_chosen"] = coverage_chosen(model, table, train, everywhere)
    return row


def coverage_chosen(model: Any, table: Table, train: Any, predicted: Floats) -> float:
    """Coverage at the cheapest untrained configuration predicted to reach each target."""
    picked = []
    fresh = np.setdiff1d(np.arange(len(table.P)), train)
    for target in np.quantile(table.P, TARGETS):
        reaching = fresh[predicted[fresh] >= target]
        if len(reaching):
            picked.append(reaching[np.argmin(table.C[reaching])])
    if not picked:
        return float("nan")
    places = np.array(picked)
    low, high, _ = model.law(table.X[places], table.P[places])
    return float(np.mean((low <= table.P[places]) & (table.P[places] <= high)))


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """Means over repeats with standard errors, and the paired difference to auto."""
    lines = []
    auto = results[results["model"] == "auto"].set_index(["table", "rows", "repeat"])["relative_error"]
    for (table, n, name), rows in results.groupby(["table", "rows", "model"], sort=False):
        rows = rows.set_index(["table", "rows", "repeat"])
        difference = (rows["relative_error"] - auto.reindex(rows.index)).dropna()
        line: dict[str, Any] = {"table": table, "rows": n, "model": name, "repeats": len(rows)}
        line["failed"] = int(rows["relative_error"].isna().sum())
        line["relative_error"] = rows["relative_error"].mean()
        line["relative_error_se"] = rows["relative_error"].sem()
        line["to_auto"], line["to_auto_se"] = difference.mean(), difference.sem()
        for column in ("relative_error_p95", "coverage", "coverage_chosen", "width", "log_score"):
            line[column] = rows[column].mean()
        line["least"], line["greatest"] = rows["least"].min(), rows["greatest"].max()
        line["fit_s"] = rows["fit_s"].median()
        lines.append(line)
    return pd.DataFrame(lines)


def within(rows: pd.DataFrame) -> pd.Series[bool]:
    """Whether the predictions over the whole space stay within the limits."""
    return (rows["least"] >= -0.05) & (rows["greatest"] <= 1.05)


def eq6_lines(results: pd.DataFrame) -> list[str]:
    """The exponential-plus-linear model against the best of 20 starts of a general solver."""
    lines = []
    index = ["table", "rows", "repeat"]
    results = results[results["fit_s"].notna()]
    ours = results[results["model"] == "explinear"].set_index(index)
    theirs = results[results["model"] == "eq. 6 curve_fit"].set_index(index)
    both_did = ours.index.intersection(theirs.index)
    if both_did.empty:
        return []
    ours, theirs = ours.loc[both_did], theirs.loc[both_did]
    table = pd.DataFrame({"ours": within(ours), "theirs": within(theirs)})
    table["at_or_below"] = ours["train_sse"] <= theirs["train_sse"] * (1 + 1e-4) + 1e-12
    table["faster"] = theirs["fit_s"] / ours["fit_s"]
    for (name, n), rows in table.groupby(level=["table", "rows"], sort=False):
        both = rows["ours"] & rows["theirs"]
        lines.append(
            f"{name}, {n} rows: eq. 6 stays within [-0.05, 1.05] in {rows['ours'].mean():.0%} of splits, "
            f"by curve_fit in {rows['theirs'].mean():.0%}; where both do ({both.mean():.0%} of splits) our "
            f"squared error is at or below in {rows['at_or_below'][both].mean():.0%}; "
            f"{rows['faster'].median():.0f} times faster"
        )
    return lines


def floors(table: Table, names: Sequence[str]) -> dict[str, Any]:
    """What is left to a model that was fitted to all other rows: a line of the table of means.

    Of very many rows a polynomial of the fourth degree in the logs; of fewer, the one of the models (solvers
    of eq. 6 aside, which are slow) with the least error. Ten-fold; of few rows, each by itself is left out.
    """
    warnings.simplefilter("ignore")
    n = len(table.P)
    fold = np.random.default_rng(0).permutation(n) % (n if n <= FEW_ROWS else 10)
    if n >= MANY_ROWS:
        new: dict[str, Callable[[], Any]] = {"polynomial": lambda: quadratic("log error", 4)}
    else:
        made_of = models(table.derived)
        new = {name: made_of[name] for name in names if not name.startswith("eq. 6")}
    found: dict[str, Floats] = {}
    for name, made in new.items():
        predicted = np.empty(n)
        for number in range(int(fold.max()) + 1):
            out, model = fold == number, made()
            model.fit(table.X[~out], table.P[~out], table.domain)
            predicted[out] = model.predict(table.X[out])
        found[name] = np.abs(predicted - table.P) / table.P
    best = min(found, key=lambda name: float(found[name].mean()))
    return {
        "table": table.name,
        "rows": n - round(n / (fold.max() + 1)),
        "model": f"floor: {best}",
        "repeats": 1,
        "failed": 0,
        "relative_error": found[best].mean(),
        "relative_error_p95": np.quantile(found[best], 0.95),
    }


def noise_of_seeds(path: Path) -> dict[str, Any]:
    """What is left to a model that knows every mean over seeds: a line of the table of means.

    Of trainings of some of the grid's configurations, each by several seeds. Networks of few filters are the
    noisiest, so the mean is that of the means of each number of filters, which the grid holds equally often.
    """
    groups = pd.read_csv(path).dropna(subset=["precision"]).groupby(list("fskl"))["precision"]
    sizes, means = groups.size(), groups.mean()
    # a standard deviation from n normal values is short by this factor in expectation
    short = np.sqrt(2 / (sizes - 1)) * np.exp(special.gammaln(sizes / 2) - special.gammaln((sizes - 1) / 2))
    relative = np.sqrt(2 / np.pi) * groups.std() / short / means
    each = relative.groupby("f").agg(["mean", "sem"])
    return {
        "table": "plain family",
        "rows": 0,
        "model": "floor: noise of one seed",
        "repeats": len(relative),
        "failed": 0,
        "relative_error": each["mean"].mean(),
        "relative_error_se": np.sqrt(np.sum(each["sem"] ** 2)) / len(each),
    }


def report(results: pd.DataFrame, floor: Sequence[dict[str, Any]], out: Path) -> None:
    """Write and print the means."""
    lines = pd.concat([summary(results), pd.DataFrame(floor)], ignore_index=True)
    with replacing(out) as temporary:
        lines.to_csv(temporary, index=False, float_format="%.6g")
    percent = ["relative_error", "relative_error_se", "to_auto", "to_auto_se", "relative_error_p95"]
    shown = lines.drop(columns=["failed", "least", "greatest"])
    print(
        shown.to_string(
            index=False,
            na_rep="",
            float_format="{:.4g}".format,
            formatters=dict.fromkeys(percent, "{:.2%}".format),
        )
    )
    print(*eq6_lines(results), *beaten_lines(lines), sep="\n")


def beaten_lines(lines: pd.DataFrame) -> list[str]:
    """Peers whose error lies below auto's by more than a standard error of the paired difference."""
    peers = lines[lines["model"].isin(list(PEERS))]
    below = peers[peers["to_auto"] < -peers["to_auto_se"]]
    said = [
        f"{row.table}, {row.rows} rows: {row.model} {row.relative_error:.2%}, "
        f"{-row.to_auto:.3%} (standard error {row.to_auto_se:.3%}) below auto"
        for row in below.itertuples()
    ]
    return said or [
        "no peer's error lies below auto's by more than a standard error of the paired difference"
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", type=Path, help="folder of the public tables")
    parser.add_argument("--grid", type=Path, help="CSV of trainings of the plain family")
    parser.add_argument("--seeds", type=Path, help="CSV of further trainings of the grid, for --floor")
    parser.add_argument("--noisy", action="store_true", help="add the tables smoothed, with fresh noise")
    parser.add_argument("--repeats", type=int, default=20, help="MobileNet tables take 2.5 times as many")
    parser.add_argument("--only", action="append", help="a table's name; may be given several times")
    parser.add_argument("--models", help="names, with commas between them; all of them otherwise")
    parser.add_argument("--minutes", type=float, default=np.inf, help="start no repeat after so many")
    parser.add_argument("--floor", action="store_true", help="add what is left when all other rows are known")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--rows", type=Path, help="single results; beside --out otherwise")
    options = parser.parse_args()
    if options.tables is None and options.grid is None:
        parser.error("nothing to do: give --tables, --grid or both")
    every = list(models(Derived((), lambda rows: rows[:, :0])))
    names = options.models.split(",") if options.models else every
    if unknown := set(names) - set(every):
        parser.error(f"--models: expected some of {', '.join(every)}; got {', '.join(unknown)}")
    chosen = [
        table
        for table in tables(options.tables, options.grid, options.repeats, options.noisy)
        if not options.only or table.name in options.only
    ]
    kept = options.rows or options.out.with_suffix(".rows.csv")
    done = pd.read_csv(kept) if kept.exists() else pd.DataFrame(columns=["table", "rows", "repeat", "model"])
    known = set(done[["table", "rows", "repeat", "model"]].itertuples(index=False, name=None))
    work = [
        (table, n, repeat, missing)
        for table in chosen
        for n in table.sizes
        for repeat in range(table.repeats)
        if (missing := [name for name in names if (table.name, n, repeat, name) not in known])
    ]
    stop = time.monotonic() + 60 * options.minutes
    left = len(work)
    in_time = (delayed(one_repeat)(*job) for job in work if time.monotonic() < stop)
    for rows in Parallel(options.jobs, return_as="generator_unordered", pre_dispatch="n_jobs")(in_time):
        part = pd.DataFrame(rows, columns=COLUMNS)
        part.to_csv(kept, mode="a", header=not kept.exists(), index=False)
        left -= 1
    if left:
        print(f"{left} of {len(work)} repeats left; call again")
        return
    results = pd.read_csv(kept)
    floor = [floors(table, names) for table in chosen if not table.noise] if options.floor else []
    if options.floor and options.seeds:
        floor.append(noise_of_seeds(options.seeds))
    report(results, floor, options.out)


if __name__ == "__main__":
    main()
