"""Labeled Faces in the Wild, told apart by gender: faces cropped to the centre, split by person."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple, cast

import numpy as np

from cpmodel.datasets.arrays import located
from cpmodel.datasets.base import Split
from cpmodel.datasets.loaded import Loaded, Request
from cpmodel.datasets.pictures import read_pictures
from cpmodel.datasets.spec import fraction
from cpmodel.datasets.trees import open_tree
from cpmodel.errors import DatasetError
from cpmodel.files import read_table

OPTIONS = ("labels", "crop")
LABELS_FILE = "lfw_gender_labels.csv"
CLASS_NAMES = ("female", "male")
SIZE = 64  # pixels, the input size of the baseline of Ke, Cao and Lv
CROP = 0.6  # of LFW's 250 pixels: the head, chin to hair, without the background that names the occasion


class Face(NamedTuple):
    """A row of the labels CSV, whose columns these are; `male` is 1, 0, or -1 for unknown."""

    file: str
    person: str
    person_id: int
    male: int


def read(request: Request) -> Loaded:
    """The source ``lfw-gender:PATH``.

    PATH is the folder or the tar of LFW: one folder a person, ``Person_Name/Person_Name_0001.jpg``. The
    labels come from ``?labels=CSV``, or from ``lfw_gender_labels.csv`` inside the folder or beside it;
    ``crop`` is the central fraction of both sides that is kept.
    """
    path = cast(Path, request.path)
    tree = open_tree(path)
    labels_file = _labels_file(path, request.options.get("labels"))
    faces = read_labels(labels_file)
    # the folders above the persons differ between the official archives
    stored = {"/".join(PurePosixPath(name).parts[-2:]): name for name in tree.names}
    known = sorted(key for key in stored if key in faces and faces[key].male >= 0)
    if not known:
        expected = "PERSON/PERSON_0001.jpg as in the columns person and file"
        with located(f"{path} and {labels_file}"):
            raise DatasetError("no image is in the labels", expected=expected, got=next(iter(stored)))
    with located(request.text):
        crop = fraction("crop", request.options.get("crop", str(CROP)))
    names, size = [stored[key] for key in known], request.size or SIZE
    images, done = read_pictures(tree, names, size=size, channels=request.channels or 3, crop=crop)
    unknown = sum(key in faces for key in stored) - len(known)
    counts = {
        "images of unknown gender left out": unknown,
        "images without a label left out": len(stored) - unknown - len(known),
        "labels without an image": len(faces.keys() - stored.keys()),
    }
    split = Split(
        images,
        np.array([faces[key].male for key in known], dtype=np.int64),
        np.array([faces[key].person_id for key in known], dtype=np.int64),
    )
    notes = [f"{what}: {count}" for what, count in counts.items() if count]
    return Loaded({"train": split}, CLASS_NAMES, (*notes, *done))


def _labels_file(path: Path, option: str | None) -> Path:
    if option is not None:
        return Path(option).expanduser()
    for folder in (path, path.resolve().parent):
        if (folder / LABELS_FILE).is_file():
            return folder / LABELS_FILE
    expected = f"?labels=CSV, or {LABELS_FILE} inside or beside it"
    raise DatasetError("no labels", expected=expected, where=str(path))


def read_labels(path: Path) -> dict[str, Face]:
    """The rows of the labels CSV by PERSON/FILE: an image counts once, and a person is one group."""
    with located(""):
        table = read_table(path, "faces")
    if missing := [column for column in Face._fields if column not in table.header]:
        column, expected = f"column '{missing[0]}'", ", ".join(Face._fields)
        raise DatasetError(column, expected=expected, got=", ".join(table.header), where=str(path))
    faces: dict[str, Face] = {}
    numbers: dict[str, int] = {}
    for cells, line in zip(table.rows, table.lines, strict=True):
        with located(f"{path}, line {line}"):
            face = _face(dict(zip(table.header, cells, strict=True)))
            key = f"{face.person}/{face.file}"
            if key in faces:
                raise DatasetError(f"image '{face.file}'", expected="one row", got="two")
            known = numbers.setdefault(face.person, face.person_id)
            if known != face.person_id:  # the split by person would leak
                got = f"{known} and {face.person_id}"
                raise DatasetError(f"person '{face.person}'", expected="one person_id", got=got)
            faces[key] = face
    if not faces:
        raise DatasetError("labels", expected="at least one row", got="none", where=str(path))
    return faces


def _face(row: dict[str, str]) -> Face:
    for column in ("person_id", "male"):
        if not re.fullmatch(r"[-+]?\d+", row[column]):
            raise DatasetError(f"column '{column}'", expected="a whole number", got=f"'{row[column]}'")
    if (male := int(row["male"])) not in (-1, 0, 1):
        raise DatasetError("column 'male'", expected="1, 0 or -1 (unknown)", got=male)
    if not row["file"] or not row["person"]:
        raise DatasetError("columns 'file' and 'person'", expected="names", got="an empty field")
    return Face(row["file"], row["person"], int(row["person_id"]), male)
