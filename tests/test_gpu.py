"""What only a GPU can show: the same bits again, the precision of the processor, recovery without memory."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forked_worker import new_interpreters

from cpmodel.datasets.base import ImageSet, Split
from cpmodel.engine.devices import memory_of
from cpmodel.families.base import Task
from cpmodel.families.plain import PlainFamily
from cpmodel.recipe import Recipe
from cpmodel.records.sample import Request
from cpmodel.records.settings import Settings
from cpmodel.records.store import Store
from cpmodel.training.jobs import Job
from cpmodel.training.pool import Pool
from cpmodel.training.together import Together
from cpmodel.training.trainer import Trained, Trainer, default_plan

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
]
RECIPE = Recipe(epochs=4, batch_size=64, augment=("flip", "shift"))
WIDE = {"f": 64, "s": 32, "k": 5, "l": 2}


def made() -> ImageSet:
    """Noise with a brighter quarter, which is the class; hard enough that precision stays below 1."""

    def part(n: int, seed: int) -> Split:
        rng = np.random.default_rng(seed)
        images = rng.integers(0, 200, (n, 32, 32, 1), dtype=np.uint8)
        labels = np.arange(n) % 4
        for image, label in zip(images, labels, strict=True):
            row, column = divmod(int(label), 2)
            image[16 * row : 16 * row + 16, 16 * column : 16 * column + 16] += 12
        return Split(images, labels)

    return ImageSet("quarters", part(2048, 0), part(1000, 1), part(100, 2), tuple("abcd"))


IMAGES = made()
SPACE = PlainFamily().space(Task(32, 32, 1, 4), {"f": (4, 8, 64), "s": (16, 32), "k": (3, 4, 5), "l": (1, 2)})


@pytest.fixture
def trainer() -> Iterator[Trainer]:
    yield Trainer(IMAGES, PlainFamily(), RECIPE, default_plan("cuda:0"))
    torch.cuda.set_per_process_memory_fraction(1.0)


def train(trainer: Trainer, folder: Path, *configurations: dict[str, int]) -> list[dict[str, Any]]:
    """The last words of trainings side by side."""
    said: dict[int, list[dict[str, Any]]] = defaultdict(list)
    together = Together(trainer, folder, lambda seat, **event: said[seat].append(event))
    for seat, configuration in enumerate(configurations):
        together.add(Job(seat, configuration, 1, RECIPE, weights=str(folder / f"{seat}.pt")))
    while not together.idle:
        together.turn()
    return [said[seat][-1] for seat in range(len(configurations))]


def equal(one: Trained, path: Path) -> bool:
    other = torch.load(path, weights_only=True)
    return all(torch.equal(value.cpu(), other[name]) for name, value in one.network.state_dict().items())


def test_the_same_plan_gives_the_same_bits_whoever_trains_beside(trainer: Trainer, tmp_path: Path) -> None:
    chosen = [
        {"f": 8, "s": 32, "k": 3, "l": 2},
        {"f": 4, "s": 16, "k": 4, "l": 1},
        {"f": 64, "s": 16, "k": 5, "l": 1},
    ]
    ended = train(trainer, tmp_path, *chosen)
    for seat, configuration in enumerate(chosen):
        assert ended[seat]["event"] == "done"
        for _ in range(2):
            alone = trainer.train(configuration, 1)
            assert alone.plan.graphs, "the step was not captured"
            assert ended[seat]["plan"] == str(alone.plan)
            assert equal(alone, tmp_path / f"{seat}.pt")
            assert list(alone.curve) == ended[seat]["curve"]


def test_precision_is_the_processor_s_within_noise(trainer: Trainer) -> None:
    here = Trainer(IMAGES, PlainFamily(), RECIPE)
    configuration = {"f": 8, "s": 32, "k": 3, "l": 2}
    gaps = [
        trainer.train(configuration, seed).validation.precision
        - here.train(configuration, seed).validation.precision
        for seed in range(4)
    ]
    assert abs(np.mean(gaps)) < 4 * max(np.std(gaps, ddof=1) / 2, 0.01)


def test_a_lack_of_memory_is_recovered_from(trainer: Trainer, tmp_path: Path) -> None:
    torch.cuda.reset_peak_memory_stats()
    assert train(trainer, tmp_path, WIDE)[0]["event"] == "done"
    peak = torch.cuda.max_memory_allocated()
    gc.collect()
    torch.cuda.empty_cache()
    # what libraries have taken for the streams of all trainings so far stays, in however many parts
    stays, whole = torch.cuda.memory_reserved(), torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((stays + 0.7 * (peak - stays)) / whole)
    wide, small = train(trainer, tmp_path, WIDE, {"f": 4, "s": 16, "k": 3, "l": 1})
    assert [wide["event"], small["event"]] == ["done", "done"], (wide, small)
    assert "parts=" in wide["plan"]
    assert "out of memory" in wide["plan"]
    torch.cuda.set_per_process_memory_fraction(1.0)
    assert trainer.train(WIDE, 1).plan.parts == 1  # nothing is left of it


def test_memory_is_given_back(trainer: Trainer, tmp_path: Path) -> None:
    """What stays after many trainings is the images and no more than a training's library workspaces."""
    train(trainer, tmp_path, WIDE)
    torch.cuda.empty_cache()
    before = memory_of("cuda:0")
    for _ in range(4):
        train(trainer, tmp_path, WIDE)
    torch.cuda.empty_cache()
    after = memory_of("cuda:0")
    assert before is not None
    assert after is not None
    assert after.allocated <= before.allocated + (1 << 20)


def test_a_study_on_the_gpu(tmp_path: Path) -> None:
    study = Store.create(
        tmp_path / "study",
        Settings.of(IMAGES, "plain", SPACE, RECIPE),
    )
    study.enqueue(Request(c, 0) for c in SPACE.configurations(SPACE.candidates()[:12]))
    # a process that was forked from one that uses a GPU cannot use it
    with new_interpreters(), Pool(study, IMAGES, 4, full=True, devices=("cuda:0",)) as pool:
        pool.drain()
    samples = study.samples()
    assert samples.frame["status"].tolist() == ["complete"] * 12
    assert samples.frame["plan"].str.startswith("cuda:0 ").all()
