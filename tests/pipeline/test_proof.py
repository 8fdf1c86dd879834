"""What becomes of a study's openings when another test split takes the place of the one it was made with."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_images import make_images

import cpmodel
from cpmodel.datasets import ImageSet, load
from cpmodel.datasets.base import Split
from cpmodel.errors import StudyError
from cpmodel.pipeline.answer import last_verdict
from cpmodel.pipeline.options import Goal, ProofOptions, StudyOptions
from cpmodel.pipeline.project import Project, plan, reopen
from cpmodel.pipeline.proof import on_test, openings, outdated, prove
from cpmodel.pipeline.run import ALONE, verify
from cpmodel.pipeline.watch import Watcher
from cpmodel.records.store import Store
from cpmodel.report.build import page_of
from cpmodel.search.evidence import fresh_evidence
from cpmodel.training.pool import Event
from cpmodel.training.trainer import Trainer
from cpmodel.verify import ERROR, Networks, Verdict, error_of_opening, precision_interval

ANSWER = "f=8,s=8,k=2,l=1"


class NothingTrained(Watcher):
    def event(self, event: Event) -> None:
        assert event.kind != "started"


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """The images of the small study, with other test images that take the place of its own."""
    images = load(f"npz:{make_images(tmp_path_factory.mktemp('later') / 'images.npz')}")
    more = np.random.default_rng(1).integers(0, 250, (100, 8, 8, 1), dtype=np.uint8)
    old = images.test
    mixed = Split(np.concatenate([old.images, more]), np.concatenate([old.labels, np.arange(100) % 3]))
    return replace(images, test=mixed, earlier=(old,))


@pytest.fixture
def old(small_study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_study, tmp_path / "study"))


def asked(project: Project, target: float = 0.5) -> Verdict:
    """What the test split says of the networks of the small study's answer."""
    goal = Goal(target=target)
    (stands,) = fresh_evidence(project.study.samples(), target, goal.confidence)
    return prove(project, stands, goal, ALONE, NothingTrained())


def opened(folder: Path, images: ImageSet) -> Project:
    """The study with these images, as a program goes on with it."""
    return plan(folder, StudyOptions(dataset=images)).begin()


def test_a_new_test_split_is_opened_and_the_old_opening_stays(old: Path, later: ImageSet) -> None:
    before = reopen(old)
    (first,) = openings(before)
    assert first.verdict is not None
    samples, weights = before.study.samples(), sorted((old / "weights").iterdir())
    assert first.split == before.study.settings.test == before.images().test_hash
    project = opened(old, later)
    assert openings(project) == (first,), "only to take the new images opens nothing"
    how = ProofOptions(configuration=ANSWER)
    answer = verify(project, Goal(target=0.5), how, ALONE, NothingTrained())
    assert project.study.samples().frame.equals(samples.frame)
    assert sorted((old / "weights").iterdir()) == weights
    assert answer.openings[0] == first
    second, verdict = answer.openings[1], answer.verdict
    assert verdict is not None
    assert second.verdict == verdict
    assert (second.networks, second.split) == (first.networks, later.test_hash)
    assert first.split not in (second.split, "")
    # the count runs on, so that both claims together stay within the error that the study states
    assert (first.number, second.number, verdict.opening) == (1, 2, 2)
    assert second.spent == error_of_opening(2)
    assert verdict.interval.level == 1 - second.spent
    assert first.spent + second.spent < ERROR
    # what it measured is of the new images, those that were looked at before among them
    networks = Networks(verdict.key, verdict.configuration, verdict.seeds, verdict.validation)
    values = on_test(project, networks)
    assert values.shape == (len(verdict.seeds), len(later.test)) == (3, verdict.test_images)
    assert verdict.interval == precision_interval(values, level=1 - error_of_opening(2))
    assert first.verdict.test_images == len(later.earlier[0])


def test_each_split_is_opened_once_for_the_same_networks(
    old: Path, later: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = asked(opened(old, later))
    monkeypatch.setattr(Trainer, "evaluate", lambda *_, **__: pytest.fail("the test split was opened again"))
    again = asked(opened(old, later), target=0.4)
    assert (again.target, again.opening, again.interval) == (0.4, 2, second.interval)
    # whoever takes the first split back finds what it said, as the first opening
    back = replace(later, test=later.earlier[0], earlier=(later.test,))
    first = asked(opened(old, back))
    assert (first.opening, first.test_images) == (1, len(back.test))
    assert [o.number for o in openings(reopen(old))] == [1, 2]


def test_a_verdict_about_the_old_split_is_shown_as_that(old: Path, later: ImageSet) -> None:
    study = cpmodel.open(old)
    answer, verdict = study.answer(), last_verdict(study.project)
    assert answer is not None and verdict is not None
    assert not outdated(study.project, verdict)
    assert not page_of(study.material(), answer=answer).outdated
    project = opened(old, later)
    assert last_verdict(project) == verdict, "a proof is not lost"
    assert outdated(project, verdict)
    page = page_of(project.material(), answer=answer)
    assert page.outdated
    assert page.settings is not None
    assert page.settings.split_sizes["test"] == len(later.test)
    now = asked(project)
    assert not outdated(project, now)
    assert outdated(project, verdict)
    assert not page_of(project.material(), answer=replace(answer, verdict=now)).outdated


def test_a_test_split_that_says_nothing_of_the_study_s_own_is_refused(old: Path, later: ImageSet) -> None:
    stranger = replace(later, earlier=())
    with pytest.raises(StudyError, match="the study there has another test split"):
        opened(old, stranger)
    with pytest.raises(StudyError, match="are others than when the study was made"):
        Store.open(old).accept(stranger)
    other = replace(later, train=later.validation)
    with pytest.raises(StudyError, match="another data"):
        opened(old, other)
    own = replace(later, test=later.earlier[0]).test_hash
    assert openings(reopen(old))[0].split == reopen(old).study.settings.test == own


def test_a_study_of_the_embedded_images_of_before_goes_on(tmp_path: Path) -> None:
    images = load("embedded")
    before = replace(images, test=images.earlier[0], earlier=())
    options = StudyOptions(dataset=before, values={"s": (6,)}, baseline={"s": 6})
    made = plan(tmp_path / "study", options).begin().study
    made.keep("openings", [{"number": 1, "networks": "f=8", "against": "", "spent": 0.03, "verdict": None}])
    assert made.settings.split_sizes["test"] == 5_000
    again = reopen(tmp_path / "study")
    assert again.images().test_hash == images.test_hash == again.study.settings.test
    assert again.study.settings.data == made.settings.data
    assert again.study.settings.split_sizes["test"] == 10_000
    assert [o.split for o in openings(again)] == [before.test_hash]
