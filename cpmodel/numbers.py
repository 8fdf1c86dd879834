"""Numbers as people read them: percent, prefixes, units and factors exist only here, at the edge."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

UNKNOWN = "–"
_PREFIXES = {1e12: "T", 1e9: "G", 1e6: "M", 1e3: "k", 1.0: "", 1e-3: "m", 1e-6: "µ", 1e-9: "n"}


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction as a percentage.

    >>> percent(0.94314), percent(0.94314, 2), percent(float("nan"))
    ('94.3 %', '94.31 %', '–')
    """
    return f"{100 * fraction:.{digits}f} %" if math.isfinite(fraction) else UNKNOWN


def exact_percent(fraction: float) -> str:
    """A target as a percentage: the digits that were typed, or three decimals of one that was computed.

    >>> exact_percent(0.94), exact_percent(0.9925), exact_percent(0.9491183879 - 0.02)
    ('94 %', '99.25 %', '92.912 %')
    """
    if not math.isfinite(fraction):
        return UNKNOWN
    typed = math.isclose(fraction, round(fraction, 6), rel_tol=1e-12)
    return f"{100 * fraction:.6g} %" if typed else percent(fraction, 3)


def points(difference: float, digits: int = 1, sign: bool = False) -> str:
    """A difference of two fractions in percentage points, the unit left out.

    >>> points(0.0123), points(-0.0123, 2), points(0.01, sign=True)
    ('1.2', '−1.23', '+1.0')
    """
    return f"{100 * difference:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def digits_for(values: Iterable[float], target: float = math.nan) -> int:
    """Decimals of a percentage (1 to 3) that these precisions need.

    The last one is worth at most a tenth of the smallest error; none may look like the target and not be it.

    >>> digits_for([0.7, 0.94]), digits_for([0.991]), digits_for([0.93962], target=0.94)
    (1, 2, 2)
    """
    known = [value for value in values if math.isfinite(value)]
    errors = [1 - value for value in known if value < 1]
    digits = 1 if not errors or min(errors) >= 0.01 else 2 if min(errors) >= 0.001 else 3
    while digits < 3 and any(
        value != target and percent(value, digits) == percent(target, digits) for value in known
    ):
        digits += 1
    return digits


def amount(value: float, unit: str = "") -> str:
    """Three significant digits with a prefix.

    >>> amount(150_700_000, "MACs"), amount(0.00042, "s"), amount(1234), amount(12, ""), amount(0.0)
    ('151 M MACs', '420 µs', '1.23 k', '12', '0')
    """
    if not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return f"0 {unit}".strip()
    scale = next((scale for scale in _PREFIXES if abs(value) >= 0.9995 * scale), min(_PREFIXES))
    scaled, prefix = value / scale, _PREFIXES[scale]
    exact = abs(scaled - round(scaled)) < 1e-9  # 12 filters, a tick at 5 ms
    digits = 0 if exact or abs(scaled) >= 99.95 else 1 if abs(scaled) >= 9.995 else 2
    # symbols join their prefix (ms, kB); words keep a space (M MACs)
    joined = f"{prefix} {unit}" if len(unit) > 2 else f"{prefix}{unit}"
    return f"{scaled:.{digits}f} {joined.strip()}".strip()


def share(relative: float) -> str:
    """A complexity relative to the baseline's.

    >>> share(0.0241), share(1.0), share(12.5)
    ('0.0241', '1', '12.5')
    """
    return f"{relative:.3g}" if math.isfinite(relative) else UNKNOWN


def factor(relative: float) -> str:
    """A relative complexity in words.

    >>> factor(0.0241), factor(1.001), factor(2.0), factor(0.98), factor(1 / 1500)
    ('41 times less', 'the same', '2.0 times more', '1.02 times less', '1,500 times less')
    """
    if not (math.isfinite(relative) and relative > 0):
        return UNKNOWN
    times = max(relative, 1 / relative)
    if times < 1.005:
        return "the same"
    text = f"{times:,.0f}" if times >= 9.95 else f"{times:.1f}" if times >= 1.05 else f"{times:.2f}"
    return f"{text} times {'less' if relative < 1 else 'more'}"


def short_factor(relative: float) -> str:
    """The same for a table's cell.

    >>> short_factor(0.0241), short_factor(1.0), short_factor(float("nan"))
    ('41x less', 'the same', '–')
    """
    return factor(relative).replace(" times", "x")


def number(value: float | None) -> str:
    """Four significant digits.

    >>> number(0.123456), number(None), number(-1.5e-7)
    ('0.1235', '–', '-1.5e-07')
    """
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:.4g}"


def duration(seconds: float) -> str:
    """A time span.

    >>> duration(3.24), duration(200), duration(7500)
    ('3.2 s', '3 min 20 s', '2 h 5 min')
    """
    if not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def count(n: int, word: str) -> str:
    """A number of things.

    >>> count(1, "training"), count(1200, "training")
    ('1 training', '1,200 trainings')
    """
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def text_of(value: Any) -> str:
    """A field of a recipe, or any other value of a table.

    >>> text_of(None), text_of(True), text_of(0.1 + 0.2), text_of(("flip", "shift")), text_of({})
    ('–', 'yes', '0.3', 'flip, shift', 'none')
    """
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {text_of(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(text_of, value)) or "none"
    return str(value)
