"""The answer in words, and the small table beneath it. Everything of the user's is escaped by `Markup`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from markupsafe import Markup

from cpmodel.optimize import Candidate, Choice
from cpmodel.pipeline.curve import Curve
from cpmodel.report.content import CostLine, ReportContent, VerdictView
from cpmodel.report.display import (
    UNKNOWN,
    amount,
    digits_for,
    duration,
    exact_percent,
    factor,
    percent,
    quantity,
    short_factor,
)
from cpmodel.report.means import means_of
from cpmodel.report.training import training_facts

Tone = Literal["good", "bad", "open", "none"]


@dataclass(frozen=True)
class AnswerText:
    """The top of the page.

    Parameters
    ----------
    badge : str
        One or two words.
    tone : {"good", "bad", "open", "none"}
    sentences : tuple of Markup
        The first is the answer, the others say how sure it is and what it saves.
    """

    badge: str
    tone: Tone
    sentences: tuple[Markup, ...]


def page_digits(content: ReportContent) -> int:
    """Decimals of the page's percentages."""
    values: list[float] = []
    target = math.nan
    if content.choice is not None:
        target = content.choice.target
        values += [content.choice.best.precision]
    if content.answer is not None:
        values += [content.answer.precision]
    if content.verdict is not None:
        verdict = content.verdict
        target = verdict.target
        values += [verdict.validation_mean, verdict.test_mean, verdict.low, verdict.high]
    precision = content.samples.precision
    known = precision[np.isfinite(precision)]
    return max(digits_for(values, target), digits_for(known[:0] if not len(known) else [float(known.max())]))


def answer_text(content: ReportContent, digits: int) -> AnswerText:
    """The answer of a report, honest about how much of it is proved."""
    if content.verdict is not None:
        return _proved(content, content.verdict, digits)
    if content.choice is not None and content.choice.status == "unreachable":
        return _unreachable(content, content.choice, digits)
    if content.choice is not None and content.choice.plain is not None:
        return _predicted(content, content.choice, content.choice.plain, digits)
    if content.band is not None:
        return _whole_curve(content, content.band, digits)
    return _measured(content, digits)


def _whole_curve(content: ReportContent, band: Curve, digits: int) -> AnswerText:
    unit = _unit(content)
    there = np.flatnonzero(np.isfinite(band.least))
    if not len(there):
        return AnswerText(
            "Out of reach",
            "bad",
            (Markup("No configuration is predicted to reach {}.").format(percent(band.targets[0], digits)),),
        )
    first, last = int(there[0]), int(there[-1])
    ends = [
        Markup("{} for {} ({})").format(
            amount(float(band.least[row]), unit), percent(band.targets[row], digits), _code(band.keys[row])
        )
        for row in (first, last)
    ]
    sentences = [Markup("The least complexity rises from {} to {}.").format(*ends)]
    if last + 1 < len(band.targets):
        sentences.append(
            Markup("None is predicted to reach {} or more.").format(percent(band.targets[last + 1], digits))
        )
    widest = int(np.argmax(band.width))
    sentences.append(
        Markup(
            "It is least certain at {}, where it may be {} times more or less (one standard deviation)."
        ).format(percent(band.targets[widest], digits), f"{math.exp(float(band.width[widest])):.2f}")
    )
    done = ("Curve", "good") if band.status == "settled" else ("Curve so far", "open")
    return AnswerText(done[0], done[1], tuple(sentences))  # type: ignore[arg-type]


