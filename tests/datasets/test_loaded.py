from __future__ import annotations

import numpy as np
import pytest

from cpmodel.datasets import load
from cpmodel.datasets.base import Split
from cpmodel.datasets.loaded import Loaded, Request, complete
from cpmodel.errors import DatasetError


def part(n: int, groups: bool = False) -> Split:
    images = np.random.default_rng(n).integers(0, 256, (n, 10, 8, 3), dtype=np.uint8)
    return Split(images, np.arange(n) % 2, np.arange(n) // 4 if groups else None)


def test_given_parts_are_kept_and_missing_ones_made() -> None:
    given = part(40)
    images = complete(Loaded({"train": part(100), "validation": given}, ("a", "b")), Request("here"))
    assert len(images.validation) == 40 and len(images.test) in (14, 15, 16)
    assert len(images.train) + len(images.test) == 100
    assert images.validation.images is given.images
    assert images.notes == ("0.15 test of the training images split off (stratified, seed 0)",)


def test_shape_and_colour_as_asked() -> None:
    loaded = Loaded({"train": part(40)}, ("a", "b"), ("first",))
    images = complete(loaded, Request("here", size=4, channels=1))
    assert images.image_shape == (4, 4, 1)
    assert images.notes[:3] == (
        "first",
        "8x10 pixels, brought to 4x4 (centre, antialiased)",
        "colour made gray",
    )


def test_earlier_test_splits_come_in_the_same_form() -> None:
    now = part(40)
    earlier = Split(now.images[:9], now.labels[:9])
    loaded = Loaded({"train": part(60), "test": now}, ("a", "b"), earlier=(earlier,))
    images = complete(loaded, Request("here", size=4, channels=1))
    for found in (images, load(images, image_size=3)):
        assert np.array_equal(found.earlier[0].images, found.test.images[:9])
        assert np.array_equal(found.earlier[0].labels, found.test.labels[:9])


def test_groups_go_with_their_images() -> None:
    images = complete(Loaded({"train": part(80, groups=True)}, ("a", "b")), Request("here"))
    held = [set(split.groups.tolist()) for split in images.splits.values() if split.groups is not None]
    assert len(held) == 3 and sum(map(len, held)) == 20


def test_a_class_without_training_images() -> None:
    with pytest.raises(
        DatasetError, match="here: class 'c': expected training images of every class, got none"
    ):
        complete(Loaded({"train": part(40)}, ("a", "b", "c")), Request("here"))
