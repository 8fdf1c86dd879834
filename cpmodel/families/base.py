"""What a family is: a space of configurations, what each costs, and how to build its network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from numpy.typing import ArrayLike

from cpmodel.cost import Cost
from cpmodel.errors import BadInputError
from cpmodel.families.widths import Width
from cpmodel.space import Configuration, Floats, Space, Value

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Task:
    """What a network is for: the images that come in and the classes that go out.

    Parameters
    ----------
    height, width : int
        Pixels, of the images of the set (a family may resize them).
    channels : int
        1 (gray) or 3 (colour).
    classes : int
    """

    height: int
    width: int
    channels: int
    classes: int

    @property
    def side(self) -> int:
        """The shorter side, pixels."""
        return min(self.height, self.width)


_EFFORT = "macs"  # how long a training takes, where a family computes it


class Family(ABC):
    """A family of networks; a plug-in of the entry point group ``cpmodel.families`` names one.

    Everything but `build` is numpy: a fit or an optimisation over a family never loads torch. Arguments that
    are fixed for all its networks are the fields of a frozen dataclass, each with a default; they are part of
    the family's name, ``convpool?dropout=0.4``.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    # The costs that tell the most of what a network can learn; models of precision see those that there are
    telling: ClassVar[tuple[str, ...]] = ("macs", "params")

    @property
    def code(self) -> str:
        """A digest of what decides its networks beside its name and the release; mostly empty."""
        return ""

    def used_for(self, space: Space, folder: Path | None) -> Family:
        """The family as a study uses it, which has these configurations and a folder for files; itself."""
        return self

    @abstractmethod
    def space(
        self,
        task: Task,
        values: Mapping[str, Sequence[Value]] | None = None,
        baseline: Configuration | None = None,
    ) -> Space:
        """The configurations that can be built for `task`.

        Parameters
        ----------
        values : mapping, optional
            Other values than the default ones for some parameters.
        baseline : mapping, optional
            Another baseline than the default one.

        Raises
        ------
        BadInputError
            A value cannot be built for `task`.
        """

    @abstractmethod
    def input_size(self, configuration: Configuration, task: Task) -> tuple[int, int]:
        """Height and width to which images are resized before they enter the network."""

    @abstractmethod
    def costs(self, X: ArrayLike, task: Task) -> dict[str, Floats]:
        """Exact complexity of each row of X, shape (n, d), for one image: arrays of shape (n,).

        One column or more, of any names. Names that have a meaning wherever they occur: ``macs``,
        ``conv_macs``, ``dense_macs``, ``params`` (trainable), ``weight_bytes`` (float32, buffers included),
        ``activation_elements`` (sum of every layer's output), ``activation_peak_elements`` (largest input
        plus output of one layer), ``layers`` (convolutions and dense ones).
        """

    def cost_kinds(self, task: Task) -> tuple[Cost, ...]:
        """What `costs` computes, in its order; a family gives costs of its own units and labels here."""
        space = self.space(task)
        columns = self.costs(space.matrix([space.baseline]), task)
        if not columns:
            raise BadInputError(f"family {self.name}", expected="one cost or more", got="none")
        return tuple(Cost.called(name) for name in columns)

    def main_cost(self, task: Task) -> str:
        """The name of the cost that is minimised unless another is asked for: ``macs``, else the first."""
        names = [cost.name for cost in self.cost_kinds(task)]
        return _EFFORT if _EFFORT in names else names[0]

    def counted(self, X: ArrayLike, task: Task, tell: Callable[[int, int], None]) -> dict[str, Floats]:
        """As `costs`, where they take time: `tell` hears how many rows are done, and of how many."""
        return self.costs(X, task)

    def refused(self, X: ArrayLike, task: Task) -> dict[int, str]:
        """The rows of X whose networks cannot be built after all, and why; their costs are NaN."""
        return {}

    def effort(self, X: ArrayLike, task: Task) -> Floats:
        """How long a training of each row of X takes, relative to others: shape (n,), any unit."""
        columns = self.costs(X, task)
        return columns[_EFFORT] if _EFFORT in columns else next(iter(columns.values()))

    @abstractmethod
    def build(self, configuration: Configuration, task: Task) -> nn.Module:
        """The untrained network: input (n, channels, *input_size) float, output (n, classes) logits.

        Weights come from torch's global generator, so the caller seeds it. Nothing is moved to a device;
        built under ``torch.device("meta")`` it takes no memory.
        """

    def widths(self, configuration: Configuration, task: Task) -> tuple[Width, ...]:
        """The places of its network that can be narrowed one filter at a time; none unless it says so.

        What is left when filters are taken away is the network of another configuration, whose widths have
        the same names and smaller counts.
        """
        return ()

    def references(self, task: Task) -> dict[str, dict[str, float]]:
        """Costs of well-known networks to compare with, by their names; none unless it says so."""
        return {}
