"""Other people's optimisers, each at its best settings, behind the questions that search.py asks.

Settings that were chosen: TPE multivariate; NSGA-II with a population of 10, since 60 trainings are six
generations of that; the number of first random trainings of TPE, GP and BoTorch at 10, their usual number;
parameters as ordered numbers, not as categories. Optuna's samplers and SMAC see the cost as an observed
objective (there is no way to tell them). BoTorch is told it: expected improvement with noise (those trained
are as uncertain as the model says), the cost a deterministic function, the constraint a Gaussian process of
log(1 - P) over the logs of the parameters, maximised over the configurations of the table.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cpmodel.space import Floats

if TYPE_CHECKING:
    from search import Trainings

FIRST = 10
# BoTorch's acquisition is evaluated on so many configurations, the best by its closed form without noise
CHOICES, DRAWS = 500, 512


def cheapest_seen(trainings: Trainings) -> int | None:
    """What a user would claim: the cheapest whose mean observed precision reaches the target."""
    case = trainings.case
    rows = np.array(trainings.rows)
    best = [
        row
        for row in dict.fromkeys(trainings.rows)
        if np.array(trainings.observed)[rows == row].mean() >= case.target
    ]
    return min(best, key=lambda row: float(case.cost[row]), default=None)


def random_search(trainings: Trainings) -> int | None:
    """Uniform, without repeats."""
    rng = np.random.default_rng(trainings.seed)
    for row in rng.permutation(len(trainings.case.X))[: trainings.left]:
        trainings.train(int(row))
    return cheapest_seen(trainings)


def bisection(trainings: Trainings) -> int | None:
    """Bisection of the cost axis, then ascending cost: it knows the cost, and has no model of precision.

    A level of cost counts as feasible when one of three random configurations near it reaches the target;
    where levels are told apart to 5 %, the rest is spent on random configurations cheaper than the best,
    at most as much as that bracket is wide, the cheapest first.
    """
    case, rng = trainings.case, np.random.default_rng(trainings.seed)
    order = np.argsort(case.cost, kind="stable")
    position = np.log(case.cost[order])
    low, high = float(position[0]), float(position[-1])
    while high - low > 0.05 and trainings.left >= 3:
        middle = (low + high) / 2
        at = int(np.searchsorted(position, middle))
        near = order[max(at - 50, 0) : at + 50]
        seen = [trainings.train(int(row)) for row in rng.choice(near, 3, replace=False)]
        low, high = (low, middle) if max(seen) >= case.target else (middle, high)
    while trainings.left:
        best = cheapest_seen(trainings)
        top = np.log(case.cost[best]) if best is not None else float(position[-1])
        pool = np.setdiff1d(order[(position < top) & (position > top - 0.3)], trainings.rows)
        if not len(pool):
            break
        some = rng.choice(pool, min(5, len(pool), trainings.left), replace=False)
        for row in some[np.argsort(case.cost[some])]:
            if trainings.train(int(row)) >= case.target:
                break
    return cheapest_seen(trainings)


def optuna_search(sampler: Callable[[int, Any], Any]) -> Callable[[Trainings], int | None]:
    """Minimise the cost under the constraint that the precision reaches the target."""

    def search(trainings: Trainings) -> int | None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore")
        case, space = trainings.case, trainings.case.space
        rows = {row.tobytes(): number for number, row in enumerate(case.X)}

        def constraints(trial: Any) -> tuple[float]:
            return (float(trial.user_attrs["short"]),)

        study = optuna.create_study(sampler=sampler(trainings.seed, constraints))
        while trainings.left:
            trial = study.ask()
            values = [
                p.values[trial.suggest_int(p.name, 0, len(p.values) - 1)] if not steady(p.values)
                else trial.suggest_int(p.name, p.values[0], p.values[-1], step=steady(p.values))
                for p in space.parameters
            ]  # fmt: skip
            row = rows[np.array(values, dtype=np.float64).tobytes()]
            trial.set_user_attr("short", case.target - trainings.train(row))
            study.tell(trial, float(np.log(case.cost[row])))
        return cheapest_seen(trainings)

    return search


def steady(values: Any) -> int:
    """The step between values where it is always the same, else 0."""
    steps = set(np.diff(values).tolist())
    return int(steps.pop()) if len(steps) == 1 else 0


def tpe(seed: int, constraints: Any) -> Any:
    """Optuna's TPE."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, multivariate=True, n_startup_trials=FIRST, constraints_func=constraints)


def gp(seed: int, constraints: Any) -> Any:
    """Optuna's Gaussian process."""
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, n_startup_trials=FIRST, constraints_func=constraints)


def nsga2(seed: int, constraints: Any) -> Any:
    """Optuna's NSGA-II."""
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=seed, population_size=FIRST, constraints_func=constraints)


