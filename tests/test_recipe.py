from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmodel.codec import dump, load
from cpmodel.errors import BadInputError
from cpmodel.recipe import Augmentation, Optimizer, Recipe, Schedule, read_recipe

STUDIES = Path(__file__).parents[1] / "data" / "recipes"
FRACTION = st.floats(0, 1, exclude_max=True)
FEW = settings(max_examples=40, deadline=None)
RECIPES = st.builds(
    Recipe,
    optimizer=st.sampled_from(get_args(Optimizer)),
    learning_rate=st.floats(1e-9, 1e3),
    momentum=FRACTION,
    weight_decay=st.floats(0, 10),
    schedule=st.sampled_from(get_args(Schedule)),
    warmup=FRACTION,
    epochs=st.integers(1, 500),
    batch_size=st.integers(1, 4096),
    augment=st.lists(st.sampled_from(get_args(Augmentation))).map(tuple),
    label_smoothing=FRACTION,
    patience=st.none() | st.integers(1, 50),
    floor=FRACTION,
    best=st.booleans(),
    plateau=st.none() | st.integers(1, 50),
    plateau_factor=st.floats(0.01, 0.99),
    conv_std=st.none() | st.floats(1e-6, 1.0),
)


@FEW
@given(RECIPES)
def test_comes_back_from_json(recipe: Recipe) -> None:
    again = load(Recipe, json.loads(json.dumps(dump(recipe))))
    assert again == recipe
    assert again.hash == recipe.hash


@FEW
@given(RECIPES, RECIPES)
def test_hash_differs_exactly_when_recipes_do(one: Recipe, other: Recipe) -> None:
    assert (one.hash == other.hash) == (one == other)


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": "sgd"},
        {"learning_rate": 0.011},
        {"momentum": 0.8},
        {"weight_decay": 0.0},
        {"schedule": "step"},
        {"warmup": 0.1},
        {"epochs": 7},
        {"batch_size": 64},
        {"augment": ()},
        {"label_smoothing": 0.1},
        {"patience": 3},
        {"floor": 0.5},
        {"best": True},
        {"plateau": 4},
        {"plateau_factor": 0.1},
        {"steps": 600},
        {"conv_std": 0.1},
    ],
)
def test_every_field_counts(change: dict[str, Any]) -> None:
    assert Recipe(**change).hash != Recipe().hash
    assert len(Recipe(**change).hash) == 12


