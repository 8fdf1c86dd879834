"""A family without MACs: one dense layer on averages of stripes, whose cost is its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from cpmodel.cost import Cost
from cpmodel.families import Family, Task
from cpmodel.space import Condition, Configuration, Floats, Parameter, Space, Value


class StripesFamily(Family):
    """T = (rows, hidden, width): averages of `rows` stripes, a hidden layer of `width` if `hidden` is 1."""

    name: ClassVar[str] = "stripes"
    summary: ClassVar[str] = "a dense network on averages of stripes"

    def space(
        self,
        task: Task,
        values: Mapping[str, Sequence[Value]] | None = None,
        baseline: Configuration | None = None,
    ) -> Space:
        own = Space(
            (
                Parameter("rows", (1, 2, 4, 8), "stripes"),
                Parameter("hidden", (0, 1), "hidden layers"),
                Parameter("width", (2, 4, 8, 16), "units", when=Condition("hidden", (1,))),
            )
        )
        return own.with_values(values or {}, baseline)

    def input_size(self, configuration: Configuration, task: Task) -> tuple[int, int]:
        return 8, 8

    def cost_kinds(self, task: Task) -> tuple[Cost, ...]:
        return (Cost("wires", "wires", "wires of the network"), Cost.called("params"))

    def costs(self, X: ArrayLike, task: Task) -> dict[str, Floats]:
        rows, hidden, width = np.asarray(X, dtype=np.float64).reshape(-1, 3).T
        inputs, width = rows * task.channels, np.nan_to_num(width)
        wires = np.where(hidden == 1, width * (inputs + task.classes), inputs * task.classes)
        biases = np.where(hidden == 1, width, 0) + task.classes
        return {"wires": wires, "params": wires + biases}

    def build(self, configuration: Configuration, task: Task):  # type: ignore[no-untyped-def]
        from torch import nn

        rows = int(configuration["rows"])
        layers: list[nn.Module] = [nn.AdaptiveAvgPool2d((rows, 1)), nn.Flatten()]
        inputs = rows * task.channels
        if configuration["hidden"]:
            layers += [nn.Linear(inputs, int(configuration["width"])), nn.ReLU()]
            inputs = int(configuration["width"])
        return nn.Sequential(*layers, nn.Linear(inputs, task.classes))
