"""Any network, executed as torch modules with autograd."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpmodel.engine.base import Engine, Normalisation


class ModulesEngine(Engine):
    """Executes a network, which is shared, module by module; in bfloat16 as torch's autocast does.

    The gradient of a batch is summed over its parts, one after another; batch norm then sees parts only.
    """

    def __init__(
        self,
        network: nn.Module,
        normalisation: Normalisation,
        dtype: str = "float32",
        device: str = "cpu",
        channels_last: bool = True,
        parts: int = 1,
    ) -> None:
        self.network = network.to(device)
        if channels_last:
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in self.network.modules() if device == "cpu" else ():
            if isinstance(module, nn.Conv2d) and breaks(module):
                # its weights are stored anew: two layouts of one pixel are the same numbers, but not to torch
                module.weight.data = module.weight.data.clone(memory_format=torch.contiguous_format)
                module.register_forward_pre_hook(_contiguous)
        self._last = channels_last and device != "cpu"
        self._kind, self._half, self._parts = device.partition(":")[0], dtype == "bfloat16", parts
        self._mean, self._factor = (torch.tensor(v, device=device).view(1, -1, 1, 1) for v in normalisation)

    def backpropagate(self, images: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """See `Engine.backpropagate`."""
        self.network.train()
        self.network.zero_grad(set_to_none=True)
        parts = zip(images.chunk(self._parts), labels.chunk(self._parts), strict=True)
        losses = [self._part(some, theirs, smoothing, len(some) / len(images)) for some, theirs in parts]
        return sum(losses[1:], losses[0])

    def _part(self, images: Tensor, labels: Tensor, smoothing: float, share: float) -> Tensor:
        """Add a part's share of the gradient; returns its share of the loss."""
        loss = F.cross_entropy(self._forward(images), labels, label_smoothing=smoothing)
        if share < 1:
            loss = loss * share
        torch.autograd.backward(loss)
        return loss.detach()

    def logits(self, images: Tensor) -> Tensor:
        """See `Engine.logits`."""
        self.network.eval()
        with torch.inference_mode():
            return self._forward(images)

    def _forward(self, images: Tensor) -> Tensor:
        x = images.float().sub_(self._mean).mul_(self._factor)
        if self._last and x.shape[1] == 1:
            # one channel lies in memory as both layouts have it, and torch would take it for the other
            x = x.as_strided(x.shape, (x[0].numel(), 1, x.shape[3], 1))
        with torch.autocast(self._kind, dtype=torch.bfloat16, enabled=self._half):
            logits: Tensor = self.network(x)
        return logits.float()


def breaks(convolution: nn.Conv2d) -> bool:
    """Whether torch 2.13 writes beyond its memory where it trains a convolution with channels last.

    On a processor it does so for 1 x 1 kernels that skip pixels of fewer than 8 channels.
    """
    alone = set(convolution.kernel_size) == {1} and set(convolution.stride) != {1}
    return alone and convolution.in_channels // convolution.groups < 8


def _contiguous(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The maps that a layer takes, one channel after the other."""
    return tuple(maps.clone(memory_format=torch.contiguous_format) for maps in given)
