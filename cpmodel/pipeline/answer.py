"""What is asked of a run, and what it ends with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from cpmodel.codec import dump, load
from cpmodel.errors import BadInputError
from cpmodel.files import read_json, write_json
from cpmodel.optimize import Candidate, Choice, Envelope
from cpmodel.pipeline.fitting import PrecisionFit, no_nan
from cpmodel.pipeline.project import Project
from cpmodel.pipeline.proof import Opening, openings
from cpmodel.samples import Samples
from cpmodel.search.acquisition import Outlook
from cpmodel.search.decide import Evidence
from cpmodel.verify import Outcome, Verdict
from cpmodel.version import __version__

Status = Literal["proved", "undecided", "missed", "not proved"]
_STATUS: dict[Outcome, Status] = {"reached": "proved", "undecided": "undecided", "missed": "missed"}


@dataclass(frozen=True, eq=False)
class Goal:
    """What is asked for.

    Parameters
    ----------
    target : float or None
        Precision to reach, fraction in (0, 1].
    drop : float or None
        Instead: how far below the baseline's mean precision it may lie.
    complexity : str
        What is minimised.
    limits : mapping
        Largest allowed values of other complexities.
    confidence : float
        Probability of reaching the target that a candidate needs, in [0.5, 1).
    """

    target: float | None = None
    drop: float | None = None
    complexity: str = "macs"
    limits: Mapping[str, float] | None = None
    confidence: float = 0.9

    def __post_init__(self) -> None:
        if (self.target is None) == (self.drop is None):
            got = "neither" if self.target is None else "both"
            raise BadInputError("target, or drop below the baseline", expected="one of them", got=got)
        for name in ("target", "drop"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and 0 < value <= 1):
                raise BadInputError(name, expected="a fraction in (0, 1] (0.94, or 94%)", got=value)
        if not 0.5 <= self.confidence < 1:
            raise BadInputError("confidence", expected="a probability in [0.5, 1)", got=self.confidence)

    def precision(self, samples: Samples) -> float:
        """The target as a precision; a drop is counted from the baseline's mean over its seeds.

        Raises
        ------
        BadInputError
            It hangs on the baseline, which was not trained.
        """
        if self.target is not None:
            return self.target
        assert self.drop is not None
        usable = samples.measured
        baseline = samples.space.key(samples.space.baseline)
        rows = np.array([key == baseline for key in usable.keys], dtype=bool)
        if not rows.any():
            raise BadInputError("drop", expected=f"samples of the baseline {baseline}", got="none")
        precision = float(usable.precision[rows].mean())
        if self.drop >= precision:
            raise BadInputError(
                "drop", expected=f"less than the baseline's precision, {precision:.4f}", got=self.drop
            )
        return precision - self.drop


@dataclass(frozen=True, eq=False)
class Grounds:
    """What an answer rests on, as plain values: enough to do it all again.

    Parameters
    ----------
    goal, study : mapping
        What was asked for; of what the study is made (data, recipe, seed, version).
    samples : tuple of mapping
        Every training: key, seed, purpose, status, precision (None where it failed), seconds.
    model : mapping
        The fitted P(T) with what it is made of and its errors.
    """

    goal: Mapping[str, Any]
    study: Mapping[str, Any]
    samples: tuple[Mapping[str, Any], ...]
    model: Mapping[str, Any]

    @classmethod
    def of(cls, project: Project, goal: Goal, samples: Samples, fit: PrecisionFit) -> Grounds:
        """The grounds of whatever follows from these samples and this fit."""
        settings = dump(project.study.settings)
        kept = {name: settings[name] for name in ("family", "dataset", "data", "recipe", "seed")}
        columns = ("seed", "purpose", "status", "precision", "train_s")
        cells = [samples.frame[name].tolist() for name in columns]
        rows = [
            {"key": key, **dict(zip(columns, row, strict=True))}
            for key, row in zip(samples.keys, zip(*cells, strict=True), strict=True)
        ]
        return cls(asdict(goal), {**kept, "version": __version__}, tuple(no_nan(rows)), no_nan(fit.to_dict()))


@dataclass(frozen=True, eq=False)
class Answer:
    """What a run ends with.

    Parameters
    ----------
    status : {"proved", "undecided", "missed", "not proved"}
        What the test split says of the configuration that stood on fresh seeds: it reaches the target; it may
        or may not; it does not. Or nothing stood, and the test split was not opened.
    reason : str
        Why the run ended.
    target : float
    choice : Choice
        What the models fitted to all samples choose.
    evidence : tuple of Evidence
        Every candidate that was tried on fresh seeds, in order.
    verdict : Verdict or None
    openings : tuple of Opening
        Every opening of the study's test split so far, with the error that each one spent.
    trainings : int
    train_s : float
        Seconds of training, summed over workers.
    grounds : Grounds
    outlook : Outlook or None
        How likely something cheaper than the answer exists, and how much cheaper; None where nobody searched.
    """

    status: Status
    reason: str
    target: float
    choice: Choice
    evidence: tuple[Evidence, ...]
    verdict: Verdict | None
    openings: tuple[Opening, ...]
    trainings: int
    train_s: float
    grounds: Grounds
    outlook: Outlook | None = None

    @classmethod
    def of(
        cls,
        project: Project,
        goal: Goal,
        samples: Samples,
        fit: PrecisionFit,
        *,
        reason: str,
        choice: Choice,
        evidence: Sequence[Evidence],
        verdict: Verdict | None,
        outlook: Outlook | None = None,
    ) -> Answer:
        """The answer that these samples, this fit and this verdict make."""
        return cls(
            "not proved" if verdict is None else _STATUS[verdict.status],
            reason,
            choice.target,
            choice,
            tuple(evidence),
            verdict,
            openings(project),
            len(samples),
            float(samples.frame["train_s"].sum()),
            Grounds.of(project, goal, samples, fit),
            outlook,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the whole chain of evidence."""
        return {
            "status": self.status,
            "reason": self.reason,
            "target": self.target,
            "choice": asdict(self.choice, dict_factory=plain_values),
            "evidence": [{**asdict(e), "mean": e.mean} for e in self.evidence],
            "verdict": dump(self.verdict),
            "openings": dump(self.openings),
            "trainings": self.trainings,
            "train_s": self.train_s,
            "grounds": asdict(self.grounds),
            "outlook": None if self.outlook is None else asdict(self.outlook),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Answer:
        """The answer that `to_dict` described."""
        evidence = [{k: v for k, v in row.items() if k != "mean"} for row in fields["evidence"]]
        grounds = {**fields["grounds"], "samples": tuple(fields["grounds"]["samples"])}
        return cls(
            fields["status"],
            fields["reason"],
            float(fields["target"]),
            _choice(fields["choice"]),
            tuple(
                Evidence(**{**e, "seeds": tuple(e["seeds"]), "precisions": tuple(e["precisions"])})
                for e in evidence
            ),
            None if fields["verdict"] is None else load(Verdict, fields["verdict"], what="verdict"),
            tuple(load(Opening, kept, what="opening") for kept in fields["openings"]),
            int(fields["trainings"]),
            float(fields["train_s"]),
            Grounds(**grounds),
            None if fields["outlook"] is None else Outlook(**fields["outlook"]),
        )


def keep_answer(project: Project, answer: Answer) -> None:
    """Write the answer as the study's ``choice.json``."""
    write_json(project.folder / "choice.json", answer.to_dict())


def last_verdict(project: Project) -> Verdict | None:
    """The verdict of the last answer, else the last one that the study keeps: a proof outlives failures."""
    answer = last_answer(project)
    if answer is not None and answer.verdict is not None:
        return answer.verdict
    return next((o.verdict for o in reversed(openings(project)) if o.verdict is not None), None)


def last_answer(project: Project) -> Answer | None:
    """The answer that the study's ``choice.json`` holds, if it is there.

    Raises
    ------
    BadInputError
        The file is not one that cpmodel wrote.
    """
    path = project.folder / "choice.json"
    if not path.exists():
        return None
    try:
        return Answer.from_dict(read_json(path))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise BadInputError(
            "not an answer", expected="what cpmodel run or verify wrote (run it again)", where=str(path)
        ) from error


def _choice(fields: Mapping[str, Any]) -> Choice:
    candidates = {
        name: None if fields[name] is None else Candidate(**fields[name])
        for name in ("plain", "safe", "best", "baseline")
    }
    envelope = dict(fields["envelope"])
    arrays = {n: np.array(envelope[n], dtype=float) for n in envelope if n != "configurations"}
    return Choice(
        **{
            **fields,
            **candidates,
            "runners_up": tuple(Candidate(**c) for c in fields["runners_up"]),
            "envelope": Envelope(configurations=tuple(envelope["configurations"]), **arrays),
            "notes": tuple(fields["notes"]),
        }
    )


def plain_values(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Arrays as lists, for JSON."""
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in pairs}
