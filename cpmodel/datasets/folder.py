"""Image files in class folders: ``CLASS/image.png``, or ``train/CLASS/image.png`` and so on."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import cast

import numpy as np

from cpmodel.datasets.base import Split
from cpmodel.datasets.loaded import Loaded, Request
from cpmodel.datasets.pictures import read_pictures
from cpmodel.datasets.trees import Tree, open_tree
from cpmodel.errors import DatasetError

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def read(request: Request) -> Loaded:
    """The source ``folder:PATH``.

    A split that is missing is split off the training images. With *train* and *val* only, *val* becomes the
    **test** split: it was set apart by whoever made the set, and the test split is the one that is reported.
    """
    tree = open_tree(cast(Path, request.path))
    labelled, notes = _labelled(tree)
    class_names = tuple(sorted({label for _, label, _ in labelled}))
    if len(class_names) < 2:
        got, where = ", ".join(class_names), str(tree.path)
        raise DatasetError("class folders", expected="two or more with images", got=got, where=where)
    names = [name for name, _, _ in labelled]
    images, done = read_pictures(tree, names, size=request.size, channels=request.channels)
    position = {name: index for index, name in enumerate(class_names)}
    labels = np.array([position[label] for _, label, _ in labelled], dtype=np.int64)
    owners = np.array([part for _, _, part in labelled])
    parts = {str(part): Split(images[owners == part], labels[owners == part]) for part in np.unique(owners)}
    if tree.others:
        notes.append(f"files that are no images left out: {tree.others}")
    return Loaded(parts, class_names, (*notes, *done))


def _labelled(tree: Tree) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Name, class and part of every image, and notes."""
    paths = [PurePosixPath(name).parts for name in tree.names]
    tops = {parts[0].lower() for parts in paths if len(parts) > 1}
    # a class may be called "train", beside "bus"; a split folder holds folders and stands beside splits only
    has_splits = "train" in {PARTS.get(top) for top in tops} and all(
        len(parts) > 2 for parts in paths if parts[0].lower() in PARTS
    )
    depth, where = 1 if has_splits else 0, str(tree.path)
    found = []
    folders: dict[str, str] = {}  # of each part
    for name, parts in zip(tree.names, paths, strict=True):
        if len(parts) < depth + 2:
            raise DatasetError("image outside of any class folder", where=tree.place(name))
        if has_splits and parts[0].lower() not in PARTS:
            expected = "only train, val and test beside each other"
            raise DatasetError(f"folder '{parts[0]}'", expected=expected, where=where)
        part = PARTS[parts[0].lower()] if has_splits else "train"
        first = folders.setdefault(part, parts[0])
        if has_splits and parts[0] != first:  # `val` and `valid` are a mistake that merging would hide
            got = f"{first} and {parts[0]}"
            raise DatasetError(f"{part} images", expected="one folder", got=got, where=where)
        found.append((name, parts[depth], part))
    if set(folders) == {"train", "validation"}:
        found = [(name, label, "test" if part == "validation" else part) for name, label, part in found]
        return found, ["there is no test folder: the validation folder is the test split"]
    return found, []
