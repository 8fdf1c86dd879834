"""What every loader returns, and the splits that are made where a source has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cpmodel.datasets.arrays import resized, with_channels
from cpmodel.datasets.base import ImageSet, Split
from cpmodel.datasets.splitting import split
from cpmodel.errors import DatasetError

HELD_OUT = 0.15  # the share of validation and of test images where a source does not say


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Parameters
    ----------
    text : str
        The whole specification, which errors name.
    path : Path or None
    size : int or None, pixels
    channels : 1, 3 or None
    fractions : mapping
        Share of the images a missing *validation* or *test* part takes.
    seed : int
    mirrored_alike : bool or None
        None: as the source says.
    options : mapping
        Those that only this source knows.
    """

    text: str
    path: Path | None = None
    size: int | None = None
    channels: int | None = None
    fractions: Mapping[str, float] = field(default_factory=lambda: {"validation": HELD_OUT, "test": HELD_OUT})
    seed: int = 0
    mirrored_alike: bool | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Loaded:
    """The parts a source has of its own (*train* at least); the others are split off *train*.

    The other fields become those of the `ImageSet`.
    """

    parts: Mapping[str, Split]
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    mirrored_alike: bool = True


def complete(loaded: Loaded, request: Request) -> ImageSet:
    """The image set: in the asked form, with all three splits.

    Raises
    ------
    DatasetError
        A class without training images, or one too small to be split.
    """
    notes = list(loaded.notes)
    parts = {name: _shaped(part, request) for name, part in loaded.parts.items()}
    before, after = loaded.parts["train"].images.shape[1:], parts["train"].images.shape[1:]
    if before[:2] != after[:2]:
        notes.append(
            f"{before[1]}x{before[0]} pixels, brought to {after[1]}x{after[0]} (centre, antialiased)"
        )
    if before[2] != after[2]:
        notes.append("colour made gray" if after[2] == 1 else "gray made colour")
    _require_training_images(parts, loaded.class_names, request.text)

    missing = [name for name in ("validation", "test") if name not in parts]
    if missing:
        train = parts["train"]
        fractions = [request.fractions[name] for name in missing]
        rows = split(
            train.labels,
            fractions,
            seed=request.seed,
            class_names=loaded.class_names,
            groups=train.groups,
            where=request.text,
        )
        parts |= {name: _taken(train, chosen) for name, chosen in zip(["train", *missing], rows, strict=True)}
        kind = "stratified" if train.groups is None else "stratified, by group"
        shares = " and ".join(
            f"{fraction:.3g} {name}" for name, fraction in zip(missing, fractions, strict=True)
        )
        notes.append(f"{shares} of the training images split off ({kind}, seed {request.seed})")
    return ImageSet(
        name=request.text,
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        class_names=loaded.class_names,
        notes=tuple(notes),
        mirrored_alike=loaded.mirrored_alike if request.mirrored_alike is None else request.mirrored_alike,
    )


def _shaped(part: Split, request: Request) -> Split:
    # gray first where there is a choice: a third of the resizing
    images = part.images if request.channels == 3 else with_channels(part.images, request.channels)
    return replace(part, images=with_channels(resized(images, request.size), request.channels))


def _taken(part: Split, rows: NDArray[np.int64]) -> Split:
    return Split(part.images[rows], part.labels[rows], None if part.groups is None else part.groups[rows])


def _require_training_images(parts: Mapping[str, Split], class_names: tuple[str, ...], where: str) -> None:
    trained = np.bincount(parts["train"].labels, minlength=len(class_names)) > 0
    if not trained.all():
        raise DatasetError(
            f"class '{class_names[int(trained.argmin())]}'",
            expected="training images of every class",
            got="none",
            where=where,
        )
