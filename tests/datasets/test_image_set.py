from __future__ import annotations

import numpy as np
import pytest

from cpmodel.datasets.base import ImageSet, Split
from cpmodel.errors import DatasetError


def part(n: int = 4, shape: tuple[int, ...] = (5, 6, 1), labels: tuple[int, ...] = ()) -> Split:
    return Split(np.zeros((n, *shape), dtype=np.uint8), np.array(labels or [0] * n, dtype=np.int64))


def test_shape_splits_and_hash() -> None:
    images = ImageSet("set", part(4), part(3), part(2), ("a", "b"))
    assert images.image_shape == (5, 6, 1)
    assert {name: len(split) for name, split in images.splits.items()} == {
        "train": 4,
        "validation": 3,
        "test": 2,
    }
    assert len(images.data_hash) == 12
    # the same images divided otherwise are other data
    assert ImageSet("set", part(3), part(4), part(2), ("a", "b")).data_hash != images.data_hash
    assert ImageSet("other name", part(4), part(3), part(2), ("a", "b")).data_hash == images.data_hash


@pytest.mark.parametrize(
    ("test", "classes", "message"),
    [
        (part(), ("a",), "classes: expected two or more, got 1"),
        (part(0), ("a", "b"), "test split: expected at least one image"),
        (part(shape=(5, 6, 3)), ("a", "b"), "expected the training images' shape"),
        (part(shape=(5, 6, 2)), ("a", "b"), "expected uint8"),
        (part(labels=(0, 1, 2, 0)), ("a", "b"), "test labels: expected 0 to 1, got 0 to 2"),
        (part(labels=(0, 1)), ("a", "b"), "test labels: expected 4 of them"),
    ],
)
def test_what_is_no_image_set(test: Split, classes: tuple[str, ...], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        ImageSet("set", part(), part(), test, classes)
