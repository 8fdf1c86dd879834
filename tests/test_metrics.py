"""Metrics against scikit-learn, by hand and by what a plug-in may do wrong."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    top_k_accuracy_score,
)

from cpmodel.errors import BadInputError
from cpmodel.metrics import (
    FIGURES,
    Accuracy,
    Balanced,
    Labels,
    Metric,
    TopK,
    effective_images,
    figures,
    get_metric,
    mean,
)
from cpmodel.space import Floats


def drawn(images: int = 300, classes: int = 12, there: int = 11) -> tuple[Floats, Labels]:
    """Scores of which some are right; of the last class there is no image."""
    rng = np.random.default_rng(0)
    labels = np.sort(rng.integers(0, there, images) * rng.integers(0, 2, images))
    scores = rng.normal(size=(images, classes)) + 1.5 * (np.arange(classes) == labels[:, None])
    return scores.astype(np.float32), labels


def value_of(metric: Metric, scores: Floats, labels: Labels) -> float:
    return mean(metric.precision_of(scores, labels), metric.strata(labels))


def test_metrics_are_scikit_learn_s() -> None:
    scores, labels = drawn()
    said = scores.argmax(1)
    assert value_of(Accuracy(), scores, labels) == accuracy_score(labels, said)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        expected = balanced_accuracy_score(labels, said)
    assert value_of(Balanced(), scores, labels) == pytest.approx(expected)
    for k in (1, 3, 5):
        expected = top_k_accuracy_score(labels, scores, k=k, labels=range(12))
        assert value_of(TopK(k), scores, labels) == expected
        assert value_of(get_metric(f"top{k}"), scores, labels) == expected
    probabilities = np.exp(scores.astype(float)) / np.exp(scores.astype(float)).sum(1, keepdims=True)
    found = figures(scores, labels, TopK(3))
    assert list(found) == list(FIGURES)
    assert found["nll"] == pytest.approx(log_loss(labels, probabilities, labels=range(12)))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, said, average="macro"))
    assert found["accuracy"] == accuracy_score(labels, said)
    assert FIGURES["nll"].unit == "nats"


def test_figures_tell_something_beside_the_metric() -> None:
    scores, labels = drawn()
    assert set(figures(scores, labels, Accuracy())) == set(FIGURES) - {"accuracy"}
    few = figures(scores[:, :3], labels % 3, Balanced())
    assert set(few) == {"accuracy", "nll", "macro_f1"}


def test_equal_scores_count_by_position_and_no_number_is_wrong() -> None:
    scores = np.array([[1.0, 1.0, 1.0], [np.nan, np.nan, np.nan], [np.nan, 2.0, 1.0]])
    assert TopK(1).values(scores, np.array([0, 1, 1])).tolist() == [1, 0, 0]
    assert TopK(2).values(scores, np.array([1, 1, 1])).tolist() == [1, 0, 1]
    assert TopK(2).values(scores, np.array([2, 0, 0])).tolist() == [0, 0, 0]


def test_a_metric_that_says_nothing_of_so_few_classes() -> None:
    TopK(5).require(6)
    Accuracy().require(2)
    with pytest.raises(BadInputError, match="metric top5: expected more than 5 classes, got 5"):
        TopK(5).require(5)


def test_names() -> None:
    assert isinstance(get_metric("accuracy"), Accuracy)
    assert isinstance(get_metric("balanced"), Balanced)
    with pytest.raises(BadInputError, match=r"metric: expected one of accuracy, .* MODULE:NAME, got f1"):
        get_metric("f1")


class Distance(Metric):
    """How far the largest probability is from 1: lower is better."""

    name, label, unit, direction = "distance", "distance", "", "lower"

    def values(self, scores: Floats, labels: Labels) -> Floats:
        return np.abs(1.0 - scores[np.arange(len(labels)), labels])


def test_lower_is_better_is_turned_at_the_edge() -> None:
    scores, labels = np.array([[0.75, 0.25], [0.5, 0.5]]), np.array([0, 1])
    assert Distance().precision_of(scores, labels).tolist() == [0.75, 0.5]
    assert Distance().inside(0.2) == Distance().shown(0.2) == 0.8
    assert Accuracy().inside(0.2) == Accuracy().shown(0.2) == 0.2
    with pytest.raises(BadInputError, match=r"metric distance: expected 2 values in \[0, 1\]"):
        Distance().precision_of(scores * 9, labels)
    with pytest.raises(BadInputError, match=r"got shape \(2,\), from nan to nan"):
        Distance().precision_of(scores * np.nan, labels)


def test_means_over_strata() -> None:
    values, strata = np.array([1.0, 1.0, 0.0, 1.0]), np.array([5, 5, 5, 2])
    assert mean(values) == 0.75
    assert mean(values, strata) == pytest.approx((2 / 3 + 1) / 2)
    assert effective_images([3, 1]) == 3.0
    assert effective_images(np.full(10, 500)) == pytest.approx(5000)
