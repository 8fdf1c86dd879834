"""Torch modules that families share; imported only where a network is built."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class EvenConv2d(nn.Conv2d):
    """A convolution of f_in maps to f_out with an even kernel, whose output is as large as its input.

    The same function as ``nn.Conv2d(..., padding="same")``: (k - 1) // 2 zeros come before, one more after.
    """

    def __init__(self, f_in: int, f_out: int, k: int, *, bias: bool) -> None:
        super().__init__(f_in, f_out, k, padding=(k - 1) // 2, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Shape (n, f_in, h, w) to (n, f_out, h, w)."""
        return super().forward(functional.pad(input, (0, 1, 0, 1)))


def same_conv(f_in: int, f_out: int, k: int, *, bias: bool) -> nn.Conv2d:
    """A k x k convolution, stride 1, whose output is as large as its input; k odd or even."""
    if k % 2:
        return nn.Conv2d(f_in, f_out, k, padding=k // 2, bias=bias)
    return EvenConv2d(f_in, f_out, k, bias=bias)


class Fire(nn.Module):
    """Squeeze f_in maps to fewer by 1 x 1 filters, expand them by 1 x 1 and by 3 x 3 ones, each with ReLU."""

    def __init__(self, f_in: int, squeezed: int, f_1x1: int, f_3x3: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(f_in, squeezed, 1)
        if f_1x1:
            self.expand1 = nn.Conv2d(squeezed, f_1x1, 1)
        if f_3x3:
            self.expand3 = nn.Conv2d(squeezed, f_3x3, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Shape (n, f_in, h, w) to (n, f_1x1 + f_3x3, h, w), the 1 x 1 filters' maps first."""
        squeezed = functional.relu(self.squeeze(maps))
        expand = [layer for name, layer in self.named_children() if name != "squeeze"]
        return functional.relu(torch.cat([layer(squeezed) for layer in expand], dim=1))


class InvertedResidual(nn.Module):
    """Expand maps by 1 x 1 filters, filter each, project them by 1 x 1 filters; batch norm follows each step.

    ReLU6 follows the first two. The input is added where the output is as large. Without an expansion the
    first filters are left out.
    """

    def __init__(self, f_in: int, expansion: int, f_out: int, stride: int) -> None:
        super().__init__()
        inner = f_in * expansion
        if expansion != 1:
            self.expand = nn.Conv2d(f_in, inner, 1, bias=False)
            self.expand_norm = nn.BatchNorm2d(inner)
        self.depth = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=inner, bias=False)
        self.depth_norm = nn.BatchNorm2d(inner)
        self.project = nn.Conv2d(inner, f_out, 1, bias=False)
        self.project_norm = nn.BatchNorm2d(f_out)
        self.expanded, self.added = expansion != 1, stride == 1 and f_in == f_out

    def forward(self, maps: Tensor) -> Tensor:
        """Shape (n, f_in, h, w) to (n, f_out, h / stride, w / stride), rounded up."""
        inner = functional.relu6(self.expand_norm(self.expand(maps))) if self.expanded else maps
        inner = functional.relu6(self.depth_norm(self.depth(inner)))
        projected: Tensor = self.project_norm(self.project(inner))
        return maps + projected if self.added else projected
