"""The memory-bound parts of a training step, each one pass over memory, compiled for the processor at hand.

Batch norm, ReLU, max pooling and their gradients as torch runs them read and write every map about a dozen
times; where a processor multiplies matrices fast, that is most of a step. Here it is two passes forward and
two back: what the gradient needs to know is computed again rather than kept. Everything runs on one thread,
in a fixed order: the same input gives the same bits.

Maps are numpy arrays with the channels last. Those in bfloat16, which numpy does not know, come as uint16 of
the same bits; arithmetic is float32. Shapes: `maps` (n, h, w, c); numbers for each channel (c,); `limits`,
the low and the high one, (2,); `gradient` and `out` as `maps` or, where 2 x 2 are pooled, half as high and
wide. A map may be larger than what is written or read of it (below and to the right, or in channels): the
rest is the padding of a convolution, and is left alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

Maps = NDArray[Any]  # float32, or uint16 that holds bfloat16
Vector = NDArray[np.float32]
Pair = tuple[NDArray[np.float64], NDArray[np.float64]]  # of numbers for each channel

_BLOCK = 64  # rows summed in float32 before they go to a float64 total
_FEW, _LONG = 16, 4  # below so many channels, from so many pixels: see `_together`
_ZERO = np.float32(0)


def compiled(function: Any, **options: Any) -> Any:
    """The function compiled when first called; kept on disk where there is a place to write to."""
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no such place
        return njit(**options)(function)


def _wide(value: Any) -> Any:
    """A stored number as float32."""
    raise NotImplementedError


@overload(_wide)
def _wide_of(value: Any) -> Any:  # when compiled, `value` is a type
    if isinstance(value, types.Float):

        def same(value: Any) -> Any:
            return value

        return same

    def widened(value: Any) -> Any:
        return np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)

    return widened


def _put(out: Any, at: Any, value: Any) -> Any:
    """Store a float32, rounded to nearest even where the array holds bfloat16."""
    raise NotImplementedError


@overload(_put)
def _put_into(out: Any, at: Any, value: Any) -> Any:  # when compiled, all three are types
    if isinstance(out.dtype, types.Float):

        def whole(out: Any, at: Any, value: Any) -> Any:
            out[at] = value

        return whole

    def rounded(out: Any, at: Any, value: Any) -> Any:
        bits = np.float32(value).view(np.uint32)
        odd = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
        out[at] = np.uint16(np.uint32(bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))

    return rounded


@compiled
def looked_up(images: NDArray[np.uint8], table: Maps, out: Maps) -> None:
    """Write the number that stands in the table, shape (256, c), for each pixel, shape (n, h, w, c)."""
    n, h, w, channels = images.shape
    for image in range(n):
        for i in range(h):
            for j in range(w):
                for c in range(channels):
                    out[image, i, j, c] = table[images[image, i, j, c], c]


@compiled
def moments(rows: Maps, channels: int) -> Pair:
    """Mean and variance (biased) of each channel, of a map cut into rows of some whole pixels each."""
    m, width = rows.shape
    total, squares = np.zeros(channels), np.zeros(channels)
    part, part_squares = np.empty(width, np.float32), np.empty(width, np.float32)
    for start in range(0, m, _BLOCK):
        part[:] = 0
        part_squares[:] = 0
        for row in range(start, min(start + _BLOCK, m)):
            for at in range(width):
                value = _wide(rows[row, at])
                part[at] += value
                part_squares[at] += value * value
        for at in range(width):
            total[at % channels] += part[at]
            squares[at % channels] += part_squares[at]
    count = m * (width // channels)
    mean = total / count
    return mean, np.maximum(squares / count - mean * mean, 0.0)


@compiled
def clamped(maps: Maps, scale: Vector, shift: Vector, limits: Vector, out: Maps) -> None:
    """Write scale * maps + shift, or the limit, low or high, that it is beyond."""
    n, h, w, channels = maps.shape
    low, high = limits
    together = _together(w, out.shape[2], channels)
    rows, written = _rows(maps, together), _rows(out, together)
    scales, shifts = _repeated(scale, together), _repeated(shift, together)
    for image in range(n):
        for i in range(h):
            for j in range(w // together):
                for at in range(together * channels):
                    value = _wide(rows[image, i, j, at]) * scales[at] + shifts[at]
                    _put(written, (image, i, j, at), _within(value, low, high))


@compiled
def clamped_pooled(maps: Maps, scale: Vector, shift: Vector, limits: Vector, out: Maps) -> None:
    """The maximum over 2 x 2 of what `clamped` writes; an odd last row or column is left out."""
    n, h, w, channels = maps.shape
    low, high = limits
    for image in range(n):
        for i in range(h // 2):
            for j in range(w // 2):
                for c in range(channels):
                    a = _wide(maps[image, 2 * i, 2 * j, c]) * scale[c]
                    b = _wide(maps[image, 2 * i, 2 * j + 1, c]) * scale[c]
                    d = _wide(maps[image, 2 * i + 1, 2 * j, c]) * scale[c]
                    e = _wide(maps[image, 2 * i + 1, 2 * j + 1, c]) * scale[c]
                    value = max(max(a, b), max(d, e)) + shift[c]
                    _put(out, (image, i, j, c), _within(value, low, high))


@compiled
def gradient_sums(gradient: Maps, maps: Maps, scale: Vector, shift: Vector, limits: Vector) -> Pair:
    """Sums over images and pixels of the gradient that comes through `clamped`, and of it times `maps`."""
    n, h, w, channels = maps.shape
    low, high = limits
    together = _together(w, gradient.shape[2], channels)
    rows, coming, width = _rows(maps, together), _rows(gradient, together), together * channels
    scales, shifts = _repeated(scale, together), _repeated(shift, together)
    plain, weighted = np.zeros(channels), np.zeros(channels)
    part, part_weighted = np.empty(width, np.float32), np.empty(width, np.float32)
    for image in range(n):
        part[:] = 0
        part_weighted[:] = 0
        for i in range(h):
            for j in range(w // together):
                for at in range(width):
                    value = _wide(rows[image, i, j, at])
                    through = value * scales[at] + shifts[at]
                    alive = (through > low) & (through < high)
                    passed = _wide(coming[image, i, j, at]) if alive else _ZERO
                    part[at] += passed
                    part_weighted[at] += passed * value
        for at in range(width):
            plain[at % channels] += part[at]
            weighted[at % channels] += part_weighted[at]
    return plain, weighted


@compiled
def gradient_sums_pooled(gradient: Maps, maps: Maps, scale: Vector, shift: Vector, limits: Vector) -> Pair:
    """As `gradient_sums`, of the gradient that comes through `clamped_pooled`."""
    n, h, w, channels = maps.shape
    low, high = limits
    plain, weighted = np.zeros(channels), np.zeros(channels)
    part, part_weighted = np.empty(channels, np.float32), np.empty(channels, np.float32)
    for image in range(n):
        part[:] = 0
        part_weighted[:] = 0
        for i in range(h // 2):
            for j in range(w // 2):
                for c in range(channels):
                    a = _wide(maps[image, 2 * i, 2 * j, c])
                    b = _wide(maps[image, 2 * i, 2 * j + 1, c])
                    d = _wide(maps[image, 2 * i + 1, 2 * j, c])
                    e = _wide(maps[image, 2 * i + 1, 2 * j + 1, c])
                    most, least = max(max(a, b), max(d, e)), min(min(a, b), min(d, e))
                    chosen = most if scale[c] >= 0 else least
                    through = chosen * scale[c] + shift[c]
                    alive = (through > low) & (through < high)
                    passed = _wide(gradient[image, i, j, c]) if alive else _ZERO
                    part[c] += passed
                    part_weighted[c] += passed * chosen
        plain += part
        weighted += part_weighted
    return plain, weighted


@compiled
def spread(
    gradient: Maps,
    maps: Maps,
    scale: Vector,
    shift: Vector,
    limits: Vector,
    constant: Vector,
    slope: Vector,
    out: Maps,
) -> None:
    """Write constant + slope * maps, and scale * gradient more where `clamped` let it through."""
    n, h, w, channels = maps.shape
    low, high = limits
    together = _together(w, gradient.shape[2], channels)
    rows, coming, written = _rows(maps, together), _rows(gradient, together), _rows(out, together)
    scales, shifts = _repeated(scale, together), _repeated(shift, together)
    constants, slopes = _repeated(constant, together), _repeated(slope, together)
    width = together * channels
    sent = np.empty(width, np.float32)
    for image in range(n):
        for i in range(h):
            for j in range(w // together):
                for at in range(width):
                    through = _wide(rows[image, i, j, at]) * scales[at] + shifts[at]
                    alive = (through > low) & (through < high)
                    sent[at] = scales[at] * _wide(coming[image, i, j, at]) if alive else _ZERO
                for at in range(width):
                    value = constants[at] + slopes[at] * _wide(rows[image, i, j, at])
                    _put(written, (image, i, j, at), value + sent[at])


@compiled
def spread_pooled(
    gradient: Maps,
    maps: Maps,
    scale: Vector,
    shift: Vector,
    limits: Vector,
    constant: Vector,
    slope: Vector,
    out: Maps,
) -> None:
    """As `spread`, through `clamped_pooled`; of equal maxima one gets the gradient, the left or upper."""
    n, h, w, channels = maps.shape
    low, high = limits
    pairs, width = w // 2, w * channels
    # whole rows as one, so that few channels make long loops too
    rows, written = maps.reshape(n, h, width), out.reshape(n, h, width)
    scales, constants, slopes = _repeated(scale, w), _repeated(constant, w), _repeated(slope, w)
    top, sent = np.zeros(width, np.float32), np.zeros(width, np.float32)
    for image in range(n):
        for i in range(h // 2):
            for at in range(width):
                above, below = _wide(rows[image, 2 * i, at]), _wide(rows[image, 2 * i + 1, at])
                top[at] = max(above * scales[at], below * scales[at])
            for j in range(pairs):
                left, right = top[2 * j * channels :], top[(2 * j + 1) * channels :]
                to_left, to_right = sent[2 * j * channels :], sent[(2 * j + 1) * channels :]
                for c in range(channels):
                    through = max(left[c], right[c]) + shift[c]
                    alive = (through > low) & (through < high)
                    passed = scale[c] * _wide(gradient[image, i, j, c]) if alive else _ZERO
                    to_left[c] = passed if left[c] >= right[c] else _ZERO
                    to_right[c] = passed - to_left[c]
            for at in range(width):
                value = _wide(rows[image, 2 * i, at])
                here = sent[at] if value * scales[at] == top[at] else _ZERO
                _put(written, (image, 2 * i, at), constants[at] + slopes[at] * value + here)
            for at in range(width):
                value = _wide(rows[image, 2 * i + 1, at])
                here = sent[at] if _wide(rows[image, 2 * i, at]) * scales[at] != top[at] else _ZERO
                _put(written, (image, 2 * i + 1, at), constants[at] + slopes[at] * value + here)
        if h % 2:
            for at in range(width):
                _put(written, (image, h - 1, at), constants[at] + slopes[at] * _wide(rows[image, h - 1, at]))


@compiled
def passed(gradient: Maps, maps: Maps, shift: Vector, limits: Vector, out: Maps) -> NDArray[np.float64]:
    """Write the gradient where `clamped`, by scales of 1, let it through; returns each channel's sum."""
    n, h, w, channels = maps.shape
    low, high = limits
    together = _together(w, gradient.shape[2], channels)
    rows, coming, written = _rows(maps, together), _rows(gradient, together), _rows(out, together)
    shifts, width = _repeated(shift, together), together * channels
    total, part = np.zeros(channels), np.empty(width, np.float32)
    for image in range(n):
        part[:] = 0
        for i in range(h):
            for j in range(w // together):
                for at in range(width):
                    through = _wide(rows[image, i, j, at]) + shifts[at]
                    alive = (through > low) & (through < high)
                    value = _wide(coming[image, i, j, at]) if alive else _ZERO
                    part[at] += value
                    _put(written, (image, i, j, at), value)
        for at in range(width):
            total[at % channels] += part[at]
    return total


@compiled
def pooled(maps: Maps, window: int, stride: int, out: Maps) -> None:
    """The maximum of each window; those that reach beyond the map have what is left of it."""
    n, h, w, channels = maps.shape
    for image in range(n):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                for c in range(channels):
                    out[image, i, j, c] = maps[image, i * stride, j * stride, c]
                for y in range(i * stride, min(i * stride + window, h)):
                    for x in range(j * stride, min(j * stride + window, w)):
                        for c in range(channels):
                            value, most = _wide(maps[image, y, x, c]), _wide(out[image, i, j, c])
                            _put(out, (image, i, j, c), most if most >= value else value)


@compiled
def spread_windows(gradient: Maps, maps: Maps, pooled: Maps, window: int, stride: int, out: Maps) -> None:
    """Write the gradient of each window where its maximum is; the first of equal ones gets it."""
    n, h, w, channels = maps.shape
    left = np.empty(channels, np.float32)
    for image in range(n):
        out[image] = 0
        for i in range(pooled.shape[1]):
            for j in range(pooled.shape[2]):
                for c in range(channels):
                    left[c] = _wide(gradient[image, i, j, c])
                for y in range(i * stride, min(i * stride + window, h)):
                    for x in range(j * stride, min(j * stride + window, w)):
                        for c in range(channels):
                            here = maps[image, y, x, c] == pooled[image, i, j, c]
                            part = left[c] if here else _ZERO
                            _put(out, (image, y, x, c), _wide(out[image, y, x, c]) + part)
                            left[c] -= part


@compiled
def _within(value: np.float32, low: np.float32, high: np.float32) -> np.float32:
    """What is no number stays none: a comparison with it is false."""
    value = low if value < low else value
    return high if value > high else value


@compiled
def _together(w: int, wide: int, channels: int) -> int:
    """Pixels that are gone through as one: a row, where so few channels would make short loops."""
    return w if channels < _FEW and w >= _LONG and w == wide else 1


@compiled
def _rows(maps: Maps, together: int) -> Maps:
    """The maps cut into so many pixels each."""
    n, h, w, channels = maps.shape
    return maps.reshape(n, h, w // together, together * channels)


@compiled
def _repeated(values: Vector, times: int) -> Vector:
    row = np.empty((times, len(values)), np.float32)
    row[:] = values
    return row.reshape(-1)


@compiled
def cross_entropy(logits: Maps, labels: NDArray[np.int64], smoothing: float, gradient: Maps) -> float:
    """Mean cross-entropy in nats, of logits of shape (n, classes); its gradient goes into `gradient`.

    The share `smoothing` of a label's weight, in [0, 1), is spread over all classes.
    """
    n, classes = logits.shape
    total = 0.0
    for row in range(n):
        top = _wide(logits[row, 0])
        for k in range(1, classes):
            top = max(top, _wide(logits[row, k]))
        normaliser = 0.0
        for k in range(classes):
            normaliser += np.exp(np.float64(_wide(logits[row, k]) - top))
        log_normaliser = np.log(normaliser)
        for k in range(classes):
            log_probability = np.float64(_wide(logits[row, k]) - top) - log_normaliser
            weight = smoothing / classes + (1.0 - smoothing if k == labels[row] else 0.0)
            total -= weight * log_probability
            _put(gradient, (row, k), np.float32((np.exp(log_probability) - weight) / n))
    return float(total / n)
