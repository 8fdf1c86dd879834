"""An image set as plain array files: decoded once, then mapped into memory and shared by every worker."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cpmodel.datasets.base import ImageSet, Split
from cpmodel.files import read_json, replacing, write_json


def save_arrays(images: ImageSet, folder: Path) -> Path:
    """Keep the set's arrays below `folder`, if they are not there yet; returns what `open_arrays` takes."""
    target = folder / f"images-{images.data_hash}-{images.test_hash}"
    about = target / "about.json"
    if not about.exists():  # the last one that is written
        for name, split in images.splits.items():
            for part, array in vars(split).items():
                if array is not None:
                    with replacing(target / f"{name}_{part}.npy") as made, made.open("wb") as file:
                        np.save(file, np.ascontiguousarray(array), allow_pickle=False)
        write_json(about, {"name": images.name, "class_names": list(images.class_names)})
    return target


def open_arrays(folder: Path) -> ImageSet:
    """The set that `save_arrays` kept, its images mapped rather than read."""
    about = read_json(folder / "about.json")
    train, validation, test = (_open_split(folder, name) for name in ("train", "validation", "test"))
    return ImageSet(about["name"], train, validation, test, tuple(about["class_names"]))


def _open_split(folder: Path, name: str) -> Split:
    groups = folder / f"{name}_groups.npy"
    return Split(
        # copy-on-write: torch wants arrays it could write to; nobody does, so the pages stay shared
        np.load(folder / f"{name}_images.npy", mmap_mode="c", allow_pickle=False),
        np.load(folder / f"{name}_labels.npy", allow_pickle=False),
        np.load(groups, allow_pickle=False) if groups.exists() else None,
    )
