"""From images to a proved answer: train, fit, choose, verify, until one configuration stands."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence

from cpmodel.datasets.base import ImageSet
from cpmodel.errors import BadInputError, StudyError
from cpmodel.optimize import Choice, optimize
from cpmodel.pipeline.answer import Answer, Goal, keep_answer
from cpmodel.pipeline.clock import Clock, timed
from cpmodel.pipeline.costing import complexity_of, within
from cpmodel.pipeline.fitting import PrecisionFit, fit_precision
from cpmodel.pipeline.material import Material
from cpmodel.pipeline.project import Project
from cpmodel.pipeline.proof import baseline_networks, fresh_networks, prove
from cpmodel.pipeline.watch import Watcher
from cpmodel.pipeline.wording import Notation, unreachable_text
from cpmodel.records.sample import Purpose, Request
from cpmodel.samples import Samples
from cpmodel.search.acquisition import Outlook
from cpmodel.search.decide import (
    FRESH_SEED,
    LEAST_SEEDS,
    LOOKS,
    MOST_SEEDS,
    Evidence,
    Step,
    View,
    decide,
    first_requests,
    first_size,
    fresh_evidence,
    training_seed,
)
from cpmodel.space import CANDIDATES, Configuration, Floats, Space
from cpmodel.training.pool import Pool
from cpmodel.verify import Verdict

SILENT = Watcher()


def run(
    project: Project,
    images: ImageSet,
    goal: Goal,
    *,
    budget: int | None = 40,
    seconds: float | None = None,
    first: int | None = None,
    tolerance: float = 0.05,
    workers: int | None = None,
    devices: Sequence[str] = ("cpu",),
    full: bool = False,
    watch: Watcher = SILENT,
) -> Answer:
    """Search, choose, verify; everything done is kept in the study, and the same call goes on from there.

    Parameters
    ----------
    budget : int, optional
        Most trainings in all, verification included; None where only time counts.
    seconds : float, optional
        Time after which no training is started any more. What is left of it counts as so many trainings as
        fit into it, and what is learned is weighed by the time that it takes.
    first : int, optional
        Configurations of the first design; by default one more than there are parameters.
    tolerance : float
        The search ends when the expected further saving falls below this fraction of the complexity.
    workers : int, optional
        One a core unless given.
    devices : sequence of str
        What trains; see `Pool`.
    full : bool
        Whether every training goes to its end, even one whose end can be foreseen.

    Raises
    ------
    BadInputError
        As `check_search` raises, or a complexity that must be measured was not.
    """
    clock = Clock(seconds)
    baseline_seeds = check_search(goal, budget, tolerance)
    space, study = project.space, project.study
    complexity_of(Material.of_study(project), goal.complexity)  # refused now, not after the first trainings
    X = within(Material.of_study(project), goal.limits)
    designed = first or first_size(space)
    if budget is not None:
        designed = min(designed, budget - baseline_seeds - LEAST_SEEDS)
        watch.expect(budget)
    watch.step(
        Step("explore", f"the baseline and {designed} configurations spread over cost{said(space, X)}")
    )
    study.enqueue(first_requests(space, project.effort(X), designed, study.settings.seed, baseline_seeds, X))
    derived = Material.of_study(project).derived
    with Pool(study, images, workers, watch.event, full=full, devices=devices) as pool:
        while True:
            pool.drain(clock.deadline)
            samples = study.samples()
            samples.write_csv(project.folder / "samples.csv")
            target = goal.precision(samples)
            fit = fit_precision(samples, validate=False, derived=derived)
            view = _view(project, goal, samples, fit, target, budget, tolerance, pool.size)
            step = decide(view if seconds is None else timed(project, view, clock))
            watch.step(step)
            if step.action not in ("explore", "verify"):
                break
            study.enqueue(step.requests)
    reason = step.reason if not clock.late else f"the time of {seconds:g} s is up; {step.reason}"
    verdict = None
    if step.action == "prove" and step.evidence is not None:
        verdict = _proved(project, images, goal, step.evidence, workers, devices, watch)
    samples = project.study.samples()
    return _ended(project, goal, samples, fit, reason, verdict, step.outlook)


def said(space: Space, X: Floats) -> str:
    """What to say where a search does not look at the whole space; nothing where it does."""
    if space.size <= CANDIDATES:
        return ""
    return f"; of {space.size:,} configurations {len(X):,} that were drawn are looked at"


def check_search(goal: Goal, budget: int | None, tolerance: float) -> int:
    """How many seeds the baseline gets; a search that cannot be done is refused.

    Raises
    ------
    BadInputError
        The budget cannot hold a baseline, a design and a verification, or the tolerance is no fraction.
    """
    # a drop hangs on the baseline's mean, so that one must be known better
    baseline_seeds = 3 if goal.target is None else 2
    least = baseline_seeds + LEAST_SEEDS + 2
    if budget is not None and budget < least:
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
    devices: Sequence[str] = ("cpu",),
    watch: Watcher = SILENT,
) -> Answer:
    """Train one choice on fresh seeds, as many as it takes, and judge it on the test split if it stands.

    While the seeds leave it open on validation more are trained, up to twelve in all.

    Parameters
    ----------
    configuration : mapping, optional
        Instead of the safe answer of the models (or the plain one, where none is safe).
    seeds : int
        Fresh seeds at first, three or more.

    Returns
    -------
    Answer
        Status ``not proved`` without a verdict where no configuration is predicted to reach the target, or
        the fresh seeds speak against it.
    """
    if seeds < LEAST_SEEDS:
        raise BadInputError("seeds", expected=f"{LEAST_SEEDS} or more", got=seeds)
    samples = project.study.samples()
    material = Material.of_study(project, samples)
    fit = fit_precision(samples, validate=False, derived=material.derived)
    choice = choose(material, goal, fit)
    if configuration is None:
        candidate = choice.safe or choice.plain
        if candidate is None:
            reason = " ".join(unreachable_text(choice, Notation.of(choice=choice)))
            return _ended(project, goal, samples, fit, reason, None)
        configuration = candidate.configuration
    evidence = _fresh_seeds(project, images, goal, configuration, seeds, workers, devices, watch)
    verdict = None
    if evidence.stands:
        verdict = _proved(project, images, goal, evidence, workers, devices, watch)
    said = (
        f"{evidence.key}: {evidence.probability:.0%} likely to reach the target by "
        f"{len(evidence.seeds)} fresh seeds"
    )
    return _ended(project, goal, project.study.samples(), fit, said, verdict)


def _fresh_seeds(
    project: Project,
    images: ImageSet,
    goal: Goal,
    configuration: Configuration,
    seeds: int,
    workers: int | None,
    devices: Sequence[str],
    watch: Watcher,
) -> Evidence:
    """What fresh seeds say of one configuration, trained in turns until they decide."""
    study, key = project.study, project.space.key(configuration)
    wanted = seeds
    with Pool(study, images, workers, watch.event, devices=devices) as pool:
        while True:
            samples = study.samples()
            samples.write_csv(project.folder / "samples.csv")
            tested = fresh_evidence(samples, goal.precision(samples), goal.confidence)
            found = next((e for e in tested if e.key == key), None)
            have = 0 if found is None else len(found.seeds)
            tried = {s for s, k in zip(samples.frame["seed"], samples.keys, strict=True) if k == key}
            if found is not None and have >= wanted:
                if found.stands or found.fallen or have >= MOST_SEEDS:
                    return found
                wanted = next(look for look in LOOKS if look > have)
            if len(tried) > have + 2 * MOST_SEEDS:  # it fails again and again
                raise StudyError(f"{key}: its fresh trainings fail", where=str(project.folder))
            numbers = (training_seed(study.settings.seed, FRESH_SEED + n) for n in itertools.count())
            untried = itertools.islice((seed for seed in numbers if seed not in tried), wanted - have)
            requests = tuple(Request(configuration, seed, Purpose.VERIFY) for seed in untried)
            watch.step(Step("verify", f"{key}: {len(requests)} fresh seeds", requests))
            watch.expect(len(samples) + len(requests))
            study.enqueue(requests)
            pool.drain(purposes={Purpose.VERIFY})


def _proved(
    project: Project,
    images: ImageSet,
    goal: Goal,
    evidence: Evidence,
    workers: int | None,
    devices: Sequence[str],
    watch: Watcher,
) -> Verdict:
    """The verdict of the test split on a configuration that stands."""
    candidate = fresh_networks(evidence)
    target = goal.precision(project.study.samples())
    if goal.drop is None:
        return prove(project, images, candidate, target)
    baseline = baseline_networks(
        project,
        images,
        besides=_own(project, evidence),
        workers=workers,
        devices=devices,
        watch=watch,
    )
    return prove(project, images, candidate, target, drop=goal.drop, baseline=baseline)


def _own(project: Project, evidence: Evidence) -> tuple[int, ...]:
    """Seeds of the candidate that are the baseline's too: none but where it is the baseline."""
    return evidence.seeds if evidence.key == project.space.key(project.space.baseline) else ()


