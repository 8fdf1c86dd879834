#!/usr/bin/env python3
"""Make data/fashion_mnist_20k.npz, the embedded image set, from the whole of Fashion-MNIST.

    python scripts/make_embedded.py --data PATH/fashion_mnist.npz

10,000 training and 5,000 validation images from the official training set, 5,000 test images from the
official test set, equally many of each class, drawn from a fixed seed and kept in their official order. The
same input gives the same bytes (with the same zlib).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cpmodel.datasets.npz import load_npz
from cpmodel.datasets.openml import FASHION_MNIST
from cpmodel.files import replacing

SEED = 2017
PER_CLASS = {"train": 1000, "val": 500, "test": 500}
OUT = Path(__file__).parents[1] / "data" / "fashion_mnist_20k.npz"


def draw(labels: NDArray[np.int64], counts: list[int], rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Positions of as many images of each class as `counts` says, once for each count, in ascending order."""
    parts: list[list[NDArray[np.int64]]] = [[] for _ in counts]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        for part, chosen in zip(parts, np.split(members, np.cumsum(counts)), strict=False):
            part.append(chosen)
    return [np.sort(np.concatenate(part)) for part in parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="npz with x_train, y_train, x_test, y_test")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()

    official = load_npz(options.data).parts
    rng = np.random.default_rng(SEED)
    train, validation = draw(official["train"].labels, [PER_CLASS["train"], PER_CLASS["val"]], rng)
    (test,) = draw(official["test"].labels, [PER_CLASS["test"]], rng)
    arrays = {"class_names": np.array(FASHION_MNIST.class_names)}
    for name, source, rows in (
        ("train", "train", train),
        ("val", "train", validation),
        ("test", "test", test),
    ):
        arrays[f"x_{name}"] = official[source].images[rows, ..., 0]
        arrays[f"y_{name}"] = official[source].labels[rows].astype(np.uint8)
    with replacing(options.out) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
