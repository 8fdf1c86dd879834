"""The optimiser that a recipe names."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cpmodel.recipe import Recipe


def optimizer_of(network: nn.Module, recipe: Recipe, rate: Tensor | None = None) -> torch.optim.Optimizer:
    """The recipe's optimiser for what can be trained of `network`.

    The learning rate may be a tensor, float32, shape (), whose content changes; on a GPU all of the
    optimiser's state is then kept there, so that its step can be captured.
    """
    parameters, momentum = [p for p in network.parameters() if p.requires_grad], recipe.momentum
    adam: dict[str, Any] = {"betas": (momentum, 0.999)}
    kinds: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
        "adam": (torch.optim.Adam, {**adam, "fused": True}),
        "adamw": (torch.optim.AdamW, {**adam, "fused": True}),
        "nadam": (torch.optim.NAdam, adam),
        "radam": (torch.optim.RAdam, adam),
        "rmsprop": (torch.optim.RMSprop, {"momentum": momentum}),
        "adadelta": (torch.optim.Adadelta, {}),
        "sgd": (torch.optim.SGD, {"momentum": momentum, "nesterov": momentum > 0, "fused": True}),
    }
    make, options = kinds[recipe.optimizer]
    # the state of SGD, its momentum, always lies where the parameters do
    if rate is not None and rate.is_cuda and make is not torch.optim.SGD:
        options = {**options, "capturable": True}
    lr = recipe.learning_rate if rate is None else rate
    return make(parameters, lr=lr, weight_decay=recipe.weight_decay, **options)  # type: ignore[call-arg]
