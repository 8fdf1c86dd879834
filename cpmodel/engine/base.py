"""What executes a network: one gradient of a batch, or the logits of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor


class Normalisation(NamedTuple):
    """How pixels, 0 to 255, become what a network sees: (pixel - mean) * factor, one number a channel."""

    mean: tuple[float, ...]
    factor: tuple[float, ...]


class Engine(ABC):
    """Executes one network; parameters, gradients and running statistics stay in the network's tensors."""

    @abstractmethod
    def backpropagate(self, images: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Set the gradient of every parameter, and update running statistics; returns the loss, shape ().

        Images are uint8, shape (n, c, h, w), channels last in memory, labels int64, shape (n,). The loss is
        the mean cross-entropy, nats, with label smoothing in [0, 1).
        """

    @abstractmethod
    def logits(self, images: Tensor) -> Tensor:
        """What the network says in evaluation: float32, shape (n, classes); `images` as above."""
