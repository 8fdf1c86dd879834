"""What validation precision decides, on courses written by hand."""

from __future__ import annotations

import torch
from torch import nn

from cpmodel.recipe import Recipe
from cpmodel.training.watched import Watched


def factors(recipe: Recipe, course: list[float]) -> list[float]:
    watched = Watched(nn.Linear(1, 1), recipe)
    return [watched.after(precision) for precision in course]


def test_the_rate_falls_after_a_plateau_and_waits_anew() -> None:
    # best in epoch 2; epochs 3 and 4 without gain; then two more; a tie is no gain
    course = [0.3, 0.5, 0.5, 0.4, 0.45, 0.5, 0.6, 0.55]
    assert factors(Recipe(plateau=2, plateau_factor=0.1), course) == [1, 1, 1, 0.1, 1, 0.1, 1, 1]
    assert factors(Recipe(), course) == [1.0] * 8


def test_the_floor_is_what_patience_has_to_see_bettered() -> None:
    watched = Watched(nn.Linear(1, 1), Recipe(patience=3, floor=0.9))
    over = []
    for precision in (0.5, 0.95, 0.94, 0.93, 0.92):
        watched.after(precision)
        over.append(watched.over)
    assert over == [False, False, False, False, True]
    never = Watched(nn.Linear(1, 1), Recipe(patience=3, floor=0.9))
    for precision in (0.5, 0.6, 0.7):
        never.after(precision)
    assert never.over  # it gained, but stayed below the floor


def test_the_best_weights_come_back() -> None:
    network = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    watched = Watched(network, Recipe(best=True))
    with torch.no_grad():
        for epoch, precision in enumerate((0.3, 0.6, 0.6, 0.5)):
            network[0].weight.fill_(epoch)
            network[1].running_mean.fill_(-epoch)
            watched.after(precision)
        network[0].weight.fill_(9)
    kept = network[0].weight
    assert not watched.restored(0.61)
    assert network[0].weight.item() == 9
    assert watched.restored(0.59)
    assert network[0].weight.item() == 1  # of the first of two as good
    assert network[1].running_mean.item() == -1
    assert network[0].weight is kept  # engines hold the tensors
    assert not Watched(network, Recipe(patience=2)).restored(0.0)
