"""What a batch of images undergoes at random: drawn on the processor, done where the images are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cpmodel.recipe import Recipe


def draw(shape: Sequence[int], recipe: Recipe, generator: torch.Generator) -> list[Tensor]:
    """Of a batch, each of shape (n,): whether flipped; shifts down, right; top, left of what is cut out."""
    n, _, h, w = shape
    drawn = []
    if "flip" in recipe.augment:
        drawn.append(torch.rand(n, generator=generator) < 0.5)
    if "shift" in recipe.augment:
        reach = max(1, w // 14)
        drawn += [torch.randint(0, 2 * reach + 1, (n,), generator=generator) for _ in range(2)]
    if "cutout" in recipe.augment:
        side = max(1, w // 4)
        drawn += [torch.randint(0, size, (n,), generator=generator) - side // 2 for size in (h, w)]
    return drawn


def changed(images: Tensor, recipe: Recipe, drawn: Sequence[Tensor]) -> Tensor:
    """The batch, uint8, shape (n, c, h, w), after what was drawn for it and lies on its device."""
    device, left = images.device, iter(drawn)  # nothing here waits for the device
    n, _, h, w = images.shape
    if "flip" in recipe.augment:
        flip = next(left).bool()
        images = torch.where(flip[:, None, None, None], images.flip(3), images)
    if "shift" in recipe.augment:
        reach = max(1, w // 14)
        padded = F.pad(images, (reach, reach, reach, reach))
        rows = next(left)[:, None] + torch.arange(h, device=device)
        columns = next(left)[:, None] + torch.arange(w, device=device)
        index = torch.arange(n, device=device)[:, None, None]
        # advanced indices on both sides of the channel slice put it last: NHWC, which channels-last wants
        images = padded[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if "cutout" in recipe.augment:
        side = max(1, w // 4)
        first_row, first_column = next(left)[:, None], next(left)[:, None]
        y, x = torch.arange(h, device=device), torch.arange(w, device=device)
        down = (y >= first_row) & (y < first_row + side)
        across = (x >= first_column) & (x < first_column + side)
        images = images.masked_fill((down[:, :, None] & across[:, None, :])[:, None], 128)
    return images


def augmented(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """A batch on the processor with the recipe's augmentations, drawn anew for each image."""
    return changed(images, recipe, draw(images.shape, recipe, generator))
