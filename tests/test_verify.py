"""The interval covers what it says it covers, by simulation; verdicts follow from it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from cpmodel.codec import dump, load
from cpmodel.errors import BadInputError
from cpmodel.metrics import TopK
from cpmodel.verify import (
    ERROR,
    Networks,
    Opened,
    Verdict,
    compared,
    difference_interval,
    error_of_opening,
    judge,
    precision_interval,
)

Bools = NDArray[np.bool_]
THREE = Networks("", {}, (0, 1, 2), (1.0, 1.0, 1.0))


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
    with pytest.raises(BadInputError, match=r"values: expected shape \(seeds, images\)"):
        precision_interval(np.ones(shape, bool))


def rivals(
    rng: np.random.Generator,
    seeds: tuple[int, int],
    images: int,
    levels: tuple[float, float],
    shared: float,
    own: float,
    seed_sd: float,
    group_size: int = 1,
) -> tuple[Bools, Bools, NDArray[np.int64]]:
    """Networks of two configurations on the same images: some hard for both, some for one of them."""
    groups = np.arange(images) // group_size
    total = np.sqrt(1 + shared**2 + own**2 + seed_sd**2)
    hardness = rng.normal(0, shared, groups[-1] + 1)
    tables = []
    for n, level in zip(seeds, levels, strict=True):
        mine = hardness + rng.normal(0, own, groups[-1] + 1)
        middle = stats.norm.ppf(level) * total
        tables.append(rng.normal(middle + mine[groups] + rng.normal(0, seed_sd, (n, 1)), 1, (n, images)) > 0)
    return tables[0], tables[1], groups


@pytest.mark.parametrize(
    "case",
    [
        {"seeds": (3, 3), "images": 300, "levels": (0.87, 0.89), "shared": 2.0, "own": 0.5, "seed_sd": 0.0},
        {"seeds": (3, 3), "images": 300, "levels": (0.87, 0.89), "shared": 2.0, "own": 0.5, "seed_sd": 0.1},
        {"seeds": (3, 3), "images": 200, "levels": (0.80, 0.83), "shared": 1.0, "own": 0.0, "seed_sd": 0.3},
        {"seeds": (5, 3), "images": 300, "levels": (0.70, 0.75), "shared": 1.0, "own": 0.5, "seed_sd": 0.1},
        {"seeds": (1, 1), "images": 100, "levels": (0.90, 0.92), "shared": 2.0, "own": 0.5, "seed_sd": 0.0},
    ],
)
@pytest.mark.parametrize("opening", [1, 2])
def test_differences_are_covered_as_often_as_is_said(case: dict[str, Any], opening: int) -> None:
    rng = np.random.default_rng(11)
    repeats, error = 600, error_of_opening(opening)
    truth = case["levels"][0] - case["levels"][1]
    missed = 0
    for _ in range(repeats):
        mine, other, _ = rivals(rng, **case)
        found = difference_interval(mine, other, level=1 - error)
        missed += not found.low <= truth <= found.high
    # misses that so many intervals of this level have at most, but once in a thousand
    assert missed <= stats.binom.ppf(0.999, repeats, error)


def test_differences_over_groups() -> None:
    """Ten images a person: as if they were ten persons, the difference is missed too often; by person not."""
    rng = np.random.default_rng(5)
    apart = together = 0
    for _ in range(300):
        mine, other, groups = rivals(rng, (3, 3), 600, (0.7, 0.7), 1.0, 1.5, 0.0, 10)
        found = difference_interval(mine, other)
        apart += not found.low <= 0 <= found.high
        found = difference_interval(mine, other, groups=groups)
        together += not found.low <= 0 <= found.high
    assert together <= stats.binom.ppf(0.999, 300, 0.05) < apart


def test_a_difference_of_unrelated_images_is_that_of_two_samples() -> None:
    """Where nothing is shared the variances of the two add up, as for two samples of their own images."""
    rng = np.random.default_rng(6)
    mine, other, _ = rivals(rng, (40, 40), 5000, (0.8, 0.85), 0.0, 0.7, 0.2)
    found = difference_interval(mine, other)
    two = [precision_interval(table) for table in (mine, other)]
    assert found.mean == pytest.approx(two[0].mean - two[1].mean)
    width = np.hypot(*(i.high - i.low for i in two))
    assert found.high - found.low == pytest.approx(width, rel=0.05)
    assert found.seed_sd == two[0].seed_sd


def test_a_difference_of_shared_images_is_narrower() -> None:
    mine, other, _ = rivals(np.random.default_rng(7), (3, 3), 2000, (0.86, 0.88), 2.0, 0.3, 0.0)
    found = difference_interval(mine, other)
    width = np.hypot(*(i.high - i.low for i in map(precision_interval, (mine, other))))
    assert found.high - found.low < 0.75 * width


def test_one_seed_each_is_bonett_and_price_s() -> None:
    won, lost, n = 40, 25, 500
    mine, other = np.ones((1, n), bool), np.ones((1, n), bool)
    other[0, :won] = False
    mine[0, won : won + lost] = False
    found = difference_interval(mine, other, level=0.9)
    p, q = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    # theirs divides by n + 2, ours by one less, as a sample variance does
    half = stats.t.ppf(0.95, n + 1) * np.sqrt((p + q - (p - q) ** 2) / (n + 1))
    assert found.mean == pytest.approx((won - lost) / n)
    assert found.low == pytest.approx(p - q - half)
    assert found.high == pytest.approx(p - q + half)


@pytest.mark.parametrize("images", [1, 20, 5000])
def test_networks_that_agree_on_every_image(images: int) -> None:
    same = np.ones((3, images), bool)
    found = difference_interval(same, same[:2])
    assert found.mean == 0
    assert found.low == pytest.approx(-found.high)
    assert 1 / images < found.high <= 1 or images == 1
    turned = difference_interval(same[:2], ~same[:1])
    assert turned.low < turned.mean == 1 == turned.high


def test_differences_turn_around() -> None:
    mine, other, groups = rivals(np.random.default_rng(8), (3, 4), 300, (0.8, 0.85), 1.0, 0.5, 0.1, 3)
    there = difference_interval(mine, other, groups=groups)
    back = difference_interval(other, mine, groups=groups)
    assert (back.low, back.mean, back.high) == pytest.approx((-there.high, -there.mean, -there.low))
    with pytest.raises(BadInputError, match="reference: expected the same 300 images, got 200"):
        difference_interval(mine, other[:, :200])


def test_the_stated_error_is_never_overspent() -> None:
    spent = [error_of_opening(n) for n in range(1, 100_000)]
    assert sum(spent) < ERROR
    assert sum(spent) == pytest.approx(ERROR, rel=1e-4)
    assert spent == sorted(spent, reverse=True)
    with pytest.raises(BadInputError, match="opening: expected 1 or more"):
        error_of_opening(0)


def test_false_claims_over_many_openings_stay_within_the_stated_error() -> None:
    """Ten configurations at the target exactly, one after the other: any claim about one of them is false."""
    rng = np.random.default_rng(9)
    studies = 250
    wrong = 0
    for _ in range(studies):
        for opening in range(1, 11):
            correct, _, _ = simulated(rng, 3, 150, 0.8, 1.0, 0.0)
            found = judge(THREE, 0.8, correct, Opened(opening=opening))
            if found.status != "undecided":
                wrong += 1
                break
    assert wrong <= stats.binom.ppf(0.999, studies, ERROR)


@pytest.mark.parametrize(
    ("target", "status"), [(0.7, "reached"), (0.9, "missed"), (0.8, "undecided"), (1.0, "missed")]
)
def test_verdicts(target: float, status: str) -> None:
    rng = np.random.default_rng(0)
    correct = rng.random((3, 1000)) < 0.8
    networks = Networks("f=8", {"f": 8}, (1000, 1001, 1002), (0.8, 0.83, 0.81))
    verdict = judge(networks, target, correct, Opened(np.arange(1000) // 2))
    assert verdict.status == status
    assert verdict.exported_seed == 1001  # chosen on validation, whatever the test split says
    assert verdict.test == tuple(correct.mean(axis=1))
    assert (verdict.test_images, verdict.groups) == (1000, 500)
    level = 1 - error_of_opening(1)
    assert verdict.interval == precision_interval(correct, level=level, groups=np.arange(1000) // 2)
    assert (verdict.opening, verdict.error, verdict.comparison) == (1, 0.05, None)
    assert Opened().opening == 1
    assert load(Verdict, json.loads(json.dumps(dump(verdict)))) == verdict


def test_a_limit_on_the_target_itself() -> None:
    correct = np.ones((2, 100), bool)
    interval = precision_interval(correct, level=1 - error_of_opening(1))

    def status(target: float) -> str:
        return judge(Networks("", {}, (0, 1), (1.0, 1.0)), target, correct).status

    assert status(interval.low) == "reached"
    assert status(np.nextafter(interval.low, 1)) == "undecided"
    assert status(1.0) == "undecided"  # never missed, as no image was


@pytest.mark.parametrize(("drop", "status"), [(0.10, "reached"), (0.05, "undecided"), (0.01, "missed")])
def test_a_drop_is_judged_by_the_difference(drop: float, status: str) -> None:
    mine, other, _ = rivals(np.random.default_rng(1), (3, 3), 2000, (0.82, 0.87), 2.0, 0.3, 0.0)
    baseline = Networks("f=64", {"f": 64}, (0, 1, 2), (0.9, 0.9, 0.9))
    seen = compared(baseline, drop, mine, other, Opened(opening=2))
    assert seen.difference == difference_interval(mine, other, level=1 - error_of_opening(2))
    assert seen.test == tuple(other.mean(axis=1))
    networks = Networks("f=8", {"f": 8}, (7, 8, 9), (0.8, 0.8, 0.8))
    verdict = judge(networks, 0.5, mine, Opened(opening=2), seen)
    assert verdict.status == status  # whatever the absolute target is
    assert load(Verdict, json.loads(json.dumps(dump(verdict)))) == verdict
    again = verdict.judged(0.6, 0.2)
    assert (again.status, again.target, again.comparison.drop) == ("reached", 0.6, 0.2)  # type: ignore[union-attr]
    assert again.interval == verdict.interval
    with pytest.raises(BadInputError, match="drop: expected one, for a comparison"):
        verdict.judged(0.6)


def test_another_target_needs_no_other_interval() -> None:
    correct = np.random.default_rng(0).random((3, 1000)) < 0.8
    verdict = judge(THREE, 0.7, correct)
    for target in (0.7, 0.8, 0.9):
        fresh = judge(THREE, target, correct)
        assert verdict.judged(target) == fresh
    with pytest.raises(BadInputError, match=r"drop: expected none, got 0\.1"):
        verdict.judged(0.7, 0.1)


def unequal(
    rng: np.random.Generator,
    sizes: list[int],
    levels: list[float],
    seeds: int,
    seed_sd: float = 0.0,
    group_size: int = 1,
) -> tuple[Bools, Any, Any]:
    """As `simulated`, by class: of unequal sizes and levels; networks that differ differ by class, too."""
    strata = np.repeat(np.arange(len(sizes)), sizes)
    groups = np.arange(len(strata)) // group_size
    hardness = rng.normal(0, 1.5, groups[-1] + 1)[groups]
    skill = rng.normal(0, seed_sd, (seeds, 1)) + rng.normal(0, seed_sd, (seeds, len(sizes)))[:, strata]
    middle = stats.norm.ppf(levels)[strata] * np.sqrt(1 + 1.5**2 + 2 * seed_sd**2)
    return rng.normal(middle + hardness + skill) > 0, strata, groups


BALANCED = [
    ([500, 50], [0.9, 0.7], 1, 0.0),
    ([500, 50], [0.9, 0.7], 3, 0.1),
    ([50] * 10, list(np.linspace(0.7, 0.99, 10)), 3, 0.1),
    ([300, 100, 50, 20, 10], [0.95, 0.9, 0.85, 0.8, 0.9], 1, 0.0),
    ([10] * 20, list(np.linspace(0.6, 0.99, 20)), 3, 0.1),
    ([1] * 15 + [60], [0.8] * 16, 1, 0.0),
    ([400, 10], [0.9, 0.75], 3, 0.1),  # ten images of a class that are often all right
]


@pytest.mark.parametrize(("sizes", "levels", "seeds", "seed_sd"), BALANCED)
def test_means_over_unequal_classes_are_covered(
    sizes: list[int], levels: list[float], seeds: int, seed_sd: float
) -> None:
    rng, truth, repeats = np.random.default_rng(13), float(np.mean(levels)), 300
    missed = {"interval": 0, "without strata": 0, "difference": 0}
    for _ in range(repeats):
        values, strata, _ = unequal(rng, sizes, levels, seeds, seed_sd)
        other = unequal(rng, sizes, levels, seeds, seed_sd)[0]
        found = precision_interval(values, strata=strata)
        plain = precision_interval(values)
        between = difference_interval(values, other, strata=strata)
        missed["interval"] += not found.low <= truth <= found.high
        missed["without strata"] += not plain.low <= truth <= plain.high
        missed["difference"] += not between.low <= 0 <= between.high
    most = stats.binom.ppf(0.999, repeats, 0.05)
    assert missed["interval"] <= most
    assert missed["difference"] <= most
    if sizes[0] == 500:
        assert missed["without strata"] > most


def test_top_five_is_covered() -> None:
    """Scores of 20 classes with noise: the truth is the share of a great many images."""
    rng, metric = np.random.default_rng(14), TopK(5)

    def values(images: int, seeds: int) -> Any:
        labels = rng.integers(0, 20, images)
        signal = 0.8 * (np.arange(20) == labels[:, None]) + rng.normal(0, 0.5, (images, 20))
        noise = rng.normal(0, 0.5, (seeds, images, 20))
        return np.array([metric.values(signal + own, labels) for own in noise])

    truth = values(200_000, 1).mean()
    missed = 0
    for _ in range(400):
        found = precision_interval(values(150, 3))
        missed += not found.low <= truth <= found.high
    assert 0.4 < truth < 0.8
    assert missed <= stats.binom.ppf(0.999, 400, 0.05)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("groups", [None, np.arange(900) // 3])
def test_one_stratum_is_none_and_equal_ones_nearly(seeds: int, groups: Any) -> None:
    rng = np.random.default_rng(15)
    values, other = rng.random((seeds, 900)) < 0.8, rng.random((seeds, 900)) < 0.7
    plain = precision_interval(values, groups=groups)
    same = precision_interval(values, groups=groups, strata=np.full(900, 7))
    assert (same.low, same.high, same.freedom) == pytest.approx((plain.low, plain.high, plain.freedom))
    # strata that say nothing: the mean is the same, and nearly what is known of it, too
    thirds = np.arange(900) // 3 % 3
    equal = precision_interval(values, groups=groups, strata=thirds)
    apart = difference_interval(values, other, groups=groups)
    by_class = difference_interval(values, other, groups=groups, strata=thirds)
    for found, expected in ((equal, plain), (by_class, apart)):
        assert found.mean == pytest.approx(expected.mean)
        assert found.seed_sd == pytest.approx(expected.seed_sd, abs=2e-3, nan_ok=True)
        if seeds == 1:  # with three, a variance known by two degrees of freedom makes much of little
            assert found.high - found.low == pytest.approx(expected.high - expected.low, rel=0.03)


def test_a_stratified_interval_is_wilson_s_with_the_effective_number() -> None:
    """One seed: the variance of each class's mean, over K^2, by hand; two made-up images hardly count."""
    sizes, right = np.array([4000, 900]), np.array([3600, 630])
    strata = np.repeat([0, 1], sizes)
    values = np.concatenate([np.arange(n) < k for n, k in zip(sizes, right, strict=True)])[None]
    found = precision_interval(values, strata=strata)
    p, each = float(np.mean(right / sizes)), right / sizes
    variance = float(np.sum(each * (1 - each) / (sizes - 1))) / 4
    n, z = p * (1 - p) / variance, stats.norm.ppf(0.975)
    centre, half = (p + z**2 / (2 * n)), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert found.mean == p
    assert found.low == pytest.approx((centre - half) / (1 + z**2 / n), abs=1e-4)
    assert found.high == pytest.approx((centre + half) / (1 + z**2 / n), abs=1e-4)


