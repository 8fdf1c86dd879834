"""Dividing images into parts: by a seed, stratified by class, groups (people, say) never torn apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cpmodel.datasets.arrays import Labels
from cpmodel.errors import DatasetError
from cpmodel.space import Floats


def split(
    labels: Labels,
    fractions: Sequence[float],
    *,
    seed: int,
    class_names: Sequence[str],
    groups: Labels | None = None,
) -> tuple[Labels, ...]:
    """Positions of the images of each part, ascending; every image is in one part, every class in all.

    The fractions are those of all parts but the first, which keeps the rest. Without groups each class is
    divided within one image of its exact shares; with groups, whose rows stay together, as closely as their
    sizes allow.
    """
    rng = np.random.default_rng(seed)
    shares = np.array([1.0 - sum(fractions), *fractions])
    unit = "images" if groups is None else "groups"
    for label in np.unique(labels):
        mine = labels == label
        units = int(mine.sum()) if groups is None else len(np.unique(groups[mine]))
        if units < len(shares):
            expected = f"at least {len(shares)} {unit}, one for each part that is split off"
            raise DatasetError(f"class '{class_names[label]}'", expected=expected, got=units)
    part = _by_image(labels, shares, rng) if groups is None else _by_group(labels, groups, shares, rng)
    for label in np.unique(labels):
        # only groups of several classes can end here; without them every class reaches every part
        if len(np.unique(part[labels == label])) < len(shares):
            expected = f"groups that can be divided into {len(shares)} parts with this class in each"
            what, got = f"class '{class_names[label]}'", "groups too few or too mixed"
            raise DatasetError(what, expected=expected, got=got)
    return tuple(np.flatnonzero(part == index) for index in range(len(shares)))


def _by_image(labels: Labels, shares: Floats, rng: np.random.Generator) -> Labels:
    """The part of each image: shuffled within its class, then cut at the class's counts."""
    part = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        counts = _whole_counts(len(members), shares, rng)
        part[rng.permutation(members)] = np.repeat(np.arange(len(shares)), counts)
    return part


def _whole_counts(n: int, shares: Floats, rng: np.random.Generator) -> Labels:
    """`n` divided into whole numbers by largest remainder, none of them zero."""
    exact = n * shares
    counts = np.floor(exact + 1e-9).astype(np.int64)
    # equal remainders are drawn for: a fixed order would favour one part in every class
    remainders = exact - counts + rng.uniform(0, 1e-6, len(shares))
    counts[np.argsort(-remainders)[: n - counts.sum()]] += 1
    while counts.min() == 0:
        counts[counts.argmax()] -= 1
        counts[counts.argmin()] += 1
    return counts


def _by_group(labels: Labels, groups: Labels, shares: Floats, rng: np.random.Generator) -> Labels:
    """The part of each image: whole groups, largest first, drawn in proportion to what the parts still lack.

    Scikit-learn's StratifiedGroupKFold makes equal folds only, and may leave a fold without a class.
    """
    _, labels = np.unique(labels, return_inverse=True)
    names, group_of = np.unique(groups, return_inverse=True)
    sizes = np.zeros((len(names), int(labels.max()) + 1), dtype=np.int64)
    np.add.at(sizes, (group_of, labels), 1)
    lacking = shares[:, None] * sizes.sum(axis=0)  # (parts, classes), images
    absent = np.ones(lacking.shape, dtype=bool)  # parts that have no image of the class yet
    left = (sizes > 0).sum(axis=0)  # groups of each class not yet placed

    chosen = np.empty(len(names), dtype=np.int64)
    shuffled = rng.permutation(len(names))
    for group in shuffled[np.argsort(-sizes[shuffled].sum(axis=1), kind="stable")]:
        size = sizes[group]
        held = size > 0
        weights = np.clip(lacking[:, held], 0, None).sum(axis=1)
        fits = (lacking[:, held] >= size[held]).all(axis=1)
        # a class's last groups are kept for the parts that have none of it
        urgent = absent[:, held & (left <= absent.sum(axis=0))].any(axis=1)
        if urgent.any():
            weights = np.where(urgent, weights, 0.0)
        elif fits.any():
            weights = np.where(fits, weights, 0.0)
        else:
            roomiest = (lacking[:, held] - size[held]).min(axis=1).argmax()
            weights = (np.arange(len(shares)) == roomiest).astype(float)
        if not weights.any():
            weights = urgent.astype(float)
        part = rng.choice(len(shares), p=weights / weights.sum())
        chosen[group] = part
        lacking[part] -= size
        absent[part, held] = False
        left[held] -= 1
    return chosen[group_of]
