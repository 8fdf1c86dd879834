"""A family of a plug-in's author: no multiply-accumulates, a cost and a conditional parameter of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from cpmodel.cost import Cost
from cpmodel.families import Family, Task
from cpmodel.space import Condition, Configuration, Floats, Parameter, Space, Value

if TYPE_CHECKING:
    from torch import nn


class Squeezed(Family):
    """A dense network on small images; where it has a second layer, this one has a width."""

    name: ClassVar[str] = "squeezed"
    summary: ClassVar[str] = "one dense layer of w units, or another of v before it"

    def space(
        self,
        task: Task,
        values: Mapping[str, Sequence[Value]] | None = None,
        baseline: Configuration | None = None,
    ) -> Space:
        """Width w, depth l, and the width v of the second layer."""
        space = Space(
            (
                Parameter("w", (2, 4, 8, 16), "units"),
                Parameter("l", (1, 2), "layers"),
                Parameter("v", (2, 4), "units of the second layer", when=Condition("l", (2,))),
            )
        )
        return space.with_values(values or {}, baseline)

    def input_size(self, configuration: Configuration, task: Task) -> tuple[int, int]:
        """Four pixels each way."""
        return 4, 4

    def costs(self, X: ArrayLike, task: Task) -> dict[str, Floats]:
        """The price in cents, and the weights."""
        w, _, v = np.asarray(X, dtype=np.float64).T
        pixels = 16 * task.channels
        first = np.where(np.isnan(v), pixels * w, pixels * np.nan_to_num(v) + np.nan_to_num(v) * w)
        return {"cents": 3 + first / 7, "weights": first + w * task.classes}

    def cost_kinds(self, task: Task) -> tuple[Cost, ...]:
        """The price has a unit, the weights go by their name."""
        return Cost("cents", "ct", "price of a network"), Cost.called("weights")

    def build(self, configuration: Configuration, task: Task) -> nn.Module:
        """Flatten, one or two dense layers without bias, and the classes."""
        from torch import nn

        n_in = 16 * task.channels
        layers: list[nn.Module] = [nn.Flatten()]
        for width in [int(configuration[name]) for name in ("v", "w") if name in configuration]:
            layers += [nn.Linear(n_in, width, bias=False), nn.ReLU()]
            n_in = width
        return nn.Sequential(*layers, nn.Linear(n_in, task.classes, bias=False))
