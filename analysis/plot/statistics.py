"""Figures of statistics: survival curves, forests of effects and of comparisons, and what each specification says.

A forest has one row per estimate, with its interval. An interval that leaves the axis ends in an arrow, and what has no
estimate is named with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from analysis.data import format_fields, format_value
from analysis.plot.axes import round_ticks, tick_labels
from analysis.plot.heatmap import MISSING
from analysis.plot.save import NotebookFigure
from analysis.plot.text.typography import SMALL, text_inches, type_for, type_points, wrapped
from analysis.plot.variables import DIVERGING
from analysis.statistics import FALSE_DISCOVERIES, MARGIN, explain_few_pairs
from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError, comma_list

MAX_SURVIVAL_CURVES = 8
"""Colours that can be told from each other in one panel."""

MAX_POINT_COLUMNS, MAX_POINT_ROWS = 40, 40
"""Values side by side, and combinations of other fields one below the other, in a figure of compared points."""

_TIMES = " \N{MULTIPLICATION SIGN} "

_SCREEN_INCHES = 7.0
_MAX_INTERVAL_FACTOR = 10.0
"""Intervals of edges and of ratios are drawn as far as this factor beyond the smallest and the largest estimate."""
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 1.5, 1.5, 1.5)))

_CURVE_COLUMNS = ("task", "at_risk", "losses", "censored", "survival", "low", "high")
_SPECIFICATION_COLUMNS = ("lost_share", "agreement", "edge", "edge_low", "edge_high")
_EFFECT_COLUMNS = ("term", "coefficient", "low", "high", "reason")
_COLLAPSE_COLUMNS = ("candidate", "explained", "aic", "reason")
_COMPARISON_COLUMNS = ("statistic", "estimate", "low", "high", "p", "pairs", "seeds", "reason")
_POINT_COLUMNS = ("pairs", "first", "second", "difference", "p", "q", "differs")
_RESPONSES = {
    "failures": ("failure rate", "odds ratio of a failed task"),
    "lost": ("share of lost networks", "odds ratio of a loss"),
}
"""What a figure of effects calls the response and its odds ratio; a table from a file does not say which it is."""
_COMPARED = {
    "failure rate": "failure rate",
    "equivalence": "equivalence (90%)",
    "verdicts": "share of lost networks",
    "edge in lr": "edge in learning rate",
}
"""What a figure calls the statistics of `compare`."""
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


def plot_effects(table: pd.DataFrame, title: str = "", *, width: float | None = None) -> Figure:
    """Draw the odds ratio of each coefficient of a regression with its 95% interval, on a logarithmic axis.

    Ratios are per unit of a number, per factor e of a logarithm, and of a category against its first value. The
    intercept is left out, because it is not a ratio of odds. Coefficients without an estimate, and ratios that are too
    large or too small for a float, are named with the reason.
    Intervals that reach far beyond all ratios are cut off, and end in an arrow.

    Args:
        table: from `analysis.statistics.regression`.
        title: over the figure.
        width: of the figure in inches, in type for print; None for 7 inches, in type for a screen.

    Raises:
        AnalysisError: a column is missing, or there is no coefficient besides the intercept.
    """
    _require(table, _EFFECT_COLUMNS, "regression")
    rows = table[table["term"] != "intercept"]
    if rows.empty:
        raise AnalysisError("there is no coefficient to draw besides the intercept")
    with np.errstate(over="ignore"):
        odds, low, high = np.exp(rows[["coefficient", "low", "high"]].to_numpy(float).T)
    names = [term_label(term) for term in rows["term"]]
    reasons = rows["reason"].fillna("")
    forest = Forest(names, odds, low, high, reasons.to_list(), reference=1.0, log=True)
    inches, points = width or _SCREEN_INCHES, type_points(width)
    with type_for(width):
        figure = NotebookFigure(figsize=(inches, 0.9 + forest.inches(inches, points)), layout="constrained")
        axes = figure.subplots()
        cut = forest.draw(axes, inches, points)
        what, ratio = _RESPONSES.get(table.attrs.get("response", ""), ("failures", "odds ratio"))
        axes.set_xlabel(ratio, fontsize="small")
        of = [f"{table.attrs['cells']:,} cells, {table.attrs['seeds']} seeds"] if "cells" in table.attrs else []
        doubts = dict.fromkeys(filter(None, reasons[rows["coefficient"].notna()]))
        note = "; ".join(["bars: 95% intervals, seeds as clusters", *cut, *of, *doubts])
        _head(figure, title or f"Which axes move the {what}", note, inches, points)
    return figure


def plot_collapse(table: pd.DataFrame, title: str = "", *, width: float | None = None) -> Figure:
    """Draw the share of the null deviance that each combination of axes explains, the smallest AIC on top.

    On the right is the AIC minus the smallest one. Combinations that explain every cell are hatched, and those that do
    not vary are named.

    Args:
        table: from `analysis.statistics.collapse`.
        title: over the figure.
        width: of the figure in inches, in type for print; None for 7 inches, in type for a screen.

    Raises:
        AnalysisError: a column is missing, or the table is empty.
    """
    _require(table, _COLLAPSE_COLUMNS, "collapse")
    if table.empty:
        raise AnalysisError("there is no combination of axes to draw")
    inches, points = width or _SCREEN_INCHES, type_points(width)
    names = [str(name).replace(" x ", _TIMES) for name in table["candidate"]]
    known, at = table["explained"].notna().to_numpy(), np.arange(len(table))
    separated = table["reason"].fillna("").str.startswith("separated").to_numpy() & known
    with type_for(width):
        height = 0.9 + 2 * points / 72 * len(table)
        figure = NotebookFigure(figsize=(inches, height), layout="constrained")
        axes = figure.subplots()
        bars = axes.barh(at[known], table["explained"][known], height=0.6, color="C0")
        for bar, hatched in zip(bars, separated[known], strict=True):
            bar.set(hatch="///" if hatched else None, edgecolor="white", linewidth=0)
        beside = axes.get_yaxis_transform()
        axes.text(1.02, -0.75, "ΔAIC", transform=beside, fontsize="small", color="0.3", va="center")
        for row, aic in zip(at[known], table["aic"][known] - table["aic"].min(), strict=True):
            axes.text(1.02, row, f"{aic:,.1f}", transform=beside, fontsize="small", va="center")
        for row in at[~known]:
            axes.text(0.02, row, table["reason"].iloc[row], fontsize="small", color="0.4", va="center")
        axes.set_yticks(at, ["\n".join(wrapped(name, 0.45 * inches, points * SMALL)) for name in names])
        axes.set(xlim=(0, 1), ylim=(len(table) - 0.4, -0.6))
        axes.tick_params(labelsize="small")
        axes.grid(alpha=0.3, axis="x")
        axes.set_axisbelow(True)
        axes.set_xlabel("explained share of the null deviance", fontsize="small")
        note = "hatched: separated, explains every cell" if separated.any() else ""
        _head(figure, title or "Which axes collapse the edge", note, inches, points)
    return figure


def plot_comparison(
    table: pd.DataFrame, title: str = "", *, margin: float = MARGIN, width: float | None = None
) -> Figure:
    """Draw how two conditions differ, second minus first: rates and shares on one axis, the edge's factor on another.

    The margin of equivalence is shaded. Rates are equivalent if their 90% interval lies within it. Statistics without
    an estimate are named, with the reason.

    Args:
        table: from `analysis.statistics.compare`.
        title: over the figure.
        margin: with which the table was made, failures per task.
        width: of the figure in inches, in type for print; None for 7 inches, in type for a screen.

    Raises:
        AnalysisError: a column is missing, or there is no statistic.
    """
    _require(table, _COMPARISON_COLUMNS, "compare")
    if table.empty:
        raise AnalysisError("there is no statistic to draw")
    factor = table["statistic"] == "edge in lr"
    forests = [_forest_of(part, margin) for part in (table[~factor], table[factor]) if len(part)]
    inches, points = width or _SCREEN_INCHES, type_points(width)
    with type_for(width):
        heights = [0.35 + forest.inches(inches, points) for forest in forests]
        figure = NotebookFigure(figsize=(inches, 0.6 + sum(heights)), layout="constrained")
        parts: Any = figure.subplots(len(forests), 1, squeeze=False, height_ratios=heights)
        cut = []
        for forest, axes in zip(forests, parts[:, 0], strict=True):
            cut += forest.draw(axes, inches, points)
            label = "factor" if forest.log else "second minus first"
            axes.set_xlabel(label, fontsize="small")
        shaded = [f"shaded: differences below {margin:g}"] if not forests[0].log else []
        doubted = table[table["estimate"].notna() & (table["reason"].fillna("") != "")]
        doubts = [f"{row['statistic']}: {row['reason']}" for _, row in doubted.iterrows()]
        of = [f"{table['seeds'].max()} seeds", "bars: 95% intervals unless named"]
        note = "; ".join([*of, *shaded, *dict.fromkeys(cut), *doubts])
        _head(figure, title or "Whether two conditions differ", note, inches, points)
    return figure


def plot_points(table: pd.DataFrame, title: str = "", *, width: float | None = None) -> Figure:
    """Draw the difference at every point, second minus first, as a map with a dot where the point differs (q <= 0.05).

    The field with most values is along the horizontal axis, not to scale. Each combination of the others is a row.
    Columns that are not configuration fields are ignored.

    Args:
        table: from `analysis.statistics.compare_points`.
        title: over the figure.
        width: of the figure in inches, in type for print; None for 7 inches, in type for a screen.

    Raises:
        AnalysisError: a column or the value of a field is missing, two rows have the same fields, there is no point, or
            there are more than `MAX_POINT_COLUMNS` values or `MAX_POINT_ROWS` combinations.
    """
    _require(table, _POINT_COLUMNS, "compare_points")
    if table.empty:
        raise AnalysisError("there is no point to draw: no configuration has two values to compare")
    fields = [str(column) for column in table.columns if column in FIELDS]
    for field in fields:
        if table[field].isna().any():
            raise AnalysisError(
                f"`table` has no value of {field} in {table[field].isna().sum()} of {len(table)} rows: fields must be "
                "complete; fill them, or read the file with keep_default_na=False"
            )
    if table.duplicated(fields).any() if fields else len(table) > 1:
        raise AnalysisError(f"`table` has two rows with the same {comma_list(fields) or 'fields'}: choose one of them")
    across = max(fields, key=lambda field: table[field].nunique(), default="")
    down = [field for field in fields if field != across]
    column, values = _codes(table[across]) if across else (np.zeros(len(table), int), [""])
    row = table.groupby(down, observed=True).ngroup().to_numpy() if down else np.zeros(len(table), int)
    rows = int(row.max()) + 1
    if len(values) > MAX_POINT_COLUMNS or rows > MAX_POINT_ROWS:
        raise AnalysisError(
            f"{len(values)} values of {across} and {rows} combinations of other fields: at most {MAX_POINT_COLUMNS} "
            f"and {MAX_POINT_ROWS} are drawn; fix more with --where"
        )
    names = [""] * rows
    for one, key in zip(row, table[down].itertuples(index=False), strict=True):
        names[one] = format_fields(dict(zip(down, key, strict=True)))
    grid = np.full((rows, len(values)), np.nan)
    grid[row, column] = table["difference"]
    inches, points = width or _SCREEN_INCHES, type_points(width)
    differs = table["differs"].to_numpy(bool)
    with type_for(width):
        lines = [wrapped(name, 0.35 * inches, points * SMALL) for name in names]
        line = 1.3 * points / 72
        height = max(0.9, sum(max(1.6, len(one)) * line for one in lines))
        figure = NotebookFigure(figsize=(inches, height + 1.5), layout="constrained")
        axes = figure.subplots()
        largest = np.nanmax(np.abs(grid), initial=0.0) or 1.0
        norm = Normalize(-largest, largest)
        edges = np.arange(len(values) + 1) - 0.5, np.arange(rows + 1) - 0.5
        axes.patch.set(facecolor=MISSING.get_facecolor(), edgecolor=MISSING.get_edgecolor(), hatch=MISSING.get_hatch())
        axes.pcolormesh(*edges, grid, norm=norm, cmap=DIVERGING, edgecolor="white", lw=0.3)
        axes.plot(column[differs], row[differs], "o", color="black", mec="white", mew=0.5, ms=4)
        room = 0.5 * inches / len(values)
        labels = [format_value(value) for value in values]
        if not isinstance(values[0], str):
            labels = tick_labels(np.array(values, float))
        steep = max(text_inches(label, points * SMALL) for label in labels) > 0.85 * room
        axes.set_xticks(range(len(values)), labels, rotation=90 if steep else 0)
        axes.set_yticks(range(rows), ["\n".join(one) for one in lines])
        axes.tick_params(labelsize="small", length=0)
        axes.set_xlabel(f"{FIELDS[across].axis_label}, not to scale" if across else "", fontsize="small")
        bar = figure.colorbar(ScalarMappable(norm, DIVERGING), ax=axes)
        bar.set_label("\n".join(wrapped("difference, second minus first", height, points * SMALL)), fontsize="small")
        bar.ax.tick_params(labelsize="small")
        _head(figure, title or "Where two conditions differ", _points_note(table, grid), inches, points)
    return figure


@dataclass(frozen=True)
class Forest:
    """Estimates with their intervals, one row each from the top.

    Attributes:
        names: of the rows, each one or several lines.
        estimate, low, high: (n,); NaN where there is none, and infinite ends are cut off. Infinite estimates, and
            those of 0 or less on a logarithmic axis, are not drawn but named.
        reasons: why a row has no estimate.
        reference: of no effect, at which there is a line.
        log: whether estimates are factors, on a logarithmic axis. Differences of shares are within -1 and 1.
        margin: differences that are shaded, to both sides of `reference`.
    """

    names: Sequence[str]
    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    reasons: Sequence[str]
    reference: float
    log: bool
    margin: float = 0.0

    def inches(self, width: float, points: float) -> float:
        """Return the height of the rows in a figure of this width and font size."""
        return sum(0.18 + 1.25 * points * SMALL / 72 * len(lines) for lines in self._lines(width, points))

    def draw(self, axes: Axes, width: float, points: float) -> list[str]:
        """Draw all rows, and return the explanation of arrows if there is one."""
        lines = self._lines(width, points)
        bottom, top = self._range()
        known = self._drawable()
        at = np.arange(len(lines))
        low, high = (np.where(np.isnan(end), self.estimate, end) for end in (self.low, self.high))
        axes.set_xscale("log" if self.log else "linear")
        if self.margin:
            axes.axvspan(self.reference - self.margin, self.reference + self.margin, color="0.9", lw=0, zorder=0)
        axes.axvline(self.reference, color="0.4", lw=0.8, zorder=1)
        axes.hlines(at[known], low[known].clip(bottom, top), high[known].clip(bottom, top), color="C0", lw=1.4)
        axes.plot(self.estimate[known], at[known], "o", color="C0", ms=4.5)
        beyond = {"<": known & (low < bottom), ">": known & (high > top)}
        for marker, some in beyond.items():
            end = bottom if marker == "<" else top
            axes.plot(np.full(some.sum(), end), at[some], marker, color="C0", ms=5)
        for row in at[~known]:
            value = self.estimate[row]
            size = "no estimate" if np.isnan(value) else "too large" if value > 0 else "too small"
            reason = wrapped(f"undefined: {self.reasons[row] or size}", 0.5 * width, points * SMALL)
            axes.text(
                0.5, row, "\n".join(reason), transform=axes.get_yaxis_transform(), ha="center", va="center",
                fontsize="small", color="0.4", backgroundcolor="white",
            )  # fmt: skip
        room = (np.sqrt(1.3), 1.3) if self.log else (0.06 * (top - bottom),) * 2
        ends = (bottom / room[1], top * room[1]) if self.log else (bottom - room[0], top + room[0])
        axes.set(xlim=ends, ylim=(len(lines) - 0.5, -0.5))
        if self.log:
            ticks = round_ticks(*ends)
            axes.set_xticks(ticks, tick_labels(ticks))
            axes.minorticks_off()
        axes.set_yticks(at, ["\n".join(one) for one in lines])
        axes.tick_params(labelsize="small")
        axes.tick_params(axis="y", length=0)
        axes.grid(alpha=0.3, axis="x")
        return ["arrow: the interval goes on"] if any(some.any() for some in beyond.values()) else []

    def _lines(self, width: float, points: float) -> list[list[str]]:
        return [wrapped(name, 0.38 * width, points * SMALL) for name in self.names]

    def _drawable(self) -> np.ndarray:
        """Return which rows have an estimate that the axis can show, (n,)."""
        return np.isfinite(self.estimate) & ((self.estimate > 0) | (not self.log))

    def _range(self) -> tuple[float, float]:
        """Return the smallest and the largest value that are drawn."""
        known = self._drawable()
        values = [self.reference - self.margin, self.reference + self.margin, *self.estimate[known]]
        ends = [end[~np.isnan(end)] for end in (self.low, self.high)]
        if not self.log:
            return max(-1.0, min([*values, *ends[0]])), min(1.0, max([*values, *ends[1]]))
        smallest, largest = min(values), max(values)
        bottom = max(smallest / _MAX_INTERVAL_FACTOR, min([smallest, *ends[0]]))
        top = min(largest * _MAX_INTERVAL_FACTOR, max([largest, *ends[1]]))
        return bottom, top


def term_label(term: str) -> str:
    """Return a regressor's name for people, with the change that its odds ratio is of, on a second line.

    "log lr" is "learning rate", "per factor e"; "depth:log lr" has both units.
    """
    names, units = [], []
    for factor in term.split(":"):
        field, equals, value = factor.removeprefix("log ").partition(" = ")
        parts = [FIELDS[one].label if one in FIELDS else one for one in field.split("*")]
        names.append(" · ".join(parts) + (f" = {value}" if equals else ""))
        units.append("factor e" if factor.startswith("log ") else "first value" if equals else "unit")
    if units == ["first value"]:
        return f"{names[0]}\nagainst its first value"
    per = [unit if unit != "first value" else "category" for unit in units]
    return _TIMES.join(names) + "\nper " + " and ".join(per)


def _forest_of(table: pd.DataFrame, margin: float) -> Forest:
    """Return the rows of a comparison that share an axis: differences, or the factor of the edge."""
    log = bool((table["statistic"] == "edge in lr").all())
    estimate, low, high = table[["estimate", "low", "high"]].to_numpy(float).T
    names, reasons = [_compared(row) for _, row in table.iterrows()], table["reason"].fillna("").to_list()
    return Forest(names, estimate, low, high, reasons, 1.0 if log else 0.0, log, 0.0 if log else margin)


def _compared(row: pd.Series) -> str:
    """Return the name of a statistic, with its p value and the number of pairs on a second line."""
    p = f"p = {row['p']:.2g}, " if np.isfinite(row["p"]) else ""
    return f"{_COMPARED.get(row['statistic'], row['statistic'])}\n{p}{row['pairs']:,} pairs"


def _points_note(table: pd.DataFrame, grid: np.ndarray) -> str:
    """Return what marks mean, and why there may be none."""
    dots = ("dots: " if table["differs"].any() else "no point has ") + f"q ≤ {FALSE_DISCOVERIES:g}"
    return "; ".join(filter(None, [dots, explain_few_pairs(table), "hatched: no pair" if np.isnan(grid).any() else ""]))


def _codes(column: pd.Series) -> tuple[np.ndarray, list[Any]]:
    """Return the index of each entry's value, and the values in their order."""
    values = _values(column)
    return pd.Index(values).get_indexer(pd.Index(column)), values


def _head(figure: Figure, title: str, note: str, inches: float, points: float) -> None:
    """Write a title, and a note in small type below the axes."""
    figure.suptitle("\n".join(wrapped(title, inches - 0.2, points)), fontsize="medium")
    if note:
        figure.supxlabel("\n".join(wrapped(note, inches - 0.2, points * SMALL)), fontsize="small", color="0.3")


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
