"""Who watches a study at work; the command line draws what it is told, a notebook may ignore it."""

from __future__ import annotations

from cpmodel.datasets.base import ImageSet
from cpmodel.pipeline.project import Project
from cpmodel.search.decide import Step
from cpmodel.training.pool import Event


class Watcher:
    """Told what happens; this one ignores it. Override what is of interest."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def begin(self, project: Project, images: ImageSet, workers: int) -> None:
        """Trainings are about to start."""

    def expect(self, total: int) -> None:
        """So many samples the study will have at most."""

    def step(self, step: Step) -> None:
        """What the search does next, and why."""

    def event(self, event: Event) -> None:
        """A training began, went on or ended."""

    def counted(self, done: int, of: int) -> None:
        """The costs of so many configurations are counted."""

    def refused(self, refused: int, of: int, reason: str) -> None:
        """So many configurations are left out, since their networks cannot be built; why, of the first."""

    def measured(self, done: int, of: int) -> None:
        """So many run-times are measured."""

    def end(self) -> None:
        """No training is in hand any more."""


SILENT = Watcher()
