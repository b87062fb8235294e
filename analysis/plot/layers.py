"""Layers over the task sequence: each metric per layer as a heatmap of task x layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from analysis.data import Block, by_configuration, describe_shared, format_value, seed_count, shared_fields
from analysis.plot.curves import NOT_MEASURED
from analysis.plot.save import NotebookFigure
from analysis.plot.text.typography import SMALL, type_for, type_points, unbroken, wrapped
from analysis.plot.variables import SEQUENTIAL
from lop_sweep.config import CellConfig
from lop_sweep.metrics import METRICS
from lop_sweep.storage import DIVERGED

MAX_COLUMNS = 4

_COLUMN_INCHES, _ROW_INCHES, _MIN_INCHES = 3.4, 2.5, 6.0


def plot_layers(blocks: Iterable[Block], title: str = "", *, width: float | None = None) -> Figure:
    """Draw each metric per layer against the task number, one column per configuration, mean over seeds.

    Saturation is stored for the whole network only: `plot_curves` shows it. Tasks at which any seed of a configuration
    has diverged are empty.

    Args:
        blocks: from `iter_blocks`, narrowed down by its `where`, with the metrics per layer.
        title: over the figure; by default the fields that all cells share.
        width: of the figure in inches, in type for print; None for as much as it needs, in type for a screen.

    Raises:
        AnalysisError: there are no cells, or more than `MAX_COLUMNS` configurations.
    """
    kept = list(blocks)
    cells = pd.concat([block.cells for block in kept], ignore_index=True) if kept else pd.DataFrame()
    groups = by_configuration(cells, MAX_COLUMNS)
    names = [name for name, metric in METRICS.items() if metric.per_layer and any(name in one.metrics for one in kept)]
    inches = max(_MIN_INCHES, _COLUMN_INCHES * len(groups) + 1) if width is None else width
    with type_for(width):
        height = _ROW_INCHES if width is None else min(_ROW_INCHES, 0.4 * inches)
        figure = NotebookFigure(figsize=(inches, height * len(names) + 0.6), layout="constrained")
        grid: Any = figure.subplots(len(names), len(groups), squeeze=False, sharex="col", sharey="row")
        for row, name in zip(grid, names, strict=True):
            means = [_mean(kept, set(group["cell"]), name) for _, group in groups]
            _draw_row(list(row), name, means, 0.8 * height)
            if all(np.isnan(mean).all() for mean in means) and (cells["status"] != DIVERGED).any():
                _say_not_measured(list(row))
        for axes, (key, _) in zip(grid[0], groups, strict=True):
            axes.set_title(
                "\n".join(f"{field} = {format_value(part)}" for field, part in key.items()), fontsize="small"
            )
        for axes in grid[-1]:
            axes.set_xlabel("task")
            axes.locator_params("x", integer=True)
        seeds = [len(group) for _, group in groups]
        spread = f"mean over {seed_count(seeds)} seeds" if max(seeds) > 1 else "one seed"
        gaps = "; grey: a seed has diverged" if (cells["status"] == DIVERGED).any() else ""
        shared = ", ".join(map(unbroken, describe_shared(shared_fields(cells)).split(", ")))
        lines = wrapped("\n".join([title or shared, f"{spread}{gaps}"]), inches - 0.2, type_points(width) * SMALL)
        figure.suptitle("\n".join(lines), fontsize="small")
    return figure


def _draw_row(row: list[Any], name: str, means: list[np.ndarray], label_inches: float) -> None:
    """Draw a metric of all configurations, on one colour scale."""
    finite = np.concatenate([mean[np.isfinite(mean)] for mean in means])
    norm = _norm(name, finite)
    deepest = max(mean.shape[1] for mean in means)
    for axes, mean in zip(row, means, strict=True):
        tasks, depth = mean.shape
        axes.set_facecolor("0.85" if np.isnan(mean).any() else "white")
        axes.imshow(
            mean.T, norm=norm, cmap=SEQUENTIAL, aspect="auto", interpolation="nearest", origin="lower",
            extent=(0.5, tasks + 0.5, 0.5, depth + 0.5),
        )  # fmt: skip
        axes.set(ylim=(0.5, deepest + 0.5), yticks=range(1, deepest + 1, max(1, deepest // 4)))
        axes.tick_params(labelsize="small")
    row[0].set_ylabel("hidden layer")
    bar = row[0].figure.colorbar(ScalarMappable(norm, SEQUENTIAL), ax=row)
    bar.set_label("\n".join(wrapped(METRICS[name].axis_label, label_inches, 9)), fontsize="small")
    bar.ax.tick_params(labelsize="small")


def _say_not_measured(row: list[Any]) -> None:
    for axes in row:
        axes.text(0.5, 0.5, NOT_MEASURED, transform=axes.transAxes, ha="center", va="center", color="0.4")


def _norm(name: str, finite: np.ndarray) -> Normalize:
    """Return colours from 0 to 1 for a share, else from the metric's lower bound to the largest value."""
    low, high = METRICS[name].bounds(CellConfig())
    if low == 0 and high <= 1:
        return Normalize(0, 1)
    low = low if np.isfinite(low) else finite.min(initial=0)
    return Normalize(low, max(finite.max(initial=low), low + 0.01))


def _mean(blocks: list[Block], cells: set[str], name: str) -> np.ndarray:
    """Return the mean over cells of one shape: (T, L)."""
    chosen = [(block.metrics[name], block.cells["cell"].isin(cells).to_numpy()) for block in blocks]
    return np.concatenate([values[mask] for values, mask in chosen if mask.any()]).mean(axis=0)
