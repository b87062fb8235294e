"""Figures of statistics: curves of networks that keep plasticity, and what each specification says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.data import format_fields, format_value
from analysis.plot.axes import round_ticks, tick_labels
from analysis.plot.save import NotebookFigure
from analysis.plot.text.typography import SMALL, text_inches, type_for, type_points, wrapped
from lop_sweep.errors import AnalysisError, comma_list

MAX_SURVIVAL_CURVES = 8
"""Colours that can be told from each other in one panel."""

_SCREEN_INCHES = 7.0
_MAX_INTERVAL_FACTOR = 10.0
"""Intervals of the edge are drawn as far as this factor beyond the smallest and the largest edge."""
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 1.5, 1.5, 1.5)))

_CURVE_COLUMNS = ("task", "at_risk", "losses", "censored", "survival", "low", "high")
_SPECIFICATION_COLUMNS = ("lost_share", "agreement", "edge", "edge_low", "edge_high")
_DECIDED_BY = (
    "plastic", "lost", "undecided", "untrainable", "diverged", "no baseline", "too short", "decidable", "reversed",
    "reason",
)  # fmt: skip


def plot_survival(curves: pd.DataFrame, title: str = "", *, width: float | None = None) -> Figure:
    """Draw Kaplan-Meier curves with their intervals, censored networks as ticks, and the networks at risk below.

    Curves differ also in their dashes, so that those that coincide can be seen.

    Args:
        curves: from `analysis.statistics.kaplan_meier`.
        title: over the figure.
        width: of the figure in inches, in type for print; None for 7 inches, in type for a screen.

    Raises:
        AnalysisError: a column is missing, or there are more than `MAX_SURVIVAL_CURVES` curves.
    """
    _require(curves, _CURVE_COLUMNS, "kaplan_meier")
    fields = [str(column) for column in curves.columns if column not in _CURVE_COLUMNS]
    groups: Any = list(curves.groupby(fields, observed=True)) if fields else [((), curves)]
    if len(groups) > MAX_SURVIVAL_CURVES:
        raise AnalysisError(f"{len(groups)} curves, at most {MAX_SURVIVAL_CURVES} are drawn; fix more with --where")
    inches, points = width or _SCREEN_INCHES, type_points(width)
    row = 2.2 * points / 100
    with type_for(width):
        height = max(1.8, 0.42 * inches)
        figure = NotebookFigure(figsize=(inches, height + 0.9 + 2 * row * len(groups)), layout="constrained")
        parts: Any = figure.subplots(2, 1, sharex=True, height_ratios=[height, 0.1 + row * len(groups)])
        upper, lower = parts
        marks = _round_tasks(int(curves["task"].max()))
        for number, (key, curve) in enumerate(groups):
            _draw_survival(upper, curve, number, format_fields(dict(zip(fields, key, strict=True))) or "all networks")
            for mark in marks:
                at_risk = curve.loc[curve["task"] >= mark, "at_risk"]
                lower.text(mark, number, at_risk.iloc[0] if len(at_risk) else 0, ha="center", va="center",
                           color=f"C{number}", fontsize="small")  # fmt: skip
        upper.set(ylim=(-0.03, 1.03), xticks=marks)
        upper.set_ylabel("share without an onset")
        upper.grid(alpha=0.3)
        lines: Any = [line for line in upper.get_lines() if line.get_drawstyle() == "steps-post"]
        names = [str(line.get_label()) for line in lines]
        if len(groups) > 1:
            longest = max(text_inches(name, points * SMALL) for name in names) + 5 * points / 72
            columns = max(1, min(len(names), int(inches / longest)))
            figure.legend(handles=lines, loc="outside lower center", ncols=columns, fontsize="small", frameon=False)
        lower.set_ylim(len(groups) - 0.4, -0.6)
        lower.set_yticks(range(len(groups)), names, fontsize="small")
        for number, label in enumerate(lower.get_yticklabels()):
            label.set_color(f"C{number}")
        lower.set_ylabel("at risk", fontsize="small")
        lower.set_xlabel("task")
        lower.spines[["top", "right", "bottom", "left"]].set_visible(False)
        lower.tick_params(left=False)
        note = "Kaplan-Meier; bands: 95% intervals of each point; ticks: end of observation"
        heading = wrapped(f"{title}\n{note}", inches - 0.2, points * SMALL)
        figure.suptitle("\n".join(heading), fontsize="small")
    return figure


def _draw_survival(axes: Axes, curve: pd.DataFrame, number: int, name: str) -> None:
    colour, task = f"C{number}", curve["task"].to_numpy(float)
    low, high = curve["low"].to_numpy(), curve["high"].to_numpy()
    axes.fill_between(task, low, high, step="post", color=colour, alpha=0.12, lw=0)
    axes.plot(
        task, curve["survival"], drawstyle="steps-post", color=colour, lw=1.6, ls=_DASHES[number % len(_DASHES)],
        label=name,
    )  # fmt: skip
    censored = curve[curve["censored"] > 0]
    axes.plot(censored["task"], censored["survival"], "|", color=colour, ms=7, mew=1.2)


def plot_specification(table: pd.DataFrame, title: str = "", *, width: float | None = None) -> Figure:
    """Draw the edge and the share of lost networks under each specification, sorted by the edge.

    Below, a dot in the row of each choice that a specification makes. The reference is marked by a square. Intervals
    that reach far beyond all edges are cut off, and end in an arrow.

    Args:
        table: from `analysis.statistics.specification_curve`.
        title: over the figure.
        width: of the figure in inches, in type for print; None for 7 inches, in type for a screen.

    Raises:
        AnalysisError: a column is missing, or there is no specification.
    """
    _require(table, _SPECIFICATION_COLUMNS, "specification_curve")
    if table.empty:
        raise AnalysisError("there is no specification to draw")
    known = (*_SPECIFICATION_COLUMNS, *_DECIDED_BY)
    choices = [str(column) for column in table.columns if column not in known]
    rows = [(choice, value) for choice in choices for value in _values(table[choice])]
    key = table["edge"].where(table["edge"].notna(), np.inf)
    order = np.lexsort((table["lost_share"].fillna(0), key))
    ordered = table.iloc[order].reset_index(drop=True)
    reference = int(np.flatnonzero(order == 0)[0])
    inches, points = width or _SCREEN_INCHES, type_points(width)
    row = 2 * points / 100
    with type_for(width):
        plots = max(2.4, 0.4 * inches)
        figure = NotebookFigure(figsize=(inches, plots + 1 + row * len(rows)), layout="constrained")
        heights = [0.57 * plots, 0.43 * plots, 0.1 + row * len(rows)]
        parts: Any = figure.subplots(3, 1, sharex=True, height_ratios=heights)
        edges, shares, dots = parts
        cut = _draw_edges(edges, ordered, reference)
        shares.plot(ordered.index, ordered["lost_share"], "o", color="C1", ms=3.5)
        shares.plot([reference], ordered["lost_share"][[reference]], "s", color="C1", ms=6)
        shares.set_ylim(-0.05, 1.05)
        shares.set_ylabel("share lost", fontsize="small")
        for number, (choice, value) in enumerate(rows):
            chosen = ordered.index[ordered[choice] == value]
            dots.plot(chosen, np.full(len(chosen), number), "o", color="0.2", ms=2.5)
        for number in range(1, len(rows)):
            if rows[number][0] != rows[number - 1][0]:
                dots.axhline(number - 0.5, color="0.8", lw=0.8)
        dots.set_yticks(range(len(rows)), [f"{choice} = {format_value(value)}" for choice, value in rows])
        dots.set_ylim(len(rows) - 0.4, -0.6)
        dots.set_xlim(-0.6, len(ordered) - 0.4)
        dots.set_xticks([])
        for axes in parts:
            axes.tick_params(labelsize="small")
        for axes in (edges, shares):
            axes.grid(alpha=0.3, axis="y")
        note = f"{len(ordered)} specifications, sorted by the edge; bars: 95% intervals; square: the first one given"
        note += "; arrow: the interval goes on" if cut else ""
        dots.set_xlabel("\n".join(wrapped(note, 0.7 * inches, points * SMALL)), fontsize="small")
        figure.suptitle("\n".join(wrapped(title or "Specification curve", inches - 0.2, points)), fontsize="medium")
    return figure


def _draw_edges(axes: Axes, ordered: pd.DataFrame, reference: int) -> bool:
    """Draw the edges with their intervals, and return whether an interval is cut off."""
    known = ordered[ordered["edge"].notna()]
    axes.set_ylabel("edge (learning rate)", fontsize="small")
    if known.empty:
        axes.text(0.5, 0.5, "no specification has an edge", transform=axes.transAxes, ha="center", color="0.4")
        return False
    low, high = known["edge_low"].fillna(known["edge"]), known["edge_high"].fillna(known["edge"])
    bottom = max(low.min(), known["edge"].min() / _MAX_INTERVAL_FACTOR)
    top = min(high.max(), known["edge"].max() * _MAX_INTERVAL_FACTOR)
    axes.vlines(known.index, low.clip(lower=bottom), high.clip(upper=top), color="C0", lw=1.2, alpha=0.6)
    above, below = known.index[high > top], known.index[low < bottom]
    axes.plot(known.index, known["edge"], "o", color="C0", ms=3.5)
    if reference in known.index:
        axes.plot([reference], known["edge"].loc[[reference]], "s", color="C0", ms=6)
    axes.plot(above, np.full(len(above), top), "^", color="C0", ms=5)
    axes.plot(below, np.full(len(below), bottom), "v", color="C0", ms=5)
    axes.set_yscale("log")
    axes.set_ylim(bottom / 1.3, top * 1.3)
    ticks = round_ticks(bottom / 1.3, top * 1.3)
    axes.set_yticks(ticks, tick_labels(ticks))
    axes.minorticks_off()
    return bool(len(above) or len(below))


def _round_tasks(last: int) -> np.ndarray:
    """Return about six round task numbers from 0."""
    raw = max(last, 1) / 5
    size = 10 ** np.floor(np.log10(raw))
    step = max(1, next(factor * size for factor in (1, 2, 5, 10) if factor * size >= raw))
    return np.arange(0, last + 1, step).astype(int)


def _values(column: pd.Series) -> list[Any]:
    return sorted(column.dropna().unique(), key=lambda value: (isinstance(value, str), value))


def _require(table: pd.DataFrame, columns: Sequence[str], maker: str) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        raise AnalysisError(f"`table` lacks the columns {comma_list(missing)}; analysis.statistics.{maker} makes them")
