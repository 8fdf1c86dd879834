"""What all samples of a study share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cpmodel.errors import BadInputError
from cpmodel.recipe import Recipe
from cpmodel.space import Space


@dataclass(frozen=True)
class Settings:
    """What all samples of a study share.

    Parameters
    ----------
    family : str
    dataset : str
        As the user named it.
    data : str
        Hash of the images, labels and splits.
    image_shape : tuple of int
        Height, width, channels.
    class_names : tuple of str
    split_sizes : mapping
        Images in each split.
    space : Space
    recipe : Recipe
    seed : int
        All randomness of the study comes from it; zero or more.
    """

    family: str
    dataset: str
    data: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    split_sizes: Mapping[str, int]
    space: Space
    recipe: Recipe
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise BadInputError("seed", expected=f"a whole number from 0 to {2**32 - 1}", got=self.seed)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return {
            "family": self.family,
            "dataset": self.dataset,
            "data": self.data,
            "image_shape": list(self.image_shape),
            "class_names": list(self.class_names),
            "split_sizes": dict(self.split_sizes),
            "space": self.space.to_dict(),
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Settings:
        """The settings that `to_dict` described."""
        height, width, channels = fields["image_shape"]
        return cls(
            fields["family"],
            fields["dataset"],
            fields["data"],
            (height, width, channels),
            tuple(fields["class_names"]),
            dict(fields["split_sizes"]),
            Space.from_dict(fields["space"]),
            Recipe.from_dict(fields["recipe"]),
            int(fields["seed"]),
        )
