"""The single-file script's six plots, under the script's names."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

_SCALARS = {
    "lop_minCE.png": ("min_CE", "smallest cross-entropy of the task (nats)"),
    "lop_finalCE.png": ("final_CE", "cross-entropy at the end of the task (nats)"),
    "lop_sat.png": ("sat", "saturation (share of |z| > 2)"),
    "lop_grad.png": ("grad_norm", "hidden gradient norm at the task's first step"),
}
_LAYERED = {
    "lop_effrank.png": ("eff_rank_L", "effective rank of the pre-activations"),
    "lop_dup_frac.png": ("dup_frac_L", "duplicate features (share)"),
}


def save_script_plots(results: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw the six plots of a run.

    Args:
        results: one row a task, with the script's columns.
        folder: an existing directory; files there are overwritten.

    Returns:
        The paths written.
    """
    paths = []
    for name, (column, label) in _SCALARS.items():
        paths.append(_plot(results, [column], label, folder / name))
    for name, (prefix, label) in _LAYERED.items():
        columns = [column for column in results.columns if column.startswith(prefix)]
        paths.append(_plot(results, columns, label, folder / name))
    return paths


def _plot(results: pd.DataFrame, columns: list[str], label: str, path: Path) -> Path:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    marker = "o" if len(results) == 1 else None
    for column in columns:
        axes.plot(results["task"], results[column], lw=1.2, marker=marker, label=column.rpartition("_")[2])
    if results[columns].isna().all(axis=None):
        axes.text(0.5, 0.5, "diverged: no finite value", transform=axes.transAxes, ha="center", va="center")
    if len(columns) > 1:
        axes.legend(
            title="layer", fontsize="small", ncols=1 + len(columns) // 8, loc="center left", bbox_to_anchor=(1, 0.5)
        )
    axes.set(xlabel="task", ylabel=label)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    return path
