"""The mean of a network's weights over the latter half of an epoch: what a falling learning rate would leave.

While the rate is high, weights wander about where they will settle, and the precision of any one moment says
little of the last. Their mean lies near that place already.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SNAPSHOTS = 6  # of a half epoch; more are no better, and small networks would feel them


class Average:
    """Keeps the mean of a network's parameters and running statistics, whose tensors must stay the same."""

    def __init__(self, network: nn.Module, steps: int) -> None:
        self._live: list[Tensor] = [t for t in network.state_dict().values() if t.is_floating_point()]
        self._mean = [t.clone() for t in self._live]
        self._steps, self._every = steps, max(1, steps // (2 * SNAPSHOTS))
        self._count = 0

    def after(self, step: int) -> None:
        """Take part in an epoch after the step of this number, the first being 0."""
        left = self._steps - 1 - step
        if step == 0:
            self._count = 0
        if 2 * left < self._steps and left % self._every == 0:
            self._count += 1
            torch._foreach_lerp_(self._mean, self._live, 1.0 / self._count)

    def exchange(self) -> None:
        """Put the mean into the network, or its own weights back; no bit of either changes."""
        kept = [t.clone() for t in self._live]
        torch._foreach_copy_(self._live, self._mean)
        torch._foreach_copy_(self._mean, kept)
