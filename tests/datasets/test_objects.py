"""Images that a program holds: arrays in every shape they come in, and torch's data sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from cpmodel.datasets import load, load_again
from cpmodel.errors import DatasetError

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (60, 6, 5, 3), dtype=np.uint8)
Y = np.arange(60) % 3


class Pictures(Dataset[Any]):
    """As torchvision's: items are made when they are asked for; `classes` are named."""

    classes = ("cat", "dog", "fox")

    def __init__(self, rows: slice, kind: str) -> None:
        self.x, self.y, self.kind = X[rows], Y[rows], kind

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        image, label = self.x[index], int(self.y[index])
        if self.kind == "pillow":
            return Image.fromarray(image), label
        if self.kind == "float":
            return torch.from_numpy(image).permute(2, 0, 1) / 255, torch.tensor(label)
        return image, label


def test_an_image_set_is_what_it_is() -> None:
    digits = load("digits")
    assert load(digits) is digits
    small = load(digits, image_size=4)
    assert small.image_shape == (4, 4, 1)
    assert [len(part) for part in small.splits.values()] == [len(part) for part in digits.splits.values()]


@pytest.mark.parametrize(
    "given",
    [
        (X, Y),
        (X, Y.tolist()),
        (torch.from_numpy(X), torch.from_numpy(Y)),
        {"x": X, "y": Y},
        {"train": (X, Y)},
        Pictures(slice(None), "array"),
        Pictures(slice(None), "pillow"),
        Pictures(slice(None), "float"),
        TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)),
    ],
)
def test_one_part_is_split(given: Any) -> None:
    images = load(given, seed=3)
    expected = load({"x": X, "y": Y}, seed=3)
    assert images.data_hash == expected.data_hash or images.class_names == Pictures.classes
    for name, part in images.splits.items():
        assert np.array_equal(part.images, expected.splits[name].images)
        assert np.array_equal(part.labels, expected.splits[name].labels)
    assert [len(part) for part in images.splits.values()] == [42, 9, 9]


@pytest.mark.parametrize(
    "given",
    [
        ((X[:40], Y[:40]), (X[40:50], Y[40:50]), (X[50:], Y[50:])),
        {"train": (X[:40], Y[:40]), "test": (X[50:], Y[50:]), "validation": (X[40:50], Y[40:50])},
        {
            "x_train": X[:40],
            "y_train": Y[:40],
            "x_val": X[40:50],
            "y_val": Y[40:50],
            "x_test": X[50:],
            "y_test": Y[50:],
        },
        (Pictures(slice(40), "array"), Pictures(slice(40, 50), "pillow"), (X[50:], Y[50:])),
    ],
)
def test_parts_stay_apart(given: Any) -> None:
    images = load(given)
    assert np.array_equal(images.train.images, X[:40])
    assert np.array_equal(images.validation.images, X[40:50])
    assert np.array_equal(images.test.labels, Y[50:])


def test_two_parts_are_for_training_and_test() -> None:
    images = load(((X[:40], Y[:40]), (X[40:], Y[40:])))
    assert np.array_equal(images.test.images, X[40:])
    assert len(images.train) + len(images.validation) == 40
    text = load((X[..., 0], np.array(["a", "b", "c"])[Y]))
    assert (text.class_names, text.image_shape) == (("a", "b", "c"), (6, 5, 1))


class Odd(Pictures):
    """Items of another kind."""

    def __getitem__(self, index: int) -> Any:
        image, label = super().__getitem__(index)
        return {"alone": image, "wide": (X[0, :, : 5 - index], label), "far": (image / 64.0 - 2, label)}[
            self.kind
        ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "images: expected an ImageSet, arrays .* got int"),
        ((X, Y, Y), "images: expected an ImageSet, .* got tuple"),
        (
            (X, Y[:9]),
            r"train images and labels: expected the same length, got shapes \(60, 6, 5, 3\) and \(9,\)",
        ),
        ({"x_train": X}, "array 'y_train': expected one beside 'x_train', got none"),
        ({"train": (X, Y), "tset": (X, Y)}, "parts: expected train, validation, test, got tset"),
        ({"test": (X, Y)}, "parts: expected train among them, got test"),
        (
            Odd(slice(None), "wide"),
            r"train image 1: expected the first one's shape \(6, 5, 3\), got \(6, 4, 3\)",
        ),
        (Odd(slice(None), "alone"), r"train item 0: expected a pair \(image, label\), got ndarray"),
        (Odd(slice(None), "far"), r"image values: expected 0\.\.1 or 0\.\.255"),
        (Pictures(slice(0), "array"), "train images: expected at least one, got none"),
        ((X, np.zeros(60)), r"labels: expected two or more classes, got only 0"),
    ],
)
def test_what_cannot_be_used_is_named(given: Any, said: str) -> None:
    with pytest.raises(DatasetError, match=said) as error:
        load(given)
    assert str(error.value).startswith("given images: ")


def test_given_images_must_be_given_again() -> None:
    assert load_again("digits").data_hash == load("digits").data_hash
    for name in (load((X, Y)).name, "mine"):
        with pytest.raises(
            DatasetError, match=rf"\({name}\) were given as an object: expected the same again"
        ):
            load_again(name)
