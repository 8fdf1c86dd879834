"""The sampling stage: a design's configurations, trained and recorded."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from cpmodel.datasets.base import ImageSet
from cpmodel.pipeline.project import Project
from cpmodel.pipeline.watch import Watcher
from cpmodel.records.sample import Purpose, Request
from cpmodel.samples import Samples
from cpmodel.search.decide import training_seed
from cpmodel.search.designs import design as design_of
from cpmodel.training.pool import Pool

SILENT = Watcher()


def sample(
    project: Project,
    images: ImageSet,
    design: str = "spread",
    *,
    budget: int | None = None,
    vary: Collection[str] | None = None,
    seconds: float | None = None,
    seeds: int = 1,
    workers: int | None = None,
    devices: Sequence[str] = ("cpu",),
    full: bool = False,
    watch: Watcher = SILENT,
) -> Samples:
    """Train the configurations of a design; what is done already is not done again.

    Parameters
    ----------
    design : str
        One of `cpmodel.search.designs.DESIGNS`.
    budget : int, optional
        Most configurations.
    vary : collection of str, optional
        The only parameters that move; all of them unless given.
    seconds : float, optional
        Time after which no training is started any more.
    seeds : int
        Trainings of each configuration; all configurations come once before any comes twice.
    devices : sequence of str
        What trains; see `Pool`.
    full : bool
        Whether every training goes to its end, even one whose end can be foreseen.

    Returns
    -------
    Samples
        All of the study, also kept as its ``samples.csv``.
    """
    started = time.monotonic()
    space, study = project.space, project.study
    effort = project.effort(space.candidates())
    X = design_of(design, space, budget, study.settings.seed, effort, vary)
    # the longest trainings first, so that no worker is left with one while the others are done
    order = (-project.effort(X)).argsort(kind="stable")
    configurations = space.configurations(X[order])
    # the baseline's networks are kept: a drop is judged against them
    study.enqueue(
        Request(
            c,
            training_seed(study.settings.seed, number),
            Purpose.BASELINE if c == space.baseline else Purpose.DESIGN,
        )
        for number in range(seeds)
        for c in configurations
    )
    watch.expect(len(study.samples()) + len(study.open_requests()))
    try:
        with Pool(study, images, workers, watch.event, full=full, devices=devices) as pool:
            pool.drain(None if seconds is None else started + seconds)
    finally:
        study.samples().write_csv(project.folder / "samples.csv")
    return study.samples()
