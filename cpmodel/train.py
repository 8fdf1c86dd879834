"""One configuration -> one trained network and its learning curve."""

from __future__ import annotations

import io
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from cpmodel.datasets.base import ImageSet
from cpmodel.engine.base import Engine, Normalisation
from cpmodel.engine.fused import FusedEngine
from cpmodel.engine.modules import ModulesEngine
from cpmodel.errors import BadInputError, TrainingFailedError
from cpmodel.families.base import Family, Task
from cpmodel.files import replacing
from cpmodel.heap import kept_heap
from cpmodel.recipe import Recipe
from cpmodel.space import Configuration

EVALUATION_BATCH = 250  # few enough that the maps stay in the caches
RESIZED_BYTES = 1_500_000_000  # resized image sets kept at once; a study asks for the same few sizes again

OnEpoch = Callable[[int, float], None]


@dataclass(frozen=True)
class Plan:
    """How a training is executed; with the same plan on a CPU, a seed gives the same weights bit for bit.

    Parameters
    ----------
    dtype : {"float32", "bfloat16"}
        bfloat16: maps and the weights in products; parameters, statistics and sums stay float32.
    fused : bool
        Whether chains that `cpmodel.engine.fused` knows are executed by it; other networks never are.
    """

    device: str = "cpu"
    dtype: str = "float32"
    channels_last: bool = True
    threads: int = 1
    fused: bool = False

    def __str__(self) -> str:
        layout = "channels-last" if self.channels_last else "contiguous"
        how = "fused " if self.fused else ""
        return f"{self.device} {self.dtype} {layout} {how}threads={self.threads}"


def default_plan(device: str = "cpu", threads: int = 1) -> Plan:
    """What measured fastest: bfloat16 where the processor has it, and fused on the CPU."""
    if device.startswith("cuda"):
        return Plan(device, "bfloat16" if torch.cuda.is_bf16_supported() else "float32", threads=threads)
    native = bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
    return Plan(device, "bfloat16" if native else "float32", threads=threads, fused=True)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a network does on one split.

    Parameters
    ----------
    correct : bool, shape (n,)
        Whether each image was classified rightly, in the order of the split.
    metrics : mapping
        ``balanced`` (mean over classes of the fraction right), ``top5`` (ten classes or more), ``nll``
        (mean negative log likelihood, nats).
    """

    correct: NDArray[np.bool_]
    metrics: Mapping[str, float]

    @property
    def precision(self) -> float:
        """Fraction of images classified rightly."""
        return float(self.correct.mean())


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network (on the CPU, float32, in evaluation mode) and how it got there.

    Parameters
    ----------
    validation : Evaluation
    curve : tuple of float
        Validation precision after each epoch; the last is that of `validation`.
    train_s : float
        Seconds, evaluation included.
    """

    network: nn.Module
    validation: Evaluation
    curve: tuple[float, ...]
    train_s: float
    plan: Plan

    def save(self, path: Path) -> None:
        """Keep the weights, readable with ``torch.load(path, weights_only=True)``."""
        with replacing(path) as temporary:
            torch.save(self.network.state_dict(), temporary)


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


