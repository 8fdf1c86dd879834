"""Convolution, norm and pooling where the images of a batch lie innermost, compiled for the processor.

Maps have shape (c, h, w, n), float32: whatever is done to one pixel is done to the same pixel of all images,
one vector instruction for several of them, however few the channels and however small the maps. Dense layers
and convolutions of 1 x 1 are products of matrices as they stand. Everything runs on one thread, in a fixed
order: the same input gives the same bits. What is no number stays none.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cpmodel.engine.kernels import Pair, Vector, compiled

Maps = NDArray[np.float32]  # shape (c, h, w, n)
Sums = NDArray[np.float64]  # of each channel, shape (c,)

# sums of products are not rounded between; within a run of numbers they may be in any order, always the same
_fused = partial(compiled, fastmath={"contract"})
_summing = partial(compiled, fastmath={"contract", "reassoc", "nsz"})
_RUN = 512  # numbers of a map that a convolution has at hand at a time
_OUTPUTS = 8  # channels that it makes of them at a time: those and these stay in the first cache
_ZERO = np.float32(0)


@_fused
def correlate(
    x: Maps,
    weights: Maps,
    kernel: tuple[int, int],
    stride: int,
    bias: Vector,
    limits: Vector,
    out: Maps,
) -> None:
    """Write the correlation of x with `weights`, the bias added, within the limits.

    x is larger than the output by what the kernel reaches beyond; weights have shape (groups, channels of a
    group x kernel, outputs of a group).
    """
    _, h, w, n = x.shape
    channels, rows, columns, _ = out.shape
    groups, taps, outputs = weights.shape
    low, high = limits
    flat, written = x.reshape(-1), out.reshape(channels, rows, columns * n)
    # the pixels of a row are one run, unless there are others between
    whole = columns * n if stride == 1 else n
    first, at = np.empty(taps, np.int64), np.empty(taps, np.int64)
    total = np.empty((_OUTPUTS, _RUN), np.float32)
    for group in range(groups):
        _starts(group, (h, w, n), kernel, first)
        for begin in range(0, outputs, _OUTPUTS):
            some = weights[group, :, begin : begin + _OUTPUTS].copy()
            made = group * outputs + begin
            for i in range(rows):
                for column in range(columns * n // whole):
                    for start in range(0, whole, _RUN):
                        size = min(_RUN, whole - start)
                        moved = (i * w + column) * stride * n + start
                        for tap in range(taps):
                            at[tap] = first[tap] + moved
                        if taps == 9 and outputs == 1:
                            begun = column * whole + start
                            goal = written[made, i, begun : begun + size]
                            _nine(flat, at, some, bias[made], limits, goal)
                            continue
                        for o in range(some.shape[1]):
                            total[o, :size] = bias[made + o]
                        _accumulate(flat, at, some, total, size)
                        for o in range(some.shape[1]):
                            begun = column * whole + start
                            goal, sums = written[made + o, i, begun : begun + size], total[o, :size]
                            for k in range(size):
                                value = low if sums[k] < low else sums[k]
                                goal[k] = high if value > high else value


@_fused
def _accumulate(
    flat: Vector, at: NDArray[np.int64], weights: NDArray[np.float32], total: NDArray[np.float32], size: int
) -> None:
    """Add to each row of the total the runs of `flat` that begin at `at`, times their weights.

    Four runs and two rows at a time: a number that is loaded is used twice, one that is stored eight times.
    """
    taps, outputs = weights.shape
    tap = 0
    while tap + 4 <= taps:
        a, b = flat[at[tap] : at[tap] + size], flat[at[tap + 1] : at[tap + 1] + size]
        c, d = flat[at[tap + 2] : at[tap + 2] + size], flat[at[tap + 3] : at[tap + 3] + size]
        o = 0
        while o + 2 <= outputs:
            y, z = total[o, :size], total[o + 1, :size]
            y0, y1, y2, y3 = weights[tap, o], weights[tap + 1, o], weights[tap + 2, o], weights[tap + 3, o]
            o += 1
            z0, z1, z2, z3 = weights[tap, o], weights[tap + 1, o], weights[tap + 2, o], weights[tap + 3, o]
            o += 1
            for k in range(size):
                y[k] = y[k] + y0 * a[k] + y1 * b[k] + y2 * c[k] + y3 * d[k]
                z[k] = z[k] + z0 * a[k] + z1 * b[k] + z2 * c[k] + z3 * d[k]
        if o < outputs:
            y = total[o, :size]
            y0, y1, y2, y3 = weights[tap, o], weights[tap + 1, o], weights[tap + 2, o], weights[tap + 3, o]
            for k in range(size):
                y[k] = y[k] + y0 * a[k] + y1 * b[k] + y2 * c[k] + y3 * d[k]
        tap += 4
    for last in range(tap, taps):
        a = flat[at[last] : at[last] + size]
        for o in range(outputs):
            y, y0 = total[o, :size], weights[last, o]
            for k in range(size):
                y[k] = y[k] + y0 * a[k]


@_fused
def _nine(
    flat: Vector,
    at: NDArray[np.int64],
    weights: NDArray[np.float32],
    bias: float,
    limits: Vector,
    goal: Vector,
) -> None:
    """Write what one filter of 3 x 3 on one channel makes: all at once, as little else would be done."""
    size, (low, high) = len(goal), limits
    a, b, c = flat[at[0] : at[0] + size], flat[at[1] : at[1] + size], flat[at[2] : at[2] + size]
    d, e, f = flat[at[3] : at[3] + size], flat[at[4] : at[4] + size], flat[at[5] : at[5] + size]
    g, h, i = flat[at[6] : at[6] + size], flat[at[7] : at[7] + size], flat[at[8] : at[8] + size]
    w0, w1, w2, w3, w4 = weights[0, 0], weights[1, 0], weights[2, 0], weights[3, 0], weights[4, 0]
    w5, w6, w7, w8 = weights[5, 0], weights[6, 0], weights[7, 0], weights[8, 0]
    for k in range(size):
        value = bias + w0 * a[k] + w1 * b[k] + w2 * c[k] + w3 * d[k] + w4 * e[k]
        value = value + w5 * f[k] + w6 * g[k] + w7 * h[k] + w8 * i[k]
        value = low if value < low else value
        goal[k] = high if value > high else value


@_summing
def weight_gradient(x: Maps, gradient: Maps, kernel: tuple[int, int], stride: int, out: Maps) -> None:
    """Write the gradient of the weights of `correlate`, given that of its output."""
    _, h, w, n = x.shape
    _, rows, columns, _ = gradient.shape
    groups, taps, outputs = out.shape
    flat, coming = x.reshape(-1), gradient.reshape(-1)
    whole = columns * n if stride == 1 else n
    out[:] = 0
    first, at, there = np.empty(taps, np.int64), np.empty(taps, np.int64), np.empty(outputs, np.int64)
    for group in range(groups):
        _starts(group, (h, w, n), kernel, first)
        for i in range(rows):
            for column in range(columns * n // whole):
                for start in range(0, whole, _RUN):
                    size = min(_RUN, whole - start)
                    moved = (i * w + column) * stride * n + start
                    for tap in range(taps):
                        at[tap] = first[tap] + moved
                    for o in range(outputs):
                        pixel = ((group * outputs + o) * rows + i) * columns + column
                        there[o] = pixel * n + start
                    _add_products(flat, at, coming, there, out[group], size)


@compiled
def _starts(
    group: int, shape: tuple[int, int, int], kernel: tuple[int, int], first: NDArray[np.int64]
) -> None:
    """Write where in memory each weight of a group's filters meets the first pixel of maps (h, w, n)."""
    h, w, n = shape
    tall, wide = kernel
    tap, channels = 0, len(first) // (tall * wide)
    for c in range(group * channels, (group + 1) * channels):
        for i in range(tall):
            for j in range(wide):
                first[tap] = ((c * h + i) * w + j) * n
                tap += 1


