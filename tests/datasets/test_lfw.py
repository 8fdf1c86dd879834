from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from image_files import picture, write_files, write_tar

from cpmodel.datasets import load
from cpmodel.errors import DatasetError

PEOPLE = [(f"Person_{number}", number, number % 3 > 0, 1 + number % 4) for number in range(24)]
ROWS = [
    (f"{person}_{index:04d}.jpg", person, number, int(male))
    for person, number, male, count in PEOPLE
    for index in range(1, count + 1)
]
FACES = {
    f"lfw/{person}/{file}": picture(row, (50, 50), form="JPEG") for row, (file, person, *_) in enumerate(ROWS)
}


def table(rows: Sequence[Sequence[object]], header: str = "file,person,person_id,male") -> bytes:
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]).encode()


def test_people_are_in_one_split_only(tmp_path: Path) -> None:
    write_files(tmp_path, FACES | {"lfw_gender_labels.csv": table(ROWS)})
    images = load(f"lfw-gender:{tmp_path / 'lfw'}?size=16")
    assert images.image_shape == (16, 16, 3) and images.class_names == ("female", "male")
    people = [set(part.groups.tolist()) for part in images.splits.values() if part.groups is not None]
    assert sum(map(len, people)) == len(set.union(*people)) == 24
    for part in images.splits.values():
        assert part.groups is not None and np.array_equal(part.labels, part.groups % 3 > 0)
    assert images.notes == (
        "the central 0.6 of 50x50 pixels, brought to 16x16 (centre, antialiased)",
        "0.15 validation and 0.15 test of the training images split off (stratified, by group, seed 0)",
    )


def test_the_tar_and_the_folder_are_alike(tmp_path: Path) -> None:
    write_files(tmp_path, FACES | {"labels.csv": table(ROWS)})
    archive = write_tar(tmp_path / "lfw.tgz", dict(reversed(FACES.items())), "w:gz")
    options = f"labels={tmp_path}/labels.csv&crop=1"
    a, b = load(f"lfw-gender:{archive}?{options}"), load(f"lfw-gender:{tmp_path}/lfw?{options}")
    assert a.data_hash == b.data_hash
    assert a.image_shape == (64, 64, 3)


def test_unknown_and_unlabelled_faces_are_left_out_and_counted(tmp_path: Path) -> None:
    first, *rest = ROWS
    rows = [(*first[:3], -1), *rest[:-2], ("Nobody_0001.jpg", "Nobody", 99, 1)]
    write_files(tmp_path, FACES | {"lfw/lfw_gender_labels.csv": table(rows)})
    images = load(f"lfw-gender:{tmp_path}/lfw?channels=1")
    assert sum(len(part) for part in images.splits.values()) == len(ROWS) - 3
    assert images.image_shape[2] == 1
    assert images.notes[:3] == (
        "images of unknown gender left out: 1",
        "images without a label left out: 2",
        "labels without an image: 1",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (table([], "file,person,male"), r"column 'person_id': expected file, .*, got file, person, male"),
        (b"", "empty file: expected a header and rows of faces"),
        (table([]), "at least one row"),
        (table([("a.jpg", "a", "x", 1)]), r"line 2: column 'person_id': expected a whole number, got 'x'"),
        (table([("a.jpg", "a", 1)]), r"line 2: expected 4 cells as in the header, got 3"),
        (table([("a.jpg", "a", 1, 2)]), r"line 2: column 'male': expected 1, 0 or -1 \(unknown\), got 2"),
        (table([("", "a", 1, 1)]), "got an empty field"),
        (table([ROWS[0], ROWS[0]]), "expected one row, got two"),
        (table([ROWS[0], ("b.jpg", ROWS[0][1], 77, 1)]), "expected one person_id, got 0 and 77"),
        (b"\xff\xfe\x00", "not a CSV table"),
        (table([("a.jpg", "a", 1, 1)]), "no image is in the labels"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path: Path, content: bytes, message: str) -> None:
    write_files(tmp_path, FACES | {"lfw_gender_labels.csv": content})
    with pytest.raises(DatasetError, match=message):
        load(f"lfw-gender:{tmp_path}/lfw")


def test_no_labels(tmp_path: Path) -> None:
    write_files(tmp_path, FACES)
    with pytest.raises(
        DatasetError, match=r"no labels: expected \?labels=CSV, or lfw_gender_labels.csv inside"
    ):
        load(f"lfw-gender:{tmp_path}/lfw")
    with pytest.raises(DatasetError, match=r"absent.csv: cannot read: No such file or directory"):
        load(f"lfw-gender:{tmp_path}/lfw?labels={tmp_path}/absent.csv")
