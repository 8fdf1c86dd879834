"""Chains of convolution, batch norm, ReLU and pooling, with the fewest passes over memory, on one CPU thread.

The convolutions are torch's (oneDNN's), in the layout and type in which they are fastest; everything between
them is in `kernels`. Gradients are written out by hand: a step is a short list of calls, with no graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from cpmodel.engine import kernels
from cpmodel.engine.base import Engine, Normalisation
from cpmodel.families.modules import EvenConv2d

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_ROW = 64  # numbers of a map that the moments take at a time, at least


@dataclass(frozen=True, eq=False)
class _Layer:
    """One convolution with what follows it, up to the next."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d
    pooled: bool

    @property
    def even(self) -> int:
        """1 if the kernel is even: its input then has one row and one column of zeros more."""
        return 1 - self.convolution.kernel_size[0] % 2

    @property
    def padding(self) -> int:
        return (self.convolution.kernel_size[0] - 1) // 2


@dataclass(frozen=True, eq=False)
class _Pass:
    """What the gradient of a layer needs of its forward pass; maps have shape (n, h, w, c)."""

    input: Tensor
    weight: Tensor
    maps: Tensor
    mean: NDArray[np.float64]
    inverse: NDArray[np.float64]
    scale: kernels.Vector
    shift: kernels.Vector


