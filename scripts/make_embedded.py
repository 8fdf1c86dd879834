#!/usr/bin/env python3
"""Make data/fashion_mnist_25k.npz, the embedded image set, from the whole of Fashion-MNIST.

    python scripts/make_embedded.py --data PATH/fashion_mnist.npz

10,000 training and 5,000 validation images from the official training set, equally many of each class, drawn
from a fixed seed and kept in their official order; and the whole official test set. The 5,000 test images
that were all that the set had at first, drawn in the same way, come first, so that studies made with them are
known. The same input gives the same bytes (with the same zlib).
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cpmodel.datasets.npz import load_npz
from cpmodel.datasets.openml import FASHION_MNIST
from cpmodel.files import replacing

SEED = 2017
PER_CLASS = {"train": 1000, "val": 500, "first": 500}
OUT = Path(__file__).parents[1] / "data" / "fashion_mnist_25k.npz"


def draw(labels: NDArray[np.int64], counts: list[int], rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Positions of as many images of each class as `counts` says, once for each count, in ascending order."""
    parts: list[list[NDArray[np.int64]]] = [[] for _ in counts]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        for part, chosen in zip(parts, np.split(members, np.cumsum(counts)), strict=False):
            part.append(chosen)
    return [np.sort(np.concatenate(part)) for part in parts]


def save(stream: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an archive as `numpy.savez_compressed` does, with all the compression that zlib has."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="npz with x_train, y_train, x_test, y_test")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()

    official = load_npz(options.data).parts
    rng = np.random.default_rng(SEED)
    train, validation = draw(official["train"].labels, [PER_CLASS["train"], PER_CLASS["val"]], rng)
    (first,) = draw(official["test"].labels, [PER_CLASS["first"]], rng)
    others = np.setdiff1d(np.arange(len(official["test"])), first)
    arrays: dict[str, NDArray[Any]] = {"class_names": np.array(FASHION_MNIST.class_names)}
    for name, source, rows in (
        ("train", "train", train),
        ("val", "train", validation),
        ("test", "test", np.concatenate([first, others])),
    ):
        arrays[f"x_{name}"] = official[source].images[rows, ..., 0]
        arrays[f"y_{name}"] = official[source].labels[rows].astype(np.uint8)
    with replacing(options.out) as temporary, temporary.open("wb") as stream:
        save(stream, arrays)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
