"""The contracts: whatever is installed holds them, and a broken plug-in is told what is wrong with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from plugins.bars_dataset import BARS, read
from plugins.nearest_model import NearestError
from plugins.stripes_family import StripesFamily
from plugins.wrong_metric import Wrong
from small_images import make_images
from torch import nn

from cpmodel import registry
from cpmodel.datasets import Source, Split
from cpmodel.datasets.loaded import Loaded, Request
from cpmodel.errors import ContractError
from cpmodel.families import Task, get_family
from cpmodel.metrics import Accuracy, get_metric
from cpmodel.space import Floats
from cpmodel.surrogates.precision.model import model_class
from cpmodel.testing import check_dataset, check_family, check_metric, check_precision_model

pytestmark = pytest.mark.filterwarnings("ignore::cpmodel.errors.FitWarning")


# what is installed


@pytest.mark.parametrize("name", registry.names("families"))
@pytest.mark.parametrize("task", [Task(16, 16, 1, 10), Task(24, 20, 3, 2)], ids=["gray", "colour"])
def test_families_hold_their_contract(name: str, task: Task) -> None:
    check_family(get_family(name), task)


@pytest.mark.parametrize("name", [*registry.names("metrics"), "top2"])
def test_metrics_hold_their_contract(name: str) -> None:
    check_metric(get_metric(name))


@pytest.mark.parametrize("name", ["embedded", "digits"])
def test_data_sets_that_come_along_hold_their_contract(name: str) -> None:
    check_dataset(registry.plugin("datasets", name))


def test_data_sets_of_a_path_hold_their_contract(tmp_path: Path) -> None:
    images = make_images(tmp_path / "images.npz", channels=3)
    check_dataset(registry.plugin("datasets", "npz"), Request(text="npz", path=images))
    for label in ("left", "right"):
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True)
        from PIL import Image

        for number in range(12):
            Image.new("L", (6, 6), number * 20).save(folder / f"{number}.png")
    request = Request(text="folder", path=tmp_path / "photos")
    check_dataset(registry.plugin("datasets", "folder"), request)


@pytest.mark.parametrize("name", registry.names("precision_models"))
def test_precision_models_hold_their_contract(name: str) -> None:
    check_precision_model(model_class(name))


def test_the_made_up_ones_hold_theirs() -> None:
    check_family(StripesFamily())
    check_metric(Wrong())
    check_dataset(BARS)
    check_dataset(BARS, Request(text="bars?draw=3", options={"draw": "3"}))
    check_precision_model(NearestError)


# what is broken


class Broken(StripesFamily):
    """A family of which one thing is wrong."""

    name = "broken"


def extra_cost(costs: dict[str, Floats]) -> dict[str, Floats]:
    return {**costs, "joules": costs["wires"]}


def on_average(costs: dict[str, Floats]) -> dict[str, Floats]:
    wires = costs["wires"]
    return {**costs, "wires": np.full(len(wires), wires.mean()) if len(wires) else wires}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (extra_cost, r"costs: expected the columns of cost_kinds, \['wires', 'params'\], got .*joules"),
        (lambda c: {"params": c["params"], "wires": c["wires"]}, "expected the columns of cost_kinds"),
        (lambda c: {**c, "wires": c["wires"] * 0}, "cost wires: expected finite numbers above 0"),
        (lambda c: {**c, "wires": c["wires"][:-1]}, r"cost wires: expected shape"),
        (
            lambda c: {**c, "params": c["params"] + 1},
            r"cost params of rows=.*: computed .*, counted on the built",
        ),
        (on_average, "cost wires of rows=.* among other rows, .* alone"),
    ],
)
def test_costs_that_break_the_contract(change, words: str) -> None:
    class Costs(Broken):
        def costs(self, X, task):
            return change(super().costs(X, task))

    with pytest.raises(ContractError, match=f"family broken: .*{words}"):
        check_family(Costs())


def test_costs_that_fail_for_absent_parameters() -> None:
    class Fails(Broken):
        def costs(self, X, task):
            if np.isnan(np.asarray(X)).any():
                raise ValueError("cannot convert NaN to an integer")
            return super().costs(X, task)

    with pytest.raises(ContractError, match="family broken: ValueError: cannot convert NaN"):
        check_family(Fails())


def test_costs_and_spaces_that_need_torch() -> None:
    class Heavy(Broken):
        def costs(self, X, task):
            import torch

            return super().costs(torch.tensor(X).numpy(), task)

    with pytest.raises(ContractError, match="space, costs and effort must not import torch"):
        check_family(Heavy())


def networks(change):
    class Builds(Broken):
        def build(self, configuration, task):
            return change(super().build(configuration, task), configuration, task)

    return Builds()


class Mixed(nn.Module):
    """Scores that hang on the other images of the batch."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images):
        scores = self.inner(images)
        return scores - scores.mean(dim=0)


def zeroed(network, configuration, task):
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)
    return network


def three_scores(network, configuration, task):
    return nn.Sequential(network, nn.Linear(task.classes, 3, bias=False))


def on_the_processor(network, configuration, task):
    return network.to_empty(device="cpu") if next(network.parameters()).is_meta else network


