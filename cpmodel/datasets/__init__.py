"""A name or a path becomes images with train, validation and test splits.

A specification is the name of a source, a path where it takes one, and options, as in
``folder:photos?size=64&channels=1&validation=0.2`` (a path cannot hold a question mark). Options of all:

- ``size``: pixels; the images become squares, cut at the centre and resized with antialiasing
- ``channels``: 1 gray, 3 colour
- ``validation``, ``test``: share of the images that a missing part takes, 0.15 each
- ``mirrored``: ``alike`` if a mirrored image still shows its class (assumed unless known), ``other`` if not

Arrays and torch data sets that a program holds take the place of a specification: see `load`.
"""

from __future__ import annotations

from typing import Any

from cpmodel import registry
from cpmodel.datasets import folder, lfw, npz, openml
from cpmodel.datasets.arrays import located
from cpmodel.datasets.base import ImageSet, Split
from cpmodel.datasets.loaded import Loaded, Request, complete
from cpmodel.datasets.objects import GIVEN, read_object
from cpmodel.datasets.spec import Source, parse
from cpmodel.errors import DatasetError

__all__ = ["ImageSet", "Source", "Split", "load", "load_again"]

EMBEDDED = Source("25,000 images of Fashion-MNIST that come with the package", npz.embedded)
DIGITS = Source("scikit-learn's 1,797 digits, 8x8, gray", npz.digits)
MNIST = Source("70,000 digits, 28x28, gray, from OpenML", openml.MNIST.read)
FASHION_MNIST = Source("70,000 clothes, 28x28, gray, from OpenML", openml.FASHION_MNIST.read)
CIFAR10 = Source("60,000 objects, 32x32, colour, from OpenML", openml.CIFAR10.read)
LFW_GENDER = Source(
    "faces from Labeled Faces in the Wild, split by person", lfw.read, takes_path=True, options=lfw.OPTIONS
)
FOLDER = Source("image files in class folders, or a tar of them", folder.read, takes_path=True)
NPZ = Source("arrays x_train, y_train, ... in a NumPy archive", npz.read, takes_path=True)


def load(images: Any = "embedded", *, image_size: int | None = None, seed: int = 0) -> ImageSet:
    """The images that a specification names or an object holds, in three splits.

    Parameters
    ----------
    images : str, ImageSet, or what `cpmodel.datasets.objects.read_object` takes
        ``NAME`` or ``NAME:PATH``, options after a question mark: see the package's docstring. Or arrays, or a
        torch Dataset; an `ImageSet` is returned as it is.
    image_size : int or None, pixels
        Side of the square that all images become; the same as the option ``size``.
    seed : int
        Of the splits that are made; those a source has of its own do not depend on it.

    Returns
    -------
    images : ImageSet
        uint8; its notes say what was done to the images.

    Examples
    --------
    >>> digits = load("digits")
    >>> digits.image_shape, len(digits.class_names), [len(part) for part in digits.splits.values()]
    ((8, 8, 1), 10, [1259, 270, 268])
    >>> [len(part) for part in load((digits.train.images, digits.train.labels)).splits.values()]
    [883, 189, 187]
    """
    if isinstance(images, str):
        source, request = parse(images, image_size=image_size, seed=seed)
        return complete(source.read(request), request)
    if isinstance(images, ImageSet):
        if image_size is None:
            return images
        kept = images.class_names, images.notes, images.mirrored_alike, images.earlier
        loaded = Loaded(images.splits, *kept)
        return complete(loaded, Request(images.name, size=image_size, seed=seed))
    with located(GIVEN):
        return complete(read_object(images), Request(GIVEN, size=image_size, seed=seed))


def load_again(name: str) -> ImageSet:
    """The images of a study, by the name that it keeps; those given as an object only its owner has."""
    if name.partition("?")[0].partition(":")[0] in registry.names("datasets"):
        return load(name)
    what = f"the images of this study ({name}) were given as an object"
    raise DatasetError(what, expected="the same again: cpmodel.open(folder, dataset=images)")
