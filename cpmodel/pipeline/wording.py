"""The sentences that say what was found, once for the command line and the page: plain text, no markup."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from cpmodel import numbers
from cpmodel.metrics import Accuracy, Metric

if TYPE_CHECKING:
    from cpmodel.cost import ComparedCost
    from cpmodel.optimize import Candidate, Choice
    from cpmodel.pipeline.curve import Curve
    from cpmodel.search.acquisition import Outlook
    from cpmodel.verify import Verdict

# of a verdict about a test split whose place another one has taken
OUTDATED = "The study has other test images now, to which cpmodel verify puts the configuration."


@dataclass(frozen=True)
class Notation:
    """How precisions and complexities are written.

    Parameters
    ----------
    digits : decimals of a percentage
    unit : of the complexity
    metric : what precision means; values are written in its own unit and direction
    """

    digits: int = 1
    unit: str = ""
    metric: Metric = field(default_factory=Accuracy)

    @classmethod
    def of(
        cls,
        *,
        choice: Choice | None = None,
        verdict: Verdict | None = None,
        others: Iterable[float] = (),
        unit: str = "",
        metric: Metric | None = None,
    ) -> Notation:
        """The notation in which none of these precisions looks as if it lay on the target when it does not.

        Others are shown beside them, and never compared with the target.
        """
        values, target = [], math.nan
        if choice is not None:
            target = choice.target
            values.append(choice.best.precision)
            if choice.plain is not None and verdict is None:
                values.append(choice.plain.precision)
        if verdict is not None:
            target, interval = verdict.target, verdict.interval
            values += [float(np.mean(verdict.validation)), interval.mean, interval.low, interval.high]
        digits = max(numbers.digits_for(values, target), numbers.digits_for(others))
        return cls(digits, unit, metric or Accuracy())

    def P(self, precision: float) -> str:
        """A precision, as a value of the metric."""
        value, unit = self.metric.shown(precision), self.metric.unit
        if unit == "%" or not math.isfinite(value):
            return numbers.percent(value, self.digits)
        return f"{value:.{self.digits + 2}f} {unit}".strip()

    def target(self, precision: float) -> str:
        """A precision that was asked for."""
        value, unit = self.metric.shown(precision), self.metric.unit
        return numbers.exact_percent(value) if unit == "%" else f"{value:.6g} {unit}".strip()

    def between(self, low: float, high: float, to: str = "to") -> str:
        """The ends of an interval of precisions."""
        ends = (low, high) if self.metric.direction == "higher" else (high, low)
        return f" {to} ".join(map(self.P, ends))

    def points(self, difference: float, sign: bool = False) -> str:
        """A difference of precisions in percentage points."""
        return numbers.points(difference, self.digits, sign)

    def C(self, complexity: float) -> str:
        """A complexity."""
        return numbers.amount(complexity, self.unit)


def verdict_text(verdict: Verdict, notation: Notation) -> tuple[str, str]:
    """What the test split says of a configuration: the answer, and how sure it is."""
    n, seeds = notation, len(verdict.test)
    groups = "" if verdict.groups is None else f" of {verdict.groups:,} groups"
    trained = f"mean of {seeds} fresh trainings" if seeds > 1 else "one fresh training"
    images = f"{verdict.test_images:,} test images{groups}"
    found = f"its {n.metric.label} on {images} is {n.P(verdict.interval.mean)} ({trained})"
    over = "seeds and images" if seeds > 1 else "images alone, there being one seed"
    sure = f"With {numbers.percent(verdict.interval.level)} confidence, over {over}"
    against = verdict.comparison
    if against is None:
        reaches, misses, beyond, bar = "reaches", "misses", "worse than the target", "the target"
        goal = n.target(verdict.target)
        claim = f"{sure}, it lies between {n.between(verdict.interval.low, verdict.interval.high, 'and')}"
    else:
        reaches, misses, beyond, bar = "stays within", "is not within", "more than allowed", "what is allowed"
        goal = f"{n.points(against.drop)} points of the baseline"
        least, most = -against.difference.high, -against.difference.low
        claim = (
            f"{sure}, it lies {n.points(least)} to {n.points(most)} points below {len(against.seeds)} "
            "networks of the baseline on the same images"
        )
    if verdict.status == "reached":
        return f"{verdict.key} {reaches} {goal}: {found}.", f"{claim}: none of that is {beyond}."
    if verdict.status == "missed":
        stood = n.P(float(np.mean(verdict.validation)))
        said = f"{claim}: all of that is {beyond}, though it stood on validation with {stood}."
        return f"{verdict.key} {misses} {goal}: {found}.", said
    said = f"{claim}, and {bar} is among these. {_needed_text(verdict, n)}"
    return f"Whether {verdict.key} {reaches} {goal} is undecided: {found}.", said


def _needed_text(verdict: Verdict, notation: Notation) -> str:
    """What would decide a verdict that is open."""
    from cpmodel.power import needed

    it = needed(verdict)
    if math.isnan(it.margin):
        return "More seeds or more test images would decide it."
    power = f"with a power of {numbers.percent(it.power, 0)}"
    images = f"about {_round(it.images)} new test images" if it.images is not None else "no number of images"
    above = "above the target" if verdict.comparison is None else "above what is allowed"
    return (
        f"If its precision is what it seems, {images} would decide it {power}; on as many images as these a "
        f"network is proved whose precision lies {notation.points(it.margin)} points {above}."
    )


def _round(count: int) -> str:
    """A number of two digits that count."""
    return f"{float(f'{count:.2g}'):,.0f}"


def opening_text(verdict: Verdict) -> str:
    """Which opening of test images a verdict rests on, and what that spends."""
    spent = numbers.percent(1 - verdict.interval.level, 2)
    return (
        f"This is opening {verdict.opening} of the study's test images: it spends {spent} of the study's "
        f"stated error of {numbers.percent(verdict.error, 0)}."
    )


def predicted_text(choice: Choice, plain: Candidate, notation: Notation) -> tuple[str, ...]:
    """What the models choose, how likely it is right, and the safe answer where that is another one."""
    n, safe = notation, choice.safe
    sentences = [
        f"Of {choice.space_size:,} configurations, {plain.key} is expected to be the cheapest that reaches "
        f"{n.target(choice.target)}: predicted precision {n.P(plain.precision)}.",
        "This is a prediction, not yet verified on fresh seeds: one training would give "
        f"{n.between(plain.low, plain.high)} ({numbers.percent(choice.level, 0)} interval), and the mean "
        f"over seeds reaches the target with a probability of {numbers.percent(plain.probability, 0)}.",
    ]
    if safe is not None and safe.key != plain.key:
        sentences.append(
            "The cheapest that reaches it with a probability of "
            f"{numbers.percent(choice.confidence, 0)} or more is {safe.key}: {n.C(safe.complexity)}, "
            f"{numbers.factor(safe.complexity / plain.complexity)} than that."
        )
    return tuple(sentences)


def unreachable_text(choice: Choice, notation: Notation) -> tuple[str, str]:
    """That a target cannot be reached, and what can."""
    n, best = notation, choice.best
    return (
        f"None of {choice.space_size:,} configurations is predicted to reach {n.target(choice.target)}.",
        f"The best is {best.key}: predicted precision {n.P(best.precision)} (one training: "
        f"{n.between(best.low, best.high)}, {numbers.percent(choice.level, 0)} interval), at "
        f"{n.C(best.complexity)}, {numbers.share(best.relative)} of the baseline.",
    )


def saving_text(costs: Iterable[ComparedCost], key: str, baseline: str) -> str:
    """What an answer costs against the baseline, by each cost that is known; empty where none is."""
    if key == baseline:
        return "That is the baseline itself."
    known = [c for c in costs if math.isfinite(c.relative)]
    told = [f"{numbers.factor(c.relative)} in {_inside(c.cost.label)}" for c in known]
    return f"It costs {_listed(told)} than the baseline {baseline}." if told else ""


def outlook_text(outlook: Outlook) -> str:
    """How likely something cheaper exists, and how much cheaper it is."""
    return (
        f"Something cheaper exists with a probability of {numbers.percent(outlook.probability, 0)}; the "
        f"expected saving is {numbers.percent(outlook.fraction, 0)}."
    )


def curve_text(curve: Curve, notation: Notation) -> tuple[str, ...]:
    """What C(P) is between its ends, where it ends, and where it is least certain."""
    n, there = notation, np.flatnonzero(np.isfinite(curve.least))
    if not len(there):
        return (f"No configuration is predicted to reach {n.P(curve.targets[0])}.",)
    first, last = int(there[0]), int(there[-1])
    ends = [f"{n.C(curve.least[i])} for {n.P(curve.targets[i])} ({curve.keys[i]})" for i in (first, last)]
    sentences = [f"The least complexity rises from {' to '.join(ends)}."]
    if last + 1 < len(curve.targets):
        sentences.append(f"None is predicted to reach {n.P(curve.targets[last + 1])} or more.")
    widest = int(np.argmax(curve.width))
    sentences.append(
        f"It is least certain at {n.P(curve.targets[widest])}, where it may be "
        f"{math.exp(float(curve.width[widest])):.2f} times more or less (one standard deviation)."
    )
    return tuple(sentences)


def effort_text(
    trainings: int, train_s: float, *, configurations: int | None = None, wall_s: float = math.nan
) -> str:
    """What it took: trainings, the seconds of training, those from start to end (NaN where not known)."""
    parts = [numbers.count(trainings, "training")]
    if configurations is not None:
        parts[0] += f" of {numbers.count(configurations, 'configuration')}"
    if train_s > 0:
        parts.append(f"{numbers.duration(train_s)} of training")
    if math.isfinite(wall_s):
        parts.append(f"{numbers.duration(wall_s)} in all")
    return ", ".join(parts)


def _inside(label: str) -> str:
    """A label as it stands inside a sentence: abbreviations stay as they are."""
    return label[:1].lower() + label[1:] if label[1:2].islower() else label


def _listed(parts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
