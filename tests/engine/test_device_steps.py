"""Steps that read only the device's memory: on the processor, uncaptured, against the host's own."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from cpmodel.engine.base import Normalisation
from cpmodel.engine.devices import prepare
from cpmodel.engine.graphs import STRIDE, WARM_UP, DeviceSteps
from cpmodel.engine.modules import ModulesEngine
from cpmodel.engine.steps import HostSteps, Lesson, Steps
from cpmodel.families.base import Task
from cpmodel.families.plain import PlainFamily
from cpmodel.recipe import Optimizer, Recipe

NORMALISATION = Normalisation((110.0,), (1 / 60,))
BATCH, EPOCHS = 8, 2
PER_EPOCH = STRIDE + 3


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def lesson(recipe: Recipe) -> Lesson:
    generator = torch.Generator().manual_seed(0)
    n = PER_EPOCH * BATCH + 5  # the rest is left out
    images = torch.randint(0, 256, (n, 14, 14, 1), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 3, (n,), generator=generator)
    # rates that float32 holds exactly, as the device keeps them
    rates = [2.0**-9 * (1 + step % 4) for step in range(EPOCHS * PER_EPOCH)]
    return Lesson(images.permute(0, 3, 1, 2), labels, recipe, rates, BATCH, seed=3)


def network() -> nn.Module:
    torch.manual_seed(0)
    return PlainFamily().build({"f": 3, "s": 14, "k": 3, "l": 2}, Task(14, 14, 1, 3))


def trained(steps: Steps, learned: Lesson) -> tuple[list[float], int]:
    """Losses of the epochs, and how often others had their turn."""
    generator = torch.Generator().manual_seed(7)
    losses, stops = [], 0
    for _ in range(EPOCHS):
        order = torch.randperm(len(learned.images), generator=generator)
        for ready in steps.epoch(order, generator):
            assert ready()
            stops += 1
        losses.append(float(steps.loss))
    return losses, stops


def state(of: nn.Module) -> Tensor:
    return torch.cat([value.flatten().double() for value in of.state_dict().values()])


@pytest.mark.parametrize("optimizer", get_args(Optimizer))
def test_the_device_takes_the_steps_that_the_host_would(optimizer: Any) -> None:
    learned = lesson(Recipe(optimizer=optimizer, augment=("flip", "shift", "cutout"), label_smoothing=0.1))
    one, other = network(), network()
    untrained = state(one)
    by_host, _ = trained(HostSteps(ModulesEngine(one, NORMALISATION), one, learned), learned)
    steps = DeviceSteps(ModulesEngine(other, NORMALISATION), other, learned, capture=False)
    by_device, stops = trained(steps, learned)
    assert by_device == pytest.approx(by_host, rel=1e-6)
    # a rate of float32 rather than float64 moves the last bits of some optimisers' products
    torch.testing.assert_close(state(other), state(one), rtol=2e-4, atol=1e-5)
    assert not torch.allclose(untrained, state(one), rtol=1e-2)
    assert stops == EPOCHS * 2
    assert not steps.captured


@pytest.mark.parametrize("augment", [(), ("flip",), ("shift",)])
def test_few_kinds_are_drawn_or_none(augment: Any) -> None:
    learned = lesson(Recipe(augment=augment))
    one, other = network(), network()
    by_host, _ = trained(HostSteps(ModulesEngine(one, NORMALISATION), one, learned), learned)
    by_device, _ = trained(DeviceSteps(ModulesEngine(other, NORMALISATION), other, learned), learned)
    assert by_device == pytest.approx(by_host, rel=1e-6)


def test_a_capture_that_fails_changes_nothing() -> None:
    """On the processor every capture fails."""
    learned = lesson(Recipe())
    one, other = network(), network()
    plain = DeviceSteps(ModulesEngine(one, NORMALISATION), one, learned, capture=False)
    tried = DeviceSteps(ModulesEngine(other, NORMALISATION), other, learned)
    assert trained(plain, learned) == trained(tried, learned)
    assert torch.equal(state(one), state(other))
    assert not tried.captured


class Recorder:
    """Stands in for a CUDA graph: the step that it recorded is done again at each replay.

    What is done while it records leaves no trace, as in a capture.
    """

    replays = 0
    step: Any = None

    def capture_begin(self, capture_error_mode: str) -> None:
        assert capture_error_mode == "thread_local"
        self.kept = Recorder.state()

    def capture_end(self) -> None:
        for tensor, value in self.kept:
            tensor.data.copy_(value)

    def replay(self) -> None:
        Recorder.replays += 1
        Recorder.step()


def test_the_first_steps_run_and_the_rest_are_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    learned = lesson(Recipe(augment=("flip", "shift")))
    one, other = network(), network()
    plain = DeviceSteps(ModulesEngine(one, NORMALISATION), one, learned, capture=False)
    steps = DeviceSteps(ModulesEngine(other, NORMALISATION), other, learned)

    def everything() -> list[tuple[Tensor, Tensor]]:
        optimizer = [v for each in steps._optimizer.state.values() for v in each.values()]
        inner = [steps._at, steps._rate, steps.loss, *other.state_dict().values(), *optimizer]
        return [(tensor, tensor.detach().clone()) for tensor in inner]

    Recorder.step, Recorder.replays, Recorder.state = steps._step, 0, staticmethod(everything)  # type: ignore[attr-defined]
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Recorder)
    assert trained(steps, learned) == trained(plain, learned)
    assert torch.equal(state(one), state(other))
    assert steps.captured
    assert Recorder.replays == EPOCHS * PER_EPOCH - WARM_UP


@pytest.mark.parametrize("ends_well", [True, False])
def test_no_memory_in_a_capture_is_no_memory(monkeypatch: pytest.MonkeyPatch, ends_well: bool) -> None:
    """Also where ending the broken capture raises an error of its own."""
    learned, net = lesson(Recipe()), network()
    steps = DeviceSteps(ModulesEngine(net, NORMALISATION), net, learned)

    class Full(Recorder):
        def capture_begin(self, capture_error_mode: str) -> None:
            def full() -> None:
                raise torch.OutOfMemoryError("CUDA out of memory")

            monkeypatch.setattr(steps, "_step", full)

        def capture_end(self) -> None:
            if not ends_well:
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Full)
    with pytest.raises(torch.OutOfMemoryError):
        trained(steps, learned)


def test_parts_of_a_batch_add_up() -> None:
    """Without batch norm, whose statistics differ, the gradient of the parts is that of the whole."""
    torch.manual_seed(0)
    chain = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 12 * 12, 3))
    twin = copy.deepcopy(chain)
    learned = lesson(Recipe())
    images, labels = learned.images[:10], learned.labels[:10]
    whole = ModulesEngine(chain, NORMALISATION).backpropagate(images, labels, 0.1)
    parts = ModulesEngine(twin, NORMALISATION, parts=4).backpropagate(images, labels, 0.1)  # 3, 3, 3 and 1
    torch.testing.assert_close(parts, whole)
    for mine, theirs in zip(twin.parameters(), chain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("optimizer", get_args(Optimizer))
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_graph_does_what_it_recorded(optimizer: Any, dtype: str) -> None:
    """Captured or not: the same kernels, so the same bits; and the loss of the processor's own steps."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    prepare("cuda:0")
    recipe = Recipe(optimizer=optimizer, augment=("flip", "shift", "cutout"))
    outcome = {}
    for capture in (True, True, False):
        there = lesson(recipe)
        there = there._replace(images=there.images.cuda(), labels=there.labels.cuda())
        net = network()
        with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
            steps = DeviceSteps(ModulesEngine(net, NORMALISATION, dtype, "cuda"), net, there, capture)
            losses = []
            generator = torch.Generator().manual_seed(7)
            for _ in range(EPOCHS):
                for _ready in steps.epoch(torch.randperm(len(there.images), generator=generator), generator):
                    pass
                losses.append(float(steps.loss))
            found = (losses, state(net).cpu())
        assert steps.captured == capture
        if outcome:
            assert outcome["losses"] == found[0]
            assert torch.equal(outcome["state"], found[1])
        outcome = {"losses": found[0], "state": found[1]}
    one = network()
    here = lesson(recipe)
    by_host, _ = trained(HostSteps(ModulesEngine(one, NORMALISATION), one, here), here)
    assert outcome["losses"] == pytest.approx(by_host, rel=0.05)
