"""Contracts that authors of plug-ins run; each check raises a `ContractError` that says what is wrong."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cpmodel.errors import BadInputError, ContractError, StudyError
from cpmodel.recipe import Recipe
from cpmodel.records.sample import Purpose, Request, Sample, Start
from cpmodel.records.settings import Settings
from cpmodel.records.store import Claim, Store
from cpmodel.samples import Samples
from cpmodel.space import Condition, Parameter, Space

# Called with what must hold, and with what to say where it does not
Must = Callable[[bool, str], None]

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


def check_store(make: Callable[[], Any]) -> None:
    """A storage of studies: what is asked is trained once, in order, and what is recorded is never lost.

    Parameters
    ----------
    make : callable
        Gives the storage: an `optuna.storages.BaseStorage` or its URL. Each call reaches the same record by a
        connection of its own, as another process would.
    """
    with _named("storage", make()) as must, tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "study"
        one, other = (Store.create(place, _STUDY, make()) for _ in range(2))
        must(Store.open(place, make()).settings == _STUDY, "settings: they come back as others")
        try:
            Store.create(place, replace(_STUDY, seed=1), make())
            must(False, "settings: a study with another seed is not refused")
        except StudyError:
            pass
        _check_notes(one, other, must)
        requests = [Request(c, 0) for c in _SPACE.configurations(_SPACE.candidates())]
        requests[-1] = replace(requests[-1], seed=1000, purpose=Purpose.VERIFY)
        _check_asking(one, other, requests, must)
        _check_trainings(one, other, requests, must)
        again = Store.open(place, make())
        must(len(again.samples()) == len(requests), "samples: they are not there for the next process")


def _check_notes(one: Store, other: Store, must: Must) -> None:
    note = {"text": "ä", "numbers": [1, 0.1, None], "long": "x" * 5000}
    must(one.note("check") is None, "note: something is there that nobody kept")
    one.keep("check", note)
    must(other.note("check") == note, "note: it comes back as another one")


def _check_asking(one: Store, other: Store, requests: list[Request], must: Must) -> None:
    try:
        one.enqueue([replace(requests[0], start=Start("pruned", "0" * 16))])
        must(False, "enqueue: a start that nothing can train is not refused")
    except BadInputError:
        pass
    must(one.enqueue(requests[:3]) == 3, "enqueue: not all that is new is taken")
    must(
        other.enqueue([*requests, requests[0]]) == len(requests) - 3, "enqueue: what is there is taken again"
    )
    must(one.open_requests() == requests, "open_requests: not what was asked for, in its order")
    must(one.open_requests({Purpose.VERIFY}) == requests[-1:], "open_requests: not those of the purpose")


def _check_trainings(one: Store, other: Store, requests: list[Request], must: Must) -> None:
    first = one.claim()
    must(first is not None and first.request == requests[0], "claim: not the first one asked for")
    verified = other.claim({Purpose.VERIFY})
    must(verified is not None and verified.request == requests[-1], "claim: not the one of the purpose")
    claims = [claim for claim in (first, verified) if claim is not None]
    other.release(claims[1], failed_attempt=True)
    taken = other.claim({Purpose.VERIFY})
    must(taken is not None and taken.attempts == 1, "release: the failed attempt is not counted")
    claims = [claims[0], *([taken] if taken else [])]
    for n in range(len(requests)):  # one more than there are
        claim = (one, other)[n % 2].claim()
        claims += [claim] if claim else []
    got = [requests.index(claim.request) for claim in claims]
    must(
        sorted(got) == list(range(len(requests))),
        f"claim: trainings {got} of {len(requests)} were handed out",
    )
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


@contextmanager
def _named(kind: str, thing: Any) -> Iterator[Must]:
    """What requires, and turns whatever is raised inside into a `ContractError` that names the plug-in."""
    name = f"{kind} {thing if isinstance(thing, str) else type(thing).__name__}"

    def must(holds: bool, message: str) -> None:
        if not holds:
            raise ContractError(f"{name}: {message}")

    try:
        yield must
    except ContractError:
        raise
    except Exception as error:
        raise ContractError(f"{name}: {type(error).__name__}: {error}") from error
