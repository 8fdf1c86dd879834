"""NumPy archives: ``x_train``, ``y_train`` and the like, never pickled objects."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import cast

import numpy as np

from cpmodel.datasets.arrays import Array, located, require_memory
from cpmodel.datasets.loaded import PARTS, Loaded, Request, parts_of
from cpmodel.errors import DatasetError


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
