"""One or two convolutions, each with a pooling, and two dense layers: the networks of Dhingra."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from cpmodel.cost import Cost
from cpmodel.errors import BadInputError
from cpmodel.families.base import Family, Task
from cpmodel.families.counts import counts_of, require_counts, require_fraction
from cpmodel.families.widths import Slice, Width
from cpmodel.layers import Tally
from cpmodel.space import Condition, Configuration, Floats, Parameter, Space, Value

if TYPE_CHECKING:
    from torch import nn

_FILTERS = (2, 4, 8, 16, 32)
_TWO = Condition("convs", (2,))


@dataclass(frozen=True)
class ConvPoolFamily(Family):
    """T = (convs, k1, f1, k2, f2, pool, fc): convolutions that are pooled, a hidden dense layer, the classes.

    A convolution keeps the size of its map; ReLU and a max pooling of pool x pool follow.

    Parameters
    ----------
    dropout : share of the hidden units that a training step leaves out, in [0, 1)

    Notes
    -----
    Source: Dhingra, "Model Complexity-Accuracy Trade-off for a Convolutional Neural Network". Its counts of
    weights leave biases out; its activations are the image and the outputs of the convolutions, the poolings
    and the hidden dense layer. It states neither the rate of its dropout nor the non-linearity.
    """

    name: ClassVar[str] = "convpool"
    summary: ClassVar[str] = "one or two pooled convolutions and a hidden dense layer"
    dropout: float = 0.5

    def __post_init__(self) -> None:
        require_fraction("convpool: dropout", self.dropout)

    def space(
        self,
        task: Task,
        values: Mapping[str, Sequence[Value]] | None = None,
        baseline: Configuration | None = None,
    ) -> Space:
        """The configurations that can be built for `task`; the baseline is the source's, all largest."""
        pools = tuple(pool for pool in (2, 4) if task.side >= pool**2)
        default = Space(
            (
                Parameter("convs", (1, 2), "convolutional layers"),
                Parameter("k1", (1, 3, 5), "size of the first filters", "pixels"),
                Parameter("f1", _FILTERS, "first filters"),
                Parameter("k2", (1, 3, 5), "size of the second filters", "pixels", when=_TWO),
                Parameter("f2", (*_FILTERS, 64), "second filters", when=_TWO),
                Parameter("pool", pools or (1,), "window of the poolings", "pixels"),
                Parameter("fc", (32, 64, 128, 256, 512, 1024), "units of the hidden layer"),
            ),
        )
        whole = require_counts(default, values, convs=(1, 2), pool=(1, task.side))
        if baseline is None and default["pool"].values[0] in whole.get("pool", default["pool"].values):
            baseline = {"pool": default["pool"].values[0]}
        space = default.with_values(whole, baseline)
        deepest, widest = max(space["convs"].values), max(space["pool"].values)
        if (least := int(widest) ** int(deepest)) > task.side:
            got = f"{widest} for images of {task.side}"
            raise BadInputError("parameter pool", expected=f"images of {least} pixels or more", got=got)
        return space

    def input_size(self, configuration: Configuration, task: Task) -> tuple[int, int]:
        """The images' shorter side, both ways."""
        return task.side, task.side

    def cost_kinds(self, task: Task) -> tuple[Cost, ...]:
        """What all families compute, and the two counts of the source."""
        return (
            *super().cost_kinds(task)[:-2],
            Cost("weights", "", "weights without biases"),
            Cost("activations", "", "activations, image included"),
        )

    def costs(self, X: ArrayLike, task: Task) -> dict[str, Floats]:
        """Exact complexity of each row of X, in the order of the parameters, for one image."""
        convs, k1, f1, k2, f2, pool, fc = np.asarray(X, dtype=np.float64).reshape(-1, 7).T
        tally, two = Tally(len(convs)), convs == 2
        k2, f2 = np.where(two, k2, 1), np.where(two, f2, f1)
        side = np.full(len(convs), float(task.side))
        once = np.floor(side / pool)
        size = np.where(two, np.floor(once / pool), once)
        tally.convolution(task.channels, k1, f1, side, side)
        tally.pooling(f1, side, once)
        tally.convolution(f1, k2, f2, once, once, where=two)
        tally.pooling(f2, once, size, where=two)
        tally.dense(f2 * size**2, fc)
        tally.dense(fc, task.classes)
        columns = tally.columns()
        outputs = columns["activation_elements"] - task.classes
        return {**columns, "weights": tally.weights, "activations": task.channels * side**2 + outputs}

    def build(self, configuration: Configuration, task: Task) -> nn.Module:
        """The untrained network: ``conv1 relu1 pool1 ... flatten hidden relu dropout dense``."""
        from torch import nn

        from cpmodel.families.modules import same_conv

        convs, pool, fc = counts_of(configuration, "convs", "pool", "fc")
        chain: OrderedDict[str, nn.Module] = OrderedDict()
        f_in, s = task.channels, task.side
        for layer in range(1, convs + 1):
            k, f = counts_of(configuration, f"k{layer}", f"f{layer}")
            chain[f"conv{layer}"] = same_conv(f_in, f, k, bias=True)
            chain[f"relu{layer}"] = nn.ReLU(inplace=True)
            chain[f"pool{layer}"] = nn.MaxPool2d(pool)
            f_in, s = f, s // pool
        chain["flatten"] = nn.Flatten()
        chain["hidden"] = nn.Linear(f_in * s * s, fc)
        chain["relu"] = nn.ReLU(inplace=True)
        chain["dropout"] = nn.Dropout(self.dropout)
        chain["dense"] = nn.Linear(fc, task.classes)
        return nn.Sequential(chain)

    def widths(self, configuration: Configuration, task: Task) -> tuple[Width, ...]:
        """The filters of each convolution and the hidden units."""
        convs, pool, fc = counts_of(configuration, "convs", "pool", "fc")
        s = task.side // pool**convs
        readers = [Slice("conv2.weight", 1)] * (convs - 1) + [Slice("hidden.weight", 1, repeat=s * s)]
        found = [
            Width(
                f"f{layer}",
                counts_of(configuration, f"f{layer}")[0],
                made=(Slice(f"conv{layer}.weight"), Slice(f"conv{layer}.bias")),
                read=(reader,),
            )
            for layer, reader in enumerate(readers, 1)
        ]
        hidden = (Slice("hidden.weight"), Slice("hidden.bias"))
        return (*found, Width("fc", fc, hidden, (Slice("dense.weight", 1),)))
