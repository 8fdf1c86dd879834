"""Measuring run-times, on a clock that the tests turn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from cpmodel.costs import latency
from cpmodel.costs.latency import Latency, Timing, measure_many, median_error
from cpmodel.costs.table import CostsTable
from cpmodel.errors import BadInputError
from cpmodel.families import Task
from cpmodel.families.plain import PlainFamily

SHAPE = (1, 8, 8)


def measure(network: nn.Module, input_shape: tuple[int, ...], **how: Any) -> Latency:
    return measure_many([network], [input_shape], Timing(**how))[0]


class Clock:
    """Time that passes only when a network says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(latency, "perf_counter", lambda: clock.now)
    return clock


class Sleeper(nn.Module):
    """A network whose passes take the seconds it is told, over and over."""

    def __init__(self, clock: Clock, name: str, *seconds: float) -> None:
        super().__init__()
        self.clock, self.name, self.seconds, self.passes = clock, name, seconds, 0
        self.weight = nn.Parameter(torch.zeros(3))

    def __deepcopy__(self, memo: object) -> Sleeper:
        return Sleeper(self.clock, self.name, *self.seconds)

    def forward(self, images: Tensor) -> Tensor:
        assert not self.training
        assert torch.is_inference_mode_enabled()
        self.clock.calls.append(self.name)
        self.clock.now += self.seconds[self.passes % len(self.seconds)]
        self.passes += 1
        return images


@given(st.lists(st.floats(0, 1), min_size=3, max_size=60))
def test_median_error_is_equivariant_and_within_the_range(values: list[float]) -> None:
    error = median_error(values)
    assert 0 <= error <= (max(values) - min(values)) / 2
    assert median_error([5 + 3 * v for v in values]) == pytest.approx(3 * error, abs=1e-9)
    assert median_error(values[::-1]) == error
    assert median_error([0.5] * len(values)) == 0


def test_median_error_against_theory() -> None:
    # the median of n normal numbers has the standard error sqrt(pi / 2 / n)
    noise = np.random.default_rng(0).standard_normal((400, 101))
    theory = math.sqrt(math.pi / 2 / 101)
    assert np.mean([median_error(row) for row in noise]) == pytest.approx(theory, rel=0.15)
    assert np.std(np.median(noise, axis=1)) == pytest.approx(theory, rel=0.1)
    assert median_error([1.0, 2.0]) == math.inf


def test_median_spread_and_repeats_by_hand(clock: Clock) -> None:
    # passes of 0.1 s and longer fill a visit each; the first two warm up
    network = Sleeper(clock, "a", 9.0, 9.0, *[0.10, 0.11, 0.12, 0.13, 0.14] * 40)
    found = measure(network, SHAPE, min_repeats=5, max_seconds=5 * 0.6 - 0.01)
    assert found.repeats == 25
    assert found.median_s == pytest.approx(0.12)
    assert found.spread_s == pytest.approx(0.02)
    # five of each: ranks 12 -+ 2.5 of 0 to 24 lie half-way from 0.11 to 0.12 and from 0.12 to 0.13
    assert found.error_s == pytest.approx(0.005)
    assert not found.stable


def test_stops_when_stable(clock: Clock) -> None:
    found = measure(Sleeper(clock, "a", 0.1), SHAPE, min_repeats=7, max_seconds=1e9)
    assert (found.repeats, found.stable, found.error_s) == (7, True, 0.0)


def test_slow_networks_are_still_timed_three_times(clock: Clock) -> None:
    assert measure(Sleeper(clock, "a", 50.0), SHAPE, max_seconds=1.0).repeats == 3


def test_noise_asks_for_more_repeats(clock: Clock) -> None:
    noise = np.random.default_rng(1).normal(1.0, 0.1, 5000).tolist()
    found = measure(Sleeper(clock, "a", *noise), SHAPE, max_seconds=1e9)
    assert found.stable
    assert found.repeats > 40
    assert found.error_s < 0.01 * found.median_s
    assert abs(found.median_s - 1) < 0.04


