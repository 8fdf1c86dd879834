"""Contracts that authors of plug-ins run: each check raises a `ContractError` that says where one is broken.

    from cpmodel.testing import check_family

    def test_my_family():
        check_family(MyFamily())

What is built in passes them, too.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cpmodel.datasets import Source
from cpmodel.datasets.loaded import Request as ImagesRequest
from cpmodel.datasets.loaded import complete
from cpmodel.errors import BadInputError, ContractError, FitError, StudyError
from cpmodel.families import Family, Task
from cpmodel.families.widths import masked, narrowed
from cpmodel.metrics import Metric
from cpmodel.recipe import Recipe
from cpmodel.records.sample import Purpose, Request, Sample, Start
from cpmodel.records.settings import Settings
from cpmodel.records.store import Claim, Store
from cpmodel.samples import Samples
from cpmodel.space import Condition, Configuration, Floats, Parameter, Space
from cpmodel.surrogates.precision.model import PrecisionModel

# Rows of a space that a family is asked about at once; this many of them are built
_ROWS, _BUILT = 64, 6
_TASK = Task(28, 28, 1, 10)
_SPACE = Space(
    (
        Parameter("f", (2, 8)),
        Parameter("pool", ("none", "max"), categorical=True, when=Condition("f", (8,))),
        Parameter("epochs", (1, 2), axis=True),
    )
)
_STUDY = Settings(
    dataset="made up",
    data="0123456789ab",
    test="ba9876543210",
    image_shape=(8, 8, 1),
    class_names=("a", "b"),
    split_sizes={"train": 30, "validation": 20, "test": 10},
    family="plain",
    space=_SPACE,
    recipe=Recipe(),
)
# Called with what must hold, and with what to say where it does not
Must = Callable[[bool, str], None]


def check_family(family: Family, task: Task = _TASK, *, seed: int = 0) -> None:
    """A family: its space, its costs for rows and for built networks, its networks; `seed` draws the rows."""
    with _named("family", family, Family) as must:
        counts = all(cost.known == "counted" for cost in family.cost_kinds(task))
        with nullcontext() if counts else _without_torch(must):
            space = family.space(task)
            X = _rows(space, seed)
            costs = _check_costs(family, space, X, task, must)
            effort = np.asarray(family.effort(X, task))
            must(effort.shape == (len(X),) and bool((effort > 0).all()), "effort: expected (n,), above 0")
            with _refused(must, BadInputError, "space: values of an unknown parameter"):
                family.space(task, {"no_such_parameter": (1,)})
        for row in sorted({0, *np.linspace(0, len(X) - 1, _BUILT).astype(int).tolist()}):
            computed = {name: float(column[row]) for name, column in costs.items()}
            _check_network(family, space.configurations(X[[row]])[0], computed, task, must)
            _check_widths(family, space, X[row], task, must)


def _rows(space: Space, seed: int) -> Floats:
    """The baseline and others, drawn; every condition holds in some and not in others where that can be."""
    rng = np.random.default_rng(seed)
    places = np.unique(rng.integers(0, min(space.size, 2**62), _ROWS))
    return np.concatenate([space.matrix([space.baseline]), space.at(places)])


def _check_costs(family: Family, space: Space, X: Floats, task: Task, must: Must) -> dict[str, Floats]:
    kinds = [cost.name for cost in family.cost_kinds(task)]
    costs = family.costs(X, task)
    must(list(costs) == kinds, f"costs: expected the columns of cost_kinds, {kinds}, got {list(costs)}")
    must(bool(kinds), "costs: expected one or more, got none")
    alone = [family.costs(X[row : row + 1], task) for row in range(len(X))]
    none = family.costs(X[:0], task)
    for name, column in costs.items():
        got = np.asarray(column)
        must(got.shape == (len(X),), f"cost {name}: expected shape ({len(X)},), got {got.shape}")
        good = np.isfinite(got) & (got > 0)
        must(bool(good.all()), f"cost {name}: expected finite numbers above 0, got {got[~good][:1]}")
        must(np.asarray(none[name]).shape == (0,), f"cost {name}: expected shape (0,) for no rows")
        apart = np.array([float(one[name][0]) for one in alone])
        for row in np.flatnonzero(apart != got)[:1]:
            key = space.key(space.configurations(X[[row]])[0])
            must(False, f"cost {name} of {key}: {got[row]:g} among other rows, {apart[row]:g} alone")
    return costs


def _check_network(
    family: Family, configuration: Mapping[str, Any], computed: dict[str, float], task: Task, must: Must
) -> None:
    import torch

    from cpmodel.families.count import count

    def weights(seed: int) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            built = family.build(configuration, task)
        return built, [value.detach().clone() for value in built.state_dict().values()]

    name = ",".join(f"{key}={value}" for key, value in configuration.items())
    height, width = family.input_size(configuration, task)
    must(min(height, width) > 0, f"input_size of {name}: expected pixels, got {height}, {width}")
    shape = (task.channels, height, width)
    (network, first), (_, again), (_, other) = weights(0), weights(0), weights(1)
    same = [torch.equal(a, b) for a, b in zip(first, again, strict=True)]
    must(all(same), f"build of {name}: the same torch seed gives other weights")
    differ = [not torch.equal(a, b) for a, b in zip(first, other, strict=True)]
    must(any(differ), f"build of {name}: another torch seed gives the same weights")
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.train()(images)
        both, one = network.eval()(images), network(images[:1])
    for scores, n in ((both, 2), (one, 1)):
        good = tuple(scores.shape) == (n, task.classes) and bool(torch.isfinite(scores).all())
        expected = f"expected finite scores of shape ({n}, {task.classes}) for a batch of {n}"
        must(good, f"network of {name}: {expected}, got {tuple(scores.shape)}")
    alone = torch.allclose(both[:1], one, rtol=1e-4, atol=1e-4)
    must(alone, f"network of {name}: an image's scores hang on the others of its batch")
    with torch.device("meta"):
        ghost = family.build(configuration, task)
    must(all(p.is_meta for p in ghost.parameters()), f"build of {name}: not all on the meta device")
    counted = count(network, shape).costs
    for column in computed.keys() & counted.keys():
        told = f"computed {computed[column]:,g}, counted on the built network {counted[column]:,g}"
        must(computed[column] == counted[column], f"cost {column} of {name}: {told}")


def _check_widths(family: Family, space: Space, row: Floats, task: Task, must: Must) -> None:
    """Filters masked to zero and filters taken away give the same scores."""
    (whole,) = space.configurations(row[None])
    widths = family.widths(whole, task)
    names = [width.name for width in widths]
    must(len(set(names)) == len(names), f"widths: expected each name once, got {', '.join(names)}")
    lower = []
    for column, parameter in enumerate(space.parameters):
        below = parameter.codes[parameter.codes < row[column]]
        lower += [np.where(np.arange(len(row)) == column, code, row) for code in below[-1:]]
    for narrow in space.configurations(space.settled(lower)) if lower else ():
        after = {width.name: width.count for width in family.widths(narrow, task)}
        before = {width.name: width.count for width in widths}
        if after.keys() == before.keys() and after != before and all(after[n] <= before[n] for n in after):
            _check_narrowed(family, whole, narrow, task, must)


def _check_narrowed(
    family: Family, whole: Configuration, narrow: Configuration, task: Task, must: Must
) -> None:
    import torch

    widths, random = family.widths(whole, task), np.random.default_rng(0)
    counts = {width.name: width.count for width in family.widths(narrow, task)}
    kept = {w.name: sorted(random.permutation(w.count)[: counts[w.name]].tolist()) for w in widths}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, narrower = (family.build(one, task).double().eval() for one in (whole, narrow))
        state = {
            name: tensor + torch.rand_like(tensor) / 4 if tensor.is_floating_point() else tensor
            for name, tensor in network.state_dict().items()
        }
        images = torch.rand(2, task.channels, *family.input_size(whole, task)).double()
    told = ",".join(f"{n}={v}" for n, v in whole.items() if narrow.get(n) != v)
    shapes = {name: tuple(t.shape) for name, t in narrowed(state, widths, kept).items()}
    built = {name: tuple(t.shape) for name, t in narrower.state_dict().items()}
    wrong = next((n for n in built | shapes if built.get(n) != shapes.get(n)), None)
    said = "" if wrong is None else f"{wrong} is {shapes.get(wrong)}, built {built.get(wrong)}"
    must(wrong is None, f"widths, narrowed from {told}: {said}")
    network.load_state_dict(masked(state, widths, kept))
    narrower.load_state_dict(narrowed(state, widths, kept))
    with torch.no_grad():
        same = torch.allclose(network(images), narrower(images), rtol=1e-6, atol=1e-9)
    must(same, f"widths, narrowed from {told}: filters masked to zero give other scores than none")


def check_metric(metric: Metric, *, classes: int = 7, images: int = 60) -> None:
    """A metric: a value in [0, 1] for each image, whatever the others are, and the direction it states."""
    with _named("metric", metric, Metric) as must:
        must(metric.direction in ("higher", "lower"), f"direction: got {metric.direction!r}")
        random = np.random.default_rng(0)
        labels = random.permutation(np.arange(images) % classes)
        scores = random.normal(size=(images, classes)).round(1)  # some of them equal
        given = scores.copy()
        values = np.asarray(metric.values(scores, labels))
        must(np.array_equal(scores, given), "values: the scores that were given are changed")
        must(values.shape == (images,), f"values: expected shape ({images},), got {values.shape}")
        inside = (values >= 0) & (values <= 1)
        must(bool(inside.all()), f"values: expected them in [0, 1], got {values[~inside][:1]}")
        for order in np.array_split(random.permutation(images), 4):
            part = np.asarray(metric.values(scores[order], labels[order]))
            must(np.allclose(part, values[order]), "values: an image's value hangs on the other images")
        strata = metric.strata(labels)
        if strata is not None:
            must(np.asarray(strata).shape == (images,), f"strata: expected shape ({images},)")
            must(np.asarray(strata).dtype.kind in "iu", "strata: expected whole numbers")
            moved = metric.strata(labels[order])
            pairs = set(zip(np.asarray(strata)[order].tolist(), np.asarray(moved).tolist(), strict=True))
            one_to_one = len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
            must(one_to_one, "strata: images of one stratum are no longer together when others are left out")
        right = np.where(np.arange(classes) == labels[:, None], 20.0, -20.0)
        best, worst = (metric.precision_of(s, labels).mean() for s in (right, -right))
        told = f"right scores give P {best:g}, wrong ones {worst:g}"
        must(best > worst, f"direction {metric.direction}: {told}")
        turned = metric.inside(metric.shown(0.25))
        must(turned == 0.25, "inside and shown: they do not turn each other back")


def check_dataset(source: Source, request: ImagesRequest | None = None) -> None:
    """A source of images: three splits, always the same ones, whose own parts no seed moves.

    `request` has the path and the options that the source needs.
    """
    asked = request or ImagesRequest(text="images")
    with _named("data set", source, Source) as must:
        must(bool(source.summary.strip()), "summary: expected one line for help texts, got none")
        given = asked.path is not None
        must(source.takes_path == given, f"takes_path is {source.takes_path}: path {asked.path}")
        loaded = [source.read(replace(asked, seed=seed)) for seed in (0, 0, 1)]
        must("train" in loaded[0].parts, f"parts: expected train, got {', '.join(loaded[0].parts) or 'none'}")
        one, again, other = (complete(parts, asked) for parts in loaded)
        names = one.class_names
        must(len(set(names)) == len(names), f"class names: expected each once, got {', '.join(names)}")
        must(one.data_hash == again.data_hash, "read: two readings give other images or labels")
        must(one.data_hash == other.data_hash, "read: the parts of its own hang on the seed of the splits")


def check_precision_model(make: Callable[[], PrecisionModel]) -> None:
    """A precision model: an estimator of scikit-learn's kind whose predictions are laws, saved as JSON.

    `make` is the class, or anything that makes a fresh model.
    """
    X, y = _table()
    fresh = X + 1.0
    unit = np.array([1e-3, 28.0])
    with _named("precision model", make(), PrecisionModel) as must:
        model = make()
        must(model.fit(X, y) is model, "fit: expected it to return the model itself")
        mean, std = model.predict(fresh, return_std=True)
        low, high = model.predict_interval(fresh)
        chance = model.probability(fresh, 0.8)
        said = {"predict": mean, "interval": low, "end of the interval": high, "probability": chance}
        for what, values in said.items():
            must(np.asarray(values).shape == (len(fresh),), f"{what}: expected shape ({len(fresh)},)")
            must(bool(np.all((values >= 0) & (values <= 1))), f"{what}: expected fractions in [0, 1]")
        must(bool((std >= 0).all()), "predict: expected standard deviations of 0 or more")
        must(bool((low <= mean).all() and (mean <= high).all()), "interval: the mean lies outside")
        must(bool((model.probability(fresh, 0.9) <= chance).all()), "probability: it grows with the target")
        draws = model.draws(fresh, 5, seed=1)
        must(draws.shape == (5, len(fresh)), f"draws: expected shape (5, {len(fresh)}), got {draws.shape}")
        must(np.array_equal(draws, model.draws(fresh, 5, seed=1)), "draws: one seed gives other draws")
        again = type(model).from_dict(json.loads(json.dumps(model.to_dict(), allow_nan=False)))
        must(np.array_equal(again.predict(fresh), mean), "to_dict: what is read back predicts otherwise")
        order = np.random.default_rng(0).permutation(len(y))
        shuffled = make().fit(X[order], y[order]).predict(fresh)
        must(np.allclose(shuffled, mean, rtol=1e-6), "fit: the order of the rows changes the predictions")
        turned = make().fit(X / unit, y).predict(fresh / unit)
        must(np.allclose(turned, mean, rtol=1e-4), "fit: the units of the columns change the predictions")
        for what, wrong in (("above 1", np.full(len(y), 1.5)), ("that is NaN", np.full(len(y), np.nan))):
            with _refused(must, FitError, f"fit: a precision {what}"):
                make().fit(X, wrong)


def check_store(make: Callable[[], Any]) -> None:
    """A storage of studies: what is asked is trained once, in order, and what is recorded is never lost.

    `make` gives an `optuna.storages.BaseStorage` or its URL. Each call reaches the same record by a
    connection of its own, as another process would.
    """
    with _named("storage", make(), object) as must, tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "study"
        one, other = (Store.create(place, _STUDY, make()) for _ in range(2))
        must(Store.open(place, make()).settings == _STUDY, "settings: they come back as others")
        with _refused(must, StudyError, "settings: another seed"):
            Store.create(place, replace(_STUDY, seed=1), make())
        note = {"text": "ä", "numbers": [1, 0.1, None], "long": "x" * 5000}
        must(one.note("check") is None, "note: something is there that nobody kept")
        one.keep("check", note)
        must(other.note("check") == note, "note: it comes back as another one")
        requests = [Request(c, 0) for c in _SPACE.configurations(_SPACE.candidates())]
        requests[-1] = replace(requests[-1], seed=1000, purpose=Purpose.VERIFY)
        _check_asking(one, other, requests, must)
        _check_trainings(one, other, requests, must)
        again = Store.open(place, make())
        must(len(again.samples()) == len(requests), "samples: they are not there for the next process")


def _check_asking(one: Store, other: Store, requests: list[Request], must: Must) -> None:
    with _refused(must, BadInputError, "enqueue: a start that nothing can train"):
        one.enqueue([replace(requests[0], start=Start("pruned", "0" * 16))])
    must(one.enqueue(requests[:3]) == 3, "enqueue: not all that is new is taken")
    new = other.enqueue([*requests, requests[0]])
    must(new == len(requests) - 3, "enqueue: what is there is taken again")
    must(one.open_requests() == requests, "open_requests: not what was asked for, in its order")
    must(one.open_requests({Purpose.VERIFY}) == requests[-1:], "open_requests: not those of the purpose")


def _check_trainings(one: Store, other: Store, requests: list[Request], must: Must) -> None:
    first, verified = one.claim(), other.claim({Purpose.VERIFY})
    must(first is not None and first.request == requests[0], "claim: not the first one asked for")
    must(verified is not None and verified.request == requests[-1], "claim: not the one of the purpose")
    if verified is not None:
        other.release(verified, failed_attempt=True)
    taken = other.claim({Purpose.VERIFY})
    must(taken is not None and taken.attempts == 1, "release: the failed attempt is not counted")
    others = [(one, other)[n % 2].claim() for n in range(len(requests))]  # one more than there are
    claims = [claim for claim in (first, taken, *others) if claim is not None]
    got = [requests.index(claim.request) for claim in claims]
    handed = f"claim: trainings {got} of {len(requests)} were handed out"
    must(sorted(got) == list(range(len(requests))), handed)
    sent = {requests.index(claim.request): _outcome(one, claim, n) for n, claim in enumerate(claims)}
    for claim in reversed(claims):
        one.beat([claim])
        one.progress(claim, 1, 0.25)
        one.record(claim, sent[requests.index(claim.request)])
    rows = [sent[n] for n in range(len(requests))]
    expected = Samples.of(_SPACE, rows).frame
    must(other.samples().frame.equals(expected), "samples: they come back as others, or in another order")
    of_purpose = other.samples({Purpose.VERIFY})
    must(len(of_purpose) == 1, "samples: not those of the purpose")
    must(not other.open_requests() and other.claim() is None, "claim: what is recorded is handed out again")
    must(one.enqueue(requests) == 0, "enqueue: what is recorded is asked for again")
    one.record(claims[0], replace(sent[got[0]], precision=0.9))
    must(other.samples().frame.equals(expected), "record: a sample is recorded twice")


def _outcome(study: Store, claim: Claim, number: int) -> Sample:
    """What a training may end with: numbers that are hard to keep, and failures."""
    settings, request = study.settings, claim.request
    failed = number == 2
    return Sample(
        request.configuration,
        request.seed,
        None if failed else 0.1 + number / 70,
        status="failed" if failed else "complete",
        reason="the loss became nan" if failed else "",
        metrics={} if failed else {"nll": math.inf if number else math.nan, "top5": 1 / 3},
        curve=(0.25, 0.1 + number / 70),
        train_s=1.5,
        family=settings.family,
        dataset=settings.dataset,
        data=settings.data,
        recipe=settings.recipe_for(request.configuration).hash,
        purpose=request.purpose,
        plan="cpu",
    )


def _table() -> tuple[Floats, Floats]:
    """Made-up trainings of 24 configurations, two seeds each, whose error falls like a power."""
    random = np.random.default_rng(0)
    grid = np.array([(f, s) for f in (2.0, 4, 8, 16, 32, 64) for s in (8.0, 14, 20, 28)]).repeat(2, axis=0)
    error = 0.9 * grid[:, 0] ** -0.35 * grid[:, 1] ** -0.3
    return grid, np.clip(1 - error + random.normal(0, 0.003, len(grid)), 0, 1)


@contextmanager
def _named(kind: str, thing: Any, expected: type) -> Iterator[Must]:
    """What requires, and turns whatever is raised inside into a `ContractError` that names the plug-in."""
    name = f"{kind} {thing if isinstance(thing, str) else getattr(thing, 'name', '') or type(thing).__name__}"

    def must(holds: bool, message: str) -> None:
        if not holds:
            raise ContractError(f"{name}: {message}")

    must(isinstance(thing, expected), f"expected a {expected.__module__}.{expected.__name__}, got {thing!r}")
    try:
        yield must
    except ContractError:
        raise
    except Exception as error:
        raise ContractError(f"{name}: {type(error).__name__}: {error}") from error


@contextmanager
def _refused(must: Must, error: type[Exception], what: str) -> Iterator[None]:
    """What is done inside must raise that error."""
    with suppress(error):
        yield
        place, _, given = what.partition(": ")
        must(False, f"{place}: expected {error.__name__} for {given}, got none")


@contextmanager
def _without_torch(must: Must) -> Iterator[None]:
    """Torch cannot be imported inside: a fit or an optimisation over a family never loads it."""
    hidden = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "torch"}
    sys.modules |= dict.fromkeys(["torch", *hidden])  # type: ignore[arg-type]  # None: it cannot be imported
    try:
        yield
    except ImportError as error:
        must("torch" not in str(error), "space, costs and effort must not import torch")
        raise
    finally:
        del sys.modules["torch"]
        sys.modules |= hidden
