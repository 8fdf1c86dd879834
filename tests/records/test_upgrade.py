"""A study made by the version before formats had numbers: it is read, goes on, and repeats nothing."""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from running import Command, called
from small_images import make_images

import cpmodel as package_of_today
from cpmodel.datasets import load
from cpmodel.datasets.base import ImageSet, whole_hash
from cpmodel.errors import StudyError
from cpmodel.records.sample import Purpose, Request, Start
from cpmodel.records.settings import FORMAT, Settings
from cpmodel.records.store import Store

ASSET = Path(__file__).parent / "assets" / "study_format_1.tar.gz"
PACKAGE = Path(package_of_today.__file__).parent


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The old study, in another folder than the one that it was made in."""
    with tarfile.open(ASSET) as archive:
        archive.extractall(tmp_path, filter="data")
    return (tmp_path / "study").rename(tmp_path / "moved")


def pictures(folder: Path) -> Path:
    path = folder / "elsewhere.npz"
    return path if path.exists() else make_images(path)


def run_again(folder: Path, command: Command) -> dict[str, Any]:
    """The command that made the study, once more."""
    ended = command(
        *["run", "--study", folder, "--dataset", f"npz:{pictures(folder.parent)}", "--drop", "0.05"],
        *["--budget", "20", "--measured", "4", "--workers", "1", "--full"],
        cwd=folder.parent,
    )
    assert ended.code == 0, ended
    return answer_of(folder)


def answer_of(folder: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((folder / "choice.json").read_text())
    return answer


def test_it_is_read_without_its_images(old: Path) -> None:
    study = Store.open(old)
    assert study.settings.format == 1
    assert study.settings.metric == "accuracy"
    table = study.samples()
    assert len(table) == 12
    assert table.frame["purpose"].value_counts().to_dict() == {
        "design": 5,
        "baseline": 3,
        "verify": 3,
        "refine": 1,
    }
    assert set(table.frame["recipe"]) == {study.settings.recipe.hash}
    assert study.open_requests() == []
    assert len(study.note("openings")) == 1
    fresh = table.frame[table.frame["purpose"] == "verify"]
    for key, seed in zip(study.samples([Purpose.VERIFY]).keys, fresh["seed"], strict=True):
        path = study.weights_of(Request(study.settings.space.parse(key), int(seed), Purpose.VERIFY))
        assert path.exists()
        assert path.name == f"{key}_seed{seed}.pt"
    assert Store.open(old).settings.format == 1, "to read it changes nothing"


@pytest.mark.parametrize("command", ["fit", "optimize", "report"])
def test_views_of_it(cpmodel: Command, old: Path, command: str) -> None:
    before = answer_of(old)
    options = {"fit": ["--json"], "optimize": ["--drop", "0.05", "--json"], "report": []}[command]
    ended = cpmodel(command, old, *options, cwd=old.parent)
    assert ended.code == 0, ended
    if command == "optimize":
        assert ended.json["safe"]["key"] == before["choice"]["safe"]["key"]
    if command == "report":
        assert "95.37" in (old / "report.html").read_text()  # what the test images said of the answer
    assert answer_of(old) == before


def test_it_goes_on_and_repeats_nothing(
    cpmodel: Command, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, weights = answer_of(old), sorted((old / "weights").iterdir())
    samples = Store.open(old).samples().frame
    assert_same(run_again(old, cpmodel), before)
    study = Store.open(old)
    images = load(f"npz:{pictures(old.parent)}")
    assert study.settings.format == FORMAT
    assert (study.settings.data, study.settings.test) == (images.data_hash, images.test_hash)
    assert study.samples().frame.drop(columns="data").equals(samples.drop(columns="data"))
    assert sorted((old / "weights").iterdir()) == weights
    # the next release has one more field in the recipe, with a default
    package = shutil.copytree(PACKAGE, tmp_path / "next" / "cpmodel")
    recipe = package / "recipe.py"
    field = "    patience: int | None = None\n"
    assert field in recipe.read_text()
    recipe.write_text(recipe.read_text().replace(field, field + "    mixup: float = 0.0\n"))
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    assert_same(run_again(old, called), before)
    assert answer_of(old)["grounds"]["study"]["recipe"]["mixup"] == 0.0, "it was the next release that ran"
    assert sorted((old / "weights").iterdir()) == weights
    assert len(Store.open(old).samples()) == 12


def assert_same(found: dict[str, Any], before: dict[str, Any]) -> None:
    """The same answer, from the same trainings and openings; there may be more in it now."""
    for candidate in before["evidence"]:
        candidate.pop("mean", None)  # it follows from the precisions
    for name in ("status", "target", "choice", "evidence", "verdict", "openings", "trainings", "train_s"):
        assert holds(found[name], before[name]), name
    assert holds(found["grounds"]["samples"], before["grounds"]["samples"])


def holds(found: Any, before: Any) -> bool:
    """Whether all that was there is there; predicted numbers may differ by what another processor rounds."""
    if isinstance(before, dict):
        return all(name in found and holds(found[name], value) for name, value in before.items())
    if isinstance(before, list):
        return len(found) == len(before) and all(map(holds, found, before))
    return bool(found == (pytest.approx(before, rel=1e-6) if isinstance(before, float) else before))


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_other_images_are_refused(old: Path, split: str) -> None:
    images = load(f"npz:{pictures(old.parent)}")
    changed = images.splits[split].images.copy()
    changed[0, 0, 0, 0] ^= 1
    other = replace(images, **{split: replace(images.splits[split], images=changed)})
    study = Store.open(old)
    with pytest.raises(
        StudyError, match="are others than when the study was made: expected content 4d3f"
    ) as first:
        study.accept(other)
    assert f"got {whole_hash(other)}" in str(first.value)
    assert Store.open(old).settings.format == 1
    study.accept(images)
    assert Store.open(old).settings == study.settings
    with pytest.raises(StudyError, match="others than when the study was made") as caught:
        Store.open(old).accept(other)
    assert "\n" not in str(caught.value)
    assert f"got {other.data_hash} and {other.test_hash}" in str(caught.value)
    named = {"train": "data", "validation": "data", "test": "test split"}[split]
    settings = study.settings
    given = Settings.of(other, settings.family, settings.space, settings.recipe)
    with pytest.raises(StudyError, match=f"another {named}: expected"):
        Store.create(old, given, images=other)


def with_more_to_test(images: ImageSet) -> ImageSet:
    """The images with other test images, which take the place of those that there were."""
    halved = replace(images.test, images=images.test.images // 2)
    return replace(images, test=halved, earlier=(images.train, images.test))


@pytest.mark.parametrize("number", [1, FORMAT])
@pytest.mark.parametrize("way", ["accept", "create"])
def test_another_test_split_changes_nothing_else(old: Path, number: int, way: str) -> None:
    images = load(f"npz:{pictures(old.parent)}")
    later, study = with_more_to_test(images), Store.open(old)
    if number == FORMAT:
        study.accept(images)
    samples, opened = study.samples(), study.note("openings")
    if way == "accept":
        study.accept(later)
    else:
        study = Store.create(old, study.settings.of_today(later), images=later)
    for now in (study, Store.open(old)):
        s = now.settings
        assert (s.data, s.test, s.format) == (images.data_hash, later.test_hash, FORMAT)
        assert now.samples().frame.drop(columns="data").equals(samples.frame.drop(columns="data"))
        assert now.open_requests() == []
        assert now.note("openings") == [{**each, "split": images.test_hash} for each in opened]
    with pytest.raises(StudyError, match="others than when the study was made"):
        Store.open(old).accept(images)


def test_a_crash_while_the_test_split_is_replaced_is_made_good(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = load(f"npz:{pictures(old.parent)}")
    later, study = with_more_to_test(images), Store.open(old)
    opened = study.note("openings")
    write = study._storage.set_study_user_attr

    def killed(study_id: int, name: str, value: Any) -> None:
        if name == "cpmodel:settings":
            raise KeyboardInterrupt
        write(study_id, name, value)

    monkeypatch.setattr(study._storage, "set_study_user_attr", killed)
    with pytest.raises(KeyboardInterrupt):
        study.accept(later)
    after = Store.open(old)
    assert after.settings.format == 1
    after.accept(later)
    assert after.settings.test == later.test_hash
    assert after.note("openings") == [{**each, "split": images.test_hash} for each in opened]


def test_a_newer_study_is_refused(old: Path) -> None:
    study = Store.open(old)
    kept = study._storage.get_study_user_attrs(study._study_id)["cpmodel:settings"]
    study.keep("settings", {**kept, "format": FORMAT + 1})
    with pytest.raises(
        StudyError, match=r"made by a newer cpmodel: expected format 2 or older, got"
    ) as caught:
        Store.open(old)
    assert "\n" not in str(caught.value)
    assert str(old) in str(caught.value)


def test_what_format_1_said_of_parents_is_read(old: Path) -> None:
    """A parent was a field of the request that nothing heeded; any text was a purpose."""
    study = Store.open(old)
    where = dict(study.settings.space.baseline)
    queue = [
        {"configuration": where, "seed": 77, "purpose": "prune", "parent": "0123456789abcdef"},
        {"configuration": where, "seed": 78, "purpose": "verify", "parent": ""},
    ]
    study.keep("queue", queue)
    assert study.enqueue([]) == 2
    again = Store.open(old)
    wanted = Request(where, 78, Purpose.VERIFY)
    # nothing can train the first one, so it is left where it is
    assert again.open_requests() == [wanted]
    claim = again.claim()
    assert claim is not None
    assert claim.request == wanted
    assert again.claim() is None
    pruned = Request(where, 77, Purpose.DESIGN, Start("pruned", "0123456789abcdef"))
    assert again.weights_of(pruned) != again.weights_of(replace(pruned, start=Start()))


def test_the_hashes_of_the_images_are_those_of_the_asset(tmp_path: Path) -> None:
    images = load(f"npz:{make_images(tmp_path / 'images.npz')}")
    assert np.bincount(images.test.labels).tolist() == [24, 24, 24]
    assert images.data_hash != images.test_hash
