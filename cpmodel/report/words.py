"""The answer at the top of the page, and the small table beside it; everything of the user's is escaped."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from markupsafe import Markup, escape

from cpmodel import numbers
from cpmodel.pipeline import wording
from cpmodel.report.page import Page, spaced
from cpmodel.report.training import training_facts

Tone = Literal["good", "bad", "open", "none"]
_BADGES: dict[str, tuple[str, Tone]] = {
    "reached": ("Reached", "good"),
    "missed": ("Missed", "bad"),
    "undecided": ("Undecided", "open"),
}
# No line may end between a number and its unit
_UNIT = re.compile(r"(?<=\d) (?=%|MACs|[TGMkmµn]?[sB]?\b(?=[.,;:)]|$| MACs))")


@dataclass(frozen=True)
class AnswerText:
    """The top of the page: one or two words, their colour, and the answer with how sure it is."""

    badge: str
    tone: Tone
    sentences: tuple[Markup, ...]


def answer_text(page: Page) -> AnswerText:
    """The answer of a page, honest about how much of it is proved."""
    (badge, tone), sentences = told(page)
    keys = [page.baseline_key, page.answer_key, *page.means.keys]
    keys += [c.key for c in (page.choice.safe, page.choice.best) if c is not None] if page.choice else []
    keys += page.curve.keys if page.curve is not None else []
    return AnswerText(badge, tone, tuple(marked(sentence, keys) for sentence in sentences))


def told(page: Page) -> tuple[tuple[str, Tone], list[str]]:
    """The badge of a page and its colour, and what it says, as plain text."""
    n, choice, verdict = page.notation, page.choice, page.verdict
    saving = _saving(page)
    if verdict is not None:
        first, second = wording.verdict_text(verdict, n)
        second += f" {wording.OUTDATED}" if page.outdated else ""
        # what a missed target saves is the least of it
        order = [first, second, *saving] if verdict.status != "reached" else [first, *saving, second]
        return _BADGES[verdict.status], order
    if choice is not None and choice.plain is not None:
        first, *others = wording.predicted_text(choice, choice.plain, n)
        return ("Predicted", "open"), [first, *saving, *others]
    if choice is not None:
        return ("Out of reach", "bad"), [*wording.unreachable_text(choice, n)]
    if page.curve is not None:
        badge: tuple[str, Tone] = ("Curve so far", "open")
        if not np.isfinite(page.curve.least).any():
            badge = ("Out of reach", "bad")
        elif page.curve.status == "settled":
            badge = ("Curve", "good")
        return badge, [*wording.curve_text(page.curve, n)]
    return _measured(page)


def _measured(page: Page) -> tuple[tuple[str, Tone], list[str]]:
    facts, means = training_facts(page.samples), page.means
    count = numbers.count(facts.trainings, "training")
    if not len(means.mean):
        failed = f"{facts.trainings} of {count} failed" if facts.failures else "no training yet"
        return ("No result", "none"), [f"No precision has been measured: {failed}."]
    best = int(np.argmax(means.mean))
    seeds = f"mean of {means.seeds[best]} seeds" if means.seeds[best] > 1 else "one seed"
    said = (
        f"{count} of {numbers.count(facts.configurations, 'configuration')}; the best is {means.keys[best]} "
        f"with {page.notation.P(means.mean[best])} ({seeds})."
    )
    return ("Measured", "none"), [said, "No target has been set, so nothing was chosen."]


def _saving(page: Page) -> list[str]:
    """What the answer costs against the baseline, as a sentence; none where it is not known."""
    measured = [c for c in page.costs[1:] if c.cost.known == "measured" and c.cost.name != page.cost.name]
    told = [*page.costs[:1], *measured[:1]]  # of several measurements the first; the table beside has all
    return [said for said in [wording.saving_text(told, page.answer_key, page.baseline_key)] if said]


def marked(sentence: str, keys: Iterable[str]) -> Markup:
    """A sentence as markup: configurations in the letters of code, factors strong, numbers joined to units.

    >>> str(marked("f=8,s=2 is 3.0 times less in macs <", ["f=8,s=2"]))
    '<code>f=8, s=2</code> is <strong>3.0 times less</strong> in macs &lt;'
    """
    text = str(escape(sentence))
    names = sorted({re.escape(str(escape(key))) for key in keys if key}, key=len, reverse=True)
    text = re.sub(r"[\d.,]+ times (?:less|more)(?= in)|(?<=the) same(?= in)", r"<strong>\g<0></strong>", text)
    text = _UNIT.sub("\N{NO-BREAK SPACE}", text)
    if names:
        found = rf"(?<!\w)(?:{'|'.join(names)})(?![\w,]*=)"
        text = re.sub(found, lambda key: f"<code>{spaced(key[0])}</code>", text)
    return Markup(text)


@dataclass(frozen=True)
class ComparisonRow:
    """A row of the table of baseline and answer, as text."""

    label: str
    baseline: str
    answer: str
    difference: str
    detail: str = ""


def comparison(page: Page) -> tuple[ComparisonRow, ...]:
    """Baseline against answer: precision first, then every cost; empty without an answer."""
    verdict, answer, n = page.verdict, page.chosen, page.notation
    if verdict is None and answer is None:
        return ()
    row, label = page.means.of(page.baseline_key), page.metric.label.capitalize()
    base = math.nan if row is None else float(page.means.mean[row])
    source = "" if row is None else f"baseline: {numbers.count(int(page.means.seeds[row]), 'seed')}; "
    rows = []
    if verdict is not None:
        detail = f"{source}answer: {numbers.count(len(verdict.validation), 'fresh seed')}"
        rows.append(_row(page, f"{label}, validation", base, float(np.mean(verdict.validation)), detail))
        interval = n.between(verdict.interval.low, verdict.interval.high)
        level = numbers.percent(verdict.interval.level)
        detail = f"{level} interval {interval}. {wording.opening_text(verdict)}"
        against = math.nan if verdict.comparison is None else float(np.mean(verdict.comparison.test))
        rows.append(_row(page, f"{label}, test", against, verdict.interval.mean, detail))
    elif answer is not None:
        if row is None and page.choice is not None:
            base, source = page.choice.baseline.precision, "baseline: predicted; "
        rows.append(_row(page, label, base, answer.precision, f"{source}answer: predicted"))
    for line in page.costs:
        cost = line.cost
        column = cost.known == "measured" and cost.label == cost.name  # of a person's table
        unit = "" if cost.unit in cost.label else cost.unit
        images = "" if cost.conditions is None else f", {numbers.count(cost.conditions.batch, 'image')}"
        rows.append(
            ComparisonRow(
                (cost.label if column else cost.label[:1].upper() + cost.label[1:]) + images,
                numbers.amount(line.baseline, unit),
                numbers.amount(line.answer, unit),
                numbers.short_factor(line.relative),
                str(cost.conditions or ""),
            )
        )
    return tuple(rows)


def _row(page: Page, label: str, base: float, answer: float, detail: str) -> ComparisonRow:
    n, gap = page.notation, answer - base
    difference = "" if math.isnan(gap) else f"{n.points(gap, sign=True)} points"
    return ComparisonRow(label, n.P(base), n.P(answer), difference, detail)


def effort_text(page: Page) -> str:
    """What the study took."""
    facts = training_facts(page.samples)
    return wording.effort_text(facts.trainings, facts.train_s, configurations=facts.configurations)
