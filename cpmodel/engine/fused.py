"""Networks with the fewest passes over memory, on one CPU thread.

The convolutions are torch's (oneDNN's), in the layout and type in which they are fastest; everything between
them is in `kernels`. Gradients are written out by hand: a step is a short list of calls, with no graph.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from cpmodel.engine import kernels
from cpmodel.engine.base import Engine, Normalisation
from cpmodel.engine.modules import breaks
from cpmodel.engine.operations import Operation, array, bordered, broken, run, run_back
from cpmodel.engine.reading import read

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class FusedEngine(Engine):
    """Executes a chain of the modules that it knows, the first a convolution, and what comes out flat."""

    def __init__(self, operations: tuple[Operation, ...], normalisation: Normalisation, dtype: str) -> None:
        self._operations, self._dtype = operations, _DTYPES[dtype]
        mean, factor = (torch.tensor(v) for v in normalisation)
        self._table = ((torch.arange(256)[:, None] - mean) * factor).to(self._dtype)

    @classmethod
    def of(cls, network: nn.Module, normalisation: Normalisation, dtype: str = "float32") -> Self | None:
        """The engine of `network`, whose tensors it shares; None if it cannot execute something in it."""
        operations = read(network)
        cannot = any(isinstance(module, nn.Conv2d) and breaks(module) for module in network.modules())
        return None if operations is None or cannot else cls(operations, normalisation, dtype)

    def backpropagate(self, images: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """See `Engine.backpropagate`."""
        with torch.no_grad():
            x, passes = run(self._operations, self._input(images), True)
            logits = x.flatten(1)
            gradient = torch.empty_like(logits)
            loss = kernels.cross_entropy(array(logits), labels.numpy(), smoothing, array(gradient))
            run_back(self._operations, passes, gradient[:, None, None], True)
            lost = broken(self._operations, passes)
        return torch.tensor(np.nan if lost else loss)

    def logits(self, images: Tensor) -> Tensor:
        """See `Engine.logits`."""
        with torch.inference_mode():
            x, _ = run(self._operations, self._input(images), False)
            return x.flatten(1).float()

    def _input(self, images: Tensor) -> Tensor:
        """uint8, shape (n, c, h, w) -> what the first convolution reads, shape (n, h, w, c)."""
        n, c, h, w = images.shape
        x = bordered(torch.empty((n, h, w, c), dtype=self._dtype), self._operations[0].border)
        pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
        kernels.looked_up(pixels, array(self._table), array(x))
        return x
