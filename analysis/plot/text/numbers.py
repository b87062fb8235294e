"""Numbers as figures write them: on points, at colour bars and in captions."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LogNorm, Normalize

from analysis.plot.axes import tick_labels

_EN_DASH, _MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

_PLAIN_POWERS = range(-3, 5)
"""Of ten, of the largest number at a colour bar, where all its numbers are written as they are."""


def power_of(norm: Normalize) -> int:
    """Return the power of ten by which the numbers of a linear colour scale are divided: 0 unless all are tiny or huge.

    The label of the colour bar names it as part of the unit, see `unit_of`. On a logarithmic scale it is 0.
    """
    if isinstance(norm, LogNorm):
        return 0
    largest = max(abs(norm.vmin or 0.0), abs(norm.vmax or 0.0))
    power = int(np.floor(np.log10(largest))) if largest > 0 else 0
    return 0 if power in _PLAIN_POWERS else power


def unit_of(unit: str, power: int) -> str:
    """Return a unit with a power of ten: "10⁻⁵ nats per task"."""
    return f"10{str(power).translate(_SUPERSCRIPTS)} {unit}".strip() if power else unit


def interval_text(low: float, high: float, norm: Normalize, *, signed: bool, digits: int | None = None) -> str:
    """Return an interval as text, in the unit of its colour bar.

    The width of the interval decides on the digits: it has two. On a logarithmic scale each end has two.

    Args:
        low: the lower end.
        high: the upper end.
        norm: the colour scale.
        signed: whether such numbers can be negative; then "to" is between them, because a dash beside a minus sign is
            misread.
        digits: decimals; None to choose them.
    """
    if isinstance(norm, LogNorm):
        ends = tick_labels([low, high])
    else:
        low, high = (end / 10.0 ** power_of(norm) for end in (low, high))
        decimals = max(0, int(1 - np.floor(np.log10(high - low)))) if digits is None else digits
        ends = [decimal(end, decimals) for end in (low, high)]
    return (" to " if signed else _EN_DASH).join(end.replace("-", _MINUS) for end in ends)


def decimal(value: float, digits: int) -> str:
    """Return a number with this many decimals, with a leading zero and without a negative one."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", _MINUS)


def short_number(value: float) -> str:
    """Return a number with two or three significant digits and a minus sign."""
    return "∞".join(tick_labels([value])[0].replace("-", _MINUS).split("inf"))
