"""What an image set is: three splits of images, their classes, and hashes that name its content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cpmodel.errors import DatasetError


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels of one split.

    Parameters
    ----------
    images : uint8, shape (n, height, width, channels), channels 1 (gray) or 3 (colour)
    labels : int64, shape (n,), positions in the set's `class_names`
    groups : int64, shape (n,), or None
        Images of one group (a person, say) are not independent, and never in two splits.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A named set of images: *train* fits weights, *validation* gives P, *test* is opened once.

    Parameters
    ----------
    name : str
        What the user called it.
    notes : tuple of str
        What was done to the images on loading (resized, converted, left out), one line each.
    mirrored_alike : bool
        Whether a mirrored image still shows its class; not so for digits.
    earlier : tuple of Split
        Test splits whose place `test` has taken: a study that was made with one of them goes on with `test`.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    mirrored_alike: bool = True
    earlier: tuple[Split, ...] = ()

    def __post_init__(self) -> None:
        if len(self.class_names) < 2:
            raise DatasetError("classes", expected="two or more", got=len(self.class_names), where=self.name)
        for name, split in self.splits.items():
            images, labels, n_classes = split.images, split.labels, len(self.class_names)
            shape, train_shape = images.shape, self.train.images.shape
            if not len(split):
                wrong = ("split", "at least one image", "none")
            elif images.dtype != np.uint8 or images.ndim != 4 or shape[3] not in (1, 3):
                wrong = ("images", "uint8, (n, height, width, 1 or 3)", f"{images.dtype}, {shape}")
            elif shape[1:] != train_shape[1:]:
                wrong = ("images", f"the training images' shape {train_shape[1:]}", f"{shape[1:]}")
            elif labels.shape != (len(split),):
                wrong = ("labels", f"{len(split)} of them", f"{labels.shape}")
            elif labels.min() < 0 or labels.max() >= n_classes:
                wrong = ("labels", f"0 to {n_classes - 1}", f"{labels.min()} to {labels.max()}")
            else:
                continue
            raise DatasetError(f"{name} {wrong[0]}", expected=wrong[1], got=wrong[2], where=self.name)

    @property
    def splits(self) -> dict[str, Split]:
        """The splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.train.images.shape[1:]
        return int(height), int(width), int(channels)

    @cached_property
    def data_hash(self) -> str:
        """Twelve hexadecimal digits of what networks learn from and are chosen by: training, validation."""
        return _hash(self, "train", "validation")

    @cached_property
    def test_hash(self) -> str:
        """Twelve hexadecimal digits of the test split, to which the openings of a study belong."""
        return _hash(self, "test")


def whole_hash(images: ImageSet) -> str:
    """Twelve hexadecimal digits of all three splits: what studies of format 1 knew their images by."""
    return _hash(images, "train", "validation", "test")


def _hash(images: ImageSet, *names: str) -> str:
    """Of images, labels, groups and classes, and how they are divided; the set's own name does not count."""
    digest = hashlib.sha256(repr((images.class_names, images.image_shape)).encode())
    for name in names:
        split = images.splits[name]
        digest.update(f"{name}{len(split)}".encode())
        for array in (split.images, split.labels, split.groups):
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:12]
