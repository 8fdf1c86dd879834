"""What the validation precision after each epoch decides: the rate, the end, the weights that are kept."""

from __future__ import annotations

from torch import Tensor, nn

from cpmodel.recipe import Recipe


class Watched:
    """Looks at the validation precision after each epoch of one training, as its recipe asks."""

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        self._network, self._recipe = network, recipe
        self._best, self._kept = -1.0, dict[str, Tensor]()
        self._highest = recipe.floor  # what `patience` has to see bettered
        self._waited = self._since_fall = 0

    def after(self, precision: float) -> float:
        """Take notice of one more epoch; returns what the learning rate is multiplied by."""
        recipe = self._recipe
        self._waited = 0 if precision > self._highest else self._waited + 1
        self._highest = max(self._highest, precision)
        self._since_fall = 0 if precision > self._best else self._since_fall + 1
        if precision > self._best:
            self._best = precision
            if recipe.best:
                self._kept = {name: t.detach().clone() for name, t in self._network.state_dict().items()}
        if recipe.plateau is None or self._since_fall < recipe.plateau:
            return 1.0
        self._since_fall = 0
        return recipe.plateau_factor

    @property
    def over(self) -> bool:
        """Whether the precision has not got better for so long that the training ends."""
        return self._recipe.patience is not None and self._waited >= self._recipe.patience

    def restored(self, precision: float) -> bool:
        """Put the best weights back, if they are better than those at the end, whose precision is given."""
        if not self._kept or precision >= self._best:
            return False
        self._network.load_state_dict(self._kept)
        return True
