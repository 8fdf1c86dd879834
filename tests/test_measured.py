"""Measurements that come with the project: anybody can go on from them, without the images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cpmodel
from cpmodel.costs.table import read_csv as read_costs
from cpmodel.files import read_json
from cpmodel.pipeline.fitting import fit_precision

LFW = Path(__file__).parents[1] / "data" / "measured" / "lfw_gender"
IMAGE = "64x64x3"
BASELINE_MACS = 64 * 25 * (3 * 64**2 + 64 * 32**2 + 64 * 16**2) + 8 * 8 * 64 * 2


@pytest.fixture(scope="module")
def summary():
    return read_json(LFW / "summary.json")


def test_a_choice_on_faces_without_faces():
    choice = cpmodel.read(LFW / "samples.csv", image=IMAGE, classes=2).optimize(drop=0.02, model="additive")
    assert choice.baseline.complexity == BASELINE_MACS
    assert choice.safe.complexity < BASELINE_MACS / 30


def test_the_samples_tell_what_the_search_found_elsewhere():
    """Configurations that only the search trained are foreseen far better than by their mean."""
    known = cpmodel.read(LFW / "samples.csv").samples()
    found = cpmodel.read(LFW / "run_samples.csv").samples()
    new = ~np.isin(found.keys, known.keys)
    assert new.sum() >= 20
    X, precision = found.X[new], found.precision[new]
    missed = np.abs(fit_precision(known).model.predict(X) - precision)
    assert missed.mean() < 0.5 * np.abs(precision - precision.mean()).mean()


def test_the_summary_tells_what_the_samples_hold(summary):
    samples = cpmodel.read(LFW / "samples.csv").samples()
    assert len(samples) == summary["trainings"]["paper"]
    rows = (samples.frame[["f", "s", "k", "l"]] == [64, 64, 5, 3]).all(axis=1)
    assert sorted(samples.precision[rows]) == pytest.approx(sorted(summary["baseline"]["validation"]))
    for answer in summary["answers"]:
        assert answer["macs_reduction"] == pytest.approx(BASELINE_MACS / answer["macs"])


def test_run_times_of_the_study_can_be_minimised(tmp_path: Path) -> None:
    table = read_costs(LFW / "costs.csv", cpmodel.read(LFW / "samples.csv").samples().space)
    assert {cost.conditions.batch for cost in table.kinds} == {1, 64}
    faces = cpmodel.read(LFW / "samples.csv", image=IMAGE, classes=2)
    some = pd.read_csv(LFW / "costs.csv").groupby("batch").head(60)  # all of them take a minute to model
    some.to_csv(tmp_path / "costs.csv", index=False)
    choice = faces.optimize(target=0.93, costs=tmp_path / "costs.csv", complexity="latency_s", model="loggp")
    assert choice.plain.complexity < choice.baseline.complexity / 10
