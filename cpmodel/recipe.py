"""How to train: everything that decides a training but the configuration, the data and the seed."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from cpmodel.errors import BadInputError

Optimizer = Literal["adam", "adamw", "nadam", "radam", "rmsprop", "adadelta", "sgd"]
Schedule = Literal["one-cycle", "cosine", "step", "constant"]
Augmentation = Literal["flip", "shift", "cutout"]


@dataclass(frozen=True)
class Recipe:
    """A training recipe; its `hash` is part of a sample's identity.

    Parameters
    ----------
    optimizer, learning_rate, momentum, weight_decay
        `learning_rate` is the peak of the schedule. `momentum` is beta_1 for the Adam family.
    schedule, warmup
        `warmup` is the fraction of all steps in which the rate rises to its peak, in [0, 1).
    epochs, batch_size
        An epoch is one pass over the training split; the last, smaller batch is left out unless it is all.
    augment : tuple
        Any of ``flip`` (left-right, half of the images; not for digits), ``shift`` (up to a fourteenth of the
        width, zeros come in), ``cutout`` (a square of a quarter of the width goes gray).
    label_smoothing : float
        In [0, 1).
    patience : int or None
        Stop after so many epochs without a better validation precision; None trains to the end.

    Examples
    --------
    >>> Recipe().hash == Recipe(epochs=6).hash != Recipe(epochs=7).hash
    True
    """

    optimizer: Optimizer = "adamw"
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.01
    schedule: Schedule = "one-cycle"
    warmup: float = 0.25
    epochs: int = 6
    batch_size: int = 128
    augment: tuple[Augmentation, ...] = ("flip",)
    label_smoothing: float = 0.0
    patience: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "augment", tuple(sorted(set(self.augment))))
        choices = {"optimizer": Optimizer, "schedule": Schedule}
        for name, kind in choices.items():
            if getattr(self, name) not in kind.__args__:  # type: ignore[attr-defined]
                raise BadInputError(
                    f"recipe {name}",
                    expected="one of " + " ".join(kind.__args__),  # type: ignore[attr-defined]
                    got=getattr(self, name),
                )
        for augmentation in self.augment:
            if augmentation not in Augmentation.__args__:  # type: ignore[attr-defined]
                raise BadInputError(
                    "recipe augment",
                    expected="any of " + " ".join(Augmentation.__args__),  # type: ignore[attr-defined]
                    got=augmentation,
                )
        for name in ("learning_rate", "momentum", "weight_decay", "warmup", "label_smoothing"):
            number = getattr(self, name)
            real = isinstance(number, (int, float)) and not isinstance(number, bool)
            if not (real and abs(number) <= sys.float_info.max):
                raise BadInputError(f"recipe {name}", expected="a finite number", got=repr(number))
            object.__setattr__(self, name, float(number))  # 1 and 1.0 are one recipe, with one hash
        for name in ("warmup", "label_smoothing", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise BadInputError(
                    f"recipe {name}", expected="a fraction in [0, 1)", got=getattr(self, name)
                )
        if not self.learning_rate > 0:
            raise BadInputError("recipe learning_rate", expected="a positive number", got=self.learning_rate)
        if not self.weight_decay >= 0:
            raise BadInputError("recipe weight_decay", expected="zero or more", got=self.weight_decay)
        for name in ("epochs", "batch_size", "patience"):
            number = getattr(self, name)
            if number is None and name == "patience":
                continue
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise BadInputError(f"recipe {name}", expected="a whole number, 1 or more", got=number)

    @classmethod
    def default(cls, train_images: int, **changes: Any) -> Recipe:
        """The recipe used when none is given: 6 epochs, or more where they would be under 450 steps.

        Parameters
        ----------
        train_images : int
            Size of the training split.
        **changes
            Any field of the recipe.
        """
        recipe = cls.from_dict({"batch_size": min(128, max(16, train_images // 16)), **changes})
        steps = max(1, train_images // recipe.batch_size)
        return recipe if "epochs" in changes else replace(recipe, epochs=max(6, math.ceil(450 / steps)))

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that differ when any field differs."""
        canonical = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return {**asdict(self), "augment": list(self.augment)}

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_dict` described; fields left out take their defaults."""
        unknown = sorted(set(description) - {f.name for f in fields(cls)})
        if unknown:
            raise BadInputError(
                "recipe", expected="only " + ", ".join(f.name for f in fields(cls)), got=", ".join(unknown)
            )
        given = dict(description)
        if "augment" in given:
            given["augment"] = tuple(given["augment"])
        return cls(**given)
