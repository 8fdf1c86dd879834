"""One configuration -> one trained network and its learning curve."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from cpmodel.costs.describe import sizes
from cpmodel.datasets.base import ImageSet
from cpmodel.engine.average import Average
from cpmodel.engine.base import Engine, Normalisation
from cpmodel.engine.devices import prepare, training_bytes
from cpmodel.engine.fused import FusedEngine
from cpmodel.engine.graphs import DeviceSteps, reached
from cpmodel.engine.laned import LanesEngine
from cpmodel.engine.modules import ModulesEngine
from cpmodel.engine.steps import After, HostSteps, Lesson, Ready, Steps, nothing
from cpmodel.errors import BadInputError, MemoryExhaustedError, TrainingFailedError
from cpmodel.families.base import Family, Task
from cpmodel.files import replacing
from cpmodel.heap import kept_heap
from cpmodel.metrics import Accuracy, Labels, Metric, figures, mean
from cpmodel.recipe import Recipe
from cpmodel.space import Configuration, Floats
from cpmodel.training.early import Stopping
from cpmodel.training.jobs import Job
from cpmodel.training.resized import Resized, pieces
from cpmodel.training.watched import Watched

EVALUATION_BATCH = 250  # few enough that the maps stay in the caches
DEVICE_EVALUATION_BATCH = 2500  # at most; many enough that a GPU is not kept waiting for the next

OnEpoch = Callable[[int, float], None]  # told how many epochs are done, and the validation precision


@dataclass(frozen=True)
class Plan:
    """How a training is executed; with the same plan on a CPU, a seed gives the same weights bit for bit.

    In bfloat16 are maps and the weights in products; parameters, statistics and sums stay float32. The
    gradients of the parts of a batch are computed one after another, to need less memory; batch norm sees
    parts, and evaluations are in pieces as much smaller.
    """

    device: str = "cpu"
    dtype: str = "float32"
    channels_last: bool = True
    threads: int = 1
    fused: bool = False  # whether chains that `cpmodel.engine.fused` knows are executed by it
    graphs: bool = False  # whether steps are replayed from a CUDA graph, where one can be captured
    parts: int = 1

    def __str__(self) -> str:
        layout = "channels-last" if self.channels_last else "contiguous"
        how = "fused " if self.fused else "graphs " if self.graphs else ""
        parts = f" parts={self.parts}" if self.parts > 1 else ""
        return f"{self.device} {self.dtype} {layout} {how}threads={self.threads}{parts}"


def default_plan(device: str = "cpu", threads: int = 1) -> Plan:
    """What measured fastest on the CPU: bfloat16 where it has it, and fused; on a GPU, what should be."""
    if device.startswith("cuda"):
        half = torch.cuda.is_bf16_supported(including_emulation=False)
        return Plan(device, "bfloat16" if half else "float32", threads=threads, graphs=True)
    native = bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
    return Plan(device, "bfloat16" if native else "float32", threads=threads, fused=True)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a network does on one split; for strata and figures see `cpmodel.metrics`."""

    values: Floats  # what each image adds to P, shape (n,), in [0, 1]: for accuracy 1 where it is right
    strata: Labels | None
    figures: Mapping[str, float]

    @property
    def precision(self) -> float:
        """P: the mean over strata of the mean of each."""
        return mean(self.values, self.strata)


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network (float32, in evaluation mode, where it was trained) and how it got there.

    Where the training was stopped it has the mean of its weights (see `Average`), and `validation` is in the
    plan's dtype, else in float32. The curve is the validation precision after each epoch: of such means,
    unless the recipe has a patience; the last is that of `validation`.
    """

    network: nn.Module
    validation: Evaluation
    curve: tuple[float, ...]
    train_s: float  # seconds, evaluation included
    plan: Plan

    def save(self, path: Path) -> None:
        """Keep the weights, readable with ``torch.load(path, weights_only=True)``."""
        with replacing(path) as temporary:
            torch.save({name: value.cpu() for name, value in self.network.state_dict().items()}, temporary)


Turns = Generator[Ready, None, Trained]


def learning_rates(recipe: Recipe, steps: int) -> list[float]:
    """The rate of each step: linear rise over the warm-up, then as `Recipe.schedule` says.

    one-cycle and cosine fall by half a cosine to 1e-4 of the peak and to 0; step falls tenfold at 1/2 and
    3/4; constant stays.
    """
    rise = max(1, round(recipe.warmup * steps)) if recipe.warmup else 0
    rates = []
    for step in range(steps):
        if step < rise:
            factor = (step + 1) / rise
        else:
            t = (step - rise) / max(1, steps - rise - 1)
            if recipe.schedule in ("one-cycle", "cosine"):
                floor = 1e-4 if recipe.schedule == "one-cycle" else 0.0
                factor = floor + (1 - floor) * (1 + math.cos(math.pi * t)) / 2
            elif recipe.schedule == "step":
                factor = 1.0 if step < steps / 2 else 0.1 if step < steps * 3 / 4 else 0.01
            else:
                factor = 1.0
        rates.append(recipe.learning_rate * factor)
    return rates


def _orders(n: int, lesson: Lesson, generator: torch.Generator) -> Iterator[Tensor]:
    """The images that each epoch sees: each once in a random order, and again where there are more steps."""
    wanted, left = lesson.per_epoch * lesson.batch, torch.empty(0, dtype=torch.int64)
    while lesson.recipe.steps is None:
        yield torch.randperm(n, generator=generator)
    while True:
        while len(left) < wanted:
            left = torch.cat(
                [left, torch.randperm(n, generator=generator)[: n // lesson.batch * lesson.batch]]
            )
        yield left[:wanted]
        left = left[wanted:]


def engine_of(network: nn.Module, pixels: Normalisation, plan: Plan) -> Engine:
    """What executes a network: of what its plan allows the fastest that knows all that is in it."""
    fused: Engine | None = None
    if plan.fused and plan.parts == 1:
        fused = LanesEngine.of(network, pixels) if plan.dtype == "float32" else None
        fused = fused or FusedEngine.of(network, pixels, plan.dtype)
    how = plan.dtype, plan.device, plan.channels_last, plan.parts
    return fused or ModulesEngine(network, pixels, *how)


class Trainer:
    """Trains configurations of one family on one image set; keeps the resized images between trainings."""

    def __init__(
        self,
        images: ImageSet,
        family: Family,
        recipe: Recipe,
        plan: Plan | None = None,
        cache: Path | None = None,  # see `Resized`
        metric: Metric | None = None,
    ) -> None:
        self.images, self.family, self.recipe = images, family, recipe
        self.plan, self.metric = plan or default_plan(), metric or Accuracy()
        height, width, channels = images.image_shape
        self.task = Task(height, width, channels, len(images.class_names))
        self.metric.require(self.task.classes)
        pixels = images.train.images.reshape(-1, channels)
        # float64 sums in one pass; the statistics are part of what an exported network needs to know
        self.mean = tuple(float(m) / 255 for m in pixels.mean(axis=0, dtype=np.float64))
        self.std = tuple(max(float(s) / 255, 1e-3) for s in pixels.std(axis=0, dtype=np.float64))
        factor = tuple(1 / (255 * s) for s in self.std)
        self._normalisation = Normalisation(tuple(255 * m for m in self.mean), factor)
        self.resized = Resized(images, self.plan.device, cache)
        self._streams: dict[int, torch.cuda.Stream] = {}
        self._builder = ThreadPoolExecutor(1)
        self._sizes: dict[str, tuple[float, float, float]] = {}
        prepare(self.plan.device)

    def _engine(self, network: nn.Module, exact: bool = False, parts: int = 1) -> Engine:
        """What executes `network`: in float32 if `exact`, else in the plan's dtype."""
        dtype = "float32" if exact else self.plan.dtype
        return engine_of(network, self._normalisation, replace(self.plan, dtype=dtype, parts=parts))

    def _steps(self, engine: Engine, network: nn.Module, lesson: Lesson, after: After) -> Steps:
        if self._on_cpu and not self.plan.graphs:
            return HostSteps(engine, network, lesson, after)
        return DeviceSteps(engine, network, lesson, self.plan.graphs, after)

    @property
    def _on_cpu(self) -> bool:
        return not self.plan.device.startswith("cuda")

    def device_bytes(self, configuration: Configuration, batch: int) -> int:
        """Memory that a training of a configuration, so many images a step, will take of its GPU, bytes."""
        activations, params, _ = self._sizes_of(configuration)
        return training_bytes(activations, params, batch)

    def _sizes_of(self, configuration: Configuration) -> tuple[float, float, float]:
        """See `sizes`; found once."""
        key = repr(sorted(configuration.items()))
        if key not in self._sizes:
            self._sizes[key] = sizes(self.family, self.task, configuration)
        return self._sizes[key]

    def _piece(self, configuration: Configuration) -> int:
        """How many images are evaluated at a time; on a GPU they take no more memory than a training step."""
        if self._on_cpu:
            return EVALUATION_BATCH
        activations, _, peak = self._sizes_of(configuration)
        return min(DEVICE_EVALUATION_BATCH, int(self.recipe.batch_size * activations / peak))

    @contextmanager
    def settled(self) -> Iterator[None]:
        """The process as a training wants it: its threads, and memory that is kept."""
        threads = torch.get_num_threads()
        torch.set_num_threads(self.plan.threads)
        try:
            limited = threadpool_limits(self.plan.threads, user_api="blas") if self._on_cpu else nullcontext()
            with kept_heap(), limited:
                yield
        finally:
            torch.set_num_threads(threads)

    def train(
        self,
        configuration: Configuration,
        seed: int,
        on_epoch: OnEpoch | None = None,
        stopping: Stopping | None = None,
    ) -> Trained:
        """Train one network; the seed decides its first weights, the images' order and their augmentation."""
        turns = self.turns(Job(0, configuration, seed, self.recipe, stopping=stopping), on_epoch)
        with self.settled():
            while True:
                try:
                    next(turns)
                except StopIteration as end:
                    trained: Trained = end.value
                    return trained

    def turns(self, job: Job, on_epoch: OnEpoch | None = None) -> Turns:
        """As `train`, a turn at a time: many trainings, in different seats, may share one process and GPU."""
        fit = self._fit(job, on_epoch or (lambda epoch, precision: None))
        try:
            while True:
                with self._stream(job.seat):
                    ready = next(fit)
                yield ready
        except StopIteration as end:
            trained: Trained = end.value
            return trained
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise MemoryExhaustedError("out of memory") from error
        except RuntimeError as error:  # the CPU allocator has no error class of its own
            said = str(error)
            if ("alloc" in said or "memory" in said) and "illegal" not in said:
                raise MemoryExhaustedError("out of memory") from error
            raise

    def _stream(self, seat: int) -> AbstractContextManager[object]:
        """Where a training's work is queued."""
        if self._on_cpu:
            return nullcontext()
        if seat not in self._streams:
            self._streams[seat] = torch.cuda.Stream(self.plan.device)  # type: ignore[no-untyped-call]
        return torch.cuda.stream(self._streams[seat])

    def _fit(self, job: Job, tell: OnEpoch) -> Turns:
        started = time.perf_counter()
        configuration, seed, recipe, parts = job.configuration, job.seed, job.recipe, job.parts
        if self._on_cpu:
            network = self.new_network(configuration, seed, recipe.conv_std)
        else:  # to draw the first weights of many units takes long: others go on meanwhile
            building = self._builder.submit(self.new_network, configuration, seed, recipe.conv_std)
            yield building.done
            network = building.result()
        engine = self._engine(network, parts=parts)
        images = self.resized.split("train", self.family.input_size(configuration, self.task))
        generator = torch.Generator().manual_seed(seed)
        batch = min(recipe.batch_size, len(images))
        labels = torch.from_numpy(self.images.train.labels).to(self.plan.device)
        rates = learning_rates(recipe, recipe.steps or len(images) // batch * recipe.epochs)
        lesson = Lesson(images, labels, recipe, rates, batch, seed)
        orders = _orders(len(images), lesson, generator)
        watched = Watched(network, recipe)
        # what watches a curve waits for the network itself to get better; else only its end is asked for
        average = None if recipe.watches_validation else Average(network, lesson.per_epoch)
        steps = self._steps(engine, network, lesson, nothing if average is None else average.after)
        curve: list[float] = []
        stopped = False
        for epoch in range(1, recipe.epochs + 1):
            yield from steps.epoch(next(orders), generator)
            yield reached(images.device)
            if not math.isfinite(float(steps.loss)):
                raise TrainingFailedError(f"the loss became {float(steps.loss)} in epoch {epoch}")
            if epoch == recipe.epochs:
                break
            if average is not None:
                average.exchange()
            logits = self._logits(engine, configuration, "validation", parts)
            yield reached(images.device)
            curve.append(self._precision(logits, "validation"))
            steps.factor *= watched.after(curve[-1])
            if watched.over:
                curve.pop()
                break
            tell(epoch, curve[-1])
            if stopped := job.stopping is not None and job.stopping(curve):
                validation = self._judged(logits, "validation")
                break
            if average is not None:
                average.exchange()
        if not stopped:
            # what is reported is the float32 network that will be exported; the curve may be rougher
            logits = self._logits(self._engine(network, exact=True), configuration, "validation", parts)
            yield reached(images.device)
            validation = self._judged(logits, "validation")
            if watched.restored(validation.precision):
                exact = self._engine(network, exact=True)
                validation = self._judged(
                    self._logits(exact, configuration, "validation", parts), "validation"
                )
            curve.append(validation.precision)
            tell(epoch, curve[-1])
        plan = replace(self.plan, fused=self.plan.fused and parts == 1, graphs=steps.captured, parts=parts)
        return Trained(network.eval(), validation, tuple(curve), time.perf_counter() - started, plan)

    def new_network(
        self, configuration: Configuration, seed: int, conv_std: float | None = None
    ) -> nn.Module:
        """The untrained network, its weights decided by the seed; `conv_std` as in `Recipe`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.family.build(configuration, self.task)
            for module in network.modules() if conv_std is not None else ():
                if isinstance(module, nn.Conv2d):
                    for parameter in module.parameters():
                        nn.init.normal_(parameter, std=conv_std or 0.0)
            return network

    def restore(self, configuration: Configuration, path: Path) -> nn.Module:
        """The network whose weights `Trained.save` kept."""
        network = self.new_network(configuration, 0)
        try:
            content = io.BytesIO(path.read_bytes())
        except OSError as error:
            raise BadInputError(f"cannot read: {error.strerror}", where=str(path)) from error
        try:
            network.load_state_dict(torch.load(content, map_location="cpu", weights_only=True))
        except Exception as error:  # a damaged file can make torch say anything
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise BadInputError(f"not this network's weights: {reason}", where=str(path)) from error
        return network.eval()

    def evaluate(self, network: nn.Module, configuration: Configuration, split: str) -> Evaluation:
        """What `network` does on a split, in float32."""
        return self._judged(self._logits(self._engine(network, exact=True), configuration, split), split)

    def _logits(self, engine: Engine, configuration: Configuration, split: str, parts: int = 1) -> Tensor:
        images = self.resized.split(split, self.family.input_size(configuration, self.task))
        size = max(1, self._piece(configuration) // parts)
        return torch.cat([engine.logits(chunk) for chunk in pieces(images, size)])

    def _precision(self, logits: Tensor, split: str) -> float:
        return mean(self._values(logits, split), self.metric.strata(self.images.splits[split].labels))

    def _values(self, logits: Tensor, split: str) -> Floats:
        return self.metric.precision_of(logits.cpu().numpy(), self.images.splits[split].labels)

    def _judged(self, logits: Tensor, split: str) -> Evaluation:
        scores, labels = logits.cpu().numpy(), self.images.splits[split].labels
        strata = self.metric.strata(labels)
        return Evaluation(self._values(logits, split), strata, figures(scores, labels, self.metric))
