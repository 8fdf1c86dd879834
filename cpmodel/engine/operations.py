"""What the fused engine executes, one operation after another, and the gradient of each, written by hand.

An operation takes maps of shape (n, h, w, c), of the engine's type, contiguous, and gives such; what is
flattened has shape (n, 1, 1, c). Gradients of parameters are set, not added.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from cpmodel.engine import kernels
from cpmodel.families.modules import EvenConv2d

_ROW = 64  # numbers of a map that the moments take at a time, at least
WITHOUT_LIMITS = (-np.inf, np.inf)


class Operation(ABC):
    """One step of a network's forward pass, and of the way back."""

    border = 0
    """Rows and columns of zeros more that its input has to have, below and to the right."""

    @abstractmethod
    def forward(self, x: Tensor, border: int, train: bool) -> tuple[Tensor, Any]:
        """What comes of x, with a border for what follows, and what `back` has to know of it."""

    @abstractmethod
    def back(self, known: Any, gradient: Tensor, first: bool) -> Tensor:
        """Set the gradients of parameters; returns that of x (of the first operation: nothing of use)."""


class _Known(NamedTuple):
    """What the gradient of a layer needs of its forward pass."""

    input: Tensor
    weights: list[Tensor]
    maps: Tensor
    scale: kernels.Vector
    shift: kernels.Vector
    moments: tuple[NDArray[np.float64], NDArray[np.float64]] | None  # mean, inverse of the deviation


