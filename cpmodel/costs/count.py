"""Complexity of a built network, counted: a check on what families compute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


def count(network: nn.Module, input_shape: Sequence[int]) -> dict[str, int]:
    """Complexity of a built network, counted layer by layer: a check on `Family.costs`, same columns.

    The network is copied to torch's meta device, so nothing is computed and it stays as it is. Convolutions,
    poolings and dense layers must be modules (not functions) to be seen.

    Parameters
    ----------
    input_shape : sequence of int
        Of one image: (channels, height, width).
    """
    import copy

    import torch
    from torch import nn
    from torch.nn.modules import pooling

    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    poolings = tuple(
        getattr(pooling, name)
        for name in ("_MaxPoolNd", "_AvgPoolNd", "_AdaptiveMaxPoolNd", "_AdaptiveAvgPoolNd")
    )
    totals = dict.fromkeys(
        ("conv_macs", "dense_macs", "activation_elements", "activation_peak_elements", "layers"), 0
    )

    def seen(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(layer, convolutions):
            fan_in = layer.in_channels // layer.groups * math.prod(layer.kernel_size)
            totals["conv_macs"] += output.numel() * fan_in
            totals["layers"] += 1
        elif isinstance(layer, nn.Linear):
            totals["dense_macs"] += output.numel() * layer.in_features
            totals["layers"] += 1
        totals["activation_elements"] += output.numel()
        both = inputs[0].numel() + output.numel()
        totals["activation_peak_elements"] = max(totals["activation_peak_elements"], both)

    ghost = copy.deepcopy(network).to("meta").eval()
    for module in ghost.modules():
        if isinstance(module, (*convolutions, *poolings, nn.Linear)):
            module.register_forward_hook(seen)
    with torch.no_grad():
        ghost(torch.empty((1, *input_shape), device="meta"))
    weights = [*ghost.parameters(), *ghost.buffers()]
    return {
        "macs": totals["conv_macs"] + totals["dense_macs"],
        **totals,
        "params": sum(p.numel() for p in ghost.parameters() if p.requires_grad),
        "weight_bytes": sum(w.numel() * w.element_size() for w in weights),
    }
