"""What layers cost, added up for many networks at once.

The words: f_in, f_out maps (channels) in and out; k kernel size, s map size, both square and in pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = float | Floats
Mask = bool | NDArray[np.bool_]

FLOAT_BYTES = 4  # of one float32 weight


def window_size(
    s: Numbers, k: Numbers, *, stride: Numbers = 1, padding: Numbers = 0, ceil: bool = False
) -> Floats:
    """Output size of a convolution or pooling: floor((s + 2 padding - k) / stride) + 1, pixels.

    Parameters
    ----------
    s, k : float or array
        Size of the incoming map and of the window, pixels, k <= s + 2 padding.
    stride, padding : float or array
        Pixels; the padding is added on every side.
    ceil : bool
        Round up instead, but never start a window beyond the map and its first padding (``ceil_mode`` of
        PyTorch).

    Examples
    --------
    >>> float(window_size(28, 2, stride=2)), float(window_size(8, 3, stride=2, ceil=True))
    (14.0, 4.0)
    """
    steps = np.divide(s + 2 * padding - k, stride)
    if not ceil:
        return np.asarray(np.floor(steps) + 1)
    out = np.ceil(steps) + 1
    return np.asarray(np.where((out - 1) * stride >= s + padding, out - 1, out))


def _elements(f: Numbers, s: Numbers) -> Floats:
    """Of f maps: f s^2."""
    return np.multiply(f, np.square(s, dtype=np.float64))


class Tally:
    """Adds up the layers of n networks; its `columns` are those of `Family.costs`.

    Every method takes numbers or arrays of shape (n,), and `where`, a mask of shape (n,): the networks that
    have this layer at all. An activation is the output of a convolution, a pooling or a dense layer: batch
    norm and non-linearities work in place on it, or are folded into the layer before, and count no more.

    Examples
    --------
    A convolution of 8 3 x 3 filters, biased, on a gray 28-pixel image; pooling; 10 classes:

    >>> tally = Tally(1)
    >>> tally.convolution(1, 3, 8, 28, 28)
    >>> tally.pooling(8, 28, 14)
    >>> tally.dense(8 * 14 * 14, 10)
    >>> columns = tally.columns()
    >>> float(columns["macs"][0]), float(columns["params"][0]), float(columns["activation_elements"][0])
    (72128.0, 15770.0, 7850.0)
    """

    def __init__(self, n: int) -> None:
        self._conv_macs, self._dense_macs, self._params, self._buffer_bytes = np.zeros((4, n))
        self.weights = np.zeros(n)  # of convolutions and dense layers, without biases
        self._elements, self._peak, self._layers = np.zeros((3, n))

    def _activation(self, incoming: Numbers, outgoing: Numbers, where: Mask) -> None:
        self._elements += np.multiply(outgoing, where)
        np.maximum(self._peak, np.add(incoming, outgoing) * where, out=self._peak)

    def convolution(
        self,
        f_in: Numbers,
        k: Numbers,
        f_out: Numbers,
        s_in: Numbers,
        s_out: Numbers,
        *,
        bias: bool = True,
        groups: Numbers = 1,
        where: Mask = True,
    ) -> None:
        """Add a k x k convolution from f_in maps of size s_in to f_out of size s_out.

        Its multiply-accumulates are f_in k^2 f_out s_out^2 / groups (Ke, Cao, Lv, eq. 1): products with
        padding zeros count, adding a bias does not.
        """
        weights = np.multiply(f_in, np.square(k, dtype=np.float64)) * f_out / groups * where
        self._conv_macs += weights * np.square(s_out, dtype=np.float64)
        self._params += weights
        self.weights += weights
        if bias:
            self._params += np.multiply(f_out, where)
        self._layers += where
        self._activation(_elements(f_in, s_in), _elements(f_out, s_out), where)

    def batch_norm(self, f: Numbers, *, where: Mask = True) -> None:
        """Add a batch norm over f maps: two weights and two statistics a map, and a counter of 8 bytes."""
        self._params += np.multiply(2.0, f) * where
        self._buffer_bytes += (np.multiply(2.0 * FLOAT_BYTES, f) + 8) * where

    def pooling(self, f: Numbers, s_in: Numbers, s_out: Numbers, *, where: Mask = True) -> None:
        """Add a pooling of f maps from size s_in to s_out."""
        self._activation(_elements(f, s_in), _elements(f, s_out), where)

    def dense(self, n_in: Numbers, n_out: Numbers, *, bias: bool = True, where: Mask = True) -> None:
        """Add a dense layer."""
        weights = np.multiply(n_in, n_out, dtype=np.float64)
        self._dense_macs += weights * where
        self.weights += weights * where
        self._params += (weights + n_out if bias else weights) * where
        self._layers += where
        self._activation(n_in, n_out, where)

    def columns(self, *, dense: bool = True) -> dict[str, Floats]:
        """The totals, each of shape (n,), under the names of `cpmodel.families.Family.costs`.

        `dense` is whether all networks have a dense layer: else its cost of 0 could not be compared.
        """
        columns = {
            "macs": self._conv_macs + self._dense_macs,
            "conv_macs": self._conv_macs,
            "dense_macs": self._dense_macs,
            "params": self._params,
            "weight_bytes": FLOAT_BYTES * self._params + self._buffer_bytes,
            "activation_elements": self._elements,
            "activation_peak_elements": self._peak,
            "layers": self._layers,
        }
        return columns if dense else {name: c for name, c in columns.items() if name != "dense_macs"}
