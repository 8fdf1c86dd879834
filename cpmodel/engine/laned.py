"""Networks whose maps have the images innermost: what the fused engine does, for few channels and small maps.

The compiled parts are in `cpmodel.engine.lanes`. An operation takes maps of shape (c, h, w, n), float32,
contiguous, and gives such; what is flat has shape (c, 1, 1, n). Nobody writes to maps that he did not make.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cpmodel.engine import kernels, lanes, operations
from cpmodel.engine.base import Engine, Normalisation
from cpmodel.engine.kernels import Vector
from cpmodel.engine.lanes import Maps
from cpmodel.engine.operations import WITHOUT_LIMITS
from cpmodel.engine.reading import read
from cpmodel.families.modules import EvenConv2d

_WIDE = 4000  # from so many weights of one convolution oneDNN is faster
_MANY = 300  # from so many weights of 1 x 1 a product of matrices is faster than the kernel


class LanesEngine(Engine):
    """Executes a chain of known modules in float32; its tensors are shared."""

    def __init__(self, steps: tuple[_Step, ...], normalisation: Normalisation) -> None:
        self._steps = steps
        self._mean, self._factor = (np.array(v, np.float32) for v in normalisation)

    @classmethod
    def of(cls, network: nn.Module, normalisation: Normalisation) -> Self | None:
        """The engine of `network`; None if it does not know something in it, or is not the faster one.

        Networks of convolutions with batch norm alone are left to the fused engine, so that they stay the
        same bit for bit.
        """
        found = read(network)
        if found is None or all(_is_normed(operation) for operation in found):
            return None
        steps = _steps(found)
        return None if steps is None else cls(steps, normalisation)

    def backpropagate(self, images: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """See `Engine.backpropagate`."""
        with torch.no_grad():
            last, known = _run(self._steps, self._seen(images), True)
            logits = np.ascontiguousarray(last[:, 0, 0].T)
            gradient = np.empty_like(logits)
            loss = kernels.cross_entropy(logits, labels.numpy(), smoothing, gradient)
            _run_back(self._steps, known, np.ascontiguousarray(gradient.T)[:, None, None], False)
        return torch.tensor(loss)

    def logits(self, images: Tensor) -> Tensor:
        """See `Engine.logits`."""
        with torch.inference_mode():
            last, _ = _run(self._steps, self._seen(images), False)
            return torch.from_numpy(np.ascontiguousarray(last[:, 0, 0].T))

    def _seen(self, images: Tensor) -> Maps:
        """What the network sees of images, uint8, shape (n, c, h, w)."""
        pixels = images.permute(1, 2, 3, 0).contiguous().numpy()
        out = np.empty(pixels.shape, np.float32)
        lanes.seen(pixels, self._mean, self._factor, out)
        return out


class _Step(ABC):
    """One operation of a network's forward pass, and of the way back."""

    @abstractmethod
    def forward(self, x: Maps, train: bool) -> tuple[Maps, Any]:
        """What comes of x, and what `back` has to know of it."""

    @abstractmethod
    def back(self, known: Any, gradient: Maps, wanted: bool) -> Maps:
        """Set the gradients of parameters; returns that of x (nothing of use if it is not wanted)."""


_Steps = tuple[_Step, ...]


def _run(steps: _Steps, x: Maps, train: bool) -> tuple[Maps, list[Any]]:
    """All of them, one after another."""
    known = []
    for step in steps:
        x, kept = step.forward(x, train)
        known.append(kept if train else None)
    return x, known


def _run_back(steps: _Steps, known: list[Any], gradient: Maps, wanted: bool) -> Maps:
    """The way back; whether the gradient of what they began with is wanted."""
    for number in reversed(range(len(steps))):
        gradient = steps[number].back(known.pop(), gradient, wanted or number > 0)
    return gradient


def _steps(found: tuple[operations.Operation, ...]) -> _Steps | None:
    """The steps that do what operations do; None if one has a convolution that is not known here."""
    steps: list[_Step] = []
    for operation in found:
        match operation:
            case operations.Layer():
                if not all(_is_known(module) for module in operation.convolutions):
                    return None
                steps += _layer(operation)
            case operations.Added():
                inner = _steps(operation.operations)
                if inner is None:
                    return None
                steps.append(_Added(inner))
            case operations.Pool(window, stride, ceil):
                steps.append(_Pool(window, stride, ceil))
            case operations.Drop(share):
                steps.append(_Drop(share))
            case operations.Mean():
                steps.append(_Mean())
            case operations.Dense(dense):
                steps.append(_Dense(dense))
            case _:
                return None
    return tuple(steps)