def unseeded(network, configuration, task):
    import secrets

    nn.init.constant_(network[-1].bias, secrets.randbelow(10**6))
    return network


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            three_scores,
            r"expected finite scores of shape \(2, 10\)",
        ),
        (lambda n, c, t: nn.Sequential(n, nn.Flatten(0)), r"expected finite scores .* got \(20,\)"),
        (lambda n, c, t: Mixed(n), "an image's scores hang on the others of its batch"),
        (zeroed, "another torch seed gives the same weights"),
        (unseeded, "the same torch seed gives other weights"),
        (
            on_the_processor,
            "not all on the meta device",
        ),
        (lambda n, c, t: n.append(nn.Threshold(1e9, float("inf"))), "expected finite scores"),
    ],
)
def test_networks_that_break_the_contract(change, words: str) -> None:
    with pytest.raises(ContractError, match=f"family broken|network of rows=.*{words}") as caught:
        check_family(networks(change))
    assert caught.match(words)


def test_no_family_at_all() -> None:
    with pytest.raises(ContractError, match=r"family .*expected a cpmodel.families.base.Family, got 3"):
        check_family(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (lambda s, y: s.argmax(axis=1) == y[0], "an image's value hangs on the other images"),
        (lambda s, y: 100.0 * (s.argmax(axis=1) == y), r"expected them in \[0, 1\], got \[100"),
        (lambda s, y: np.full(len(y), np.nan), r"expected them in \[0, 1\], got \[nan"),
        (lambda s, y: float((s.argmax(axis=1) == y).mean()), r"expected shape \(60,\), got \(\)"),
        (lambda s, y: s.argmax(axis=1) != y, "direction higher: right scores give P 0, wrong ones"),
        (lambda s, y: s.sort() or np.zeros(len(y)), "the scores that were given are changed"),
    ],
)
def test_metrics_that_break_the_contract(values, words: str) -> None:
    metric = Accuracy()
    metric.name = "broken"
    metric.values = values  # type: ignore[method-assign]
    with pytest.raises(ContractError, match=f"metric broken: .*{words}"):
        check_metric(metric)


@pytest.mark.parametrize(
    ("strata", "words"),
    [
        (lambda y: y[:5], r"strata: expected shape \(60,\)"),
        (lambda y: y / 2, "strata: expected whole numbers"),
        (lambda y: np.arange(len(y)) // 3, "strata: images of one stratum are no longer together"),
    ],
)
def test_strata_that_break_the_contract(strata, words: str) -> None:
    metric = Accuracy()
    metric.strata = strata  # type: ignore[method-assign]
    with pytest.raises(ContractError, match=f"metric accuracy: {words}"):
        check_metric(metric)


def other_each_time(request: Request) -> Loaded:
    return read(replace(request, options={"draw": str(np.random.default_rng().integers(10**6))}))


def by_seed(request: Request) -> Loaded:
    return read(replace(request, options={"draw": str(request.seed)}))


def floats(request: Request) -> Loaded:
    train = read(request).parts["train"]
    return Loaded({"train": Split(train.images / 255, train.labels)}, ("a", "b", "c"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (Source("odd", other_each_time), "two readings give other images"),
        (Source("odd", by_seed), "the parts of its own hang on the seed"),
        (Source("odd", floats), "uint8"),
        (Source("", read), "summary: expected one line"),
        (Source("odd", read, takes_path=True), "takes_path is True: path None"),
        (
            Source("odd", lambda r: replace(read(r), class_names=("a", "a", "b"))),
            "expected each once",
        ),
        (Source("odd", lambda request: Loaded({}, ("a", "b"))), "parts: expected train, got none"),
    ],
)
def test_data_sets_that_break_the_contract(source: Source, words: str) -> None:
    with pytest.raises(ContractError, match=f"data set .*{words}"):
        check_dataset(source)


class Forgetful(NearestError):
    """Forgets something when it is saved."""

    @classmethod
    def from_dict(cls, description, derived=None):
        model = super().from_dict(description, derived)
        model.errors_ = model.errors_ + 0.1
        return model


class InOrder(NearestError):
    """Learns the first row of the table by heart."""

    def _learn(self, X, y, weight):
        super()._learn(X, y, weight)
        self.errors_ = np.full(len(self.errors_), self.link_.forward(y[:1])[0])


class InUnits(NearestError):
    """Measures distances in the units of the columns."""

    def _predictive(self, X):
        law = super()._predictive(X)
        gaps = ((X[:, None] - self.nearest_) ** 2).sum(axis=2)
        return replace(law, location=self.errors_[gaps.argmin(axis=1)] + 1e-3 * X.sum(axis=1))


class Percent(NearestError):
    """Predicts percentages."""

    def predict(self, X, return_std=False):
        mean, std = super().predict(X, return_std=True)
        return (100 * mean, std) if return_std else 100 * mean


class Careless(NearestError):
    """Takes any precision."""

    def fit(self, X, y, sample_weight=None):
        return super().fit(X, np.clip(np.nan_to_num(np.asarray(y, float)), 0, 1), sample_weight)


class Restless(NearestError):
    """Draws anew each time."""

    def draws(self, X, count, seed=0):
        return super().draws(X, count, int(np.random.default_rng().integers(10**6)))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Forgetful, "to_dict: what is read back predicts otherwise"),
        (InOrder, "fit: the order of the rows changes the predictions"),
        (InUnits, "fit: the units of the columns change the predictions"),
        (Percent, r"predict: expected fractions in \[0, 1\]"),
        (Careless, "fit: expected FitError for a precision above 1, got none"),
        (Restless, "draws: one seed gives other draws"),
    ],
)
def test_models_that_break_the_contract(model: type[NearestError], words: str) -> None:
    with pytest.raises(ContractError, match=f"precision model nearest: {words}"):
        check_precision_model(model)
