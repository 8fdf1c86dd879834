"""The plain family: equal convolutional layers in a row, the networks of Ke, Cao and Lv."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cpmodel.errors import BadInputError
from cpmodel.families.base import Family, Task
from cpmodel.families.counts import counts_of, require_counts
from cpmodel.families.widths import Slice, Width, normed
from cpmodel.layers import Tally
from cpmodel.space import Configuration, Parameter, Space, Value

if TYPE_CHECKING:
    from torch import nn

_LARGEST_INPUT = 64
_SIZES = {64: (12, 20, 24, 32, 40, 48, 56, 64), 28: (8, 12, 16, 20, 24, 28), 8: (4, 6, 8)}
# Below this a map is not pooled any more; an input below it would never be.
_POOLED_FROM = 4


def default_sizes(side: int) -> tuple[int, ...]:
    """Input sizes to try for images whose shorter side is `side` pixels, ascending.

    The paper's for 64 pixels and more; tables for 28 and 8; else the side and seven even steps down, none of
    them under 4 pixels.

    >>> default_sizes(250), default_sizes(32)
    ((12, 20, 24, 32, 40, 48, 56, 64), (4, 8, 12, 16, 20, 24, 28, 32))
    """
    largest = min(side, _LARGEST_INPUT)
    if largest in _SIZES:
        return _SIZES[largest]
    steps = {round(largest * eighths / 8) for eighths in range(1, 8)}
    return (*sorted(size for size in steps if _POOLED_FROM <= size < largest), largest)


class PlainFamily(Family):
    """T = (f, s, k, l): l layers of f filters of k x k on images resized to s x s, then a dense layer.

    A layer is a convolution (same padding, no bias), batch norm, ReLU, and 2 x 2 max pooling while the map is
    at least 4 pixels wide. Images are never enlarged: s goes up to their shorter side.

    Notes
    -----
    Source: Ke, Cao, Lv, "Relationship between Complexity and Precision of Convolutional Neural Networks",
    section 2; the values of the parameters are theirs. Multiply-accumulates are those of the convolutions
    (eq. 1) and the dense layer; batch norm folds into the convolution before it and counts none.
    """

    name: ClassVar[str] = "plain"
    summary: ClassVar[str] = (
        "l equal convolutional layers with f filters of k x k on s x s inputs, one dense layer"
    )

    def space(
        self,
        task: Task,
        values: Mapping[str, Sequence[Value]] | None = None,
        baseline: Configuration | None = None,
    ) -> Space:
        """The configurations that can be built for `task`: whole numbers, s at most the images' side."""
        default = Space(
            (
                Parameter("f", (2, 4, 8, 12, 16, 24, 32, 40, 48, 64), "filters in each layer"),
                Parameter("s", default_sizes(task.side), "input size", "pixels"),
                Parameter("k", (3, 4, 5), "filter size", "pixels"),
                Parameter("l", (1, 2, 3), "convolutional layers"),
            )
        )
        whole = require_counts(default, values)
        for size in whole.get("s", ()):
            if float(size) > task.side:
                expected = f"at most {task.side}, the size of the images (they are never enlarged)"
                raise BadInputError("parameter s", expected=expected, got=size)
        return default.with_values(whole, baseline)

    def input_size(self, configuration: Configuration, task: Task) -> tuple[int, int]:
        """Height and width to which images are resized: s and s, pixels."""
        return int(configuration["s"]), int(configuration["s"])

    def costs(self, X: ArrayLike, task: Task) -> dict[str, NDArray[np.float64]]:
        """Exact complexity of each row (f, s, k, l) of X, in the space or not, for one image."""
        X = np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != 4:
            raise BadInputError("configurations of the plain family", expected="shape (n, 4)", got=X.shape)
        if not np.all((X >= 1) & np.isfinite(X) & (np.trunc(X) == X)):
            raise BadInputError("configurations of the plain family", expected="whole numbers, 1 or more")
        f, s, k, l = np.ascontiguousarray(X.T)  # noqa: E741 - the paper's letter
        tally = Tally(len(X))
        f_in: float | NDArray[np.float64] = float(task.channels)
        for layer in range(int(l.max(initial=0))):
            there = l > layer
            tally.convolution(f_in, k, f, s, s, bias=False, where=there)
            tally.batch_norm(f, where=there)
            pooled = there & (s >= _POOLED_FROM)
            half = np.floor(s / 2)
            tally.pooling(f, s, half, where=pooled)
            s = np.where(pooled, half, s)
            f_in = f
        tally.dense(f * s * s, task.classes)
        return tally.columns()

    def build(self, configuration: Configuration, task: Task) -> nn.Module:
        """The untrained network, a chain of modules: ``conv1 norm1 relu1 pool1 conv2 ... flatten dense``."""
        from torch import nn

        from cpmodel.families.modules import same_conv

        f, s, k, layers = counts_of(configuration, "f", "s", "k", "l")
        chain: OrderedDict[str, nn.Module] = OrderedDict()
        f_in = task.channels
        for layer in range(1, layers + 1):
            chain[f"conv{layer}"] = same_conv(f_in, f, k, bias=False)
            chain[f"norm{layer}"] = nn.BatchNorm2d(f)
            chain[f"relu{layer}"] = nn.ReLU(inplace=True)
            if s >= _POOLED_FROM:
                chain[f"pool{layer}"] = nn.MaxPool2d(2)
                s //= 2
            f_in = f
        chain["flatten"] = nn.Flatten()
        chain["dense"] = nn.Linear(f * s * s, task.classes)
        return nn.Sequential(chain)

    def widths(self, configuration: Configuration, task: Task) -> tuple[Width, ...]:
        """The filters of each layer, all as many as f says."""
        f, s, layers = counts_of(configuration, "f", "s", "l")
        found = []
        for layer in range(1, layers + 1):
            s = s // 2 if s >= _POOLED_FROM else s
            made = (Slice(f"conv{layer}.weight"), *normed(f"norm{layer}"))
            last = layer == layers
            read = Slice("dense.weight", 1, repeat=s * s) if last else Slice(f"conv{layer + 1}.weight", 1)
            found.append(Width(f"conv{layer}", f, made, (read,)))
        return tuple(found)
