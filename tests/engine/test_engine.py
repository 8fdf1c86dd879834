"""The fused engine against the same network run with autograd."""

from __future__ import annotations

import copy
import subprocess
import sys
import textwrap
from collections import OrderedDict
from collections.abc import Callable, Iterator

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
from cpmodel.engine.operations import Drop, Pool
from cpmodel.families.base import Task
from cpmodel.families.modules import EvenConv2d, Fire, InvertedResidual
from cpmodel.families.plain import PlainFamily

Array = NDArray[np.float32]
RELU = np.array([0, np.inf], np.float32)


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


CHAINS: dict[str, Callable[[], list[nn.Module]]] = {
    "bias, ReLU, norm": lambda: [nn.Conv2d(3, 5, 3), nn.ReLU(), nn.BatchNorm2d(5), nn.MaxPool2d(2)],
    "bias before a norm": lambda: [nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU6()],
    "pooling first": lambda: [nn.Conv2d(3, 5, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(), nn.MaxPool2d(4)],
    "windows that overlap": lambda: [nn.Conv2d(3, 5, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)],
    "nothing between": lambda: [nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 5, 1)],
    "a kernel that is no square": lambda: [nn.Conv2d(3, 5, (3, 5), padding=(1, 2)), nn.ReLU()],
    "even kernels": lambda: [
        *(EvenConv2d(3, 4, 2, bias=True), nn.ReLU(), EvenConv2d(4, 5, 4, bias=False)),
        *(nn.MaxPool2d(3, 3), EvenConv2d(5, 5, 2, bias=True)),
    ],
    "one in another": lambda: [nn.Sequential(nn.Conv2d(3, 5, 3), nn.Sequential(nn.ReLU()))],
    "fire": lambda: [nn.Conv2d(3, 6, 3, 2), nn.ReLU(), Fire(6, 2, 3, 4), Fire(7, 3, 5, 0), Fire(5, 1, 0, 5)],
    "inverted residual": lambda: [
        *(nn.Conv2d(3, 4, 3, 2, bias=False), nn.BatchNorm2d(4), nn.ReLU6()),
        *(InvertedResidual(4, 2, 4, 1), InvertedResidual(4, 1, 6, 2), InvertedResidual(6, 3, 6, 1)),
        *(nn.Conv2d(6, 5, 1, bias=False), nn.BatchNorm2d(5), nn.ReLU6()),
    ],
}
HEADS: dict[str, Callable[[int], list[nn.Module]]] = {
    "dense": lambda n: [nn.Flatten(), nn.Linear(n, 4)],
    "more units than images": lambda n: [
        *(nn.Flatten(), nn.Linear(n, 40), nn.ReLU(), nn.Linear(40, 4, bias=False)),
    ],
    "mean": lambda n: [nn.Conv2d(5, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()],
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", CHAINS)
def test_other_chains(name: str, head: str) -> None:
    torch.manual_seed(0)
    images, labels = batch(12, 13, 3, 0)
    labels = labels % 4
    x = (images.double() - 110) / 60
    body = nn.Sequential(*CHAINS[name]())
    network = nn.Sequential(*body, *HEADS[head](body.eval()(x.float())[0].numel())).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    exact, rough = copy.deepcopy(network).double(), copy.deepcopy(network)
    normalisation = Normalisation((110.0,) * 3, (1 / 60,) * 3)
    engine = fused(network, normalisation)
    expected = F.cross_entropy(exact(x), labels)
    expected.backward()  # type: ignore[no-untyped-call]
    near = {"rtol": 1e-4, "atol": 1e-5, "check_dtype": False}
    torch.testing.assert_close(engine.backpropagate(images, labels, 0.0), expected.detach(), **near)
    largest = float(gradients(exact).abs().max())
    for (where, mine), theirs in zip(network.named_parameters(), exact.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert mine.grad.shape == mine.shape
        assert float((mine.grad - theirs.grad).abs().max()) < 2e-4 * largest, where
    for mine, theirs in zip(network.buffers(), exact.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, **near)
    with torch.inference_mode():
        logits = exact.eval()(x)
    torch.testing.assert_close(engine.logits(images), logits, rtol=1e-3, atol=1e-4, check_dtype=False)
    half = fused(rough, normalisation, "bfloat16").backpropagate(images, labels, 0.0)
    assert float(half) == pytest.approx(expected.item(), rel=0.05)


def test_dropout_keeps_the_mean_and_follows_torchs_generator() -> None:
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Dropout(0.25), nn.Flatten(), nn.Linear(8 * 36, 10))
    engine = fused(network, Normalisation((0.0,), (1.0,)))
    images, labels = batch(64, 8, 1, 0)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        engine.backpropagate(images, labels, 0.0)
        found.append(gradients(network))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    with torch.inference_mode():
        logits = network.eval()(images.float())
    torch.testing.assert_close(engine.logits(images), logits, rtol=1e-4, atol=1e-2)
    kept, _ = Drop(0.25).forward(torch.ones(50, 10, 10, 4), 0, True)
    assert set(kept.unique().tolist()) == {0.0, float(torch.tensor(1.0) / 0.75)}
    assert float(kept.mean()) == pytest.approx(1, abs=0.02)


class Doubled(nn.Conv2d):
    """What inherits from a module may do something else."""

    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


def test_what_is_no_such_chain_is_left_to_the_modules() -> None:
    normalisation = Normalisation((110.0,), (1 / 60,))
    network = made(4, 8, 3, 2, 1, 0)
    assert isinstance(network, nn.Sequential)
    others = {
        "groups of the images": nn.Conv2d(4, 4, 3, padding=1, bias=False, groups=2),
        "an even kernel as torch has it": nn.Conv2d(1, 4, 2, padding="same", bias=False),
        "a border of what is there": nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect"),
        "something else": Doubled(1, 4, 3, padding=1),
        "no convolution": nn.Dropout(0.5),
        "what torch is broken at": nn.Conv2d(1, 4, 1, stride=2),
    }
    for name, convolution in others.items():
        chain = copy.deepcopy(network)
        chain[0] = convolution
        assert FusedEngine.of(chain, normalisation) is None, name
    for index, module in (
        *((1, nn.GroupNorm(2, 4)), (2, nn.GELU()), (3, nn.AvgPool2d(2)), (-1, nn.Identity())),
        *((1, nn.BatchNorm2d(4, affine=False)), (1, nn.BatchNorm2d(4, momentum=None))),
        *((3, nn.MaxPool2d(3, padding=1)), (3, nn.AdaptiveAvgPool2d(2)), (-2, nn.Flatten(2))),
    ):
        chain = copy.deepcopy(network)
        chain[index] = module
        assert FusedEngine.of(chain, normalisation) is None, module
    assert FusedEngine.of(nn.Identity(), normalisation) is None
    twice = nn.Conv2d(1, 1, 3)
    assert FusedEngine.of(nn.Sequential(twice, twice, nn.Flatten(), nn.Linear(16, 10)), normalisation) is None
    network[2].register_forward_hook(lambda module, inputs, output: output + 1)
    assert FusedEngine.of(network, normalisation) is None


@pytest.mark.parametrize("where", ["conv1.weight", "conv1.bias", "conv2.weight"])
def test_relu_and_pooling_hide_no_number_that_is_none(where: str) -> None:
    chain = {"conv1": nn.Conv2d(1, 4, 3), "relu": nn.ReLU(), "pool": nn.MaxPool2d(2)}
    rest = {"conv2": nn.Conv2d(4, 4, 1), "last": nn.ReLU(), "mean": nn.AdaptiveAvgPool2d(1)}
    network = nn.Sequential(OrderedDict({**chain, **rest, "flatten": nn.Flatten()}))
    images, labels = batch(8, 8, 1, 0)
    with torch.no_grad():
        network.get_parameter(where).view(-1)[0] = torch.nan
    loss = fused(network, Normalisation((110.0,), (1 / 60,))).backpropagate(images, labels % 4, 0.0)
    assert torch.isnan(loss)


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
    kernels.clamped(array, ones, zeros, RELU, out)
    np.testing.assert_array_equal(out, bits(np.maximum(array, 0)))


@pytest.mark.parametrize(("h", "w"), [(4, 4), (5, 7), (2, 3)])
def test_equal_maxima_share_no_gradient(h: int, w: int) -> None:
    """Of four equal numbers exactly one gets the whole gradient: nothing is lost, nothing counted twice."""
    maps = np.ones((2, h, w, 3), np.float32)
    gradient = np.random.default_rng(0).normal(size=(2, h // 2, w // 2, 3)).astype(np.float32)
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    out = np.full(maps.shape, np.nan, np.float32)
    kernels.spread_pooled(gradient, maps, ones, zeros, RELU, zeros, zeros, out)
    blocks = out[:, : h // 2 * 2, : w // 2 * 2].reshape(2, h // 2, 2, w // 2, 2, 3)
    np.testing.assert_array_equal(blocks.sum(axis=(2, 4)), gradient)
    assert ((blocks != 0).sum(axis=(2, 4)) == 1).all()
    assert not np.isnan(out).any()


@pytest.mark.parametrize("limits", [(0.0, np.inf), (0.0, 6.0), (-np.inf, np.inf)])
@pytest.mark.parametrize(("channels", "border"), [(3, 0), (3, 1), (20, 1)])
def test_what_limits_let_through(channels: int, border: int, limits: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(3, 4, (2, 5, 6, channels)).astype(np.float32)
    gradient = rng.normal(size=(2, 5 + border, 6 + border, channels)).astype(np.float32)
    shift = rng.normal(size=channels).astype(np.float32)
    out, ones, among = np.empty_like(maps), np.ones(channels, np.float32), np.array(limits, np.float32)
    sums = kernels.passed(gradient, maps, shift, among, out)
    through = maps + shift
    expected = np.where((through > limits[0]) & (through < limits[1]), gradient[:, :5, :6], 0)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_allclose(sums, expected.sum(axis=(0, 1, 2), dtype=np.float64), rtol=1e-5, atol=1e-5)
    plain, weighted = kernels.gradient_sums(gradient, maps, ones, shift, among)
    np.testing.assert_allclose(plain, sums, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(weighted, (expected * maps).sum(axis=(0, 1, 2)), rtol=1e-4, atol=1e-4)
    written = np.zeros((2, 5 + border, 6 + border, channels), np.float32)
    kernels.clamped(maps, ones, shift, among, written)
    np.testing.assert_array_equal(written[:, :5, :6], np.clip(through, *limits))
    assert not written[:, 5:].any()
    assert not written[:, :, 6:].any()


def test_limits_leave_what_is_no_number_as_it_is() -> None:
    maps, out = np.full((1, 1, 1, 8), np.nan, np.float32), np.empty((1, 1, 1, 8), np.float32)
    kernels.clamped(maps, np.ones(8, np.float32), np.zeros(8, np.float32), RELU, out)
    assert np.isnan(out).all()


@settings(deadline=None, max_examples=40)  # the first call compiles
@given(st.integers(1, 4), st.integers(1, 4), st.integers(4, 9), st.booleans(), st.integers(0, 9))
def test_windows(window: int, stride: int, side: int, ceil: bool, seed: int) -> None:
    stride = min(stride, window)
    x = torch.randn(2, 3, side, side + 1, generator=torch.Generator().manual_seed(seed), requires_grad=True)
    expected = F.max_pool2d(x, window, stride, ceil_mode=ceil)
    pool = Pool(window, stride, ceil)
    out, known = pool.forward(x.detach().permute(0, 2, 3, 1).contiguous(), 0, True)
    assert torch.equal(out.permute(0, 3, 1, 2), expected)
    gradient = torch.randn(expected.shape, generator=torch.Generator().manual_seed(seed + 1))
    expected.backward(gradient)  # type: ignore[no-untyped-call]
    back = pool.back(known, gradient.permute(0, 2, 3, 1).contiguous(), False)
    assert x.grad is not None
    torch.testing.assert_close(back.permute(0, 3, 1, 2), x.grad)


@pytest.mark.parametrize(("dtype", "fused"), [("float32", ""), ("float32", "fused"), ("bfloat16", "fused")])
def test_kernels_of_one_pixel_that_skip_pixels_leave_the_memory_whole(dtype: str, fused: str) -> None:
    """In a process of its own, which torch would end: it wrote beyond what is its own."""
    code = textwrap.dedent(
        """
        import sys
        import torch
        from torch import nn
        from cpmodel.engine.base import Normalisation
        from cpmodel.training.trainer import Plan, engine_of
        plan = Plan(dtype=sys.argv[1], fused=bool(sys.argv[2]))
        for channels in (2, 4):
            layers = nn.Conv2d(3, channels, 3), nn.Conv2d(channels, 8, 1, stride=2), nn.AdaptiveAvgPool2d(1)
            network = nn.Sequential(*layers, nn.Flatten())
            engine = engine_of(network, Normalisation((0.0,) * 3, (1.0,) * 3), plan)
            images = torch.zeros(128, 3, 32, 32, dtype=torch.uint8).to(memory_format=torch.channels_last)
            for _ in range(12):
                engine.backpropagate(images, torch.arange(128) % 8, 0.0)
                kept = [torch.empty(n) for n in range(1, 400, 7)]
        """
    )
    command = [sys.executable, "-c", code, dtype, fused]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-500:]
