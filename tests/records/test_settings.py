"""What all samples of a study share, and what of a training follows from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cpmodel.codec import dump, load
from cpmodel.datasets.base import ImageSet, Split
from cpmodel.errors import BadInputError, StudyError
from cpmodel.recipe import Recipe
from cpmodel.records.sample import Request, Sample, Start, identity
from cpmodel.records.settings import FORMAT, Settings, settings_of
from cpmodel.records.store import Store
from cpmodel.space import Condition, Parameter, Space


def part(n: int, seed: int) -> Split:
    noise = np.random.default_rng(seed)
    return Split(noise.integers(0, 256, (n, 4, 4, 1), dtype=np.uint8), np.arange(n) % 2)


IMAGES = ImageSet("made", part(8, 0), part(6, 1), part(4, 2), ("a", "b"))
PLAIN = Space((Parameter("f", (2, 8)), Parameter("l", (1, 2), when=Condition("f", (8,)))))
WITH_AXIS = Space((*PLAIN.parameters, Parameter("epochs", (2, 6), axis=True)))
SETTINGS = Settings.of(IMAGES, "plain", WITH_AXIS, Recipe(batch_size=4))


def test_they_tell_of_the_images() -> None:
    assert (SETTINGS.dataset, SETTINGS.image_shape, SETTINGS.class_names) == ("made", (4, 4, 1), ("a", "b"))
    assert SETTINGS.split_sizes == {"train": 8, "validation": 6, "test": 4}
    assert (SETTINGS.data, SETTINGS.test) == (IMAGES.data_hash, IMAGES.test_hash)
    assert (SETTINGS.metric, SETTINGS.seed, SETTINGS.format) == ("accuracy", 0, FORMAT)
    named = Settings.of(IMAGES, "plain", PLAIN, Recipe(), dataset="npz:x", metric="balanced", seed=3)
    assert (named.dataset, named.metric, named.seed) == ("npz:x", "balanced", 3)


def test_they_take_the_content_of_other_images() -> None:
    old = replace(SETTINGS, format=1, test="", seed=4)
    more = replace(IMAGES, name="other", test=part(7, 3))
    found = old.of_today(more)
    assert (found.data, found.test, found.format) == (IMAGES.data_hash, more.test_hash, FORMAT)
    assert found.split_sizes == {"train": 8, "validation": 6, "test": 7}
    assert replace(found, test="", format=1, split_sizes=SETTINGS.split_sizes) == old


def test_they_come_back_through_json() -> None:
    kept = json.loads(json.dumps(dump(SETTINGS), allow_nan=False))
    assert settings_of(kept, "here") == SETTINGS
    assert kept["format"] == FORMAT


@pytest.mark.parametrize("part_of", ["images", "labels", "groups"])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_each_hash_is_of_its_own_splits(split: str, part_of: str) -> None:
    old = IMAGES.splits[split]
    if part_of == "groups":
        new = replace(old, groups=np.arange(len(old)))
    else:
        array = getattr(old, part_of).copy()
        array[0] ^= 1
        new = replace(old, **{part_of: array})
    changed = replace(IMAGES, **{split: new})
    assert (changed.data_hash == IMAGES.data_hash) == (split == "test")
    assert (changed.test_hash == IMAGES.test_hash) == (split != "test")


def test_classes_are_in_both_hashes() -> None:
    other = replace(IMAGES, class_names=("a", "c"))
    assert other.data_hash != IMAGES.data_hash
    assert other.test_hash != IMAGES.test_hash


def test_an_axis_changes_the_recipe_of_its_trainings() -> None:
    assert SETTINGS.recipe_for({"f": 2, "epochs": 2}) == Recipe(batch_size=4, epochs=2)
    assert SETTINGS.recipe_for({"f": 2, "epochs": 6}) is not SETTINGS.recipe_for({"f": 2, "epochs": 2})
    plain = replace(SETTINGS, space=PLAIN)
    assert plain.recipe_for({"f": 2}) is plain.recipe


def test_an_axis_that_is_no_field_of_the_recipe_is_refused() -> None:
    space = Space((Parameter("f", (2, 8)), Parameter("warmth", (1, 2), axis=True)))
    with pytest.raises(BadInputError) as caught:
        replace(SETTINGS, space=space)
    said = "axis warmth: expected the name of a field of the recipe: optimizer, learning_rate, momentum"
    assert str(caught.value).startswith(said)


def test_an_axis_with_a_value_that_no_recipe_has_is_refused() -> None:
    space = Space((Parameter("f", (2, 8)), Parameter("warmup", (0.1, 1.5), axis=True)))
    with pytest.raises(BadInputError, match=r"recipe warmup: expected a fraction in \[0, 1\), got 1.5"):
        replace(SETTINGS, space=space)


@pytest.mark.parametrize(("seed", "good"), [(-1, False), (0, True), (2**32 - 1, True), (2**32, False)])
def test_seeds(seed: int, good: bool) -> None:
    if good:
        assert replace(SETTINGS, seed=seed).seed == seed
    else:
        with pytest.raises(
            BadInputError, match=f"seed: expected a whole number from 0 to 4294967295, got {seed}"
        ):
            replace(SETTINGS, seed=seed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format": FORMAT + 1, "new": 1},
            "there: made by a newer cpmodel: expected format 2 or older, got format 3",
        ),
        (
            {"recipe": {"epochs": "many"}},
            "there: settings of another kind: recipe.epochs: expected a whole number",
        ),
        ({"seed": -1}, "there: settings of another kind: seed: expected a whole number from 0"),
        ({"image_shape": [4, 4]}, "there: settings of another kind: image_shape: expected a list of 3"),
    ],
)
def test_what_is_no_settings(change: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError) as caught:
        settings_of({**dump(SETTINGS), **change}, "there")
    assert message in str(caught.value)


def test_trainings_that_differ_by_an_axis_are_different_samples(tmp_path: Path) -> None:
    study = Store.create(tmp_path / "study", SETTINGS, images=IMAGES)
    requests = [Request({"f": 2, "epochs": epochs}, 0) for epochs in (2, 6)]
    assert study.enqueue(requests) == 2
    assert len({study.weights_of(r) for r in requests}) == 2
    while (claim := study.claim()) is not None:
        study.record(claim, Sample(claim.request.configuration, 0, 0.5, recipe="of no meaning"))
    table = study.samples()
    assert table.frame["epochs"].tolist() == [2, 6]
    assert table.frame["recipe"].tolist() == [Recipe(batch_size=4, epochs=n).hash for n in (2, 6)]
    assert set(table.frame["data"]) == {IMAGES.data_hash}


# names that are on people's disks: whatever changes them makes every study train again


def test_identities_stay_what_they_are() -> None:
    known = {"family": "plain", "data": "3e90e15fd5b0", "recipe": "44136fa355b3"}
    assert identity({"s": 28, "f": 64, "k": 5, "l": 3}, 0, **known) == "63a5b523fcee3384"
    pruned = identity({"f": 64}, 1, start=Start("pruned", "0123456789abcdef"), **known)
    assert pruned == "4c1ee326ea3c43eb"


def test_recipes_stay_what_they_are() -> None:
    assert Recipe().hash == "44136fa355b3"
    assert Recipe(epochs=7, augment=()).hash == "fbbd35fe9164"
    # a hash tells what differs from these: whoever changes one of them changes what old hashes mean
    assert dump(Recipe()) == {
        "optimizer": "adamw",
        "learning_rate": 0.01,
        "momentum": 0.9,
        "weight_decay": 0.01,
        "schedule": "one-cycle",
        "warmup": 0.25,
        "epochs": 6,
        "batch_size": 128,
        "augment": ["flip"],
        "label_smoothing": 0.0,
        "patience": None,
        "floor": 0.0,
        "best": False,
        "plateau": None,
        "plateau_factor": 0.5,
        "steps": None,
        "conv_std": None,
    }
    assert load(Recipe, {}) == Recipe()
