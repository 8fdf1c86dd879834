"""What the study of gender on LFW tells: samples, fits, errors, answers, beside what the paper printed."""

from __future__ import annotations

import math
import platform
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from cpmodel.codec import dump
from cpmodel.cost import LATENCY, device_name
from cpmodel.errors import FitWarning
from cpmodel.files import read_json, write_json, write_text
from cpmodel.pipeline.costing import Complexity, measured_cost
from cpmodel.pipeline.fitting import PrecisionFit
from cpmodel.pipeline.material import Material
from cpmodel.pipeline.options import Goal
from cpmodel.pipeline.project import Project, reopen
from cpmodel.pipeline.run import choose
from cpmodel.pipeline.stages import Fits
from cpmodel.records.sample import Request
from cpmodel.report.build import page_of
from cpmodel.report.page import Table
from cpmodel.report.render import write_report
from cpmodel.samples import Samples
from cpmodel.search.evidence import FRESH_SEED, pooled_noise
from cpmodel.space import Configuration, Floats
from cpmodel.surrogates.precision.explinear import ExponentialLinear
from cpmodel.training.trainer import Trainer
from cpmodel.verify import Interval, precision_interval

DROPS = (0.01, 0.02)
MEASURED = {64: 450, 1: 200}  # how many networks' run-times, by images at a time
CONFIDENCE = 0.9
WAYS = {"eq6": "explinear", "auto": "auto"}  # how the paper's way models P, and the product's model of that
# One after the other in one study: the trainings of all before count, and are known to, each
SEARCHES = {"run-0.02": 0.02, "run-0.01": 0.01, "run-0.02-again": 0.02}
LEVEL = 0.9
PRINTED = Path(__file__).parents[2] / "data" / "published" / "lfw_gender_ke_coefficients.csv"
# The planes; the sweeps of f, s, k and l lie on them, too
PAIRS = (("f", "s"), ("f", "k"), ("f", "l"))
NOTE = (
    "The printed coefficients do not reproduce the paper's own baseline of 0.95: at gamma = 1 eq. 6 gives "
    "0.773, the rows of Table I 1.20, 0.35, -0.02 and 2.53, those of Table II 0.846, 0.955 and 1.556; and "
    "alpha1 = 0.626e7 must be a negative power of ten."
)


@dataclass(frozen=True)
class Apart:
    """Keys of the configurations that models are fitted to, and of those they are judged by."""

    on: frozenset[str]
    off: frozenset[str]

    def planes(self, project: Project) -> Samples:
        """The trainings of the planes, the baseline's among them, verifications left out."""
        return _rows(project.study.samples(), self.on)

    def held_out(self, project: Project) -> Samples:
        """The trainings that no model sees."""
        return _rows(project.study.samples(), self.off)

    def searched(self, run: Path) -> dict[str, Samples]:
        """What the search trained until its first answer, and in all, without what is kept apart."""
        first = run / f"{next(iter(SEARCHES))}.json"
        if not first.exists():
            return {}
        samples = reopen(run).study.samples()
        seen = np.array([key not in self.off for key in samples.keys])
        parts = {
            "cpmodel run until its first answer": seen
            & (np.arange(len(seen)) < read_json(first)["trainings"]),
            "cpmodel run": seen,
        }
        return {
            name: Samples(samples.space, samples.frame[rows].reset_index(drop=True)).usable
            for name, rows in parts.items()
        }


