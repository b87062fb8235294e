"""Per-task curves: how each measure changes along the task sequence, with the spread over seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.data import by_configuration, seed_count, shared_configuration
from lop_sweep.errors import comma_list
from lop_sweep.metrics import LAYERED, METRICS
from lop_sweep.storage import DIVERGED

MAX_CURVES = 8
MANY = 8
"""Seeds from which on a band leaves out the outermost ones."""

_LABELS = {
    "min_ce": "smallest CE of the task (nats)",
    "final_ce": "CE at the end of the task (nats)",
    "saturation": "saturated units (share of |z| > 2)",
    "grad_norm": "hidden gradient norm at task start",
    "effective_rank": "effective rank (mean over layers)",
    "duplicate_fraction": "duplicate features (mean over layers)",
}
_LOGARITHMIC = ("min_ce", "final_ce", "grad_norm")
_FLOOR = 1e-6


def plot_curves(cells: pd.DataFrame, tasks: pd.DataFrame, title: str = "") -> Figure:
    """Draw all measures against the task number, one curve a configuration.

    A curve is the median over seeds. Its band reaches from the smallest to the largest seed, with `MANY` seeds or more
    from the 10th to the 90th percentile. In the panel of the final CE the fresh baseline's mean is dashed, in a band
    from the 10th to the 90th percentile of all fresh networks. Tasks at which any seed of a configuration has diverged
    are left out. Logarithmic axes end at `_FLOOR` below, and say so.

    Args:
        cells: from `analysis.data.load.load_cells`, already narrowed down with `analysis.data.load.select`.
        tasks: rows of these cells from `analysis.data.load.load_tasks`; rows of other cells are ignored.
        title: over the figure.

    Raises:
        AnalysisError: there are no cells, or more than `MAX_CURVES` configurations.
    """
    groups = by_configuration(cells, MAX_CURVES)
    percentiles = min(len(group) for _, group in groups) >= MANY
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    panels: dict[str, Axes] = dict(zip(METRICS, figure.subplots(3, 2, sharex=True).flat, strict=True))
    for index, (key, group) in enumerate(groups):
        name = comma_list(f"{field} = {part:g}" for field, part in key.items()) or "all cells"
        rows = tasks[tasks["cell"].isin(group["cell"])]
        for metric, axes in panels.items():
            _draw_band(axes, _wide(rows, metric), f"C{index}", name, percentiles)
        _draw_baseline(panels["final_ce"], group, f"C{index}")
    for metric, axes in panels.items():
        axes.set_ylabel(_LABELS[metric], fontsize="small")
        axes.grid(alpha=0.3)
        if metric in _LOGARITHMIC and any((np.asarray(line.get_ydata()) > 0).any() for line in axes.get_lines()):
            axes.set_yscale("log")
            low, high = axes.get_ylim()
            if low < _FLOOR < high:
                axes.set_ylim(_FLOOR, 2 * _highest(axes))
                axes.set_ylabel(f"{_LABELS[metric]}\naxis ends at {_FLOOR:g}", fontsize="small")
    for axes in list(panels.values())[-2:]:
        axes.set_xlabel("task")
    seeds = [len(group) for _, group in groups]
    band = "10th to 90th percentile" if percentiles else "range"
    spread = f"median and {band} over {seed_count(seeds)} seeds" if max(seeds) > 1 else "one seed"
    gaps = "; gaps: a seed has diverged" if (cells["status"] == DIVERGED).any() else ""
    handles: list[Any] = panels["min_ce"].get_lines()
    if len(groups) > 1:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(groups), 4), fontsize="small")
    dashed = "dashed: mean of fresh networks, band: their 10th to 90th percentile"
    figure.suptitle(f"{title or shared_configuration(cells)}\n{spread}; {dashed}{gaps}", fontsize="medium")
    return figure


def _wide(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One row a task, one column a cell."""
    values = rows[metric].map(np.mean) if metric in LAYERED else rows[metric]
    return rows.assign(value=values).pivot(index="task", columns="cell", values="value")


def _draw_band(axes: Axes, wide: pd.DataFrame, colour: str, name: str, percentiles: bool) -> None:
    wide = wide.dropna()
    marker = "o" if len(wide) == 1 else None
    axes.plot(wide.index, wide.median(axis=1), color=colour, lw=1.3, marker=marker, ms=4, label=name)
    if wide.shape[1] > 1:
        low, high = (0.1, 0.9) if percentiles else (0.0, 1.0)
        ends = wide.quantile(low, axis=1), wide.quantile(high, axis=1)
        axes.fill_between(wide.index, *ends, color=colour, alpha=0.2, lw=0)


def _highest(axes: Axes) -> float:
    """The largest number that is drawn; the axis's own margin is a share of hundreds of decades, if zeros are drawn."""
    lines = [np.asarray(line.get_ydata(), float) for line in axes.get_lines()]
    bands = [np.asarray(path.vertices)[:, 1] for band in axes.collections for path in band.get_paths()]
    return float(np.nanmax(np.concatenate([*lines, *bands])))


def _draw_baseline(axes: Axes, group: pd.DataFrame, colour: str) -> None:
    mean = group["fresh_mean_ce"].mean()
    if not np.isfinite(mean):
        return
    axes.axhline(mean, color=colour, ls="--", lw=1)
    axes.axhspan(*np.quantile(np.concatenate(group["fresh_ce"].to_list()), [0.1, 0.9]), color=colour, alpha=0.1, lw=0)
