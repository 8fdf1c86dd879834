"""What all samples of a study share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from cpmodel.codec import load
from cpmodel.datasets.base import ImageSet
from cpmodel.errors import BadInputError, StudyError
from cpmodel.recipe import Recipe
from cpmodel.space import Configuration, Parameter, Space

FORMAT = 2  # of all that a study keeps; 1 had no number, and one hash for all three splits


@dataclass(frozen=True)
class Settings:
    """What all samples of a study share.

    A seed out of range and an axis that cannot be trained are refused. Of a study kept in format 1 `data` is
    the hash of all three splits, until its images are at hand.
    """

    dataset: str  # as the user named it
    data: str  # hash of the training and validation images, their labels, groups and classes
    test: str  # hash of the test split, to which the study's openings belong
    image_shape: tuple[int, int, int]  # height, width, channels
    class_names: tuple[str, ...]
    split_sizes: Mapping[str, int]  # images in each split
    family: str
    space: Space  # what is searched; an axis changes the field of the recipe that it is named like
    recipe: Recipe
    metric: str = "accuracy"
    seed: int = 0  # all randomness of the study comes from it
    format: int = FORMAT
    code: str = ""  # see `cpmodel.families.Family.code`

    @classmethod
    def of(
        cls,
        images: ImageSet,
        family: str,
        space: Space,
        recipe: Recipe,
        *,
        dataset: str = "",
        metric: str = "accuracy",
        seed: int = 0,
        code: str = "",
    ) -> Settings:
        """The settings of a study of these images, which are called `dataset` if that is given."""
        return cls(
            dataset=dataset or images.name,
            image_shape=images.image_shape,
            class_names=images.class_names,
            **_content(images),
            family=family,
            space=space,
            recipe=recipe,
            metric=metric,
            seed=seed,
            code=code,
        )

    def of_today(self, images: ImageSet) -> Settings:
        """These settings in today's format, with the hashes and the sizes of these images."""
        return replace(self, **_content(images), format=FORMAT)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise BadInputError("seed", expected=f"a whole number from 0 to {2**32 - 1}", got=self.seed)
        known = [field.name for field in fields(self.recipe)]
        for axis in self._axes:
            if axis.name not in known:
                expected = "the name of a field of the recipe: " + ", ".join(known)
                raise BadInputError(f"axis {axis.name}", expected=expected)
            for value in axis.values:
                self.recipe_for({axis.name: value})

    @property
    def _axes(self) -> list[Parameter]:
        return [p for p in self.space.parameters if p.axis]

    def recipe_for(self, configuration: Configuration) -> Recipe:
        """The recipe of one training: the study's, but for the fields that are axes of its space."""
        changes: dict[str, Any] = {
            axis.name: configuration[axis.name] for axis in self._axes if axis.name in configuration
        }
        return replace(self.recipe, **changes) if changes else self.recipe


def _content(images: ImageSet) -> dict[str, Any]:
    """What settings say of the splits."""
    sizes = {name: len(split) for name, split in images.splits.items()}
    return {"data": images.data_hash, "test": images.test_hash, "split_sizes": sizes}


def settings_of(kept: Mapping[str, Any], where: str) -> Settings:
    """The settings that a study keeps, of this format or of an older one; a newer one is refused."""
    number = kept.get("format")
    if isinstance(number, int) and number > FORMAT:
        wanted = f"format {FORMAT} or older"
        raise StudyError("made by a newer cpmodel", expected=wanted, got=f"format {number}", where=where)
    try:
        return load(Settings, {"test": "", "format": 1, **kept}, what="settings of another kind")
    except BadInputError as error:
        raise StudyError(str(error), where=where) from error
