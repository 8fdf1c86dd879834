"""Steps that a device takes by itself: all they read lies there, so that one can be captured and replayed.

For small networks a GPU waits for the processor, which starts some hundred kernels a step. A CUDA graph holds
them all and is started by one call. Nothing in it may depend on the processor: the order of the images, what
was drawn for their augmentation and the learning rates are there before an epoch begins, and a counter there
says which step it is.

The steps themselves are tested on the processor, uncaptured; `scripts/bench/gpu.py` runs what needs a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from cpmodel.engine.augment import changed, draw
from cpmodel.engine.base import Engine
from cpmodel.engine.optimizers import optimizer_of
from cpmodel.engine.steps import After, Lesson, Ready, Steps, nothing

WARM_UP = 1  # steps before the capture: libraries set themselves up, the optimiser makes its state
STRIDE = 32  # steps queued at a time; a few milliseconds, in which the processor serves other trainings


class DeviceSteps(Steps):
    """Steps that read nothing but the device's memory; replayed from a CUDA graph where one can be captured.

    The first steps run as they are, and so do all of them where the capture fails. On a GPU all happens in
    the current stream, not the default one if steps are captured. What `after` queues is in no graph.
    """

    def __init__(
        self, engine: Engine, network: nn.Module, lesson: Lesson, capture: bool = True, after: After = nothing
    ) -> None:
        self._engine, self._lesson, self._after = engine, lesson, after
        self._device = lesson.images.device
        steps = lesson.per_epoch
        self._rates = torch.tensor(lesson.rates, device=self._device).view(-1, steps)
        self._order = torch.zeros((steps, lesson.batch), dtype=torch.int64, device=self._device)
        kinds = len(draw((0, 1, 1, 1), lesson.recipe, torch.Generator()))
        self._drawn = torch.zeros((steps, kinds, lesson.batch), dtype=torch.int64, device=self._device)
        self._rates_now = torch.zeros(steps, device=self._device)
        self._at = torch.zeros(1, dtype=torch.int64, device=self._device)
        self._rate = torch.zeros((), device=self._device)
        self.loss = torch.zeros((), device=self._device)
        self._optimizer = optimizer_of(network, lesson.recipe, self._rate)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._tries = capture
        self._epochs = self._done = 0

    def epoch(self, order: Tensor, generator: torch.Generator) -> Iterator[Ready]:
        """See `Steps.epoch`; stops when enough is queued, its last stride still to be done."""
        steps, batch = self._order.shape
        self._take(self._order, order[: steps * batch].view(steps, batch))
        self._rates_now.copy_(self._rates[self._epochs] * self.factor)
        if self._drawn.numel():
            self._take(self._drawn, self._draws(generator))
        self._at.zero_()
        self.loss.zero_()
        before: Ready = _at_once
        for start in range(0, steps, STRIDE):
            if self._device.type == "cuda":
                # a network that draws random numbers of its own gets the same ones whoever trains beside it
                torch.cuda.manual_seed(self._lesson.seed + (self._done << 32))
            for step in range(start, min(start + STRIDE, steps)):
                self._next()
                self._after(step)
            queued = reached(self._device)
            yield before  # one stride is left to the device meanwhile
            before = queued
        self._epochs += 1

    def _draws(self, generator: torch.Generator) -> Tensor:
        """What the steps of an epoch draw for their images, shape (steps, kinds, batch)."""
        steps, kinds, batch = self._drawn.shape
        times = 1 if kinds == 1 else steps  # of one kind as many at once are the same numbers, in one call
        shape = (steps * batch // times, *self._lesson.images.shape[1:])
        drawn = [draw(shape, self._lesson.recipe, generator) for _ in range(times)]
        return torch.stack([torch.stack(each).long() for each in drawn]).view(steps, kinds, batch)

    def _take(self, there: Tensor, here: Tensor) -> None:
        """Copy from the processor's memory, without a wait for what the device has to do before."""
        there.copy_(here.contiguous().pin_memory() if there.is_cuda else here, non_blocking=True)

    def _next(self) -> None:
        if self._tries and self._done == WARM_UP:
            self._capture()
        if self._graph is None:
            self._step()
        else:
            self._graph.replay()
        self._done += 1

    def _step(self) -> None:
        """One step, in nothing but operations that the device does in its own time."""
        lesson, at = self._lesson, self._at
        rows = self._order.index_select(0, at)[0]
        drawn = self._drawn.index_select(0, at)[0].unbind(0)
        self._rate.copy_(self._rates_now.index_select(0, at)[0])
        seen = changed(lesson.images[rows], lesson.recipe, drawn)
        self.loss.add_(self._engine.backpropagate(seen, lesson.labels[rows], lesson.recipe.label_smoothing))
        self._optimizer.step()
        at.add_(1)

    def _capture(self) -> None:
        """Record a step, none of which is executed; where that fails, steps go on as they are."""
        try:
            graph = torch.cuda.CUDAGraph()
            # not by `torch.cuda.graph`, which waits for all that the device is at, other trainings' work, too
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                self._step()
            finally:
                graph.capture_end()
        except Exception as error:  # whatever a family's network does that cannot be captured
            # the end of a broken capture may raise an error of its own
            if isinstance(error, torch.OutOfMemoryError) or isinstance(
                error.__context__, torch.OutOfMemoryError
            ):
                raise torch.OutOfMemoryError("while capturing a step") from error
        else:
            self._graph, self.captured = graph, True


def reached(device: torch.device) -> Ready:
    """Whether the device has done all that is in the current stream by now."""
    if device.type != "cuda":
        return _at_once
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    return event.query


def _at_once() -> bool:
    return True