def test_the_order_of_images_and_the_names_of_strata_say_nothing() -> None:
    rng = np.random.default_rng(16)
    values, strata, groups = unequal(rng, [60, 30, 9, 1], [0.9, 0.8, 0.7, 0.9], 3, 0.2, 3)
    other = values[:2] ^ (rng.random((2, 100)) < 0.1)
    order, names = rng.permutation(100), rng.permutation(1000)
    for given in ({}, {"groups": groups}):
        moved = {key: names[array[order]] for key, array in {**given, "strata": strata}.items()}
        there = precision_interval(values, strata=strata, **given)
        back = precision_interval(values[:, order], **moved)
        assert dataclasses.astuple(there) == pytest.approx(dataclasses.astuple(back))
        ahead = difference_interval(values, other, strata=strata, **given)
        again = difference_interval(values[:, order], other[:, order], **moved)
        assert dataclasses.astuple(ahead) == pytest.approx(dataclasses.astuple(again))


@pytest.mark.parametrize("within", [True, False])
def test_persons_within_and_across_classes(within: bool) -> None:
    """Ten images a person; of one class, or of all: what a person's images share is seen in both cases."""
    rng, levels, sizes = np.random.default_rng(17), [0.85, 0.7], [400, 200]
    missed = apart = 0
    for _ in range(300):
        strata = np.repeat([0, 1], sizes)
        persons = np.arange(600) // 10
        if not within:
            persons = np.concatenate([np.arange(400), np.arange(200) * 2]) % 60
        hardness = rng.normal(0, 1.5, 60)[persons]
        values = rng.normal(stats.norm.ppf(levels)[strata] * np.sqrt(1 + 1.5**2) + hardness, 1, (3, 600)) > 0
        found = precision_interval(values, groups=persons, strata=strata)
        missed += not found.low <= np.mean(levels) <= found.high
        found = precision_interval(values, strata=strata)
        apart += not found.low <= np.mean(levels) <= found.high
    assert missed <= stats.binom.ppf(0.999, 300, 0.05) < apart