def _is_known(module: nn.Conv2d) -> bool:
    """Whether the kernels do this convolution, and are not slower than others."""
    inside = all(
        isinstance(p, int) and p < k for p, k in zip(module.padding, module.kernel_size, strict=True)
    )
    wide = module.groups == 1 and module.kernel_size != (1, 1) and module.weight.numel() >= _WIDE
    return inside and not wide and module.dilation == (1, 1) and module.stride[0] == module.stride[1]


def _is_normed(operation: operations.Operation) -> bool:
    """Whether it is a convolution with batch norm, or the dense layer behind those."""
    if isinstance(operation, operations.Dense):
        return True
    layer = operation if isinstance(operation, operations.Layer) else operations.Layer()
    return layer.norm is not None and all(module.bias is None for module in layer.convolutions)


def _layer(layer: operations.Layer) -> Iterator[_Step]:
    """Convolutions, which keep the limits unless there is a norm before them; norm; pooling."""
    limits = layer.limits if layer.norm is None else WITHOUT_LIMITS
    beside = tuple(_Convolution(module, limits) for module in layer.convolutions)
    if beside:
        yield beside[0] if len(beside) == 1 else _Beside(beside)
    if layer.norm is not None or (not beside and limits != WITHOUT_LIMITS):
        yield _Norm(layer.norm, layer.limits)
    if layer.pooled:
        yield _Pool(2, 2, False)


