"""Layer arithmetic against numbers worked out by hand, and against torch's own sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpmodel import layers
from cpmodel.layers import Tally


def test_convolution_of_the_paper_by_hand() -> None:
    # 3 maps in, 64 filters of 5 x 5, 64 x 64 positions
    assert layers.conv_macs(3, 5, 64, 64) == 3 * 25 * 64 * 4096 == 19_660_800
    assert layers.conv_params(3, 5, 64, bias=False) == 4800
    assert layers.conv_params(3, 5, 64) == 4864


def test_depthwise_convolution_divides_by_its_groups() -> None:
    assert layers.conv_macs(32, 3, 32, 7, groups=32) == 9 * 32 * 49
    assert layers.conv_params(32, 3, 32, groups=32) == 9 * 32 + 32


def test_dense_and_batch_norm_by_hand() -> None:
    assert layers.dense_macs(512, 10) == 5120
    assert layers.dense_params(512, 10) == 5130
    assert layers.dense_params(512, 10, bias=False) == 5120
    assert layers.batch_norm_params(64) == 128
    assert layers.batch_norm_buffer_bytes(64) == 64 * 2 * 4 + 8


def test_small_integer_types_do_not_overflow() -> None:
    many = np.array([3000], dtype=np.int16)
    assert layers.conv_macs(many, many, many, many)[0] == 3000.0**6
    assert layers.dense_macs(many, many)[0] == 9e6
    assert layers.map_elements(many, many)[0] == 2.7e10
    assert layers.batch_norm_params(np.array([32767], dtype=np.int16))[0] == 65534


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
