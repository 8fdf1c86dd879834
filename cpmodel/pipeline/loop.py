"""The loop of every search: train what was asked for, fit, decide what to ask for next; until nothing is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cpmodel.engine.devices import training_devices
from cpmodel.pipeline.clock import Clock
from cpmodel.pipeline.fitting import PrecisionFit
from cpmodel.pipeline.material import Material
from cpmodel.pipeline.options import Effort, Machine, Training
from cpmodel.pipeline.project import Project
from cpmodel.pipeline.watch import Watcher
from cpmodel.search.decide import Step
from cpmodel.search.first import first_requests
from cpmodel.space import Floats
from cpmodel.training.pool import Pool, default_workers

Decide = Callable[["Moment"], Step]


@dataclass(frozen=True, eq=False)
class Moment:
    """What a decision of a search sees."""

    material: Material
    fit: PrecisionFit  # of the material's samples
    workers: int
    clock: Clock


def searched(
    project: Project,
    X: Floats,
    first: tuple[int, int, int],
    decide: Decide,
    effort: Effort,
    watch: Watcher,
) -> tuple[Moment, Step]:
    """Train a first design, then what `decide` asks for, until that is nothing; its last step, what it saw.

    Parameters
    ----------
    X : shape (m, d), every configuration that may be chosen
    first : configurations of the design, seeds of the baseline, and trainings that both leave of the budget,
        of which all that the study has is taken off
    """
    space, (size, seeds, spared) = project.space, first
    said = f"the baseline and {size} configurations spread over cost"
    if space.size > space.most:
        said += f"; of {space.size:,} configurations {len(X):,} that were drawn are looked at"
    watch.step(Step("explore", said))
    sizes = {"first": size, "baseline_seeds": seeds, "study_seed": project.study.settings.seed}
    design = first_requests(space, X, project.effort(X), **sizes)
    clock = Clock(effort.seconds)
    if effort.budget is not None:
        watch.expect(effort.budget)
        design, asked = project.study.unasked(design)
        design = design[: max(0, effort.budget - spared - asked)]
    project.study.enqueue(design)
    with pool_of(project, effort, watch) as pool:
        while True:
            pool.drain(clock.deadline)
            material = sampled(project)
            moment = Moment(material, material.precision(), pool.size, clock)
            step = decide(moment)
            watch.step(step)
            if not step.requests:
                return moment, step
            project.study.enqueue(step.requests)


def sampled(project: Project) -> Material:
    """The study's material, its samples also kept as ``samples.csv``."""
    material = project.material()
    material.samples.write_csv(project.folder / "samples.csv")
    return material


def pool_of(project: Project, machine: Machine, watch: Watcher) -> Pool:
    """The workers of a machine."""
    full = isinstance(machine, Training) and machine.full
    devices = training_devices(machine.device)
    return Pool(project.study, project.images(), machine.workers, watch.event, full=full, devices=devices)


@contextmanager
def watched(project: Project, machine: Machine, watch: Watcher) -> Iterator[None]:
    """Tell the watcher when trainings begin and when none is in hand any more."""
    workers = machine.workers or default_workers(training_devices(machine.device))
    watch.begin(project, project.images(), workers)
    try:
        yield
    finally:
        watch.end()