def _ended(
    project: Project,
    goal: Goal,
    samples: Samples,
    fit: PrecisionFit,
    reason: str,
    verdict: Verdict | None,
    outlook: Outlook | None = None,
) -> Answer:
    """The answer, kept as the study's choice.json."""
    choice = choose(Material.of_study(project, samples), goal, fit)
    answer = Answer.of(
        project,
        goal,
        samples,
        fit,
        reason=reason,
        choice=choice,
        evidence=fresh_evidence(samples, choice.target, goal.confidence),
        verdict=verdict,
        outlook=outlook,
    )
    keep_answer(project, answer)
    return answer


def choose(material: Material, goal: Goal, fit: PrecisionFit, whole: bool | None = None) -> Choice:
    """What the fitted models choose for a goal, over the whole space; `whole` as in `optimize`."""
    return optimize(
        material.space,
        fit.model,
        complexity_of(material, goal.complexity).of,
        target=goal.precision(material.samples),
        complexity=goal.complexity,
        confidence=goal.confidence,
        limits={n: (complexity_of(material, n).of, most) for n, most in (goal.limits or {}).items()},
        whole=whole,
    )


def _view(
    project: Project,
    goal: Goal,
    samples: Samples,
    fit: PrecisionFit,
    target: float,
    budget: int | None,
    tolerance: float,
    workers: int,
) -> View:
    material = Material.of_study(project, samples)
    X = within(material, goal.limits)
    return View(
        project.space,
        samples,
        X,
        complexity_of(material, goal.complexity).of(X),
        fit.model,
        target,
        goal.confidence,
        sys.maxsize if budget is None else budget,
        tolerance,
        workers,
        project.study.settings.seed,
    )
