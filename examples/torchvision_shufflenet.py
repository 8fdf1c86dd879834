"""A torchvision model of several sizes: ``cpmodel run --family examples/torchvision_shufflenet.py:build``."""

from typing import Literal

from torch import nn
from torchvision.models import ShuffleNetV2


def build(
    width: Literal[8, 16, 32, 48],
    repeats: Literal[1, 2, 4],
    size: Literal[32, 64],
    *,
    channels: int,
    classes: int,
) -> nn.Module:
    """ShuffleNetV2 with three stages, each twice as wide as the one before."""
    stages = [24, width, 2 * width, 4 * width, 8 * width]
    network = ShuffleNetV2([repeats, 2 * repeats, repeats], stages, num_classes=classes)
    network.conv1[0] = nn.Conv2d(channels, 24, 3, stride=2, padding=1, bias=False)
    return network
