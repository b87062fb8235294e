"""Figures of statistics: curves of networks that keep plasticity, and what each specification says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.data import format_value
from lop_sweep.errors import AnalysisError, comma_list

MAX_SURVIVAL_CURVES = 8
"""Colours that can be told from each other in one panel."""

_CURVE_COLUMNS = ("task", "at_risk", "losses", "censored", "survival", "low", "high")
_SPECIFICATION_COLUMNS = ("lost_share", "agreement", "edge", "edge_low", "edge_high")
_DECIDED_BY = (
    "plastic", "lost", "undecided", "untrainable", "diverged", "no baseline", "too short", "decidable", "reversed",
    "reason",
)  # fmt: skip


def plot_survival(curves: pd.DataFrame, title: str = "") -> Figure:
    """Draw Kaplan-Meier curves with their intervals, censored networks as ticks, and the networks at risk below.

    Args:
        curves: from `analysis.statistics.kaplan_meier`.
        title: over the figure.

    Raises:
        AnalysisError: a column is missing, or there are more than `MAX_SURVIVAL_CURVES` curves.
    """
    _require(curves, _CURVE_COLUMNS, "kaplan_meier")
    fields = [str(column) for column in curves.columns if column not in _CURVE_COLUMNS]
    groups: Any = list(curves.groupby(fields, observed=True)) if fields else [((), curves)]
    if len(groups) > MAX_SURVIVAL_CURVES:
        raise AnalysisError(f"{len(groups)} curves, at most {MAX_SURVIVAL_CURVES} are drawn; fix more with --where")
    figure = Figure(figsize=(7, 3.6 + 0.22 * len(groups)), layout="constrained")
    parts: Any = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 0.25 + 0.22 * len(groups)])
    upper, lower = parts
    marks = _round_tasks(int(curves["task"].max()))
    names = []
    for number, (key, curve) in enumerate(groups):
        colour = f"C{number}"
        names.append(comma_list(f"{f} = {format_value(v)}" for f, v in zip(fields, key, strict=True)) or "all networks")
        task = curve["task"].to_numpy(float)
        upper.plot(task, curve["survival"], drawstyle="steps-post", color=colour, lw=1.5, label=names[-1])
        upper.fill_between(
            task, curve["low"].to_numpy(), curve["high"].to_numpy(), step="post", color=colour, alpha=0.15, lw=0
        )
        censored = curve[curve["censored"] > 0]
        upper.plot(censored["task"], censored["survival"], "|", color=colour, ms=7, mew=1.2)
        for mark in marks:
            at_risk = curve.loc[curve["task"] >= mark, "at_risk"]
            lower.text(mark, number, at_risk.iloc[0] if len(at_risk) else 0, ha="center", va="center", color=colour,
                       fontsize="small")  # fmt: skip
    upper.set_ylim(-0.03, 1.03)
    upper.set_ylabel("share without an onset")
    upper.grid(alpha=0.3)
    if len(groups) > 1:
        upper.legend(fontsize="small", loc="best")
    lower.set_ylim(len(groups) - 0.4, -0.6)
    lower.set_yticks(range(len(groups)), names, fontsize="small")
    lower.set_ylabel("at risk", fontsize="small")
    lower.set_xlabel("task")
    lower.spines[["top", "right", "bottom", "left"]].set_visible(False)
    lower.tick_params(left=False)
    note = "Kaplan-Meier, bands: 95% intervals of each point, ticks: end of observation"
    figure.suptitle(f"{title}\n{note}" if title else note, fontsize="medium")
    return figure


def plot_specification(table: pd.DataFrame, title: str = "") -> Figure:
    """Draw the edge and the share of lost networks under each specification, sorted by the edge.

    Below, a dot in the row of each choice that a specification makes. The reference is marked by a square.

    Args:
        table: from `analysis.statistics.specification_curve`.
        title: over the figure.

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
    figure = Figure(figsize=(7, 3.8 + 0.2 * len(rows)), layout="constrained")
    parts: Any = figure.subplots(3, 1, sharex=True, height_ratios=[1.6, 1.2, 0.3 + 0.2 * len(rows)])
    edges, shares, dots = parts
    _draw_edges(edges, ordered, reference)
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
    dots.set_yticks(range(len(rows)), [f"{choice} = {_name(value)}" for choice, value in rows], fontsize="small")
    dots.set_ylim(len(rows) - 0.4, -0.6)
    dots.set_xlim(-0.6, len(ordered) - 0.4)
    dots.set_xticks([])
    dots.set_xlabel(f"{len(ordered)} specifications, sorted by the edge; square: the first one given")
    for axes in (edges, shares):
        axes.grid(alpha=0.3, axis="y")
    figure.suptitle(title or "Specification curve", fontsize="medium")
    return figure


def _draw_edges(axes: Axes, ordered: pd.DataFrame, reference: int) -> None:
    known = ordered[ordered["edge"].notna()]
    axes.set_ylabel("edge (learning rate)", fontsize="small")
    if known.empty:
        axes.text(0.5, 0.5, "no specification has an edge", transform=axes.transAxes, ha="center", color="0.4")
        return
    low, high = known["edge_low"].fillna(known["edge"]), known["edge_high"].fillna(known["edge"])
    axes.vlines(known.index, low, high, color="C0", lw=1.2, alpha=0.6)
    axes.plot(known.index, known["edge"], "o", color="C0", ms=3.5)
    if reference in known.index:
        axes.plot([reference], known["edge"].loc[[reference]], "s", color="C0", ms=6)
    axes.set_yscale("log")
    ticks = np.unique(np.round(np.geomspace(low.min(), high.max(), 4), 3))
    axes.set_yticks(ticks, [f"{tick:.3g}" for tick in ticks])
    axes.minorticks_off()


def _round_tasks(last: int) -> np.ndarray:
    """Return about six round task numbers from 0."""
    raw = max(last, 1) / 5
    size = 10 ** np.floor(np.log10(raw))
    step = max(1, next(factor * size for factor in (1, 2, 5, 10) if factor * size >= raw))
    return np.arange(0, last + 1, step).astype(int)


def _values(column: pd.Series) -> list[Any]:
    return sorted(column.dropna().unique(), key=lambda value: (isinstance(value, str), value))


def _name(value: Any) -> str:
    return value if isinstance(value, str) else format_value(value)


def _require(table: pd.DataFrame, columns: Sequence[str], maker: str) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        raise AnalysisError(f"`table` lacks the columns {comma_list(missing)}; analysis.statistics.{maker} makes them")
