"""The cheapest configuration that is predicted to reach a target, and the envelope C(P)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cpmodel.errors import BadInputError
from cpmodel.optimize.results import Candidate, Choice, Envelope
from cpmodel.optimize.scan import (
    CHUNK,
    WHOLE_UP_TO,
    CostFunction,
    Limits,
    Points,
    Predictor,
    Scan,
    safer,
)
from cpmodel.space import Space

if TYPE_CHECKING:
    import pandas as pd


def optimize(
    space: Space,
    model: Predictor,
    cost: CostFunction,
    *,
    target: float,
    complexity: str,
    confidence: float = 0.9,
    level: float = 0.9,
    baseline_cost: float | None = None,
    limits: Limits | None = None,
    runners_up: int = 5,
    whole: bool | None = None,
    chunk: int = CHUNK,
) -> Choice:
    """The cheapest configuration predicted to reach the target: min C(T) subject to P(T) >= P_T.

    Parameters
    ----------
    space : Space
        Looked at in full up to 10,000,000 configurations; beyond that 2,000,000 are drawn at random (always
        the same ones), each parameter's value on its own, and a note says so.
    model : Predictor
        A fitted precision model.
    cost : callable
        Complexity of rows of X. Configurations for which it is NaN are left out, and a note says so.
    target : float
        Fraction in (0, 1].
    complexity : str
        What the complexity is called.
    confidence : float
        Probability asked of the safe answer, in (0, 1).
    level : float
        Of the candidates' intervals, in (0, 1).
    baseline_cost : float, optional
        Complexity of the space's baseline; asked of `cost` unless given.
    limits : mapping, optional
        Name to (callable, maximum): configurations that exceed one of them are no candidates.
    runners_up : int
        How many, at most.
    whole : bool, optional
        Whether to predict also what is dearer than the safe answer, for the rest of the envelope and the best
        precision there is; unless given, in spaces of up to 1,000,000 configurations. The plain and the safe
        answer are the same either way; a note says what was not predicted.
    chunk : int
        Configurations that are held at once.

    Returns
    -------
    choice : Choice
        Status ``unreachable`` when no configuration is predicted to reach the target; `best` says what can
        be reached.

    Raises
    ------
    BadInputError
        An argument out of range, no configuration within the limits, or a baseline without a complexity.
    """
    _check_fraction("target", target, last=1.0)
    _check_fraction("confidence", confidence)
    _check_fraction("level", level)
    if runners_up < 0:
        raise BadInputError("runners_up", expected="0 or more", got=runners_up)
    scan = Scan(space, model, cost, limits or {}, chunk)
    baseline = scan.baseline(baseline_cost)
    whole = space.size <= WHOLE_UP_TO if whole is None else whole
    curve = cheapest = safe = Points.none(space)
    for points in scan:
        curve = (curve + points.envelope()).envelope()
        reaching = points[points.precision >= target]
        if len(cheapest) > runners_up:  # enough of them already: dearer ones change nothing
            reaching_too = reaching[reaching.cost <= cheapest.cost[-1]]
            cheapest = (cheapest + reaching_too).cheapest(runners_up + 1)
        else:
            cheapest = (cheapest + reaching).cheapest(runners_up + 1)
        safe = safer(safe, reaching, scan, target, confidence)
        if not whole and len(safe) and scan.rest > safe.cost[0]:
            # among those of one cost a better one may be next: then none of them is known to be the one
            curve, cheapest = curve[curve.cost < scan.rest], cheapest[cheapest.cost < scan.rest]
            break
    scan.check(curve)
    named = _candidates(
        scan, curve[-1:] + baseline + cheapest + safe, target=target, level=level, unit=baseline.cost[0]
    )
    notes = scan.notes(complexity)
    if len(cheapest) and not len(safe):
        notes.append(f"no configuration reaches {target:g} with probability {confidence:g} or more")
    return Choice(
        status="reachable" if len(cheapest) else "unreachable",
        target=float(target),
        complexity=complexity,
        confidence=float(confidence),
        level=float(level),
        plain=named[2] if len(cheapest) else None,
        safe=named[-1] if len(safe) else None,
        best=named[0],
        baseline=named[1],
        runners_up=tuple(named[3 : 2 + len(cheapest)]),
        envelope=_envelope(scan, curve, level, baseline.cost[0]),
        space_size=scan.seen,
        notes=tuple(notes),
    )


def envelope(
    space: Space,
    model: Predictor,
    cost: CostFunction,
    *,
    level: float = 0.9,
    baseline_cost: float | None = None,
    limits: Limits | None = None,
    chunk: int = CHUNK,
) -> Envelope:
    """C(P), the least complexity that is predicted to reach each precision; arguments as for `optimize`."""
    _check_fraction("level", level)
    scan = Scan(space, model, cost, limits or {}, chunk)
    baseline = scan.baseline(baseline_cost)
    curve = Points.none(space)
    for points in scan:
        curve = (curve + points.envelope()).envelope()
    scan.check(curve)
    return _envelope(scan, curve, level, baseline.cost[0])


def envelope_table(curve: Envelope, space: Space) -> pd.DataFrame:
    """The envelope as a table: a column a parameter, then complexity, relative, precision, low, high."""
    import pandas as pd

    rows = [dict(configuration) for configuration in curve.configurations]
    table = pd.DataFrame(rows, columns=list(space.names))
    for name in ("complexity", "relative", "precision", "low", "high"):
        table[name] = getattr(curve, name)
    return table


def _candidates(scan: Scan, points: Points, *, target: float, level: float, unit: float) -> list[Candidate]:
    """All that is known of each of the points; `unit` is the baseline's complexity."""
    X = scan.filled(points.X)
    low, high = scan.model.predict_interval(X, level)
    probability = scan.probability(points.X, target)
    return [
        Candidate(
            configuration=configuration,
            key=scan.space.key(configuration),
            precision=float(points.precision[row]),
            low=float(low[row]),
            high=float(high[row]),
            probability=float(probability[row]),
            complexity=float(points.cost[row]),
            relative=float(points.cost[row] / unit),
        )
        for row, configuration in enumerate(scan.space.configurations(points.X))
    ]


def _envelope(scan: Scan, points: Points, level: float, unit: float) -> Envelope:
    low, high = scan.model.predict_interval(scan.filled(points.X), level)
    return Envelope(
        configurations=tuple(scan.space.configurations(points.X)),
        complexity=points.cost,
        relative=points.cost / unit,
        precision=points.precision,
        low=np.asarray(low, dtype=np.float64),
        high=np.asarray(high, dtype=np.float64),
    )


def _check_fraction(name: str, value: float, *, last: float | None = None) -> None:
    """Refuse what is not in (0, 1), `last` itself allowed."""
    if not (0.0 < value < 1.0 or value == last):
        raise BadInputError(name, expected=f"a fraction in (0, 1{']' if last else ')'}", got=value)
