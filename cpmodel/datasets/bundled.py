"""Images that need neither a file of the user nor a network: the embedded set and scikit-learn's digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import cpmodel
from cpmodel.datasets.base import Split
from cpmodel.datasets.loaded import Loaded, Request
from cpmodel.datasets.npz import load_npz
from cpmodel.errors import DatasetError

EMBEDDED = "fashion_mnist_20k.npz"


def data_file(name: str) -> Path:
    """A file of the top-level folder ``data/``, which the wheel carries as ``cpmodel/data/``."""
    package = Path(cpmodel.__file__).parent
    for folder in (package / "data", package.parent / "data"):
        if (folder / name).is_file():
            return folder / name
    where = str(package / "data" / name)
    raise DatasetError("missing from this installation: install cpmodel again", where=where)


def embedded(request: Request) -> Loaded:
    """10,000 / 5,000 / 5,000 images of Fashion-MNIST, drawn by `scripts/make_embedded.py`."""
    return load_npz(data_file(EMBEDDED))


def digits(request: Request) -> Loaded:
    """Scikit-learn's digits: 1,797 of 8x8, gray values 0..16 brought to 0..255."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    names = tuple(str(name) for name in bunch.target_names)
    train = Split(images, bunch.target.astype(np.int64))
    return Loaded({"train": train}, names, ("values 0..16 scaled to 0..255",), mirrored_alike=False)
