"""What fresh seeds say, against the definitions and against chance."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from made_truth import SPACE
from scipy import stats

from cpmodel.records.sample import Purpose, Sample
from cpmodel.samples import Samples
from cpmodel.search.evidence import (
    FRESH_SEED,
    LOOKS,
    MOST_SEEDS,
    asked_of,
    fresh_evidence,
    pooled_noise,
    training_seed,
    untrainable,
)


def test_seeds_of_studies_and_purposes_never_meet() -> None:
    seeds = [training_seed(study, n) for study in range(3) for n in (*range(50), *range(1000, 1050))]
    assert len(set(seeds)) == len(seeds)
    assert FRESH_SEED == 1000, "studies of former versions have their fresh seeds from there on"


def test_noise_is_pooled() -> None:
    noise, freedom = pooled_noise(["a", "a", "b", "b", "b", "c"], np.array([0.9, 0.92, 0.5, 0.53, 0.56, 0.1]))
    assert freedom == 3
    assert noise == pytest.approx(np.sqrt((2 * 0.01**2 + 2 * 0.03**2) / 3))
    assert pooled_noise(["a", "b"], np.array([0.1, 0.9])) == (0.0, 1)
    assert pooled_noise(["a", "a", "b"], np.array([0.1, 0.3, 0.9])) == (pytest.approx(0.1 * np.sqrt(2)), 1)


def test_evidence_counts_fresh_seeds_only() -> None:
    rows = [
        Sample(SPACE.baseline, n, p, purpose=purpose)
        for n, p, purpose in [
            (0, 0.2, "baseline"),
            (1000, 0.9, "verify"),
            (1001, 0.92, "verify"),
            (1002, None, "verify"),
            (1003, 0.94, "verify"),
        ]
    ]
    (evidence,) = fresh_evidence(Samples.of(SPACE, rows), 0.9)
    assert evidence.seeds == (1000, 1001, 1003)
    assert evidence.mean == pytest.approx(0.92)
    assert fresh_evidence(Samples.of(SPACE, []), 0.9) == []


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_all_candidates_together_use_no_more_than_the_error_stated(confidence: float) -> None:
    spent = [1 - asked_of(number, confidence) for number in range(40)]
    assert all(a > b for a, b in itertools.pairwise(spent))
    # four looks err at most 2.6 times as often as one (Pocock)
    assert 2.6 * sum(spent) <= 1 - confidence + 1e-12


def test_a_candidate_exactly_at_the_target_stands_as_seldom_as_was_stated() -> None:
    """The worst case: its mean is the target, and it is looked at after 3, 5, 8 and 12 seeds."""
    rng = np.random.default_rng(0)
    stood = 0
    for _ in range(150):
        precision = rng.normal(0.9, 0.004, MOST_SEEDS)
        for look in LOOKS:
            rows = [
                Sample(SPACE.baseline, FRESH_SEED + n, float(p), purpose="verify")
                for n, p in enumerate(precision[:look])
            ]
            (evidence,) = fresh_evidence(Samples.of(SPACE, rows), 0.9, confidence=0.8)
            if evidence.stands or evidence.fallen:
                break
        stood += evidence.stands
        assert evidence.stands or evidence.fallen
    # a first candidate may use half of the error of 0.2: 15 of 150, and 3 standard deviations
    assert 0 < stood <= 15 + 3 * np.sqrt(15 * 0.9)


@pytest.mark.parametrize("above", [-0.004, 0.002, 0.0035, 0.005, 0.008])
def test_the_chance_to_stand_is_that_of_simulated_seeds(above: float) -> None:
    noise, target, have = 0.004, 0.9, 3
    pairs = [c for c in SPACE.configurations(SPACE.candidates()) if c != SPACE.baseline][:300]
    other = [
        Sample(c, n, 0.5 + sign * noise / np.sqrt(2)) for c in pairs for n, sign in enumerate((-1.0, 1.0))
    ]
    fresh = [
        Sample(SPACE.baseline, FRESH_SEED + n, target + above + (n - 1) * noise, purpose=Purpose.VERIFY)
        for n in range(have)
    ]
    (evidence,) = fresh_evidence(Samples.of(SPACE, [*other, *fresh]), target)
    # the true mean as three seeds leave it open, then the seeds to come: how often all twelve are enough
    rng = np.random.default_rng(0)
    true = target + above + rng.normal(0, noise / np.sqrt(have), 200_000)
    more = MOST_SEEDS - have
    ended = (
        have * (target + above) + more * (true + rng.normal(0, noise / np.sqrt(more), len(true)))
    ) / MOST_SEEDS
    needed = stats.norm.ppf(asked_of(0, 0.9)) * noise / np.sqrt(MOST_SEEDS)
    assert evidence.chance == pytest.approx((ended - target >= needed).mean(), abs=0.01)


def test_seeds_that_are_all_exactly_at_the_target_reach_it() -> None:
    rows = [Sample(SPACE.baseline, FRESH_SEED + n, 0.5, purpose=Purpose.VERIFY) for n in range(3)]
    (evidence,) = fresh_evidence(Samples.of(SPACE, rows), 0.5)
    assert evidence.probability == 1 and evidence.stands


def test_what_fails_more_often_than_not_cannot_be_trained() -> None:
    never, half, mostly = SPACE.configurations(SPACE.candidates())[:3]
    told = [(never, None), (half, None), (half, 0.5), (mostly, 0.5), (mostly, None), (mostly, 0.5)]
    rows = [Sample(c, n, p, status="failed" if p is None else "complete") for n, (c, p) in enumerate(told)]
    assert untrainable(Samples.of(SPACE, rows)) == {SPACE.key(never)}