def test_parts_of_strata_that_share_groups_by_hand() -> None:
    """One seed, two classes, four persons: three have images of both, one of the first alone."""
    persons = np.array([0, 0, 1, 2, 3, 0, 1, 1, 2])
    strata = np.array([5, 5, 5, 5, 5, 8, 8, 8, 8])
    values = np.array([[1, 1, 0, 1, 0.5, 1, 0, 0, 1]])
    # of each stratum: persons and images there, and one made-up image, half right and half wrong
    size = [5 / 4, 4 / 3]
    whole = [5 + size[0], 4 + size[1]]
    centres = [(3.5 + size[0] / 2) / whole[0], (2 + size[1] / 2) / whole[1]]
    sums = [np.zeros(4), np.zeros(4)]
    for person, stratum, value in zip(persons, strata, values[0], strict=True):
        k = int(stratum == 8)
        sums[k][person] += value - centres[k]
    squares = [
        float((sums[k] ** 2).sum()) + size[k] ** 2 * ((1 - centres[k]) ** 2 + centres[k] ** 2) / 2
        for k in (0, 1)
    ]
    factors = [5 / 4, 4 / 3]  # as many clusters as there are, over one less
    each = [factors[k] * squares[k] / whole[k] ** 2 / 4 for k in (0, 1)]
    shared = 2 * np.sqrt(factors[0] * factors[1]) * float(sums[0] @ sums[1]) / whole[0] / whole[1] / 4
    variance = sum(each) + shared
    freedom = variance**2 / (each[0] ** 2 / 4 + each[1] ** 2 / 3 + shared**2 / 3)
    mean = (3.5 / 5 + 2 / 4) / 2
    t, n = stats.t.ppf(0.95, freedom), mean * (1 - mean) / variance
    centre = (mean + t**2 / (2 * n)) / (1 + t**2 / n)
    half = t / (1 + t**2 / n) * np.sqrt(mean * (1 - mean) / n + t**2 / (4 * n**2))
    found = precision_interval(values, level=0.9, groups=persons, strata=strata)
    assert (found.mean, found.freedom) == pytest.approx((mean, freedom))
    assert (found.low, found.high) == pytest.approx((centre - half, min(1, centre + half)))


