"""NumPy archives: ``x_train``, ``y_train`` and the like, never pickled objects."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import cast

import numpy as np

from cpmodel.datasets.arrays import Array, as_images, as_labels, require_memory
from cpmodel.datasets.base import Split
from cpmodel.datasets.loaded import Loaded, Request
from cpmodel.errors import DatasetError

# how each part's arrays may be called, after x_ and y_; plain x and y are one part, to be split
PARTS = {"train": ("train", ""), "validation": ("val", "valid", "validation"), "test": ("test",)}


def read(request: Request) -> Loaded:
    """The source ``npz:PATH``."""
    return load_npz(cast(Path, request.path))


def load_npz(path: Path) -> Loaded:
    """The parts that the archive holds: x_train and y_train (or x and y), perhaps x_val, x_test, class_names.

    Raises
    ------
    DatasetError
        No such file, not a whole npz, pickled objects, arrays missing or of different lengths, or arrays that
        are no images or labels.
    """
    where = str(path)
    arrays = _read_arrays(path)
    found: dict[str, str] = {}  # part to the end of its arrays' names
    for part, suffixes in PARTS.items():
        names = [suffix and f"_{suffix}" for suffix in suffixes]
        present = [name for name in names if f"x{name}" in arrays or f"y{name}" in arrays]
        if len(present) > 1:
            raise DatasetError(
                f"{part} images",
                expected="one array",
                got=" and ".join("x" + name for name in present),
                where=where,
            )
        if present:
            found[part] = present[0]
    if "train" not in found:
        raise DatasetError(
            "arrays",
            expected="x_train and y_train (or x and y)",
            got=", ".join(sorted(arrays)) or "none of them",
            where=where,
        )
    for suffix in found.values():
        _require_pair(arrays, f"x{suffix}", f"y{suffix}", where)
    class_names = [str(name) for name in arrays["class_names"].ravel()] if "class_names" in arrays else None
    images, notes = as_images({f"x{suffix}": arrays[f"x{suffix}"] for suffix in found.values()}, where)
    labels, classes = as_labels(
        {f"y{suffix}": arrays[f"y{suffix}"] for suffix in found.values()}, class_names, where
    )
    parts = {part: Split(images[f"x{suffix}"], labels[f"y{suffix}"]) for part, suffix in found.items()}
    return Loaded(parts, classes, tuple(notes))


def _require_pair(arrays: dict[str, Array], x: str, y: str, where: str) -> None:
    for name, other in ((x, y), (y, x)):
        if name not in arrays:
            raise DatasetError(f"array '{name}'", expected=f"one beside '{other}'", got="none", where=where)
    if arrays[x].ndim == 0 or arrays[y].ndim == 0 or len(arrays[x]) != len(arrays[y]):
        raise DatasetError(
            f"arrays '{x}' and '{y}'",
            expected="the same length",
            got=f"shapes {arrays[x].shape} and {arrays[y].shape}",
            where=where,
        )


def _read_arrays(path: Path) -> dict[str, Array]:
    where = str(path)
    suffixes = ["_" + name if name else "" for names in PARTS.values() for name in names]
    wanted = {"class_names", *(axis + suffix for suffix in suffixes for axis in "xy")}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            chosen = {name: info for name, info in members.items() if name in wanted}
            # a small archive can unpack to any size; the sizes are in its table of contents
            require_memory(sum(info.file_size for info in chosen.values()), "arrays", where)
            arrays = {}
            for name, info in chosen.items():
                with archive.open(info) as stream:
                    arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
            return arrays
    except DatasetError:
        raise
    except zipfile.BadZipFile as error:
        raise DatasetError(
            "not a NumPy archive, or not all of one", expected="a whole .npz file", where=where
        ) from error
    except ValueError as error:
        if "pickle" in str(error):
            raise DatasetError(
                "an array holds pickled objects",
                expected="numbers (object arrays are never loaded)",
                where=where,
            ) from error
        raise DatasetError(f"broken array: {error}", where=where) from error
    except (EOFError, zlib.error, MemoryError, NotImplementedError, RuntimeError) as error:
        raise DatasetError(f"broken archive: {error}", where=where) from error
    except OSError as error:
        raise DatasetError(f"cannot read: {error.strerror or error}", where=where) from error