@_summing
def _add_products(
    one: Vector, at: NDArray[np.int64], other: Vector, there: NDArray[np.int64], sums: Any, size: int
) -> None:
    """Add to the sums the products of each run of `one` that begins `at` and each of the other's `there`.

    Four at a time share one that is loaded.
    """
    taps, outputs = sums.shape
    whole = outputs // 4 * 4
    for tap in range(taps if whole else 0):
        run = one[at[tap] : at[tap] + size]
        for o in range(0, whole, 4):
            a, b = other[there[o] : there[o] + size], other[there[o + 1] : there[o + 1] + size]
            c, d = other[there[o + 2] : there[o + 2] + size], other[there[o + 3] : there[o + 3] + size]
            p = q = r = s = _ZERO
            for k in range(size):
                p += run[k] * a[k]
                q += run[k] * b[k]
                r += run[k] * c[k]
                s += run[k] * d[k]
            sums[tap, o] += p
            sums[tap, o + 1] += q
            sums[tap, o + 2] += r
            sums[tap, o + 3] += s
    for o in range(whole, outputs):
        run = other[there[o] : there[o] + size]
        for tap in range(0, taps - 3, 4):
            a, b = one[at[tap] : at[tap] + size], one[at[tap + 1] : at[tap + 1] + size]
            c, d = one[at[tap + 2] : at[tap + 2] + size], one[at[tap + 3] : at[tap + 3] + size]
            p = q = r = s = _ZERO
            for k in range(size):
                p += run[k] * a[k]
                q += run[k] * b[k]
                r += run[k] * c[k]
                s += run[k] * d[k]
            sums[tap, o] += p
            sums[tap + 1, o] += q
            sums[tap + 2, o] += r
            sums[tap + 3, o] += s
        for tap in range(taps // 4 * 4, taps):
            a, p = one[at[tap] : at[tap] + size], _ZERO
            for k in range(size):
                p += run[k] * a[k]
            sums[tap, o] += p


@_summing
def moments(maps: Maps) -> Pair:
    """Mean and variance (biased) of each channel."""
    channels, h, w, n = maps.shape
    mean, variance = np.empty(channels), np.empty(channels)
    rows = maps.reshape(channels, h, w * n)
    for c in range(channels):
        total, squares = 0.0, 0.0
        for i in range(h):
            row = rows[c, i]
            part, part_squares = _ZERO, _ZERO
            for k in range(w * n):
                part += row[k]
                part_squares += row[k] * row[k]
            total += float(part)
            squares += float(part_squares)
        mean[c] = total / (h * w * n)
        variance[c] = max(squares / (h * w * n) - mean[c] * mean[c], 0.0)
    return mean, variance


@_fused
def normed(maps: Maps, scale: Vector, shift: Vector, limits: Vector, out: Maps) -> None:
    """Write scale * maps + shift, within the limits."""
    channels = len(maps)
    rows, written = maps.reshape(channels, -1), out.reshape(channels, -1)
    low, high = limits
    for c in range(channels):
        row, goal, a, b = rows[c], written[c], scale[c], shift[c]
        for k in range(len(row)):
            value = a * row[k] + b
            value = low if value < low else value
            goal[k] = high if value > high else value


@_summing
def gradient_sums(gradient: Maps, maps: Maps, scale: Vector, shift: Vector, limits: Vector) -> Pair:
    """Each channel's sums of the gradient that comes through `normed`, and of it times `maps`."""
    channels, h, w, n = maps.shape
    rows, coming = maps.reshape(channels, h, w * n), gradient.reshape(channels, h, w * n)
    plain, weighted = np.zeros(channels), np.zeros(channels)
    low, high = limits
    for c in range(channels):
        a, b = scale[c], shift[c]
        for i in range(h):
            row, came = rows[c, i], coming[c, i]
            part, part_weighted = _ZERO, _ZERO
            for k in range(w * n):
                value = a * row[k] + b
                passed = came[k] if (value > low) & (value < high) else _ZERO
                part += passed
                part_weighted += passed * row[k]
            plain[c] += part
            weighted[c] += part_weighted
    return plain, weighted


@_fused
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
    """Write constant + slope * maps, and scale * gradient more where `normed` let it through."""
    channels = len(maps)
    rows, coming = maps.reshape(channels, -1), gradient.reshape(channels, -1)
    written = out.reshape(channels, -1)
    low, high = limits
    for c in range(channels):
        row, came, goal = rows[c], coming[c], written[c]
        a, b, d, e = scale[c], shift[c], constant[c], slope[c]
        for k in range(len(row)):
            value = a * row[k] + b
            passed = came[k] if (value > low) & (value < high) else _ZERO
            goal[k] = d + e * row[k] + a * passed


@_summing
def passed(gradient: Maps, maps: Maps, limits: Vector, out: Maps) -> Sums:
    """Write the gradient where `maps`, which are within the limits, are at none; each channel's sum of it."""
    channels, h, w, n = maps.shape
    rows, coming = maps.reshape(channels, h, w * n), gradient.reshape(channels, h, w * n)
    written, sums = out.reshape(channels, h, w * n), np.zeros(channels)
    low, high = limits
    for c in range(channels):
        for i in range(h):
            row, came, goal = rows[c, i], coming[c, i], written[c, i]
            part = _ZERO
            for k in range(w * n):
                value = came[k] if (row[k] > low) & (row[k] < high) else _ZERO
                goal[k] = value
                part += value
            sums[c] += part
    return sums


@compiled
def pooled(maps: Maps, window: int, stride: int, out: Maps) -> None:
    """Write the maximum of each window; those that reach beyond the map have what is left of it."""
    _, h, w, n = maps.shape
    channels, rows, columns, _ = out.shape
    for c in range(channels):
        for i in range(rows):
            for j in range(columns):
                most = out[c, i, j]
                most[:] = maps[c, i * stride, j * stride]
                for y in range(i * stride, min(i * stride + window, h)):
                    for x in range(j * stride, min(j * stride + window, w)):
                        here = maps[c, y, x]
                        for k in range(n):
                            most[k] = most[k] if (most[k] > here[k]) | (most[k] != most[k]) else here[k]


@compiled
def spread_windows(gradient: Maps, maps: Maps, pooled: Maps, window: int, stride: int, out: Maps) -> None:
    """Write what `maps` get of the gradient of `pooled`: the first maximum of each window gets all of it."""
    _, h, w, n = maps.shape
    channels, rows, columns, _ = pooled.shape
    out[:] = 0
    left = np.empty(n, np.float32)
    for c in range(channels):
        for i in range(rows):
            for j in range(columns):
                most = pooled[c, i, j]
                left[:] = gradient[c, i, j]
                for y in range(i * stride, min(i * stride + window, h)):
                    for x in range(j * stride, min(j * stride + window, w)):
                        here, goal = maps[c, y, x], out[c, y, x]
                        for k in range(n):
                            part = left[k] if here[k] == most[k] else _ZERO
                            goal[k] += part
                            left[k] -= part


@_fused
def seen(images: NDArray[np.uint8], mean: Vector, factor: Vector, out: Maps) -> None:
    """Write (pixel - mean) * factor of each channel; images have shape (c, h, w, n)."""
    channels = len(images)
    rows, written = images.reshape(channels, -1), out.reshape(channels, -1)
    for c in range(channels):
        row, goal = rows[c], written[c]
        for k in range(len(row)):
            goal[k] = (np.float32(row[k]) - mean[c]) * factor[c]


@compiled
def left(maps: Maps, drawn: NDArray[np.uint16], least: np.uint16, factor: np.float32, out: Maps) -> None:
    """Write the maps times the factor where the number drawn is not below the least, else zero."""
    values, numbers, written = maps.reshape(-1), drawn.reshape(-1), out.reshape(-1)
    for k in range(len(values)):
        written[k] = values[k] * factor if numbers[k] >= least else _ZERO
