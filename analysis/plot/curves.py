"""Metrics and failures task by task: how each changes along the task sequence, with the spread over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.data import by_configuration, describe_shared, format_fields, in_words_of, seed_count, shared_fields
from analysis.plot.axes import tick_labels
from analysis.plot.failures import Failures, failure_curve, window_tasks
from analysis.plot.save import NotebookFigure
from analysis.plot.text.typography import SMALL, text_inches, type_for, type_points, unbroken, wrapped
from analysis.plot.variables import metric_label
from analysis.scoring import LossCriterion, criterion_of, with_fresh_pool
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
_SCREEN_INCHES, _MIN_PANEL_INCHES, _MIN_PANEL_HEIGHT_INCHES = 10.0, 2.5, 1.6
_LABEL_MARGIN_INCHES = 0.25
_LEGEND_COLUMNS = 4


def plot_curves(
    cells: pd.DataFrame,
    tasks: pd.DataFrame,
    title: str = "",
    *,
    raw: bool = False,
    criterion: LossCriterion | None = None,
    width: float | None = None,
) -> Figure:
    """Draw the share of seeds that fail, and metrics, against the task number, one curve per configuration.

    A task fails by the criterion, as for the verdict. Its share is the mean over seeds and over a window of tasks, the
    width of which the figure states. The band spans the seeds' own shares in this window, and the dashed line is the
    share of fresh networks that fail. Metrics other than losses follow.

    With `raw`, or where no configuration has fresh networks, there are no shares but all losses. The panel of the CE
    after the task then has the mean of the fresh networks, dashed, in a band from their 10th to their 90th percentile.

    The curve of a metric is the median over seeds. A band spans the smallest to the largest seed, or with
    `PERCENTILES_FROM` seeds or more the 10th to the 90th percentile. Tasks at which any seed of a configuration has
    diverged are left out, and seeds without values of a metric from its panel, which says how many cells have it.

    Args:
        cells: from `load_cells` or `score`, narrowed down with `select`. Those of `score` know the fresh networks of
            all seeds in the directory, those of `load_cells` only of the seeds that are left.
        tasks: rows of these cells from `load_tasks`; rows of other cells are ignored.
        title: over the figure; by default the fields that all cells share.
        raw: whether to draw losses instead of the share of seeds that fail.
        criterion: when a task fails; None for the one that `cells` carry, or the default. Cells that carry one were
            pooled by it.
        width: of the figure in inches, in type for print; None for 10 inches, in type for a screen.

    Raises:
        AnalysisError: there are no cells, or more than `MAX_CURVES` configurations.
    """
    groups = by_configuration(cells, MAX_CURVES)
    percentiles = min(len(group) for _, group in groups) >= PERCENTILES_FROM
    tasks = tasks[tasks["cell"].isin(cells["cell"])]
    rules = _criterion(cells, criterion)
    failures = _failures(cells, groups, tasks, rules, percentiles)
    losses = raw or not failures.exist
    inches = _SCREEN_INCHES if width is None else width
    with type_for(width):
        canvas = _canvas(
            [name for name in METRICS if name in tasks and (losses or not name.endswith("_ce"))], not losses, width
        )
        if canvas.top is not None:
            failures.draw(canvas.top)
            canvas.top.grid(alpha=0.3)
            canvas.top.set_title(
                "\n".join(wrapped(failures.caption, inches - 0.9, type_points(width) * SMALL)), fontsize="small"
            )
        # Fresh networks are measured after their last update.
        judged = "end_ce" if tasks["end_ce"].notna().any() else "final_ce"
        for metric, axes in canvas.panels.items():
            wide = _wide(tasks, metric)
            measured = wide.columns[wide.notna().any()]
            for index, (_, group) in enumerate(groups):
                chosen = wide[[cell for cell in group["cell"] if cell in wide and _counts(cell, group, measured)]]
                _draw_band(axes, chosen, f"C{index}", percentiles)
                if metric == judged:
                    _draw_baseline(axes, group, f"C{index}")
            _finish(axes, metric, cells, len(measured), canvas.label_inches)
        seeds = [len(group) for _, group in groups]
        band = "10th to 90th percentile" if percentiles else "range"
        notes = [
            f"median and {band} over {seed_count(seeds)} seeds" if max(seeds) > 1 else "one seed",
            "dashed: mean of fresh networks, band: their 10th to 90th percentile" if losses else "",
            "" if failures.exist or raw else "raw losses: fresh networks are missing, or most of them diverged",
            "gaps: a seed has diverged" if (cells["status"] == DIVERGED).any() else "",
        ]
        shared = ", ".join(map(unbroken, describe_shared(shared_fields(cells)).split(", ")))
        heading = [title or shared, "; ".join(filter(None, notes))]
        _add_legend(canvas.figure, [format_fields(key) for key, _ in groups], width)
        lines = wrapped("\n".join(heading), inches - 0.2, type_points(width) * SMALL)
        canvas.figure.suptitle("\n".join(lines), fontsize="small")
    rule = in_words_of(rules.of_failures, cells["stream"].unique())
    canvas.figure.set_label("\n".join([*heading, *([] if losses else [failures.caption, rule])]))
    return canvas.figure


def _criterion(cells: pd.DataFrame, criterion: LossCriterion | None) -> LossCriterion:
    if criterion is not None:
        return criterion
    return criterion_of(cells) if "criterion" in cells.attrs else LossCriterion()


def _failures(
    cells: pd.DataFrame,
    groups: list[tuple[dict[str, Any], pd.DataFrame]],
    tasks: pd.DataFrame,
    criterion: LossCriterion,
    percentiles: bool,
) -> Failures:
    pooled = cells if "fresh_pooled_ce" in cells else with_fresh_pool(cells, criterion)
    losses = {
        name: tasks.pivot(index="task", columns="cell", values=name).astype(float) for name in ("end_ce", "final_ce")
    }
    window = window_tasks(int(cells["tasks"].max()))
    curves = [
        failure_curve(format_fields(key) or "all", pooled.loc[group.index], losses, window, criterion)
        for key, group in groups
    ]
    return Failures(curves, window, percentiles)


@dataclass(frozen=True)
class _Canvas:
    """An empty figure with its panels.

    Attributes:
        figure: the figure.
        panels: by metric.
        top: the panel of failures, which is as wide as the figure; None if there is none.
        label_inches: the length of a line of a vertical label.
    """

    figure: Figure
    panels: dict[str, Axes]
    top: Axes | None
    label_inches: float


def _canvas(metrics: Sequence[str], failures: bool, width: float | None) -> _Canvas:
    across = _SCREEN_INCHES if width is None else width
    columns = max(1, min(_PANELS_PER_ROW, int(across / _MIN_PANEL_INCHES)))
    rows = -(-len(metrics) // columns) + failures
    height = max(_MIN_PANEL_HEIGHT_INCHES, 0.54 * across / columns)
    figure = NotebookFigure(figsize=(across, rows * height + 0.6), layout="constrained")
    grid = figure.add_gridspec(rows, columns)
    top = figure.add_subplot(grid[0, :]) if failures else None
    panels: dict[str, Axes] = {}
    for number, metric in enumerate(metrics):
        row, column = divmod(number, columns)
        shared = next(iter(panels.values()), top)
        axes = panels[metric] = figure.add_subplot(grid[row + failures, column], sharex=shared)
        lowest = number + columns >= len(metrics)
        axes.tick_params(labelbottom=lowest, labelsize="small")
        axes.set_xlabel("task" if lowest else "", fontsize="small")
        axes.locator_params("x", integer=True)
    if top is not None:
        top.tick_params(labelsize="small")
        top.locator_params("x", integer=True)
    return _Canvas(figure, panels, top, height - _LABEL_MARGIN_INCHES)


def _add_legend(figure: Figure, names: list[str], width: float | None) -> None:
    """Name the configurations below the figure, as many in a row as there is room for."""
    if len(names) < 2:
        return
    points = type_points(width) * SMALL
    longest = max(text_inches(name, points) for name in names) + 5 * points / 72
    handles: list[Any] = [Line2D([], [], color=f"C{number}", label=name) for number, name in enumerate(names)]
    columns = max(1, min(len(names), _LEGEND_COLUMNS, int(figure.get_figwidth() / longest)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=points, frameon=False)


def _wide(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a metric with one row per task and one column per cell; NaN where it was not measured."""
    values = rows[metric]
    if METRICS[metric].per_layer:
        values = values.map(lambda layers: np.nan if layers is None else np.mean(layers))
    return rows.assign(value=values.astype(float)).pivot(index="task", columns="cell", values="value")


