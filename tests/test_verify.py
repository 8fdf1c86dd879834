"""The interval covers what it says it covers, by simulation; verdicts follow from it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from cpmodel.errors import BadInputError
from cpmodel.verify import Verdict, judge, precision_interval, probability_of_reaching, stands

Bools = NDArray[np.bool_]


def simulated(
    rng: np.random.Generator,
    seeds: int,
    images: int,
    level: float,
    image_sd: float,
    seed_sd: float,
    group_size: int = 1,
) -> tuple[Bools, float, NDArray[np.int64]]:
    """Networks that differ and images that differ, both drawn anew; the true mean over all there could be."""
    total = np.sqrt(1 + image_sd**2 + seed_sd**2)
    middle = stats.norm.ppf(level) * total
    groups = np.arange(images) // group_size
    hardness = rng.normal(0, image_sd, groups[-1] + 1)[groups]
    skill = rng.normal(0, seed_sd, (seeds, 1))
    return rng.normal(middle + hardness + skill) > 0, level, groups


def coverage(repeats: int, grouped: bool = False, **case: float) -> float:
    rng = np.random.default_rng(7)
    inside = 0
    for _ in range(repeats):
        correct, truth, groups = simulated(rng, **case)  # type: ignore[arg-type]
        found = precision_interval(correct, groups=groups if grouped else None)
        inside += found.low <= truth <= found.high
    return inside / repeats


@pytest.mark.parametrize(
    "case",
    [
        {"seeds": 3, "images": 500, "level": 0.9, "image_sd": 2.0, "seed_sd": 0.0},
        {"seeds": 3, "images": 500, "level": 0.9, "image_sd": 1.0, "seed_sd": 0.1},
        {"seeds": 3, "images": 300, "level": 0.7, "image_sd": 0.5, "seed_sd": 0.3},
        {"seeds": 5, "images": 200, "level": 0.98, "image_sd": 1.5, "seed_sd": 0.1},
        {"seeds": 1, "images": 200, "level": 0.85, "image_sd": 1.0, "seed_sd": 0.0},
        {"seeds": 2, "images": 40, "level": 0.6, "image_sd": 1.0, "seed_sd": 0.0},
    ],
)
def test_covers_seeds_and_images(case: dict[str, float]) -> None:
    # 95 % are meant; 1000 repeats tell it to 0.7 %, and three seeds can only be treated approximately
    assert 0.91 <= coverage(1000, **case) <= 0.995


def test_groups_are_what_is_independent() -> None:
    case = {"seeds": 3, "images": 400, "level": 0.8, "image_sd": 1.5, "seed_sd": 0.0, "group_size": 10}
    assert coverage(400, **case) < 0.8  # as if every image of a person were another person
    assert 0.92 <= coverage(400, grouped=True, **case) <= 0.995


def test_groups_widen_it() -> None:
    correct, _, groups = simulated(np.random.default_rng(0), 3, 400, 0.8, 1.5, 0.0, 10)
    apart, together = precision_interval(correct), precision_interval(correct, groups=groups)
    assert together.mean == apart.mean
    assert together.high - together.low > 1.5 * (apart.high - apart.low)
    # groups of one are no groups, and their numbers are only names
    single = precision_interval(correct, groups=1000 - 7 * np.arange(400))
    assert (single.low, single.high) == (pytest.approx(apart.low), pytest.approx(apart.high))


def test_agrees_with_a_bootstrap() -> None:
    """Both ways drawn with replacement; with many seeds, of which a bootstrap knows the spread."""
    rng = np.random.default_rng(3)
    correct, _, _ = simulated(rng, 40, 600, 0.85, 1.0, 0.25)
    means = [correct[np.ix_(rng.integers(0, 40, 40), rng.integers(0, 600, 600))].mean() for _ in range(1500)]
    low, high = np.quantile(means, [0.025, 0.975])
    found = precision_interval(correct)
    assert found.low == pytest.approx(low, abs=0.1 * (high - low))
    assert found.high == pytest.approx(high, abs=0.1 * (high - low))


def test_is_wilson_s_for_one_seed() -> None:
    correct = np.arange(200)[None] < 170
    found = precision_interval(correct, level=0.9)
    n, p = 199.0, 0.85  # the sample variance has n - 1 below it
    t = stats.t.ppf(0.95, 199)
    centre, half = p + t**2 / (2 * n), t * np.sqrt(p * (1 - p) / n + t**2 / (4 * n**2))
    assert found.low == pytest.approx((centre - half) / (1 + t**2 / n))
    assert found.high == pytest.approx((centre + half) / (1 + t**2 / n))
    assert np.isnan(found.seed_sd)
    assert (found.mean, found.level, found.freedom) == (0.85, 0.9, 199)


def test_seed_spread_is_found() -> None:
    rng = np.random.default_rng(1)
    base, skill = 0.8, rng.normal(0, 0.03, 200)
    correct = rng.random((200, 400)) < base + skill[:, None]
    assert precision_interval(correct).seed_sd == pytest.approx(0.03, rel=0.2)
    same = np.repeat(rng.random((1, 400)) < 0.8, 4, axis=0)
    found = precision_interval(same)  # networks that agree on every image are one network
    assert found.seed_sd == 0
    assert found.high - found.low == pytest.approx(
        precision_interval(same[:1]).high - precision_interval(same[:1]).low, rel=1e-6
    )


def test_more_seeds_and_more_images_narrow_it() -> None:
    rng = np.random.default_rng(2)

    def width(seeds: int, images: int) -> float:
        found = [precision_interval(simulated(rng, seeds, images, 0.8, 0.5, 0.2)[0]) for _ in range(30)]
        return float(np.mean([f.high - f.low for f in found]))

    assert width(3, 300) > width(10, 300) > width(10, 3000)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 1), (3, 50), (3, 5000)])
def test_all_right_and_all_wrong(shape: tuple[int, int]) -> None:
    right, wrong = precision_interval(np.ones(shape, bool)), precision_interval(np.zeros(shape, bool))
    assert (right.mean, right.high, wrong.mean, wrong.low) == (1, 1, 0, 0)
    assert 0 <= right.low < 1
    assert wrong.high == pytest.approx(1 - right.low)
    # as sure as the number of images makes it: the rule of three, nearly
    if shape == (3, 5000):
        assert 3 / 5000 / 2 < 1 - right.low < 2 * 3 / 5000


def test_the_mean_is_always_inside() -> None:
    rng = np.random.default_rng(4)
    for _ in range(300):
        shape = tuple(rng.integers(1, 6, 2))
        groups = rng.integers(0, 3, shape[1]) if rng.random() < 0.5 else None
        found = precision_interval(rng.random(shape) < rng.random(), groups=groups)
        assert 0 <= found.low <= found.mean <= found.high <= 1


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (5,), (2, 3, 4)])
def test_tables_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError, match=r"correct: expected shape \(seeds, images\)"):
        precision_interval(np.ones(shape, bool))


def test_fresh_seeds() -> None:
    assert probability_of_reaching([0.9, 0.9, 0.9], 0.9) == 1
    assert probability_of_reaching([0.9, 0.9], 0.91) == 0
    assert probability_of_reaching([0.88, 0.92], 0.9) == pytest.approx(0.5)
    expected = 1 - stats.ttest_1samp([0.91, 0.93, 0.92], 0.9, alternative="greater").pvalue
    assert probability_of_reaching([0.91, 0.93, 0.92], 0.9) == pytest.approx(expected)
    assert stands([0.91, 0.93, 0.92], 0.9, 0.9)
    assert not stands([0.88, 0.93, 0.9], 0.9, 0.9)
    assert stands([0.88, 0.93, 0.9], 0.9, 0.5)
    for few in ([], [0.9]):
        with pytest.raises(BadInputError, match="fresh seeds: expected two or more"):
            probability_of_reaching(few, 0.9)


@pytest.mark.parametrize(
    ("target", "status"), [(0.7, "reached"), (0.9, "missed"), (0.8, "undecided"), (1.0, "missed")]
)
def test_verdicts(target: float, status: str) -> None:
    rng = np.random.default_rng(0)
    correct = rng.random((3, 1000)) < 0.8
    verdict = judge(
        {"f": 8},
        "f=8",
        target,
        seeds=(1000, 1001, 1002),
        validation=(0.8, 0.83, 0.81),
        correct=correct,
        groups=np.arange(1000) // 2,
    )
    assert verdict.status == status
    assert verdict.exported_seed == 1001  # chosen on validation, whatever the test split says
    assert verdict.test == tuple(correct.mean(axis=1))
    assert (verdict.test_images, verdict.groups) == (1000, 500)
    assert verdict.interval == precision_interval(correct, groups=np.arange(1000) // 2)
    assert Verdict.from_dict(json.loads(json.dumps(verdict.to_dict()))) == verdict


def test_a_limit_on_the_target_itself() -> None:
    correct = np.ones((2, 100), bool)
    interval = precision_interval(correct)

    def status(target: float) -> str:
        return judge({}, "", target, seeds=(0, 1), validation=(1, 1), correct=correct).status

    assert status(interval.low) == "reached"
    assert status(np.nextafter(interval.low, 1)) == "undecided"
    assert status(1.0) == "undecided"  # never missed, as no image was
