"""The optimiser that a recipe names."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cpmodel.errors import BadInputError
from cpmodel.recipe import Recipe


def optimizer_of(network: nn.Module, recipe: Recipe, rate: Tensor | None = None) -> torch.optim.Optimizer:
    """The recipe's optimiser for what can be trained of `network`.

    The learning rate may be a tensor, float32, shape (), whose content changes; on a GPU all of the
    optimiser's state is then kept there, so that its step can be captured.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    decay, betas = recipe.weight_decay, (recipe.momentum, 0.999)
    lr: Any = recipe.learning_rate if rate is None else rate
    kept: dict[str, Any] = {"capturable": True} if rate is not None and rate.is_cuda else {}
    match recipe.optimizer:
        case "adam":
            return torch.optim.Adam(parameters, lr, betas, weight_decay=decay, fused=True, **kept)
        case "adamw":
            return torch.optim.AdamW(parameters, lr, betas, weight_decay=decay, fused=True, **kept)
        case "nadam":
            return torch.optim.NAdam(parameters, lr, betas, weight_decay=decay, **kept)
        case "radam":
            return torch.optim.RAdam(parameters, lr, betas, weight_decay=decay, **kept)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, lr, momentum=recipe.momentum, weight_decay=decay, **kept)
        case "adadelta":
            return torch.optim.Adadelta(parameters, lr, weight_decay=decay, **kept)
        case "sgd":  # its state, the momentum, always lies where the parameters do
            return torch.optim.SGD(
                parameters, lr, recipe.momentum, weight_decay=decay, nesterov=recipe.momentum > 0, fused=True
            )
    raise BadInputError("recipe optimizer", got=recipe.optimizer)
