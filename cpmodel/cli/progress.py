"""The progress display: what is being trained, how many are done, the best so far, the time left."""

from __future__ import annotations

import time

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cpmodel.datasets.base import ImageSet
from cpmodel.pipeline.clock import training_seconds
from cpmodel.pipeline.project import Project
from cpmodel.pipeline.watch import Watcher
from cpmodel.records.sample import Request, Sample
from cpmodel.search.decide import Step
from cpmodel.training.pool import Event

_TOLD = 1000  # so many more counted are worth a line
BAR = 24
REST = 50  # after a look at the record there is none for so many times as long as it took


class Progress(Watcher):
    """Shows trainings on standard error: live lines in a terminal, elsewhere a line for each that ends."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.total, self.best, self._next_look = 0, (0.0, ""), 0.0
        self._in_hand: dict[tuple[str, int], tuple[int, float, float]] = {}

    def begin(self, project: Project, images: ImageSet, workers: int) -> None:
        """Say what the study is about, and start the display."""
        self.project, self.workers = project, workers
        self._look()
        sizes = ", ".join(f"{len(split):,} {name}" for name, split in images.splits.items())
        self._say(
            f"{images.name}: {'x'.join(map(str, images.image_shape))}, {len(images.class_names)} classes, "
            f"{sizes}; family {project.family.name}: {project.space.size:,} configurations; "
            f"study {project.folder} ({self.done} samples so far); {workers} workers"
        )
        for note in images.notes:
            self._say(note)
        self._live = Live(get_renderable=self._lines, console=self.console, transient=True)
        if self.console.is_terminal:
            self._live.start()

    def end(self) -> None:
        """Take the live lines away."""
        self._live.stop()

    def expect(self, total: int) -> None:
        """So many samples the study will have at most."""
        self.total = max(total, self.total)
        self._look()

    def step(self, step: Step) -> None:
        """What the search does next, and why."""
        self._say(f"{step.action}: {step.reason}")
        self.expect(self.done + len(step.requests))

    def counted(self, done: int, of: int) -> None:
        """The costs of so many configurations are counted."""
        if done in (1, of) or done % _TOLD == 0:
            self._say(f"costs of networks: {done:,} of {of:,} counted")

    def refused(self, refused: int, of: int, reason: str) -> None:
        """So many configurations are left out, since their networks cannot be built."""
        self._say(f"{refused:,} of {of:,} configurations cannot be built and are left out: {reason}")

    def measured(self, done: int, of: int) -> None:
        """So many run-times are measured."""
        if done in (1, of):
            self._say(f"run-times of untrained networks: {done} of {of} measured")

    def event(self, event: Event) -> None:
        """A training began, went on or ended."""
        if event.request is None:
            self._say("waiting for trainings in the hands of other processes")
            return
        key = self.project.space.key(event.request.configuration), event.request.seed
        if event.kind == "started":
            self._in_hand[key] = (0, 0.0, time.monotonic())
        elif event.kind == "epoch":
            self._in_hand[key] = (event.epoch, event.precision, self._in_hand[key][2])
        elif event.sample is not None:
            self._in_hand.pop(key, None)
            self.done += 1
            self.best = max(self.best, (event.precision, key[0])) if event.precision else self.best
            if time.monotonic() >= self._next_look:
                self._look()
            if not self.console.is_terminal:
                self._say(self._line(key[0], event.request, event.sample), style="")

    def _say(self, text: str, style: str = "dim") -> None:
        self.console.print(Text(text, style=style), soft_wrap=True)

    def _line(self, key: str, request: Request, sample: Sample) -> str:
        outcome = f"failed: {sample.reason}" if sample.precision is None else f"P {sample.precision:.4f}"
        if sample.status == "stopped":
            outcome += f" +- {sample.precision_sd:.4f} {sample.reason}"
        return (
            f"[{self.done}/{self.total}] {key} seed {request.seed} ({request.purpose}): {outcome}, "
            f"{sample.train_s:.1f} s; best {self.best[0]:.4f} {self.best[1]}; {self.left}"
        )

    def _lines(self) -> Group:
        filled = min(BAR, round(BAR * self.done / max(self.total, 1)))
        bar = Text("━" * filled, style="cyan") + Text("╌" * (BAR - filled), style="dim")
        head = bar + Text(f"  {self.done} of at most {self.total} trainings, {self.left}")
        best = f"best P {self.best[0]:.4f} at {self.best[1]}" if self.best[1] else "none done yet"
        table = Table.grid(*[""] * 4, padding=(0, 2))
        epochs = self.project.study.settings.recipe.epochs
        for (key, seed), (epoch, precision, started) in self._in_hand.items():
            reached = f"P {precision:.4f}" if epoch else "starting"
            at = f"{reached}, {time.monotonic() - started:.0f} s"
            table.add_row(f"  {key}", f"seed {seed}", f"epoch {epoch}/{epochs}", at)
        return Group(head, Text(best), table)

    def _look(self) -> None:
        """Count what is done, and expect of the rest what trainings like it took; queued ones come first."""
        began = time.monotonic()
        study, space, samples = self.project.study, self.project.space, self.project.study.samples()
        self.done, usable = len(samples), samples.usable
        self.best = max(zip(usable.precision, usable.keys, strict=True), default=(0.0, ""))
        queued = space.matrix([request.configuration for request in study.open_requests()])
        expected = training_seconds(self.project.material(samples), queued)
        self.left = "time left unknown yet"
        if expected is not None:
            later = max(0, self.total - self.done - len(queued)) * usable.frame["train_s"].median()
            left = (expected.sum() + later) / self.workers
            self.left = f"about {left / 60:.0f} min left" if left > 90 else f"about {left:.0f} s left"
        self._next_look = time.monotonic() + REST * (time.monotonic() - began)
