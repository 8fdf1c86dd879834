"""From images to a proved answer: train, fit, choose, verify, until one configuration stands."""

from __future__ import annotations

from typing import Any

import numpy as np

from cpmodel.datasets.base import ImageSet
from cpmodel.errors import BadInputError, InfeasibleTargetError, StudyError
from cpmodel.optimize import Choice, optimize
from cpmodel.pipeline.answer import Answer, Goal, keep_answer
from cpmodel.pipeline.costing import complexity_of
from cpmodel.pipeline.fitting import PrecisionFit, fit_precision
from cpmodel.pipeline.loop import (
    FRESH_SEED,
    LEAST_SEEDS,
    Evidence,
    Step,
    View,
    decide,
    first_requests,
    fresh_evidence,
    training_seed,
)
from cpmodel.pipeline.material import Material
from cpmodel.pipeline.project import Project
from cpmodel.pipeline.watch import Watcher
from cpmodel.samples import Samples
from cpmodel.sampling.pool import Pool, weights_path
from cpmodel.space import Configuration
from cpmodel.study import Request
from cpmodel.verify import Verdict, judge

SILENT = Watcher()


def run(
    project: Project,
    images: ImageSet,
    goal: Goal,
    *,
    budget: int = 40,
    first: int | None = None,
    tolerance: float = 0.05,
    workers: int | None = None,
    watch: Watcher = SILENT,
) -> Answer:
    """Search, choose, verify; everything done is kept in the study, and the same call goes on from there.

    Parameters
    ----------
    budget : int
        Most trainings in all, verification included.
    first : int, optional
        Configurations of the first design; by default two fifths of the budget.
    tolerance : float
        The search ends when the expected further saving falls below this fraction of the complexity.
    workers : int, optional
        One a core unless given.

    Raises
    ------
    BadInputError
        As `check_search` raises, or a complexity that must be measured was not.
    """
    baseline_seeds = check_search(goal, budget, tolerance)
    space, study = project.space, project.study
    for name in (goal.complexity, *(goal.limits or {})):
        complexity_of(Material.of_study(project), name)  # refused now, not after the first trainings
    designed = min(first or round(0.4 * budget), budget - baseline_seeds - LEAST_SEEDS)
    macs = project.family.costs(space.enumerate(), project.task)["macs"]
    requests = first_requests(space, macs, designed, study.settings.seed, baseline_seeds)
    watch.expect(budget)
    watch.step(Step("explore", f"the baseline and {designed} configurations spread over cost"))
    study.enqueue(requests)
    with Pool(study, images, workers, watch.event) as pool:
        while True:
            pool.drain()
            samples = study.samples()
            samples.write_csv(project.folder / "samples.csv")
            target = goal.precision(samples)
            fit = fit_precision(samples, validate=False)
            view = _view(project, goal, samples, fit, target, budget, tolerance, pool.size)
            step = decide(view)
            watch.step(step)
            if step.action not in ("explore", "verify"):
                break
            study.enqueue(step.requests)
    verdict = None
    if step.action == "prove" and step.evidence is not None:
        verdict = prove(project, images, step.evidence, target)
    return _ended(project, goal, samples, fit, step.reason, verdict)


def check_search(goal: Goal, budget: int, tolerance: float) -> int:
    """How many seeds the baseline gets; a search that cannot be done is refused.

    Raises
    ------
    BadInputError
        The budget cannot hold a baseline, a design and a verification, or the tolerance is no fraction.
    """
    # a drop hangs on the baseline's mean, so that one must be known better
    baseline_seeds = 3 if goal.target is None else 2
    least = baseline_seeds + LEAST_SEEDS + 2
    if budget < least:
        raise BadInputError("budget", expected=f"{least} trainings or more", got=budget)
    if not 0 <= tolerance < 1:
        raise BadInputError("tolerance", expected="a fraction in [0, 1)", got=tolerance)
    return baseline_seeds


