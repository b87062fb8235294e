"""Metrics task by task: how each changes along the task sequence, with the spread over seeds."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.data import by_configuration, describe_shared, format_fields, seed_count, shared_fields
from analysis.plot.variables import metric_label
from lop_sweep.metrics import METRICS
from lop_sweep.storage import DIVERGED

MAX_CURVES = 8
PERCENTILES_FROM = 8
"""Number of seeds from which on a band leaves out the outermost ones."""

MIN_LOG_VALUE = 1e-6
"""Logarithmic axes end here, if values reach below."""

NOT_MEASURED = "not measured"
"""The text in the panel of a metric without any value."""

_PANELS_PER_ROW = 2
_PANEL_INCHES = 5.0, 2.5
_TITLE_CHARACTERS, _LABEL_CHARACTERS = 120, 34


def plot_curves(cells: pd.DataFrame, tasks: pd.DataFrame, title: str = "") -> Figure:
    """Draw every metric in `tasks` against the task number, one curve per configuration.

    A curve is the median over seeds. Its band spans the smallest to the largest seed, or with `PERCENTILES_FROM` seeds
    or more the 10th to the 90th percentile. The panel of the CE after the task also has the mean of the fresh networks,
    dashed, in a band from their 10th to their 90th percentile. Tasks at which any seed of a configuration has diverged
    are left out. Seeds without values of a metric are left out of its panel, which says how many cells have it.

    Args:
        cells: from `load_cells`, narrowed down with `select`.
        tasks: rows of these cells from `load_tasks`; rows of other cells are ignored.
        title: over the figure; by default the fields that all cells share.

    Raises:
        AnalysisError: there are no cells, or more than `MAX_CURVES` configurations.
    """
    groups = by_configuration(cells, MAX_CURVES)
    percentiles = min(len(group) for _, group in groups) >= PERCENTILES_FROM
    figure, panels = _panels([name for name in METRICS if name in tasks])
    tasks = tasks[tasks["cell"].isin(cells["cell"])]
    # Fresh networks are measured after their last update.
    judged = "end_ce" if tasks["end_ce"].notna().any() else "final_ce"
    for metric, axes in panels.items():
        wide = _wide(tasks, metric)
        measured = wide.columns[wide.notna().any()]
        for index, (key, group) in enumerate(groups):
            name = format_fields(key) or "all cells"
            chosen = wide[[cell for cell in group["cell"] if cell in wide and _counts(cell, group, measured)]]
            _draw_band(axes, chosen, f"C{index}", name, percentiles)
            if metric == judged:
                _draw_baseline(axes, group, f"C{index}")
        _finish(axes, metric, cells, len(measured))
    seeds = [len(group) for _, group in groups]
    band = "10th to 90th percentile" if percentiles else "range"
    spread = f"median and {band} over {seed_count(seeds)} seeds" if max(seeds) > 1 else "one seed"
    gaps = "; gaps: a seed has diverged" if (cells["status"] == DIVERGED).any() else ""
    handles: list[Any] = next(iter(panels.values())).get_lines()
    if len(groups) > 1:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(groups), 4), fontsize="small")
    dashed = "dashed: mean of fresh networks, band: their 10th to 90th percentile"
    heading = "\n".join(textwrap.wrap(title or describe_shared(shared_fields(cells)), _TITLE_CHARACTERS))
    figure.suptitle(f"{heading}\n{spread}; {dashed}{gaps}", fontsize="medium")
    return figure


def _panels(metrics: Sequence[str]) -> tuple[Figure, dict[str, Axes]]:
    """Make a figure with a panel for each metric."""
    rows = -(-len(metrics) // _PANELS_PER_ROW)
    width, height = _PANEL_INCHES
    figure = Figure(figsize=(_PANELS_PER_ROW * width, rows * height), layout="constrained")
    grid: Any = figure.subplots(rows, _PANELS_PER_ROW, sharex=True, squeeze=False)
    panels = dict(zip(metrics, grid.flat, strict=False))
    for unused in grid.flat[len(panels) :]:
        unused.set_visible(False)
    for axes in list(panels.values())[-_PANELS_PER_ROW:]:
        axes.set_xlabel("task")
        axes.tick_params(labelbottom=True)
    return figure, panels


def _wide(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a metric with one row per task and one column per cell; NaN where it was not measured."""
    values = rows[metric]
    if METRICS[metric].per_layer:
        values = values.map(lambda layers: np.nan if layers is None else np.mean(layers))
    return rows.assign(value=values.astype(float)).pivot(index="task", columns="cell", values="value")


def _counts(cell: str, group: pd.DataFrame, measured: pd.Index) -> bool:
    """Return whether a cell belongs to a curve: one that diverged at once makes a gap, an unmeasured one does not."""
    return cell in measured or bool((group.loc[group["cell"] == cell, "status"] == DIVERGED).all())


def _draw_band(axes: Axes, wide: pd.DataFrame, colour: str, name: str, percentiles: bool) -> None:
    wide = wide.dropna()
    marker = "o" if len(wide) == 1 else None
    axes.plot(wide.index, wide.median(axis=1), color=colour, lw=1.3, marker=marker, ms=4, label=name)
    if wide.shape[1] > 1:
        low, high = (0.1, 0.9) if percentiles else (0.0, 1.0)
        ends = wide.quantile(low, axis=1), wide.quantile(high, axis=1)
        axes.fill_between(wide.index, *ends, color=colour, alpha=0.2, lw=0)


def _draw_baseline(axes: Axes, group: pd.DataFrame, colour: str) -> None:
    mean = group["fresh_mean_ce"].mean()
    if not np.isfinite(mean):
        return
    axes.axhline(mean, color=colour, ls="--", lw=1)
    axes.axhspan(*np.quantile(np.concatenate(group["fresh_ce"].to_list()), [0.1, 0.9]), color=colour, alpha=0.1, lw=0)


def _finish(axes: Axes, metric: str, cells: pd.DataFrame, measured: int) -> None:
    """Label a panel, choose its scale, and say what it lacks."""
    diverged = int((cells["status"] == DIVERGED).sum())
    if not measured:
        text = "diverged: no finite value" if diverged == len(cells) else NOT_MEASURED
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="0.4")
    label = metric_label(METRICS[metric])
    if 0 < measured < len(cells) - diverged:
        label += f"\nmeasured in {measured} of {len(cells)} cells"
    axes.grid(alpha=0.3)
    if METRICS[metric].logarithmic and any((np.asarray(line.get_ydata()) > 0).any() for line in axes.get_lines()):
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        if low < MIN_LOG_VALUE < high:
            axes.set_ylim(MIN_LOG_VALUE, 2 * _highest(axes))
            label += f"\naxis ends at {MIN_LOG_VALUE:g}"
    lines = [part for line in label.split("\n") for part in textwrap.wrap(line, _LABEL_CHARACTERS)]
    axes.set_ylabel("\n".join(lines), fontsize="small")


def _highest(axes: Axes) -> float:
    """Return the largest number drawn; the axis's own margin spans hundreds of decades if zeros are drawn."""
    lines = [np.asarray(line.get_ydata(), float) for line in axes.get_lines()]
    bands = [np.asarray(path.vertices)[:, 1] for band in axes.collections for path in band.get_paths()]
    return float(np.nanmax(np.concatenate([*lines, *bands])))
