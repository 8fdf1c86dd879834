"""The count on a built network: by hand, of functions as of modules, and what it cannot see."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from cpmodel.families.count import count


def test_count_by_hand_and_leaves_the_network_alone() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(72, 5),
    )
    network[0].bias.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    params = 8 * 2 * 9 + 16 + 365
    found = count(network, (4, 8, 8))
    assert found.costs == {
        "macs": 8 * 36 * 2 * 9 + 360,
        "conv_macs": 8 * 36 * 2 * 9,
        "dense_macs": 360,
        "params": params,
        "weight_bytes": 4 * (params + 8 + 16) + 8,
        "activation_elements": 8 * 36 + 8 * 9 + 5,
        "activation_peak_elements": 4 * 64 + 8 * 36,
        "layers": 2,
    }
    assert found.unseen == ()
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


class Functional(nn.Module):
    """The network above, of functions alone, with paddings and a pooling to one pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(8, 2, 3, 3))
        self.table = nn.Parameter(torch.zeros(5, 8))

    def forward(self, images: Tensor) -> Tensor:
        maps = functional.conv2d(functional.pad(images, (0, 1, 0, 1)), self.kernel, groups=2)
        maps = functional.relu(functional.max_pool2d(maps, 2))
        pooled = functional.adaptive_avg_pool2d(maps, 1).flatten(1)
        return functional.linear(pooled, self.table)


def test_functions_count_as_modules_do() -> None:
    found = count(Functional(), (4, 8, 8))
    assert found.unseen == ()
    assert found.costs == {
        "macs": 8 * 49 * 2 * 9 + 40,
        "conv_macs": 8 * 49 * 2 * 9,
        "dense_macs": 40,
        "params": 144 + 40,
        "weight_bytes": 4 * 184,
        "activation_elements": 8 * 49 + 8 * 9 + 8 + 5,
        "activation_peak_elements": 4 * 64 + 8 * 49,  # the padding is a part of the convolution
        "layers": 2,
    }


def test_attention_and_products_of_matrices_count() -> None:
    class Attention(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            words = images.flatten(2).transpose(1, 2)  # 64 words of 4 numbers
            words = functional.scaled_dot_product_attention(words, words, words)
            return torch.einsum("bwc,bwd->bcd", words, words)

    found = count(Attention(), (4, 8, 8))
    assert found.costs["macs"] == found.costs["dense_macs"] == 2 * 64 * 4 * 64 + 4 * 64 * 4
    assert found.costs["conv_macs"] == found.costs["layers"] == found.costs["params"] == 0
    assert found.unseen == ()


def test_what_nobody_can_count_is_named() -> None:
    class Hidden(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            row = images.flatten(1)
            outer = (row[:, :, None] * row[:, None, :]).sum(2)  # a product in disguise
            waves = torch.fft.rfft(images).real
            return outer.mean() + functional.interpolate(waves, scale_factor=2, mode="bilinear").sum()

    found = count(Hidden(), (2, 4, 4))
    assert found.costs["macs"] == 0
    assert found.unseen == ("_fft_r2c", "mul", "upsample_bilinear2d")
    squeeze = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Hardswish(), nn.GroupNorm(2, 4), nn.Dropout())
    assert count(squeeze, (3, 6, 6)).unseen == ()
