from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cpmodel.datasets import load
from cpmodel.datasets.base import whole_hash
from cpmodel.datasets.npz import EARLIER, EMBEDDED, data_file
from cpmodel.errors import DatasetError

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)


def arrays(*parts: str, n: int = 40) -> dict[str, np.ndarray]:
    found = {}
    for part in parts:
        found[f"x{part}"] = RNG.integers(0, 256, (n, 6, 5), dtype=np.uint8)
        found[f"y{part}"] = np.arange(n) % 4
    return found


def save(path: Path, content: dict[str, np.ndarray]) -> str:
    np.savez_compressed(path, **content)  # type: ignore[arg-type]
    return f"npz:{path}"


@pytest.mark.parametrize(
    ("parts", "sizes"),
    [
        (("",), [28, 6, 6]),
        (("_train",), [28, 6, 6]),
        (("_train", "_test"), [34, 6, 40]),
        (("_train", "_val"), [34, 40, 6]),
        (("_train", "_valid", "_test"), [40, 40, 40]),
    ],
)
def test_missing_parts_are_split_off(tmp_path: Path, parts: tuple[str, ...], sizes: list[int]) -> None:
    images = load(save(tmp_path / "a.npz", arrays(*parts)))
    assert np.abs(np.array([len(part) for part in images.splits.values()]) - sizes).max() <= 4
    assert sum(len(part) for part in images.splits.values()) == 40 * len(parts)
    assert images.image_shape == (6, 5, 1) and images.class_names == ("0", "1", "2", "3")


def test_class_names_travel_along(tmp_path: Path) -> None:
    content = arrays("_train", "_test") | {"class_names": np.array(["a", "b", "c", "d"]), "more": np.zeros(3)}
    assert load(save(tmp_path / "a.npz", content)).class_names == ("a", "b", "c", "d")


def test_content_hash_depends_on_images_and_labels(tmp_path: Path) -> None:
    content = arrays("_train", "_val", "_test")
    first = load(save(tmp_path / "a.npz", content)).data_hash
    assert load(save(tmp_path / "b.npz", content)).data_hash == first
    content["x_val"][3, 2, 1] ^= 1
    assert load(save(tmp_path / "c.npz", content)).data_hash != first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": None}, "array 'x_train': expected one beside 'y_train', got none"),
        ({"y_test": None}, "array 'y_test': expected one beside 'x_test', got none"),
        (
            {"x_train": None, "y_train": None},
            r"expected x_train and y_train \(or x and y\), got x_test, y_test",
        ),
        ({"y_train": np.arange(39) % 4}, "train images and labels: expected the same length"),
        ({"y_train": np.array(3)}, "the same length"),
        (
            {"x_val": np.zeros((2, 6, 5)), "y_val": np.zeros(2), "x_valid": np.zeros((2, 6, 5))},
            "x_val and x_valid",
        ),
        ({"x": np.zeros((2, 6, 5)), "y": np.zeros(2)}, "train images: expected one array, got x_train and x"),
        ({"x_train": np.array([None] * 40)}, "pickled objects"),
        ({"y_train": np.array([{}] * 40)}, "pickled objects"),
        ({"x_train": np.full((40, 6, 5), np.nan)}, "array 'x_train', image 0: expected finite numbers"),
        ({"x_test": np.zeros((40, 6, 6), np.uint8)}, r"test images: expected the training images' shape"),
        ({"y_test": np.arange(40) % 5}, "class '4': expected training images of every class"),
        ({"y_train": np.arange(40) % 4 + 0.5}, "row 0: expected a whole number, got 0.5"),
        ({"y_train": np.zeros(40), "y_test": np.zeros(40)}, "two or more classes, got only 0"),
        ({"y_train": np.repeat([0, 1, 2, 3], [1, 1, 1, 37])}, "class '0': expected at least 2 images"),
    ],
)
def test_arrays_that_cannot_be_used(
    tmp_path: Path, change: dict[str, np.ndarray | None], message: str
) -> None:
    content = {k: v for k, v in (arrays("_train", "_test") | change).items() if v is not None}
    with pytest.raises(DatasetError, match=message):
        load(save(tmp_path / "a.npz", content))


