"""What was found, in sentences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cpmodel.cost import ComparedCost, Cost
from cpmodel.metrics import Accuracy
from cpmodel.optimize import Candidate, Choice, Envelope
from cpmodel.pipeline.curve import Curve
from cpmodel.pipeline.wording import (
    Notation,
    curve_text,
    effort_text,
    opening_text,
    outlook_text,
    predicted_text,
    saving_text,
    unreachable_text,
    verdict_text,
)
from cpmodel.search.acquisition import Outlook
from cpmodel.verify import Comparison, Interval, Verdict

INTERVAL = Interval(0.9042, 0.9006, 0.9079, 0.97, 0.001, 9.0)
VERDICT = Verdict(
    "reached",
    {"f": 8},
    "f=8",
    0.9,
    (1000, 1001, 1002),
    (0.904, 0.907, 0.9064),
    (0.9032, 0.9051, 0.9044),
    INTERVAL,
    5000,
    None,
    1001,
    opening=1,
    error=0.05,
)


def candidate(key: str, precision: float, complexity: float) -> Candidate:
    return Candidate(
        {}, key, precision, precision - 0.01, precision + 0.01, 0.7, complexity, complexity / 1e6
    )


def choice(**changes: Any) -> Choice:
    nothing = np.empty(0)
    made = Choice(
        "reachable",
        0.9,
        "macs",
        0.9,
        0.9,
        candidate("f=8", 0.905, 1e5),
        candidate("f=16", 0.92, 2e5),
        candidate("f=64", 0.94, 1e6),
        candidate("f=64", 0.94, 1e6),
        (),
        Envelope((), nothing, nothing, nothing, nothing, nothing),
        540,
    )
    return replace(made, **changes)


def test_reached() -> None:
    first, second = verdict_text(VERDICT, Notation.of(verdict=VERDICT))
    assert first == (
        "f=8 reaches 90 %: its precision on 5,000 test images is 90.4 % (mean of 3 fresh trainings)."
    )
    assert second == (
        "With 97.0 % confidence, over seeds and images, it lies between 90.1 % and 90.8 %: "
        "none of that is worse than the target."
    )


class Mistakes(Accuracy):
    name = "mistakes"
    label = "share of mistakes"
    direction = "lower"


def test_a_metric_that_is_better_when_it_is_lower() -> None:
    first, second = verdict_text(VERDICT, Notation.of(verdict=VERDICT, metric=Mistakes()))
    assert "f=8 reaches 10 %: its share of mistakes on 5,000 test images is 9.6 %" in first
    assert second.endswith("it lies between 9.2 % and 9.9 %: none of that is worse than the target.")


def test_a_metric_with_a_unit_of_its_own() -> None:
    class Score(Accuracy):
        label, unit = "score", "marks"

    first, _ = verdict_text(VERDICT, Notation.of(verdict=VERDICT, metric=Score()))
    assert "reaches 0.9 marks: its score on 5,000 test images is 0.904 marks" in first


def test_missed() -> None:
    missed = replace(VERDICT, status="missed", interval=replace(INTERVAL, mean=0.885, low=0.88, high=0.895))
    first, second = verdict_text(missed, Notation.of(verdict=missed))
    assert first.startswith("f=8 misses 90 %: ")
    assert second.endswith("all of that is worse than the target, though it stood on validation with 90.6 %.")


def test_undecided_is_written_with_digits_that_show_why() -> None:
    undecided = replace(VERDICT, status="undecided", interval=replace(INTERVAL, low=0.8996))
    first, second = verdict_text(undecided, Notation.of(verdict=undecided))
    assert first.startswith("Whether f=8 reaches 90 % is undecided: ")
    # one decimal would print 90.0 %, which looks like the target
    assert "between 89.96 % and 90.79 %, and the target is among these" in second


def test_a_drop_is_told_against_the_baseline() -> None:
    difference = Interval(-0.012, -0.018, 0.001, 0.97, 0.001, 9.0)
    against = Comparison("f=64", 0.02, (0, 1, 2), (0.92,) * 3, (0.916, 0.917, 0.915), difference)
    within = replace(VERDICT, comparison=against, opening=2)
    first, second = verdict_text(within, Notation.of(verdict=within))
    assert first.startswith("f=8 stays within 2.0 points of the baseline: ")
    assert "it lies −0.1 to 1.8 points below 3 networks of the baseline on the same images" in second
    beyond = replace(within, status="missed", comparison=replace(against, drop=0.001))
    first, second = verdict_text(beyond, Notation())
    assert first.startswith("f=8 is not within 0.1 points of the baseline: ")
    assert "all of that is more than allowed" in second


def test_one_seed_says_what_its_interval_leaves_out() -> None:
    alone = replace(VERDICT, test=(0.904,), validation=(0.905,), groups=40)
    first, second = verdict_text(alone, Notation())
    assert "on 5,000 test images of 40 groups is" in first
    assert "(one fresh training)" in first
    assert "over images alone, there being one seed" in second


def test_openings_are_counted() -> None:
    second = replace(VERDICT, opening=2, interval=replace(INTERVAL, level=0.9924))
    assert opening_text(second) == (
        "This is opening 2 of the study's test images: it spends 0.76 % of the study's stated error of 5 %."
    )


def test_predicted_names_the_plain_and_the_safe_answer() -> None:
    found = choice()
    assert found.plain is not None
    notation = Notation.of(choice=found, unit="MACs")
    first, second, third = predicted_text(found, found.plain, notation)
    assert first == (
        "Of 540 configurations, f=8 is expected to be the cheapest that reaches 90 %: "
        "predicted precision 90.5 %."
    )
    assert (
        "not yet verified on fresh seeds: one training would give 89.5 % to 91.5 % (90 % interval)" in second
    )
    assert third.endswith("of 90 % or more is f=16: 200 k MACs, 2.0 times more than that.")
    assert len(predicted_text(replace(found, safe=found.plain), found.plain, notation)) == 2


def test_out_of_reach_says_what_can_be_reached() -> None:
    found = choice(status="unreachable", plain=None, safe=None, target=0.99)
    first, second = unreachable_text(found, Notation.of(choice=found, unit="MACs"))
    assert first == "None of 540 configurations is predicted to reach 99 %."
    assert second == (
        "The best is f=64: predicted precision 94.0 % (one training: 93.0 % to 95.0 %, 90 % interval), at "
        "1 M MACs, 1 of the baseline."
    )


def test_saving() -> None:
    told = (("MACs of one image", 1e6, 1e4), ("Run-time of a batch", 3.0, 3.0), ("B", 1.0, 2.0))
    costs = [ComparedCost(Cost(name), base, answer) for name, base, answer in told]
    assert saving_text(costs, "f=8", "f=64") == (
        "It costs 100 times less in MACs of one image, the same in run-time of a batch and 2.0 times more "
        "in B than the baseline f=64."
    )
    assert saving_text(costs[:1], "f=64", "f=64") == "That is the baseline itself."
    unknown = [ComparedCost(Cost("x"), 0.0, 1.0), ComparedCost(Cost("y"), float("nan"), 1.0)]
    assert saving_text(unknown, "f=8", "f=64") == ""


def test_outlook() -> None:
    assert outlook_text(Outlook(0.124, -np.log(0.97))) == (
        "Something cheaper exists with a probability of 12 %; the expected saving is 3 %."
    )


def curve(least: list[float], keys: tuple[str, ...]) -> Curve:
    return Curve(
        "open",
        "",
        "macs",
        1e6,
        0.9,
        np.array([0.8, 0.85, 0.9]),
        keys,
        np.array(least),
        np.array(least),
        np.array(least),
        np.ones(3),
        np.array([0.1, 0.3, 0.2]),
        20,
        60.0,
    )


@pytest.mark.parametrize("reached", [0, 2, 3])
def test_curve(reached: int) -> None:
    least = [1e4, 1e5, 1e6][:reached] + [np.nan] * (3 - reached)
    keys = ("f=1", "f=2", "f=4")[:reached] + ("",) * (3 - reached)
    said = curve_text(curve(least, keys), Notation(unit="MACs"))
    if not reached:
        assert said == ("No configuration is predicted to reach 80.0 %.",)
        return
    end = "100 k MACs for 85.0 % (f=2)" if reached == 2 else "1 M MACs for 90.0 % (f=4)"
    assert said[0] == f"The least complexity rises from 10 k MACs for 80.0 % (f=1) to {end}."
    assert ("None is predicted to reach 90.0 % or more." in said) == (reached == 2)
    assert said[-1].startswith("It is least certain at 85.0 %, where it may be 1.35 times more or less")


def test_effort() -> None:
    assert effort_text(1, 0.0) == "1 training"
    assert effort_text(24, 200.0, configurations=10, wall_s=7500.0) == (
        "24 trainings of 10 configurations, 3 min 20 s of training, 2 h 5 min in all"
    )
