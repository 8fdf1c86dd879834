"""Arrays of images and labels as other programs write them, made into the one form used here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cpmodel.errors import BadInputError, DatasetError

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Array = NDArray[Any]  # as a file holds it: any type, any shape

BLOCK = 4096  # images converted at one time, so that no wider copy of a whole array is made


@contextmanager
def located(where: str) -> Iterator[None]:
    """Errors are those of images, and say that they come from there."""
    try:
        yield
    except BadInputError as error:
        raise DatasetError(str(error), where=where) from error


def require_memory(n_bytes: int, what: str, advice: str = "") -> None:
    """Refuse before the memory is taken, not when the machine is on its knees."""
    import psutil

    free = int(psutil.virtual_memory().available)
    if n_bytes > free:
        expected = "at most what is free" + (f" ({advice})" if advice else "")
        what = f"{what} need {n_bytes / 1e9:.1f} GB in memory"
        raise DatasetError(what, expected=expected, got=f"{free / 1e9:.1f} GB")


def _blocks(array: Array) -> Iterator[slice]:
    for start in range(0, len(array), BLOCK):
        yield slice(start, start + BLOCK)


def as_images(arrays: Mapping[str, Array]) -> tuple[dict[str, Images], list[str]]:
    """Arrays of images as uint8, shape (n, height, width, channels), and notes on what was done.

    Gray ones may be (n, h, w), (n, h, w, 1) or (n, 1, h, w), those in colour (n, h, w, 3) or (n, 3, h, w);
    values 0..255, or 0..1 (when nothing exceeds 1), or 16 bits (integers above 255), alike in all arrays.
    """
    for name, array in arrays.items():
        _check_numbers(array, name)
    scale, scaled = _scale(arrays)
    notes, images = [scaled], {}
    for name, array in arrays.items():
        laid, moved = _channels_last(array, name)
        notes.append(moved)
        if laid.dtype == np.uint8 and scale == 1:
            images[name] = np.ascontiguousarray(laid)
        else:
            images[name] = np.empty(laid.shape, dtype=np.uint8)
            for rows in _blocks(laid):
                images[name][rows] = np.rint(laid[rows] * scale)
    return images, [note for note in dict.fromkeys(notes) if note]


def _check_numbers(array: Array, name: str) -> None:
    if array.dtype.kind not in "buif":
        raise DatasetError(f"array '{name}'", expected="numbers", got=f"dtype {array.dtype}")
    if array.ndim not in (3, 4) or 0 in array.shape[1:]:
        expected = "images of shape (n, height, width) or (n, height, width, 1 or 3)"
        raise DatasetError(f"array '{name}'", expected=expected, got=f"shape {array.shape}")
    if len(array) == 0:
        raise DatasetError(f"array '{name}'", expected="at least one image", got="none")
    if array.dtype.kind == "f":
        for rows in _blocks(array):
            wrong = ~np.isfinite(array[rows]).all(axis=tuple(range(1, array.ndim)))
            if wrong.any():
                image = f"array '{name}', image {rows.start + int(wrong.argmax())}"
                raise DatasetError(image, expected="finite numbers", got="NaN or infinity")


def _scale(arrays: Mapping[str, Array]) -> tuple[float, str]:
    """What the values are multiplied by to lie in 0..255, from the range of all arrays together; a note."""
    low = min(float(array.min()) for array in arrays.values())
    high = max(float(array.max()) for array in arrays.values())
    whole = all(array.dtype.kind in "bui" for array in arrays.values())
    if low >= 0 and high <= 1:
        return 255.0, "values 0..1 scaled to 0..255"
    if low >= 0 and high <= 255:
        return 1.0, "" if whole else "values 0..255 rounded to whole numbers"
    if low >= 0 and high <= 65535 and whole:
        return 255 / 65535, "16-bit values scaled to 0..255"
    expected = "0..1 or 0..255 (or whole numbers of 16 bits)"
    raise DatasetError("image values", expected=expected, got=f"{low:g}..{high:g}")


def _channels_last(array: Array, name: str) -> tuple[Array, str]:
    if array.ndim == 3:
        return array[..., None], ""
    if array.shape[3] in (1, 3):
        return array, ""
    if array.shape[1] in (1, 3):
        return np.moveaxis(array, 1, 3), "channels moved from the first to the last axis of each image"
    expected = "1 or 3 channels on the last axis"
    raise DatasetError(f"array '{name}'", expected=expected, got=f"shape {array.shape}")


def as_labels(
    arrays: Mapping[str, Array], class_names: Sequence[str] | None
) -> tuple[dict[str, Labels], tuple[str, ...]]:
    """Labels as positions in the class names; without given names, the values that occur are the classes.

    They are whole numbers or texts of shape (n,) or (n, 1); with given names, positions in them.
    """
    flat = {name: _flat_labels(array, name) for name, array in arrays.items()}
    if len({values.dtype.kind for values in flat.values()}) > 1:
        raise DatasetError("labels", expected="all whole numbers or all text", got="both")
    values = np.unique(np.concatenate(list(flat.values())))
    if class_names is None:
        if len(values) < 2:
            raise DatasetError("labels", expected="two or more classes", got=f"only {values[0]}")
        positions = {name: np.searchsorted(values, array).astype(np.int64) for name, array in flat.items()}
        return positions, tuple(str(value) for value in values)
    if values.dtype.kind != "i" or values[0] < 0 or values[-1] >= len(class_names):
        expected = f"0 to {len(class_names) - 1}, positions in class_names"
        raise DatasetError("labels", expected=expected, got=f"{values[0]} to {values[-1]}")
    return flat, tuple(class_names)


def _flat_labels(array: Array, name: str) -> Array:
    """One label an image: int64, or text."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        hint = " (one-hot? use y.argmax(axis=1))" if array.ndim == 2 else ""
        got = f"shape {array.shape}{hint}"
        raise DatasetError(f"array '{name}'", expected="one label an image, shape (n,)", got=got)
    if array.dtype.kind in "US":
        return array.astype(np.str_)
    if array.dtype.kind == "f":
        wrong = ~np.isfinite(array) | (array != np.floor(array)) | (np.abs(array) >= 2**53)
        if wrong.any():
            row = int(wrong.argmax())
            raise DatasetError(f"array '{name}', row {row}", expected="a whole number", got=float(array[row]))
    elif array.dtype.kind not in "bui":
        raise DatasetError(f"array '{name}'", expected="whole numbers or text", got=f"dtype {array.dtype}")
    return array.astype(np.int64)


def with_channels(images: Images, channels: int | None) -> Images:
    """Images with 1 (gray, by ITU-R 601 luma, as Pillow) or 3 channels (gray repeated); None keeps them."""
    if channels is None or images.shape[3] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=3)
    gray = np.empty((*images.shape[:3], 1), dtype=np.uint8)
    weights = np.array([19595, 38470, 7471], dtype=np.uint32)  # of 65536
    for rows in _blocks(images):
        gray[rows, ..., 0] = (images[rows].astype(np.uint32) @ weights + 0x8000) >> 16
    return gray
