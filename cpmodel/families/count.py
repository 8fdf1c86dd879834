"""Complexity of a built network, counted operator by operator: a check on what families compute."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

# What operators make of which shapes, see `count`
Shapes = dict[Any, Any]

# Operators, by a part of their name, whose outputs are activations as those of convolutions and products are
_POOLINGS = ("avg_pool", "max_pool", "adaptive")
# Over the last dimensions these are poolings to one pixel
_GLOBAL_POOLINGS = ("mean", "amax")
# What makes a larger map around another is a part of the layer that comes next
_PADDING = "pad"
# Operators that move numbers, normalise them or bend them one by one count nothing, as in a `Tally`
_FREE = (
    *("norm", "softmax", "elu", "glu", "silu", "mish", "hard", "dropout"),
    *("copy", "view", "empty", "cat", "stack", "index", "gather", "shuffle", "embedding", "roll", "flip"),
    *("nearest", "im2col", "zeros", "ones", "full", "arange", "lift", "detach"),
)
# What makes weights, and what gives them their first values, which without memory they cannot have: torch
# takes half of the time of building a network for that
_MAKING = ("empty", "zeros", "ones", "full", "rand", "randn", "tensor", "eye")
_FILLING = frozenset(
    f"{name}_"
    for name in (
        *("uniform", "normal", "trunc_normal", "constant", "ones", "zeros", "zero", "fill"),
        *("kaiming_uniform", "kaiming_normal", "xavier_uniform", "xavier_normal"),
    )
)
# Operators whose first output is as large as their input; without being asked torch need not find that out
_NORMS = ("native_batch_norm", "_native_batch_norm_legit_no_training")


@dataclass(frozen=True)
class Counted:
    """What was counted on one forward pass of one image.

    Parameters
    ----------
    costs : the columns of `cpmodel.layers.Tally`; ``dense_macs`` are those of all products of matrices,
        attention included
    unseen : operators that compute with many numbers, and of which nobody has said how many
        multiply-accumulates they take: what they do is missing in ``macs``
    """

    costs: dict[str, int]
    unseen: tuple[str, ...]


def count(
    network: nn.Module,
    input_shape: Sequence[int],
    classes: int | None = None,
    shapes: Shapes | None = None,
) -> Counted:
    """Complexity of a built network, counted on every operator that runs: modules and functions alike.

    The network is copied to torch's meta device, so nothing is computed and it stays as it is. Its products
    are counted by the formulas of torch's own FLOP counter, `torch.utils.flop_counter`: 1 MAC is 2 FLOPs.

    The input shape is that of one image: (channels, height, width). Scores for another number of classes than
    is given are refused. Who counts many networks gives all of them the same `shapes`, at first empty: torch
    takes a third of a millisecond to find out what an operator makes of its inputs.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    ghost = network if _is_ghost(network) else copy.deepcopy(network).to("meta")
    weights = [*ghost.parameters(), *ghost.buffers()]
    kept = {_place(weight) for weight in weights}
    activations: list[tuple[int, int]] = []  # elements that go in and come out
    padded: dict[int, tuple[torch.Tensor, int]] = {}  # a padded map and the elements before; kept, so that
    # no other map takes its place
    flops: dict[str, int] = {}
    layers, unseen = 0, set()
    known: Shapes = {} if shapes is None else shapes

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal layers
            name, given = operator._opname, [a for a in args if isinstance(a, torch.Tensor)]
            if given and operator._schema.is_mutable and torch.Tag.pointwise in operator.tags:
                return given[0]  # it stays as large as it is
            result, operations = _result(known, operator, args, kwargs or {})
            product = operations is not None
            if operations is not None:
                flops[name] = flops.get(name, 0) + operations
            output = result[0] if isinstance(result, (tuple, list)) and result else result
            if not isinstance(output, torch.Tensor) or not given or operator.is_view:
                return result
            if _PADDING in name:
                padded[_place(output)] = output, _elements(given[0])
            elif product or _pools(name, args, given[0]):
                coming = [t for t in given if _place(t) not in kept]
                inputs = sum(padded[_place(t)][1] if _place(t) in padded else t.numel() for t in coming)
                activations.append((inputs, output.numel()))
                layers += product and name not in ("bmm", "baddbmm")
            elif _hides(operator, output, given):
                unseen.add(name)
            return result

    with torch.no_grad(), _in_evaluation(ghost), Watch():  # type: ignore[no-untyped-call]
        scores = ghost(torch.empty((1, *input_shape), device="meta"))
    if classes is not None and tuple(getattr(scores, "shape", ())) != (1, classes):
        got = tuple(getattr(scores, "shape", ())) or type(scores).__name__
        raise ValueError(f"expected scores of shape (1, {classes}) for one image, got {got}")
    convolutions = sum(n for name, n in flops.items() if "conv" in name) // 2
    products = sum(flops.values()) // 2 - convolutions
    costs = {
        "macs": convolutions + products,
        "conv_macs": convolutions,
        "dense_macs": products,
        "params": sum(p.numel() for p in ghost.parameters() if p.requires_grad),
        "weight_bytes": sum(w.numel() * w.element_size() for w in weights),
        "activation_elements": sum(out for _, out in activations),
        "activation_peak_elements": max((coming + out for coming, out in activations), default=0),
        "layers": layers,
    }
    return Counted(costs, tuple(sorted(unseen)))


