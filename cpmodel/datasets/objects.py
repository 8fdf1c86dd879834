"""Images that a program already holds: arrays, and torch's data sets, which are read once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cpmodel.datasets.arrays import Array
from cpmodel.datasets.loaded import PARTS, Loaded, parts_of
from cpmodel.errors import DatasetError

GIVEN = "given images"  # what a study calls images that have no name of their own
_ORDER = {1: ("train",), 2: ("train", "test"), 3: ("train", "validation", "test")}


def read_object(given: Any) -> Loaded:
    """The parts that an object holds; those that are missing are split off the training images later.

    It is named arrays ``{"x_train": ..., "y_train": ..., ...}`` as in an npz; a part, or a tuple or mapping
    (``train``, ``validation``, ``test``) of two or three parts. A part is a pair ``(images, labels)``, or a
    torch ``Dataset`` of such pairs; images are uint8, or floats in 0..1.
    """
    if isinstance(given, Mapping):
        named = {str(name): value for name, value in given.items()}
        if not any(name in PARTS for name in named):
            return parts_of({name: _array(value) for name, value in named.items()})
        if unknown := sorted(set(named) - set(PARTS)):
            raise DatasetError("parts", expected=", ".join(PARTS), got=unknown[0])
    elif _is_part(given):
        named = {"train": given}
    elif isinstance(given, (tuple, list)) and len(given) in _ORDER and all(map(_is_part, given)):
        named = dict(zip(_ORDER[len(given)], given, strict=True))
    else:
        expected = "an ImageSet, arrays (images, labels), a torch Dataset, or two or three of these"
        raise DatasetError("images", expected=expected, got=type(given).__name__)
    if "train" not in named:
        raise DatasetError("parts", expected="train among them", got=", ".join(named))
    arrays: dict[str, Array] = {}
    for name, part in named.items():
        paired = isinstance(part, (tuple, list))
        images, labels = map(_array, part) if paired else _read(part, name)
        arrays |= {f"x_{name}": images, f"y_{name}": labels}
    called = getattr(named["train"], "classes", None)  # as torchvision's data sets do
    return parts_of(arrays if called is None else arrays | {"class_names": np.array(list(called))})


def _is_part(given: Any) -> bool:
    """Whether it is a pair of arrays (labels perhaps a list), or a data set of pairs."""

    def flat(one: Any) -> bool:
        return isinstance(one, (tuple, list)) and bool(one) and isinstance(one[0], (int, str, np.generic))

    if isinstance(given, (tuple, list)):
        return len(given) == 2 and all(hasattr(one, "shape") or flat(one) for one in given)
    return hasattr(given, "__getitem__") and hasattr(given, "__len__") and not hasattr(given, "shape")


def _read(dataset: Any, name: str) -> tuple[Array, Array]:
    """Every pair that a data set holds; what it changes at random stays as it came this once."""
    images, labels = [], []
    for index in range(len(dataset)):
        try:
            image, label = dataset[index]
        except (TypeError, ValueError) as error:
            got = type(dataset[index]).__name__
            raise DatasetError(f"{name} item {index}", expected="a pair (image, label)", got=got) from error
        images.append(_array(image))
        labels.append(label if isinstance(label, str) else _array(label).item())
        if images[-1].shape != images[0].shape:
            expected = f"the first one's shape {images[0].shape}"
            raise DatasetError(f"{name} image {index}", expected=expected, got=images[-1].shape)
    if not images:
        raise DatasetError(f"{name} images", expected="at least one", got="none")
    return np.stack(images), np.array(labels)


def _array(value: Any) -> Array:
    """An array of whatever holds numbers: NumPy's, torch's (of any device), Pillow's images, lists."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.asarray(value)
