"""What a user holds: a study and a table, their options and objects; what is read and fitted only once."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from inspect import getdoc, signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_images import make_images

import cpmodel
from cpmodel import datasets, registry
from cpmodel.errors import BadInputError, StudyError
from cpmodel.families.plain import PlainFamily
from cpmodel.metrics import Balanced
from cpmodel.pipeline import fitting
from cpmodel.pipeline import material as materials
from cpmodel.pipeline import project as projects
from cpmodel.pipeline.options import Effort, Goal
from cpmodel.pipeline.stages import read_precision_fit
from cpmodel.recipe import Recipe
from cpmodel.study import takes
from cpmodel.training.trainer import Trainer

SMALL: dict[str, Any] = {"values": {"f": (2, 4), "s": (6, 8), "k": (2,), "l": (1,)}, "recipe": {"epochs": 1}}


@pytest.fixture(scope="module")
def images_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("images") / "images.npz")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(
        "f,precision,macs,ms\n" + "".join(f"{f},{1 - 1 / f:.4f},{f},{2 * f}\n" for f in range(2, 12))
    )
    return path


def test_a_run_reads_and_fits_once(
    small_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(small_study, tmp_path / "study")
    asked: dict[str, Any] = {"target": 0.5, "budget": 14, "workers": 1, "measured": 5}
    first = cpmodel.open(folder).run(**asked)
    calls: Counter[str] = Counter()

    def counted(module: Any, name: str, called: Callable[..., str]) -> None:
        original = getattr(module, name)

        def call(*given: Any, **keywords: Any) -> Any:
            calls[called(*given, **keywords)] += 1
            return original(*given, **keywords)

        monkeypatch.setattr(module, name, call)

    counted(projects, "read_costs", lambda *_, **__: "costs.csv")
    counted(projects, "load_again", lambda *_, **__: "images")
    counted(materials, "fit_precision", lambda _, name, *__, **___: f"P(T) {name}")
    counted(fitting, "cross_validate", lambda model, *_, **__: f"folds of {model.name}")
    # a decision needs a fit, but not how well it foresees
    cpmodel.open(folder).optimize(target=0.5)
    assert calls == {"costs.csv": 1, "P(T) auto": 1}
    calls.clear()
    monkeypatch.setattr(Trainer, "evaluate", lambda *_, **__: pytest.fail("the test split was opened again"))
    again = cpmodel.open(folder).run(**asked)
    once = ["costs.csv", "images", "P(T) auto", "P(T) explinear", "folds of auto", "folds of explinear"]
    assert calls == dict.fromkeys(once, 1)
    assert again.grounds.model["cv_relative_error"] > 0
    assert (again.trainings, again.choice.plain) == (first.trainings, first.choice.plain)


def test_a_saved_fit_is_read_back(small_study: Path, tmp_path: Path) -> None:
    study = cpmodel.open(shutil.copytree(small_study, tmp_path / "study"))
    fits = study.fit()
    space, model = read_precision_fit(study.folder / "fit.json")
    assert space == study.project.space
    X = space.filled(space.candidates())
    np.testing.assert_array_equal(model.predict(X), fits.precision.model.predict(X))
    (study.folder / "fit.json").write_text(json.dumps({"space": []}))
    with pytest.raises(BadInputError, match="not a fit"):
        read_precision_fit(study.folder / "fit.json")


def test_nothing_is_written_before_something_can_be_trained(images_file: Path, tmp_path: Path) -> None:
    study = cpmodel.open(tmp_path / "study", dataset=f"npz:{images_file}", **SMALL)
    for wrong in (
        lambda: study.run(target=0.7, complexity="beauty"),
        lambda: study.run(target=0.7, budget=3),
        lambda: study.run(target=0.7, device="abacus"),
        lambda: study.curve(low=0.5, high=0.7, budget=3),
        lambda: study.sample(design="beauty"),
        lambda: study.sample(vary=["beauty"]),
        lambda: study.verify(target=0.7),
        lambda: study.fit(),
        lambda: study.export(),
    ):
        with pytest.raises(BadInputError):
            wrong()
    assert not (tmp_path / "study").exists()


def test_what_is_there_goes_on_and_other_settings_are_refused(small_study: Path) -> None:
    study = cpmodel.open(small_study)
    assert study.answer() is not None
    assert len(study.samples()) == len(study.project.study.samples())
    with pytest.raises(StudyError, match="another seed: expected 0"):
        cpmodel.open(small_study, seed=3)
    with pytest.raises(BadInputError, match=r"open: option sead: expected one of dataset, .*, folder"):
        cpmodel.open(small_study, sead=3)


def test_objects_do_as_well_as_names(images_file: Path, tmp_path: Path) -> None:
    images = datasets.load(f"npz:{images_file}")
    recipe = Recipe(epochs=1, batch_size=32, augment=())
    study = cpmodel.open(
        tmp_path / "study",
        dataset=images,
        family=PlainFamily(),
        metric=Balanced(),
        recipe=recipe,
        values=SMALL["values"],
    )
    samples = study.sample(budget=2, workers=1)
    assert len(samples.usable) == 2
    settings = study.project.study.settings
    assert (settings.family, settings.metric, settings.recipe) == ("plain", "balanced", recipe)
    assert settings.data == images.data_hash


def test_classes_that_no_other_process_finds_are_refused(images_file: Path, tmp_path: Path) -> None:
    class Mine(PlainFamily):
        name = "mine"

    with pytest.raises(BadInputError, match=r"family mine: expected a class of a module"):
        cpmodel.open(tmp_path / "study", dataset=f"npz:{images_file}", family=Mine())
    assert registry.name_of("families", PlainFamily()) == "plain"


def test_a_field_of_the_recipe_is_searched(images_file: Path, tmp_path: Path) -> None:
    """The network is the same for every length of training, which the records and the models know."""
    study = cpmodel.open(tmp_path / "study", dataset=f"npz:{images_file}", axes={"epochs": (1, 3)}, **SMALL)
    samples = study.sample(design="grid", workers=1)
    space = study.project.space
    assert space.names == ("f", "s", "k", "l", "epochs")
    assert space.baseline == {"f": 4, "s": 8, "k": 2, "l": 1, "epochs": 1}
    assert len(samples) == 8
    lengths = [len(json.loads(curve)) for curve in samples.frame["curve"]]
    assert lengths == samples.frame["epochs"].tolist()
    assert len(set(samples.frame["recipe"])) == 2
    material = study.material()
    X = space.candidates()
    np.testing.assert_array_equal(material.effort(X), material.computed(X)["macs"] * X[:, -1])
    choice = study.optimize(target=0.4)
    assert choice.best.configuration["epochs"] in (1, 3)
    with pytest.raises(BadInputError, match="axis beauty"):
        cpmodel.open(tmp_path / "other", dataset=f"npz:{images_file}", axes={"beauty": (1, 2)})


def test_a_table_goes_through_the_same_stages(table: Path) -> None:
    measured = cpmodel.read(table)
    assert measured.fit(model="logpower").precision.name == "logpower"
    choice = measured.optimize(target=0.8)
    assert choice.complexity == "macs"
    assert choice.notes[0].startswith("complexity is column 'macs'; --complexity chooses another (ms)")
    assert measured.optimize(target=0.8, complexity="ms").notes[:1] != choice.notes[:1]
    assert measured.report(target=0.8) == table.with_suffix(".html")
    with pytest.raises(BadInputError, match="nothing there"):
        cpmodel.read(table.with_name("none.csv"))


class Thing:
    @takes(Goal, Effort, budget=7)
    def work(self, goal: Goal, effort: Effort, name: str = "x") -> tuple[Goal, Effort, str]:
        """Do it."""
        return goal, effort, name


def test_a_function_takes_the_fields_of_its_groups() -> None:
    goal, effort, name = Thing().work(target=0.9, workers=2)
    assert (goal, effort, name) == (Goal(target=0.9), Effort(budget=7, workers=2), "x")
    assert Thing().work("y", target=0.9, budget=3)[1:] == (Effort(budget=3), "y")
    with pytest.raises(
        BadInputError, match=r"^work: option tolarance: expected one of complexity, .*, name$"
    ):
        Thing().work(target=0.9, tolarance=0.1)


def test_its_signature_and_help_name_the_fields() -> None:
    known = signature(Thing.work).parameters
    assert [*known][:3] == ["self", "name", "complexity"]
    assert known["budget"].default == 7
    assert known["target"].annotation == "float | None"
    assert "tolerance\n    Stop when" in (getdoc(Thing.work) or "")
