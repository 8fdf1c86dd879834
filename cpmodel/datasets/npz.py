"""Arrays as files and packages hold them: NumPy archives, never pickled objects, and what needs no file."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

import cpmodel
from cpmodel.datasets.arrays import Array, located, require_memory
from cpmodel.datasets.base import Split
from cpmodel.datasets.loaded import PARTS, Loaded, Request, parts_of
from cpmodel.errors import DatasetError

EMBEDDED = "fashion_mnist_25k.npz"
EARLIER = 5_000  # how many of its test images, the first ones, were all that the set had at first


def read(request: Request) -> Loaded:
    """The source ``npz:PATH``."""
    return load_npz(cast(Path, request.path))


def load_npz(path: Path) -> Loaded:
    """The parts that the archive holds, by the names of its arrays: see `parts_of`."""
    with located(str(path)):
        return parts_of(_read_arrays(path))


def _read_arrays(path: Path) -> dict[str, Array]:
    ends = [end for suffixes in PARTS.values() for end in suffixes]
    wanted = {"class_names", *(f"{axis}{end}" for end in ends for axis in "xy")}
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            chosen = {name: info for name, info in members.items() if name in wanted}
            # a small archive can unpack to any size; the sizes are in its table of contents
            require_memory(sum(info.file_size for info in chosen.values()), "arrays")
            for name, info in chosen.items():
                with archive.open(info) as stream:
                    arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
    except DatasetError:
        raise
    except zipfile.BadZipFile as error:
        what = "not a NumPy archive, or not all of one"
        raise DatasetError(what, expected="a whole .npz file") from error
    except (ValueError, EOFError, zlib.error, MemoryError, NotImplementedError, RuntimeError) as error:
        if "pickle" in str(error):
            expected = "numbers (object arrays are never loaded)"
            raise DatasetError("an array holds pickled objects", expected=expected) from error
        raise DatasetError(f"broken archive: {error}") from error
    except OSError as error:
        raise DatasetError(f"cannot read: {error.strerror or error}") from error
    return arrays


def data_file(name: str) -> Path:
    """A file of the top-level folder ``data/``, which the wheel carries as ``cpmodel/data/``."""
    package = Path(cpmodel.__file__).parent
    for folder in (package / "data", package.parent / "data"):
        if (folder / name).is_file():
            return folder / name
    where = str(package / "data" / name)
    raise DatasetError("missing from this installation: install cpmodel again", where=where)


def embedded(request: Request) -> Loaded:
    """10,000 / 5,000 / 10,000 images of Fashion-MNIST, drawn by `scripts/make_embedded.py`."""
    loaded = load_npz(data_file(EMBEDDED))
    test = loaded.parts["test"]
    return replace(loaded, earlier=(Split(test.images[:EARLIER], test.labels[:EARLIER]),))


def digits(request: Request) -> Loaded:
    """Scikit-learn's digits: 1,797 of 8x8, gray values 0..16 brought to 0..255."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    names = tuple(str(name) for name in bunch.target_names)
    train = Split(images, bunch.target.astype(np.int64))
    return Loaded({"train": train}, names, ("values 0..16 scaled to 0..255",), mirrored_alike=False)
