"""Narrow networks with batch norm, whose head is a dense layer or the mean of class maps: source 001."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cpmodel.cost import Cost
from cpmodel.errors import BadInputError
from cpmodel.families.base import Family, Task
from cpmodel.families.counts import counts_of, require_counts, require_fraction
from cpmodel.families.widths import Slice, Width, normed
from cpmodel.layers import Tally
from cpmodel.space import Condition, Configuration, Floats, Parameter, Space, Value

if TYPE_CHECKING:
    from torch import nn

_MOST = 5
_POOLS = ("each", "second")
_HEADS = ("dense", "gap")
_DROPPING = 3  # of the last blocks so many end in a dropout, where the head is no dense layer


class NarrowFamily(Family):
    """T = (blocks, f1, ..., f5, pool, head, dropout, separable): blocks of 3 x 3 filters, and a head.

    A block is a convolution without padding, ReLU and batch norm. A max pooling of 2 x 2 follows the second
    one, or each, but none after which the blocks to come would not fit.

    The head ``dense`` flattens, drops out and has one dense layer. The head ``gap`` takes the mean of each
    class map: of the last block's maps where there are as many as classes, else of those that a 1 x 1
    convolution makes of them. Each of the last three blocks then ends in the dropout. Of separable blocks all
    but the first have one 3 x 3 filter a map, then 1 x 1 filters.

    Notes
    -----
    Source: "How to reduce training parameters in CNNs while keeping accuracy > 99 %"
    (towardsdatascience.com). Its networks are 32-14 with a dense head, pooled after each block;
    4-8-16-16-10 and 2-4-8-16-10 with class maps, pooled after the second. Its "126 (14x3x3)" must be 350
    (14x5x5) for its own number of parameters. Separable blocks are no part of it.
    """

    name: ClassVar[str] = "narrow"
    summary: ClassVar[str] = "narrow blocks with batch norm; a dense head or the mean of class maps"

    def space(
        self,
        task: Task,
        values: Mapping[str, Sequence[Value]] | None = None,
        baseline: Configuration | None = None,
    ) -> Space:
        """The configurations that can be built for `task`; the baseline is the source's best network."""
        fitting = tuple(n for n in range(2, _MOST + 1) if _least(n) <= task.side)
        if not fitting:
            expected = f"images of {_least(2)} pixels or more"
            raise BadInputError("narrow family", expected=expected, got=f"{task.side}")
        deep = [Condition("blocks", tuple(range(n, fitting[-1] + 1))) for n in range(_MOST + 1)]
        filters = ((2, 4, 8, 16, 32), (4, 8, 14, 16), (8, 16), (8, 16), (task.classes,))
        default = Space(
            (
                Parameter("blocks", fitting, "convolutional blocks"),
                *(
                    Parameter(f"f{n}", options, f"filters of block {n}", when=None if n < 3 else deep[n])
                    for n, options in enumerate(filters[: fitting[-1]], 1)
                ),
                Parameter("pool", _POOLS, "pooling after each block or the second", categorical=True),
                Parameter("head", _HEADS, "dense layer or global average pooling", categorical=True),
                Parameter("dropout", (0.0, 0.1), "share of what is left out at random"),
                Parameter("separable", (0, 1), "1 x 1 filters behind one 3 x 3 filter a map"),
            )
        )
        given = dict(values or {})
        for share in given.get("dropout", ()):
            require_fraction("parameter dropout", share)
        rates = {"dropout": given.pop("dropout")} if "dropout" in given else {}
        most = {"blocks": (2, fitting[-1]), "separable": (0, 1)}
        whole = require_counts(default, given, **most) | rates
        space = default.with_values(whole)
        own = {"f1": 4, "f2": 8, "pool": "second", "separable": 0}
        begin = {name: value for name, value in own.items() if value in space[name].values}
        return default.with_values(whole, begin if baseline is None else baseline)

    def cost_kinds(self, task: Task) -> tuple[Cost, ...]:
        """What all families compute, and the parameters with the statistics of batch norm."""
        return (*super().cost_kinds(task)[:-1], Cost("all_params", "", "parameters, statistics included"))

    def input_size(self, configuration: Configuration, task: Task) -> tuple[int, int]:
        """The images' shorter side, both ways."""
        return task.side, task.side

    def costs(self, X: ArrayLike, task: Task) -> dict[str, Floats]:
        """Exact complexity of each row of X, in the order of the parameters, for one image."""
        X = np.asarray(X, dtype=np.float64)
        blocks, filters = X[:, 0], X[:, 1:-4].T
        pool, head, _, separable = X[:, -4:].T
        tally = Tally(len(X))
        s = np.full(len(X), float(task.side))
        f_in: Floats = np.full(len(X), float(task.channels))
        statistics = np.zeros(len(X))
        for number, options in enumerate(filters, 1):
            there = blocks >= number
            f = np.where(there, options, 1.0)
            apart = there & (separable == 1) & (number > 1)
            inner = np.where(there, s - 2, 1.0)
            tally.convolution(f_in, 3, f_in, s, inner, groups=f_in, where=apart)
            tally.convolution(f_in, 1, f, inner, inner, where=apart)
            tally.convolution(f_in, 3, f, s, inner, where=there & ~apart)
            tally.batch_norm(f, where=there)
            statistics += 2 * f * there
            pooled = there & _pools(pool, number, blocks, inner)
            half = np.floor(inner / 2)
            tally.pooling(f, inner, half, where=pooled)
            s = np.where(there, np.where(pooled, half, inner), s)
            f_in = np.where(there, f, f_in)
        dense = head == 0
        extra = ~dense & (f_in != task.classes)
        tally.dense(f_in * s**2, task.classes, where=dense)
        tally.convolution(f_in, 1, task.classes, s, s, where=extra)
        tally.pooling(task.classes, s, 1, where=~dense)
        columns = tally.columns(dense=False)
        return {**columns, "all_params": columns["params"] + statistics}

    def build(self, configuration: Configuration, task: Task) -> nn.Module:
        """The untrained network: ``conv1 relu1 norm1 pool1 ...``, then the layers of its head."""
        from torch import nn

        blocks, separable = counts_of(configuration, "blocks", "separable")
        dense, rate = configuration["head"] == "dense", float(configuration["dropout"])
        chain: OrderedDict[str, nn.Module] = OrderedDict()
        f_in, sizes = task.channels, _sizes(configuration, task)
        for number in range(1, blocks + 1):
            (f,) = counts_of(configuration, f"f{number}")
            if separable and number > 1:
                chain[f"depth{number}"] = nn.Conv2d(f_in, f_in, 3, groups=f_in)
                chain[f"conv{number}"] = nn.Conv2d(f_in, f, 1)
            else:
                chain[f"conv{number}"] = nn.Conv2d(f_in, f, 3)
            chain[f"relu{number}"] = nn.ReLU(inplace=True)
            chain[f"norm{number}"] = nn.BatchNorm2d(f)
            if sizes[number] < sizes[number - 1] - 2:
                chain[f"pool{number}"] = nn.MaxPool2d(2)
            if rate and not dense and number > blocks - _DROPPING:
                chain[f"dropout{number}"] = nn.Dropout(rate)
            f_in = f
        if dense:
            chain["flatten"] = nn.Flatten()
            if rate:
                chain["dropout"] = nn.Dropout(rate)
            chain["dense"] = nn.Linear(f_in * sizes[-1] ** 2, task.classes)
            return nn.Sequential(chain)
        if f_in != task.classes:
            chain["maps"] = nn.Conv2d(f_in, task.classes, 1)
        chain["mean"] = nn.AdaptiveAvgPool2d(1)
        chain["flatten"] = nn.Flatten()
        return nn.Sequential(chain)

    def widths(self, configuration: Configuration, task: Task) -> tuple[Width, ...]:
        """The filters of each block, but for a last one whose maps are those of the classes."""
        blocks, separable = counts_of(configuration, "blocks", "separable")
        dense, found = configuration["head"] == "dense", []
        for number in range(1, blocks + 1):
            (f,) = counts_of(configuration, f"f{number}")
            made = (Slice(f"conv{number}.weight"), Slice(f"conv{number}.bias"), *normed(f"norm{number}"))
            if number < blocks and separable:
                deep = f"depth{number + 1}"
                made = (*made, Slice(f"{deep}.weight"), Slice(f"{deep}.bias"))
            if number < blocks:
                read = Slice(f"conv{number + 1}.weight", 1)
            elif dense:
                read = Slice("dense.weight", 1, repeat=_sizes(configuration, task)[-1] ** 2)
            elif f != task.classes:
                read = Slice("maps.weight", 1)
            else:
                continue
            found.append(Width(f"f{number}", f, made, (read,)))
        return tuple(found)


def _least(blocks: int) -> int:
    """The smallest image that so many blocks can read, pixels."""
    return 2 * blocks + 1


def _pools(each: Floats | float, number: int, blocks: Floats | float, s: Floats | float) -> NDArray[np.bool_]:
    """Whether a pooling follows block `number`, whose map has the size s; `each` is 0 where that is asked."""
    fits = np.floor(np.divide(s, 2)) >= np.maximum(2.0 * (np.asarray(blocks) - number), 0) + 1
    wanted = (np.asarray(each) == 0) | (number == 2)
    return np.asarray(wanted & fits)


def _sizes(configuration: Configuration, task: Task) -> list[int]:
    """The size of the image, then of what each block puts out, pixels."""
    (blocks,) = counts_of(configuration, "blocks")
    sizes, each = [task.side], float(_POOLS.index(str(configuration["pool"])))
    for number in range(1, blocks + 1):
        s = sizes[-1] - 2
        sizes.append(s // 2 if _pools(each, number, blocks, s) else s)
    return sizes
