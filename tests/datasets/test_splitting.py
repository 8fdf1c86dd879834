from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmodel.datasets.splitting import split
from cpmodel.errors import DatasetError

counts = st.lists(st.integers(3, 60), min_size=2, max_size=6)
shares = st.tuples(st.floats(0.02, 0.45), st.floats(0.02, 0.45)) | st.tuples(st.floats(0.02, 0.9))
seeds = st.integers(0, 2**32)


def names(labels: np.ndarray) -> list[str]:
    return [f"class {label}" for label in range(int(labels.max()) + 1)]


def labels_of(counts: list[int], seed: int) -> np.ndarray:
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).permutation(labels)


@given(counts, shares, seeds)
@settings(deadline=None)
def test_disjoint_complete_and_stratified_within_one_image(
    counts: list[int], fractions: tuple[float, ...], seed: int
) -> None:
    labels = labels_of(counts, seed)
    parts = split(labels, fractions, seed=seed, class_names=names(labels))
    assert len(parts) == len(fractions) + 1
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    exact = np.array([1 - sum(fractions), *fractions])
    for label, count in enumerate(counts):
        got = np.array([(labels[part] == label).sum() for part in parts])
        assert got.min() >= 1
        if (count * exact).min() >= 1:
            assert np.abs(got - count * exact).max() < 1


@given(counts, seeds, st.integers(1, 5))
@settings(deadline=None)
def test_groups_stay_together_and_classes_reach_every_part(counts: list[int], seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = [rng.integers(1, most + 1, count) for count in counts]  # groups of one class each
    labels = np.concatenate([np.full(size.sum(), label) for label, size in enumerate(sizes)])
    groups = np.repeat(np.arange(sum(counts)) * 7, np.concatenate(sizes))
    order = rng.permutation(len(labels))
    labels, groups = labels[order], groups[order]
    parts = split(labels, (0.15, 0.15), seed=seed, class_names=names(labels), groups=groups)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    held = [set(groups[part].tolist()) for part in parts]
    assert not (held[0] & held[1] or held[0] & held[2] or held[1] & held[2])
    for label, size in enumerate(sizes):
        got = np.array([(labels[part] == label).sum() for part in parts])
        assert got.min() >= 1
        # two groups on either side of the share at most, or the one that every part must have
        assert np.abs(got - size.sum() * np.array([0.7, 0.15, 0.15])).max() <= 2 * size.max()


@given(seeds)
@settings(deadline=None, max_examples=30)
def test_groups_of_several_classes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 40, 400)
    labels = rng.integers(0, 3, 400)
    parts = split(labels, (0.2, 0.2), seed=seed, class_names=names(labels), groups=groups)
    assert sum(len(np.unique(groups[part])) for part in parts) == len(np.unique(groups))
    for part in parts[1:]:
        assert 0.1 < len(part) / 400 < 0.3


def test_the_seed_decides() -> None:
    labels = labels_of([50, 50], 0)
    options = {"class_names": ["a", "b"]}
    first, again, other = (split(labels, (0.2,), seed=seed, **options) for seed in (1, 1, 2))
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])


def test_no_part_is_favoured_where_the_shares_do_not_divide() -> None:
    labels = np.repeat(np.arange(200), 10)
    sizes = [len(part) for part in split(labels, (0.15, 0.15), seed=0, class_names=names(labels))]
    assert abs(sizes[1] - 300) < 40 and abs(sizes[2] - 300) < 40


@pytest.mark.parametrize("groups", [None, np.array([1, 2, 3, 4, 4])])
def test_a_class_too_small_is_named(groups: np.ndarray | None) -> None:
    labels = np.array([0, 0, 0, 1, 1])
    with pytest.raises(DatasetError, match=r"class 'dog': expected at least 3 .*, got [12]"):
        split(labels, (0.15, 0.15), seed=0, class_names=["cat", "dog"], groups=groups)


def test_groups_that_cannot_be_divided() -> None:
    # class 0 is in three groups, but they are also the only ones of class 1 and 2 where two parts need them
    labels = np.array([0, 0, 0, 1, 1, 1, 0, 1])
    groups = np.array([0, 1, 2, 0, 1, 2, 0, 0])
    parts = split(labels, (0.3, 0.3), seed=0, class_names=["a", "b"], groups=groups)
    assert all(len(part) for part in parts)
