"""Numbers as people read them: percent, prefixes, units and factors exist only here, at the edge."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cpmodel.space import Space

UNKNOWN = "–"
# between a number and its unit: no line may end there
SPACE = "\N{NO-BREAK SPACE}"
_PREFIXES = (
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "µ"),
    (1e-9, "n"),
)


@dataclass(frozen=True)
class Quantity:
    """How a complexity is called: in a table's row, on an axis, and behind a number."""

    label: str
    axis: str
    unit: str


_QUANTITIES = {
    "precision": Quantity("Precision", "precision P", ""),
    "macs": Quantity("MACs of one image", "MACs of one image", "MACs"),
    "conv_macs": Quantity("MACs of the convolutions", "MACs of the convolutions", "MACs"),
    "dense_macs": Quantity("MACs of the dense layers", "MACs of the dense layers", "MACs"),
    "params": Quantity("Parameters", "trainable parameters", ""),
    "weight_bytes": Quantity("Weights", "bytes of weights", "B"),
    "activation_elements": Quantity("Activations, all layers", "activation elements, all layers", ""),
    "activation_peak_elements": Quantity("Activations, peak", "activation elements, peak", ""),
    "layers": Quantity("Layers", "layers", ""),
    "latency_s": Quantity("Run-time of a batch", "run-time of one batch", "s"),
}


def quantity(name: str, unit: str = "") -> Quantity:
    """How the complexity `name` is called; an unknown one by its own name."""
    if name in _QUANTITIES:
        return _QUANTITIES[name]
    return Quantity(name, f"{name} ({unit})" if unit else name, unit)


def percent(value: float, digits: int = 1) -> str:
    r"""A fraction as a percentage.

    >>> percent(0.94314), percent(0.94314, 2), percent(float("nan"))
    ('94.3\xa0%', '94.31\xa0%', '–')
    """
    return UNKNOWN if math.isnan(value) else f"{100 * value:.{digits}f}{SPACE}%"


def exact_percent(value: float) -> str:
    r"""A target as a percentage: the digits that were typed, or three decimals of one that was computed.

    >>> exact_percent(0.94), exact_percent(0.9925), exact_percent(0.9491183879 - 0.02)
    ('94\xa0%', '99.25\xa0%', '92.912\xa0%')
    """
    if math.isnan(value):
        return UNKNOWN
    typed = math.isclose(value, round(value, 6), rel_tol=1e-12)
    return f"{100 * value:.6g}{SPACE}%" if typed else f"{100 * value:.3f}{SPACE}%"


def digits_for(values: Iterable[float], target: float = math.nan) -> int:
    """Decimals of a percentage (1 to 3) that the page's precisions need.

    The last one must be worth at most a tenth of the smallest error, and no value may look as if it lay on
    the target when it does not.

    >>> digits_for([0.7, 0.94]), digits_for([0.991]), digits_for([0.93962], target=0.94)
    (1, 2, 2)
    """
    known = [value for value in values if not math.isnan(value)]
    errors = [1 - value for value in known if value < 1]
    digits = 1 if not errors or min(errors) >= 0.01 else 2 if min(errors) >= 0.001 else 3
    while digits < 3 and any(
        value != target and percent(value, digits) == percent(target, digits) for value in known
    ):
        digits += 1
    return digits


def amount(value: float, unit: str = "") -> str:
    r"""Three significant digits with a prefix.

    >>> amount(150_700_000, "MACs"), amount(0.00042, "s"), amount(1234), amount(12, ""), amount(0.0)
    ('151\xa0M\xa0MACs', '420\xa0µs', '1.23\xa0k', '12', '0')
    """
    if not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return f"0{SPACE}{unit}".strip()
    scale, prefix = next(((s, p) for s, p in _PREFIXES if abs(value) >= 0.9995 * s), _PREFIXES[-1])
    scaled = value / scale
    exact = abs(scaled - round(scaled)) < 1e-9  # 12 filters, a tick at 5 ms
    digits = 0 if exact or abs(scaled) >= 99.95 else 1 if abs(scaled) >= 9.995 else 2
    # symbols join their prefix (ms, kB); words keep a space (M MACs)
    joined = f"{prefix}{SPACE}{unit}" if len(unit) > 2 else f"{prefix}{unit}"
    return f"{scaled:.{digits}f}{SPACE}{joined.strip()}".strip()


def share(relative: float) -> str:
    """A complexity relative to the baseline's.

    >>> share(0.0241), share(1.0), share(12.5)
    ('0.0241', '1', '12.5')
    """
    return UNKNOWN if not math.isfinite(relative) else f"{relative:.3g}"


def factor(relative: float) -> str:
    """A relative complexity in words.

    >>> factor(0.0241), factor(1.0), factor(2.0), factor(0.7)
    ('41 times less', 'the same', '2.0 times more', '1.4 times less')
    """
    if not (math.isfinite(relative) and relative > 0):
        return UNKNOWN
    if abs(math.log(relative)) < 0.005:
        return "the same"
    times = max(relative, 1 / relative)
    text = f"{times:.3g}" if times >= 100 else f"{times:.0f}" if times >= 9.95 else f"{times:.1f}"
    return f"{text} times {'less' if relative < 1 else 'more'}"


def short_factor(relative: float) -> str:
    """The same for a table's cell.

    >>> short_factor(0.0241), short_factor(1.0), short_factor(float("nan"))
    ('41× less', 'the same', '–')
    """
    return factor(relative).replace(" times", "×")


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


def value_text(value: Any) -> str:
    """A field of a recipe or a cell of a table."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {value_text(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(value_text, value)) or "none"
    return str(value)


def key_text(space: Space, row: Iterable[float]) -> str:
    """The text of one row of X, inside the space or (a drawing's grid) between its values."""
    parts = []
    for parameter, code in zip(space.parameters, row, strict=True):
        if math.isnan(code):
            continue
        if parameter.categorical and float(code).is_integer() and 0 <= code < len(parameter.values):
            parts.append(f"{parameter.name}={parameter.values[int(code)]}")
        else:
            parts.append(f"{parameter.name}={code:.6g}")
    return ",".join(parts)
