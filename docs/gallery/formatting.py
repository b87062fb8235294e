"""How the gallery's pages write numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def interval(estimate: str, low: str, high: str) -> str:
    """Return an estimate with its interval."""
    return f"{estimate} ({low} to {high})"


def percent(share: float, digits: int = 0) -> str:
    """Return a share in percent."""
    return "n/a" if np.isnan(share) else f"{100 * share:.{digits}f}%"


def points(difference: float) -> str:
    """Return a difference of shares in percentage points, with its sign."""
    return f"{100 * difference:+.1f}"


def ratio(value: float) -> str:
    """Return an odds ratio."""
    return "n/a" if np.isnan(value) else "infinite" if np.isinf(value) else f"{value:.2g}"


def p_value(p: float) -> str:
    """Return a p value."""
    return "n/a" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.2g}"
