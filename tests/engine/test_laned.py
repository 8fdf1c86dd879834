"""Networks whose maps have the images innermost, against the same networks run with autograd."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from cpmodel.engine import lanes
from cpmodel.engine.base import Normalisation
from cpmodel.engine.laned import LanesEngine
from cpmodel.families.base import Task
from cpmodel.families.modules import EvenConv2d, Fire, InvertedResidual
from cpmodel.families.plain import PlainFamily

COLOUR = Normalisation((110.0, 120.0, 130.0), (1 / 60, 1 / 50, 1 / 70))
SIDE = 13


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def laned(network: nn.Module) -> LanesEngine:
    engine = LanesEngine.of(network, COLOUR)
    assert engine is not None
    return engine


def batch(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, SIDE, SIDE, 3), dtype=torch.uint8, generator=generator)
    return images.permute(0, 3, 1, 2), torch.randint(0, 4, (n,), generator=generator)


def seen(images: Tensor) -> Tensor:
    mean, factor = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in COLOUR)
    return (images.double() - mean) * factor


BODIES: dict[str, Callable[[], list[nn.Module]]] = {
    "ReLU, then norm": lambda: [nn.Conv2d(3, 5, 3), nn.ReLU(), nn.BatchNorm2d(5), nn.MaxPool2d(2)],
    "bias before a norm": lambda: [nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU6()],
    "pooling first": lambda: [nn.Conv2d(3, 5, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(), nn.MaxPool2d(4)],
    "windows that overlap": lambda: [nn.Conv2d(3, 9, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)],
    "a filter a channel": lambda: [nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 5, 1)],
    "two groups, a stride": lambda: [nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 3, 2, padding=1, groups=2)],
    "a stride that leaves a rest": lambda: [nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Conv2d(4, 5, 3, 3)],
    "no square": lambda: [nn.Conv2d(3, 5, (3, 5), padding=(1, 0)), nn.ReLU(), nn.Conv2d(5, 5, (1, 3))],
    "even": lambda: [EvenConv2d(3, 4, 2, bias=True), nn.ReLU6(), EvenConv2d(4, 5, 4, bias=False)],
    "many of 1 x 1": lambda: [nn.Conv2d(3, 40, 1), nn.ReLU(), nn.Conv2d(40, 30, 1), nn.ReLU()],
    "fire": lambda: [nn.Conv2d(3, 6, 3, 2), nn.ReLU(), Fire(6, 2, 3, 4), Fire(7, 3, 5, 0), Fire(5, 1, 0, 5)],
    "inverted residual": lambda: [
        *(nn.Conv2d(3, 4, 3, 2, bias=False), nn.BatchNorm2d(4), nn.ReLU6()),
        *(InvertedResidual(4, 2, 4, 1), InvertedResidual(4, 1, 6, 2), InvertedResidual(6, 3, 6, 1)),
    ],
}
HEADS: dict[str, Callable[[int, int], list[nn.Module]]] = {
    "dense": lambda c, n: [nn.Flatten(), nn.Linear(n, 9), nn.ReLU(), nn.Linear(9, 4, bias=False)],
    "mean": lambda c, n: [nn.Conv2d(c, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()],
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", BODIES)
def test_loss_gradients_statistics_and_logits(name: str, head: str) -> None:
    torch.manual_seed(0)
    images, labels = batch(11)
    body = nn.Sequential(*BODIES[name]())
    maps = body.eval()(seen(images).float())
    network = nn.Sequential(*body, *HEADS[head](maps.shape[1], maps[0].numel())).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    exact, x = copy.deepcopy(network).double(), seen(images)
    engine = laned(network)
    expected = F.cross_entropy(exact(x), labels, label_smoothing=0.1)
    expected.backward()  # type: ignore[no-untyped-call]
    near = {"rtol": 1e-4, "atol": 1e-5, "check_dtype": False}
    torch.testing.assert_close(engine.backpropagate(images, labels, 0.1), expected.detach(), **near)
    largest = max(float(p.grad.abs().max()) for p in exact.parameters() if p.grad is not None)
    for (where, mine), theirs in zip(network.named_parameters(), exact.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert mine.grad.shape == mine.shape
        assert float((mine.grad - theirs.grad).abs().max()) < 1e-5 * largest, where
    for mine, theirs in zip(network.buffers(), exact.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, **near)
    with torch.inference_mode():
        logits = exact.eval()(x)
    torch.testing.assert_close(engine.logits(images), logits, **near)


def small() -> nn.Sequential:
    torch.manual_seed(0)
    head = (nn.Dropout(0.25), nn.Flatten(), nn.Linear(100, 4))
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), *head)


def test_dropout_keeps_the_mean_and_follows_torchs_generator() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4)).train()
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout(0.25), *network)
    engine, (images, labels) = laned(network), batch(64)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        engine.backpropagate(images, labels, 0.0)
        found.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    with torch.inference_mode():
        logits = network.eval()(seen(images).float())
    torch.testing.assert_close(engine.logits(images), logits, rtol=1e-4, atol=1e-4)
    ones, out = np.ones(40_000, np.float32), np.empty(40_000, np.float32)
    drawn = np.random.default_rng(0).integers(0, 65_536, 40_000).astype(np.uint16)
    lanes.left(ones, drawn, np.uint16(16_384), np.float32(1 / 0.75), out)
    np.testing.assert_array_equal(out > 0, drawn >= 16_384)
    assert float(out.mean()) == pytest.approx(1, abs=0.02)


def test_what_is_left_out_gets_no_gradient() -> None:
    """The weights of a dense layer behind a dropout: those of what was left out of all images are zero."""
    network = nn.Sequential(nn.Conv2d(3, 4, 13), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4, 4))
    images, labels = batch(1)
    laned(network).backpropagate(images, labels, 0.0)
    conv, dense = network[0].weight.grad, network[3].weight.grad
    assert isinstance(conv, Tensor)
    assert isinstance(dense, Tensor)
    left_out = (dense == 0).all(dim=0)
    assert left_out.any()
    assert not left_out.all()
    assert torch.equal((conv == 0).flatten(1).all(dim=1), left_out)


def test_the_same_input_gives_the_same_bits() -> None:
    network = small()
    twin = copy.deepcopy(network)
    images, labels = batch(64)
    for each in (network, twin):
        torch.manual_seed(3)
        laned(each).backpropagate(images, labels, 0.0)
    for mine, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert torch.equal(mine.grad, theirs.grad)


@pytest.mark.parametrize("where", ["0.weight", "0.bias", "5.weight"])
def test_no_number_is_never_hidden(where: str) -> None:
    network = small()
    with torch.no_grad():
        network.get_parameter(where).view(-1)[0] = torch.nan
    assert torch.isnan(laned(network).backpropagate(*batch(8), 0.0))


def test_a_pooling_hides_no_number_that_is_none() -> None:
    for at in range(4):
        maps, out = np.ones((1, 2, 2, 3), np.float32), np.empty((1, 1, 1, 3), np.float32)
        maps.reshape(4, 3)[at, 1] = np.nan
        lanes.pooled(maps, 2, 2, out)
        np.testing.assert_array_equal(np.isnan(out.reshape(-1)), [False, True, False])


def test_what_others_do_better_is_left_to_them() -> None:
    plain = PlainFamily().build({"f": 4, "s": SIDE, "k": 3, "l": 2}, Task(SIDE, SIDE, 3, 4))
    assert LanesEngine.of(plain, COLOUR) is None
    network = small()
    for convolution in (
        nn.Conv2d(3, 150, 3),  # 4,050 weights
        nn.Conv2d(3, 4, 3, dilation=2),
        nn.Conv2d(3, 4, 3, (1, 2)),
        nn.Conv2d(3, 4, 3, padding=3),
    ):
        network[0] = convolution
        assert LanesEngine.of(network, COLOUR) is None, convolution
    network[0] = nn.Conv2d(3, 4, 3, groups=1)
    assert LanesEngine.of(network, COLOUR) is not None
    network[1] = nn.GELU()
    assert LanesEngine.of(network, COLOUR) is None


@settings(deadline=None, max_examples=40)  # the first call compiles
@given(st.integers(1, 4), st.integers(1, 4), st.integers(4, 9), st.booleans(), st.integers(0, 9))
def test_windows(window: int, stride: int, side: int, ceil: bool, seed: int) -> None:
    stride = min(stride, window)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 5, (2, 3, side, side + 1), generator=generator).float().requires_grad_()
    expected = F.max_pool2d(x, window, stride, ceil_mode=ceil)
    gradient = torch.randn(expected.shape, generator=generator)
    expected.backward(gradient)  # type: ignore[no-untyped-call]
    assert x.grad is not None
    maps, out, back = (
        np.ascontiguousarray(t.detach().permute(1, 2, 3, 0).numpy()) for t in (x, expected, x.grad)
    )
    found, spread = np.empty_like(out), np.empty_like(back)
    lanes.pooled(maps, window, stride, found)
    np.testing.assert_array_equal(found, out)
    coming = np.ascontiguousarray(gradient.permute(1, 2, 3, 0).numpy())
    lanes.spread_windows(coming, maps, out, window, stride, spread)
    np.testing.assert_allclose(spread, back, rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=25)  # the first call compiles
@given(st.integers(1, 300), st.sampled_from([0.0, 1e3]), st.integers(0, 9))
def test_moments(pixels: int, offset: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(offset, 2, (3, pixels, 2, 5)).astype(np.float32)
    mean, variance = lanes.moments(values)
    np.testing.assert_allclose(mean, values.mean(axis=(1, 2, 3), dtype=np.float64), rtol=1e-5, atol=1e-5)
    spread = values.var(axis=(1, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(variance, spread, rtol=1e-4, atol=1e-5 + 2e-6 * offset**2)
