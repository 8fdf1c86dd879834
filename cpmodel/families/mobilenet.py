"""MobileNetV2 of any width, depth, input size and expansion."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cpmodel.families.base import Family, Task
from cpmodel.families.counts import counts_of, require_counts, require_fraction, require_shares
from cpmodel.families.widths import Slice, Width, normed
from cpmodel.layers import Tally, window_size
from cpmodel.space import Configuration, Floats, Parameter, Space, Value

if TYPE_CHECKING:
    from torch import nn

_STEMS = ("stride2", "stride1")
_SMALL = 96  # images below so many pixels are given the choice of a stem that does not halve them
_LARGEST = 224
_STEM, _LAST = 32, 1280  # filters of the first and the last convolution at width 1


class _Stage(NamedTuple):
    """Blocks with as many filters; the first one has the stride."""

    filters: int
    repeats: int
    stride: int
    expanded: bool = True


# Table 2 of the source
_STAGES = (
    _Stage(16, 1, 1, expanded=False),
    _Stage(24, 2, 2),
    _Stage(32, 3, 2),
    _Stage(64, 4, 2),
    _Stage(96, 3, 1),
    _Stage(160, 3, 2),
    _Stage(320, 1, 1),
)


class _Block(NamedTuple):
    """One block of a network that is built."""

    name: str
    stage: int
    f_in: int
    expansion: int
    f_out: int
    stride: int


@dataclass(frozen=True)
class MobileNetFamily(Family):
    """T = (width, depth, s, expansion, stem): MobileNetV2 of width times its filters, depth times its blocks.

    Filters are rounded to a multiple of 8, blocks up. The stem ``stride1`` is for small images: neither the
    first convolution nor the first block of the second stage halves the map.

    Parameters
    ----------
    dropout : share of the last maps that a training step leaves out, in [0, 1)

    Notes
    -----
    Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (arXiv 1801.04381).
    """

    name: ClassVar[str] = "mobilenet"
    summary: ClassVar[str] = "MobileNetV2 of any width, depth, input size and expansion"
    dropout: float = 0.2

    def __post_init__(self) -> None:
        require_fraction("mobilenet: dropout", self.dropout)

    def space(
        self,
        task: Task,
        values: Mapping[str, Sequence[Value]] | None = None,
        baseline: Configuration | None = None,
    ) -> Space:
        """The configurations that can be built for `task`; the baseline has width 1, depth 1, expansion 6."""
        side = min(task.side, _LARGEST)
        sizes = {max(1, side * part // 8) for part in (4, 5, 6, 7, 8)}
        default = Space(
            (
                Parameter("width", (0.25, 0.35, 0.5, 0.75, 1.0), "filters, of MobileNetV2's"),
                Parameter("depth", (0.25, 0.5, 0.75, 1.0), "blocks, of MobileNetV2's"),
                Parameter("s", tuple(sorted(sizes)), "input size", "pixels"),
                Parameter("expansion", (1, 2, 3, 4, 6), "filters in a block, of its input's"),
                Parameter("stem", _STEMS, "first filters", categorical=True).limited(
                    _STEMS if side < _SMALL else _STEMS[:1]
                ),
            )
        )
        shares = require_shares(values or {}, width=16, depth=16)
        counts = {name: chosen for name, chosen in (values or {}).items() if name not in shares}
        whole = shares | require_counts(default, counts, s=(1, max(_LARGEST, task.side)))
        return default.with_values(whole, baseline)

    def input_size(self, configuration: Configuration, task: Task) -> tuple[int, int]:
        """Height and width to which images are resized: s and s, pixels."""
        (s,) = counts_of(configuration, "s")
        return s, s

    def costs(self, X: ArrayLike, task: Task) -> dict[str, Floats]:
        """Exact complexity of each row of X, in the order of the parameters, for one image."""
        width, depth, s, expansion, stem = np.asarray(X, dtype=np.float64).reshape(-1, 5).T
        tally, halves = Tally(len(width)), stem == 0
        f_in, maps = _rounded(_STEM * width), np.where(halves, _halved(s), s)
        tally.convolution(task.channels, 3, f_in, s, maps, bias=False)
        tally.batch_norm(f_in)
        for number, stage in enumerate(_STAGES):
            f_out, repeats = _rounded(stage.filters * width), np.ceil(stage.repeats * depth)
            for block in range(int(repeats.max(initial=0))):
                there = repeats > block
                times = expansion if stage.expanded else np.ones_like(expansion)
                inner, wide = f_in * times, there & (times > 1)
                after = maps
                if block == 0 and stage.stride == 2:
                    after = np.where(halves | (number > 1), _halved(maps), maps)
                tally.convolution(f_in, 1, inner, maps, maps, bias=False, where=wide)
                tally.batch_norm(inner, where=wide)
                tally.convolution(inner, 3, inner, maps, after, bias=False, groups=inner, where=there)
                tally.batch_norm(inner, where=there)
                tally.convolution(inner, 1, f_out, after, after, bias=False, where=there)
                tally.batch_norm(f_out, where=there)
                f_in, maps = np.where(there, f_out, f_in), np.where(there, after, maps)
        last = _rounded(_LAST * np.maximum(width, 1.0))
        tally.convolution(f_in, 1, last, maps, maps, bias=False)
        tally.batch_norm(last)
        tally.pooling(last, maps, 1)
        tally.dense(last, task.classes)
        return tally.columns()

    def build(self, configuration: Configuration, task: Task) -> nn.Module:
        """The untrained network: ``stem block1 ... last mean flatten dropout dense``, normed between."""
        from torch import nn

        from cpmodel.families.modules import InvertedResidual

        stem, last = _ends(configuration)
        blocks = _blocks(configuration)
        stride = 2 if configuration["stem"] == _STEMS[0] else 1
        chain: OrderedDict[str, nn.Module] = OrderedDict()
        chain["stem"] = nn.Conv2d(task.channels, stem, 3, stride, padding=1, bias=False)
        chain["stem_norm"], chain["stem_relu"] = nn.BatchNorm2d(stem), nn.ReLU6(inplace=True)
        for block in blocks:
            chain[block.name] = InvertedResidual(block.f_in, block.expansion, block.f_out, block.stride)
        chain["last"] = nn.Conv2d(blocks[-1].f_out, last, 1, bias=False)
        chain["last_norm"], chain["last_relu"] = nn.BatchNorm2d(last), nn.ReLU6(inplace=True)
        chain["mean"], chain["flatten"] = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        chain["dropout"] = nn.Dropout(self.dropout)
        chain["dense"] = nn.Linear(last, task.classes)
        return nn.Sequential(chain)

    def widths(self, configuration: Configuration, task: Task) -> tuple[Width, ...]:
        """The filters of the stem, of each stage, whose blocks add up, within each block, and the last."""
        stem, last = _ends(configuration)
        blocks = _blocks(configuration)
        made: dict[str, list[Slice]] = {"stem": [Slice("stem.weight"), *normed("stem_norm")]}
        read: dict[str, list[Slice]] = {"stem": []}
        counts, coming = {"stem": stem}, "stem"
        for block in blocks:
            depth = [Slice(f"{block.name}.depth.weight"), *normed(f"{block.name}.depth_norm")]
            project, inner = Slice(f"{block.name}.project.weight", 1), coming
            if block.expansion > 1:
                inner = block.name
                counts[inner] = block.f_in * block.expansion
                made[inner] = [Slice(f"{inner}.expand.weight"), *normed(f"{inner}.expand_norm")]
                read[inner] = []
                read[coming].append(Slice(f"{inner}.expand.weight", 1))
            made[inner] += depth
            read[inner].append(project)
            coming = f"stage{block.stage}"
            counts[coming] = block.f_out
            read.setdefault(coming, [])
            made.setdefault(coming, []).extend(
                [Slice(f"{block.name}.project.weight"), *normed(f"{block.name}.project_norm")]
            )
        read[coming].append(Slice("last.weight", 1))
        counts["last"] = last
        made["last"] = [Slice("last.weight"), *normed("last_norm")]
        read["last"] = [Slice("dense.weight", 1)]
        return tuple(Width(name, counts[name], tuple(made[name]), tuple(read[name])) for name in counts)


def _rounded(filters: Floats) -> Floats:
    """The nearest multiple of 8, from 8, that takes away no more than a tenth; shape (n,)."""
    nearest: Floats = np.maximum(8.0, np.floor((filters + 4) / 8) * 8)
    return nearest + 8 * (nearest < 0.9 * filters)


def _halved(s: Floats) -> Floats:
    return window_size(s, 3, stride=2, padding=1)


def _ends(configuration: Configuration) -> tuple[int, int]:
    """Filters of the first and of the last convolution."""
    width = float(configuration["width"])
    stem, last = _rounded(np.array([_STEM * width, _LAST * max(width, 1.0)])).astype(int).tolist()
    return stem, last


def _blocks(configuration: Configuration) -> list[_Block]:
    width, depth = float(configuration["width"]), float(configuration["depth"])
    (expansion,) = counts_of(configuration, "expansion")
    halves, found = configuration["stem"] == _STEMS[0], list[_Block]()
    f_in, _ = _ends(configuration)
    for number, stage in enumerate(_STAGES):
        f_out = int(_rounded(np.array([stage.filters * width]))[0])
        for block in range(int(np.ceil(stage.repeats * depth))):
            stride = stage.stride if block == 0 and (halves or number > 1) else 1
            name, times = f"block{len(found) + 1}", expansion if stage.expanded else 1
            found.append(_Block(name, number + 1, f_in, times, f_out, stride))
            f_in = f_out
    return found
