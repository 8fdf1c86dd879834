"""The plain family: its space, its costs against built networks, its networks against torch's own."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cpmodel.errors import BadInputError
from cpmodel.families import Task, get_family
from cpmodel.families.count import count
from cpmodel.families.modules import EvenConv2d, same_conv
from cpmodel.families.plain import PlainFamily, default_sizes

FAMILY = PlainFamily()
FACES = Task(250, 250, 3, 2)
CLOTHES = Task(28, 28, 1, 10)

configurations = st.fixed_dictionaries(
    {"f": st.integers(1, 12), "s": st.integers(1, 40), "k": st.integers(1, 7), "l": st.integers(1, 5)}
)
tasks = st.builds(
    Task, st.just(64), st.just(64), channels=st.sampled_from([1, 3]), classes=st.integers(2, 20)
)


def costs(configuration: dict[str, int], task: Task) -> dict[str, float]:
    row = [[configuration[name] for name in "fskl"]]
    return {name: float(column[0]) for name, column in FAMILY.costs(row, task).items()}


def test_is_installed_as_a_plug_in() -> None:
    assert isinstance(get_family("plain"), PlainFamily)


def test_space_of_the_paper() -> None:
    space = FAMILY.space(FACES)
    assert space.names == ("f", "s", "k", "l")
    assert space["f"].values == (2, 4, 8, 12, 16, 24, 32, 40, 48, 64)
    assert space["s"].values == (12, 20, 24, 32, 40, 48, 56, 64)
    assert space["k"].values == (3, 4, 5)
    assert space["l"].values == (1, 2, 3)
    assert space.baseline == {"f": 64, "s": 64, "k": 5, "l": 3}


@pytest.mark.parametrize(
    ("side", "sizes"),
    [
        (28, (8, 12, 16, 20, 24, 28)),
        (8, (4, 6, 8)),
        (64, (12, 20, 24, 32, 40, 48, 56, 64)),
        (500, (12, 20, 24, 32, 40, 48, 56, 64)),
        (32, (4, 8, 12, 16, 20, 24, 28, 32)),
        (48, (6, 12, 18, 24, 30, 36, 42, 48)),
        (1, (1,)),
    ],
)
def test_default_sizes(side: int, sizes: tuple[int, ...]) -> None:
    assert default_sizes(side) == sizes


@given(st.integers(1, 300))
def test_default_sizes_ascend_to_the_images(side: int) -> None:
    sizes = default_sizes(side)
    assert sizes == tuple(sorted(set(sizes)))
    assert sizes[-1] == min(side, 64)
    assert FAMILY.space(Task(side, side + 5, 1, 2))["s"].values == sizes


def test_values_and_baseline_can_be_set() -> None:
    space = FAMILY.space(FACES, {"f": [8, 4], "s": [128, 250.0]}, {"f": 4, "s": 128})
    assert space["f"].values == (4, 8)
    assert space["s"].values == (128, 250)
    assert all(isinstance(value, int) for value in space["s"].values)
    assert space.baseline == {"f": 4, "s": 128, "k": 5, "l": 3}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"s": [29]}, "at most 28.*never enlarged.*29"),
        ({"f": [0]}, "parameter f.*1 or more.*0"),
        ({"f": [2.5]}, "whole numbers"),
        ({"k": ["big"]}, "whole numbers.*big"),
        ({"l": [float("nan")]}, "whole numbers.*nan"),
        ({"l": [float("inf")]}, "whole numbers.*inf"),
        ({"f": [True]}, "whole numbers.*True"),
        ({"depth": [3]}, "one of f, s, k, l"),
        ({"f": []}, "at least one value"),
    ],
)
def test_values_that_cannot_be_built(values: dict[str, list[float]], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        FAMILY.space(CLOTHES, values)


def test_baseline_costs_by_hand() -> None:
    # 64 filters of 5 x 5, colour, two classes; maps of 64, 32, 16 pixels, 8 after the last pooling
    found = costs({"f": 64, "s": 64, "k": 5, "l": 3}, FACES)
    conv = 25 * 64 * (3 * 4096 + 64 * 1024 + 64 * 256)
    params = 25 * 64 * (3 + 64 + 64) + 3 * 2 * 64 + 4096 * 2 + 2
    assert found == {
        "macs": conv + 4096 * 2,
        "conv_macs": conv,
        "dense_macs": 8192,
        "params": params,
        "weight_bytes": 4 * (params + 3 * 2 * 64) + 3 * 8,
        "activation_elements": 64 * (4096 + 1024 + 1024 + 256 + 256 + 64) + 2,
        "activation_peak_elements": 64 * (4096 + 1024),
        "layers": 4,
    }


@settings(max_examples=200, deadline=None)
@given(configurations, tasks)
def test_costs_are_those_of_the_network(configuration: dict[str, int], task: Task) -> None:
    shape = (task.channels, *FAMILY.input_size(configuration, task))
    network = FAMILY.build(configuration, task).eval()
    expected = costs(configuration, task)
    found = count(network, shape)
    assert found.costs == expected and found.unseen == ()
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        output = network(torch.zeros(2, *shape))
    assert output.shape == (2, task.classes)
    assert flops.get_total_flops() == 2 * 2 * expected["macs"]
    state = network.state_dict().values()
    assert sum(t.numel() * t.element_size() for t in state) == expected["weight_bytes"]


@given(st.lists(configurations, min_size=1, max_size=20), tasks)
def test_costs_of_a_row_do_not_depend_on_the_others(rows: list[dict[str, int]], task: Task) -> None:
    X = np.array([[row[name] for name in "fskl"] for row in rows])
    together = FAMILY.costs(X, task)
    for i, row in enumerate(rows):
        assert {name: column[i] for name, column in together.items()} == costs(row, task)


@given(configurations, st.sampled_from("fkl"))
def test_macs_and_activations_grow_with_f_and_k(configuration: dict[str, int], name: str) -> None:
    if name == "l":  # more layers pool more, and the dense layer may shrink: the convolutions do not
        larger = costs(configuration | {"l": configuration["l"] + 1}, CLOTHES)
        assert larger["conv_macs"] > costs(configuration, CLOTHES)["conv_macs"]
        return
    larger = costs(configuration | {name: configuration[name] + 1}, CLOTHES)
    smaller = costs(configuration, CLOTHES)
    assert larger["macs"] > smaller["macs"]
    assert all(larger[column] >= smaller[column] for column in smaller)


def test_costs_of_no_rows() -> None:
    assert all(column.shape == (0,) for column in FAMILY.costs(np.empty((0, 4)), CLOTHES).values())


@pytest.mark.parametrize(
    "X", [[1, 2, 3, 4], [[1, 2, 3]], [[0, 8, 3, 1]], [[2, 8.5, 3, 1]], [[2, np.nan, 3, 1]]]
)
def test_costs_refuse_what_cannot_be_built(X: object) -> None:
    with pytest.raises(BadInputError, match="plain family"):
        FAMILY.costs(X, CLOTHES)  # type: ignore[arg-type]


def test_costs_need_no_torch() -> None:
    code = (
        "import sys; from cpmodel.families import Task, get_family; "
        "family, task = get_family('plain'), Task(28, 28, 1, 10); "
        "family.costs(family.space(task).candidates(), task); "
        "assert not {'torch', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("k", range(1, 9))
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_convolutions_are_torchs_same_padding(k: int, layout: torch.memory_format) -> None:
    torch.manual_seed(k)
    ours = same_conv(3, 5, k, bias=True).double()
    theirs = nn.Conv2d(3, 5, k, padding="same").double()
    theirs.load_state_dict(ours.state_dict())
    for size in (1, 2, 7, 12):
        images = torch.randn(2, 3, size, size + 1, dtype=torch.float64).contiguous(memory_format=layout)
        mine = images.clone(memory_format=torch.preserve_format).requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            output = ours(mine)
            output.square().sum().backward()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of its own copy
            reference = images.clone().requires_grad_()
            expected = theirs(reference)
            expected.square().sum().backward()
        torch.testing.assert_close(output, expected)
        torch.testing.assert_close(mine.grad, reference.grad)
        torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
        ours.zero_grad()
        theirs.zero_grad()


@pytest.mark.parametrize("k", [3, 4])
def test_network_is_the_one_described(k: int) -> None:
    """Against the issue's own words, written with functions."""
    torch.manual_seed(0)
    network = FAMILY.build({"f": 6, "s": 13, "k": k, "l": 4}, CLOTHES).double().eval()
    images = torch.randn(3, 1, 13, 13, dtype=torch.float64)
    state = network.state_dict()
    maps = images
    before = (k - 1) // 2
    for layer in range(1, 5):
        padded = nn.functional.pad(maps, (before, k - 1 - before, before, k - 1 - before))
        maps = nn.functional.conv2d(padded, state[f"conv{layer}.weight"])
        norm = [state[f"norm{layer}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        maps = nn.functional.relu(nn.functional.batch_norm(maps, *norm))
        if maps.shape[-1] >= 4:
            maps = nn.functional.max_pool2d(maps, 2)
    assert maps.shape == (3, 6, 3, 3)  # 13, 6, 3, then no more pooling
    expected = maps.flatten(1) @ state["dense.weight"].T + state["dense.bias"]
    torch.testing.assert_close(network(images), expected)


def test_weights_come_from_the_global_generator() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        network = FAMILY.build({"f": 4, "s": 8, "k": 4, "l": 2}, CLOTHES)
        return torch.cat([p.detach().flatten() for p in network.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_builds_on_the_meta_device() -> None:
    with torch.device("meta"):
        network = FAMILY.build({"f": 4096, "s": 64, "k": 4, "l": 3}, FACES)
    assert all(p.is_meta for p in network.parameters())


@pytest.mark.parametrize("k", [3, 4])
def test_channels_last_gives_the_same_and_stays(k: int) -> None:
    network = FAMILY.build({"f": 8, "s": 16, "k": k, "l": 2}, FACES).eval()
    images = torch.randn(4, 3, 16, 16)
    expected = network(images)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = images.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-5)
    assert network.conv1(images).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("k", [3, 4])
def test_exports_to_onnx_with_any_batch(k: int) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    network = FAMILY.build({"f": 4, "s": 12, "k": k, "l": 2}, CLOTHES).eval()
    images = torch.randn(5, 1, 12, 12)
    buffer = io.BytesIO()
    shapes = ({0: torch.export.Dim("batch")},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own making
        program = torch.onnx.export(network, (images[:2],), dynamo=True, dynamic_shapes=shapes, verbose=False)
    assert program is not None
    program.save(buffer)
    session = onnxruntime.InferenceSession(buffer.getvalue())
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    np.testing.assert_allclose(found, network(images).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_state_dict_is_plain_torch() -> None:
    network = FAMILY.build({"f": 4, "s": 12, "k": 4, "l": 1}, CLOTHES)
    assert isinstance(network.conv1, EvenConv2d)
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=True)
    assert sorted(loaded) == sorted(network.state_dict())
