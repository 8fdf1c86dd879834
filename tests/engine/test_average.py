"""The mean of the weights of half an epoch: against means of copies, and on the way of real steps."""

from __future__ import annotations

import pytest
import torch
from test_device_steps import NORMALISATION, PER_EPOCH, lesson, network, state, trained
from torch import Tensor, nn

from cpmodel.engine.average import Average
from cpmodel.engine.graphs import DeviceSteps
from cpmodel.engine.modules import ModulesEngine
from cpmodel.engine.steps import After, HostSteps, Lesson, Steps
from cpmodel.recipe import Recipe


def wandered(steps: int, epochs: int = 2) -> tuple[nn.Module, Average, list[Tensor]]:
    """A network whose weights and statistics wander, its average, and what it was after each step."""
    net, generator = network(), torch.Generator().manual_seed(1)
    average, path = Average(net, steps), []
    for _ in range(epochs):
        for step in range(steps):
            for tensor in net.state_dict().values():
                if tensor.is_floating_point():
                    tensor.add_(torch.randn(tensor.shape, generator=generator))
                else:
                    tensor.add_(1)
            average.after(step)
            path.append(state(net))
    return net, average, path


# of 50 steps every fourth, the last one of them
@pytest.mark.parametrize(
    ("steps", "taken"),
    [(1, [0]), (2, [1]), (5, [2, 3, 4]), (12, [6, 7, 8, 9, 10, 11]), (50, [25, 29, 33, 37, 41, 45, 49])],
)
def test_it_is_the_mean_of_the_latter_half_of_the_last_epoch(steps: int, taken: list[int]) -> None:
    net, average, path = wandered(steps)
    average.exchange()
    expected = torch.stack([path[steps + step] for step in taken]).mean(0)
    counters = torch.cat(
        [torch.full((t.numel(),), not t.is_floating_point()) for t in net.state_dict().values()]
    )
    torch.testing.assert_close(state(net)[~counters], expected[~counters], rtol=1e-5, atol=1e-5)
    assert torch.equal(state(net)[counters], path[-1][counters]), "what is counted has no mean"


def test_what_is_exchanged_comes_back_bit_for_bit() -> None:
    net, average, path = wandered(7)
    average.exchange()
    mean = state(net)
    assert not torch.equal(mean, path[-1])
    average.exchange()
    assert torch.equal(state(net), path[-1])
    average.exchange()
    assert torch.equal(state(net), mean)


def host(net: nn.Module, learned: Lesson, after: After) -> Steps:
    return HostSteps(ModulesEngine(net, NORMALISATION), net, learned, after)


def device(net: nn.Module, learned: Lesson, after: After) -> Steps:
    return DeviceSteps(ModulesEngine(net, NORMALISATION), net, learned, capture=False, after=after)


@pytest.mark.parametrize("kind", [host, device])
def test_steps_tell_of_each_and_are_the_same_with_an_average(kind: type) -> None:
    learned = lesson(Recipe())
    one, other = network(), network()
    told: list[int] = []
    alone = trained(kind(one, learned, told.append), learned)
    # its tensors are those that the engine has laid out
    steps = kind(other, learned, lambda step: averages[0].after(step))
    averages = [Average(other, PER_EPOCH)]
    assert trained(steps, learned) == alone
    assert told == [*range(PER_EPOCH)] * 2
    assert torch.equal(state(one), state(other))
    averages[0].exchange()
    assert not torch.equal(state(one), state(other))