def test_files_that_are_no_archives(tmp_path: Path, forbidden: Callable[[Path], None]) -> None:
    spec = save(tmp_path / "a.npz", arrays("_train", "_test"))
    whole = (tmp_path / "a.npz").read_bytes()
    for content in (b"", b"text", whole[:1000], whole[: len(whole) - 30], whole[500:]):
        (tmp_path / "b.npz").write_bytes(content)
        with pytest.raises(DatasetError, match=r"b.npz: (not a NumPy archive|broken|cannot read)"):
            load(f"npz:{tmp_path}/b.npz")
    middle = bytearray(whole)
    middle[300:400] = bytes(100)
    (tmp_path / "b.npz").write_bytes(middle)
    with pytest.raises(DatasetError, match=r"b.npz: (not a NumPy archive|broken|cannot read)"):
        load(f"npz:{tmp_path}/b.npz")
    with pytest.raises(DatasetError, match=r"absent.npz: cannot read: No such file or directory"):
        load(f"npz:{tmp_path}/absent.npz")
    with pytest.raises(DatasetError, match="cannot read: Is a directory"):
        load(f"npz:{tmp_path}")
    forbidden(tmp_path / "a.npz")
    with pytest.raises(DatasetError, match="cannot read: Permission denied"):
        load(spec)


def test_an_archive_that_unpacks_to_more_than_the_memory(tmp_path: Path, no_memory: None) -> None:
    with pytest.raises(DatasetError, match=r"a.npz: arrays need .* GB in memory"):
        load(save(tmp_path / "a.npz", arrays("_train")))


def test_the_embedded_set() -> None:
    images = load()
    assert images.name == "embedded"
    assert images.image_shape == (28, 28, 1)
    assert images.class_names[0] == "T-shirt/top" and len(images.class_names) == 10
    per_class = {name: np.bincount(part.labels).tolist() for name, part in images.splits.items()}
    assert per_class == {"train": [1000] * 10, "validation": [500] * 10, "test": [1000] * 10}
    assert images.data_hash == "8b3549663c9a"
    assert images.test_hash == "5f0a0624ab44"
    assert load(seed=5).data_hash == images.data_hash
    unlike = {name: {bytes(image) for image in part.images} for name, part in images.splits.items()}
    assert len(unlike["train"] | unlike["validation"]) > 14_990
    assert len(unlike["test"]) > 9_990
    assert not unlike["test"] & (unlike["train"] | unlike["validation"])


def test_the_embedded_test_split_takes_the_place_of_a_smaller_one() -> None:
    images = load()
    (earlier,) = images.earlier
    then = replace(images, test=earlier)
    assert np.bincount(earlier.labels).tolist() == [500] * 10
    assert then.test_hash == "32a89a46bd31"
    # of all three splits together, as it was pinned when there was no other test split
    assert whole_hash(then) == "3e90e15fd5b0"
    assert {bytes(image) for image in earlier.images} <= {bytes(image) for image in images.test.images}


def test_the_embedded_file_is_small_and_licensed() -> None:
    assert data_file(EMBEDDED).stat().st_size < 11_000_000
    assert "Copyright (c) 2017 Zalando SE" in data_file("LICENSE-fashion-mnist").read_text()


def test_a_missing_file_is_named() -> None:
    with pytest.raises(DatasetError, match=r"absent.npz: missing from this installation"):
        data_file("absent.npz")


def test_digits() -> None:
    images = load("digits", image_size=12)
    assert images.image_shape == (12, 12, 1)
    assert sum(len(part) for part in images.splits.values()) == 1797
    assert images.train.images.max() == 255
    assert not images.mirrored_alike and load("digits?mirrored=alike").mirrored_alike
    assert images.data_hash == load("digits?size=12").data_hash != load("digits?size=12", seed=1).data_hash


def test_the_maker_is_reproducible(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = {
        "x_train": rng.integers(0, 256, (15_500, 3, 3), dtype=np.uint8),
        "y_train": np.arange(15_500) % 10,
        "x_test": rng.integers(0, 256, (6_000, 3, 3), dtype=np.uint8),
        "y_test": np.arange(6_000) % 10,
    }
    np.savez(tmp_path / "whole.npz", **whole)  # type: ignore[arg-type]
    made = []
    for name in ("a.npz", "b.npz"):
        script = [sys.executable, ROOT / "scripts" / "make_embedded.py", "--data", tmp_path / "whole.npz"]
        subprocess.run([*script, "--out", tmp_path / name], check=True, capture_output=True)
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    images = load(f"npz:{tmp_path}/a.npz")
    assert [len(part) for part in images.splits.values()] == [10_000, 5_000, 6_000]
    official = {bytes(image) for image in whole["x_train"]}
    assert all(bytes(image) in official for image in images.validation.images[:100, ..., 0])
    assert sorted(map(bytes, images.test.images)) == sorted(map(bytes, whole["x_test"]))
    assert np.bincount(images.test.labels[:EARLIER]).tolist() == [500] * 10


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'sklearn', 'pandas', 'PIL', 'psutil'}"
    code = f"import sys, cpmodel.datasets; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
