"""What a page shows of some material: its models' predictions, and the answer there is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from cpmodel.codec import dump
from cpmodel.cost import device_name
from cpmodel.errors import BadInputError
from cpmodel.optimize import WHOLE_UP_TO, Choice, cloud, envelope, paper_grid
from cpmodel.pipeline.answer import Answer
from cpmodel.pipeline.costing import Complexity, compared_costs, complexity_of
from cpmodel.pipeline.curve import Curve
from cpmodel.pipeline.fitting import PrecisionFit
from cpmodel.pipeline.material import Material
from cpmodel.pipeline.stages import Fits
from cpmodel.report.content import (
    Attempt,
    CoefficientView,
    CostLine,
    CurveView,
    DataFacts,
    FitView,
    ReportContent,
    Saving,
    SurfaceView,
    VerdictView,
    line,
    plane,
)
from cpmodel.report.means import on_plane
from cpmodel.surrogates.complexity.fit import ComplexityFit

CLOUD_ROWS = 4000
# Configurations in which both of two parameters moved, and no other: fewer do not show a surface
LEAST_OF_PLANE = 9


def report_content(
    material: Material,
    fits: Fits,
    *,
    title: str,
    command: str,
    complexity: str = "macs",
    choice: Choice | None = None,
    answer: Answer | None = None,
    curve: Curve | None = None,
    paper: bool = False,
) -> ReportContent:
    """Everything the page of a study, or of a person's table, shows.

    Parameters
    ----------
    complexity : str
        What is drawn when there is no answer to take it from.
    choice : Choice or None
        What `optimize` answered, where there is no answer of a run.
    curve : Curve or None
        C(P) with its band, drawn where it is of the complexity that the page is about.
    paper : bool
        Whether to draw the paper's own grid, too.

    Raises
    ------
    BadInputError
        The paper's grid is wanted where it cannot be made; see `cpmodel.optimize.paper_grid`.
    """
    if answer is not None:
        choice = answer.choice
    if choice is not None:
        complexity = choice.complexity
    price = _price(material, complexity)
    samples = material.samples
    content: dict[str, Any] = {}
    if price is not None:
        space = material.space
        content["sample_complexity"] = price.of(samples.X)
        if paper:
            content["paper"] = paper_grid(space, fits.precision.model, price.of)
        content["baseline_complexity"] = float(price.of(space.matrix([space.baseline]))[0])
        rng = np.random.default_rng(0)
        drawn = choice.envelope if choice is not None and space.size > WHOLE_UP_TO else None
        if curve is not None and curve.complexity == complexity:
            content["band"] = curve
            if choice is None:
                drawn = content["envelope"] = envelope(space, fits.precision.model, price.of)
        content["cloud"] = cloud(space, fits.precision.model, price.of, CLOUD_ROWS, rng, curve=drawn)
        content["conditions"] = "" if price.conditions is None else str(price.conditions)
    if material.project is not None:
        settings = material.project.study.settings
        content["data"] = DataFacts(
            settings.dataset, settings.image_shape, settings.class_names, dict(settings.split_sizes)
        )
        content["family"] = f"{settings.family}: {material.project.family.summary}"
        content["recipe"] = dump(settings.recipe)
    verdict = None if answer is None else answer.verdict
    shown = (
        verdict.configuration if verdict else choice.plain.configuration if choice and choice.plain else None
    )
    if shown is not None and material.project is not None:
        costs = compared_costs(material, shown, complexity)
        content["costs"] = tuple(
            CostLine(c.cost.name, c.baseline, c.answer, str(c.cost.conditions or "")) for c in costs
        )
        if verdict is not None:
            savings = {
                c.cost.name: Saving(c.answer, c.answer / c.baseline)
                for c in reversed(costs)
                if c.baseline > 0
            }
            if price is not None:
                proved = float(price.of(material.space.matrix([shown]))[0])
                savings[complexity] = Saving(proved, proved / content["baseline_complexity"])
            content["verdict"] = VerdictView.of(verdict, savings)
    if answer is not None:
        content["attempts"] = tuple(Attempt(e.key, e.precisions, e.stands) for e in answer.evidence)
    return ReportContent(
        title=title,
        space=material.space,
        samples=samples,
        command=command,
        machine=device_name(),
        generated_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        complexity=complexity,
        choice=choice,
        precision_fit=_precision_view(fits.precision, samples.usable.keys),
        paper_fit=None if fits.paper is None else _precision_view(fits.paper, samples.usable.keys),
        complexity_fits=tuple(_complexity_views(material, fits, price)),
        surfaces=tuple(_surfaces(material, fits.precision)),
        curves=tuple(_curves(material, fits.precision)),
        notes=tuple(dict.fromkeys([*material.samples.notes, *(choice.notes if choice else ())])),
        **content,
    )


def _price(material: Material, name: str) -> Complexity | None:
    """The complexity to draw, where it is known at all."""
    try:
        return complexity_of(material, name)
    except BadInputError:
        return None


def _precision_view(fit: PrecisionFit, keys: Sequence[str]) -> FitView:
    model = fit.model
    return FitView(
        fit.name,
        fit.relative_error,
        fit.cv_relative_error,
        fit.measured,
        fit.predicted,
        fit.low,
        fit.high,
        keys=keys,
        noise=model.noise_std_,
        why=fit.why,
        coefficients=tuple(CoefficientView(c.name, c.value, c.standard_error) for c in model.coefficients_),
        notes=fit.warnings,
    )


def _complexity_views(material: Material, fits: Fits, price: Complexity | None) -> list[FitView]:
    """The model of run-time beside eq. 1 where run-times were measured, else that of the column drawn."""
    source = fits.latency or price
    if source is None or source.fit is None or source.X is None:
        return []
    keys = [material.space.key(c) for c in material.space.configurations(source.X)]
    conditions = "" if source.conditions is None else str(source.conditions)
    fitted = [fit for fit in (source.fit, source.eq1) if fit is not None]
    return [_complexity_view(fit, keys, source.name, conditions) for fit in fitted]


def _complexity_view(fit: ComplexityFit, keys: Sequence[str], quantity: str, conditions: str) -> FitView:
    apart = fit.apart
    return FitView(
        fit.name,
        fit.relative_error,
        fit.cv_relative_error if apart is None else apart.relative_error,
        fit.measured,
        fit.predicted if apart is None else apart.predicted,
        keys=keys,
        held_out=None if apart is None else apart.rows,
        checked_by="cross-validation" if apart is None else f"{apart.rows.sum()} held-out configurations",
        checked_within_10=fit.cv_within_10 if apart is None else apart.within_10,
        quantity=quantity,
        conditions=conditions,
        why=fit.why,
        coefficients=tuple(
            CoefficientView(c.name, c.value, c.standard_error) for c in fit.model.coefficients_
        ),
        notes=fit.warnings,
    )


def _curves(material: Material, fit: PrecisionFit) -> list[CurveView]:
    """P along each parameter from the baseline, with the interval of a new training."""
    curves = []
    for name in material.space.names:
        X = line(material.space, name)
        if len(X):
            filled = material.space.filled(X)
            low, high = fit.model.predict_interval(filled, 0.9)
            curves.append(CurveView(name, X, np.asarray(fit.model.predict(filled)), low, high))
    return curves


def _surfaces(material: Material, fit: PrecisionFit) -> list[SurfaceView]:
    """P over each pair of parameters that enough configurations were trained in."""
    space, surfaces = material.space, []
    base = space.filled(space.matrix([space.baseline]))
    X = np.unique(space.filled(material.samples.usable.X), axis=0)
    for pair in itertools.combinations(range(len(space.names)), 2):
        if any(space.parameters[column].categorical for column in pair):
            continue
        both = on_plane(space, X, pair) & (base != X)[:, pair].all(axis=1)
        names = (space.names[pair[0]], space.names[pair[1]])
        grid = plane(space, names)
        if both.sum() >= LEAST_OF_PLANE and len(grid):
            surfaces.append(SurfaceView(names, grid, np.asarray(fit.model.predict(space.filled(grid)))))
    return surfaces
