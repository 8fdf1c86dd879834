"""Which parts of which tensors belong to a width: what is cut out of a network when it gets narrower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cpmodel.errors import BadInputError

if TYPE_CHECKING:
    from torch import Tensor

# Of every width of a network: which of its filters stay, their numbers from 0 ascending
Kept = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Slice:
    """Where the filters of a width lie in a tensor of a network, one behind the other.

    Filter i has the places from ``offset + i * repeat`` to below ``offset + (i + 1) * repeat`` of the axis.

    Parameters
    ----------
    tensor : its name in the state dict
    axis : 0 or more
    repeat : places of each filter: height times width of its map where a dense layer reads flattened maps
    offset : places before the first filter: of what is concatenated before
    """

    tensor: str
    axis: int = 0
    repeat: int = 1
    offset: int = 0

    def places(self, filters: Sequence[int]) -> NDArray[np.int64]:
        """The places of some filters on the axis.

        >>> Slice("dense.weight", 1, repeat=3, offset=10).places([0, 2]).tolist()
        [10, 11, 12, 16, 17, 18]
        """
        first = self.offset + np.asarray(filters, dtype=np.int64)[:, None] * self.repeat
        return (first + np.arange(self.repeat)).ravel()


@dataclass(frozen=True)
class Width:
    """A number of filters (or units) in one place of a network, and all that belongs to each of them.

    Parameters
    ----------
    name : of the place, ``conv1``; the same place of a narrower network has the same name
    count : filters there are
    made : where filters are made: weights, biases, norms. All of it zero makes a map of zeros
    read : where the maps that they make are read
    """

    name: str
    count: int
    made: tuple[Slice, ...]
    read: tuple[Slice, ...]


def normed(name: str, offset: int = 0) -> tuple[Slice, ...]:
    """Where filters lie in a batch norm of that name."""
    tensors = ("weight", "bias", "running_mean", "running_var")
    return tuple(Slice(f"{name}.{tensor}", offset=offset) for tensor in tensors)


def masked(state: Mapping[str, Tensor], widths: Sequence[Width], kept: Kept) -> dict[str, Tensor]:
    """The state of a network whose filters that are not kept make maps of zeros; all else is as it was."""
    new = {name: tensor.clone() for name, tensor in state.items()}
    for width in widths:
        lost = sorted(set(range(width.count)) - set(kept.get(width.name, range(width.count))))
        for part in width.made:
            places = _index(part.places(lost), new[part.tensor])
            new[part.tensor].index_fill_(part.axis, places, 0)
    return new


def narrowed(state: Mapping[str, Tensor], widths: Sequence[Width], kept: Kept) -> dict[str, Tensor]:
    """The state of the narrower network that has only the filters that are kept.

    Parameters
    ----------
    state : of the whole network
    widths : its widths
    kept : which filters stay, one or more of each width; of a width that is not there, all
    """
    cuts: dict[tuple[str, int], list[NDArray[np.int64]]] = {}
    for width in widths:
        filters = kept.get(width.name)
        if filters is None:
            continue
        if not filters or sorted(set(filters)) != list(filters) or not 0 <= filters[-1] < width.count:
            expected = f"numbers from 0 to {width.count - 1}, ascending"
            raise BadInputError(f"filters of {width.name} to keep", expected=expected, got=list(filters))
        lost = sorted(set(range(width.count)) - set(filters))
        for part in (*width.made, *width.read):
            cuts.setdefault((part.tensor, part.axis), []).append(part.places(lost))
    new = dict(state)
    for (name, axis), places in cuts.items():
        tensor = new[name]
        stay = np.setdiff1d(np.arange(tensor.shape[axis]), np.concatenate(places))
        new[name] = tensor.index_select(axis, _index(stay, tensor))
    return new


def _index(places: NDArray[np.int64], beside: Tensor) -> Tensor:
    """The places as a tensor, on the device where another one lies."""
    import torch

    return torch.from_numpy(places).to(beside.device)
