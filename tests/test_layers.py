"""Layer arithmetic against numbers worked out by hand, and against torch's own sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpmodel import layers
from cpmodel.layers import Tally


def columns(layer: str, *sizes: Any, **how: Any) -> dict[str, float]:
    """What one layer costs."""
    tally = Tally(1)
    getattr(tally, layer)(*sizes, **how)
    return {name: float(column[0]) for name, column in tally.columns().items()}


def test_convolution_of_the_paper_by_hand() -> None:
    # 3 maps in, 64 filters of 5 x 5, 64 x 64 positions
    found = columns("convolution", 3, 5, 64, 64, 64, bias=False)
    assert found["macs"] == found["conv_macs"] == 3 * 25 * 64 * 4096 == 19_660_800
    assert found["params"] == 4800
    assert columns("convolution", 3, 5, 64, 64, 64)["params"] == 4864


def test_depthwise_convolution_divides_by_its_groups() -> None:
    found = columns("convolution", 32, 3, 32, 7, 7, groups=32)
    assert (found["macs"], found["params"]) == (9 * 32 * 49, 9 * 32 + 32)


def test_dense_and_batch_norm_by_hand() -> None:
    assert columns("dense", 512, 10)["macs"] == 5120
    assert columns("dense", 512, 10)["params"] == 5130
    assert columns("dense", 512, 10, bias=False)["params"] == 5120
    norm = columns("batch_norm", 64)
    assert (norm["params"], norm["weight_bytes"]) == (128, 128 * 4 + 64 * 2 * 4 + 8)


def test_small_integer_types_do_not_overflow() -> None:
    many = np.array([3000], dtype=np.int16)
    found = columns("convolution", many, many, many, many, many)
    assert found["macs"] == 3000.0**6
    assert found["activation_elements"] == 2.7e10
    assert columns("dense", many, many)["macs"] == 9e6
    assert columns("batch_norm", np.array([32767], dtype=np.int16))["params"] == 65534


@given(
    s=st.integers(1, 40),
    k=st.integers(1, 7),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
    ceil=st.booleans(),
)
def test_window_size_is_torchs(s: int, k: int, stride: int, padding: int, ceil: bool) -> None:
    import torch

    if k > s + 2 * padding or padding > k // 2:
        return
    pool = torch.nn.MaxPool2d(k, stride, padding, ceil_mode=ceil)
    expected = pool(torch.empty(1, 1, s, s)).shape[-1]
    assert layers.window_size(s, k, stride=stride, padding=padding, ceil=ceil) == expected


def test_tally_of_a_network_by_hand() -> None:
    # gray 28-pixel image; 3 x 3 convolution, valid, 4 filters, biased: 26; pooled to 13; 10 classes
    tally = Tally(1)
    tally.convolution(1, 3, 4, 28, 26)
    tally.pooling(4, 26, 13)
    tally.dense(4 * 169, 10)
    assert {name: float(column[0]) for name, column in tally.columns().items()} == {
        "macs": 9 * 4 * 676 + 6760,
        "conv_macs": 9 * 4 * 676,
        "dense_macs": 6760,
        "params": 36 + 4 + 6760 + 10,
        "weight_bytes": 4 * (36 + 4 + 6760 + 10),
        "activation_elements": 4 * 676 + 4 * 169 + 10,
        "activation_peak_elements": 784 + 4 * 676,
        "layers": 2,
    }


@pytest.mark.parametrize("there", [True, False])
def test_a_masked_layer_counts_only_where_it_is(there: bool) -> None:
    masked, plain = Tally(2), Tally(1)
    for tally, where in ((masked, np.array([there, not there])), (plain, True)):
        tally.convolution(3, 5, 8, 16, 16, where=where)
        tally.batch_norm(8, where=where)
        tally.pooling(8, 16, 8, where=where)
        tally.dense(512, 10, where=where)
    for name, column in masked.columns().items():
        assert column[0 if there else 1] == plain.columns()[name][0]
        assert column[1 if there else 0] == 0
