"""SqueezeNet and its relatives, told by the five metaparameters of its authors: source 003."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cpmodel.cost import Cost
from cpmodel.families.base import Family, Task
from cpmodel.families.counts import counts_of, require_counts, require_fraction, require_shares
from cpmodel.families.widths import Slice, Width
from cpmodel.layers import Tally, window_size
from cpmodel.space import Configuration, Floats, Parameter, Space, Value

if TYPE_CHECKING:
    from torch import nn

_MODULES = 8
_FIRST = 96  # filters of the first convolution
_LARGEST = 224  # pixels; the source enlarges its images of 64 to it
_POOLED_FROM = 3  # below this a map is not pooled any more
_STEMS = ("7x7", "3x3")
# After which modules a pooling follows, as the source places them
_POOLS = ("3-7", "1-2", "1-3", "6-7")
# What the source counts at the input of the last convolution, whatever comes in
_COUNTED = 512


class _Filters(NamedTuple):
    """Of one module, for n networks each: squeezing, 1 x 1 and 3 x 3 filters."""

    squeeze: Floats
    f_1x1: Floats
    f_3x3: Floats


@dataclass(frozen=True)
class SqueezeNetFamily(Family):
    """T = (base_e, incr_e, pct_3x3, freq, sr, s, pools, stem): eight Fire modules between two convolutions.

    Module i, from 0, has ``base_e + incr_e floor(i / freq)`` expanding filters; of base_e and of incr_e
    pct_3x3 per cent, rounded down, are 3 x 3, the others 1 x 1; the squeezing ones are sr times as many. A
    max pooling (3 x 3, stride 2) follows the first convolution and the two modules that `pools` names, from
    1. The first convolution has 7 x 7 filters with stride 2, or for small images 3 x 3 ones with stride 1.

    Parameters
    ----------
    dropout : share of the last module's maps that a training step leaves out, in [0, 1)

    Notes
    -----
    Sources: Iandola et al., "SqueezeNet" (arXiv 1602.07360); Wang, Sayar, Sayegh, "Final Project", whose
    counts of parameters take 512 maps at the input of the last convolution, always: `published_params`.
    """

    name: ClassVar[str] = "squeezenet"
    summary: ClassVar[str] = "SqueezeNet: Fire modules told by five metaparameters"
    dropout: float = 0.5

    def __post_init__(self) -> None:
        require_fraction("squeezenet: dropout", self.dropout)

    def space(
        self,
        task: Task,
        values: Mapping[str, Sequence[Value]] | None = None,
        baseline: Configuration | None = None,
    ) -> Space:
        """The configurations that can be built for `task`; the baseline is SqueezeNet itself."""
        side = min(max(task.side, 8), _LARGEST)
        sizes = {max(8, side * part // 4) for part in (2, 3, 4)}
        stems = _STEMS if side < _LARGEST // 2 else _STEMS[:1]
        default = Space(
            (
                Parameter("base_e", (32, 64, 128, 192, 256), "expanding filters of the first module"),
                Parameter("incr_e", (32, 64, 128, 192, 256), "more of them at a time"),
                Parameter("pct_3x3", (1.0, 12.5, 25.0, 37.5, 50.0, 62.5, 75.0, 87.5), "3 x 3 filters", "%"),
                Parameter("freq", (1, 2, 3, 4), "modules with as many"),
                Parameter("sr", (0.125, 0.25, 0.5, 0.75, 1.0), "squeezing filters a expanding one"),
                Parameter("s", tuple(sorted(sizes)), "input size", "pixels"),
                Parameter("pools", _POOLS, "modules before a pooling", categorical=True),
                Parameter("stem", _STEMS, "first filters", categorical=True).limited(stems),
            )
        )
        shares = require_shares(values or {}, pct_3x3=100, sr=1)
        counts = {name: chosen for name, chosen in (values or {}).items() if name not in shares}
        whole = shares | require_counts(default, counts, base_e=(4, 4096), s=(8, _LARGEST))
        space = default.with_values(whole)
        if baseline is None:
            own = {"base_e": 128, "incr_e": 128, "pct_3x3": 50.0, "freq": 2, "sr": 0.125, "pools": "3-7"}
            baseline = {
                **{name: value for name, value in own.items() if value in space[name].values},
                "stem": space["stem"].values[0],
            }
        return default.with_values(whole, baseline)

    def input_size(self, configuration: Configuration, task: Task) -> tuple[int, int]:
        """Height and width to which images are resized: s and s, pixels."""
        (s,) = counts_of(configuration, "s")
        return s, s

    def cost_kinds(self, task: Task) -> tuple[Cost, ...]:
        """What all families compute, and the parameters as the source counts them."""
        counted = Cost("published_params", "", "parameters by the source's rule")
        return (*super().cost_kinds(task)[:-1], counted)

    def costs(self, X: ArrayLike, task: Task) -> dict[str, Floats]:
        """Exact complexity of each row of X, in the order of the parameters, for one image."""
        X = np.asarray(X, dtype=np.float64)
        tally, large = Tally(len(X)), X[:, 7] == 0
        maps = np.where(large, window_size(X[:, 5], 7, stride=2), X[:, 5])
        tally.convolution(task.channels, np.where(large, 7.0, 3.0), _FIRST, X[:, 5], maps)
        f_in: Floats = np.full(len(X), float(_FIRST))
        after = np.array([[float(n) for n in pools.split("-")] for pools in _POOLS])[X[:, 6].astype(int)]
        maps = _pooled(tally, f_in, maps, np.full(len(X), True))
        for module, (squeeze, f_1x1, f_3x3) in enumerate(_modules(X), 1):
            tally.convolution(f_in, 1, squeeze, maps, maps)
            tally.convolution(squeeze, 1, f_1x1, maps, maps, where=f_1x1 > 0)
            tally.convolution(squeeze, 3, f_3x3, maps, maps, where=f_3x3 > 0)
            f_in = f_1x1 + f_3x3
            maps = _pooled(tally, f_in, maps, (after == module).any(axis=1))
        tally.convolution(f_in, 1, task.classes, maps, maps)
        tally.pooling(task.classes, maps, 1)
        columns = tally.columns(dense=False)
        return {**columns, "published_params": columns["params"] + (_COUNTED - f_in) * task.classes}

    def references(self, task: Task) -> dict[str, dict[str, float]]:
        """AlexNet's costs, with as many classes as `task` has, on colour images of 224 pixels."""
        return {"AlexNet": {name: float(column[0]) for name, column in _alexnet(task.classes).items()}}

    def build(self, configuration: Configuration, task: Task) -> nn.Module:
        """The untrained network: ``conv relu pool fire1 ... fire8 dropout classifier last mean flatten``."""
        from torch import nn

        from cpmodel.families.modules import Fire

        def pool() -> nn.Module:
            return nn.MaxPool2d(3, 2, ceil_mode=True)

        (s,) = counts_of(configuration, "s")
        large = configuration["stem"] == _STEMS[0]
        maps = (s - 7) // 2 + 1 if large else s
        chain: OrderedDict[str, nn.Module] = OrderedDict()
        stem = nn.Conv2d(task.channels, _FIRST, 7, stride=2) if large else None
        chain["conv"] = stem or nn.Conv2d(task.channels, _FIRST, 3, padding=1)
        chain["relu"] = nn.ReLU(inplace=True)
        if maps >= _POOLED_FROM:
            chain["pool"], maps = pool(), _half(maps)
        f_in, after = _FIRST, [int(n) for n in str(configuration["pools"]).split("-")]
        for module, (squeeze, f_1x1, f_3x3) in enumerate(_of_one(configuration), 1):
            chain[f"fire{module}"] = Fire(f_in, squeeze, f_1x1, f_3x3)
            f_in = f_1x1 + f_3x3
            if module in after and maps >= _POOLED_FROM:
                chain[f"pool{module}"], maps = pool(), _half(maps)
        chain["dropout"] = nn.Dropout(self.dropout)
        chain["classifier"] = nn.Conv2d(f_in, task.classes, 1)
        chain["last"] = nn.ReLU(inplace=True)
        chain["mean"] = nn.AdaptiveAvgPool2d(1)
        chain["flatten"] = nn.Flatten()
        return nn.Sequential(chain)

    def widths(self, configuration: Configuration, task: Task) -> tuple[Width, ...]:
        """The first filters, and of each module the squeezing and both kinds of expanding ones."""
        first = (Slice("conv.weight"), Slice("conv.bias"))
        found = [Width("conv", _FIRST, first, (Slice("fire1.squeeze.weight", 1),))]
        for module, (squeeze, f_1x1, f_3x3) in enumerate(_of_one(configuration), 1):
            fire = f"fire{module}"
            reader = f"fire{module + 1}.squeeze.weight" if module < _MODULES else "classifier.weight"
            kinds = {name: f for name, f in (("expand1", f_1x1), ("expand3", f_3x3)) if f}
            made = (Slice(f"{fire}.squeeze.weight"), Slice(f"{fire}.squeeze.bias"))
            read = tuple(Slice(f"{fire}.{kind}.weight", 1) for kind in kinds)
            found.append(Width(f"{fire}.squeeze", squeeze, made, read))
            for kind, f in kinds.items():
                made = (Slice(f"{fire}.{kind}.weight"), Slice(f"{fire}.{kind}.bias"))
                behind = Slice(reader, 1, offset=f_1x1 if kind == "expand3" else 0)
                found.append(Width(f"{fire}.{kind}", f, made, (behind,)))
        return tuple(found)