@dataclass(frozen=True, eq=False)
class _Convolution(_Step):
    """A convolution whose output is kept within limits, as by ReLU."""

    module: nn.Conv2d
    limits: tuple[float, float]

    def forward(self, x: Maps, train: bool) -> tuple[Maps, Any]:
        """See `_Step.forward`."""
        module, stride = self.module, self.module.stride[0]
        bias = np.zeros(module.out_channels, np.float32)
        bias = bias if module.bias is None else module.bias.detach().numpy()
        room = _padded(x, self._before, int(isinstance(module, EvenConv2d)))
        _, h, w, n = room.shape
        rows, columns = ((a - k) // stride + 1 for a, k in zip((h, w), module.kernel_size, strict=True))
        out = np.empty((module.out_channels, rows, columns, n), np.float32)
        weights, limits = module.weight.detach().numpy(), np.array(self.limits, np.float32)
        _correlate(room, weights, module.groups, stride, bias, limits, out)
        return out, (x.shape, room, out)

    @property
    def _before(self) -> tuple[int, int]:
        """Rows and columns of zeros before the maps."""
        rows, columns = map(int, self.module.padding)
        return rows, columns

    def back(self, known: Any, gradient: Maps, wanted: bool) -> Maps:
        """See `_Step.back`."""
        shape, room, out = known
        module, k, stride = self.module, self.module.kernel_size, self.module.stride[0]
        sums = None
        if self.limits != WITHOUT_LIMITS:
            through = np.empty_like(gradient)
            sums = lanes.passed(gradient, out, np.array(self.limits, np.float32), through)
            gradient = through
        if module.bias is not None:
            sums = gradient.sum(axis=(1, 2, 3)) if sums is None else sums
            module.bias.grad = torch.from_numpy(sums.astype(np.float32))
        weights = module.weight.detach().numpy()
        by_weight = _weight_gradient(room, gradient, weights, module.groups, stride)
        module.weight.grad = torch.from_numpy(by_weight)
        if not wanted:
            return gradient
        # each pixel of the input gets what the flipped filters see of the gradient, with zeros between
        if k != (1, 1) or stride > 1:
            _, rows, columns, _ = gradient.shape
            room = np.zeros((len(gradient), shape[1] + k[0] - 1, shape[2] + k[1] - 1, shape[3]), np.float32)
            top, left = (side - 1 - zeros for side, zeros in zip(k, self._before, strict=True))
            room[:, top::stride, left::stride][:, :rows, :columns] = gradient
            gradient = room
        parts = weights[:, :, ::-1, ::-1].reshape(module.groups, -1, *weights.shape[1:])
        turned = np.ascontiguousarray(parts.transpose(0, 2, 1, 3, 4)).reshape(shape[0], -1, *k)
        back = np.empty(shape, np.float32)
        bias, limits = np.zeros(shape[0], np.float32), np.array(WITHOUT_LIMITS, np.float32)
        _correlate(gradient, turned, module.groups, 1, bias, limits, back)
        return back


def _padded(x: Maps, before: tuple[int, int], more: int) -> Maps:
    """The maps with rows and columns of zeros before them, and as many or more behind."""
    (top, left), (c, h, w, n) = before, x.shape
    if not (top or left or more):
        return x
    room = np.zeros((c, h + 2 * top + more, w + 2 * left + more, n), np.float32)
    room[:, top : top + h, left : left + w] = x
    return room


def _correlate(
    x: Maps, weights: NDArray[np.float32], groups: int, stride: int, bias: Vector, limits: Vector, out: Maps
) -> None:
    """Write what filters see of maps that have all zeros they need; weights as torch has them."""
    channels, kernel = len(out), (weights.shape[2], weights.shape[3])
    if _is_product(weights, groups, stride):
        np.matmul(weights.reshape(channels, -1), x.reshape(len(x), -1), out=out.reshape(channels, -1))
        if bias.any() or np.isfinite(limits).any():
            lanes.normed(out, np.ones(channels, np.float32), bias, limits, out)
        return
    turned = weights.reshape(groups, channels // groups, -1).transpose(0, 2, 1)
    lanes.correlate(x, np.ascontiguousarray(turned), kernel, stride, bias, limits, out)


def _weight_gradient(
    x: Maps, gradient: Maps, weights: NDArray[np.float32], groups: int, stride: int
) -> NDArray[np.float32]:
    """The gradient of weights, given that of what `_correlate` wrote."""
    shape, channels = weights.shape, len(gradient)
    if _is_product(weights, groups, stride):
        product: NDArray[np.float32] = gradient.reshape(channels, -1) @ x.reshape(len(x), -1).T
        return product.reshape(shape)
    found = np.empty((groups, shape[1] * shape[2] * shape[3], channels // groups), np.float32)
    lanes.weight_gradient(x, gradient, (shape[2], shape[3]), stride, found)
    return np.ascontiguousarray(found.transpose(0, 2, 1)).reshape(shape)


def _is_product(weights: NDArray[np.float32], groups: int, stride: int) -> bool:
    """Whether a product of matrices does the same, faster than the kernel."""
    return weights.shape[2:] == (1, 1) and groups == stride == 1 and weights.size >= _MANY


@dataclass(frozen=True, eq=False)
class _Beside(_Step):
    """Convolutions of the same maps, the outputs of one after those of another."""

    convolutions: tuple[_Convolution, ...]

    def forward(self, x: Maps, train: bool) -> tuple[Maps, Any]:
        """See `_Step.forward`."""
        made = [convolution.forward(x, train) for convolution in self.convolutions]
        return np.concatenate([out for out, _ in made]), [known for _, known in made]

    def back(self, known: Any, gradient: Maps, wanted: bool) -> Maps:
        """See `_Step.back`."""
        ends = np.cumsum([convolution.module.out_channels for convolution in self.convolutions])
        total: Maps = gradient
        for number, part in enumerate(np.split(gradient, ends[:-1])):
            back = self.convolutions[number].back(known[number], part, wanted)
            total = total + back if number and wanted else back
        return total


@dataclass(frozen=True, eq=False)
class _Norm(_Step):
    """Batch norm, or nothing, and limits, as of ReLU."""

    module: nn.BatchNorm2d | None
    limits: tuple[float, float]

    def forward(self, x: Maps, train: bool) -> tuple[Maps, Any]:
        """See `_Step.forward`; in training the moments are the batch's, and go into the running ones."""
        norm = self.module
        scale, shift = np.ones(len(x)), np.zeros(len(x))
        mean: NDArray[Any] = shift
        inverse: NDArray[Any] = scale
        if norm is not None:
            mean, variance = lanes.moments(x) if train else operations.running(norm)
            if train:
                operations.follow(norm, mean, variance, x[0].size)
            inverse = 1 / np.sqrt(variance + norm.eps)
            scale = norm.weight.detach().numpy() * inverse
            shift = norm.bias.detach().numpy() - mean * scale
        by = scale.astype(np.float32), shift.astype(np.float32), np.array(self.limits, np.float32)
        out = np.empty_like(x)
        lanes.normed(x, *by, out)
        return out, (x, by, mean, inverse)

    def back(self, known: Any, gradient: Maps, wanted: bool) -> Maps:
        """See `_Step.back`."""
        x, by, mean, inverse = known
        constant = slope = np.zeros(len(x), np.float32)
        if self.module is not None:
            sums = lanes.gradient_sums(gradient, x, *by)
            constant, slope = operations.norm_back(self.module, sums, (mean, inverse), by[0], x[0].size)
        out: Maps = np.empty_like(x)
        lanes.spread(gradient, x, *by, constant, slope, out)
        return out


@dataclass(frozen=True)
class _Pool(_Step):
    """See `cpmodel.engine.operations.Pool`."""

    window: int
    stride: int
    ceil: bool

    def forward(self, x: Maps, train: bool) -> tuple[Maps, Any]:
        """See `_Step.forward`."""
        c, h, w, n = x.shape
        size = operations.Pool(self.window, self.stride, self.ceil).size
        out = np.empty((c, size(h), size(w), n), np.float32)
        lanes.pooled(x, self.window, self.stride, out)
        return out, (x, out)

    def back(self, known: Any, gradient: Maps, wanted: bool) -> Maps:
        """See `_Step.back`."""
        x, out = known
        back: Maps = np.empty_like(x)
        lanes.spread_windows(gradient, x, out, self.window, self.stride, back)
        return back


@dataclass(frozen=True)
class _Drop(_Step):
    """Leave out a share of the numbers at random, and enlarge the others."""

    share: float

    def forward(self, x: Maps, train: bool) -> tuple[Maps, Any]:
        """See `_Step.forward`; draws from torch's own generator, as its modules do."""
        if not train:
            return x, None
        # numbers of 16 bits, four at a time: the share is kept to 1 in 65,536
        drawn = torch.empty(-(-x.size // 4), dtype=torch.int64).random_(-(2**63), None)
        known = drawn.numpy().view(np.uint16)[: x.size].reshape(x.shape)
        return self._left(x, known), known

    def back(self, known: Any, gradient: Maps, wanted: bool) -> Maps:
        """See `_Step.back`."""
        return self._left(gradient, known)

    def _left(self, maps: Maps, drawn: NDArray[np.uint16]) -> Maps:
        out, factor = np.empty_like(maps), np.float32(1 / (1 - self.share))
        lanes.left(maps, drawn, np.uint16(min(round(self.share * 65536), 65535)), factor, out)
        return out


@dataclass(frozen=True)
class _Mean(_Step):
    """The mean of each map."""

    def forward(self, x: Maps, train: bool) -> tuple[Maps, Any]:
        """See `_Step.forward`."""
        out: Maps = x.mean(axis=(1, 2), keepdims=True)
        return out, x.shape

    def back(self, known: Any, gradient: Maps, wanted: bool) -> Maps:
        """See `_Step.back`."""
        share = gradient * np.float32(1 / (known[1] * known[2]))
        back: Maps = np.broadcast_to(share, known).copy()
        return back


@dataclass(frozen=True, eq=False)
class _Dense(_Step):
    """Flatten, which changes nothing in memory, and one dense layer."""

    module: nn.Linear

    def forward(self, x: Maps, train: bool) -> tuple[Maps, Any]:
        """See `_Step.forward`."""
        out: Maps = self.module.weight.detach().numpy() @ _flat(x)
        if self.module.bias is not None:
            out += self.module.bias.detach().numpy()[:, None]
        return out[:, None, None], x

    def back(self, known: Any, gradient: Maps, wanted: bool) -> Maps:
        """See `_Step.back`."""
        coming = _flat(gradient)
        if self.module.bias is not None:
            self.module.bias.grad = torch.from_numpy(coming.sum(axis=1))
        self.module.weight.grad = torch.from_numpy(coming @ _flat(known).T)
        back: Maps = (self.module.weight.detach().numpy().T @ coming).reshape(known.shape)
        return back


def _flat(maps: Maps) -> NDArray[np.float32]:
    return maps.reshape(-1, maps.shape[3])


@dataclass(frozen=True, eq=False)
class _Added(_Step):
    """Steps whose output is added to their input."""

    steps: _Steps

    def forward(self, x: Maps, train: bool) -> tuple[Maps, Any]:
        """See `_Step.forward`."""
        y, known = _run(self.steps, x, train)
        return x + y, known

    def back(self, known: Any, gradient: Maps, wanted: bool) -> Maps:
        """See `_Step.back`."""
        return gradient + _run_back(self.steps, known, gradient, True)
