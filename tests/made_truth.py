"""Made-up truths over the plain family: what is asked for is answered at once, without a training."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cpmodel.families.base import Task
from cpmodel.families.plain import PlainFamily
from cpmodel.records.sample import Request, Sample
from cpmodel.space import Floats

TASK = Task(28, 28, 1, 10)
FAMILY = PlainFamily()
SPACE = FAMILY.space(TASK)
X = SPACE.candidates()
COST = FAMILY.costs(X, TASK)["macs"]
ROW = {SPACE.key(c): row for row, c in enumerate(SPACE.configurations(X))}


@dataclass
class Truth:
    """Errors that fall with every parameter, bent a little, so that no simple law holds."""

    seed: int = 0
    noise: float = 0.004
    broken: frozenset[str] = frozenset()  # configurations whose trainings fail
    unlucky: frozenset[tuple[str, int]] = frozenset()  # trainings that fail
    precision: Floats = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        slopes = rng.uniform([0.1, 0.3, 0.1, 0.2], [0.35, 0.8, 0.5, 0.6])
        logs = np.log(X / X.max(axis=0))
        bend = rng.normal(0, 0.06, 4) @ np.sin(1.5 * logs + rng.uniform(0, 6, 4)).T
        self.precision = 1 - np.exp(np.log(0.07) - logs @ slopes + bend)

    def answer(self, request: Request) -> Sample:
        key = SPACE.key(request.configuration)
        failed = key in self.broken or (key, request.seed) in self.unlucky
        noise = np.random.default_rng([self.seed, ROW[key], request.seed]).normal(0, self.noise)
        precision = None if failed else float(np.clip(self.precision[ROW[key]] + noise, 0, 1))
        status = "failed" if failed else "complete"
        return Sample(request.configuration, request.seed, precision, status=status, purpose=request.purpose)  # type: ignore[arg-type]