def levels(X: Floats) -> Floats:
    """Logarithms of the parameters from 0 to 1."""
    low, high = np.log(X.min(axis=0)), np.log(X.max(axis=0))
    return np.asarray((np.log(X) - low) / np.where(high > low, high - low, 1.0))


def botorch_search(trainings: Trainings) -> int | None:
    """Constrained noisy expected improvement, told the cost, on BoTorch's Gaussian process.

    What qLogNoisyExpectedImprovement computes for one candidate at a time (the draws at those trained and at
    the candidate together) is computed for all candidates from the same draws.
    """
    import torch
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.models.transforms import Standardize
    from gpytorch.mlls import ExactMarginalLogLikelihood
    from scipy.stats import norm, qmc

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(trainings.seed)
    case = trainings.case
    F, log_cost = levels(case.X), np.log(case.cost)
    bound = float(np.log(1 - case.target))
    whole = torch.tensor(F, dtype=torch.float64)
    sobol = qmc.Sobol(F.shape[1], rng=np.random.default_rng(trainings.seed)).random(16)[:FIRST]
    for point in sobol:
        trainings.train(int(np.argmin(((F - point) ** 2).sum(axis=1))))
    while trainings.left:
        rows = np.unique(trainings.rows)
        y = np.log(np.maximum(1 - np.array(trainings.observed), 1e-6))
        model = SingleTaskGP(
            whole[trainings.rows], torch.tensor(y)[:, None], outcome_transform=Standardize(1)
        )
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        with torch.no_grad():
            law = [model.posterior(part) for part in whole.split(4096)]
        mean = np.concatenate([part.mean.numpy()[:, 0] for part in law])
        std = np.concatenate([part.variance.sqrt().numpy()[:, 0] for part in law])
        likely = norm.cdf((bound - mean) / std)
        fresh = np.setdiff1d(np.arange(len(F)), rows)
        good = rows[likely[rows] >= 0.5]
        best = log_cost[good].min() if len(good) else log_cost.max() + 1
        closed = likely[fresh] * np.maximum(best - log_cost[fresh], 0)
        # also those that are likely but dear: what is trained may prove not to reach the target
        some = fresh[np.argsort(-(closed + 1e-6 * likely[fresh]), kind="stable")[:CHOICES]]
        with torch.no_grad():
            both = model.posterior(whole[np.concatenate([rows, some])])
            reaches = both.rsample(torch.Size([DRAWS])).numpy()[..., 0] <= bound
        had = np.where(reaches[:, : len(rows)], log_cost[rows], log_cost.max() + 1).min(axis=1)
        gain = np.where(reaches[:, len(rows) :], np.maximum(had[:, None] - log_cost[some], 0), 0).mean(axis=0)
        trainings.train(int(some[int(gain.argmax())]))
    return cheapest_seen(trainings)


def smac_search(trainings: Trainings) -> int | None:
    """SMAC3's facade for hyperparameters (random forest, log expected improvement), with a penalty.

    It has no constraints: below the target the objective is one more than the dearest, and rises with what is
    lacking, so that every infeasible configuration is worse than every feasible one.
    """
    import logging
    import tempfile

    from ConfigSpace import ConfigurationSpace, OrdinalHyperparameter
    from smac import HyperparameterOptimizationFacade as Facade
    from smac import Scenario
    from smac.runhistory.dataclasses import TrialValue

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    case = trainings.case
    rows = {row.tobytes(): number for number, row in enumerate(case.X)}
    names = case.space.names
    configurations = ConfigurationSpace(seed=trainings.seed)
    configurations.add([OrdinalHyperparameter(p.name, p.values) for p in case.space.parameters])
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            configurations,
            n_trials=trainings.left,
            deterministic=True,
            seed=trainings.seed,
            output_directory=folder,  # type: ignore[arg-type]
        )
        start = Facade.get_initial_design(scenario, n_configs=FIRST)
        smac = Facade(scenario, lambda config, seed=0: 0.0, initial_design=start, overwrite=True)
        while trainings.left:
            info = smac.ask()
            row = rows[np.array([info.config[n] for n in names], dtype=np.float64).tobytes()]
            short = case.target - trainings.train(row)
            cost = float(np.log(case.cost[row] / case.cost.max()))
            smac.tell(info, TrialValue(cost=cost if short <= 0 else 1.0 + 100 * short))
    return cheapest_seen(trainings)


PEERS: dict[str, Callable[[Any], int | None]] = {
    "random": random_search,
    "bisection": bisection,
    "tpe (optuna)": optuna_search(tpe),
    "gp (optuna)": optuna_search(gp),
    "nsga-ii (optuna)": optuna_search(nsga2),
}
if importlib.util.find_spec("botorch"):
    PEERS["nei of known cost (botorch)"] = botorch_search
if importlib.util.find_spec("smac"):
    PEERS["smac"] = smac_search
