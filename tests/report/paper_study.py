"""A study that nobody trained: realistic results for pages, from a formula."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd

from cpmodel.cost import ComparedCost, Conditions, Cost
from cpmodel.families.base import Task
from cpmodel.families.plain import PlainFamily
from cpmodel.optimize import Choice, Cloud, Problem, cheapest
from cpmodel.pipeline.costing import Complexity
from cpmodel.pipeline.fitting import PrecisionFit
from cpmodel.recipe import Recipe
from cpmodel.records.sample import Purpose, Sample
from cpmodel.records.settings import Settings
from cpmodel.report.curves import line
from cpmodel.report.page import Page, Table
from cpmodel.samples import Samples
from cpmodel.search.evidence import Evidence
from cpmodel.space import Floats, Space
from cpmodel.surrogates.complexity.fit import ComplexityFit
from cpmodel.surrogates.estimator import Coefficient
from cpmodel.verify import Interval, Verdict

TASK = Task(28, 28, 1, 10)
FAMILY = PlainFamily()
TARGET = 0.9
NOISE = 0.05  # of log error between seeds
CONDITIONS = Conditions("Example CPU (2 cores)", "pytorch 2.13.0")
RUN_TIME = Cost("latency_s", "s", "run-time", "measured", CONDITIONS)
MACS = Cost("macs", "MACs", "MACs of one image")
CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")


def macs(X: Floats) -> Floats:
    return FAMILY.costs(X, TASK)["macs"]


def latency(X: Floats) -> Floats:
    return 2e-4 + macs(X) * 64 / 2e10


def log_error(X: Floats) -> Floats:
    f, s, k, depth = np.asarray(X, dtype=np.float64).T
    return -3.3 + 1.6 / np.sqrt(f) + 6.5 / s + 0.35 / (k - 2) + 0.3 / depth - 0.02 * np.log(f)


class Truth:
    """The formula as a model that is fitted already."""

    noise_std_ = 0.0032
    coefficients_ = (Coefficient("a", 1.0221, 0.02), Coefficient("b_f", -0.0015, None))
    report_ = SimpleNamespace(sentence="Average of four models by their cross-validated errors.")

    def predict(self, X: Any, return_std: bool = False) -> Any:
        mean = 1 - np.exp(log_error(X))
        return (mean, np.full(len(mean), 0.004)) if return_std else mean

    def predict_interval(self, X: Any, level: float = 0.9) -> tuple[Floats, Floats]:
        error = np.exp(log_error(X))
        return 1 - error * np.exp(1.8 * NOISE), 1 - error * np.exp(-1.8 * NOISE)

    def probability(self, X: Any, target: float) -> Floats:
        margin = np.log(1 - target) - log_error(X)
        return 1 / (1 + np.exp(-margin / 0.03))


def precision_fit(measured: Any, predicted: Any, **changes: Any) -> PrecisionFit:
    """A fit that says so; its intervals are not known unless given."""
    unknown = np.full(len(measured), np.nan)
    given: dict[str, Any] = {
        "name": "auto",
        "model": Truth(),
        "relative_error": 0.004,
        "cv_relative_error": 0.007,
        "low": unknown,
        "high": unknown,
        "warnings": (),
    }
    return PrecisionFit(measured=np.asarray(measured), predicted=np.asarray(predicted), **(given | changes))


def complexity_fit(measured: Any, predicted: Any, name: str = "auto", error: float = 0.02) -> ComplexityFit:
    """A fit of run-time that says so."""
    model = SimpleNamespace(coefficients_=())
    errors = (error / 2, 0.9, error, 0.8)
    both = np.asarray(measured), np.asarray(predicted)
    return ComplexityFit(name, cast(Any, model), *errors, *both, "", ())


def space() -> Space:
    return FAMILY.space(TASK)


def settings(here: Space) -> Settings:
    sizes = {"train": 10000, "validation": 5000, "test": 5000}
    return Settings(
        dataset="embedded (Fashion-MNIST)",
        data="0" * 16,
        test="1" * 16,
        image_shape=(28, 28, 1),
        class_names=CLASSES,
        split_sizes=sizes,
        family="plain",
        space=here,
        recipe=Recipe(),
    )


def trained(
    space: Space, rows: list[tuple[dict[str, Any], int, Purpose]], rng: np.random.Generator, epochs: int = 6
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
                purpose=purpose,
                metrics={"balanced": curve[-1] - 0.002, "nll": 0.312},
            )
        )
    return Samples.of(space, samples)


def choice(space: Space, target: float = TARGET) -> Choice:
    return cheapest(Problem(space, Truth(), macs, "macs"), target, 0.9)


def costs(here: Space, answer: Any) -> tuple[ComparedCost, ...]:
    both = here.matrix([here.baseline, answer])
    computed = FAMILY.costs(both, TASK)
    kinds = [cost for cost in FAMILY.cost_kinds(TASK) if cost.name in ("macs", "params", "weight_bytes")]
    known = [(cost, computed[cost.name]) for cost in kinds]
    known.append((Cost("latency_s", "s", "run-time of one batch", "measured", CONDITIONS), latency(both)))
    return tuple(ComparedCost(cost, float(v[0]), float(v[1])) for cost, v in known)


def content(target: float = TARGET, seed: int = 0, **changes: Any) -> Page:
    """Everything a page can show."""
    rng = np.random.default_rng(seed)
    here = space()
    chosen = choice(here, target)
    everything = here.candidates()
    design, verify = Purpose.DESIGN, Purpose.VERIFY
    rows: list[tuple[dict[str, Any], int, Purpose]] = [(dict(here.baseline), s, design) for s in range(3)]
    drawn = here.configurations(everything[rng.choice(len(everything), 16, replace=False)])
    rows += [(c, 0, design) for c in drawn]
    for name in here.names:
        rows += [(c, 0, design) for c in here.configurations(line(here, name, 2)[:-1])]
    grid = [(f, s) for f in (8, 16, 32) for s in (12, 16, 20)]
    rows += [({**here.baseline, "f": f, "s": s}, 0, design) for f, s in grid]
    answer = chosen.safe or chosen.best
    near = list(chosen.envelope.configurations[::3])[-4:]
    rows += [(dict(c), s, Purpose.REFINE) for c in near for s in range(2)]
    rows += [(dict(answer.configuration), 1000 + s, verify) for s in range(3)]
    samples = trained(here, rows, rng)
    failed = Sample(dict(near[0]), 7, None, status="failed", reason="the loss became NaN in epoch 2")
    frame = Samples.of(here, [failed]).frame
    samples = Samples(here, pd.concat([samples.frame, frame], ignore_index=True))
    usable = samples.usable
    predicted = Truth().predict(usable.X) * (1 + rng.normal(0, 0.003, len(usable)))
    low, high = Truth().predict_interval(usable.X)
    measured_X = everything[rng.choice(len(everything), 30, replace=False)]
    times = latency(measured_X) * np.exp(rng.normal(0, 0.03, 30))
    fits = [
        complexity_fit(times, latency(measured_X) * np.exp(rng.normal(0, error, 30)), name, error)
        for name, error in (("auto", 0.02), ("eq1", 0.15))
    ]
    P, test = (0.904, 0.907, 0.9064), (0.9032, 0.9051, 0.9044)
    tried = [Evidence(answer.key, answer.configuration, (1000, 1001, 1002), P, 0.95, 0.9, 1.0)]
    if chosen.plain is not None:
        fell = (0.897, 0.8992, 0.8985)
        tried.insert(0, Evidence(chosen.plain.key, {}, (1000, 1001, 1002), fell, 0.1, 0.9, 0.0))
    made = Page(
        "The cheapest plain network for Fashion-MNIST",
        samples,
        MACS,
        settings=settings(here),
        family="plain: equal convolutional layers",
        machine="Example CPU (2 cores), Linux, Python 3.13",
        generated_at="2026-02-03 14:05 UTC",
        command=f"cpmodel run --target {target}",
        base=chosen.baseline.complexity,
        complexity=macs(samples.X),
        choice=chosen,
        verdict=Verdict(
            "reached",
            answer.configuration,
            answer.key,
            target,
            (1000, 1001, 1002),
            P,
            test,
            Interval(float(np.mean(test)), 0.9006, 0.9079, 0.95, 0.001, 9.0),
            5000,
            None,
            1001,
            opening=1,
            error=0.05,
        ),
        spent=answer.complexity,
        evidence=tuple(tried),
        precision=(
            precision_fit(
                usable.precision,
                predicted,
                low=low,
                high=high,
                warnings=("b_f lies at its bound: the data do not tell it",),
            ),
        ),
        modelled=Complexity(RUN_TIME, latency, *fits, measured_X, times),
        cloud=Cloud(everything, macs(everything), Truth().predict(everything)),
        envelope=chosen.envelope,
        costs=costs(here, answer.configuration),
        tables=(Table("Beside the paper", ("what", "ours"), (("P", "0.9 < 0.95"),), (False, True)),),
        notes=("images are mirrored in training",),
    )
    return replace(made, **changes)