def _proved(content: ReportContent, verdict: VerdictView, digits: int) -> AnswerText:
    seeds = len(verdict.test)
    images = f"{verdict.n_images:,} test images"
    if verdict.groups is not None:
        images += f" of {verdict.groups:,} groups"
    over = "seeds and images" if seeds > 1 else "images alone, there being one seed"
    trained = f"mean of {seeds} fresh trainings" if seeds > 1 else "one fresh training"
    found = Markup("it classifies {} of {} rightly ({}).").format(
        percent(verdict.test_mean, digits), images, trained
    )
    key, saving = _code(verdict.key), _saving(content)
    sure = Markup("With {} confidence, over {}").format(percent(verdict.level, 1), over)
    against = verdict.comparison
    if against is None:
        reaches, misses, below, bar = "reaches", "misses", "below the target", "the target"
        goal = exact_percent(verdict.target)
        between = (percent(verdict.low, digits), percent(verdict.high, digits))
        claim = Markup("{}, its precision lies between {} and {}").format(sure, *between)
    else:
        reaches, misses, below, bar = "stays within", "is not within", "more than allowed", "what is allowed"
        goal = f"{_points(against.drop, digits)} points of the baseline"
        lost = (_points(-against.difference.high, digits), _points(-against.difference.low, digits))
        claim = Markup(
            "{}, it lies {} to {} points below {} networks of the baseline on the same images"
        ).format(sure, *lost, len(against.seeds))
    if verdict.status == "reached":
        first = Markup("{} {} {}: {}").format(key, reaches, goal, found)
        second = Markup("{}: none of that is {}.").format(claim, below)
        return AnswerText("Reached", "good", (first, *saving, second))
    if verdict.status == "missed":
        first = Markup("{} {} {}: {}").format(key, misses, goal, found)
        second = Markup("{}: all of that is {}, though it stood on validation with {}.").format(
            claim, below, percent(verdict.validation_mean, digits)
        )
        return AnswerText("Missed", "bad", (first, second, *saving))
    first = Markup("Whether {} {} {} is undecided: {}").format(key, reaches, goal, found)
    second = Markup("{}, and {} is among these. More seeds or more test images would decide it.").format(
        claim, bar
    )
    return AnswerText("Undecided", "open", (first, second, *saving))


def _points(fraction: float, digits: int) -> str:
    return f"{100 * fraction:.{digits}f}".replace("-", "−")


def _predicted(content: ReportContent, choice: Choice, plain: Candidate, digits: int) -> AnswerText:
    first = Markup(
        "Of {} configurations, {} is expected to be the cheapest that reaches {}: predicted precision {}."
    ).format(
        f"{choice.space_size:,}",
        _code(plain.key),
        exact_percent(choice.target),
        percent(plain.precision, digits),
    )
    second = Markup(
        "This is a prediction, not yet verified on fresh seeds: one training would give {} to {} "
        "({} interval), and the mean over seeds reaches the target with a probability of {}."
    ).format(
        percent(plain.low, digits),
        percent(plain.high, digits),
        percent(choice.level, 0),
        percent(plain.probability, 0),
    )
    sentences = [first, *_saving(content), second]
    safe = choice.safe
    if safe is not None and safe.key != plain.key:
        sentences.append(
            Markup(
                "The cheapest that reaches it with a probability of {} or more is {}: {}, {} than that."
            ).format(
                percent(choice.confidence, 0),
                _code(safe.key),
                amount(safe.complexity, _unit(content)),
                factor(safe.complexity / plain.complexity),
            )
        )
    return AnswerText("Predicted", "open", tuple(sentences))


def _unreachable(content: ReportContent, choice: Choice, digits: int) -> AnswerText:
    best = choice.best
    first = Markup("None of {} configurations is predicted to reach {}.").format(
        f"{choice.space_size:,}", exact_percent(choice.target)
    )
    second = Markup(
        "The best is {}: predicted precision {} (one training: {} to {}, {} interval), at {}, "
        "{} of the baseline."
    ).format(
        _code(best.key),
        percent(best.precision, digits),
        percent(best.low, digits),
        percent(best.high, digits),
        percent(choice.level, 0),
        amount(best.complexity, _unit(content)),
        f"{best.relative:.3g}",
    )
    return AnswerText("Out of reach", "bad", (first, second))


def _measured(content: ReportContent, digits: int) -> AnswerText:
    facts = training_facts(content.samples)
    means = means_of(content)
    count = _count(facts.trainings, "training")
    if not len(means.mean):
        failed = f"{facts.trainings} of {count} failed" if facts.failures else "no training yet"
        return AnswerText(
            "No result", "none", (Markup("No precision has been measured: {}.").format(failed),)
        )
    best = int(np.argmax(means.mean))
    seeds = int(means.seeds[best])
    first = Markup("{} of {}; the best is {} with {} ({}).").format(
        count,
        _count(facts.configurations, "configuration"),
        _code(means.keys[best]),
        percent(float(means.mean[best]), digits),
        f"mean of {seeds} seeds" if seeds > 1 else "one seed",
    )
    second = Markup("No target has been set, so nothing was chosen.")
    return AnswerText("Measured", "none", (first, second))


