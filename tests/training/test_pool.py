"""The pool with real worker processes, some of which are really killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace

import forked_worker
import numpy as np
import pandas as pd
import psutil
import pytest

from cpmodel.datasets.base import ImageSet, Split
from cpmodel.errors import CpmodelError
from cpmodel.families.plain import PlainFamily
from cpmodel.metrics import Balanced
from cpmodel.recipe import Recipe
from cpmodel.records.sample import Purpose, Request
from cpmodel.records.settings import Settings
from cpmodel.records.store import Store
from cpmodel.samples import Samples
from cpmodel.space import Parameter, Space
from cpmodel.training import pool as pool_module
from cpmodel.training.pool import Event, Pool
from cpmodel.training.trainer import Trainer

SPACE = Space(
    (Parameter("f", (-1, 2, 4)), Parameter("s", (6, 8)), Parameter("k", (3,)), Parameter("l", (1,)))
)
RECIPE = Recipe(epochs=8, batch_size=4, augment=("shift",))
LONG = Recipe(epochs=100_000, batch_size=4)
PATIENCE_S = 60.0
FORK = multiprocessing.get_context("fork")  # a new interpreter would take seconds to import torch


def made() -> ImageSet:
    """Noise, the brighter half of which is the class."""

    def part(n: int, seed: int) -> Split:
        rng = np.random.default_rng(seed)
        images = rng.integers(0, 150, (n, 8, 8, 1), dtype=np.uint8)
        labels = np.arange(n) % 2
        images[labels == 0, :, :4] += 30
        images[labels == 1, :, 4:] += 30
        return Split(images, labels)

    return ImageSet("halves", part(200, 0), part(100, 1), part(100, 2), ("left", "right"))


IMAGES = made()


def begin(folder: Path, recipe: Recipe = RECIPE) -> Store:
    return Store.create(
        folder,
        Settings.of(IMAGES, "plain", SPACE, recipe),
    )


def asked(*names: tuple[int, int], purpose: str = "design") -> list[Request]:
    return [Request({"f": f, "s": s, "k": 3, "l": 1}, 0, Purpose(purpose)) for f, s in names]


QUEUE = [*asked((2, 6), (4, 8), (2, 8)), *asked((4, 6), purpose="verify")]


def train(study: Store, workers: int = 1, on_event: Callable[[Event], None] | None = None) -> Samples:
    with Pool(study, IMAGES, workers, on_event) as pool:
        if hasattr(on_event, "pool"):
            on_event.pool = pool
        pool.drain()
    return study.samples()


def same(one: Samples, other: Samples) -> None:
    """Equal in all but the time it took."""
    pd.testing.assert_frame_equal(
        one.frame.drop(columns="train_s"), other.frame.drop(columns="train_s"), check_exact=True
    )


class Killer:
    """Kills the worker that is at a configuration, after its first epoch, so many times."""

    def __init__(self, request: Request, times: int) -> None:
        self.request, self.left, self.killed, self.kinds = request, times, 0, []  # type: ignore[var-annotated]
        self.pool: Pool | None = None

    def __call__(self, event: Event) -> None:
        self.kinds.append(event.kind)
        if event.kind == "epoch" and event.epoch == 1 and event.request == self.request and self.left:
            self.left -= 1
            for worker in self.pool._workers:  # type: ignore[union-attr]
                if worker.claim is not None and worker.claim.request == self.request:
                    self.killed += 1
                    worker.process.kill()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """The samples of an uninterrupted run with one worker."""
    study = begin(tmp_path_factory.mktemp("reference") / "study")
    study.enqueue(QUEUE)
    return train(study)


def test_two_workers_give_what_one_gives(tmp_path: Path, reference: Samples) -> None:
    study = begin(tmp_path / "study")
    study.enqueue(QUEUE)
    events: list[Event] = []
    with forked_worker.new_interpreters():
        found = train(study, 2, events.append)
    same(found, reference)
    assert found.failed == 0
    assert found.frame["purpose"].tolist() == ["design"] * 3 + ["verify"]
    assert (found.precision > 0.6).all()
    kinds = [e.kind for e in events]
    assert (kinds.count("started"), kinds.count("epoch"), kinds.count("recorded")) == (4, 32, 4)
    assert study.open_requests() == []
    # and what a training in this process gives; the weights of a verification are kept, no others
    trainer = Trainer(IMAGES, PlainFamily(), RECIPE)
    request = QUEUE[3]
    here = trainer.train(request.configuration, 0)
    path = study.weights_of(request)
    assert list((study.folder / "weights").iterdir()) == [path]
    kept = trainer.restore(request.configuration, path)
    for name, weight in kept.state_dict().items():
        assert (weight == here.network.state_dict()[name]).all(), name
    assert found.precision[3] == here.validation.precision
    # once more: nothing to do, no worker started
    assert train(study, 2, lambda event: pytest.fail(str(event))).keys == found.keys


def test_a_killed_worker_s_training_is_tried_again(tmp_path: Path, reference: Samples) -> None:
    study = begin(tmp_path / "study")
    study.enqueue(QUEUE)
    killer = Killer(QUEUE[1], 1)
    found = train(study, 2, killer)
    assert killer.killed == 1
    assert killer.kinds.count("started") == 5
    same(found, reference)


def test_a_training_that_kills_its_worker_twice_is_a_failed_sample(tmp_path: Path) -> None:
    study = begin(tmp_path / "study")
    study.enqueue(QUEUE[:3])
    killer = Killer(QUEUE[1], 5)
    found = train(study, 1, killer)
    assert killer.killed == 2
    assert found.frame["status"].tolist() == ["complete", "failed", "complete"]
    assert found.frame["reason"][1] == "the worker was killed by signal 9, 2 times"
    assert np.isnan(found.precision[1])
    assert study.open_requests() == []


def test_a_configuration_that_fails_is_recorded_and_the_study_goes_on(tmp_path: Path) -> None:
    study = begin(tmp_path / "study")
    study.enqueue(asked((-1, 8), (2, 6)))
    found = train(study)
    assert found.frame["status"].tolist() == ["failed", "complete"]
    assert "negative dimension" in found.frame["reason"][0]


def test_a_loss_that_is_no_number_is_recorded_and_the_study_goes_on(tmp_path: Path) -> None:
    study = begin(tmp_path / "study", Recipe(learning_rate=1e38, epochs=5, schedule="constant", warmup=0))
    study.enqueue(asked((2, 8), (4, 8)))
    found = train(study)
    assert found.failed == 2
    assert found.frame["reason"].str.match(r"the loss became (nan|inf) in epoch \d").all()
    assert study.enqueue(asked((2, 8))) == 0


def test_an_idle_worker_may_die(tmp_path: Path) -> None:
    study = begin(tmp_path / "study")
    study.enqueue(QUEUE[:2])

    def tell(event: Event) -> None:
        if event.kind == "recorded":
            for worker in tell.pool._workers:  # type: ignore[attr-defined]
                if worker.claim is None:
                    worker.process.kill()
                    worker.process.wait()

    tell.pool = None  # type: ignore[attr-defined]
    assert train(study, 2, tell).failed == 0
    assert len(study.samples()) == 2


def test_after_the_deadline_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = begin(tmp_path / "study")
    study.enqueue(QUEUE[:3])
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(pool_module, "time", clock)

    def tell(event: Event) -> None:
        clock.now += 1.0 if event.kind == "started" else 0.0

    with Pool(study, IMAGES, 1, tell) as pool:
        pool.drain(deadline=0.0)
        assert pool._workers == []
        pool.drain(deadline=0.5)  # passes while the first is being trained
        assert len(study.samples()) == 1
        assert len(study.open_requests()) == 2
        pool.drain(deadline=1.5)
    assert study.samples().keys == [SPACE.key(r.configuration) for r in QUEUE[:2]]


def test_workers_that_cannot_start_do_not_fail_the_queue(tmp_path: Path) -> None:
    study = begin(tmp_path / "study")
    study.enqueue(QUEUE)
    whole = f"images-{IMAGES.data_hash}-{IMAGES.test_hash}"
    (study.folder / "cache" / whole).mkdir(parents=True)
    (study.folder / "cache" / whole / "about.json").write_text("{")  # cut off
    with pytest.raises(CpmodelError, match=r"a worker could not start \(status 1\); see .*workers\.log"):
        train(study)
    assert len(study.samples()) == 0
    assert len(study.open_requests()) == len(QUEUE)
    assert "about.json" in (study.folder / "workers.log").read_text()


def test_a_claim_is_given_back_when_no_worker_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = begin(tmp_path / "study")
    study.enqueue(QUEUE)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(pool_module.subprocess, "Popen", refuse)
    with pytest.raises(OSError, match="Cannot allocate memory"):
        train(study)
    claim = study.claim()
    assert claim is not None
    assert claim.request == QUEUE[0]


def test_a_worker_that_dies_in_the_middle_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = begin(tmp_path / "study")
    study.enqueue(QUEUE[:1])
    worker = tmp_path / "worker"
    worker.write_text(
        '#!/bin/sh\nread setup\nread job\nprintf \'{"event": "ready"}\\n{"event": "do\'\nkill -9 $$\n'
    )
    worker.chmod(0o755)
    monkeypatch.setattr(pool_module, "sys", SimpleNamespace(executable=str(worker)))
    found = train(study)
    assert found.frame["reason"].tolist() == ["the worker was killed by signal 9, 2 times"]


# one process that trains several at once, as it does on a GPU


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pool, "_next_device", lambda pool: ("cpu", pool.size))


@pytest.mark.usefixtures("shared")
def test_one_process_for_several_gives_what_one_gives(tmp_path: Path, reference: Samples) -> None:
    study = begin(tmp_path / "study")
    study.enqueue(QUEUE)
    processes: set[int] = set()
    begun: list[int] = []

    def tell(event: Event) -> None:
        processes.update(worker.process.pid for worker in pool._workers)
        begun.append(sum(worker.begun and worker.claim is not None for worker in pool._workers))

    with Pool(study, IMAGES, 3, tell) as pool:
        pool.drain()
    assert len(processes) == 1
    assert max(begun) == 3
    same(study.samples(), reference)


@pytest.mark.usefixtures("shared")
def test_neighbours_of_a_training_that_kills_come_to_no_harm(tmp_path: Path, reference: Samples) -> None:
    study = begin(tmp_path / "study")
    study.enqueue(QUEUE)
    killer = Killer(QUEUE[0], 2)
    found = train(study, 3, killer)
    assert killer.killed == 2
    failed = found.frame["status"] == "failed"
    assert [k for k, is_one in zip(found.keys, failed, strict=True) if is_one] == [
        SPACE.key(QUEUE[0].configuration)
    ]
    # those that died with it were tried again, and came out the same
    kept = reference.frame[~reference.frame["f"].eq(2) | ~reference.frame["s"].eq(6)]
    pd.testing.assert_frame_equal(
        found.frame[~failed].drop(columns="train_s").reset_index(drop=True),
        kept.drop(columns="train_s").reset_index(drop=True),
        check_dtype=False,
    )


def test_seats_are_shared_out_among_the_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = ("cuda:0", "cuda:1", "cuda:2")
    assert pool_module.default_workers(devices) == 3 * pool_module.PLACES
    assert pool_module.default_workers(("cpu",)) == pool_module.available_cores()
    for size in (1, 2, 3, 4, 7):
        pool = Pool(begin(tmp_path / f"study{size}"), IMAGES, size, devices=devices)
        while len(pool._workers) < size:
            device, seats = pool._next_device()
            pool._workers += [SimpleNamespace(device=device)] * seats  # type: ignore[list-item]
        given = [worker.device for worker in pool._workers]
        counts = [given.count(device) for device in devices]
        assert sum(counts) == size
        assert max(counts) - min(counts) <= 1


# the parent is stopped


def parent(folder: Path) -> tuple[BaseProcess, list[psutil.Process]]:
    """A process that trains the queue with two workers, both of them after their first epoch."""
    ours, theirs = FORK.Pipe(duplex=False)

    def work() -> None:
        begun = set()

        def tell(event: Event) -> None:
            if event.kind == "epoch" and event.request is not None:
                begun.add(SPACE.key(event.request.configuration))
                if len(begun) == 2:
                    theirs.send("both")

        train(Store.open(folder), 2, tell)

    process = FORK.Process(target=work)
    process.start()
    assert ours.poll(PATIENCE_S)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) == 2
    return process, workers


def gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    return all(p.status() == psutil.STATUS_ZOMBIE for p in alive)


def test_workers_end_with_their_parent_and_the_study_goes_on(tmp_path: Path, reference: Samples) -> None:
    # without its workers' doing, these trainings would go on for hours
    long = begin(tmp_path / "long", LONG)
    long.enqueue(QUEUE[:2])
    process, workers = parent(long.folder)
    process.kill()
    process.join()
    assert gone(workers)
    assert len(long.samples()) == 0
    claims = [long.claim() for _ in range(3)]
    assert [c and c.request for c in claims] == [*QUEUE[:2], None]
    assert [c.attempts for c in claims if c] == [0, 0], "a killed parent is no fault of the training"

    study = begin(tmp_path / "study")
    study.enqueue(QUEUE)
    process, workers = parent(study.folder)
    process.kill()
    process.join()
    assert gone(workers)
    before = len(study.samples())
    assert before < len(QUEUE)
    same(train(study, 2), reference)


def test_ctrl_c_is_answered_at_once(tmp_path: Path) -> None:
    study = begin(tmp_path / "study", LONG)
    study.enqueue(QUEUE[:3])
    process, workers = parent(study.folder)
    os.kill(process.pid, signal.SIGINT)  # type: ignore[arg-type]
    # these trainings would go on for hours
    process.join(PATIENCE_S)
    assert process.exitcode
    assert gone(workers)
    claims = [study.claim() for _ in range(4)]
    assert [c and c.request for c in claims] == [*QUEUE[:3], None]
    assert [c.attempts for c in claims if c] == [0, 0, 0]


def test_axes_change_the_training_and_the_family_sees_none(tmp_path: Path) -> None:
    """A search over the length and the smoothing of trainings: parameters that are no part of T."""
    space = Space((*SPACE.parameters, Parameter("epochs", (2, 3), axis=True), SMOOTHING))
    study = Store.create(tmp_path / "study", Settings.of(IMAGES, "plain", space, RECIPE))
    here = {"f": 2, "s": 8, "k": 3, "l": 1}
    ways = [{"epochs": 2, "label_smoothing": 0.0}, {"epochs": 3, "label_smoothing": 0.2}]
    study.enqueue([Request({**here, **way}, 0, Purpose.VERIFY) for way in ways])
    found = train(study, 2)
    assert found.failed == 0
    assert len(list((study.folder / "weights").iterdir())) == 2
    for row, way in enumerate(ways):
        recipe = replace(RECIPE, **way)
        expected = Trainer(IMAGES, PlainFamily(), recipe).train(here, 0)
        assert json.loads(found.frame["curve"].iloc[row]) == list(expected.curve)
        assert found.precision[row] == expected.validation.precision
        assert found.frame["recipe"].iloc[row] == recipe.hash


SMOOTHING = Parameter("label_smoothing", (0.0, 0.2), axis=True)


def test_precision_is_the_study_s_metric(tmp_path: Path) -> None:
    rows = np.flatnonzero((np.arange(100) % 2 == 0) | (np.arange(100) < 10))
    few = replace(IMAGES, validation=Split(IMAGES.validation.images[rows], IMAGES.validation.labels[rows]))
    short = replace(RECIPE, epochs=2, learning_rate=1e-3)
    settings = Settings.of(few, "plain", SPACE, short, metric="balanced")
    study = Store.create(tmp_path / "study", settings)
    study.enqueue(QUEUE[:1])
    with Pool(study, few, 1) as pool:
        pool.drain()
    found = study.samples()
    trained = Trainer(few, PlainFamily(), short, metric=Balanced()).train(QUEUE[0].configuration, 0)
    assert found.precision[0] == trained.validation.precision
    assert json.loads(found.frame["curve"].iloc[0]) == list(trained.curve)
    assert found.frame["metric_accuracy"].iloc[0] == trained.validation.values.mean() != found.precision[0]
    assert "metric_balanced" not in found.frame