def test_equal_recipes_have_one_hash() -> None:
    assert Recipe(augment=("shift", "flip")).hash == Recipe(augment=("flip", "shift", "flip")).hash
    assert Recipe(learning_rate=1, weight_decay=0).hash == Recipe(learning_rate=1.0, weight_decay=0.0).hash


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"optimizer": "lion"}, "optimizer: expected one of adam adamw .*, got lion"),
        ({"schedule": "linear"}, "schedule: expected one of one-cycle .*, got linear"),
        ({"augment": ("flip", "mixup")}, "augment: expected any of .*, got mixup"),
        ({"learning_rate": 0}, "learning_rate: expected a positive number"),
        ({"learning_rate": -0.1}, "learning_rate: expected a positive number"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a finite number"),
        ({"learning_rate": float("inf")}, "learning_rate: expected a finite number"),
        ({"learning_rate": 10**400}, "learning_rate: expected a finite number"),
        ({"learning_rate": "fast"}, "learning_rate: expected a finite number, got 'fast'"),
        ({"learning_rate": True}, "learning_rate: expected a finite number, got True"),
        ({"weight_decay": -1}, "weight_decay: expected zero or more"),
        ({"warmup": 1.0}, r"warmup: expected a fraction in \[0, 1\)"),
        ({"momentum": "0.9"}, "momentum: expected a finite number"),
        ({"label_smoothing": float("nan")}, "label_smoothing"),
        ({"epochs": 0}, "epochs: expected a whole number, 1 or more, got 0"),
        ({"epochs": 2.5}, "epochs: expected a whole number"),
        ({"epochs": True}, "epochs: expected a whole number"),
        ({"epochs": None}, "epochs: expected a whole number"),
        ({"batch_size": "many"}, "batch_size: expected a whole number"),
        ({"patience": 0}, "patience: expected a whole number"),
        ({"augment": "flip"}, "augment: expected a list of texts, got 'flip'"),
        ({"augment": 3}, "augment: expected a list of texts, got 3"),
        ({"plateau": 0}, "plateau: expected a whole number"),
        ({"plateau_factor": 1.0}, r"plateau_factor: expected a fraction in \(0, 1\)"),
        ({"plateau_factor": None}, "plateau_factor: expected a finite number"),
        ({"floor": 1}, r"floor: expected a fraction in \[0, 1\)"),
        ({"best": 1}, "best: expected true or false, got 1"),
        ({"steps": 1.5}, "steps: expected a whole number"),
        ({"steps": 10, "epochs": 3}, "steps: expected a multiple of the 3 epochs, got 10"),
        ({"conv_std": 0}, "conv_std: expected a positive number"),
        ({"conv_std": "wide"}, "conv_std: expected a finite number"),
        ({"speed": 1}, "expected only optimizer, .*, got speed"),
    ],
)
def test_what_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError, match=message) as caught:
        Recipe.default(1000, **wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("images", [1, 20, 300, 5_000, 60_000])
def test_default_trains_long_enough_on_few_images(images: int) -> None:
    recipe = Recipe.default(images)
    steps = max(1, images // recipe.batch_size) * recipe.epochs
    assert recipe.epochs >= 6
    assert steps >= 450
    assert recipe.epochs == 6 or steps - max(1, images // recipe.batch_size) < 450  # and not longer


def test_default_takes_changes() -> None:
    assert Recipe.default(10_000).epochs == 6
    recipe = Recipe.default(100, epochs=2, batch_size=50, optimizer="sgd")
    assert (recipe.epochs, recipe.batch_size, recipe.optimizer) == (2, 50, "sgd")
    assert Recipe.default(100, batch_size=50).epochs == 225
    assert Recipe.default(100, steps=20_000).epochs == 20
    assert Recipe.default(100, steps=21).epochs == 7
    assert Recipe.default(100, steps=23).epochs == 1


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_of_the_studies_can_be_used(path: Path) -> None:
    assert Recipe.default(10_000, **read_recipe(path)).hash != Recipe.default(10_000).hash
    assert "not_stated = [" in path.read_text()


def test_recipes_say_what_their_studies_say() -> None:
    of = {path.stem: Recipe.default(50_000, **read_recipe(path)) for path in STUDIES.glob("*.toml")}
    assert (of["dhingra"].learning_rate, of["dhingra"].batch_size, of["dhingra"].steps) == (1e-4, 50, 20_000)
    narrow = of["narrow"]
    assert (narrow.learning_rate, narrow.batch_size, narrow.epochs) == (0.01, 125, 40)
    assert (narrow.plateau, narrow.plateau_factor, narrow.patience) == (4, 0.5, 10)
    assert (narrow.floor, narrow.best) == (0.98, True)
    assert (of["filter_pruning"].epochs, of["filter_pruning"].learning_rate) == (20, 1e-3)
    assert set(of) == {"dhingra", "narrow", "squeezenet", "filter_pruning"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = ", "recipe: expected a TOML file, got"),
        ("epochs = 0", "epochs: expected a whole number, 1 or more, got 0"),
        ("speed = 3", "recipe: expected only .*, got speed"),
        ("not_stated = 3", "not_stated: expected a list of texts, got 3"),
        ("[optimizer]\nname = 'adam'", "optimizer: expected one of"),
        ("augment = ['flip', 3]", "augment: expected a list of texts"),
    ],
)
def test_what_is_refused_in_a_file(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(BadInputError, match=f"own.toml: .*{message}") as caught:
        read_recipe(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(BadInputError, match=r"none\.toml: cannot read"):
        read_recipe(tmp_path / "none.toml")
