#!/usr/bin/env python3
"""The study of Ke, Cao and Lv on their own ground, gender on LFW, repeated and taken further.

    python scripts/studies/lfw_gender.py --data LFW [--study studies/lfw_gender] [--workers N] [--device cuda]
    python scripts/studies/lfw_gender.py --data LFW --until train     # the first stages only

LFW is the folder or tar of Labeled Faces in the Wild, with `lfw_gender_labels.csv` inside or beside it (or
`--labels CSV`). It can be stopped anywhere; the same command goes on from there. The stages:

measure  run-times of 450 untrained networks and the baseline at batch 64, 200 at batch 1 (nothing may train)
train    the baseline, 5 seeds; 50 random configurations, which no model sees; the 1-D sweeps over the
         paper's values; the planes (f,s), (f,k) and (f,l)
prove    the paper's way: eq. 6 fitted to the planes, and `auto`; min C(T) s.t. P(T) >= baseline less 0.01 and
         0.02; each answer trained on 5 fresh seeds
search   the product's way: `cpmodel run --drop 0.02` in a study of its own, `--drop 0.01` in the same, and
         `--drop 0.02` again: 40 trainings at most for each. Its trainings of the baseline are the first
         study's: the same seeds give the same networks
tell     `data/measured/lfw_gender/`: samples, run-times, fits, summary, report

Everything is done by the product's own commands: `cpmodel sample`, `measure`, `fit`, `optimize`, `verify`,
`run`, `report`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lfw_told import CONFIDENCE, DROPS, MEASURED, PAIRS, SEARCHES, WAYS, Apart, tell

import cpmodel
from cpmodel.cli.progress import Progress
from cpmodel.codec import dump
from cpmodel.files import read_json, write_json
from cpmodel.optimize.results import Candidate
from cpmodel.pipeline.answer import Answer
from cpmodel.pipeline.costing import measure_study
from cpmodel.pipeline.options import Effort, Goal, MeasureOptions, StudyOptions
from cpmodel.pipeline.project import Project, plan
from cpmodel.pipeline.run import check_search, choose
from cpmodel.records.sample import Purpose, Request, Sample
from cpmodel.samples import COLUMNS
from cpmodel.search.designs import design
from cpmodel.space import Floats, Space

OUT = Path(__file__).parents[2] / "data" / "measured" / "lfw_gender"
STAGES = ("measure", "train", "prove", "search", "tell")
BASELINE_SEEDS, FRESH_SEEDS, HELD_OUT, BUDGET = 5, 5, 50, 40


def measure(project: Project) -> None:
    """Run-times of untrained networks, unless they are there."""
    for batch, count in MEASURED.items():
        if not any(c.conditions and c.conditions.batch == batch for c in project.costs.kinds):
            cpmodel.open(project.folder).measure(count=count, batch=batch, watch=Progress())


def train(project: Project, how: Mapping[str, Any]) -> None:
    """The baseline, the configurations kept apart, the planes."""
    study = cpmodel.open(project.folder)

    def sampled(design: str, **what: Any) -> None:
        study.sample(design=design, full=True, watch=Progress(), **what, **how)

    sampled("grid", vary=(), seeds=BASELINE_SEEDS)
    sampled("random", budget=drawn_for_test(project.space))
    sampled("sweep")
    for plane in PAIRS:
        sampled("grid", vary=plane)


def prove(project: Project, apart: Apart, how: Mapping[str, Any]) -> None:
    """The paper's way: what the models of the planes choose, trained on fresh seeds."""
    planes = apart.planes(project)
    material = project.material(planes)
    for way, model in WAYS.items():
        fit = material.precision(model)
        for drop in DROPS:
            plain = choose(material, Goal(drop=drop, confidence=CONFIDENCE), fit).plain
            if plain is None:
                continue

            def verified(chosen: Candidate = plain, drop: float = drop) -> Answer:
                for batch in MEASURED:
                    once = MeasureOptions(count=0, batch=batch)
                    measure_study(project, once, configurations=[chosen.configuration])
                return cpmodel.open(project.folder).verify(
                    drop=drop,
                    confidence=CONFIDENCE,
                    configuration=chosen.key,
                    seeds=FRESH_SEEDS,
                    watch=Progress(),
                    **how,
                )

            _once(project.folder / f"{way}-{drop:g}.json", verified, asked=plain.key)


