"""A set of images: three classes, told by where a noisy picture of 8 x 8 pixels is bright."""

from __future__ import annotations

import numpy as np

from cpmodel.datasets import Source, Split
from cpmodel.datasets.loaded import Loaded, Request


def read(request: Request) -> Loaded:
    noise = np.random.default_rng(int(request.options.get("draw", "0")))
    labels = np.arange(480) % 3
    images = noise.integers(0, 90, (480, 8, 8, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[1 + 2 * label : 3 + 2 * label, 1:7] += 100
    return Loaded({"train": Split(images, labels.astype(np.int64))}, ("top", "middle", "bottom"))


BARS = Source("noisy bars at three heights", read, options=("draw",))
