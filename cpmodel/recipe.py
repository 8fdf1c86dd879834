"""How to train: everything that decides a training but the configuration, the data and the seed."""

from __future__ import annotations

import hashlib
import json
import math
import sys
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from cpmodel.codec import dump
from cpmodel.errors import BadInputError

Optimizer = Literal["adam", "adamw", "nadam", "radam", "rmsprop", "adadelta", "sgd"]
Schedule = Literal["one-cycle", "cosine", "step", "constant"]
Augmentation = Literal["flip", "shift", "cutout"]

_LOOKS = 20  # epochs at most, where a recipe says its steps but no epochs
_NUMBERS = (
    *("learning_rate", "momentum", "weight_decay", "warmup", "label_smoothing"),
    *("floor", "plateau_factor", "conv_std"),
)


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
    floor : float
        For `patience`: an epoch below this precision is no better one; in [0, 1).
    best : bool
        Whether the weights of the epoch with the best validation precision are kept, not those of the last.
    plateau, plateau_factor : int or None, float
        After so many epochs without a better validation precision the learning rate is multiplied by the
        factor, in (0, 1).
    steps : int or None
        Steps in all, a multiple of the epochs; these are then no passes over the images, but the times at
        which validation precision is looked at.
    conv_std : float or None
        Weights and biases of convolutions begin as normal numbers of this standard deviation about 0.

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
    floor: float = 0.0
    best: bool = False
    plateau: int | None = None
    plateau_factor: float = 0.5
    steps: int | None = None
    conv_std: float | None = None

    def __post_init__(self) -> None:
        listed = isinstance(self.augment, (list, tuple, set, frozenset))
        if not (listed and all(isinstance(name, str) for name in self.augment)):
            raise BadInputError("recipe augment", expected="a list of texts", got=repr(self.augment))
        object.__setattr__(self, "augment", tuple(sorted(set(self.augment))))
        for name, known, given in (
            ("optimizer", get_args(Optimizer), (self.optimizer,)),
            ("schedule", get_args(Schedule), (self.schedule,)),
            ("augment", get_args(Augmentation), self.augment),
        ):
            for wrong in (value for value in given if value not in known):
                few = "any" if name == "augment" else "one"
                raise BadInputError(f"recipe {name}", expected=f"{few} of " + " ".join(known), got=wrong)
        for name in _NUMBERS:
            number = getattr(self, name)
            if number is None and name == "conv_std":
                continue
            real = isinstance(number, (int, float)) and not isinstance(number, bool)
            if not (real and abs(number) <= sys.float_info.max):
                raise BadInputError(f"recipe {name}", expected="a finite number", got=repr(number))
            object.__setattr__(self, name, float(number))  # 1 and 1.0 are one recipe, with one hash
        for name in ("warmup", "label_smoothing", "momentum", "floor"):
            if not 0 <= (number := getattr(self, name)) < 1:
                raise BadInputError(f"recipe {name}", expected="a fraction in [0, 1)", got=number)
        for name in ("learning_rate", "conv_std"):
            number = getattr(self, name)
            if number is not None and not number > 0:
                raise BadInputError(f"recipe {name}", expected="a positive number", got=number)
        if not 0 < self.plateau_factor < 1:
            expected = "a fraction in (0, 1)"
            raise BadInputError("recipe plateau_factor", expected=expected, got=self.plateau_factor)
        if not isinstance(self.best, bool):
            raise BadInputError("recipe best", expected="true or false", got=repr(self.best))
        if not self.weight_decay >= 0:
            raise BadInputError("recipe weight_decay", expected="zero or more", got=self.weight_decay)
        for name in ("epochs", "batch_size", "patience", "plateau", "steps"):
            number = getattr(self, name)
            never = number is None and name in ("patience", "plateau", "steps")
            if not never and (type(number) is not int or number < 1):
                raise BadInputError(f"recipe {name}", expected="a whole number, 1 or more", got=number)

        if self.steps is not None and self.steps % self.epochs:
            expected = f"a multiple of the {self.epochs} epochs"
            raise BadInputError("recipe steps", expected=expected, got=self.steps)

    @property
    def watches_validation(self) -> bool:
        """Whether validation precision decides how a training goes on, or what comes of it."""
        return self.best or self.patience is not None or self.plateau is not None

    @classmethod
    def default(cls, train_images: int, **changes: Any) -> Recipe:
        """The recipe used when none is given: 6 epochs, or more where they would be under 450 steps.

        Of a recipe with steps these are as many looks at validation as divide them, 20 or fewer.

        Parameters
        ----------
        train_images : int
            Size of the training split.
        **changes
            Any field of the recipe.
        """
        names = [f.name for f in fields(cls)]
        unknown = sorted(set(changes) - set(names))
        if unknown:
            raise BadInputError("recipe", expected="only " + ", ".join(names), got=", ".join(unknown))
        changes = {"batch_size": min(128, max(16, train_images // 16)), **changes}
        if isinstance(steps := changes.get("steps"), int) and "epochs" not in changes:
            changes["epochs"] = next((n for n in range(_LOOKS, 1, -1) if steps % n == 0), 1)
        recipe = cls(**changes)
        steps = max(1, train_images // recipe.batch_size)
        return recipe if "epochs" in changes else replace(recipe, epochs=max(6, math.ceil(450 / steps)))

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits of what differs from the defaults; one more field changes none."""
        different = json.dumps(dump(self, omit_defaults=True), sort_keys=True)
        return hashlib.sha256(different.encode()).hexdigest()[:12]


def read_recipe(path: Path) -> dict[str, Any]:
    """The fields of a recipe that a TOML file tells; its ``not_stated``, a list of texts, is for readers.

    Parameters
    ----------
    path : like those in ``data/recipes``, each the recipe of a published study; ``not_stated`` is what the
        study does not say
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(f"cannot read: {error.strerror}", where=str(path)) from error
    except ValueError as error:  # of the encoding, or of TOML
        raise BadInputError("recipe", expected="a TOML file", got=str(error), where=str(path)) from error
    missing = found.pop("not_stated", [])
    if not (isinstance(missing, list) and all(isinstance(text, str) for text in missing)):
        raise BadInputError("not_stated", expected="a list of texts", got=repr(missing), where=str(path))
    try:
        Recipe.default(1, **found)
    except BadInputError as error:
        raise BadInputError(str(error), where=str(path)) from error
    return found