def test_networks_take_turns(clock: Clock) -> None:
    networks = [Sleeper(clock, "a", 0.1), Sleeper(clock, "b", 0.2), Sleeper(clock, "c", 1.0, 1.5)]
    done: list[tuple[int, int]] = []
    found = measure_many(
        networks, [SHAPE] * 3, Timing(min_repeats=4, max_seconds=8.0), lambda *now: done.append(now)
    )
    assert "".join(clock.calls) == "aaabbbccc" + "abc" * 3 + "c" * 3
    assert [round(f.median_s, 6) for f in found] == [0.1, 0.2, 1.0]
    assert done == [(2, 3), (3, 3)]


def test_short_passes_fill_a_visit_after_one_that_is_not_timed(clock: Clock) -> None:
    found = measure(Sleeper(clock, "a", 0.004), SHAPE, min_repeats=3)
    assert found.repeats == 9  # three visits of three passes
    assert len(clock.calls) == 2 + 3 + 2 * (1 + 3)


def test_a_real_network_here() -> None:
    family, task = PlainFamily(), Task(8, 8, 1, 10)
    configuration = {"f": 2, "s": 8, "k": 4, "l": 1}
    network = family.build(configuration, task)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    threads, random = torch.get_num_threads(), torch.get_rng_state()
    found = measure(network, SHAPE, batch=3, threads=threads + 1, max_seconds=0.05)
    assert found.median_s > 0
    assert found.spread_s >= 0
    assert found.conditions.batch == 3
    assert found.conditions.threads == threads + 1
    assert found.conditions.dtype == "float32"
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), random)
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    costs = CostsTable.of(family.space(task, {"f": [2]}), [found.of(configuration)])
    assert costs.values.tolist() == [found.median_s]
    assert [cost.conditions for cost in costs.kinds] == [found.conditions]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_conditions_are_true(dtype: str, channels_last: bool) -> None:
    seen: list[tuple[str, bool, int]] = []

    class Spy(nn.Conv2d):
        def forward(self, images: Tensor) -> Tensor:
            last = images.is_contiguous(memory_format=torch.channels_last)
            seen.append((str(images.dtype), last, torch.get_num_threads()))
            assert images.dtype == self.weight.dtype
            assert images.shape[0] == 2
            return super().forward(images)

    found = measure(
        Spy(3, 4, 3),
        (3, 6, 6),
        batch=2,
        threads=1,
        dtype=dtype,
        channels_last=channels_last,
        max_seconds=0.01,
    )
    assert set(seen) == {(f"torch.{dtype}", channels_last, 1)}
    assert found.conditions.dtype == dtype
    assert found.conditions.backend.endswith(" channels_last") == channels_last


@pytest.fixture
def network() -> Iterator[nn.Module]:
    yield nn.Flatten()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch": 0}, "batch.*1 or more"),
        ({"threads": 0}, "threads.*1 or more"),
        ({"dtype": "int8"}, "dtype: expected one of float32 bfloat16 float16, got int8"),
        ({"device": "abacus"}, "device.*'abacus'"),
        ({"device": "cuda:99"}, "device.*'cuda:99'"),
        ({"min_repeats": 2}, "repeats: expected 3 or more"),
        ({"max_seconds": 0.0}, "seconds.*above 0"),
        ({"max_seconds": math.nan}, "seconds.*above 0"),
        ({"batch": 10**12}, "batch: expected one that fits in memory"),
    ],
)
def test_bad_arguments(network: nn.Module, wrong: dict[str, object], message: str) -> None:
    threads = torch.get_num_threads()
    with pytest.raises(BadInputError, match=message):
        measure(network, (3, 64, 64), **wrong)
    assert torch.get_num_threads() == threads
    with pytest.raises(BadInputError, match="1, one a network"):
        measure_many([network], [])


def test_errors_of_the_network_are_not_hidden() -> None:
    threads = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="channels"):
        measure(nn.Conv2d(3, 1, 3), (1, 8, 8), threads=threads + 1)
    assert torch.get_num_threads() == threads


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_cuda_device() -> None:
    found: Latency = measure(
        nn.Conv2d(3, 8, 3), (3, 32, 32), device="cuda", dtype="bfloat16", max_seconds=0.2
    )
    assert found.conditions.device == torch.cuda.get_device_name()
