"""Small image sets, made on the spot."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

Files = Mapping[str, bytes]


def picture(
    seed: int = 0, size: tuple[int, int] = (8, 8), mode: str = "RGB", form: str = "PNG", **save: object
) -> bytes:
    """An image file of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, form, **save)
    return stream.getvalue()


def write_files(top: Path, files: Files) -> Path:
    for name, content in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)
    return top


def write_tar(path: Path, files: Files, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def class_files(counts: Mapping[str, int], prefix: str = "", **options: object) -> dict[str, bytes]:
    """So many different pictures in each class folder."""
    return {
        f"{prefix}{name}/{index}.png": picture(hash_of(prefix, name, index), **options)  # type: ignore[arg-type]
        for name, count in counts.items()
        for index in range(count)
    }


def hash_of(*parts: object) -> int:
    return int.from_bytes(repr(parts).encode()[:40], "big") % 2**32