def _saving(content: ReportContent) -> tuple[Markup, ...]:
    """What the answer costs against the baseline, as a sentence; none where it is not known."""
    told: dict[str, Markup] = {}  # of several run-times the first; the table beside has all
    key = content.verdict.key if content.verdict else content.answer.key if content.answer else ""
    if key == content.baseline_key:
        return (Markup("That is the baseline itself."),)
    for line in cost_lines(content):
        relative = line.answer / line.baseline if line.baseline > 0 else math.nan
        if math.isfinite(relative) and line.name in (content.complexity, "macs", "latency_s"):
            words = {"macs": "in multiply-accumulates", "latency_s": "in measured run-time"}
            said = Markup("<strong>{}</strong> {}").format(
                factor(relative), words.get(line.name, f"in {line.name}")
            )
            told.setdefault(line.name, said)
    if not told:
        return ()
    return (
        Markup("It costs {} than the baseline {}.").format(
            Markup(" and ").join(told.values()), _code(content.baseline_key)
        ),
    )


def cost_lines(content: ReportContent) -> tuple[CostLine, ...]:
    """The report's costs, or at least the one that was minimised where it is known."""
    if content.costs:
        return content.costs
    answer = math.nan
    if content.verdict is not None and content.complexity in content.verdict.savings:
        answer = content.verdict.savings[content.complexity].value
    elif content.verdict is None and content.answer is not None:
        answer = content.answer.complexity
    if math.isnan(answer) or math.isnan(content.baseline_complexity):
        return ()
    return (CostLine(content.complexity, content.baseline_complexity, answer, content.conditions),)


@dataclass(frozen=True)
class ComparisonRow:
    """A row of the table of baseline and answer, as text."""

    label: str
    baseline: str
    answer: str
    difference: str
    detail: str = ""


def comparison(content: ReportContent, digits: int) -> tuple[ComparisonRow, ...]:
    """Baseline against answer: precision first, then every complexity; empty without an answer."""
    verdict, answer = content.verdict, content.answer
    if verdict is None and answer is None:
        return ()
    means = means_of(content)
    row = means.of(content.baseline_key)
    base = math.nan if row is None else float(means.mean[row])
    source = [] if row is None else [f"baseline: {_count(int(means.seeds[row]), 'seed')}"]
    rows = []
    if verdict is not None:
        source.append(f"answer: {_count(len(verdict.validation), 'fresh seed')}")
        rows.append(
            _precision_row("Precision, validation", base, verdict.validation_mean, digits, "; ".join(source))
        )
        low, high = percent(verdict.low, digits), percent(verdict.high, digits)
        detail = (
            f"{percent(verdict.level, 1)} interval {low} to {high}; opening {verdict.opening} of this split "
            f"spends {percent(1 - verdict.level, 2)} of the stated error of {percent(verdict.error, 0)}"
        )
        against = verdict.comparison
        if against is None:
            test = percent(verdict.test_mean, digits)
            rows.append(ComparisonRow("Precision, test", UNKNOWN, test, "", detail))
        else:
            mean = float(np.mean(against.test))
            rows.append(_precision_row("Precision, test", mean, verdict.test_mean, digits, detail))
    elif answer is not None:
        if row is None and content.choice is not None:
            base, source = content.choice.baseline.precision, ["baseline: predicted"]
        detail = "; ".join([*source, "answer: predicted"])
        rows.append(_precision_row("Precision", base, answer.precision, digits, detail))
    for line in cost_lines(content):
        unit = quantity(line.name, content.unit if line.name == content.complexity else "")
        relative = line.answer / line.baseline if line.baseline > 0 else math.nan
        short = "" if unit.unit in unit.label else unit.unit
        rows.append(
            ComparisonRow(
                unit.label,
                amount(line.baseline, short),
                amount(line.answer, short),
                short_factor(relative),
                line.conditions,
            )
        )
    return tuple(rows)


def _precision_row(label: str, base: float, answer: float, digits: int, detail: str) -> ComparisonRow:
    gap = answer - base
    difference = "" if math.isnan(gap) else f"{100 * gap:+.{digits}f} points".replace("-", "−")
    return ComparisonRow(label, percent(base, digits), percent(answer, digits), difference, detail)


def effort_text(content: ReportContent) -> str:
    """What the study took: trainings, their time, the wall time."""
    facts = training_facts(content.samples)
    parts = [f"{_count(facts.trainings, 'training')} of {_count(facts.configurations, 'configuration')}"]
    if facts.train_s > 0:
        parts.append(f"{duration(facts.train_s)} of training")
    if math.isfinite(content.wall_s):
        parts.append(f"{duration(content.wall_s)} in all")
    return ", ".join(parts)


def _unit(content: ReportContent) -> str:
    return quantity(content.complexity, content.unit).unit or content.complexity


def _code(key: str) -> Markup:
    return Markup("<code>{}</code>").format(key.replace(",", ", "))


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}"
