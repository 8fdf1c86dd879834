"""The families of published networks: their contract, their counts as printed, and those of what is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cpmodel.costs.describe import count_configuration
from cpmodel.errors import BadInputError
from cpmodel.families import Task, get_family
from cpmodel.space import Configuration
from cpmodel.testing import check_family

PUBLISHED = Path(__file__).parents[2] / "data" / "published"
DIGITS, PHOTOS, SMALL = Task(28, 28, 1, 10), Task(64, 64, 3, 200), Task(13, 11, 3, 4)
FAMILIES = ["convpool", "convdense", "narrow", "squeezenet", "mobilenet"]


def costs(name: str, task: Task, **configuration: Any) -> dict[str, float]:
    """Of a configuration, whatever the default values of its family are."""
    family = get_family(name)
    own = family.space(task)
    values = {n: [*own[n].values, v] for n, v in configuration.items() if v not in own[n].values}
    X = family.space(task, values).matrix([configuration])
    return {cost: float(column[0]) for cost, column in family.costs(X, task).items()}


def test_the_deepest_keeps_the_contract_where_there_is_room_for_it() -> None:
    check_family(get_family("narrow"), DIGITS, seed=1)


@pytest.mark.parametrize("name", FAMILIES)
def test_costs_are_those_of_what_is_built(name: str) -> None:
    """Of 200 configurations, drawn, in three tasks: every column that can be counted."""
    family, rng, seen = get_family(name), np.random.default_rng(0), 0
    for task, n in ((DIGITS, 80), (PHOTOS, 60), (SMALL, 60)):
        space = family.space(task)
        X = space.at(rng.integers(space.size, size=n))
        computed = family.costs(X, task)
        for row, configuration in enumerate(space.configurations(X)):
            counted = count_configuration(family, task, configuration)
            shared = computed.keys() & counted.costs.keys()
            assert len(shared) >= 7 and counted.unseen == ()
            told = {name: float(computed[name][row]) for name in shared}
            assert told == {name: counted.costs[name] for name in shared}, configuration
            seen += 1
    assert seen == 200


@pytest.mark.parametrize("name", [*FAMILIES, "plain"])
def test_every_place_that_can_be_narrowed_is_told(name: str) -> None:
    """All tensors but those of the classes belong to some width, once on the axis of what is made."""
    family = get_family(name)
    (whole,) = family.space(DIGITS).configurations(family.space(DIGITS).candidates(50)[-1:])
    state = family.build(whole, DIGITS).state_dict()
    made: dict[str, list[int]] = {}
    for width in family.widths(whole, DIGITS):
        for part in width.made:
            made.setdefault(part.tensor, []).extend(part.places(range(width.count)).tolist())
    for tensor, places in made.items():
        assert sorted(places) == list(range(state[tensor].shape[0])), tensor
    classes = {"dense", "classifier", f"conv{whole.get('blocks')}", f"norm{whole.get('blocks')}"}
    left = {tensor for tensor in state if tensor not in made and not tensor.endswith("num_batches_tracked")}
    assert {tensor.rpartition(".")[0] for tensor in left} <= classes


# convpool: Dhingra


@pytest.mark.parametrize(("row", "exact"), [(0, 48_848), (1, 2_578)])
def test_dhingras_networks(row: int, exact: int) -> None:
    said = pd.read_csv(PUBLISHED / "mnist_baseline_dhingra.csv").iloc[row]
    two = {"k2": int(said["conv2_kernel"]), "f2": int(said["conv2_filters"])} if row == 0 else {}
    first = {"k1": int(said["conv1_kernel"]), "f1": int(said["conv1_filters"])}
    rest = {"pool": int(said["pool"]), "fc": int(said["fc_units"])}
    found = costs("convpool", DIGITS, convs=1 + bool(two), **first, **two, **rest)
    assert found["weights"] == said["weights"]
    assert found["activations"] == exact
    assert abs(exact - said["activations"]) < 200  # printed as a sum of roundings
    if row == 0:
        assert {"convs": 2, **first, **two, **rest} == get_family("convpool").space(DIGITS).baseline


def test_all_of_dhingras_networks_of_one_convolution_are_configurations() -> None:
    space = get_family("convpool").space(DIGITS)
    table = pd.read_csv(PUBLISHED / "mnist_one_conv_dhingra.csv").fillna({"pool": 2})
    assert len(table) == 23
    for _, row in table.iterrows():
        given = {"k1": row["kernel_size"], "f1": row["filters"], "pool": row["pool"], "fc": row["fc_units"]}
        space.validated({"convs": 1, **given})


# narrow: the networks below 10,000 parameters


@pytest.mark.parametrize("row", range(3))
def test_narrow_networks(row: int) -> None:
    said = pd.read_csv(PUBLISHED / "mnist_narrow_cnn.csv").iloc[row]
    filters = {f"f{n}": int(f) for n, f in enumerate(said["filters"].split("-"), 1)}
    dense = row == 0
    rest = {"pool": "each" if dense else "second", "head": "dense" if dense else "gap", "separable": 0}
    found = costs("narrow", DIGITS, blocks=len(filters), **filters, **rest, dropout=0.0 if row == 2 else 0.1)
    assert (found["all_params"], found["params"]) == (said["params_total"], said["params_trainable"])


def modules_of(name: str, configuration: Configuration) -> list[str]:
    return [type(module).__name__ for module in get_family(name).build(configuration, DIGITS)]


def test_narrow_networks_are_built_as_described() -> None:
    common = {"f1": 4, "f2": 8, "separable": 0, "dropout": 0.1}
    first = modules_of("narrow", {"blocks": 2, "pool": "each", "head": "dense", **common})
    block = ["Conv2d", "ReLU", "BatchNorm2d"]
    assert first == [*block, "MaxPool2d", *block, "MaxPool2d", "Flatten", "Dropout", "Linear"]
    deep = {"blocks": 5, "f3": 16, "f4": 16, "f5": 10, **common}
    second = modules_of("narrow", {"pool": "second", "head": "gap", **deep})
    dropped = [*block, "Dropout"]
    end = ["AdaptiveAvgPool2d", "Flatten"]
    assert second == [*block, *block, "MaxPool2d", *dropped, *dropped, *dropped, *end]
    # maps of 26, 13, 11, 9, 7, 3 and 1 pixels: what leaves too little for the blocks to come is not pooled
    each = modules_of("narrow", {"pool": "each", "head": "gap", **{**deep, "dropout": 0.0}})
    assert each == [*block, "MaxPool2d", *block, *block, *block, "MaxPool2d", *block, *end]


# convdense: filter pruning


@pytest.mark.parametrize(
    ("c1", "c2", "macs", "params"),
    [
        (16, 32, 29_425_920, 25_706_186),
        (1, 2, 1_637_040, None),
        (4, 1, 869_504, None),
        (4, 2, 1_700_544, 1_617_020),
    ],
)
def test_pruned_networks(c1: int, c2: int, macs: int, params: int | None) -> None:
    found = costs("convdense", DIGITS, c1=c1, c2=c2, d=1024)
    assert found["macs"] == macs and params in (None, found["params"])
    table = pd.read_csv(PUBLISHED / "mnist_filter_pruning.csv").set_index(["conv1_pruned", "conv2_pruned"])
    said = table.loc[(16 - c1, 32 - c2)]
    # the source prints MACs, of the whole network with the biases of its first layer, as FLOPs
    assert found["macs"] + (12_544 if c1 == 16 else 0) == pytest.approx(said["flops"], rel=0.05)
    assert found["weight_bytes"] / 1e6 == pytest.approx(said["disk_mb"], rel=0.03)


# squeezenet


def test_squeezenets_counts() -> None:
    table = pd.read_csv(PUBLISHED / "tiny_imagenet_squeezenet.csv")
    networks = table[table["varied"] != "AlexNet"]
    assert len(networks) == 21
    for _, row in networks.iterrows():
        whole = {name: int(row[name]) for name in ("base_e", "incr_e", "freq")}
        shares = {"pct_3x3": float(row["pct_3x3"]), "sr": float(row["squeeze_ratio"])}
        found = costs("squeezenet", PHOTOS, **whole, **shares, s=64, pools="3-7", stem="7x7")
        assert found["published_params"] == row["params"]
        last = row["base_e"] + row["incr_e"] * (7 // row["freq"])
        assert found["params"] == row["params"] + (last - 512) * 200
        if row["base_e"] == 64:
            assert (row["params"], found["params"]) == (620_104, 607_304)
    alexnet = get_family("squeezenet").references(Task(64, 64, 3, 1000))["AlexNet"]
    assert alexnet["params"] == table["params"].iloc[0] == 61_100_840
    fewer = get_family("squeezenet").references(PHOTOS)["AlexNet"]["params"]
    assert fewer == 57_823_240 and round(fewer / table["params"].iloc[1], 1) == 69.0


def test_squeezenets_poolings_are_configurations() -> None:
    space = get_family("squeezenet").space(PHOTOS)
    for places in pd.read_csv(PUBLISHED / "tiny_imagenet_squeezenet_pooling.csv")["pool_after"]:
        first, *later = places.split(";")
        assert first == "conv1"
        space.validated({**space.baseline, "pools": "-".join(name.removeprefix("fire") for name in later)})


# mobilenet


@pytest.mark.parametrize(("width", "params"), [(1.0, 3_504_872), (0.5, 1_968_680)])
def test_mobilenets_counts(width: float, params: int) -> None:
    task = Task(224, 224, 3, 1000)
    found = costs("mobilenet", task, width=width, depth=1.0, s=224, expansion=6, stem="stride2")
    assert found["params"] == params
    if width == 1:
        assert round(found["macs"] / 1e6, 1) == 300.8


# what cannot be built


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("convpool", {"pool": (6,)}, "parameter pool: expected images of 36 pixels or more, got 6"),
        ("convpool", {"convs": (3,)}, "parameter convs: expected whole numbers from 1 to 2, got 3"),
        ("convdense", {"c1": (0,)}, "parameter c1: expected whole numbers, 1 or more, got 0"),
        ("narrow", {"blocks": (6,)}, "parameter blocks: expected whole numbers from 2 to 5, got 6"),
        ("narrow", {"dropout": (1.0,)}, r"parameter dropout: expected a fraction in \[0, 1\), got 1.0"),
        ("narrow", {"head": ("dens",)}, "parameter head: expected one of dense gap, got dens"),
        ("squeezenet", {"sr": (1.5,)}, r"parameter sr: expected numbers in \(0, 1\], got 1.5"),
        ("squeezenet", {"s": (300,)}, "parameter s: expected whole numbers from 8 to 224, got 300"),
        ("mobilenet", {"width": ("a",)}, r"parameter width: expected numbers in \(0, 16\], got a"),
    ],
)
def test_values_that_cannot_be_built(name: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        get_family(name).space(DIGITS, values)


def test_images_that_are_too_small() -> None:
    with pytest.raises(BadInputError, match="narrow family: expected images of 5 pixels or more, got 4"):
        get_family("narrow").space(Task(4, 9, 1, 10))


@pytest.mark.parametrize("name", ["convpool", "squeezenet", "mobilenet"])
def test_dropout_is_an_argument_of_the_family(name: str) -> None:
    family = type(get_family(name))
    space = family().space(DIGITS)
    built = family(dropout=0.25).build(space.baseline, DIGITS)
    assert [m.p for m in built.modules() if type(m).__name__ == "Dropout"] == [0.25]
    with pytest.raises(BadInputError, match=r"dropout: expected a fraction in \[0, 1\), got 1"):
        family(dropout=1)


@pytest.mark.parametrize("name", ["narrow", "squeezenet"])
def test_a_word_keeps_its_number_when_others_are_left_out(name: str) -> None:
    """Families read words by their numbers: these must not hang on which words a study searches."""
    family = get_family(name)
    space = family.space(DIGITS)
    for parameter in space.parameters:
        if parameter.categorical:
            last = family.space(DIGITS, {parameter.name: parameter.values[-1:]})
            assert last[parameter.name].codes.tolist() == [len(parameter.values) - 1]
            (same,) = last.configurations(last.at(np.array([0])))
            assert family.costs(last.matrix([same]), DIGITS) == family.costs(space.matrix([same]), DIGITS)