def test_a_group_alone_in_its_stratum_is_seen_from_all() -> None:
    """One image of a class: how it lies to the mean over classes, and one made-up image."""
    values, strata = np.array([[1, 1, 1, 1, 0, 0]]), np.array([0, 0, 0, 0, 0, 1])
    mean = (0.8 + 0) / 2
    # five images at 0.8 with one made-up one; the single one at 0 with one made-up one, about the mean
    first = 6 / 5 * (4 * (1 - 4.5 / 6) ** 2 + 4.5**2 / 36 + (0.25**2 + 0.75**2) / 2) / 36 / 4
    second = 2 / 1 * (mean**2 + ((1 - mean) ** 2 + mean**2) / 2) / 4 / 4
    variance = first + second
    found = precision_interval(values, strata=strata)
    assert found.mean == pytest.approx(mean)
    assert found.freedom == pytest.approx(variance**2 / (first**2 / 5 + second**2 / 1))


def test_images_alone_in_two_of_three_classes() -> None:
    """Two thirds of a made-up image for each: less than one more than an image alone."""
    values, strata = np.array([[1, 1, 1, 1, 0, 0, 1]]), np.array([0, 0, 0, 0, 0, 1, 2])
    mean = (0.8 + 0 + 1) / 3
    parts, freedoms = [], []
    for right in ([1, 1, 1, 1, 0], [0], [1]):
        whole = len(right) + 2 / 3
        about = (sum(right) + 1 / 3) / whole if len(right) > 1 else mean
        squares = sum((v - about) ** 2 for v in right) + ((1 - about) ** 2 + about**2) / 3
        freedoms.append(max(whole - 1, 1))
        parts.append(whole / freedoms[-1] * squares / whole**2 / 9)
    found = precision_interval(values, strata=strata)
    expected = sum(parts) ** 2 / sum(p**2 / f for p, f in zip(parts, freedoms, strict=True))
    assert found.freedom == pytest.approx(expected)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_right_in_every_class(value: float) -> None:
    found = precision_interval(np.full((2, 60), value), strata=np.arange(60) % 3)
    assert found.mean == value
    assert (found.low, found.high)[int(value)] == value
    # no surer than the rule of three allows, nor much less sure
    assert 0.5 * 3 / 60 < found.high - found.low < 3 * 3 / 60


