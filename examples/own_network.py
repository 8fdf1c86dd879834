"""A network of one's own as a family: ``cpmodel run --family examples/own_network.py:build``."""

from typing import Literal

from torch import nn


def build(width: Literal[8, 16, 32], depth: Literal[1, 2, 3], *, channels: int, classes: int) -> nn.Module:
    """Depth blocks of a convolution, batch norm, ReLU and pooling, each twice as wide as the one before."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        channels, width = width, 2 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
