"""The cheapest configuration that is predicted to reach a target, and the envelope C(P)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cpmodel.errors import BadInputError
from cpmodel.optimize.results import Candidate, Choice, Cloud, Envelope
from cpmodel.optimize.scan import Problem, Scan, check_fraction, safer
from cpmodel.space import CANDIDATES, Space

if TYPE_CHECKING:
    import pandas as pd


def cheapest(
    problem: Problem,
    target: float,
    confidence: float = 0.9,
    *,
    runners_up: int = 5,
    whole: bool | None = None,
) -> Choice:
    """The cheapest configuration predicted to reach the target: min C(T) subject to P(T) >= P_T.

    Parameters
    ----------
    target : fraction in (0, 1]
    confidence : probability asked of the safe answer, in (0, 1)
    runners_up : how many, at most
    whole : bool, optional
        Whether to predict also what is dearer than the safe answer, for the rest of the envelope and the best
        precision there is; unless given, in spaces of up to 1,000,000 configurations. The plain and the safe
        answer are the same either way; a note says what was not predicted.
    """
    check_fraction("target", target, last=1.0)
    check_fraction("confidence", confidence)
    if runners_up < 0:
        raise BadInputError("runners_up", expected="0 or more", got=runners_up)
    space, scan, baseline = problem.space, Scan(problem), problem.baseline
    whole = space.size <= CANDIDATES if whole is None else whole
    curve = first = safe = Cloud.none(space)
    for points in scan:
        curve = (curve + points.envelope()).envelope()
        reaching = points[points.precision >= target]
        # once there are enough of them, dearer ones change nothing
        most = first.complexity[-1] if len(first) > runners_up else np.inf
        first = (first + reaching[reaching.complexity <= most]).cheapest(runners_up + 1)
        safe = safer(safe, reaching, problem, target, confidence)
        if not whole and len(safe) and scan.rest > safe.complexity[0]:
            # among those of one cost a better one may be next: then none of them is known to be the one
            curve, first = curve[curve.complexity < scan.rest], first[first.complexity < scan.rest]
            break
    scan.check(curve)
    named = _candidates(problem, curve[-1:] + baseline + first + safe, target)
    notes = scan.notes()
    if len(first) and not len(safe):
        notes.append(f"no configuration reaches {target:g} with probability {confidence:g} or more")
    return Choice(
        status="reachable" if len(first) else "unreachable",
        target=float(target),
        complexity=problem.complexity,
        confidence=float(confidence),
        level=float(problem.level),
        plain=named[2] if len(first) else None,
        safe=named[-1] if len(safe) else None,
        best=named[0],
        baseline=named[1],
        runners_up=tuple(named[3 : 2 + len(first)]),
        envelope=_envelope(problem, curve),
        space_size=scan.seen,
        notes=tuple(notes),
    )


def envelope(problem: Problem) -> Envelope:
    """C(P), the least complexity that is predicted to reach each precision."""
    scan = Scan(problem)
    curve = Cloud.none(problem.space)
    for points in scan:
        curve = (curve + points.envelope()).envelope()
    scan.check(curve)
    return _envelope(problem, curve)


def envelope_table(curve: Envelope, space: Space) -> pd.DataFrame:
    """The envelope as a table: a column a parameter, then complexity, relative, precision, low, high."""
    import pandas as pd

    table = pd.DataFrame(list(map(dict, curve.configurations)), columns=list(space.names))
    for name in ("complexity", "relative", "precision", "low", "high"):
        table[name] = getattr(curve, name)
    return table


def _candidates(problem: Problem, points: Cloud, target: float) -> list[Candidate]:
    """All that is known of each of the points."""
    low, high = problem.interval(points.X)
    probability = problem.probability(points.X, target)
    relative = points.complexity / problem.unit
    told = np.column_stack([points.precision, low, high, probability, points.complexity, relative])
    return [
        Candidate(configuration, problem.space.key(configuration), *numbers)
        for configuration, numbers in zip(problem.space.configurations(points.X), told.tolist(), strict=True)
    ]


def _envelope(problem: Problem, points: Cloud) -> Envelope:
    return Envelope(
        tuple(problem.space.configurations(points.X)),
        points.complexity,
        points.complexity / problem.unit,
        points.precision,
        *problem.interval(points.X),
    )