def _counts(cell: str, group: pd.DataFrame, measured: pd.Index) -> bool:
    """Return whether a cell belongs to a curve: one that diverged at once makes a gap, an unmeasured one does not."""
    return cell in measured or bool((group.loc[group["cell"] == cell, "status"] == DIVERGED).all())


def _draw_band(axes: Axes, wide: pd.DataFrame, colour: str, percentiles: bool) -> None:
    wide = wide.dropna()
    marker = "o" if len(wide) == 1 else None
    axes.plot(wide.index, wide.median(axis=1), color=colour, lw=1.3, marker=marker, ms=4)
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


def _finish(axes: Axes, metric: str, cells: pd.DataFrame, measured: int, label_inches: float) -> None:
    """Label a panel, choose its scale, and say what it lacks."""
    diverged = int((cells["status"] == DIVERGED).sum())
    if not measured:
        text = "diverged: no finite value" if diverged == len(cells) else NOT_MEASURED
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="0.4")
    label = in_words_of(metric_label(METRICS[metric]), cells["stream"].unique())
    if 0 < measured < len(cells) - diverged:
        label += f"\nmeasured in {measured} of {len(cells)} cells"
    axes.grid(alpha=0.3)
    if METRICS[metric].logarithmic and any((np.asarray(line.get_ydata()) > 0).any() for line in axes.get_lines()):
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        if low < MIN_LOG_VALUE < high:
            axes.set_ylim(MIN_LOG_VALUE, 2 * _highest(axes))
            label += f"\naxis ends at {tick_labels([MIN_LOG_VALUE])[0]}"
    points = float(matplotlib.rcParams["font.size"]) * SMALL
    axes.set_ylabel("\n".join(wrapped(label, label_inches, points)), fontsize="small")


def _highest(axes: Axes) -> float:
    """Return the largest number drawn; the axis's own margin spans hundreds of decades if zeros are drawn."""
    lines = [np.asarray(line.get_ydata(), float) for line in axes.get_lines()]
    bands = [np.asarray(path.vertices)[:, 1] for band in axes.collections for path in band.get_paths()]
    return float(np.nanmax(np.concatenate([*lines, *bands])))
