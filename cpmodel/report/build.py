"""The page of some material: its models' predictions, and the answer there is."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from typing import Any

import numpy as np

from cpmodel.cost import Cost, device_name
from cpmodel.errors import BadInputError
from cpmodel.metrics import get_metric
from cpmodel.optimize import Choice, Problem, cloud, envelope, paper_grid
from cpmodel.pipeline.answer import Answer
from cpmodel.pipeline.costing import Complexity, compared_costs, complexity_of, default_complexity
from cpmodel.pipeline.curve import Curve
from cpmodel.pipeline.material import Material
from cpmodel.pipeline.proof import outdated
from cpmodel.pipeline.stages import Fits
from cpmodel.report.page import Page

CLOUD_ROWS = 4000


def page_of(
    material: Material,
    fits: Fits | None = None,
    *,
    title: str = "",
    complexity: str = "",
    choice: Choice | None = None,
    answer: Answer | None = None,
    curve: Curve | None = None,
    paper: bool = False,
) -> Page:
    """Everything the page of a study, or of a person's table, shows.

    Parameters
    ----------
    fits : Fits or None
        What is drawn rests on them: without them the page has words and tables only.
    complexity : str
        What is drawn when there is no answer to take it from; what is minimised by default unless given.
    choice : Choice or None
        What `optimize` answered, where there is no answer of a run.
    curve : Curve or None
        C(P) with its band, drawn where it is of the complexity that the page is about.
    paper : bool
        Whether to draw the paper's own grid, too.

    Raises
    ------
    BadInputError
        The complexity that is asked for is not known, or the paper's grid cannot be made; see
        `cpmodel.optimize.paper_grid`.
    """
    choice = choice if answer is None else answer.choice
    name = choice.complexity if choice is not None else complexity or default_complexity(material)
    price: Complexity | None = None
    # a column that tells too little is not drawn, unless it was asked for
    with nullcontext() if complexity else suppress(BadInputError):
        price = complexity_of(material, name)
    cost = Cost.called(name, "measured") if price is None else price.cost
    shown: dict[str, Any] = {}
    if curve is not None and curve.complexity == name:
        shown["curve"] = curve
    if price is not None and fits is not None:
        shown |= _priced(material, fits, price, choice, shown.get("curve"), paper)
    configuration = choice.plain.configuration if choice is not None and choice.plain is not None else None
    if answer is not None:
        shown |= {"evidence": answer.evidence, "verdict": answer.verdict}
        if answer.verdict is not None:
            configuration = answer.verdict.configuration
    if configuration is not None:
        costs = compared_costs(material, configuration, name)
        # of the costs of one name, the one that was minimised comes first
        same = [c for c in costs if (c.cost.name, c.cost.conditions) == (cost.name, cost.conditions)]
        shown["costs"] = (*same, *(c for c in costs if c not in same))
        if price is not None:
            shown["spent"] = float(price.of(material.space.matrix([configuration]))[0])
    if material.project is not None:
        settings = material.project.study.settings
        shown |= {"settings": settings, "metric": get_metric(settings.metric)}
        shown["outdated"] = outdated(material.project, shown.get("verdict"))
        shown["family"] = f"{settings.family}: {material.project.family.summary}"
    notes = dict.fromkeys([*material.samples.notes, *(choice.notes if choice is not None else ())])
    return Page(
        title,
        material.samples,
        cost,
        machine=device_name(),
        generated_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        choice=choice,
        precision=()
        if fits is None
        else tuple(fit for fit in (fits.precision, fits.paper) if fit is not None),
        # the model of run-time where run-times were measured, else that of the column drawn
        modelled=price if fits is None else fits.latency or price,
        notes=tuple(notes),
        **shown,
    )


def _priced(
    material: Material,
    fits: Fits,
    price: Complexity,
    choice: Choice | None,
    curve: Curve | None,
    paper: bool,
) -> dict[str, Any]:
    """What needs the complexity of every configuration: the clouds, the curve, the baseline's complexity."""
    space, model = material.space, fits.precision.model
    shown: dict[str, Any] = {
        "complexity": price.of(material.samples.X),
        "base": float(price.of(space.matrix([space.baseline]))[0]),
    }
    if paper:
        shown["paper"] = paper_grid(Problem(space, model, price.of))
    drawn = None
    if choice is not None:
        shown["envelope"] = choice.envelope
        drawn = choice.envelope if space.size > space.most else None
    elif curve is not None:
        drawn = shown["envelope"] = envelope(Problem(space, model, price.of))
    shown["cloud"] = cloud(Problem(space, model, price.of), CLOUD_ROWS, np.random.default_rng(0), curve=drawn)
    return shown
