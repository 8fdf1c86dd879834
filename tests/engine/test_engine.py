"""The fused engine against the same network run with autograd."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from cpmodel.engine import kernels
from cpmodel.engine.base import Normalisation
from cpmodel.engine.fused import FusedEngine
from cpmodel.engine.modules import ModulesEngine
from cpmodel.families.base import Task
from cpmodel.families.plain import PlainFamily

Array = NDArray[np.float32]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def made(f: int, s: int, k: int, layers: int, channels: int, seed: int) -> nn.Module:
    """An untrained network whose batch norms are not the identity; some of their scales are negative."""
    torch.manual_seed(seed)
    network = PlainFamily().build({"f": f, "s": s, "k": k, "l": layers}, Task(s, s, channels, 10))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return network


def batch(n: int, s: int, channels: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, s, s, channels), dtype=torch.uint8, generator=generator)
    return images.permute(0, 3, 1, 2), torch.randint(0, 10, (n,), generator=generator)


def gradients(network: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def fused(network: nn.Module, normalisation: Normalisation, dtype: str = "float32") -> FusedEngine:
    engine = FusedEngine.of(network, normalisation, dtype)
    assert engine is not None
    return engine


@settings(deadline=None)  # the first call compiles
@example(f=8, s=4, k=1, layers=3, channels=1, smoothing=0.0, seed=3)  # modules in float32 lose 7e-3 here
@given(
    st.integers(1, 9),
    st.integers(4, 13),
    st.integers(1, 5),
    st.integers(1, 3),
    st.sampled_from([1, 3]),
    st.sampled_from([0.0, 0.1]),
    st.integers(0, 99),
)
def test_loss_gradients_statistics_and_logits(
    f: int, s: int, k: int, layers: int, channels: int, smoothing: float, seed: int
) -> None:
    network = made(f, s, k, layers, channels, seed)
    exact = copy.deepcopy(network).double()
    normalisation = Normalisation((110.0,) * channels, (1 / 60,) * channels)
    engine = fused(network, normalisation)
    images, labels = batch(12, s, channels, seed)
    x = (images.double() - 110) / 60  # float32 modules err more than what is tested
    expected = F.cross_entropy(exact(x), labels, label_smoothing=smoothing)
    expected.backward()  # type: ignore[no-untyped-call]
    near = {"rtol": 1e-4, "atol": 1e-5, "check_dtype": False}
    torch.testing.assert_close(engine.backpropagate(images, labels, smoothing), expected.detach(), **near)
    # against the largest of all: a weight that batch norm cancels has a gradient of nothing but rounding
    largest = float(gradients(exact).abs().max())
    torch.testing.assert_close(gradients(network), gradients(exact).float(), rtol=2e-3, atol=1e-4 * largest)
    for mine, theirs in zip(network.buffers(), exact.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, **near)
    with torch.inference_mode():
        logits = exact.eval()(x)
    torch.testing.assert_close(engine.logits(images), logits, rtol=1e-3, atol=1e-4, check_dtype=False)


@pytest.mark.parametrize("k", [3, 4])
def test_half_precision_stays_near(k: int) -> None:
    network = made(8, 12, k, 2, 1, 0)
    twin = copy.deepcopy(network)
    normalisation = Normalisation((110.0,), (1 / 60,))
    images, labels = batch(64, 12, 1, 0)
    exact = ModulesEngine(network, normalisation).backpropagate(images, labels, 0.0)
    engine = fused(twin, normalisation, "bfloat16")
    rough = engine.backpropagate(images, labels, 0.0)
    assert float(rough) == pytest.approx(float(exact), rel=0.02)
    mine, theirs = gradients(twin), gradients(network)
    assert mine.dtype == torch.float32
    assert torch.linalg.vector_norm(mine - theirs) < 0.1 * torch.linalg.vector_norm(theirs)


def test_the_same_input_gives_the_same_bits() -> None:
    network = made(8, 12, 3, 2, 1, 0)
    twin = copy.deepcopy(network)
    normalisation = Normalisation((110.0,), (1 / 60,))
    images, labels = batch(64, 12, 1, 0)
    for each in (network, twin):
        fused(each, normalisation, "bfloat16").backpropagate(images, labels, 0.0)
    assert torch.equal(gradients(network), gradients(twin))


def test_no_number_is_never_hidden() -> None:
    network = made(4, 8, 3, 2, 1, 0)
    normalisation = Normalisation((110.0,), (1 / 60,))
    images, labels = batch(8, 8, 1, 0)
    with torch.no_grad():
        next(network.parameters())[0] = torch.nan
    assert torch.isnan(fused(network, normalisation).backpropagate(images, labels, 0.0))


def test_what_is_no_such_chain_is_left_to_the_modules() -> None:
    normalisation = Normalisation((110.0,), (1 / 60,))
    network = made(4, 8, 3, 2, 1, 0)
    assert isinstance(network, nn.Sequential)
    others = {
        "a bias": nn.Conv2d(1, 4, 3, padding=1),
        "a stride": nn.Conv2d(1, 4, 3, stride=2, padding=1, bias=False),
        "groups": nn.Conv2d(4, 4, 3, padding=1, bias=False, groups=2),
        "no padding": nn.Conv2d(1, 4, 3, bias=False),
        "another kernel": nn.Conv2d(1, 4, (3, 5), padding=(1, 2), bias=False),
        "an even kernel as torch has it": nn.Conv2d(1, 4, 2, padding="same", bias=False),
    }
    for name, convolution in others.items():
        chain = copy.deepcopy(network)
        chain[0] = convolution
        assert FusedEngine.of(chain, normalisation) is None, name
    for index, module in ((1, nn.GroupNorm(2, 4)), (2, nn.GELU()), (3, nn.AvgPool2d(2)), (-1, nn.Identity())):
        chain = copy.deepcopy(network)
        chain[index] = module
        assert FusedEngine.of(chain, normalisation) is None, module
    assert FusedEngine.of(nn.Identity(), normalisation) is None


# the kernels, one by one


def bits(values: Array) -> NDArray[np.uint16]:
    array: NDArray[np.uint16] = torch.from_numpy(values).bfloat16().view(torch.uint16).numpy()
    return array


@settings(deadline=None)  # the first call compiles
@given(st.integers(1, 300), st.integers(1, 7), st.sampled_from([0.0, 1e3]), st.integers(0, 9))
def test_moments(pixels: int, channels: int, offset: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(offset, 2, (pixels, channels)).astype(np.float32)
    mean, variance = kernels.moments(values, channels)
    np.testing.assert_allclose(mean, values.mean(axis=0, dtype=np.float64), rtol=1e-5, atol=1e-5)
    spread = values.var(axis=0, dtype=np.float64)
    np.testing.assert_allclose(variance, spread, rtol=1e-4, atol=1e-5 + 2e-6 * offset**2)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.floats(-(2.0**127), 2.0**127, width=32), min_size=1, max_size=40))
def test_rounding_to_bfloat16_is_torchs(values: list[float]) -> None:
    array = np.array(values, np.float32).reshape(1, 1, 1, -1)
    ones, zeros = np.ones(array.size, np.float32), np.zeros(array.size, np.float32)
    out = np.empty(array.shape, np.uint16)
    kernels.activated(array, ones, zeros, out)
    np.testing.assert_array_equal(out, bits(np.maximum(array, 0)))


@pytest.mark.parametrize(("h", "w"), [(4, 4), (5, 7), (2, 3)])
def test_equal_maxima_share_no_gradient(h: int, w: int) -> None:
    """Of four equal numbers exactly one gets the whole gradient: nothing is lost, nothing counted twice."""
    maps = np.ones((2, h, w, 3), np.float32)
    gradient = np.random.default_rng(0).normal(size=(2, h // 2, w // 2, 3)).astype(np.float32)
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    out = np.full(maps.shape, np.nan, np.float32)
    kernels.spread_pooled(gradient, maps, ones, zeros, zeros, zeros, out)
    blocks = out[:, : h // 2 * 2, : w // 2 * 2].reshape(2, h // 2, 2, w // 2, 2, 3)
    np.testing.assert_array_equal(blocks.sum(axis=(2, 4)), gradient)
    assert ((blocks != 0).sum(axis=(2, 4)) == 1).all()
    assert not np.isnan(out).any()
