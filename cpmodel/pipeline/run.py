"""From images to a proved answer: train, fit, choose, verify, until one configuration stands."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

from cpmodel.errors import BadInputError, StudyError
from cpmodel.optimize import Choice, Problem, cheapest
from cpmodel.pipeline.answer import ANSWER, STATUS, Answer, Grounds, keep
from cpmodel.pipeline.clock import timed
from cpmodel.pipeline.costing import complexity_of, default_note, resolved, within
from cpmodel.pipeline.fitting import PrecisionFit
from cpmodel.pipeline.loop import Moment, pool_of, sampled, searched
from cpmodel.pipeline.material import Material
from cpmodel.pipeline.options import DesignOptions, Effort, Goal, Machine, ProofOptions, Training
from cpmodel.pipeline.project import Project
from cpmodel.pipeline.proof import openings, prove
from cpmodel.pipeline.watch import SILENT, Watcher
from cpmodel.pipeline.wording import Notation, unreachable_text
from cpmodel.records.sample import Purpose, Request
from cpmodel.samples import Samples
from cpmodel.search.acquisition import Outlook
from cpmodel.search.decide import Step, View, decide
from cpmodel.search.designs import design as design_of
from cpmodel.search.evidence import (
    LEAST_SEEDS,
    LOOKS,
    MOST_SEEDS,
    Evidence,
    fresh_evidence,
    fresh_requests,
    training_seed,
)
from cpmodel.search.first import first_size
from cpmodel.space import Configuration
from cpmodel.verify import Verdict

ALONE, UNLIMITED, USUAL = Machine(), Training(budget=None), Effort()


def run(project: Project, goal: Goal, effort: Effort = USUAL, watch: Watcher = SILENT) -> Answer:
    """Search, choose, verify; everything done is kept in the study, and the same call goes on from there.

    What is left of a time counts as so many trainings as fit into it, and what is learned is weighed by the
    time that it takes.
    """
    baseline_seeds = check_search(goal, effort)
    material, space = project.material(), project.space
    goal = resolved(goal, material)
    cost = complexity_of(material, goal.complexity).of  # refused now, not after the first trainings
    X = within(material, goal.limits)
    price = cost(X)
    designed, budget = first_size(space), sys.maxsize
    if effort.budget is not None:
        budget = effort.budget
        designed = min(designed, budget - baseline_seeds - LEAST_SEEDS)

    def next_step(now: Moment) -> Step:
        view = View(
            space,
            now.material.samples,
            X,
            price,
            now.fit.model,
            now.material.target(goal),
            goal.confidence,
            budget,
            effort.tolerance,
            now.workers,
            project.study.settings.seed,
        )
        return decide(view if effort.seconds is None else timed(now.material, view, now.clock))

    last, step = searched(project, X, (designed, baseline_seeds, LEAST_SEEDS), next_step, effort, watch)
    reason = f"the time of {effort.seconds:g} s is up; {step.reason}" if last.clock.late else step.reason
    verdict = None
    if step.evidence is not None:
        verdict = prove(project, step.evidence, goal, effort, watch)
    return _ended(project, goal, reason, verdict, step.outlook)


def check_search(goal: Goal, effort: Effort) -> int:
    """How many seeds the baseline gets; a budget that cannot hold it, a design and a proof is refused."""
    # a drop hangs on the baseline's mean, so that one must be known better
    baseline_seeds = 3 if goal.target is None else 2
    least = baseline_seeds + LEAST_SEEDS + 2
    if effort.budget is not None and effort.budget < least:
        raise BadInputError("budget", expected=f"{least} trainings or more", got=effort.budget)
    return baseline_seeds


def sample(
    project: Project, how: DesignOptions, effort: Training = UNLIMITED, watch: Watcher = SILENT
) -> Samples:
    """Train the configurations of a design, the budget being most of them; what is done is not done again.

    All configurations are trained once before any is trained again. All samples are kept as ``samples.csv``.
    """
    started = time.monotonic()
    space, study, material = project.space, project.study, project.material()
    X = design_of(how.design, space, effort.budget, study.settings.seed, material.effort, how.vary)
    # the longest trainings first, so that no worker is left with one while the others are done
    configurations = space.configurations(X[(-material.effort(X)).argsort(kind="stable")])
    # the baseline's networks are kept: a drop is judged against them
    purposes = [Purpose.BASELINE if c == space.baseline else Purpose.DESIGN for c in configurations]
    study.enqueue(
        Request(configuration, training_seed(study.settings.seed, number), purpose)
        for number in range(how.seeds)
        for configuration, purpose in zip(configurations, purposes, strict=True)
    )
    watch.expect(len(material.samples) + len(study.open_requests()))
    try:
        with pool_of(project, effort, watch) as pool:
            pool.drain(None if effort.seconds is None else started + effort.seconds)
    finally:
        samples = sampled(project).samples
    return samples


def verify(
    project: Project,
    goal: Goal,
    proof: ProofOptions | None = None,
    machine: Machine = ALONE,
    watch: Watcher = SILENT,
) -> Answer:
    """Train one choice on fresh seeds, as many as it takes, and judge it on the test split if it stands.

    The choice is the safe answer of the models (the plain one, where none is safe) unless another is given.
    While the seeds leave it open on validation more are trained. It is ``not proved``, without a verdict,
    where no configuration is predicted to reach the target, or the fresh seeds speak against it.
    """
    proof = proof or ProofOptions()
    material = project.material()
    goal = resolved(goal, material)
    configuration = proof.configuration
    if configuration is None:
        choice = choose(material, goal, material.precision())
        candidate = choice.safe or choice.plain
        if candidate is None:
            reason = " ".join(unreachable_text(choice, Notation.of(choice=choice)))
            return _ended(project, goal, reason, None)
        configuration = candidate.configuration
    elif isinstance(configuration, str):
        configuration = project.space.parse(configuration)
    evidence = _fresh_seeds(project, goal, configuration, proof.seeds, machine, watch)
    verdict = prove(project, evidence, goal, machine, watch) if evidence.stands else None
    likely = f"{evidence.probability:.0%} likely to reach the target"
    reason = f"{evidence.key}: {likely} by {len(evidence.seeds)} fresh seeds"
    return _ended(project, goal, reason, verdict)


def _fresh_seeds(
    project: Project, goal: Goal, configuration: Configuration, wanted: int, machine: Machine, watch: Watcher
) -> Evidence:
    """What fresh seeds, `wanted` at first, say of one configuration, trained in turns until they decide."""
    study, key = project.study, project.space.key(configuration)
    with pool_of(project, machine, watch) as pool:
        while True:
            material = sampled(project)
            samples = material.samples
            tested = fresh_evidence(samples, material.target(goal), goal.confidence)
            found = next((e for e in tested if e.key == key), None)
            have = 0 if found is None else len(found.seeds)
            if found is not None and have >= wanted:
                if found.stands or found.fallen or have >= MOST_SEEDS:
                    return found
                wanted = next(look for look in LOOKS if look > have)
            if samples.keys.count(key) > have + 2 * MOST_SEEDS:  # it fails again and again
                raise StudyError(f"{key}: its fresh trainings fail", where=str(project.folder))
            requests = fresh_requests(samples, configuration, wanted - have, study.settings.seed)
            watch.step(Step("verify", f"{key}: {len(requests)} fresh seeds", requests))
            watch.expect(len(samples) + len(requests))
            study.enqueue(requests)
            pool.drain(purposes={Purpose.VERIFY})


def _ended(
    project: Project,
    goal: Goal,
    reason: str,
    verdict: Verdict | None,
    outlook: Outlook | None = None,
) -> Answer:
    """The answer, kept as the study's choice.json."""
    material = project.material()
    samples, fit = material.samples, material.precision(validate=True)
    choice = choose(material, goal, fit)
    answer = Answer(
        "not proved" if verdict is None else STATUS[verdict.status],
        reason,
        choice.target,
        choice,
        tuple(fresh_evidence(samples, choice.target, goal.confidence)),
        verdict,
        openings(project),
        len(samples),
        float(samples.frame["train_s"].sum()),
        Grounds.of(project, goal, samples, fit),
        outlook,
    )
    keep(project.folder / ANSWER, answer)
    return answer


def choose(material: Material, goal: Goal, fit: PrecisionFit, whole: bool | None = None) -> Choice:
    """What the fitted models choose for a goal, over the whole space; `whole` as in `cheapest`."""
    asked = resolved(goal, material)
    problem = Problem(
        material.space,
        fit.model,
        complexity_of(material, asked.complexity).of,
        asked.complexity,
        limits={name: (complexity_of(material, name).of, most) for name, most in asked.limits.items()},
        also=material.samples.X,
    )
    choice = cheapest(problem, material.target(asked), asked.confidence, whole=whole)
    return choice if goal.complexity else replace(choice, notes=(*default_note(material), *choice.notes))