def test_values_between_right_and_wrong() -> None:
    """A metric's values may be any in [0, 1]: the interval is Student's where they are far from both."""
    values = np.random.default_rng(18).uniform(0.45, 0.55, (1, 2000))
    found = precision_interval(values)
    half = stats.t.ppf(0.975, 1999) * values.std(ddof=1) / np.sqrt(2000)
    assert found.high - found.mean == pytest.approx(half, rel=0.01)
    assert found.mean - found.low == pytest.approx(half, rel=0.01)
    with pytest.raises(BadInputError, match=r"values: expected values in \[0, 1\], got 0 to 3"):
        precision_interval(np.array([[0.0, 3.0]]))
    with pytest.raises(BadInputError, match="strata: expected one number for each of 2000 images"):
        precision_interval(values, strata=np.arange(3))


def test_the_residual_is_taken_off_the_spread_of_seeds() -> None:
    """Seeds that differ by the images alone have no spread of their own, however few the images are."""
    rng = np.random.default_rng(19)
    strata = np.arange(60) % 3
    for given in (None, strata):
        found = [precision_interval(rng.random((50, 60)) < 0.7, strata=given) for _ in range(40)]
        # what 60 images scatter is 0.06; the spread beyond is nought half of the time
        assert np.mean([one.seed_sd == 0 for one in found]) > 0.3
        assert np.mean([one.seed_sd for one in found]) < 0.02
    skilled = rng.random((200, 60)) < 0.7 + rng.normal(0, 0.05, (200, 1))
    assert precision_interval(skilled, strata=strata).seed_sd == pytest.approx(0.05, rel=0.25)


