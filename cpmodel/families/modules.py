"""Torch modules that families share; imported only where a network is built."""

from __future__ import annotations

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