def _rows(samples: Samples, keys: Iterable[str]) -> Samples:
    wanted = set(keys)
    kept = np.array([key in wanted for key in samples.keys]) & samples.frame["purpose"].isin(
        ["design", "baseline"]
    ).to_numpy(bool)
    return Samples(samples.space, samples.frame[kept].reset_index(drop=True)).usable


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A model of P against the configurations kept apart."""

    name: str
    trained: int
    fit: PrecisionFit
    predicted: Floats
    low: Floats
    high: Floats
    measured: Floats

    @classmethod
    def of(cls, name: str, seen: Material, rest: Samples) -> HeldOut:
        """Fitted to what was seen, judged by the rest."""
        fit = seen.precision(name, validate=True)
        X = rest.space.filled(rest.X)
        low, high = fit.model.predict_interval(X, LEVEL)
        predicted = np.asarray(fit.model.predict(X))
        return cls(name, len(seen.samples), fit, predicted, low, high, rest.precision)

    @property
    def relative(self) -> Floats:
        """|predicted - measured| / measured of each."""
        return np.abs(self.predicted - self.measured) / self.measured

    def shown(self) -> PrecisionFit:
        """The fit against what it had not seen, for the page."""
        return replace(
            self.fit,
            name="eq. 6" if self.name == WAYS["eq6"] else self.name,
            cv_relative_error=float(self.relative.mean()),
            measured=self.measured,
            predicted=self.predicted,
            low=self.low,
            high=self.high,
        )

    def summary(self) -> dict[str, Any]:
        """JSON-ready."""
        inside = (self.low <= self.measured) & (self.measured <= self.high)
        return {
            "relative_error": float(self.relative.mean()),
            "standard_error": float(self.relative.std(ddof=1) / math.sqrt(len(self.relative))),
            "relative_error_p95": float(np.quantile(self.relative, 0.95)),
            "in_sample": self.fit.relative_error,
            "cross_validated": self.fit.cv_relative_error,
            "covered_90": float(inside.mean()),
            "trained": self.trained,
            "n": len(self.measured),
        }


def tell(project: Project, run: Path, apart: Apart, out: Path) -> None:
    """Write the study's folder; stages that were not done are left out of it."""
    planes, rest = apart.planes(project), apart.held_out(project)
    material = project.material()
    studies = {"paper": project} | ({"run": reopen(run)} if (run / "study.db").exists() else {})
    images = project.images()
    trainer = Trainer(images, project.family, project.study.settings.recipe)
    fitted = project.material(planes)
    models = {name: HeldOut.of(name, fitted, rest) for name in WAYS.values()}
    others = apart.searched(run)
    if others:
        frames = [planes.frame, others["cpmodel run"].frame]
        others["planes and cpmodel run"] = Samples(planes.space, pd.concat(frames, ignore_index=True))
    assert material.costs is not None
    latency = [measured_cost(material, cost) for cost in material.costs.kinds]
    answers = list(_answers(trainer, project.folder, run, len(planes)))
    noise, freedom = pooled_noise(*_all(studies.values()))
    facts: dict[str, Any] = {
        "machine": device_name(),
        "versions": f"python {platform.python_version()}, torch {torch.__version__}",
        "images": {name: len(split.images) for name, split in images.splits.items()},
        "majority_class": float(max(np.bincount(images.validation.labels)) / len(images.validation.labels)),
        "recipe": dump(project.study.settings.recipe),
        "trainings": {name: len(study.study.samples()) for name, study in studies.items()},
        "train_s": {
            name: float(study.study.samples().frame["train_s"].sum()) for name, study in studies.items()
        },
        "baseline": _baseline(trainer, project),
        "seed_noise": {"sd": noise, "degrees_of_freedom": freedom},
        "precision": {name: model.summary() for name, model in models.items()},
        "precision_by_trainings": {
            trained: {
                name: HeldOut.of(name, project.material(samples), rest).summary() for name in WAYS.values()
            }
            for trained, samples in others.items()
        },
        # mean of |N(0, 1)|: what even a perfect model would miss of one training each
        "precision_floor": math.sqrt(2 / math.pi) * noise / float(rest.precision.mean()),
        "complexity": [_complexity(one) for one in latency],
        "answers": answers,
    }
    tables = [*_tables(facts), *_coefficients(project, planes, models)]
    fits = Fits(models["auto"].fit, models[WAYS["eq6"]].fit, latency[0] if latency else None)
    out.mkdir(parents=True, exist_ok=True)
    for name, study in studies.items():
        prefix = "" if name == "paper" else f"{name}_"
        samples = study.study.samples()
        # where the images lie is nobody else's business
        shared = replace(samples, frame=samples.frame.assign(dataset="lfw-gender"))
        shared.write_csv(out / f"{prefix}samples.csv")
    material.costs.write_csv(out / "costs.csv")
    write_json(out / "fits.json", fits.to_dict())
    write_json(out / "summary.json", dump(facts))
    write_text(out / "summary.md", _markdown(tables))
    goal = Goal(drop=max(DROPS), confidence=CONFIDENCE)
    page = page_of(
        fitted,
        fits,
        title="Gender on LFW",
        choice=choose(fitted, goal, fits.precision),
        paper=True,
    )
    everything = project.study.samples()
    write_report(
        replace(
            page,
            command="python scripts/studies/lfw_gender.py",
            samples=everything,
            complexity=project.family.costs(everything.X, project.task)["macs"],
            precision=(models["auto"].shown(), models[WAYS["eq6"]].shown()),
            measured_on=tuple(rest.keys),
            checked_by=f"{len(rest)} held-out configurations",
            tables=tuple(tables),
            notes=(*page.notes, NOTE),
        ),
        out / "report.html",
    )
    print(_markdown(tables))


