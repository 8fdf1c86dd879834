"""Two convolutions without pooling and two dense layers: the network whose filters source 004 prunes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from cpmodel.families.base import Family, Task
from cpmodel.families.counts import counts_of, require_counts
from cpmodel.families.widths import Slice, Width
from cpmodel.layers import Tally
from cpmodel.space import Configuration, Floats, Parameter, Space, Value

if TYPE_CHECKING:
    from torch import nn


class ConvDenseFamily(Family):
    """T = (c1, c2, d): c1 and c2 filters of 3 x 3, each with ReLU, d dense units with ReLU, the classes.

    Notes
    -----
    Source: "A compressed MNIST classifier" (github.com/compression), whose network has 16, 32 and 1024. Its
    29,438,464 "FLOPs" are the 29,425,920 MACs and the 12,544 biases of the first convolution.
    """

    name: ClassVar[str] = "convdense"
    summary: ClassVar[str] = "two convolutions without pooling and a hidden dense layer"

    def space(
        self,
        task: Task,
        values: Mapping[str, Sequence[Value]] | None = None,
        baseline: Configuration | None = None,
    ) -> Space:
        """The configurations that can be built for `task`."""
        default = Space(
            (
                Parameter("c1", (1, 2, 4, 8, 12, 16), "first filters"),
                Parameter("c2", (1, 2, 4, 8, 16, 24, 32), "second filters"),
                Parameter("d", (64, 128, 256, 512, 1024), "units of the hidden layer"),
            )
        )
        return default.with_values(require_counts(default, values), baseline)

    def input_size(self, configuration: Configuration, task: Task) -> tuple[int, int]:
        """The images' shorter side, both ways."""
        return task.side, task.side

    def costs(self, X: ArrayLike, task: Task) -> dict[str, Floats]:
        """Exact complexity of each row (c1, c2, d) of X for one image."""
        c1, c2, d = np.asarray(X, dtype=np.float64).reshape(-1, 3).T
        tally, s = Tally(len(d)), task.side
        tally.convolution(task.channels, 3, c1, s, s)
        tally.convolution(c1, 3, c2, s, s)
        tally.dense(c2 * s**2, d)
        tally.dense(d, task.classes)
        return tally.columns()

    def build(self, configuration: Configuration, task: Task) -> nn.Module:
        """The untrained network: ``conv1 relu1 conv2 relu2 flatten hidden relu dense``."""
        from torch import nn

        c1, c2, d = counts_of(configuration, "c1", "c2", "d")
        chain: OrderedDict[str, nn.Module] = OrderedDict()
        chain["conv1"] = nn.Conv2d(task.channels, c1, 3, padding=1)
        chain["relu1"] = nn.ReLU(inplace=True)
        chain["conv2"] = nn.Conv2d(c1, c2, 3, padding=1)
        chain["relu2"] = nn.ReLU(inplace=True)
        chain["flatten"] = nn.Flatten()
        chain["hidden"] = nn.Linear(c2 * task.side**2, d)
        chain["relu"] = nn.ReLU(inplace=True)
        chain["dense"] = nn.Linear(d, task.classes)
        return nn.Sequential(chain)

    def widths(self, configuration: Configuration, task: Task) -> tuple[Width, ...]:
        """The filters of both convolutions and the hidden units."""
        c1, c2, d = counts_of(configuration, "c1", "c2", "d")
        maps = Slice("hidden.weight", 1, repeat=task.side**2)
        return (
            Width("c1", c1, (Slice("conv1.weight"), Slice("conv1.bias")), (Slice("conv2.weight", 1),)),
            Width("c2", c2, (Slice("conv2.weight"), Slice("conv2.bias")), (maps,)),
            Width("d", d, (Slice("hidden.weight"), Slice("hidden.bias")), (Slice("dense.weight", 1),)),
        )
