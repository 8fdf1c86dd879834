"""The sampler in Optuna studies of several storages, processes and kinds of space."""

from __future__ import annotations

import json
import multiprocessing
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from cpmodel.errors import BadInputError
from cpmodel.optuna import EnvelopeSampler
from cpmodel.space import Condition, Parameter, Space

optuna.logging.set_verbosity(optuna.logging.WARNING)
TARGET = 0.87


def macs(parameters: Any) -> float:
    return 7056.0 * parameters["width"] ** 2 * parameters["depth"]


def truth(width: int, depth: int) -> float:
    return 1 - 0.4 / width**0.5 - 0.1 / depth


def objective(trial: optuna.Trial) -> float:
    width, depth = trial.suggest_int("width", 4, 64, step=4), trial.suggest_int("depth", 1, 4)
    return truth(width, depth) + random.Random(trial.number).gauss(0, 0.002)


# cheapest of all pairs, by looking at each
BEST = min(
    (macs({"width": w, "depth": d}), w, d)
    for w in range(4, 65, 4)
    for d in range(1, 5)
    if truth(w, d) >= TARGET
)


def sampler(**how: Any) -> EnvelopeSampler:
    return EnvelopeSampler(macs, TARGET, **{"budget": 40, "model": "loggp", **how})


def searched(**how: Any) -> optuna.Study:
    study = optuna.create_study(sampler=sampler(**how), direction="maximize")
    study.optimize(objective, n_trials=40)
    return study


def told(study: optuna.Study) -> list[tuple[Any, ...]]:
    return [(t.number, t.params, t.value, t.user_attrs) for t in study.trials]


def test_the_cheapest_is_found_proved_and_the_study_stopped() -> None:
    study = searched()
    answer = sampler().answer(study)
    assert answer is not None
    assert (macs(answer.configuration), *answer.configuration.values()) == BEST
    assert answer.stands
    assert len(answer.seeds) >= 3
    assert len(study.trials) < 25
    purposes = Counter(t.user_attrs["purpose"] for t in study.trials)
    assert purposes["baseline"] == 2
    assert purposes["verify"] >= 3
    state = sampler().state(study)
    assert state is not None
    assert state.action == "prove"
    assert state.outlook is not None


def test_the_same_seed_gives_the_same_trials() -> None:
    assert told(searched(seed=3)) == told(searched(seed=3))
    assert told(searched(seed=3)) != told(searched(seed=4))


def storages(folder: Path, kind: str) -> BaseStorage:
    if kind == "sqlite":
        return RDBStorage(f"sqlite:///{folder}/trials.db")
    return JournalStorage(JournalFileBackend(str(folder / "trials.log")))


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_study_goes_on_from_its_storage_as_it_would_have(tmp_path: Path, kind: str) -> None:
    whole = told(searched())
    optuna.create_study(storage=storages(tmp_path, kind), study_name="s", direction="maximize")
    for part in (1, 4, 3, 40):
        study = optuna.load_study(study_name="s", storage=storages(tmp_path, kind), sampler=sampler())
        study.optimize(objective, n_trials=part)
        if len(study.trials) >= len(whole):
            break
    assert told(study) == whole


def slow(trial: optuna.Trial) -> float:
    value = objective(trial)
    time.sleep(0.05)
    return value


def take_part(folder: Path, kind: str) -> None:
    study = optuna.load_study(study_name="s", storage=storages(folder, kind), sampler=sampler())
    study.optimize(slow, n_trials=8)


@pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.FAIL])
def test_a_trial_that_has_not_asked_for_all_yet_does_not_tell_the_space(state: TrialState) -> None:
    study = optuna.create_study(sampler=sampler(), direction="maximize")
    cut = study.ask()
    cut.suggest_int("width", 4, 64, step=4)
    if state == TrialState.FAIL:
        study.tell(cut, state=state)
    for _ in range(3):
        trial = study.ask()
        study.tell(trial, objective(trial))
    assert all(set(t.params) == {"width", "depth"} for t in study.trials[1:])
    assert study.trials[-1].user_attrs["purpose"] == "design"


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_processes_share_a_study(tmp_path: Path, kind: str) -> None:
    optuna.create_study(storage=storages(tmp_path, kind), study_name="s", direction="maximize")
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=take_part, args=(tmp_path, kind)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    study = optuna.load_study(study_name="s", storage=storages(tmp_path, kind))
    trials = study.trials
    assert [t.number for t in trials] == list(range(len(trials)))
    assert all(t.state == TrialState.COMPLETE for t in trials)
    assert len({t.user_attrs["purpose"] for t in trials}) >= 3
    json.dumps([t.user_attrs for t in trials])  # as the dashboard shows them
    answer = sampler().answer(study)
    assert answer is None or macs(answer.configuration) <= 1.5 * BEST[0]


def test_running_trials_are_accounted_for() -> None:
    """Eight trials asked for before any is told: no two of a design or a search are alike."""
    study = optuna.create_study(sampler=sampler(stop=False), direction="maximize")
    for trial in [study.ask() for _ in range(2)]:
        study.tell(trial, objective(trial))
    for _ in range(2):
        asked = [study.ask() for _ in range(6)]
        values = [objective(trial) for trial in asked]
        kept = study.trials[-6:]
        once = [str(t.params) for t in kept if t.user_attrs["purpose"] in ("design", "refine")]
        assert len(set(once)) == len(once)
        for trial, value in zip(asked, values, strict=True):
            study.tell(trial, value)


def test_trials_planned_at_the_same_moment_differ() -> None:
    """Two that are asked for, neither of which has named a parameter yet."""
    study = optuna.create_study(sampler=sampler(stop=False), direction="maximize")
    for _ in range(6):
        trial = study.ask()
        study.tell(trial, objective(trial))
    first, second = study.ask(), study.ask()
    one, other = objective(first), objective(second)
    assert first.params != second.params
    assert one != other


def test_a_space_with_conditions_and_categories() -> None:
    space = Space(
        (
            Parameter("convs", (1, 2)),
            Parameter("width", (4, 8, 16, 32)),
            Parameter("second", (4, 8, 16), when=Condition("convs", (2,))),
            Parameter("pool", ("max", "avg"), categorical=True),
        )
    )

    def cost(c: Any) -> float:
        return float(100 * c["width"] + 30 * c["width"] * c.get("second", 0) + (c["pool"] == "avg"))

    def objective(trial: optuna.Trial) -> float:
        convs = trial.suggest_int("convs", 1, 2)
        width = trial.suggest_categorical("width", [4, 8, 16, 32])
        second = trial.suggest_int("second", 4, 16) if convs == 2 else 0
        better = trial.suggest_categorical("pool", ["max", "avg"]) == "max"
        lost = 0.3 / width**0.5 + (0.05 / second**0.5 if second else 0.06) + (0 if better else 0.02)
        return 1 - lost + random.Random(trial.number).gauss(0, 0.001)

    study = optuna.create_study(
        sampler=EnvelopeSampler(cost, 0.83, space=space, model="loggp", budget=40), direction="maximize"
    )
    study.optimize(objective, n_trials=40)
    for trial in study.trials:
        assert space.validated(trial.params) == trial.params
    answer = study.sampler.answer(study)  # type: ignore[attr-defined]
    assert answer is not None
    assert answer.configuration["pool"] == "max"