def _all(projects: Iterable[Project]) -> tuple[list[str], Floats]:
    """Keys and precisions of all trainings."""
    tables = [project.study.samples().measured for project in projects]
    keys = [key for table in tables for key in table.keys]
    return keys, np.concatenate([table.precision for table in tables])


def _baseline(trainer: Trainer, project: Project) -> dict[str, Any]:
    """The baseline's seeds on validation."""
    samples, key = project.study.samples().measured, project.space.key(project.space.baseline)
    rows = np.flatnonzero([k == key for k in samples.keys])
    seeds = [int(seed) for seed in samples.frame["seed"].iloc[rows] if seed < FRESH_SEED]
    return {"configuration": key, **_judged(trainer, project, project.space.baseline, seeds)}


def _judged(
    trainer: Trainer, project: Project, configuration: Configuration, seeds: Sequence[int]
) -> dict[str, Any]:
    """Kept networks on validation, with the 95 % interval over seeds and persons."""
    correct, balanced = [], []
    for seed in seeds:
        path = project.study.weights_of(Request(configuration, seed))
        found = trainer.evaluate(trainer.restore(configuration, path), configuration, "validation")
        correct.append(found.values)
        balanced.append(found.figures["balanced"])
    table = np.array(correct)
    return {
        "seeds": list(seeds),
        "validation": table.mean(axis=1).tolist(),
        "balanced": balanced,
        "interval": _interval(precision_interval(table, groups=trainer.images.validation.groups)),
    }


def _interval(interval: Interval) -> dict[str, float]:
    return {
        "mean": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "level": interval.level,
        "seed_sd": interval.seed_sd,
    }


def _complexity(one: Complexity) -> dict[str, Any]:
    """Errors of eq. 1 and of the best model, on networks kept apart and by cross-validation."""
    found: dict[str, Any] = {"conditions": str(one.cost.conditions), "n": 0 if one.X is None else len(one.X)}
    for name, fit in (("eq1", one.eq1), ("auto", one.fit)):
        if fit is not None and fit.apart is not None:
            found[name] = {
                "held_out": fit.apart.relative_error,
                "held_out_within_10": fit.apart.within_10,
                "held_out_n": int(fit.apart.rows.sum()),
                "cross_validated": fit.cv_relative_error,
                "cross_validated_within_10": fit.cv_within_10,
            }
    return found


def _answers(trainer: Trainer, paper: Path, run: Path, trained: int) -> Iterable[dict[str, Any]]:
    """Each way to an answer: what it chose, what fresh seeds and the test split say, what it took."""
    for drop in DROPS:
        for way in WAYS:
            path = paper / f"{way}-{drop:g}.json"
            if path.exists():
                yield _answer(trainer, reopen(paper), f"planes, {way}", drop, read_json(path), trained)
    for name, drop in SEARCHES.items():
        found, searched = run / f"verified-{name}.json", run / f"{name}.json"
        if searched.exists():
            answer = read_json(found if found.exists() else searched)
            way = "cpmodel run, going on" if name.endswith("again") else "cpmodel run"
            yield _answer(trainer, reopen(run), way, drop, answer, read_json(searched)["trainings"])


