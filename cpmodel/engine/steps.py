"""The steps of a training: a batch, its gradient, the optimiser; one after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cpmodel.engine.augment import augmented
from cpmodel.engine.base import Engine
from cpmodel.engine.optimizers import optimizer_of
from cpmodel.recipe import Recipe

After = Callable[[int], None]
"""Called after each step with its number in the epoch, the first being 0."""
Ready = Callable[[], bool]
"""Whether a device has done what was queued; until then there is no use in going on, but no harm either."""


class Lesson(NamedTuple):
    """What a training learns from."""

    images: Tensor  # uint8, shape (n, c, h, w), channels last in memory
    labels: Tensor  # int64, shape (n,)
    recipe: Recipe
    rates: list[float]  # of each step of the whole training
    batch: int  # images a step
    seed: int

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch: of one pass over the images, unless the recipe has steps of its own."""
        steps, epochs = self.recipe.steps, self.recipe.epochs
        return len(self.images) // self.batch if steps is None else steps // epochs


def nothing(step: int) -> None:
    """An `After` that does nothing."""


class Steps(ABC):
    """Goes through the steps of one training, epoch after epoch."""

    loss: Tensor
    """Sum of the losses of the epoch, shape ()."""
    factor: float = 1.0
    """What the learning rates of the epochs to come are multiplied by."""
    captured: bool = False
    """Whether steps are replayed from a graph."""

    @abstractmethod
    def epoch(self, order: Tensor, generator: torch.Generator) -> Iterator[Ready]:
        """Train for one epoch; it stops now and then, where others may have their turn.

        The numbers of the images to be seen, int64, are on the processor, a batch for each step; the
        generator draws augmentations.
        """


class HostSteps(Steps):
    """Steps that the processor both decides and computes."""

    def __init__(self, engine: Engine, network: nn.Module, lesson: Lesson, after: After = nothing) -> None:
        self._engine, self._lesson, self._after = engine, lesson, after
        self._optimizer = optimizer_of(network, lesson.recipe)
        self._rates, self._epochs = iter(lesson.rates), 0

    def epoch(self, order: Tensor, generator: torch.Generator) -> Iterator[Ready]:
        """See `Steps.epoch`; goes through without a stop."""
        images, labels, recipe, _, batch, seed = self._lesson
        self.loss = torch.zeros(())
        with torch.random.fork_rng(devices=[]):
            # a network that draws random numbers of its own gets the same ones whatever was drawn before
            torch.manual_seed(seed + (self._epochs << 32))
            for step in range(self._lesson.per_epoch):
                rows = order[step * batch : (step + 1) * batch]
                for group in self._optimizer.param_groups:
                    group["lr"] = next(self._rates) * self.factor
                seen = augmented(images[rows], recipe, generator)
                self.loss += self._engine.backpropagate(seen, labels[rows], recipe.label_smoothing)
                self._optimizer.step()
                self._after(step)
        self._epochs += 1
        yield from ()
