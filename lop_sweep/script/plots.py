"""The single-file script's six plots, under the script's names."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from lop_sweep.components import in_units
from lop_sweep.registry import component
from lop_sweep.script.columns import SCRIPT_METRICS, ScriptMetric


def save_script_plots(results: pd.DataFrame, stream: str, folder: Path) -> list[Path]:
    """Draw the six plots of a run.

    Args:
        results: one row per task, with the script's columns.
        stream: the name of the task stream, whose loss labels the axes.
        folder: an existing directory; files there are overwritten.

    Returns:
        The paths of the plots.
    """
    unit = component("loss", component("stream", stream).loss).unit
    return [_save_plot(results, one, unit, folder / one.plot) for one in SCRIPT_METRICS]


def _save_plot(results: pd.DataFrame, one: ScriptMetric, unit: str, path: Path) -> Path:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    marker = "o" if len(results) == 1 else None
    columns = one.columns_in(results.columns)
    for column in columns:
        axes.plot(results["task"], results[column], lw=1.2, marker=marker, label=column.rpartition("_")[2])
    if results[columns].isna().all(axis=None):
        axes.text(0.5, 0.5, "diverged: no finite value", transform=axes.transAxes, ha="center", va="center")
    if len(columns) > 1:
        axes.legend(
            title="layer", fontsize="small", ncols=1 + len(columns) // 8, loc="center left", bbox_to_anchor=(1, 0.5)
        )
    axes.set(xlabel="task", ylabel=in_units(one.metric.axis_label, [unit]))
    axes.locator_params("x", integer=True)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    return path
