from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cpmodel.datasets.arrays import as_images, as_labels, require_memory, with_channels
from cpmodel.datasets.pictures import resized
from cpmodel.errors import DatasetError

GRAY = np.arange(2 * 4 * 5, dtype=np.uint8).reshape(2, 4, 5)


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (GRAY, (2, 4, 5, 1)),
        (GRAY[..., None], (2, 4, 5, 1)),
        (GRAY[:, None], (2, 4, 5, 1)),
        (np.stack([GRAY] * 3, axis=3), (2, 4, 5, 3)),
        (np.stack([GRAY] * 3, axis=1), (2, 4, 5, 3)),
    ],
)
def test_layouts(array: np.ndarray, shape: tuple[int, ...]) -> None:
    images, _ = as_images({"x": array})
    assert images["x"].shape == shape and images["x"].dtype == np.uint8
    assert np.array_equal(images["x"][..., 0], GRAY)


@pytest.mark.parametrize(
    ("array", "note"),
    [
        (GRAY.astype(np.int64), None),
        (GRAY / 255, "values 0..1 scaled to 0..255"),
        (GRAY + 0.2, "values 0..255 rounded to whole numbers"),
        (GRAY.astype(np.uint16) * 257 * 6, "16-bit values scaled to 0..255"),
    ],
)
def test_ranges_of_values(array: np.ndarray, note: str | None) -> None:
    images, notes = as_images({"x": array})
    factor = 6 if note and note.startswith("16") else 1
    assert np.array_equal(images["x"][..., 0], GRAY * factor)
    assert notes == ([note] if note else [])


def test_one_range_for_all_parts() -> None:
    images, _ = as_images({"x_train": np.full((1, 2, 2), 200), "x_test": np.ones((1, 2, 2))})
    assert images["x_test"].max() == 1


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([["a"]]), "expected numbers"),
        (np.zeros((3, 4)), r"expected images of shape .*, got shape \(3, 4\)"),
        (np.zeros((0, 4, 4)), "at least one image"),
        (np.zeros((2, 4, 4, 2)), "1 or 3 channels"),
        (np.array([[[0.0]], [[np.nan]]]), "array 'x', image 1: expected finite numbers"),
        (np.full((1, 2, 2), -1), "got -1..-1"),
        (np.full((1, 2, 2), 300.0), "got 300..300"),
        (np.zeros((1, 2, 2), dtype=complex), "complex"),
    ],
)
def test_arrays_that_are_no_images(array: np.ndarray, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        as_images({"x": array})


def test_labels_become_positions() -> None:
    labels, names = as_labels({"y": np.array([[3.0], [9.0]]), "z": np.array([9, 7])}, None)
    assert names == ("3", "7", "9")
    assert labels["y"].tolist() == [0, 2] and labels["z"].tolist() == [2, 1]
    assert labels["y"].dtype == np.int64


def test_labels_as_text() -> None:
    labels, names = as_labels({"y": np.array(["dog", "cat"])}, None)
    assert (names, labels["y"].tolist()) == (("cat", "dog"), [1, 0])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([0, 1, 2.5]), "array 'y', row 2: expected a whole number, got 2.5"),
        (np.array([0, np.nan]), "row 1: expected a whole number, got nan"),
        (np.eye(3), "one-hot"),
        (np.array([1, 1]), "two or more classes, got only 1"),
        (np.array([1j, 2]), "whole numbers or text"),
    ],
)
def test_labels_that_are_none(array: np.ndarray, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        as_labels({"y": array}, None)


def test_labels_beyond_the_names() -> None:
    with pytest.raises(DatasetError, match="expected 0 to 1, positions in class_names, got 0 to 2"):
        as_labels({"y": np.array([0, 2])}, ["a", "b"])
    with pytest.raises(DatasetError, match="got both"):
        as_labels({"y": np.array([0, 2]), "z": np.array(["a"])}, None)


def test_gray_as_pillow_makes_it() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)
    gray = with_channels(colour, 1)
    assert np.array_equal(gray[2, ..., 0], np.asarray(Image.fromarray(colour[2]).convert("L")))
    assert np.array_equal(with_channels(gray, 3)[..., 2], gray[..., 0])
    assert with_channels(colour, None) is colour


def test_resizing_is_antialiased() -> None:
    stripes = np.zeros((1, 64, 64, 1), dtype=np.uint8)
    stripes[:, :, ::2] = 254
    small = resized(stripes, 8)
    assert small.shape == (1, 8, 8, 1)
    assert np.abs(small[0, 1:-1, 1:-1].astype(int) - 127).max() <= 2  # not all black or all white
    assert resized(stripes, None) is stripes


def test_memory_is_asked_for_before_it_is_taken(no_memory: None) -> None:
    with pytest.raises(DatasetError, match=r"images need 0.0 GB in memory: expected at most what is free"):
        require_memory(11, "images")