def augmented(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """A batch with the recipe's augmentations, drawn anew for each image.

    Parameters
    ----------
    images : uint8, shape (n, c, h, w)
    """
    n, _, h, w = images.shape
    if "flip" in recipe.augment:
        flip = torch.rand(n, generator=generator) < 0.5
        images = torch.where(flip.to(images.device)[:, None, None, None], images.flip(3), images)
    if "shift" in recipe.augment:
        reach = max(1, w // 14)
        padded = F.pad(images, (reach, reach, reach, reach))
        rows = torch.randint(0, 2 * reach + 1, (n, 1), generator=generator) + torch.arange(h)
        columns = torch.randint(0, 2 * reach + 1, (n, 1), generator=generator) + torch.arange(w)
        index = torch.arange(n)[:, None, None]
        # advanced indices on both sides of the channel slice put it last: NHWC, which channels-last wants
        images = padded[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if "cutout" in recipe.augment:
        side = max(1, w // 4)
        top = torch.randint(0, h, (n, 1), generator=generator) - side // 2
        left = torch.randint(0, w, (n, 1), generator=generator) - side // 2
        y, x = torch.arange(h), torch.arange(w)
        hole = ((y >= top) & (y < top + side))[:, :, None] & ((x >= left) & (x < left + side))[:, None, :]
        images = images.masked_fill(hole.to(images.device)[:, None], 128)
    return images


class Trainer:
    """Trains configurations of one family on one image set; keeps the resized images between trainings.

    Parameters
    ----------
    images : ImageSet
    family : Family
    recipe : Recipe
    plan : Plan, optional
        `default_plan` unless given.
    """

    def __init__(self, images: ImageSet, family: Family, recipe: Recipe, plan: Plan | None = None) -> None:
        self.images = images
        self.family = family
        self.recipe = recipe
        self.plan = plan or default_plan()
        height, width, channels = images.image_shape
        self.task = Task(height, width, channels, len(images.class_names))
        pixels = images.train.images.reshape(-1, channels)
        # float64 sums in one pass; the statistics are part of what an exported network needs to know
        self.mean = tuple(float(m) / 255 for m in pixels.mean(axis=0, dtype=np.float64))
        self.std = tuple(max(float(s) / 255, 1e-3) for s in pixels.std(axis=0, dtype=np.float64))
        self._normalisation = Normalisation(
            tuple(255 * m for m in self.mean), tuple(1 / (255 * s) for s in self.std)
        )
        self._resized: OrderedDict[tuple[str, int, int], Tensor] = OrderedDict()

    def split_images(self, split: str, size: tuple[int, int]) -> Tensor:
        """The images of a split, resized (antialiased): uint8, shape (n, c, *size), channels last."""
        key = (split, *size)
        if key in self._resized:
            self._resized.move_to_end(key)
            return self._resized[key]
        source = torch.from_numpy(self.images.splits[split].images).permute(0, 3, 1, 2)
        resized = resize(source, size).to(self.plan.device)
        self._resized[key] = resized
        while len(self._resized) > 1 and sum(t.numel() for t in self._resized.values()) > RESIZED_BYTES:
            self._resized.popitem(last=False)
        return resized

    def _labels(self, split: str) -> Tensor:
        return torch.from_numpy(self.images.splits[split].labels).to(self.plan.device)

    def _engine(self, network: nn.Module, exact: bool = False) -> Engine:
        """What executes `network`: in float32 if `exact`, else in the plan's dtype."""
        plan, dtype = self.plan, "float32" if exact else self.plan.dtype
        fused = FusedEngine.of(network, self._normalisation, dtype) if plan.fused else None
        return fused or ModulesEngine(network, self._normalisation, dtype, plan.device, plan.channels_last)

    def train(self, configuration: Configuration, seed: int, on_epoch: OnEpoch | None = None) -> Trained:
        """Train one network.

        Parameters
        ----------
        seed : int
            Decides the initial weights, the order of the images and their augmentation.
        on_epoch : callable, optional
            Told the number of epochs done and the validation precision after each.

        Raises
        ------
        TrainingFailedError
            The loss became NaN or infinite, or memory ran out.
        """
        started = time.perf_counter()
        threads = torch.get_num_threads()
        torch.set_num_threads(self.plan.threads)
        try:
            with kept_heap():
                network, curve, validation = self._fit(configuration, seed, on_epoch)
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise TrainingFailedError("out of memory") from error
        except RuntimeError as error:  # the CPU allocator has no error class of its own
            if "alloc" in str(error) or "memory" in str(error):
                raise TrainingFailedError("out of memory") from error
            raise
        finally:
            torch.set_num_threads(threads)
        return Trained(network, validation, curve, time.perf_counter() - started, self.plan)

    def _fit(
        self, configuration: Configuration, seed: int, on_epoch: OnEpoch | None
    ) -> tuple[nn.Module, tuple[float, ...], Evaluation]:
        recipe, device = self.recipe, self.plan.device
        network = self.new_network(configuration, seed)
        engine = self._engine(network)
        images = self.split_images("train", self.family.input_size(configuration, self.task))
        labels = self._labels("train")
        generator = torch.Generator().manual_seed(seed)
        batch = min(recipe.batch_size, len(images))
        per_epoch = len(images) // batch
        rates = learning_rates(recipe, per_epoch * recipe.epochs)
        optimizer = _optimizer(network, recipe)
        curve: list[float] = []
        for epoch in range(recipe.epochs):
            order = torch.randperm(len(images), generator=generator).to(device)
            total = torch.zeros((), device=device)
            for step in range(per_epoch):
                rows = order[step * batch : (step + 1) * batch]
                for group in optimizer.param_groups:
                    group["lr"] = rates[epoch * per_epoch + step]
                seen = augmented(images[rows], recipe, generator)
                total += engine.backpropagate(seen, labels[rows], recipe.label_smoothing)
                optimizer.step()
            if not math.isfinite(float(total)):
                raise TrainingFailedError(f"the loss became {float(total)} in epoch {epoch + 1}")
            curve.append(self._evaluated(engine, configuration, "validation").precision)
            if on_epoch is not None:
                on_epoch(epoch + 1, curve[-1])
            if recipe.patience is not None and len(curve) - 1 - int(np.argmax(curve)) >= recipe.patience:
                break
        # what is reported is the float32 network that will be exported; the curve on the way may be rougher
        validation = self.evaluate(network, configuration, "validation")
        return network.to("cpu").eval(), (*curve[:-1], validation.precision), validation

    def new_network(self, configuration: Configuration, seed: int) -> nn.Module:
        """The untrained network, its weights decided by the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.family.build(configuration, self.task)

    def restore(self, configuration: Configuration, path: Path) -> nn.Module:
        """The network whose weights `Trained.save` kept.

        Raises
        ------
        BadInputError
            The file is missing, or holds other weights.
        """
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
        return self._evaluated(self._engine(network, exact=True), configuration, split)

    def _evaluated(self, engine: Engine, configuration: Configuration, split: str) -> Evaluation:
        images = self.split_images(split, self.family.input_size(configuration, self.task))
        logits = torch.cat([engine.logits(chunk) for chunk in _batches(images)])
        return _evaluation(logits, self._labels(split), self.task.classes)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Antialiased bilinear resize.

    Parameters
    ----------
    images : uint8, shape (n, c, h, w)

    Returns
    -------
    uint8, shape (n, c, *size), channels last in memory
    """
    if images.shape[2:] == size:
        return images.contiguous(memory_format=torch.channels_last)
    chunks = [
        F.interpolate(chunk.float(), size, mode="bilinear", antialias=True)
        .round_()
        .clamp_(0, 255)
        .to(torch.uint8)
        for chunk in _batches(images)
    ]
    return torch.cat(chunks).contiguous(memory_format=torch.channels_last)


def _batches(images: Tensor) -> Iterator[Tensor]:
    """Pieces small enough that what is computed of them needs little memory."""
    for start in range(0, len(images), EVALUATION_BATCH):
        yield images[start : start + EVALUATION_BATCH]


def _evaluation(logits: Tensor, labels: Tensor, classes: int) -> Evaluation:
    correct = logits.argmax(1) == labels
    right = torch.bincount(labels[correct], minlength=classes).double()
    there = torch.bincount(labels, minlength=classes).double()
    metrics = {
        "balanced": float((right / there)[there > 0].mean()),
        "nll": float(F.cross_entropy(logits, labels)),
    }
    if classes >= 10:
        metrics["top5"] = float((logits.topk(5).indices == labels[:, None]).any(1).double().mean())
    return Evaluation(correct.cpu().numpy(), metrics)


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    rate, decay = recipe.learning_rate, recipe.weight_decay
    parameters = [p for p in network.parameters() if p.requires_grad]
    betas = (recipe.momentum, 0.999)
    match recipe.optimizer:
        case "adam":
            return torch.optim.Adam(parameters, rate, betas, weight_decay=decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(parameters, rate, betas, weight_decay=decay, fused=True)
        case "nadam":
            return torch.optim.NAdam(parameters, rate, betas, weight_decay=decay)
        case "radam":
            return torch.optim.RAdam(parameters, rate, betas, weight_decay=decay)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, rate, momentum=recipe.momentum, weight_decay=decay)
        case "adadelta":
            return torch.optim.Adadelta(parameters, rate, weight_decay=decay)
        case "sgd":
            return torch.optim.SGD(
                parameters,
                rate,
                recipe.momentum,
                weight_decay=decay,
                nesterov=recipe.momentum > 0,
                fused=True,
            )
    raise BadInputError("recipe optimizer", got=recipe.optimizer)
