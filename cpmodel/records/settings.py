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

    Parameters
    ----------
    dataset : str
        As the user named it.
    data : str
        Hash of the training and validation images, their labels, groups and classes.
    test : str
        Hash of the test split, to which the study's openings belong.
    image_shape : tuple of int
        Height, width, channels.
    class_names : tuple of str
    split_sizes : mapping
        Images in each split.
    family : str
    space : Space
        What is searched. An axis named like a field of the recipe changes that field.
    recipe : Recipe
    metric : str
    seed : int
        All randomness of the study comes from it; zero or more.
    format : int
        Of a study kept in format 1, `data` is the hash of all three splits, until its images are at hand.

    Raises
    ------
    BadInputError
        The seed is out of range, or an axis cannot be trained.
    """

    dataset: str
    data: str
    test: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    split_sizes: Mapping[str, int]
    family: str
    space: Space
    recipe: Recipe
    metric: str = "accuracy"
    seed: int = 0
    format: int = FORMAT

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
    ) -> Settings:
        """The settings of a study of these images, which are called `dataset` if that is given."""
        return cls(
            dataset=dataset or images.name,
            data=images.data_hash,
            test=images.test_hash,
            image_shape=images.image_shape,
            class_names=images.class_names,
            split_sizes={name: len(split) for name, split in images.splits.items()},
            family=family,
            space=space,
            recipe=recipe,
            metric=metric,
            seed=seed,
        )

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise BadInputError("seed", expected=f"a whole number from 0 to {2**32 - 1}", got=self.seed)
        known = [field.name for field in fields(self.recipe)]
        for axis in self._axes:
            if axis.name not in known:
                raise BadInputError(
                    f"axis {axis.name}", expected="the name of a field of the recipe: " + ", ".join(known)
                )
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


def settings_of(kept: Mapping[str, Any], where: str) -> Settings:
    """The settings that a study keeps, of this format or of an older one.

    Raises
    ------
    StudyError
        They are of a newer format, or no settings.
    """
    number = kept.get("format", 1)
    if isinstance(number, int) and number > FORMAT:
        wanted = f"format {FORMAT} or older"
        raise StudyError("made by a newer cpmodel", expected=wanted, got=f"format {number}", where=where)
    try:
        return load(Settings, {"test": "", "format": 1, **kept}, what="settings of another kind")
    except BadInputError as error:
        raise StudyError(str(error), where=where) from error
