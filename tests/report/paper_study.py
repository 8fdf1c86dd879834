"""A study that nobody trained: realistic content for pages, from a formula."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cpmodel.codec import dump
from cpmodel.families.base import Task
from cpmodel.families.plain import PlainFamily
from cpmodel.optimize import Choice, Cloud, optimize
from cpmodel.recipe import Recipe
from cpmodel.records.sample import Purpose, Sample
from cpmodel.report import (
    Attempt,
    CoefficientView,
    CostLine,
    CurveView,
    DataFacts,
    FitView,
    ReportContent,
    Saving,
    SurfaceView,
    Table,
    VerdictView,
    line,
    plane,
)
from cpmodel.samples import Samples
from cpmodel.space import Floats, Space

TASK = Task(28, 28, 1, 10)
FAMILY = PlainFamily()
TARGET = 0.9
NOISE = 0.05  # of log error between seeds
CONDITIONS = "Example CPU (2 cores), pytorch 2.13.0, float32, batch 64, 1 thread"


def macs(X: Floats) -> Floats:
    return FAMILY.costs(X, TASK)["macs"]


def latency(X: Floats) -> Floats:
    return 2e-4 + macs(X) * 64 / 2e10


def log_error(X: Floats) -> Floats:
    f, s, k, depth = np.asarray(X, dtype=np.float64).T
    return -3.3 + 1.6 / np.sqrt(f) + 6.5 / s + 0.35 / (k - 2) + 0.3 / depth - 0.02 * np.log(f)


class Truth:
    """The formula as a model that is fitted already."""

    def predict(self, X: Any, return_std: bool = False) -> Any:
        mean = 1 - np.exp(log_error(X))
        return (mean, np.full(len(mean), 0.004)) if return_std else mean

    def predict_interval(self, X: Any, level: float = 0.9) -> tuple[Floats, Floats]:
        error = np.exp(log_error(X))
        return 1 - error * np.exp(1.8 * NOISE), 1 - error * np.exp(-1.8 * NOISE)

    def probability(self, X: Any, target: float) -> Floats:
        margin = np.log(1 - target) - log_error(X)
        return 1 / (1 + np.exp(-margin / 0.03))


def space() -> Space:
    return FAMILY.space(TASK)


def trained(
    space: Space, rows: list[tuple[dict[str, Any], int, str]], rng: np.random.Generator, epochs: int = 6
) -> Samples:
    recipe = Recipe(epochs=epochs)
    samples = []
    for configuration, seed, purpose in rows:
        error = float(np.exp(log_error(space.matrix([configuration])) + rng.normal(0, NOISE))[0])
        ahead = np.arange(epochs - 1, -1, -1)
        curve = tuple(float(p) for p in 1 - np.minimum(error * np.exp(0.25 * ahead + 0.05 * ahead**2), 0.9))
        samples.append(
            Sample(
                configuration,
                seed,
                curve[-1],
                curve=curve,
                train_s=float(rng.uniform(3, 9)),
                family="plain",
                dataset="embedded",
                recipe=recipe.hash,
                purpose=Purpose(purpose),
                metrics={"balanced": curve[-1] - 0.002},
            )
        )
    return Samples.of(space, samples)


def choice(space: Space, target: float = TARGET) -> Choice:
    return optimize(space, Truth(), macs, target=target, complexity="macs", confidence=0.9)


def content(target: float = TARGET, seed: int = 0, **changes: Any) -> ReportContent:
    """Everything a page can show."""
    rng = np.random.default_rng(seed)
    here = space()
    chosen = choice(here, target)
    everything = here.candidates()
    rows: list[tuple[dict[str, Any], int, str]] = [(dict(here.baseline), s, "design") for s in range(3)]
    drawn = here.configurations(everything[rng.choice(len(everything), 16, replace=False)])
    rows += [(c, 0, "design") for c in drawn]
    for name in here.names:
        rows += [(c, 0, "design") for c in here.configurations(line(here, name, 2)[:-1])]
    answer = chosen.safe or chosen.best
    near = list(chosen.envelope.configurations[::3])[-4:]
    rows += [(dict(c), s, "refine") for c in near for s in range(2)]
    rows += [(dict(answer.configuration), 1000 + s, "verify") for s in range(3)]
    samples = trained(here, rows, rng)
    failed = Sample(dict(near[0]), 7, None, status="failed", reason="the loss became NaN in epoch 2")
    frame = Samples.of(here, [failed]).frame
    import pandas as pd

    samples = Samples(here, pd.concat([samples.frame, frame], ignore_index=True))
    X = samples.X
    usable = samples.usable
    predicted = Truth().predict(usable.X) * (1 + rng.normal(0, 0.003, len(usable)))
    low, high = Truth().predict_interval(usable.X)
    curves = []
    for name in here.names:
        at = line(here, name)
        curves.append(CurveView(name, at, Truth().predict(at), *Truth().predict_interval(at)))
    at = plane(here, ("f", "s"))
    surface = SurfaceView(("f", "s"), at, Truth().predict(at))
    measured_X = everything[rng.choice(len(everything), 30, replace=False)]
    times = latency(measured_X) * np.exp(rng.normal(0, 0.03, 30))
    keys = [here.key(c) for c in here.configurations(measured_X)]
    fits = tuple(
        FitView(
            name,
            error / 2,
            error,
            times,
            latency(measured_X) * np.exp(rng.normal(0, error, 30)),
            keys=keys,
            quantity="latency_s",
            conditions=CONDITIONS,
        )
        for name, error in (("auto", 0.02), ("equation 1", 0.15))
    )
    P = [0.904, 0.907, 0.9064]
    test = [0.9032, 0.9051, 0.9044]
    both = {"macs": answer.complexity, "latency_s": float(latency(here.matrix([answer.configuration]))[0])}
    base = {"macs": chosen.baseline.complexity, "latency_s": float(latency(here.matrix([here.baseline]))[0])}
    columns = [FAMILY.costs(here.matrix([c]), TASK) for c in (here.baseline, answer.configuration)]
    costs = [
        CostLine(name, float(columns[0][name][0]), float(columns[1][name][0]))
        for name in ("macs", "params", "weight_bytes", "activation_elements")
    ]
    costs.append(CostLine("latency_s", base["latency_s"], both["latency_s"], CONDITIONS))
    made = ReportContent(
        title="The cheapest plain network for Fashion-MNIST",
        space=here,
        samples=samples,
        data=DataFacts(
            "embedded (Fashion-MNIST)",
            (28, 28, 1),
            ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"),
            {"train": 10000, "validation": 5000, "test": 5000},
        ),
        family="plain",
        recipe=dump(Recipe()),
        machine="Example CPU (2 cores), Linux, Python 3.13",
        generated_at="2026-02-03 14:05 UTC",
        command=f"cpmodel run --target {target}",
        conditions=CONDITIONS,
        sample_complexity=macs(X),
        cloud=Cloud(everything, macs(everything), Truth().predict(everything)),
        choice=chosen,
        answer=answer,
        verdict=VerdictView(
            "reached",
            answer.key,
            target,
            tuple(P),
            tuple(test),
            0.9006,
            0.9079,
            0.95,
            5000,
            {name: Saving(value, value / base[name]) for name, value in both.items()},
        ),
        attempts=(
            Attempt(chosen.plain.key, (0.897, 0.8992, 0.8985), False)
            if chosen.plain
            else Attempt("", (), False),
            Attempt(answer.key, tuple(P), True),
        ),
        precision_fit=FitView(
            "auto",
            0.004,
            0.007,
            usable.precision,
            predicted,
            low,
            high,
            keys=usable.keys,
            noise=0.0032,
            why="Average of four models by their cross-validated errors: loggp 0.61, explinear 0.39.",
            formula="P = a exp(sum b_i / g_i) + sum c_i g_i + d",
            coefficients=(CoefficientView("a", 1.0221, 0.02), CoefficientView("b_f", -0.0015, None)),
            notes=("b_f lies at its bound: the data do not tell it",),
        ),
        complexity_fits=fits,
        curves=tuple(curves),
        surfaces=(surface,),
        tables=(Table("Beside the paper", ("what", "ours"), (("P", "0.9 < 0.95"),), (False, True)),),
        costs=tuple(costs),
        wall_s=312.0,
        notes=("images are mirrored in training",),
    )
    return replace(made, **changes)
