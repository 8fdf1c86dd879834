"""What a run ends with, and how it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from cpmodel.codec import dump, load
from cpmodel.errors import BadInputError
from cpmodel.files import read_json, write_json
from cpmodel.optimize import Choice
from cpmodel.pipeline.fitting import PrecisionFit
from cpmodel.pipeline.options import Goal
from cpmodel.pipeline.project import Project
from cpmodel.pipeline.proof import Opening, openings
from cpmodel.samples import Samples
from cpmodel.search.acquisition import Outlook
from cpmodel.search.evidence import Evidence
from cpmodel.verify import Outcome, Verdict
from cpmodel.version import __version__

T = TypeVar("T")

Status = Literal["proved", "undecided", "missed", "not proved"]
STATUS: dict[Outcome, Status] = {"reached": "proved", "undecided": "undecided", "missed": "missed"}
ANSWER = "choice.json"
FORMAT = 2  # of choice.json and curve.json; 1 had no number


@dataclass(frozen=True, eq=False)
class Grounds:
    """What an answer rests on, as plain values: enough to do it all again.

    Parameters
    ----------
    goal, study : what was asked for; of what the study is made (data, recipe, seed, version)
    samples : every training: key, seed, purpose, status, precision (None where it failed), seconds
    model : the fitted P(T) with what it is made of and its errors
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
        rows = samples.frame[["seed", "purpose", "status", "precision", "train_s"]].to_dict("records")
        told = tuple(dump({"key": key, **row}) for key, row in zip(samples.keys, rows, strict=True))
        return cls(dump(goal), {**kept, "version": __version__}, told, dump(fit.to_dict()))


@dataclass(frozen=True, eq=False)
class Answer:
    """What a run ends with.

    Parameters
    ----------
    status : what the test split says of the configuration that stood on fresh seeds: it reaches the target;
        it may or may not; it does not. Or nothing stood, and the test split was not opened.
    reason : why the run ended
    choice : what the models fitted to all samples choose
    evidence : every candidate that was tried on fresh seeds, in order
    openings : every opening of the study's test splits so far, with the error that each one spent
    train_s : seconds of training, summed over workers
    outlook : how likely something cheaper than the answer exists, and how much cheaper; None where nobody
        searched
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


def keep(path: Path, result: Any) -> None:
    """Write a result as JSON, with the number of its format."""
    write_json(path, {"format": FORMAT, **dump(result)})


def kept(path: Path, kind: type[T], what: str, command: str) -> T | None:
    """The result that `path` holds, if it is there; refused where no cpmodel wrote it, or a newer one."""
    if not path.exists():
        return None
    fields = read_json(path)
    if not isinstance(fields, dict) or not set(fields) & set(kind.__annotations__):
        raise BadInputError(f"not {what}", expected=f"what {command} wrote (run it again)", where=str(path))
    number = fields.pop("format", 1)
    if number not in (1, FORMAT):
        raise BadInputError(what, expected=f"format {FORMAT} or older", got=number, where=str(path))
    for evidence in fields.get("evidence", ()) if number == 1 else ():
        evidence.pop("mean", None)
    try:
        return load(kind, fields, what=f"not {what}", where=str(path))
    except BadInputError as error:
        raise BadInputError(f"{error}; {command} writes it anew") from error


def last_answer(project: Project) -> Answer | None:
    """The answer that the study holds, if it is there; raises as `kept` does."""
    return kept(project.folder / ANSWER, Answer, "an answer", "cpmodel run or verify")


def last_verdict(project: Project) -> Verdict | None:
    """The verdict of the last answer, else the last one that the study keeps: a proof outlives failures."""
    answer = last_answer(project)
    if answer is not None and answer.verdict is not None:
        return answer.verdict
    return next((o.verdict for o in reversed(openings(project)) if o.verdict is not None), None)
