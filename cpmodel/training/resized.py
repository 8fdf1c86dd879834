"""The images of a set in the sizes that networks ask for, kept between trainings."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cpmodel.datasets.base import ImageSet
from cpmodel.files import replacing
from cpmodel.locks import locked

RESIZED_BYTES = 1_500_000_000  # resized image sets kept at once; a study asks for the same few sizes again
_PIECE = 250  # images resized at one time


class Resized:
    """Splits of an image set, resized (antialiased) and put on a device once.

    In the folder `cache` they are made once, then mapped into memory and shared by all processes that train;
    without it they stay in this process.
    """

    def __init__(self, images: ImageSet, device: str, cache: Path | None = None) -> None:
        self._images, self._device, self._cache = images, device, cache
        self._kept: OrderedDict[tuple[str, int, int], Tensor] = OrderedDict()

    def split(self, name: str, size: tuple[int, int]) -> Tensor:
        """The images of a split: uint8, shape (n, c, *size), channels last in memory."""
        key = (name, *size)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        resized = self._made(name, size).to(self._device)
        self._kept[key] = resized
        while len(self._kept) > 1 and self.bytes > RESIZED_BYTES:
            self._kept.popitem(last=False)
        return resized

    @property
    def bytes(self) -> int:
        """Memory that they take, which all trainings share."""
        return sum(images.numel() for images in self._kept.values())

    def _made(self, name: str, size: tuple[int, int]) -> Tensor:
        source = torch.from_numpy(self._images.splits[name].images).permute(0, 3, 1, 2)
        if self._cache is None or source.shape[2:] == size:
            return resize(source, size)
        path = self._cache / f"{name}_{size[0]}x{size[1]}.npy"
        with locked(path.with_suffix(".lock")):
            if not path.exists():
                with replacing(path) as temporary, temporary.open("wb") as file:
                    np.save(file, resize(source, size).permute(0, 2, 3, 1).numpy(), allow_pickle=False)
        # copy-on-write: torch wants arrays it could write to; nobody does, so the pages stay shared
        return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False)).permute(0, 3, 1, 2)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Antialiased bilinear resize of uint8, shape (n, c, h, w), to (n, c, *size), channels last in memory."""
    if images.shape[2:] == size:
        return images.contiguous(memory_format=torch.channels_last)
    chunks = [
        F.interpolate(chunk.float(), size, mode="bilinear", antialias=True)
        .round_()
        .clamp_(0, 255)
        .to(torch.uint8)
        for chunk in pieces(images, _PIECE)
    ]
    return torch.cat(chunks).contiguous(memory_format=torch.channels_last)


def pieces(images: Tensor, size: int) -> Iterator[Tensor]:
    """Pieces small enough that what is computed of them needs little memory."""
    for start in range(0, len(images), size):
        yield images[start : start + size]