def _answer(
    trainer: Trainer, project: Project, way: str, drop: float, answer: dict[str, Any], trainings: int
) -> dict[str, Any]:
    verdict = answer["verdict"]
    key = answer.get("asked") if verdict is None else verdict["key"]
    evidence = [row for row in answer["evidence"] if key in (None, row["key"])]
    tried = evidence[-1] if evidence else None
    told: dict[str, Any] = {
        "way": way,
        "drop": drop,
        "target": answer["target"],
        "trainings": trainings,
        "status": answer["status"],
    }
    if tried is None:
        return told
    X = project.space.matrix([project.space.baseline, tried["configuration"]])
    macs = project.family.costs(X, project.task)["macs"]
    told |= {
        "configuration": tried["key"],
        "macs": float(macs[1]),
        "macs_reduction": float(macs[0] / macs[1]),
        **_judged(trainer, project, tried["configuration"], tried["seeds"]),
    }
    for cost in project.costs.kinds:
        baseline, chosen = project.costs.lookup(X, cost)
        if cost.conditions is not None and np.isfinite(baseline / chosen):
            told[_reduction(cost.conditions.batch)] = float(baseline / chosen)
    if verdict is not None:
        told |= {"test": verdict["interval"], "difference": verdict["comparison"]["difference"]}
    return told


def _reduction(batch: int) -> str:
    """What the saving of run-time at a batch size is called."""
    return f"{LATENCY} reduction, batch {batch}"


def _tables(facts: dict[str, Any]) -> list[Table]:
    """The facts as tables for people."""
    baseline, interval = facts["baseline"], facts["baseline"]["interval"]
    errors = [
        [
            f"C: {row['conditions']}; {row[name]['held_out_n']} of {row['n']} kept apart",
            name,
            f"{_percent(row[name]['held_out'])} ({row[name]['held_out_within_10']:.0%} within 10 %)",
            paper,
            "",
        ]
        for row in facts["complexity"]
        for name, paper in (("eq1", "2.5 %"), ("auto", ""))
        if name in row
    ]
    errors += [
        [
            f"P: {trained}, {row['trained']} trainings",
            {"explinear": "eq. 6"}.get(name, name),
            f"{_percent(row['relative_error'])} (standard error {_percent(row['standard_error'])})",
            "3.1 %" if trained == "planes" and name == WAYS["eq6"] else "",
            f"{row['covered_90']:.0%}",
        ]
        for trained, models in {"planes": facts["precision"], **facts["precision_by_trainings"]}.items()
        for name, row in models.items()
    ]
    errors.append(["P", "a perfect model (noise of one seed)", _percent(facts["precision_floor"]), "", ""])
    answers = [
        [
            row["way"],
            f"{row['drop']:.2f}",
            row.get("configuration", "none"),
            f"{row['macs_reduction']:.0f}x" if "macs" in row else "",
            *(f"{row[_reduction(b)]:.1f}x" if _reduction(b) in row else "" for b in MEASURED),
            f"{row['interval']['mean']:.4f} ({len(row['seeds'])})" if "interval" in row else "",
            "{low:.4f} to {high:.4f}".format(**row["interval"]) if "interval" in row else "",
            f"{row['test']['mean']:.4f}" if "test" in row else "not opened",
            "{:+.4f} ({:+.4f} to {:+.4f})".format(*(row["difference"][n] for n in ("mean", "low", "high")))
            if "difference" in row
            else "",
            row["status"],
            str(row["trainings"]),
        ]
        for row in facts["answers"]
    ]
    seeds, apart = baseline["validation"], facts["precision"]["auto"]["n"]
    return [
        _table(
            "The baseline on validation",
            ("configuration", "seeds", "precision", "95 % interval, seeds and persons", "balanced", "paper"),
            [
                [
                    baseline["configuration"],
                    " ".join(f"{p:.4f}" for p in seeds),
                    f"{np.mean(seeds):.4f} (sd {np.std(seeds, ddof=1):.4f})",
                    f"{interval['low']:.4f} to {interval['high']:.4f}",
                    f"{np.mean(baseline['balanced']):.4f}",
                    "0.95",
                ]
            ],
        ),
        _table(
            f"Mean relative error on random configurations kept apart: {apart} for P",
            ("quantity", "model", "ours", "paper", "90 % intervals hold"),
            errors,
        ),
        _table(
            "The cheapest configuration at a drop below the baseline, in MACs",
            (
                "way",
                "drop",
                "configuration",
                "MACs",
                *(f"run-time, batch {batch}" for batch in MEASURED),
                "validation (fresh seeds)",
                "95 % interval, seeds and persons",
                "test",
                "test less baseline's",
                "status",
                "trainings before",
            ),
            answers,
        ),
    ]


