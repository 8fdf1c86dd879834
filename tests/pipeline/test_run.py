"""From images to a proved answer, once, with real trainings on images made here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cpmodel.codec import dump
from cpmodel.datasets.base import ImageSet
from cpmodel.errors import BadInputError, StudyError
from cpmodel.pipeline.answer import Answer, last_answer
from cpmodel.pipeline.curve import run_curve
from cpmodel.pipeline.options import (
    CurveGoal,
    DesignOptions,
    Effort,
    Goal,
    Machine,
    ProofOptions,
    StudyOptions,
    Training,
)
from cpmodel.pipeline.project import Project, plan, reopen
from cpmodel.pipeline.proof import openings
from cpmodel.pipeline.run import run, sample, verify
from cpmodel.pipeline.watch import Watcher
from cpmodel.records.sample import Request
from cpmodel.samples import read_csv
from cpmodel.training.pool import Event
from cpmodel.training.trainer import Trainer
from cpmodel.verify import error_of_opening

BUDGET = 12
EFFORT, ONE = Effort(budget=BUDGET, workers=2), Machine(workers=1)
TARGET = 0.7


class Log(Watcher):
    def __init__(self) -> None:
        self.steps: list[str] = []
        self.trained = 0

    def step(self, step: object) -> None:
        self.steps.append(step.action)  # type: ignore[attr-defined]

    def event(self, event: Event) -> None:
        self.trained += event.kind == "started"


@pytest.fixture(scope="module")
def images_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes, told by which rows are bright; one label in nine is wrong, so nothing is perfect."""
    noise = np.random.default_rng(0)
    labels = np.arange(600) % 3
    images = noise.integers(0, 90, (600, 8, 8), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[1 + 2 * label : 3 + 2 * label] += 80
    labels = np.where(noise.random(600) < 1 / 6, noise.integers(0, 3, 600), labels)
    path = tmp_path_factory.mktemp("images") / "rows.npz"
    np.savez(path, x=images, y=labels)
    return path


def begin(folder: Path, images_file: Path, seed: int = 0) -> tuple[Project, ImageSet]:
    options = StudyOptions(
        dataset=f"npz:{images_file}",
        values={"f": (2, 4, 8), "s": (6, 8), "k": (3,), "l": (1, 2)},
        recipe={"epochs": 2, "batch_size": 8, "augment": ()},
        seed=seed,
    )
    planned = plan(folder, options)
    return planned.begin(), planned.images


@pytest.fixture(scope="module")
def done(
    tmp_path_factory: pytest.TempPathFactory, images_file: Path
) -> tuple[Project, ImageSet, Answer, Log]:
    project, images = begin(tmp_path_factory.mktemp("run") / "study", images_file)
    log = Log()
    return project, images, run(project, Goal(target=TARGET), EFFORT, log), log


def test_an_easy_target_is_proved(done: tuple[Project, ImageSet, Answer, Log]) -> None:
    project, images, answer, log = done
    assert answer.status == "proved"
    assert answer.target == TARGET
    verdict = answer.verdict
    assert verdict is not None
    assert verdict.status == "reached"
    assert verdict.interval.low >= TARGET
    assert verdict.test_images == len(images.test)
    assert len(verdict.seeds) >= 3
    assert set(verdict.seeds) == {1000, 1001, 1002}
    assert np.mean(verdict.validation) >= TARGET
    assert log.steps[0] == "explore"
    assert log.steps[-2:] == ["verify", "prove"]
    assert answer.trainings == log.trained <= BUDGET
    baseline = project.space.key(project.space.baseline)
    assert verdict.key != baseline, "no saving at all"
    assert answer.choice.safe is not None
    assert answer.choice.safe.relative < 1


def test_the_samples_are_kept(done: tuple[Project, ImageSet, Answer, Log]) -> None:
    project, _, answer, _ = done
    table = read_csv(project.folder / "samples.csv", space=project.space, unit="fraction")
    assert len(table) == answer.trainings
    assert table.keys == project.study.samples().keys
    np.testing.assert_array_equal(table.precision, project.study.samples().precision)
    assert table.frame["purpose"].value_counts()["baseline"] == 2
    assert answer.train_s == pytest.approx(table.frame["train_s"].sum())
    assert (table.frame["split"] == "validation").all()


def test_the_answer_is_kept(done: tuple[Project, ImageSet, Answer, Log]) -> None:
    project, _, answer, _ = done
    kept = json.loads((project.folder / "choice.json").read_text())
    assert kept.pop("format") == 2
    assert kept == json.loads(json.dumps(dump(answer)))
    again = last_answer(reopen(project.folder))
    assert again is not None
    assert json.dumps(dump(again)) == json.dumps(dump(answer))


def test_the_test_precision_is_that_of_the_kept_weights(done: tuple[Project, ImageSet, Answer, Log]) -> None:
    project, images, answer, _ = done
    verdict = answer.verdict
    assert verdict is not None
    trainer = Trainer(images, project.family, project.study.settings.recipe)
    for seed, validation, test in zip(verdict.seeds, verdict.validation, verdict.test, strict=True):
        path = project.study.weights_of(Request(verdict.configuration, seed))
        network = trainer.restore(verdict.configuration, path)
        assert trainer.evaluate(network, verdict.configuration, "test").precision == test
        assert trainer.evaluate(network, verdict.configuration, "validation").precision == validation


def test_once_more_trains_nothing_and_says_the_same(
    done: tuple[Project, ImageSet, Answer, Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, _images, answer, _ = done
    log = Log()
    # the test split was opened once: the verdict is the one that was kept
    monkeypatch.setattr(Trainer, "evaluate", lambda *_, **__: pytest.fail("the test split was opened again"))
    again = run(reopen(project.folder), Goal(target=TARGET), EFFORT, log)
    assert log.trained == 0
    assert json.dumps(dump(again)) == json.dumps(dump(answer))


def test_an_unreachable_target_is_not_proved(
    done: tuple[Project, ImageSet, Answer, Log], tmp_path: Path
) -> None:
    project, _images, _, _ = done
    copy = reopen(shutil.copytree(project.folder, tmp_path / "study"))
    log = Log()
    answer = run(copy, Goal(target=0.999), EFFORT, log)
    assert answer.status == "not proved"
    assert answer.verdict is None
    assert answer.reason
    assert answer.choice.best.precision < 0.999
    assert answer.trainings <= BUDGET
    assert log.steps[-1] == "stop"
    kept = last_answer(copy)
    assert kept is not None
    assert kept.status == "not proved"


def test_verify_alone_says_what_cannot_be_reached(
    done: tuple[Project, ImageSet, Answer, Log], tmp_path: Path
) -> None:
    project, _images, _, _ = done
    copy = reopen(shutil.copytree(project.folder, tmp_path / "study"))
    log = Log()
    answer = verify(copy, Goal(target=0.999), machine=ONE, watch=log)
    assert (answer.status, answer.verdict, log.trained) == ("not proved", None, 0)
    assert "is predicted to reach 99.9 %. The best is f=" in answer.reason
    assert len(answer.openings) == 1  # that of the run before


def test_openings_of_the_test_split_are_counted(
    done: tuple[Project, ImageSet, Answer, Log], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, _images, first, _ = done
    copy = reopen(shutil.copytree(project.folder, tmp_path / "study"))
    assert first.verdict is not None
    key, configuration = first.verdict.key, first.verdict.configuration
    looked: list[str] = []
    evaluate = Trainer.evaluate

    def counted(self: Trainer, network: Any, configuration: Any, split: str, *more: Any) -> Any:
        looked.append(split)
        return evaluate(self, network, configuration, split, *more)

    monkeypatch.setattr(Trainer, "evaluate", counted)
    # the same networks, another target: the interval that there is says it, and nothing is spent
    easier = verify(copy, Goal(target=0.6), ProofOptions(configuration=configuration), ONE)
    assert looked == []
    assert easier.verdict is not None
    assert (easier.verdict.target, easier.verdict.opening) == (0.6, 1)
    assert easier.verdict.interval == first.verdict.interval
    # more seeds are other networks
    more = verify(copy, Goal(target=0.6), ProofOptions(configuration=configuration, seeds=4), ONE)
    assert looked == ["test"] * 4
    assert more.verdict is not None
    assert (more.verdict.opening, len(more.verdict.seeds)) == (2, 4)
    assert [o.number for o in more.openings] == [1, 2]
    assert more.openings[0].networks == f"{key} seeds=1000,1001,1002"
    assert more.verdict.interval.level > first.verdict.interval.level
    for opening in more.openings:
        assert opening.verdict is not None
        assert opening.spent == error_of_opening(opening.number)
        assert opening.verdict.interval.level == 1 - opening.spent
    # a drop is another question about the same images
    looked.clear()
    below = verify(reopen(copy.folder), Goal(drop=0.3), ProofOptions(configuration=configuration), ONE)
    assert below.verdict is not None
    comparison = below.verdict.comparison
    assert comparison is not None
    assert below.verdict.opening == 3
    assert len(comparison.seeds) >= 3
    assert comparison.key == copy.space.key(copy.space.baseline)
    assert len(looked) == 4 + len(comparison.seeds)
    assert below.openings[2].against.startswith(comparison.key)
    assert comparison.difference.mean == pytest.approx(np.mean(below.verdict.test) - np.mean(comparison.test))
    assert below.verdict.status == ("reached" if comparison.difference.low >= -0.3 else "undecided")
    kept = json.loads((copy.folder / "choice.json").read_text())
    assert kept.pop("format") == 2
    assert kept == json.loads(json.dumps(dump(below)))
    assert [o["number"] for o in kept["openings"]] == [1, 2, 3]


def test_an_opening_that_was_cut_off_is_the_same_one_again(
    done: tuple[Project, ImageSet, Answer, Log], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, _images, first, _ = done
    copy = reopen(shutil.copytree(project.folder, tmp_path / "study"))
    assert first.verdict is not None
    copy.study.keep("openings", [])

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "evaluate", killed)
        with pytest.raises(KeyboardInterrupt):
            verify(copy, Goal(target=TARGET), ProofOptions(configuration=first.verdict.configuration))
    (cut,) = openings(copy)
    assert (cut.number, cut.verdict) == (1, None)  # counted before it was looked at
    again = verify(copy, Goal(target=TARGET), ProofOptions(configuration=first.verdict.configuration))
    assert again.verdict == first.verdict
    assert len(again.openings) == 1


def test_the_answer_holds_what_it_rests_on(done: tuple[Project, ImageSet, Answer, Log]) -> None:
    project, _, answer, _ = done
    samples = project.study.samples()
    assert [row["key"] for row in answer.grounds.samples] == samples.keys
    assert [row["precision"] for row in answer.grounds.samples] == samples.precision.tolist()
    assert answer.grounds.study["data"] == project.study.settings.data
    assert answer.grounds.goal["target"] == TARGET
    assert answer.grounds.model["model"] == "auto"
    assert answer.grounds.model["fit"]
    tried = {e.key: e for e in answer.evidence}
    assert answer.verdict is not None
    assert tried[answer.verdict.key].seeds == answer.verdict.seeds
    assert all(0 <= e.probability <= 1 for e in answer.evidence)


def test_other_images_are_refused(
    done: tuple[Project, ImageSet, Answer, Log], images_file: Path, tmp_path: Path
) -> None:
    project, _, _, _ = done
    whole = images_file.read_bytes()
    with np.load(images_file) as content:
        x, y = content["x"].copy(), content["y"]
    x[0, 0, 0] ^= 1
    try:
        np.savez(images_file, x=x, y=y)
        with pytest.raises(StudyError, match=r"the images of .* are others than when the study was made"):
            reopen(project.folder).images()
        with pytest.raises(StudyError, match="another data"):
            begin(project.folder, images_file)
    finally:
        images_file.write_bytes(whole)
    assert reopen(project.folder).images().data_hash == project.study.settings.data


def test_other_settings_are_refused(done: tuple[Project, ImageSet, Answer, Log], images_file: Path) -> None:
    project, _, _, _ = done
    with pytest.raises(StudyError, match="another seed: expected 0"):
        begin(project.folder, images_file, seed=1)
    again = plan(project.folder, StudyOptions()).begin()  # whatever is not said is as the study has it
    assert again.study.settings == project.study.settings


@pytest.mark.parametrize(
    ("goal", "budget", "message"),
    [
        ({"target": 0.7}, 4, "budget: expected . trainings or more, got 4"),
        ({"drop": 0.02}, 7, "budget: expected 8 trainings or more, got 7"),
        ({"target": 0.7, "complexity": "beauty"}, 12, "beauty"),
        ({"target": 0.7, "limits": {"beauty": 1.0}}, 12, "beauty"),
    ],
)
def test_searches_that_cannot_be_done_are_refused_before_anything_is_trained(
    images_file: Path, tmp_path: Path, goal: dict[str, object], budget: int, message: str
) -> None:
    project, _images = begin(tmp_path / "study", images_file)
    with pytest.raises(BadInputError, match=message):
        run(project, Goal(**goal), Effort(budget=budget))  # type: ignore[arg-type]
    assert project.study.open_requests() == []
    assert len(project.study.samples()) == 0


def test_what_a_study_has_counts_in_the_budget(images_file: Path, tmp_path: Path) -> None:
    project, _images = begin(tmp_path / "study", images_file)
    sample(project, DesignOptions(design="random"), Training(budget=9, workers=2))
    assert len(project.study.samples()) == 9
    run(project, Goal(target=TARGET), EFFORT)
    purposes = project.study.samples().frame["purpose"].tolist()
    assert len(purposes) == BUDGET and purposes.count("verify") >= 3, "a proof has room"
    run_curve(project, CurveGoal(low=0.5, high=0.8), EFFORT)
    run(project, Goal(target=TARGET + 0.05), EFFORT)
    assert len(project.study.samples()) == BUDGET
