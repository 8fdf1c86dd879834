"""What a proof takes, against made networks and images whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cpmodel.errors import BadInputError
from cpmodel.power import needed
from cpmodel.space import Floats
from cpmodel.verify import Comparison, Networks, Opened, Verdict, difference_interval, judge

SEEDS = 8


def networks(rng: np.random.Generator, images: int, better: float = 0.0, seed_sd: float = 0.01) -> Floats:
    """Correctness of some networks: by each image's difficulty, each seed's ability and chance."""
    ability = 1.0 + better + seed_sd * rng.standard_normal((SEEDS, 1))
    return (ability + rng.standard_normal(images) + 0.5 * rng.standard_normal((SEEDS, images)) > 0) * 1.0


def precision(better: float, seed_sd: float = 0.01) -> float:
    """The true precision of such networks."""
    from scipy import stats

    return float(stats.norm.cdf((1.0 + better) / np.hypot(np.hypot(1.0, 0.5), seed_sd)))


def verdict_on(values: Floats, target: float, opening: int = 1) -> Verdict:
    some = Networks("f=2", {"f": 2}, tuple(range(SEEDS)), tuple(values.mean(axis=1)))
    return judge(some, target, values, Opened(opening=opening))


@pytest.mark.parametrize("gap", [0.006, -0.006])
def test_so_many_new_images_decide_it_as_often_as_was_said(gap: float) -> None:
    rng = np.random.default_rng(0)
    target = precision(0.0) - gap
    first = verdict_on(networks(rng, 2000), target)
    # the difference that is there, not the one that seemed to be
    shift = first.interval.mean - precision(0.0)
    first = verdict_on(networks(np.random.default_rng(0), 2000), target + shift)
    assert first.status == "undecided"
    images = needed(first, power=0.8).images
    assert images is not None
    again = [verdict_on(networks(rng, images), target, opening=2).status for _ in range(60)]
    expected = "reached" if gap > 0 else "missed"
    assert set(again) <= {expected, "undecided"}
    assert 0.6 <= np.mean([status == expected for status in again]) <= 0.95


def test_a_network_so_much_better_is_proved_as_often_as_was_said() -> None:
    rng = np.random.default_rng(1)
    target = precision(0.0)
    margin = needed(verdict_on(networks(rng, 3000), target), power=0.8).margin
    better = next(b for b in np.linspace(0, 1, 1001) if precision(b) >= target + margin)
    proved = [
        verdict_on(networks(rng, 3000, better), target, opening=2).status == "reached" for _ in range(60)
    ]
    assert 0.6 <= np.mean(proved) <= 0.95


def test_no_number_of_images_decides_what_seeds_leave_open() -> None:
    rng = np.random.default_rng(2)
    values = networks(rng, 20_000, seed_sd=0.3)
    assert needed(verdict_on(values, float(values.mean()) - 0.002)).images is None


def test_more_power_and_smaller_differences_take_more_images() -> None:
    values = networks(np.random.default_rng(3), 2000)
    mean = float(values.mean())
    counts = [needed(verdict_on(values, mean - gap)).images or math.inf for gap in (0.02, 0.01, 0.008)]
    assert counts == sorted(counts)
    assert len(set(counts)) == 3
    verdict = verdict_on(values, mean - 0.02)
    assert (needed(verdict, 0.9).images or 0) > (needed(verdict, 0.5).images or math.inf)
    with pytest.raises(BadInputError, match="power"):
        needed(verdict, 1.0)


def test_of_a_drop_it_is_the_difference_that_counts() -> None:
    """On the same images both are right or wrong together, so that far fewer tell them apart."""
    rng = np.random.default_rng(4)
    difficulty = rng.standard_normal(3000)
    values, reference = (
        (
            1.0
            + 0.01 * rng.standard_normal((SEEDS, 1))
            + difficulty
            + 0.2 * rng.standard_normal((SEEDS, 3000))
            > 0
        )
        * 1.0
        for _ in range(2)
    )
    own = Networks("f=2", {"f": 2}, tuple(range(SEEDS)), tuple(values.mean(axis=1)))
    drop = 0.004 - float(values.mean() - reference.mean())
    difference = difference_interval(values, reference, level=Opened().kwargs["level"])
    against = Comparison(
        "f=8", drop, tuple(range(SEEDS)), (0.8,) * SEEDS, tuple(reference.mean(axis=1)), difference
    )
    paired = judge(own, float(reference.mean()) - drop, values, Opened(), against)
    alone = judge(own, float(reference.mean()) - drop, values, Opened())
    assert needed(paired).margin < 0.7 * needed(alone).margin
