"""What every loader returns, and the splits that are made where a source has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cpmodel.datasets.arrays import Array, Labels, as_images, as_labels, located, with_channels
from cpmodel.datasets.base import ImageSet, Split
from cpmodel.datasets.pictures import resized
from cpmodel.datasets.splitting import split
from cpmodel.errors import DatasetError

# how the arrays of each part may end, after x and y; plain x and y are one part, to be split
PARTS = {"train": ("_train", ""), "validation": ("_val", "_valid", "_validation"), "test": ("_test",)}
HELD_OUT = 0.15  # the share of validation and of test images where a source does not say


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    text: str  # the whole specification, which errors name
    path: Path | None = None
    size: int | None = None  # pixels
    channels: int | None = None  # 1 or 3
    # the share of the images that each part takes where it is missing
    fractions: Mapping[str, float] = field(default_factory=lambda: {"validation": HELD_OUT, "test": HELD_OUT})
    seed: int = 0
    mirrored_alike: bool | None = None  # None: as the source says
    options: Mapping[str, str] = field(default_factory=dict)  # those that only this source knows


@dataclass(frozen=True)
class Loaded:
    """The parts a source has of its own (*train* at least); the others are split off *train*.

    The other fields become those of the `ImageSet`.
    """

    parts: Mapping[str, Split]
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    mirrored_alike: bool = True
    earlier: tuple[Split, ...] = ()


def parts_of(arrays: Mapping[str, Array]) -> Loaded:
    """The parts of arrays called x_train and y_train (or x and y), perhaps x_val, x_test, class_names."""
    ends: dict[str, str] = {}  # of the arrays' names, by part
    for part, suffixes in PARTS.items():
        present = [end for end in suffixes if f"x{end}" in arrays or f"y{end}" in arrays]
        if len(present) > 1:
            got = " and ".join(f"x{end}" for end in present)
            raise DatasetError(f"{part} images", expected="one array", got=got)
        if present:
            ends[part] = present[0]
    if "train" not in ends:
        got = ", ".join(sorted(arrays)) or "none of them"
        raise DatasetError("arrays", expected="x_train and y_train (or x and y)", got=got)
    for part, end in ends.items():
        for name, other in ((f"x{end}", f"y{end}"), (f"y{end}", f"x{end}")):
            if name not in arrays:
                raise DatasetError(f"array '{name}'", expected=f"one beside '{other}'", got="none")
        x, y = arrays[f"x{end}"].shape, arrays[f"y{end}"].shape
        if not x or not y or x[0] != y[0]:
            got = f"shapes {x} and {y}"
            raise DatasetError(f"{part} images and labels", expected="the same length", got=got)
    class_names = [str(name) for name in arrays["class_names"].ravel()] if "class_names" in arrays else None
    images, notes = as_images({f"x{end}": arrays[f"x{end}"] for end in ends.values()})
    labels, classes = as_labels({f"y{end}": arrays[f"y{end}"] for end in ends.values()}, class_names)
    parts = {part: Split(images[f"x{end}"], labels[f"y{end}"]) for part, end in ends.items()}
    return Loaded(parts, classes, tuple(notes))


def complete(loaded: Loaded, request: Request) -> ImageSet:
    """The image set: in the asked form, with all three splits."""
    notes = list(loaded.notes)
    parts = {name: _shaped(part, request) for name, part in loaded.parts.items()}
    train = parts["train"]
    before, after = loaded.parts["train"].images.shape[1:], train.images.shape[1:]
    if before[:2] != after[:2]:
        notes.append(
            f"{before[1]}x{before[0]} pixels, brought to {after[1]}x{after[0]} (centre, antialiased)"
        )
    if before[2] != after[2]:
        notes.append("colour made gray" if after[2] == 1 else "gray made colour")
    names = loaded.class_names
    trained = np.bincount(train.labels, minlength=len(names)) > 0
    if not trained.all():
        what, expected = f"class '{names[int(trained.argmin())]}'", "training images of every class"
        raise DatasetError(what, expected=expected, got="none", where=request.text)
    if missing := [name for name in ("validation", "test") if name not in parts]:
        fractions = [request.fractions[name] for name in missing]
        with located(request.text):
            rows = split(train.labels, fractions, seed=request.seed, class_names=names, groups=train.groups)
        parts |= {name: _taken(train, chosen) for name, chosen in zip(["train", *missing], rows, strict=True)}
        kind = "stratified" if train.groups is None else "stratified, by group"
        shares = " and ".join(f"{request.fractions[name]:.3g} {name}" for name in missing)
        notes.append(f"{shares} of the training images split off ({kind}, seed {request.seed})")
    alike = loaded.mirrored_alike if request.mirrored_alike is None else request.mirrored_alike
    splits = parts["train"], parts["validation"], parts["test"]
    earlier = tuple(_shaped(part, request) for part in loaded.earlier)
    return ImageSet(request.text, *splits, names, tuple(notes), alike, earlier)


def _shaped(part: Split, request: Request) -> Split:
    # gray first where there is a choice: a third of the resizing
    images = part.images if request.channels == 3 else with_channels(part.images, request.channels)
    return replace(part, images=with_channels(resized(images, request.size), request.channels))


def _taken(part: Split, rows: Labels) -> Split:
    return Split(part.images[rows], part.labels[rows], None if part.groups is None else part.groups[rows])
