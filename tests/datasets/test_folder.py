from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_files import class_files, picture, write_files, write_tar

from cpmodel.datasets import load
from cpmodel.errors import DatasetError

PETS = {"cat": 10, "dog": 20}


def sizes(spec: str, **options: int) -> list[int]:
    return [len(part) for part in load(spec, **options).splits.values()]


def test_class_folders_are_split(tmp_path: Path) -> None:
    write_files(tmp_path, class_files(PETS) | {"dog/readme.txt": b"", "dog/puppies/1.png": picture(7)})
    images = load(f"folder:{tmp_path}?validation=0.2&test=0.1")
    assert images.class_names == ("cat", "dog")
    assert [len(part) for part in images.splits.values()] == [22, 6, 3]
    assert images.notes == (
        "files that are no images left out: 1",
        "0.2 validation and 0.1 test of the training images split off (stratified, seed 0)",
    )


def test_split_folders_are_kept(tmp_path: Path) -> None:
    files = (
        class_files(PETS, "Train/") | class_files({"cat": 2, "dog": 3}, "valid/") | class_files(PETS, "test/")
    )
    images = load(f"folder:{write_files(tmp_path, files)}")
    assert [len(part) for part in images.splits.values()] == [30, 5, 30]
    assert images.notes == ()


def test_validation_folder_without_test_folder_is_the_test_split(tmp_path: Path) -> None:
    write_files(tmp_path, class_files(PETS, "train/") | class_files({"cat": 2, "dog": 3}, "val/"))
    images = load(f"folder:{tmp_path}?validation=0.1")
    assert [len(part) for part in images.splits.values()] == [27, 3, 5]
    assert "there is no test folder: the validation folder is the test split" in images.notes


def test_test_folder_only(tmp_path: Path) -> None:
    write_files(tmp_path, class_files(PETS, "train/") | class_files({"cat": 2}, "test/"))
    assert sizes(f"folder:{tmp_path}?validation=0.1") == [27, 3, 2]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    write_files(tmp_path, class_files({"train": 5, "bus": 5}))
    assert load(f"folder:{tmp_path}").class_names == ("bus", "train")


def test_a_lone_train_folder(tmp_path: Path) -> None:
    write_files(tmp_path, class_files(PETS, "train/"))
    assert load(f"folder:{tmp_path}").class_names == ("cat", "dog")


@given(st.integers(0, 2**32))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_of_the_files_does_not_matter(tmp_path: Path, seed: int) -> None:
    files = list(class_files(PETS).items())
    expected = load(f"folder:{write_files(tmp_path / 'folder', dict(files))}").data_hash
    random.Random(seed).shuffle(files)
    assert load(f"folder:{write_tar(tmp_path / 'x.tar', dict(files))}").data_hash == expected


def test_the_seed_makes_another_split_of_the_same_images(tmp_path: Path) -> None:
    spec = f"folder:{write_files(tmp_path, class_files(PETS))}"
    first, again, other = load(spec, seed=1), load(spec, seed=1), load(spec, seed=2)
    assert first.data_hash == again.data_hash != other.data_hash
    pools = [np.concatenate([part.images for part in images.splits.values()]) for images in (first, other)]
    assert sorted(map(bytes, pools[0])) == sorted(map(bytes, pools[1]))


def test_asked_size_and_gray(tmp_path: Path) -> None:
    write_files(tmp_path, class_files(PETS, size=(12, 9)))
    assert load(f"folder:{tmp_path}").image_shape == (9, 12, 3)
    assert load(f"folder:{tmp_path}?channels=1", image_size=7).image_shape == (7, 7, 1)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no images"),
        (class_files({"cat": 9}), "class folders: expected two or more with images, got cat"),
        (class_files(PETS) | {"cat/bad.png": b"no"}, "cat/bad.png: not an image"),
        (class_files(PETS) | {"stray.png": picture()}, "stray.png: image outside of any class folder"),
        (class_files({"cat": 9, "dog": 2}), "class 'dog': expected at least 3 images"),
        (
            class_files(PETS, "train/") | class_files({"cow": 1}, "test/"),
            "class 'cow': expected training images",
        ),
        (
            class_files(PETS, "train/") | class_files({"cat": 1}, "extra/"),
            "folder 'extra': expected only train",
        ),
        (
            class_files(PETS, "train/") | class_files(PETS, "val/") | class_files(PETS, "valid/"),
            "validation images: expected one folder, got val and valid",
        ),
    ],
)
def test_folders_that_cannot_be_used(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        load(f"folder:{write_files(tmp_path, files)}")


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="absent: cannot read: No such file or directory"):
        load(f"folder:{tmp_path}/absent")