def _modules(X: Floats) -> Iterator[_Filters]:
    """The filters of each module, for every row of X."""
    base, more, percent, freq, ratio = X[:, :5].T
    for module in range(_MODULES):
        steps = np.floor(module / freq)
        f_3x3 = np.floor(base * percent / 100) + np.floor(more * percent / 100) * steps
        whole = base + more * steps
        yield _Filters(np.maximum(np.floor(ratio * whole), 1), whole - f_3x3, f_3x3)


def _of_one(configuration: Configuration) -> Iterator[tuple[int, int, int]]:
    names = ("base_e", "incr_e", "pct_3x3", "freq", "sr")
    for filters in _modules(np.array([[float(configuration[name]) for name in names]])):
        squeeze, f_1x1, f_3x3 = (int(f[0]) for f in filters)
        yield squeeze, f_1x1, f_3x3


def _half(maps: int) -> int:
    return int(window_size(maps, 3, stride=2, ceil=True))


def _pooled(tally: Tally, f: Floats, maps: Floats, wanted: NDArray[np.bool_]) -> Floats:
    """Add a pooling where it is wanted and the map is large enough; returns the new sizes."""
    there = wanted & (maps >= _POOLED_FROM)
    half = window_size(maps, 3, stride=2, ceil=True)
    tally.pooling(f, maps, half, where=there)
    return np.where(there, half, maps)


def _alexnet(classes: int) -> dict[str, Floats]:
    """Costs of AlexNet with one column of filters (Krizhevsky, arXiv 1404.5997), as torchvision builds it."""
    tally = Tally(1)
    tally.convolution(3, 11, 64, 224, 55)
    tally.pooling(64, 55, 27)
    tally.convolution(64, 5, 192, 27, 27)
    tally.pooling(192, 27, 13)
    for f_in, f_out in ((192, 384), (384, 256), (256, 256)):
        tally.convolution(f_in, 3, f_out, 13, 13)
    tally.pooling(256, 13, 6)
    for n_in, n_out in ((256 * 36, 4096), (4096, 4096), (4096, classes)):
        tally.dense(n_in, n_out)
    return tally.columns()