def search(paper: Project, folder: Path, dataset: str, how: Mapping[str, Any]) -> None:
    """The product's way: it chooses what it trains; each search goes on in the study of those before."""
    take_over_baseline(paper, plan(folder, StudyOptions(dataset=dataset)).begin())
    spent = 0
    for name, drop in SEARCHES.items():

        def searched(drop: float = drop, budget: int = spent + BUDGET) -> Answer:
            return cpmodel.open(folder, dataset=dataset).run(
                drop=drop,
                confidence=CONFIDENCE,
                budget=budget,
                full=True,
                watch=Progress(),
                **how,
            )

        answer = _once(folder / f"{name}.json", searched)
        spent = int(answer["trainings"])
        if answer["verdict"] is None or len(answer["verdict"]["seeds"]) >= FRESH_SEEDS:
            continue

        def verified(drop: float = drop, key: str = answer["verdict"]["key"]) -> Answer:
            return cpmodel.open(folder).verify(
                drop=drop,
                confidence=CONFIDENCE,
                configuration=key,
                seeds=FRESH_SEEDS,
                watch=Progress(),
                **how,
            )

        spent = int(_once(folder / f"verified-{name}.json", verified)["trainings"])


def take_over_baseline(source: Project, target: Project) -> None:
    """Record in one study the baseline's trainings that `run --drop` would repeat bit for bit."""
    table, key = source.study.samples().measured, source.space.key(source.space.baseline)
    known = {
        int(row["seed"]): row
        for row, found in zip(table.frame.to_dict("records"), table.keys, strict=True)
        if found == key
    }
    seeds = sorted(known)[: check_search(Goal(drop=max(DROPS)), Effort(budget=BUDGET))]
    target.study.enqueue(Request(target.space.baseline, seed, Purpose.BASELINE) for seed in seeds)
    while (claim := target.study.claim({Purpose.BASELINE})) is not None:
        seed, row = claim.request.seed, known[claim.request.seed]
        place = target.study.weights_of(claim.request)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source.study.weights_of(Request(source.space.baseline, seed)), place)
        plain = {name: row[name] for name in COLUMNS if name not in ("curve", "start", "purpose")}
        plain["purpose"] = Purpose.BASELINE
        metrics = {str(n).removeprefix("metric_"): row[n] for n in row if str(n).startswith("metric_")}
        curve = tuple(json.loads(row["curve"]))
        target.study.record(claim, Sample(dict(target.space.baseline), **plain, curve=curve, metrics=metrics))


def _once(path: Path, answered: Callable[[], Answer], **beside: str) -> dict[str, Any]:
    """The answer that is kept there; asked for if there is none, and kept with what is to stand beside it."""
    if not path.exists():
        write_json(path, dump(answered()) | beside)
    kept: dict[str, Any] = read_json(path)
    return kept


def planes_of(space: Space) -> frozenset[str]:
    """Keys of the configurations in which at most two parameters move, one of them f."""
    return frozenset().union(*(keys(space, design("grid", space, None, 0, vary=plane)) for plane in PAIRS))


def drawn_for_test(space: Space, seed: int = 0) -> int:
    """How many configurations to draw so that `HELD_OUT` of them lie off the planes."""
    off = planes_of(space)
    return next(
        n
        for n in range(HELD_OUT, space.size + 1)
        if len(keys(space, design("random", space, n, seed)) - off) >= HELD_OUT
    )


def apart_of(space: Space, seed: int = 0) -> Apart:
    """What models are fitted to, and what they are judged by."""
    on = planes_of(space)
    drawn = keys(space, design("random", space, drawn_for_test(space, seed), seed))
    return Apart(on, frozenset(drawn - on))


def keys(space: Space, X: Floats) -> set[str]:
    """The texts of configurations."""
    return {space.key(c) for c in space.configurations(X)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="folder or tar of LFW")
    parser.add_argument("--labels", help="CSV of genders")
    parser.add_argument("--study", type=Path, default=Path("studies/lfw_gender"))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--device")
    parser.add_argument("--until", choices=STAGES, default=STAGES[-1], help="the last stage to do")
    options = parser.parse_args()
    wanted = STAGES[: STAGES.index(options.until) + 1]
    dataset = f"lfw-gender:{options.data}" + (f"?labels={options.labels}" if options.labels else "")
    how = {"workers": options.workers, "device": options.device}
    project = plan(options.study / "paper", StudyOptions(dataset=dataset)).begin()
    apart = apart_of(project.space)
    if "measure" in wanted:
        measure(project)
    if "train" in wanted:
        train(project, how)
    if "prove" in wanted:
        prove(project, apart, how)
    if "search" in wanted:
        search(project, options.study / "run", dataset, how)
    if "tell" in wanted:
        tell(project, options.study / "run", apart, options.out)


if __name__ == "__main__":
    main()
