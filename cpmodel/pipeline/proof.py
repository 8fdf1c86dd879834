"""The proof: the test split, opened for a frozen choice; openings are counted, and none is repeated.

Another test split may take the place of a study's, see `cpmodel.records.store.Store.accept`. Each opening
says by a hash which split it looked at, and speaks of that one only: networks that were put to one split are
put to another as a new opening, and the values of two splits are never pooled. The count runs on over all
splits: opening i of the study may err with probability error * 6 / (pi i)^2 whatever it looks at. The
probability that any of several claims is wrong is at most the sum of theirs, also where two splits share
images. A count that began anew with each split would state the whole error once a split: a study could then
buy any claim with enough splits.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from cpmodel.codec import dump, load
from cpmodel.errors import StudyError
from cpmodel.locks import locked
from cpmodel.pipeline.loop import pool_of
from cpmodel.pipeline.options import Goal, Machine
from cpmodel.pipeline.project import Project
from cpmodel.pipeline.watch import Watcher
from cpmodel.records.sample import Purpose, Request
from cpmodel.records.store import OPENINGS, TEST_LOCK
from cpmodel.search.evidence import LEAST_SEEDS, Evidence, untried_seeds
from cpmodel.space import Floats
from cpmodel.verify import ERROR, Networks, Opened, Verdict, compared, error_of_opening, judge


@dataclass(frozen=True)
class Opening:
    """One opening of a test split, as the study counts them.

    Parameters
    ----------
    number : from 1, over all test splits that the study has had
    networks, against : what was put to it; the baseline's that they were compared with, empty for a target
    spent : the part of the study's stated error that this opening may err with
    verdict : None if the process that opened it ended before it could say
    split : hash of the test split; empty in answers of versions that knew one split only
    """

    number: int
    networks: str
    against: str
    spent: float
    verdict: Verdict | None
    split: str = ""


def openings(project: Project) -> tuple[Opening, ...]:
    """Every opening of the study's test splits, in order."""
    # one that says nothing of its split was kept before there could be another
    kept = [{"split": project.study.settings.test, **each} for each in project.study.note(OPENINGS) or []]
    return tuple(load(Opening, each, what="opening", where=str(project.folder)) for each in kept)


def outdated(project: Project, verdict: Verdict | None) -> bool:
    """Whether there is a verdict, and another test split has taken the place of the one that it is about."""
    number, today = 0 if verdict is None else verdict.opening, project.study.settings.test
    return any(o.number == number and o.split != today for o in openings(project))


def prove(project: Project, evidence: Evidence, goal: Goal, machine: Machine, watch: Watcher) -> Verdict:
    """Open the test split for a configuration that stands, and judge it.

    What was measured is kept with the study and judged again when the same networks are asked about on the
    same split: a test split that is looked at until it agrees proves nothing. Every other opening spends its
    part of the stated error, see `cpmodel.verify`; it is counted before anything is looked at.

    With a drop for a goal, the baseline's own networks are put to the same images; those missing are trained.
    """
    candidate = Networks(evidence.key, evidence.configuration, evidence.seeds, evidence.precisions)
    target, baseline = project.material().target(goal), None
    if goal.drop is not None:
        own = evidence.key == project.space.key(project.space.baseline)
        # the baseline is compared with other seeds of its own
        baseline = baseline_networks(project, machine, watch, besides=evidence.seeds if own else ())
    against = "" if baseline is None else str(baseline)
    images = project.images()  # before the lock, which is taken where another test split is accepted
    asked = str(candidate), against, images.test_hash
    with locked(project.folder / TEST_LOCK):
        known = list(openings(project))
        found = next((o for o in known if (o.networks, o.against, o.split) == asked), None)
        if found is None:
            number = len(known) + 1
            spent = error_of_opening(number, ERROR)
            found = Opening(number, str(candidate), against, spent, None, images.test_hash)
            known.append(found)
            project.study.keep(OPENINGS, dump(known))
        if found.verdict is not None:
            verdict = found.verdict.judged(target, goal.drop)
        else:
            values, test, comparison = on_test(project, candidate), images.test, None
            opened = Opened(test.groups, project.metric.strata(test.labels), found.number)
            if baseline is not None and goal.drop is not None:
                comparison = compared(baseline, goal.drop, values, on_test(project, baseline), opened)
            verdict = judge(candidate, target, values, opened, comparison)
        known[found.number - 1] = replace(found, verdict=verdict)
        project.study.keep(OPENINGS, dump(known))
    return verdict


def on_test(project: Project, networks: Networks) -> Floats:
    """What each test image adds to the precision of each of the networks, shape (seeds, images)."""
    from cpmodel.training.trainer import Trainer

    recipe, configuration = project.study.settings.recipe, project.space.network(networks.configuration)
    trainer = Trainer(project.images(), project.family, recipe, metric=project.metric)
    values = []
    for seed in networks.seeds:
        path = project.study.weights_of(Request(networks.configuration, seed))
        network = trainer.restore(configuration, path)
        values.append(trainer.evaluate(network, configuration, "test").values)
    return np.array(values)


def baseline_networks(
    project: Project, machine: Machine, watch: Watcher, besides: Collection[int] = ()
) -> Networks:
    """The baseline's own networks, but for those of some seeds; those missing are trained first."""
    found = _kept_baseline(project, besides)
    if len(found.seeds) < LEAST_SEEDS:
        study, samples = project.study, project.material().samples
        untried = untried_seeds(samples, found.configuration, study.settings.seed, 0)
        seeds = itertools.islice((s for s in untried if s not in besides), LEAST_SEEDS - len(found.seeds))
        study.enqueue([Request(found.configuration, seed, Purpose.BASELINE) for seed in seeds])
        with pool_of(project, machine, watch) as pool:
            pool.drain(purposes={Purpose.BASELINE})
        found = _kept_baseline(project, besides)
    if not found.seeds:
        raise StudyError(f"baseline {found.key}: none of its trainings succeeded", where=str(project.folder))
    return found


def _kept_baseline(project: Project, besides: Collection[int]) -> Networks:
    """The baseline's networks whose weights are there."""
    space, usable = project.space, project.material().samples.usable
    key, weights_of = space.key(space.baseline), project.study.weights_of
    kept = {
        int(seed): float(precision)
        for seed, precision, row in zip(usable.frame["seed"], usable.precision, usable.keys, strict=True)
        if row == key and seed not in besides and weights_of(Request(space.baseline, int(seed))).exists()
    }
    return Networks(key, dict(space.baseline), tuple(sorted(kept)), tuple(kept[s] for s in sorted(kept)))