def test_continuous_ranges_failures_and_trials_of_others() -> None:
    """A logarithmic range; trials that are enqueued, pruned, fail, or have a parameter of their own."""

    def objective(trial: optuna.Trial) -> float:
        width = trial.suggest_float("width", 1.0, 64.0, log=True)
        depth = trial.suggest_int("depth", 1, 4)
        if trial.number % 2:
            trial.suggest_float("stray", 0, 1)
        if trial.number == 5:
            raise optuna.TrialPruned
        if trial.number == 6:
            raise ValueError
        return truth(width, depth) + random.Random(trial.number).gauss(0, 0.002)  # type: ignore[arg-type]

    study = optuna.create_study(sampler=sampler(), direction="maximize")
    study.enqueue_trial({"width": 10.0, "depth": 2})
    study.optimize(objective, n_trials=40, catch=(ValueError,))
    assert study.trials[0].params == {"width": 10.0, "depth": 2}
    assert "purpose" not in study.trials[0].user_attrs
    lost = [study.trials[n].params for n in (5, 6)]
    names = ("width", "depth")
    spent = [{n: t.params[n] for n in names} for t in study.trials[7:]]
    assert all({n: p[n] for n in names} not in spent for p in lost)
    answer = sampler().answer(study)
    assert answer is not None
    assert truth(**answer.configuration) >= TARGET - 0.002  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EnvelopeSampler(macs, 1.7), "target: expected a number in"),
        (lambda: EnvelopeSampler(macs, 0.9, confidence=1.0), "confidence: expected"),
        (lambda: EnvelopeSampler(macs, 0.9, budget=0), "budget: expected"),
        (lambda: EnvelopeSampler(macs, 0.9, tolerance=1.0), "tolerance: expected"),
        (lambda: EnvelopeSampler(macs, 0.9, candidates=0), "candidates: expected"),
    ],
)
def test_arguments_out_of_range(make: Any, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        make()


def test_studies_of_another_kind() -> None:
    for directions in (["minimize"], ["maximize", "maximize"]):
        study = optuna.create_study(sampler=sampler(), directions=directions)
        with pytest.raises(BadInputError, match="study: expected one objective, a precision to be maximised"):
            study.ask()
    study = optuna.create_study(sampler=sampler(), direction="maximize")
    with pytest.raises(BadInputError, match=r"value of trial 0: expected a precision in \[0, 1\], got 94"):
        study.optimize(lambda trial: 94.0 + 0 * objective(trial), n_trials=2)
    study = optuna.create_study(
        sampler=EnvelopeSampler(lambda c: c["width"] - 4, TARGET), direction="maximize"
    )
    with pytest.raises(BadInputError, match="cost of width=4,depth=1: expected a number above 0, got 0"):
        study.optimize(objective, n_trials=2)


def test_an_axis_is_searched_and_no_network_costs_more_for_it() -> None:
    width = Parameter("width", tuple(range(4, 65, 4)))
    space = Space((width, Parameter("depth", (1, 2, 3, 4)), Parameter("epochs", (1, 4, 16), axis=True)))
    costed: list[str] = []

    def cost(network: Any) -> float:
        costed.append(space.networks.key(network))
        return macs(network)

    def objective(trial: optuna.Trial) -> float:
        chosen = [trial.suggest_int(n, 1, 64) for n in ("width", "depth")]
        lost = {1: 0.1, 4: 0.02, 16: 0.0}[trial.suggest_categorical("epochs", [1, 4, 16])]
        return truth(*chosen) - lost + random.Random(trial.number).gauss(0, 0.002)

    sampler = EnvelopeSampler(cost, TARGET, space=space, budget=40, model="loggp")
    study = optuna.create_study(sampler=sampler, direction="maximize")
    study.optimize(objective, n_trials=40)
    answer = sampler.answer(study)
    assert answer is not None
    assert answer.configuration["epochs"] == 16
    assert macs(answer.configuration) <= 1.3 * BEST[0]
    assert len(costed) == len(set(costed)) == space.networks.size


def test_five_million_combinations_are_drawn_from() -> None:
    space = Space(tuple(Parameter(f"w{i}", tuple(2**k for k in range(9))) for i in range(7)))
    assert space.size > 4_500_000

    def objective(trial: optuna.Trial) -> float:
        widths = [trial.suggest_categorical(f"w{i}", [2**k for k in range(9)]) for i in range(7)]
        return 1 - sum(0.1 / w**0.5 for w in widths) + random.Random(trial.number).gauss(0, 0.002)

    sampler = EnvelopeSampler(
        lambda c: float(sum(c.values())), 0.8, space=space, budget=14, model="loggp", candidates=3000
    )
    study = optuna.create_study(sampler=sampler, direction="maximize")
    study.optimize(objective, n_trials=14)
    assert all(space.validated(trial.params) == trial.params for trial in study.trials)
    assert len({trial.user_attrs["purpose"] for trial in study.trials}) >= 3
