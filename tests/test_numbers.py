"""Numbers as people read them."""

from __future__ import annotations

import doctest
import math

import pytest

from cpmodel import numbers


def test_the_examples_hold() -> None:
    result = doctest.testmod(numbers)
    assert result.attempted > 10
    assert result.failed == 0


@pytest.mark.parametrize("relative", [1.0, 1.0049, 1 / 1.0049, 1 + 1e-12])
def test_equal_costs_are_the_same(relative: float) -> None:
    assert numbers.short_factor(relative) == numbers.factor(relative) == "the same"


@pytest.mark.parametrize(("times", "text"), [(1.02, "1.02"), (1.5, "1.5"), (12.4, "12"), (248.7, "249")])
def test_a_factor_never_reads_as_one(times: float, text: str) -> None:
    assert numbers.short_factor(1 / times) == f"{text}x less"
    assert numbers.factor(times) == f"{text} times more"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_known_is_a_dash(value: float) -> None:
    shown = [numbers.percent, numbers.exact_percent, numbers.amount, numbers.share, numbers.factor]
    assert {show(value) for show in [*shown, numbers.number, numbers.duration]} == {"–"}


def test_amount_keeps_three_digits_at_every_size() -> None:
    for exponent in range(-8, 14):
        text = numbers.amount(1.2345 * 10.0**exponent, "s")
        digits = "".join(c for c in text.split()[0] if c.isdigit())
        assert len(digits) == 3, text
    assert numbers.amount(999.96) == "1.00 k"
    assert numbers.amount(0.0124, "s") == "12.4 ms"


def test_digits_tell_a_value_from_its_target() -> None:
    assert numbers.digits_for([0.8996], target=0.9) == 2
    assert numbers.digits_for([0.9], target=0.9) == 1
    assert numbers.digits_for([0.9995]) == 3
    assert numbers.digits_for([]) == 1