class FusedEngine(Engine):
    """Executes ``[convolution, batch norm, ReLU, 2 x 2 pooling or none] ..., flatten, dense``: see `of`."""

    def __init__(
        self, layers: tuple[_Layer, ...], dense: nn.Linear, normalisation: Normalisation, dtype: str
    ) -> None:
        self._layers, self._dense, self._dtype = layers, dense, _DTYPES[dtype]
        mean, factor = (torch.tensor(v) for v in normalisation)
        self._table = ((torch.arange(256)[:, None] - mean) * factor).to(self._dtype)

    @classmethod
    def of(cls, network: nn.Module, normalisation: Normalisation, dtype: str = "float32") -> Self | None:
        """The engine of `network`, whose tensors it shares; None if it is no such chain."""
        parts = list(network) if isinstance(network, nn.Sequential) else []
        layers = []
        while len(parts) >= 3 and (layer := _layer(parts)) is not None:
            layers.append(layer)
            del parts[: 4 if layer.pooled else 3]
        if not layers or len(parts) != 2 or not isinstance(parts[0], nn.Flatten):
            return None
        dense = parts[1]
        if not isinstance(dense, nn.Linear) or dense.bias is None:
            return None
        return cls(tuple(layers), dense, normalisation, dtype)

    def backpropagate(self, images: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """See `Engine.backpropagate`."""
        with torch.no_grad():
            x = self._input(images)
            passes = []
            for layer, after in zip(self._layers, (*self._layers[1:], None), strict=True):
                done = self._forward(layer, x)
                passes.append(done)
                x = self._output(layer, after, done.maps, done.scale, done.shift)
            features, weight = x.flatten(1), self._dense_weight(x)
            logits = torch.addmm(self._dense.bias.to(self._dtype), features, weight.t())
            gradient = torch.empty_like(logits)
            loss = kernels.cross_entropy(_array(logits), labels.numpy(), smoothing, _array(gradient))
            self._dense.bias.grad = gradient.sum(0, dtype=torch.float32)
            n, h, w, c = x.shape
            columns = (gradient.t() @ features).float().view(-1, h, w, c).permute(0, 3, 1, 2)
            self._dense.weight.grad = columns.reshape(self._dense.weight.shape)
            back = (gradient @ weight).view(n, h, w, c)
            for layer, done in zip(reversed(self._layers), reversed(passes), strict=True):
                back = self._backward(layer, done, back, first=layer is self._layers[0])
            # a comparison with NaN is false, so ReLU and pooling could hide one: the moments cannot
            broken = not all(np.isfinite(done.inverse).all() for done in passes)
        return torch.tensor(np.nan if broken else loss)

    def logits(self, images: Tensor) -> Tensor:
        """See `Engine.logits`."""
        with torch.inference_mode():
            x = self._input(images)
            for layer, after in zip(self._layers, (*self._layers[1:], None), strict=True):
                maps = self._convolved(layer, x, self._weight(layer, x))
                norm = layer.norm
                mean, variance = _running(norm)
                scale = norm.weight.numpy() / np.sqrt(variance + norm.eps)
                shift = norm.bias.numpy() - mean * scale
                x = self._output(layer, after, maps, scale.astype(np.float32), shift.astype(np.float32))
            bias = self._dense.bias.to(self._dtype)
            return torch.addmm(bias, x.flatten(1), self._dense_weight(x).t()).float()

    # forward

    def _input(self, images: Tensor) -> Tensor:
        """uint8, shape (n, c, h, w) -> what the first convolution reads, shape (n, h, w, c)."""
        n, c, h, w = images.shape
        # a single channel makes torch leave the layout with the channels last: gray gets a second, of zeros
        x = self._empty(n, h, w, max(c, 2), self._layers[0].even, zeros=c < 2)
        pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
        kernels.looked_up(pixels, _array(self._table), _array(x))
        return x

    def _weight(self, layer: _Layer, x: Tensor) -> Tensor:
        """The weights of a layer, as many channels as its input `x` has."""
        weight = layer.convolution.weight
        if missing := x.shape[3] - weight.shape[1]:
            weight = F.pad(weight, (0, 0, 0, 0, 0, missing))
        return weight.to(self._dtype, memory_format=torch.channels_last)

    def _convolved(self, layer: _Layer, x: Tensor, weight: Tensor) -> Tensor:
        maps = torch.conv2d(x.permute(0, 3, 1, 2), weight, None, 1, layer.padding)
        return maps.permute(0, 2, 3, 1).contiguous()

    def _forward(self, layer: _Layer, x: Tensor) -> _Pass:
        weight = self._weight(layer, x)
        maps = self._convolved(layer, x, weight)
        norm, channels = layer.norm, maps.shape[3]
        count = maps.numel() // channels
        mean, variance = kernels.moments(_array(maps).reshape(-1, _width(count, channels)), channels)
        running_mean, running_variance = _running(norm)
        share = norm.momentum or 0.0
        running_mean += share * (mean - running_mean)
        running_variance += share * (variance * (count / max(1, count - 1)) - running_variance)
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked += 1
        inverse = 1 / np.sqrt(variance + norm.eps)
        scale = norm.weight.numpy() * inverse
        shift = norm.bias.numpy() - mean * scale
        return _Pass(x, weight, maps, mean, inverse, scale.astype(np.float32), shift.astype(np.float32))

    def _output(
        self, layer: _Layer, after: _Layer | None, maps: Tensor, scale: kernels.Vector, shift: kernels.Vector
    ) -> Tensor:
        """Normalised, rectified and pooled maps, as the next convolution reads them."""
        n, h, w, c = maps.shape
        half = 2 if layer.pooled else 1
        x = self._empty(n, h // half, w // half, c, 0 if after is None else after.even)
        run = kernels.activated_pooled if layer.pooled else kernels.activated
        run(_array(maps), scale, shift, _array(x))
        return x

    def _empty(self, n: int, h: int, w: int, c: int, border: int, zeros: bool = False) -> Tensor:
        make = torch.zeros if border or zeros else torch.empty
        return make((n, h + border, w + border, c), dtype=self._dtype)

    def _dense_weight(self, x: Tensor) -> Tensor:
        """The dense layer's weights in the order of maps with the channels last."""
        _, h, w, c = x.shape
        return self._dense.weight.view(-1, c, h, w).permute(0, 2, 3, 1).flatten(1).to(self._dtype)

    # back

    def _backward(self, layer: _Layer, done: _Pass, gradient: Tensor, first: bool) -> Tensor:
        """Set the layer's gradients; returns that of its input (of the first layer: nothing)."""
        maps, gradients = _array(done.maps), _array(gradient)
        sums = kernels.gradient_sums_pooled if layer.pooled else kernels.gradient_sums
        plain, weighted = sums(gradients, maps, done.scale, done.shift)
        by_scale = (weighted - done.mean * plain) * done.inverse
        layer.norm.bias.grad = torch.from_numpy(plain.astype(np.float32))
        layer.norm.weight.grad = torch.from_numpy(by_scale.astype(np.float32))
        count = maps.size // maps.shape[3]
        slope = (-done.scale * done.inverse * by_scale / count).astype(np.float32)
        constant = (-done.scale * plain / count - slope * done.mean).astype(np.float32)
        out = torch.empty_like(done.maps)
        run = kernels.spread_pooled if layer.pooled else kernels.spread
        run(gradients, maps, done.scale, done.shift, constant, slope, _array(out))
        back, weight, _ = torch.ops.aten.convolution_backward(
            out.permute(0, 3, 1, 2),
            done.input.permute(0, 3, 1, 2),
            done.weight,
            None,
            [1, 1],
            [layer.padding, layer.padding],
            [1, 1],
            False,
            [0, 0],
            1,
            [not first, True, False],
        )
        own = layer.convolution.weight
        own.grad = weight[:, : own.shape[1]].float().contiguous()
        return gradient if first else back.permute(0, 2, 3, 1).contiguous()


def _layer(parts: list[nn.Module]) -> _Layer | None:
    """The layer at the head of a chain, if it is one that can be fused."""
    convolution, norm, relu = parts[:3]
    if not (isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)):
        return None
    k = convolution.kernel_size[0]
    padding = (k - 1) // 2
    plain = (
        isinstance(relu, nn.ReLU)
        and convolution.bias is None
        and convolution.kernel_size == (k, k)
        and convolution.stride == (1, 1)
        and convolution.dilation == (1, 1)
        and convolution.groups == 1
        and convolution.padding == (padding, padding)
        and (type(convolution) is nn.Conv2d if k % 2 else isinstance(convolution, EvenConv2d))
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
    )
    if not plain:
        return None
    pool = parts[3] if len(parts) > 3 else None
    pooled = isinstance(pool, nn.MaxPool2d) and (pool.kernel_size, pool.stride, pool.padding) == (2, 2, 0)
    return _Layer(convolution, norm, pooled)


def _running(norm: nn.BatchNorm2d) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Running mean and variance; writing to them writes to the module."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean.numpy(), norm.running_var.numpy()


def _array(tensor: Tensor) -> kernels.Maps:
    """The tensor's memory as the kernels see it."""
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.uint16)
    array: NDArray[Any] = tensor.detach().numpy()
    return array


def _width(pixels: int, channels: int) -> int:
    """Length of the rows into which a map of so many pixels is cut."""
    together = 1
    while together * channels < _ROW and pixels % (2 * together) == 0:
        together *= 2
    return together * channels