def _is_ghost(network: nn.Module) -> bool:
    """Whether the network lies on the meta device already."""
    weights = [*network.parameters(), *network.buffers()]
    return bool(weights) and all(weight.is_meta for weight in weights)


@contextmanager
def _in_evaluation(network: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _result(known: Shapes, operator: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, int | None]:
    """What an operator gives, and its floating point operations if it is a product; asked of torch once."""
    import torch
    from torch.utils.flop_counter import flop_registry

    key = operator, _told(args), _told(tuple(kwargs.items()))
    if key in known:
        shapes, operations = known[key]
        made = [None if s is None else torch.empty_strided(*s[:2], dtype=s[2], device="meta") for s in shapes]
        return (tuple(made) if len(made) > 1 else made[0]), operations
    if operator._opname in _NORMS:
        maps, none = args[0], ((0,), (1,), torch.float32)
        known[key] = [(maps.shape, maps.stride(), maps.dtype), none, none], None
        return _result(known, operator, args, kwargs)
    result, operations = operator(*args, **kwargs), None
    if (formula := flop_registry.get(operator.overloadpacket)) is not None:
        operations = int(formula(*args, **kwargs, out_val=result))
    outputs = result if isinstance(result, tuple) and len(result) > 1 else (result,)
    fresh = not (operator.is_view or operator._schema.is_mutable)
    if fresh and all(t is None or isinstance(t, torch.Tensor) for t in outputs):
        shapes = [None if t is None else (t.shape, t.stride(), t.dtype) for t in outputs]
        known[key] = shapes, operations
    return result, operations


def _told(value: Any) -> Any:
    """What an operator's result hangs on, where nothing is computed: shapes, and all that is no tensor."""
    import torch

    if isinstance(value, (tuple, list)):
        return tuple(map(_told, value))
    if isinstance(value, torch.Tensor):
        return value.shape, value.stride(), value.dtype, value.device
    return type(value), value


def _place(tensor: Any) -> int:
    """Where its numbers lie; views of one tensor share it."""
    return int(tensor.untyped_storage()._cdata)


def _elements(tensor: Any) -> int:
    """How many different numbers it can hold: a view may repeat some."""
    return int(min(tensor.numel(), tensor.untyped_storage().nbytes() // tensor.element_size()))


def _pools(name: str, args: Any, image: Any) -> bool:
    if any(part in name for part in _POOLINGS):
        return True
    if name not in _GLOBAL_POOLINGS or len(args) < 2 or image.dim() < 3:
        return False
    dims = {dim % image.dim() for dim in ([args[1]] if isinstance(args[1], int) else args[1])}
    return dims == set(range(image.dim() - len(dims), image.dim()))


def _hides(operator: Any, output: Any, given: Sequence[Any]) -> bool:
    """Whether an operator without a formula may be more than a non-linearity, a sum or a move of numbers."""
    import torch

    if not any(t.is_floating_point() for t in given) or torch.Tag.reduction in operator.tags:
        return False
    if torch.Tag.pointwise in operator.tags:
        # an outer product: more numbers come out than went in
        return int(output.numel()) > max(map(_elements, given))
    return not any(part in operator._opname for part in _FREE)


@contextmanager
def without_memory() -> Iterator[None]:
    """Within it a network is built on torch's meta device, and no weight gets a first value."""
    import torch
    from torch.overrides import TorchFunctionMode

    making, device = {getattr(torch, name) for name in _MAKING}, torch.device("meta")

    class Light(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            given = kwargs or {}
            if getattr(function, "__name__", "") in _FILLING:
                return args[0] if args else given["tensor"]
            if function in making and given.get("device") is None:
                given = {**given, "device": device}
            return function(*args, **given)

    with Light():
        yield