def test_parts_of_the_variance_by_hand() -> None:
    """Two seeds and four images: mean squares of the two-way table, worked out by hand."""
    values = np.array([[1, 1, 1, 0], [1, 0, 0, 0]])
    # means of the images 1, 0.5, 0.5, 0, of the seeds 0.75, 0.25; in all 0.5
    v_images = 4 / 3 * (0.25 + 0.25) / 16
    ms_seeds, ms_residual = 4 * 0.125, (4 * 0.0625 + 4 * 0.0625) / 3
    v_seeds = (ms_seeds - ms_residual) / 8
    bound, variance = ms_seeds / 8, v_images + v_seeds
    freedom = variance**2 / (v_images**2 / 3 + bound**2 / 1)
    t, n = stats.t.ppf(0.95, freedom), 0.25 / variance
    half = t / (1 + t**2 / n) * np.sqrt(0.25 / n + t**2 / (4 * n**2))
    found = precision_interval(values, level=0.9)
    assert found.freedom == pytest.approx(freedom)
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half))
    assert found.seed_sd == pytest.approx(np.sqrt(v_seeds * 2))


def test_the_residual_of_two_seeds_and_two_images_by_hand() -> None:
    """One degree of freedom is left for it."""
    ms_seeds, ms_residual = 2 * 0.08, 4 * 0.1**2
    found = precision_interval(np.array([[0.9, 0.5], [0.3, 0.3]]))
    assert found.seed_sd == pytest.approx(np.sqrt((ms_seeds - ms_residual) / 2))


@pytest.mark.parametrize("wrong", [1.5, -0.5, np.nan])
def test_values_that_are_no_fractions(wrong: float) -> None:
    with pytest.raises(BadInputError, match=r"values: expected values in \[0, 1\]"):
        precision_interval(np.array([[0.5, wrong], [0.5, 0.5]]))
