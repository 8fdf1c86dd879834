"""Forward run-time of networks on this machine.

Nothing here keeps other processes away: the caller holds the study's lock while it measures.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from cpmodel.cost import Conditions, device_name
from cpmodel.costs.table import Measurement
from cpmodel.errors import BadInputError
from cpmodel.families import Family, Task
from cpmodel.heap import kept_heap
from cpmodel.space import Configuration

if TYPE_CHECKING:
    import torch
    from torch import nn

DTYPES = ("float32", "bfloat16", "float16")

# A median is stable when its standard error is under this fraction of it.
_STABLE = 0.01
# A visit to a network goes on for so many seconds, ...
_VISIT_S = 0.01
# ... and one whose forward pass is shorter than this starts with a pass that is not timed: the network
# before it has left its own data in the caches.
_CACHED_S = 0.02
# Visits however little time there is: with fewer, the quartiles mean nothing.
_FEWEST = 3


@dataclass(frozen=True)
class Timing:
    """How run-times are measured.

    Parameters
    ----------
    batch, threads : images in one forward pass; processor threads, set back afterwards
    dtype : one of `DTYPES`; weights and images are converted before, so that the time has no conversion in it
    device : as torch names it: ``cpu``, ``cuda``, ``cuda:1``, ``mps``
    channels_last : store maps with the channel last; said in the backend of the conditions
    min_repeats : visits to each network before it can be done, 3 or more; a visit is a forward pass, or as
        many as fill 10 ms
    max_seconds : timed for each network, above 0; three visits are made even when they take longer
    """

    batch: int = 64
    threads: int = 1
    dtype: str = "float32"
    device: str = "cpu"
    channels_last: bool = False
    min_repeats: int = 15
    max_seconds: float = 2.0

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise BadInputError("dtype", expected="one of " + " ".join(DTYPES), got=self.dtype)
        if self.min_repeats < _FEWEST:
            raise BadInputError("repeats", expected=f"{_FEWEST} or more", got=self.min_repeats)
        if not self.max_seconds > 0:
            raise BadInputError("seconds for each network", expected="a number above 0", got=self.max_seconds)


@dataclass(frozen=True)
class Latency:
    """The forward run-time of a network.

    Parameters
    ----------
    median_s, spread_s : median (of the visits' medians) and interquartile range of the times of one batch
    error_s : standard error of the median
    stable : whether that is under 1 % of the median; if not, the time was up first
    repeats : forward passes timed
    measured_at : ISO 8601, UTC
    """

    median_s: float
    spread_s: float
    error_s: float
    stable: bool
    repeats: int
    conditions: Conditions
    measured_at: str

    def of(self, configuration: Configuration) -> Measurement:
        """The row of a costs table that says this of `configuration`."""
        return Measurement(
            configuration, self.conditions, self.median_s, self.spread_s, self.repeats, self.measured_at
        )


def median_error(values: ArrayLike) -> float:
    """Standard error of a median, whatever the distribution: (x_(n/2 + sqrt(n)/2) - x_(n/2 - sqrt(n)/2)) / 2.

    It is infinite for fewer than three values.

    Notes
    -----
    The number of values below the true median is binomial, n/2 plus or minus sqrt(n)/2: between the values of
    those ranks lies one standard error to either side. Between ranks it is interpolated.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    if n < _FEWEST:
        return math.inf
    ranks = (n - 1) / 2 + np.array([-1, 1]) * math.sqrt(n) / 2
    low, high = np.interp(ranks, np.arange(n), ordered)
    return float(high - low) / 2


def measure_many(
    networks: Sequence[nn.Module],
    input_shapes: Sequence[Sequence[int]],
    how: Timing | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Latency]:
    """The forward run-times of several networks, in their order, to be compared with each other.

    The networks are visited in rounds, so that a machine that is slow for a while is slow for all of them. A
    network is done when the standard error of its median is under 1 %, or its time is up.

    Parameters
    ----------
    networks : copied, set to evaluation and made ready as `how` says; trained or not does not matter
    input_shapes : of one image, for each network: (channels, height, width)
    progress : called with the number of networks done, and of all, whenever it grows

    Raises
    ------
    BadInputError
        The device is not there, or the batch does not fit in memory.
    """
    import torch

    if len(networks) != len(input_shapes):
        raise BadInputError("input shapes", expected=f"{len(networks)}, one a network", got=len(input_shapes))
    how = how or Timing()
    where, name = _device(how.device)
    backend = Conditions().backend + (" channels_last" if how.channels_last else "")
    conditions = Conditions(name, backend, how.dtype, how.batch, how.threads)
    layout = torch.channels_last if how.channels_last else torch.contiguous_format
    dtype: torch.dtype = getattr(torch, how.dtype)

    threads_before = torch.get_num_threads()
    torch.set_num_threads(how.threads)
    try:
        images: dict[tuple[int, ...], torch.Tensor] = {}
        stopwatches = []
        for network, input_shape in zip(networks, input_shapes, strict=True):
            shape = (how.batch, *input_shape)
            if shape not in images:
                # a generator of its own: the caller's random numbers go on as if nothing had happened
                noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
                images[shape] = noise.to(where, dtype).contiguous(memory_format=layout)
            ready = copy.deepcopy(network).eval().to(where, dtype)
            # torch's stubs do not know that a module, too, has a layout
            ready = ready.to(memory_format=layout)  # type: ignore[call-overload]
            stopwatches.append(_Stopwatch(ready, images[shape]))
        with torch.inference_mode(), kept_heap():
            _run(stopwatches, how, progress)
    except (RuntimeError, MemoryError) as error:
        # on the CPU torch has no class of its own for this
        full = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "DefaultCPUAllocator" in str(error)
        if full:
            raise BadInputError("batch", expected="one that fits in memory", got=how.batch) from error
        raise
    finally:
        torch.set_num_threads(threads_before)
    return [stopwatch.result(conditions) for stopwatch in stopwatches]


def measure_untrained(
    family: Family,
    task: Task,
    configurations: Sequence[Configuration],
    how: Timing,
    progress: Callable[[int, int], None] | None = None,
) -> list[Measurement]:
    """Run-times of configurations, from networks as they are before any training; see `measure_many`.

    The caller's random numbers go on as if nothing had happened.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        networks = [family.build(c, task) for c in configurations]
    shapes = [(task.channels, *family.input_size(c, task)) for c in configurations]
    times = measure_many(networks, shapes, how, progress)
    return [time.of(configuration) for time, configuration in zip(times, configurations, strict=True)]


def _device(text: str) -> tuple[torch.device, str]:
    """The torch device, and what people call it."""
    import torch

    try:
        device = torch.device(text)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        expected = "cpu, or cuda or mps where there is one"
        raise BadInputError("device", expected=expected, got=repr(text)) from error
    if device.type == "cuda":
        return device, torch.cuda.get_device_name(device)
    return device, device_name() + ("" if device.type == "cpu" else f" {device.type}")


def _run(stopwatches: Sequence[_Stopwatch], how: Timing, progress: Callable[[int, int], None] | None) -> None:
    """Round after round over the networks that are not done yet."""
    waiting = list(stopwatches)
    while waiting:
        before = len(waiting)
        for stopwatch in waiting:
            stopwatch.visit()
        waiting = [w for w in waiting if not w.done(how)]
        if progress and len(waiting) < before:
            progress(len(stopwatches) - len(waiting), len(stopwatches))


class _Stopwatch:
    """One network, its images, and the times of its visits so far."""

    def __init__(self, network: nn.Module, images: torch.Tensor) -> None:
        self._network = network
        self._images = images
        self._times: list[float] = []
        self._visits: list[float] = []
        self._spent = 0.0

    def _pass(self) -> float:
        """One forward pass, seconds."""
        import torch

        start = perf_counter()
        self._network(self._images)
        if self._images.device.type != "cpu":
            torch.accelerator.synchronize(self._images.device)
        return perf_counter() - start

    def visit(self) -> None:
        """Time a pass, or as many as fill a visit; what is not steady yet is not timed."""
        if not self._visits:
            # the first pass also chooses algorithms and allocates
            self._pass()
            self._pass()
        elif self._visits[-1] < _CACHED_S:
            self._pass()
        times: list[float] = []
        spent = 0.0
        while spent < _VISIT_S:
            times.append(self._pass())
            spent += times[-1]
        self._times += times
        self._visits.append(float(np.median(times)))
        self._spent += spent

    @property
    def _error(self) -> float:
        # passes within a visit resemble each other, visits do not: only these are independent
        return median_error(self._visits)

    def _stable(self) -> bool:
        return self._error < _STABLE * float(np.median(self._visits))

    def done(self, how: Timing) -> bool:
        """Whether the median is stable or the time is up."""
        visits = len(self._visits)
        late = visits >= _FEWEST and self._spent >= how.max_seconds
        return late or (visits >= how.min_repeats and self._stable())

    def result(self, conditions: Conditions) -> Latency:
        """What has been measured."""
        first, third = np.percentile(self._times, [25, 75])
        median, spread = float(np.median(self._visits)), float(third - first)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return Latency(median, spread, self._error, self._stable(), len(self._times), conditions, now)
