"""A timm model of several sizes: ``cpmodel run --family examples/timm_resnet.py:build``."""

from typing import Literal

import timm
from torch import nn


def build(
    width: Literal[8, 16, 32], blocks: Literal[1, 2], size: Literal[32, 64], *, channels: int, classes: int
) -> nn.Module:
    """ResNet with basic blocks, its four stages 1, 2, 4 and 8 times as wide."""
    return timm.create_model(
        "resnet18",
        in_chans=channels,
        num_classes=classes,
        layers=(blocks,) * 4,
        channels=(width, 2 * width, 4 * width, 8 * width),
        stem_width=width,
    )