def _coefficients(project: Project, planes: Samples, models: dict[str, HeldOut]) -> list[Table]:
    """The paper's Tables I and II, eq. 6 and eq. 1, ours beside them."""
    printed = pd.read_csv(PRINTED).set_index(["equation", "coefficient"])["value_as_printed"]
    rows = []
    for number, names in enumerate([*(("f",), ("s",), ("k",), ("l",)), *PAIRS]):
        model = _on_axes(project, planes, names)
        letter, equation = ("beta", f"eq2_{names[0]}") if number < 4 else ("n", f"eq3_{''.join(names)}")
        rows += _beside(f"P({', '.join(names)})", model, names, printed[equation], letter)
    six = models[WAYS["eq6"]].fit.model
    assert isinstance(six, ExponentialLinear)
    rows += _beside("P(f, s, k, l)", six, project.space.names, printed["eq6"], "lambda")
    caption = f"Coefficients of eq. 2 to 6 in gamma, relative to the baseline. {NOTE}"
    return [
        _table(
            caption, ("model", "form", "coefficient", "of", "ours", "standard error", "paper, printed"), rows
        )
    ]


def _on_axes(project: Project, planes: Samples, names: Sequence[str]) -> ExponentialLinear:
    """Eq. 2 or 3 to 5 fitted to the trainings in which only these parameters move."""
    space = project.space
    columns = [space.names.index(name) for name in names]
    others = [i for i in range(len(space.names)) if i not in columns]
    base = space.matrix([space.baseline])[0]
    rows = (planes.X[:, others] == base[others]).all(axis=1)
    model = ExponentialLinear(scale=base[columns], domain=space.domain[columns], names=list(names))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)  # the table tells the form that the rows could bear
        return model.fit(planes.X[rows][:, columns], planes.precision[rows])


def _beside(
    label: str, model: ExponentialLinear, names: Sequence[str], printed: Any, letter: str
) -> list[list[str]]:
    """Rows of the table of coefficients; a form of fewer terms leaves those it lacks empty."""
    ours = {c.name: c for c in model.coefficients_}
    order = ["b1", *(f"c {name}" for name in names), *(f"d {name}" for name in names), "e"]
    meanings = ["factor", *(f"exponent, 1/{n}" for n in names), *(f"linear, {n}" for n in names), "constant"]
    rows = []
    for number, (name, meaning) in enumerate(zip(order, meanings, strict=True), start=1):
        found = ours.get(name)
        error = None if found is None else found.standard_error
        rows.append(
            [
                label if number == 1 else "",
                model.form_ if number == 1 else "",
                f"{letter}{number}",
                meaning,
                "" if found is None else f"{found.value:.4g}",
                "" if error is None else f"{error:.2g}",
                f"{printed[f'{letter}{number}']:.4g}",
            ]
        )
    return rows


def _table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    return Table(caption, tuple(columns), tuple(map(tuple, rows)), (False,) * len(columns))


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def _markdown(tables: Sequence[Table]) -> str:
    lines = ["# Gender on LFW: the study of Ke, Cao and Lv repeated", ""]
    for table in tables:
        lines += [f"**{table.caption}**", "", "| " + " | ".join(table.columns) + " |"]
        lines.append("|" + "---|" * len(table.columns))
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table.rows]
        lines.append("")
    return "\n".join(lines)