@dataclass(frozen=True, eq=False)
class Layer(Operation):
    """Convolutions of the same maps side by side, or none; batch norm; limits, as of ReLU; 2 x 2 pooling.

    Parameters
    ----------
    limits : what the normed maps are clamped to, (0, inf) for ReLU
    """

    convolutions: tuple[nn.Conv2d, ...] = ()
    norm: nn.BatchNorm2d | None = None
    limits: tuple[float, float] = WITHOUT_LIMITS
    pooled: bool = False

    @property
    def border(self) -> int:  # type: ignore[override]
        """1 where the kernel is even and the output as large as the input."""
        return int(any(isinstance(convolution, EvenConv2d) for convolution in self.convolutions))

    @property
    def _only_convolves(self) -> bool:
        return self.norm is None and self.limits == WITHOUT_LIMITS and not self.pooled

    @property
    def _limits(self) -> kernels.Vector:
        return np.array(self.limits, np.float32)

    def forward(self, x: Tensor, border: int, train: bool) -> tuple[Tensor, _Known]:
        """See `Operation.forward`; in training the moments are the batch's, and go into the running ones."""
        weights = [_weight(convolution, x) for convolution in self.convolutions]
        maps = self._convolved(x, weights)
        scale, shift, moments = self._normed(maps, train)
        known = _Known(x, weights, maps, scale, shift, moments)
        if self._only_convolves:
            return bordered(maps, border), known
        n, h, w, c = maps.shape
        half = 2 if self.pooled else 1
        make = torch.zeros if border else torch.empty
        out = make((n, h // half + border, w // half + border, c), dtype=maps.dtype)
        run = kernels.clamped_pooled if self.pooled else kernels.clamped
        run(array(maps), scale, shift, self._limits, array(out))
        return out, known

    def _convolved(self, x: Tensor, weights: list[Tensor]) -> Tensor:
        if not self.convolutions:
            return x
        maps = []
        for convolution, weight in zip(self.convolutions, weights, strict=True):
            bias = None if self._shifts else _typed(convolution.bias, x)
            found = torch.conv2d(x.permute(0, 3, 1, 2), weight, bias, *_shape(convolution))
            maps.append(found.permute(0, 2, 3, 1))
        return (maps[0] if len(maps) == 1 else torch.cat(maps, dim=3)).contiguous()

    @property
    def _shifts(self) -> bool:
        """Whether biases are added together with what follows, for nothing."""
        return self.norm is None and not self._only_convolves

    def _normed(self, maps: Tensor, train: bool) -> tuple[kernels.Vector, kernels.Vector, Any]:
        """What each channel is multiplied by and what is added, and the moments that decided it."""
        norm, channels = self.norm, maps.shape[3]
        if norm is None:
            biases = [c.bias for c in self.convolutions if c.bias is not None] if self._shifts else []
            shift = torch.cat(biases).detach().numpy() if biases else np.zeros(channels, np.float32)
            return np.ones(channels, np.float32), shift, None
        mean, variance = running(norm)
        if train:
            count = maps.numel() // channels
            rows = array(maps).reshape(-1, _width(count, channels))
            mean, variance = kernels.moments(rows, channels)
            follow(norm, mean, variance, count)
            inverse = 1 / np.sqrt(variance + norm.eps)
            scale = norm.weight.detach().numpy() * inverse
        else:
            inverse = np.empty(0)
            scale = norm.weight.detach().numpy() / np.sqrt(variance + norm.eps)
        shift = norm.bias.detach().numpy() - mean * scale
        return scale.astype(np.float32), shift.astype(np.float32), (mean, inverse)

    def back(self, known: _Known, gradient: Tensor, first: bool) -> Tensor:
        """See `Operation.back`."""
        out, sums = self._through(known, gradient)
        if not self.convolutions:
            return out
        self._set_biases(out, sums)
        parts = [out]
        if len(self.convolutions) > 1:
            parts = list(torch.split(out, [len(weight) for weight in known.weights], dim=3))
        back: Tensor | None = None
        for convolution, weight, part in zip(self.convolutions, known.weights, parts, strict=True):
            theirs = _convolution_back(convolution, known.input, weight, part, not first)
            back = theirs if back is None else back.add_(theirs)
        return gradient if first or back is None else back

    def _set_biases(self, out: Tensor, sums: NDArray[np.float64] | None) -> None:
        """Set the gradients of biases: sums over each map, which torch's convolutions are slow at."""
        biases = [convolution.bias for convolution in self.convolutions if convolution.bias is not None]
        if not biases:
            return
        if sums is None:
            flat = out.sum(dim=(0, 1, 2), dtype=torch.float32)
        else:
            flat = torch.from_numpy(sums.astype(np.float32))
        for bias, part in zip(biases, torch.split(flat, [len(bias) for bias in biases]), strict=True):
            bias.grad = part.clone()

    def _through(self, known: _Known, gradient: Tensor) -> tuple[Tensor, NDArray[np.float64] | None]:
        """The gradient of the maps before norm, limits and pooling, and each channel's sum if it is known."""
        if self._only_convolves:
            _, h, w, _ = known.maps.shape
            return gradient[:, :h, :w].contiguous(), None
        maps, gradients, limits = array(known.maps), array(gradient), self._limits
        out = torch.empty_like(known.maps)
        if self.norm is None and not self.pooled:
            return out, kernels.passed(gradients, maps, known.shift, limits, array(out))
        sums = kernels.gradient_sums_pooled if self.pooled else kernels.gradient_sums
        plain, weighted = sums(gradients, maps, known.scale, known.shift, limits)
        constant = slope = np.zeros(len(plain), np.float32)
        if self.norm is not None and known.moments is not None:
            count = maps.size // maps.shape[3]
            constant, slope = norm_back(self.norm, (plain, weighted), known.moments, known.scale, count)
        run = kernels.spread_pooled if self.pooled else kernels.spread
        run(gradients, maps, known.scale, known.shift, limits, constant, slope, array(out))
        return out, plain if self.norm is None else None

    def broken(self, known: _Known) -> bool:
        """Whether something in it is no number, which a comparison could hide: limits and pooling compare."""
        if known.moments is not None:
            return not np.isfinite(known.moments[1]).all()
        finite = all(bool(weight.isfinite().all()) for weight in known.weights)
        return not (finite and np.isfinite(known.shift).all())


@dataclass(frozen=True)
class Pool(Operation):
    """The maximum of windows of any size and stride; the last may reach beyond the map if `ceil`."""

    window: int
    stride: int
    ceil: bool

    def forward(self, x: Tensor, border: int, train: bool) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """See `Operation.forward`."""
        n, h, w, c = x.shape
        out = torch.empty((n, self.size(h), self.size(w), c), dtype=x.dtype)
        kernels.pooled(array(x), self.window, self.stride, array(out))
        return bordered(out, border), (x, out)

    def size(self, side: int) -> int:
        """Height or width of what comes out, of maps that are so high or wide."""
        steps = side - self.window + (self.stride - 1 if self.ceil else 0)
        size = steps // self.stride + 1
        return size - 1 if (size - 1) * self.stride >= side else size

    def back(self, known: tuple[Tensor, Tensor], gradient: Tensor, first: bool) -> Tensor:
        """See `Operation.back`."""
        x, pooled = known
        out = torch.empty_like(x)
        arrays = array(gradient), array(x), array(pooled)
        kernels.spread_windows(*arrays, self.window, self.stride, array(out))
        return out


@dataclass(frozen=True, eq=False)
class Drop(Operation):
    """Leave out a share of the numbers at random, and enlarge the others."""

    share: float

    def forward(self, x: Tensor, border: int, train: bool) -> tuple[Tensor, Tensor | None]:
        """See `Operation.forward`; draws from torch's own generator, as its modules do."""
        if not train:
            return bordered(x, border), None
        kept = torch.empty_like(x).bernoulli_(1 - self.share).div_(1 - self.share)
        return bordered(x * kept, border), kept

    def back(self, known: Tensor | None, gradient: Tensor, first: bool) -> Tensor:
        """See `Operation.back`."""
        assert known is not None
        _, h, w, _ = known.shape
        return gradient[:, :h, :w] * known


@dataclass(frozen=True, eq=False)
class Mean(Operation):
    """The mean of each map, which has shape (n, 1, 1, c)."""

    def forward(self, x: Tensor, border: int, train: bool) -> tuple[Tensor, torch.Size]:
        """See `Operation.forward`."""
        return bordered(x.mean(dim=(1, 2), keepdim=True), border), x.shape

    def back(self, known: torch.Size, gradient: Tensor, first: bool) -> Tensor:
        """See `Operation.back`."""
        _, h, w, _ = known
        return (gradient[:, :1, :1] / (h * w)).expand(known).contiguous()


@dataclass(frozen=True, eq=False)
class Dense(Operation):
    """Flatten, in torch's order, and one dense layer."""

    dense: nn.Linear

    def forward(self, x: Tensor, border: int, train: bool) -> tuple[Tensor, Any]:
        """See `Operation.forward`."""
        features, weight = self._flat(x), self.dense.weight.detach().to(x.dtype)
        if not self._turns_maps(x):
            _, h, w, c = x.shape
            weight = self.dense.weight.detach().view(-1, c, h, w).permute(0, 2, 3, 1).flatten(1).to(x.dtype)
        bias = _typed(self.dense.bias, x)
        out = features @ weight.t() if bias is None else torch.addmm(bias, features, weight.t())
        return bordered(out[:, None, None], border), (x.shape, features, weight)

    def _turns_maps(self, x: Tensor) -> bool:
        """Whether the maps are brought into the order of the weights, where those are more; or else those."""
        return len(self.dense.weight) > len(x)

    def _flat(self, x: Tensor) -> Tensor:
        return (x.permute(0, 3, 1, 2) if self._turns_maps(x) else x).flatten(1)

    def back(self, known: Any, gradient: Tensor, first: bool) -> Tensor:
        """See `Operation.back`."""
        shape, features, weight = known
        n, h, w, c = shape
        coming = gradient[:, 0, 0]
        if self.dense.bias is not None:
            self.dense.bias.grad = coming.sum(0, dtype=torch.float32)
        if _is_wide(weight):
            columns = torch.from_numpy(array(coming).T @ array(features))
            back = torch.from_numpy(array(coming) @ array(weight))
        else:
            columns, back = (coming.t() @ features).float(), coming @ weight
        if len(weight) > n:
            self.dense.weight.grad = columns
            return back.view(n, c, h, w).permute(0, 2, 3, 1).contiguous()
        columns = columns.view(-1, h, w, c).permute(0, 3, 1, 2)
        self.dense.weight.grad = columns.reshape(self.dense.weight.shape)
        return back.view(n, h, w, c)


def _is_wide(weight: Tensor) -> bool:
    """Whether gradients are numpy's products: its BLAS is up to twice as fast here where units are many."""
    return weight.dtype == torch.float32 and len(weight) >= 64


@dataclass(frozen=True, eq=False)
class Added(Operation):
    """Operations whose output is added to their input."""

    operations: tuple[Operation, ...]

    def forward(self, x: Tensor, border: int, train: bool) -> tuple[Tensor, Any]:
        """See `Operation.forward`."""
        y, known = run(self.operations, x, train)
        return bordered(y + x, border), known

    def back(self, known: Any, gradient: Tensor, first: bool) -> Tensor:
        """See `Operation.back`."""
        return run_back(self.operations, known, gradient, False) + gradient


Passes = list[Any]  # what each operation of a run has to know on the way back


def run(operations: tuple[Operation, ...], x: Tensor, train: bool) -> tuple[Tensor, Passes]:
    """All of them, one after another; maps are kept for the way back only."""
    passes = []
    for operation, after in zip(operations, (*operations[1:], None), strict=True):
        x, known = operation.forward(x, 0 if after is None else after.border, train)
        passes += [known] if train else []
        del known
    return x, passes


def run_back(operations: tuple[Operation, ...], passes: Passes, gradient: Tensor, first: bool) -> Tensor:
    """The way back; `first` says that nobody asks for the gradient of what they began with."""
    for operation, known in zip(reversed(operations), reversed(passes), strict=True):
        gradient = operation.back(known, gradient, first and operation is operations[0])
    return gradient


def broken(operations: tuple[Operation, ...], passes: Passes) -> bool:
    """Whether something in one of them is no number."""
    pairs = zip(operations, passes, strict=True)
    return any(
        operation.broken(known)
        if isinstance(operation, Layer)
        else isinstance(operation, Added) and broken(operation.operations, known)
        for operation, known in pairs
    )


def bordered(x: Tensor, border: int) -> Tensor:
    """The maps with so many rows and columns of zeros more."""
    return F.pad(x, (0, 0, 0, border, 0, border)) if border else x


def array(tensor: Tensor) -> kernels.Maps:
    """The tensor's memory as the kernels see it."""
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.uint16)
    found: NDArray[Any] = tensor.numpy()
    return found


def _typed(parameter: Tensor | None, x: Tensor) -> Tensor | None:
    return None if parameter is None else parameter.detach().to(x.dtype)


def _shape(convolution: nn.Conv2d) -> tuple[Any, ...]:
    """Stride, padding, dilation and groups."""
    return convolution.stride, convolution.padding, convolution.dilation, convolution.groups


def _weight(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """The weights of a convolution of `x`, in its type and layout."""
    weight = convolution.weight.detach().to(x.dtype, memory_format=torch.channels_last)
    if x.shape[3] > 1:
        return weight
    # one channel lies in memory as both layouts have it: unless told, torch takes it for the slower one
    rows, columns = convolution.kernel_size
    return weight.contiguous().as_strided(weight.shape, (rows * columns, 1, columns, 1))


def _convolution_back(
    convolution: nn.Conv2d, x: Tensor, weight: Tensor, gradient: Tensor, wanted: bool
) -> Tensor:
    """Set the gradient of a convolution's weights; returns that of its input, if it is wanted."""
    stride, padding, dilation, groups = _shape(convolution)
    back, by_weight, _ = torch.ops.aten.convolution_backward(
        gradient.permute(0, 3, 1, 2),
        x.permute(0, 3, 1, 2),
        weight,
        None,
        stride,
        padding,
        dilation,
        False,
        [0, 0],
        groups,
        [wanted, True, False],
    )
    # a new tensor: what has one channel looks contiguous, whatever its strides
    convolution.weight.grad = by_weight.float().contiguous().view(-1).view(weight.shape)
    return back.permute(0, 2, 3, 1).contiguous() if wanted else gradient


def follow(norm: nn.BatchNorm2d, mean: NDArray[Any], variance: NDArray[Any], count: int) -> None:
    """Let the running moments follow those of a batch, of so many numbers of each channel."""
    running_mean, running_variance = running(norm)
    share = norm.momentum or 0.0
    running_mean += share * (mean - running_mean)
    running_variance += share * (variance * (count / max(1, count - 1)) - running_variance)
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked += 1


def norm_back(
    norm: nn.BatchNorm2d,
    sums: kernels.Pair,
    moments: tuple[NDArray[Any], NDArray[Any]],
    scale: kernels.Vector,
    count: int,
) -> tuple[kernels.Vector, kernels.Vector]:
    """Set the gradients of a norm; returns the constant and the slope that `kernels.spread` takes.

    Parameters
    ----------
    sums : of each channel, of the gradient that comes to it and of that times the maps
    moments : the batch's mean of each channel, and the inverse of its deviation
    scale, count : what the maps are multiplied by, and their numbers in each channel
    """
    (plain, weighted), (mean, inverse) = sums, moments
    by_scale = (weighted - mean * plain) * inverse
    norm.bias.grad = torch.from_numpy(plain.astype(np.float32))
    norm.weight.grad = torch.from_numpy(by_scale.astype(np.float32))
    slope = (-scale * inverse * by_scale / count).astype(np.float32)
    return (-scale * plain / count - slope * mean).astype(np.float32), slope


def running(norm: nn.BatchNorm2d) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Running mean and variance; writing to them writes to the module."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean.numpy(), norm.running_var.numpy()


def _width(pixels: int, channels: int) -> int:
    """Length of the rows into which a map of so many pixels is cut."""
    together = 1
    while together * channels < _ROW and pixels % (2 * together) == 0:
        together *= 2
    return together * channels
