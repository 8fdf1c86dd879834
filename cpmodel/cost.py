"""What a cost is: its name and unit, how it is known, and the conditions that it was measured under."""

from __future__ import annotations

import math
import os
import platform
from contextlib import suppress
from dataclasses import dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from cpmodel.errors import BadInputError
from cpmodel.space import Floats

Known = Literal["computed", "counted", "measured"]


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_name() -> str:
    """What a person would call this machine's processor, with its number of cores."""
    lines: list[str] = []
    with suppress(OSError):  # Linux alone has it
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    name = name or platform.processor() or platform.machine() or "unknown processor"
    cores = os.cpu_count() or 1
    return f"{name} ({cores} core{'s' if cores > 1 else ''})"


def _backend() -> str:
    try:
        return "pytorch " + version("torch").partition("+")[0]
    except PackageNotFoundError:
        return "pytorch"


@dataclass(frozen=True)
class Conditions:
    """What a cost was measured under; only values of equal conditions are compared.

    A further field with a default is a further column of costs tables, which older tables may lack.

    Parameters
    ----------
    device : the processor in words; this machine's unless given
    backend : what ran the network, e.g. ``pytorch 2.13.0 channels_last``
    dtype : ``float32``, ``bfloat16``, or whatever another backend calls its numbers
    batch, threads : images in one forward pass, and processor threads that worked on it, 1 or more
    extra : whatever else matters, in words; mostly empty
    """

    device: str = field(default_factory=device_name)
    backend: str = field(default_factory=_backend)
    dtype: str = "float32"
    batch: int = 64
    threads: int = 1
    extra: str = ""

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, str):
                value = " ".join(value.split())  # so that it survives any file
                object.__setattr__(self, f.name, value)
                if not value and f.default != "":
                    raise BadInputError(f"conditions: {f.name}", expected="a text", got="none")
            elif not isinstance(value, int) or value < 1:
                raise BadInputError(f"conditions: {f.name}", expected="a whole number, 1 or more", got=value)

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        parts = self.device, self.backend, self.dtype, f"batch {self.batch}", threads, self.extra
        return ", ".join(filter(None, parts))


CONDITIONS = tuple(f.name for f in fields(Conditions))

LATENCY = "latency_s"
"""The run-time that ``cpmodel measure`` measures here: of one forward pass of a batch, seconds."""

# Name -> unit and label of the costs that are known everywhere; another is called by its name
_DESCRIBED = {
    "macs": ("MACs", "MACs of one image"),
    "conv_macs": ("MACs", "MACs of the convolutions"),
    "dense_macs": ("MACs", "MACs of the dense layers"),
    "params": ("", "trainable parameters"),
    "weight_bytes": ("B", "bytes of weights"),
    "activation_elements": ("", "activation elements, all layers"),
    "activation_peak_elements": ("", "activation elements, peak"),
    "layers": ("", "layers"),
    LATENCY: ("s", "run-time of one batch"),
}


@dataclass(frozen=True)
class Cost:
    """One kind of complexity.

    Parameters
    ----------
    name : ``macs``, ``params``, ..., ``latency_s``: the column of tables and the word of the command line
    unit : what a value counts, as it is printed beside it: ``B``, ``s``; empty for plain numbers
    label : in words, for people; the name unless given
    known : from the configuration by a formula; on the built network; by running it under `conditions`
    conditions : of a measured one, where they are told

    Examples
    --------
    >>> Cost.called("weight_bytes").label, Cost.called("joules")
    ('bytes of weights', Cost(name='joules', unit='', label='joules', known='computed', conditions=None))
    """

    name: str
    unit: str = ""
    label: str = ""
    known: Known = "computed"
    conditions: Conditions | None = None

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.name)

    @classmethod
    def called(cls, name: str, known: Known = "computed", conditions: Conditions | None = None) -> Cost:
        """The cost of that name, with the unit and label that are known of it."""
        unit, label = _DESCRIBED.get(name, ("", name))
        return cls(name, unit, label, known, conditions)


@dataclass(frozen=True)
class ComparedCost:
    """A cost of the baseline and of the answer, both in its unit."""

    cost: Cost
    baseline: float
    answer: float

    @property
    def relative(self) -> float:
        """The answer's divided by the baseline's; NaN where that is not known."""
        return self.answer / self.baseline if self.baseline > 0 else math.nan


def relative(costs: ArrayLike, baseline: float) -> Floats:
    """Costs, shape (n,), divided by the baseline's, which must be above 0.

    >>> relative([5.0, 20.0], 20.0).tolist()
    [0.25, 1.0]
    """
    if not (math.isfinite(baseline) and baseline > 0):
        raise BadInputError("complexity of the baseline", expected="a number above 0", got=baseline)
    return np.asarray(costs, dtype=np.float64) / baseline
