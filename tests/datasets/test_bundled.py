from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cpmodel.datasets import load
from cpmodel.datasets.base import whole_hash
from cpmodel.datasets.bundled import EMBEDDED, data_file
from cpmodel.errors import DatasetError

ROOT = Path(__file__).parents[2]


def test_the_embedded_set() -> None:
    images = load()
    assert images.name == "embedded"
    assert images.image_shape == (28, 28, 1)
    assert images.class_names[0] == "T-shirt/top" and len(images.class_names) == 10
    per_class = {name: np.bincount(part.labels).tolist() for name, part in images.splits.items()}
    assert per_class == {"train": [1000] * 10, "validation": [500] * 10, "test": [500] * 10}
    assert whole_hash(images) == "3e90e15fd5b0"
    assert images.data_hash == "8b3549663c9a"
    assert load(seed=5).data_hash == images.data_hash
    assert (
        len({bytes(image) for image in np.concatenate([images.train.images, images.validation.images])})
        > 14_990
    )


def test_the_embedded_file_is_small_and_licensed() -> None:
    assert data_file(EMBEDDED).stat().st_size < 10_000_000
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
        "x_test": rng.integers(0, 256, (5_200, 3, 3), dtype=np.uint8),
        "y_test": np.arange(5_200) % 10,
    }
    np.savez(tmp_path / "whole.npz", **whole)  # type: ignore[arg-type]
    made = []
    for name in ("a.npz", "b.npz"):
        script = [sys.executable, ROOT / "scripts" / "make_embedded.py", "--data", tmp_path / "whole.npz"]
        subprocess.run([*script, "--out", tmp_path / name], check=True, capture_output=True)
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    images = load(f"npz:{tmp_path}/a.npz")
    assert [len(part) for part in images.splits.values()] == [10_000, 5_000, 5_000]
    official = {bytes(image) for image in whole["x_train"]}
    assert all(bytes(image) in official for image in images.validation.images[:100, ..., 0])


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'sklearn', 'pandas', 'PIL', 'psutil'}"
    code = f"import sys, cpmodel.datasets; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
