"""Trainings that take turns in one process; on the processor, but for what a GPU would refuse."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cpmodel import locks
from cpmodel.codec import dump, load
from cpmodel.datasets.base import ImageSet, Split
from cpmodel.engine.base import Engine
from cpmodel.engine.devices import Memory, fits, training_bytes, training_devices
from cpmodel.errors import BadInputError
from cpmodel.families.plain import PlainFamily
from cpmodel.recipe import Recipe
from cpmodel.records.sample import Start
from cpmodel.training import together as module
from cpmodel.training.early import Reading, Stopping
from cpmodel.training.jobs import Job
from cpmodel.training.together import MOST_PARTS, Together
from cpmodel.training.trainer import Plan, Trainer

RECIPE = Recipe(epochs=3, batch_size=16, augment=("flip", "shift"))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def made() -> ImageSet:
    """Noise, the brighter half of which is the class."""

    def part(n: int, seed: int) -> Split:
        images = np.random.default_rng(seed).integers(0, 150, (n, 8, 8, 1), dtype=np.uint8)
        labels = np.arange(n) % 2
        images[labels == 0, :, :4] += 30
        images[labels == 1, :, 4:] += 30
        return Split(images, labels)

    return ImageSet("halves", part(160, 0), part(80, 1), part(80, 2), ("left", "right"))


IMAGES = made()


class Bench:
    """Trainings in one process, and what they said."""

    def __init__(self, folder: Path) -> None:
        self.trainer = Trainer(IMAGES, PlainFamily(), RECIPE, Plan(graphs=True))
        self.said: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self.most = 0
        self.together = Together(self.trainer, folder, self._say)

    def _say(self, seat: int, **event: Any) -> None:
        self.said[seat].append(event)

    def run(self, *jobs: Job) -> dict[int, dict[str, Any]]:
        """The last words of each."""
        for job in jobs:
            self.together.add(job)
        while not self.together.idle:
            self.together.turn()
            self.most = max(self.most, len(self.together._running))
        return {seat: events[-1] for seat, events in self.said.items()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def job(seat: int, f: int = 2, *, s: int = 8, alone: bool = False, weights: Path | None = None) -> Job:
    kept = None if weights is None else str(weights)
    return Job(seat, {"f": f, "s": s, "k": 3, "l": 1}, seat, RECIPE, weights=kept, alone=alone)


def alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return {**one, "train_s": 0} == {**other, "train_s": 0}


def test_neighbours_change_nothing(tmp_path: Path) -> None:
    jobs = [(0, 2), (1, 4), (2, 2)]
    together = Bench(tmp_path)
    found = together.run(*(job(*each) for each in jobs))
    assert together.most == 3
    for each in jobs:
        alone = Bench(tmp_path)
        assert alike(alone.run(job(*each))[each[0]], found[each[0]])
        assert together.said[each[0]][:-1] == alone.said[each[0]][:-1]
    epochs = [(event["event"], event["epoch"]) for event in together.said[0][1:-1]]
    assert epochs == [("epoch", 1), ("epoch", 2), ("epoch", 3)]
    assert found[0]["plan"] == "cpu float32 channels-last threads=1"
    # they did take turns: none waited for the end of another
    assert together.trainer.resized.bytes == (160 + 80) * 64


def test_who_is_to_be_alone_is_alone(bench: Bench) -> None:
    bench.run(job(0, alone=True), job(1), job(2))
    assert bench.said[0][-1]["event"] == "done"
    assert list(bench.said) == [0, 1, 2]  # nobody said anything before the first was done
    assert bench.most == 2


class Full(Engine):
    """Out of memory beside others, or with more than so many images at a time."""

    def __init__(self, engine: Any, together: Together, most: int) -> None:
        self._engine, self._together, self._most = engine, together, most

    def backpropagate(self, images: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        if len(self._together._running) > 1 or -(-len(images) // self._engine._parts) > self._most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self._engine.backpropagate(images, labels, smoothing)  # type: ignore[no-any-return]

    def logits(self, images: Tensor) -> Tensor:
        return self._engine.logits(images)  # type: ignore[no-any-return]


def starve(bench: Bench, monkeypatch: pytest.MonkeyPatch, f: int, most: int) -> None:
    """Networks of f filters get little memory."""
    made = bench.trainer._engine

    def engine(network: nn.Module, exact: bool = False, parts: int = 1) -> Engine:
        found = made(network, exact, parts)
        wide = next(network.parameters()).shape[0] == f
        return Full(found, bench.together, most) if wide and not exact else found

    monkeypatch.setattr(bench.trainer, "_engine", engine)


def test_out_of_memory_beside_others_then_in_parts(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starve(bench, monkeypatch, f=4, most=RECIPE.batch_size // 4)
    found = bench.run(job(0, 2), job(1, 4), job(2, 2))
    assert found[1]["event"] == "done"
    assert found[1]["plan"] == (
        "cpu float32 channels-last threads=1 parts=4; out of memory beside 1 more, then alone; "
        "out of memory with 1 parts; out of memory with 2 parts"
    )
    assert len(found[1]["curve"]) == RECIPE.epochs
    for seat in (0, 2):  # whoever had enough saw nothing of it
        assert alike(found[seat], Bench(tmp_path).run(job(seat, 2))[seat])


def test_alone_it_fits_whole(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starve(bench, monkeypatch, f=4, most=RECIPE.batch_size)
    found = bench.run(job(0, 2), job(1, 4))[1]
    plain = Bench(tmp_path).run(job(1, 4))[1]
    assert found["plan"] == plain["plan"] + "; out of memory beside 1 more, then alone"
    assert alike({**found, "plan": ""}, {**plain, "plan": ""})


def test_never_enough_memory(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    starve(bench, monkeypatch, f=4, most=0)
    found = bench.run(job(0, 4), job(1, 2))
    assert found[0]["event"] == "failed"
    assert found[0]["reason"].endswith(f"out of memory with {MOST_PARTS // 2} parts; out of memory")
    assert found[1]["event"] == "done"


def test_as_many_as_there_is_memory_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    images = (160 + 80) * 64
    monkeypatch.setattr(bench.trainer, "device_bytes", lambda configuration, batch: 100_000)
    monkeypatch.setattr(module, "memory_of", lambda device: Memory(0, int((2.5 * 100_000 + images) / 0.9), 0))
    found = bench.run(*(job(seat) for seat in range(5)))
    assert bench.most == 2
    assert {event["event"] for event in found.values()} == {"done"}


def test_a_training_larger_than_the_memory_is_tried_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "memory_of", lambda device: Memory(0, 0, 0))
    found = bench.run(job(0), job(1))
    assert bench.most == 1
    assert [found[seat]["event"] for seat in (0, 1)] == ["done", "done"]


def test_none_starts_while_a_measurement_waits_for_the_others(bench: Bench, tmp_path: Path) -> None:
    bench.together.add(job(0))
    bench.together.turn()
    with locks.locked(tmp_path / "gate.lock"):  # whoever measures waits here for the trainings in hand
        bench.together.add(job(1))
        while bench.together._running:
            bench.together.turn()
        assert [event["event"] for event in bench.said[0]] == ["begun", *["epoch"] * 3, "done"]
        assert 1 not in bench.said
    assert bench.run()[1]["event"] == "done"
    with locks.measuring(tmp_path):  # the last one has let go of the lock
        pass


def test_a_fault_of_one_is_its_own(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    found = bench.run(
        job(0, f=-1), job(1, weights=tmp_path / "file" / "w.pt"), job(2, weights=tmp_path / "w.pt")
    )
    assert [found[seat]["event"] for seat in (0, 1, 2)] == ["failed", "failed", "done"]
    assert found[0]["reason"]
    assert (tmp_path / "w.pt").exists()


def test_a_device_that_is_broken_ends_the_process(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bool:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    bench.together.add(job(0))
    bench.together.turn()
    bench.together._running[0].ready = broken
    with pytest.raises(RuntimeError, match="illegal memory"):
        bench.together.turn()
    assert "failed" not in [event["event"] for event in bench.said[0]]


# devices


def test_estimates_grow_with_all_that_takes_memory() -> None:
    base = {"activations": 1e5, "params": 1e5, "batch": 128}
    least = training_bytes(**base)  # type: ignore[arg-type]
    assert all(
        training_bytes(**{**base, name: base[name] * 100}) > least  # type: ignore[arg-type]
        for name in base
    )


def test_what_fits() -> None:
    whole = Memory(free=50, reserved=50, allocated=10)  # 90 may be filled
    assert fits(80, 0, whole)
    assert not fits(81, 0, whole)
    assert fits(60, 30, whole)  # of the 30 promised, 10 are taken by now
    assert not fits(61, 30, whole)


@pytest.mark.parametrize(("count", "auto"), [(0, ("cpu",)), (2, ("cuda:0", "cuda:1"))])
def test_names_of_devices(monkeypatch: pytest.MonkeyPatch, count: int, auto: tuple[str, ...]) -> None:
    monkeypatch.setattr("cpmodel.engine.devices._has_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert training_devices() == training_devices("auto") == auto
    assert training_devices("cpu") == ("cpu",)
    for wrong in ("gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:0,cuda:1"):
        with pytest.raises(BadInputError, match=r"device: expected cpu, cuda, cuda:0, \.\.\. or auto"):
            training_devices(wrong)
    if count:
        assert training_devices("cuda") == auto
        assert training_devices("cuda:1") == ("cuda:1",)
        with pytest.raises(BadInputError, match="expected one of cuda:0, cuda:1, got cuda:2"):
            training_devices("cuda:2")
    else:
        for name in ("cuda", "cuda:0"):
            with pytest.raises(BadInputError, match=f"device {name}: expected a GPU that torch can use"):
                training_devices(name)


def test_without_a_driver_nobody_waits_for_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpmodel.engine.devices._has_driver", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("torch was asked"))
    assert training_devices() == ("cpu",)


def test_a_start_that_cannot_be_trained_is_refused_before_training(bench: Bench) -> None:
    wanted = Job(0, {"f": 2, "s": 8, "k": 3, "l": 1}, 0, RECIPE, Start("pruned", "0123456789abcdef"))
    assert bench.run(wanted, job(1))[0] == {"event": "failed", "reason": "start: expected fresh, got pruned"}
    assert [event["event"] for event in bench.said[0]] == ["failed"]
    assert bench.said[1][-1]["event"] == "done"


def test_each_training_has_its_own_recipe(bench: Bench, tmp_path: Path) -> None:
    longer = replace(RECIPE, epochs=5, label_smoothing=0.3)
    wanted = Job(0, {"f": 2, "s": 8, "k": 3, "l": 1}, 0, longer)
    found = bench.run(wanted, job(1))
    assert [len(found[seat]["curve"]) for seat in (0, 1)] == [5, 3]
    alone = Trainer(IMAGES, PlainFamily(), longer, Plan()).train({"f": 2, "s": 8, "k": 3, "l": 1}, 0)
    assert found[0]["curve"] == list(alone.curve)


def test_jobs_survive_being_sent() -> None:
    rule = Stopping((Reading((0.1, 0.2), ((1.0, 0.0), (0.0, 1.0))),), 0.7, 5000)
    sent = Job(3, {"f": 2, "way": "wide"}, 7, RECIPE, weights="/some/file.pt", stopping=rule, alone=True)
    assert load(Job, json.loads(json.dumps(dump(sent)))) == sent