def verify(
    project: Project,
    images: ImageSet,
    goal: Goal,
    *,
    configuration: Configuration | None = None,
    seeds: int = LEAST_SEEDS,
    workers: int | None = None,
    watch: Watcher = SILENT,
) -> Answer:
    """Train one choice on fresh seeds, and judge it on the test split if it stands on validation.

    Parameters
    ----------
    configuration : mapping, optional
        Instead of the safe answer of the models (or the plain one, where none is safe).
    seeds : int
        Fresh seeds, two or more.

    Raises
    ------
    InfeasibleTargetError
        No configuration is predicted to reach the target.
    """
    study = project.study
    samples = study.samples()
    fit = fit_precision(samples, validate=False)
    choice = choose(Material.of_study(project, samples), goal, fit)
    if configuration is None:
        candidate = choice.safe or choice.plain
        if candidate is None:
            raise InfeasibleTargetError(unreachable(choice))
        configuration = candidate.configuration
    key = project.space.key(configuration)
    requests = tuple(
        Request(configuration, training_seed(study.settings.seed, FRESH_SEED + n), "verify")
        for n in range(seeds)
    )
    watch.step(Step("verify", f"{key}: fresh seeds", requests))
    watch.expect(len(samples) + study.enqueue(requests))
    with Pool(study, images, workers, watch.event) as pool:
        pool.drain(purposes={"verify"})
    samples = study.samples()
    samples.write_csv(project.folder / "samples.csv")
    target = goal.precision(samples)
    evidence = next((e for e in fresh_evidence(samples, target) if e.key == key), None)
    if evidence is None:
        raise StudyError(f"{key}: none of its fresh trainings succeeded", where=str(project.folder))
    verdict = None
    if evidence.probability >= goal.confidence:
        verdict = prove(project, images, evidence, target)
    said = (
        f"{key}: {evidence.probability:.0%} likely to reach the target by {len(evidence.seeds)} fresh seeds"
    )
    return _ended(project, goal, samples, fit, said, verdict)


def unreachable(choice: Choice) -> str:
    """The line that says a target cannot be reached, and what can."""
    best = choice.best
    return (
        f"target {choice.target:.4f} is out of reach: the best predicted precision is {best.precision:.4f}, "
        f"at {best.key} with {best.complexity:.4g} {choice.complexity} ({best.relative:.3g} of the baseline)"
    )


def _ended(
    project: Project, goal: Goal, samples: Samples, fit: PrecisionFit, reason: str, verdict: Verdict | None
) -> Answer:
    """The answer, kept as the study's choice.json."""
    target = goal.precision(samples)
    answer = Answer(
        "proved" if verdict is not None else "not proved",
        reason,
        target,
        choose(Material.of_study(project, samples), goal, fit),
        tuple(fresh_evidence(samples, target)),
        verdict,
        len(samples),
        float(samples.frame["train_s"].sum()),
    )
    keep_answer(project, answer)
    return answer


def choose(material: Material, goal: Goal, fit: PrecisionFit) -> Choice:
    """What the fitted models choose for a goal, over the whole space."""
    return optimize(
        material.space,
        fit.model,
        complexity_of(material, goal.complexity).of,
        target=goal.precision(material.samples),
        complexity=goal.complexity,
        confidence=goal.confidence,
        limits={n: (complexity_of(material, n).of, most) for n, most in (goal.limits or {}).items()},
    )


def prove(
    project: Project, images: ImageSet, evidence: Evidence, target: float, level: float = 0.95
) -> Verdict:
    """Open the test split for a configuration that stands, and judge it.

    The verdict is kept with the study and given again when the same proof is asked for: a test split that
    is looked at until it agrees proves nothing.
    """
    from cpmodel.train import Trainer

    kept: dict[str, Any] = project.study.note("verdicts") or {}
    name = f"{evidence.key} seeds={','.join(map(str, evidence.seeds))} target={target:.6f} level={level:g}"
    if name in kept:
        return Verdict.from_dict(kept[name])
    trainer = Trainer(images, project.family, project.study.settings.recipe)
    correct = []
    for seed in evidence.seeds:
        network = trainer.restore(
            evidence.configuration, weights_path(project.study.weights, evidence.key, seed)
        )
        correct.append(trainer.evaluate(network, evidence.configuration, "test").correct)
    verdict = judge(
        evidence.configuration,
        evidence.key,
        target,
        seeds=evidence.seeds,
        validation=evidence.precisions,
        correct=np.array(correct),
        groups=images.test.groups,
        level=level,
    )
    project.study.keep("verdicts", {**kept, name: verdict.to_dict()})
    return verdict


def _view(
    project: Project,
    goal: Goal,
    samples: Samples,
    fit: PrecisionFit,
    target: float,
    budget: int,
    tolerance: float,
    workers: int,
) -> View:
    material = Material.of_study(project, samples)
    X = project.space.enumerate()
    for name, most in (goal.limits or {}).items():
        X = X[complexity_of(material, name).of(X) <= most]
    if not len(X):
        raise BadInputError("limits", expected="some configuration within them", got=dict(goal.limits or {}))
    known = project.space.filled(X)
    return View(
        project.space,
        samples,
        X,
        complexity_of(material, goal.complexity).of(X),
        np.asarray(fit.model.predict(known)),
        fit.model.probability(known, target),
        target,
        goal.confidence,
        budget,
        tolerance,
        workers,
        project.study.settings.seed,
    )
