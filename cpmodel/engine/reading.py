"""What a network does, as a chain of operations; None of one in which something is not known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import nn

from cpmodel.engine.operations import (
    WITHOUT_LIMITS,
    Added,
    Dense,
    Drop,
    Layer,
    Mean,
    Operation,
    Pool,
)
from cpmodel.families.modules import EvenConv2d, Fire, InvertedResidual

_KNOWN = {
    *(nn.Conv2d, EvenConv2d, nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.MaxPool2d, nn.AdaptiveAvgPool2d),
    *(nn.Dropout, nn.Flatten, nn.Linear, Fire, InvertedResidual),
}
_HALF = Pool(2, 2, False)
_LIMITS: dict[type[nn.Module], tuple[float, float]] = {nn.ReLU: (0.0, np.inf), nn.ReLU6: (0.0, 6.0)}


def read(network: nn.Module) -> tuple[Operation, ...] | None:
    """The operations of a chain, whose tensors they share; None if there is one that nobody knows."""
    modules = list(_chain(network))
    shared = [parameter for module in modules for parameter in module.parameters()]
    hooked = any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    if hooked or len({id(parameter) for parameter in shared}) < len(shared):
        return None
    return _read(modules)


def _chain(module: nn.Module) -> Iterator[nn.Module]:
    """The modules that are called one after another; a pooling of 4 x 4 is one of 2 x 2, twice."""
    if type(module) is nn.MaxPool2d and _pool(module) == Pool(4, 4, False):
        yield from (nn.MaxPool2d(2), nn.MaxPool2d(2))
    elif isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        for inner in module:  # its children would be each once
            yield from _chain(inner)
    else:
        yield module


def _read(modules: list[nn.Module]) -> tuple[Operation, ...] | None:
    """The operations of a chain; None if there is one that nobody knows."""
    found: list[Operation | None] = []
    left, flat = list(modules), False
    while left:
        module = left.pop(0)
        if type(module) not in _KNOWN:  # what inherits from one may do something else
            return None
        match module:
            case nn.Flatten(start_dim=1, end_dim=-1):
                flat = True
            case nn.Dropout(p=share) if share < 1:
                found += [Drop(share)] if share else []
            case nn.ReLU() | nn.ReLU6():
                found.append(Layer(limits=_LIMITS[type(module)]))
            case nn.Linear() if flat:
                found.append(Dense(module))
            case nn.Conv2d() | nn.BatchNorm2d() if not flat:
                found.append(_layer(module, left))
            case nn.MaxPool2d() if not flat:
                pool = _pool(module)
                found.append(Layer(pooled=True) if pool == _HALF else pool)
            case nn.AdaptiveAvgPool2d(output_size=(1 | (1, 1))) if not flat:
                found.append(Mean())
            case Fire() if not flat:
                expand = tuple(m for m in module.children() if isinstance(m, nn.Conv2d))[1:]
                found += [Layer((module.squeeze,), limits=_LIMITS[nn.ReLU])]
                found += [Layer(expand, limits=_LIMITS[nn.ReLU])]
            case InvertedResidual() if not flat:
                found += _inverted(module)
            case _:
                return None
    known = tuple(operation for operation in found if operation is not None)
    return known if flat and len(known) == len(found) and _begins(known) else None


def _begins(operations: tuple[Operation, ...]) -> bool:
    """Whether the first one takes images, as `FusedEngine` hands them over."""
    first = operations[0] if operations else None
    return isinstance(first, Layer) and len(first.convolutions) == 1 and first.convolutions[0].groups == 1


def _layer(module: nn.Conv2d | nn.BatchNorm2d, left: list[nn.Module]) -> Layer | None:
    """A convolution or batch norm with what follows, which is taken off the chain; None if it is no such."""
    convolutions: tuple[nn.Conv2d, ...] = ()
    norm = module if isinstance(module, nn.BatchNorm2d) else None
    if isinstance(module, nn.Conv2d):
        convolutions = (module,)
        if module.padding_mode != "zeros" or isinstance(module.padding, str):
            return None
        if left and isinstance(left[0], nn.BatchNorm2d):
            norm = left[0]
            del left[0]
    if norm is not None and not (norm.affine and norm.track_running_stats and norm.momentum is not None):
        return None
    limits = _LIMITS[type(left.pop(0))] if left and type(left[0]) in _LIMITS else WITHOUT_LIMITS
    pooled = bool(left) and type(left[0]) is nn.MaxPool2d and _pool(left[0]) == _HALF
    if pooled:
        del left[0]
    return Layer(convolutions, norm, limits, pooled)


def _pool(module: nn.MaxPool2d) -> Pool | None:
    sizes = (module.kernel_size, module.stride, module.padding, module.dilation, module.return_indices)
    match sizes:
        case (int(window), int(stride), 0, 1, False) if stride <= window:
            return Pool(window, stride, module.ceil_mode)
    return None


def _inverted(block: InvertedResidual) -> list[Operation]:
    limits = _LIMITS[nn.ReLU6]
    layers = [Layer((block.depth,), block.depth_norm, limits), Layer((block.project,), block.project_norm)]
    if block.expanded:
        layers.insert(0, Layer((block.expand,), block.expand_norm, limits))
    return [Added(tuple(layers))] if block.added else list(layers)
