"""Loss-of-plasticity maps: a score over two axes, the other axes that vary as panels, averaged over seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from analysis.grid import Axis, lay_out
from analysis.load import seed_count, shared_configuration
from analysis.panels import Panel, arrange
from analysis.scores import PHASES, Rule
from analysis.values import MapValue, map_value
from lop_sweep.config import FIELDS
from lop_sweep.errors import named

_MAX_LABELLED = 150
_PANEL_INCHES = 3.4
_LINE_INCHES, _LEGEND_INCHES = 0.13, 0.2

LABELS: dict[str, str] = {
    "lr": "learning rate",
    "depth": "depth (hidden layers)",
    "width": "width (units a layer)",
    "delta": "delta (half-distance of the classes)",
    "sigma": "sigma (noise)",
    "spread": "spread (of the bumps)",
    "steps": "steps a task",
}
"""Axis labels of the fields whose bare name says too little."""

_MISSING = Patch(facecolor="0.93", edgecolor="0.6", hatch="///", label="not computed")
_UNDEFINED = Patch(
    facecolor="0.8",
    edgecolor="0.45",
    hatch="xxx",
    label="undefined: fresh networks fail too (or there are none), or all seeds diverged",
)


def draw_map(
    scored: pd.DataFrame,
    x: str,
    y: str,
    value: str = "excess",
    rule: Rule | None = None,
    title: str = "",
    requested: pd.DataFrame | None = None,
) -> Figure:
    """Draw a map.

    A grid point's colour is the mean over its seeds. Where the value depends on the fresh baseline, the point says how
    many of its seeds lost plasticity ("2/3"). Seeds for which the value is undefined (they have diverged, or fresh
    networks fail too, so that nothing can be judged) are left out, and the point says of how many seeds it is the mean
    ("1 of 3"). A point that was not computed is hatched, one whose value is undefined for all seeds is crossed.

    Args:
        scored: from `analysis.scores.score_cells`.
        x: the field along the horizontal axis.
        y: the field along the vertical axis.
        value: a name in `analysis.values.VALUES`.
        rule: the rule that `scored` was made with, for the caption.
        title: over the figure.
        requested: from `analysis.load.load_requested`; points that no finished cell reaches are shown as not computed.

    Raises:
        AnalysisError: a name is unknown, there are no cells, or the other axes would give too many panels.
    """
    shown = map_value(value)
    if shown.judged:
        scored = scored.assign(**{shown.column: scored[shown.column].where(scored["lost"].notna())})
    xs, ys, panels = arrange(scored, shown.column, x, y, requested)
    across, up = lay_out(xs), lay_out(ys)
    everything = np.concatenate([panel.values.ravel() for panel in panels])
    finite = everything[np.isfinite(everything)]
    norm = shown.norm(finite)

    keys = _keys(panels)
    caption = [shared_configuration(scored, without=(x, y)), *_caption(scored, shown, rule or Rule(), panels)]
    below = _LINE_INCHES * (len(caption) + 1) + (_LEGEND_INCHES if keys else 0)
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = _canvas(rows, columns, across, up, below)
    grid: Any = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw_panel(axes, panel, shown, norm, across, up)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    _label_outer_axes(grid, len(panels), _axis_label(x, across), _axis_label(y, up))
    colours = ScalarMappable(norm, shown.colour_map())
    figure.colorbar(colours, ax=grid, label=shown.label, extend=_extend(finite, norm), aspect=30)
    figure.suptitle(title or f"{shown.label} over {x} and {y}")
    top = (below - _LINE_INCHES / 2) / figure.get_figheight()
    figure.text(0.01, top, "\n".join(caption), fontsize="x-small", va="top", color="0.3")
    if keys:
        figure.legend(handles=keys, loc="lower left", ncols=2, fontsize="x-small", frameon=False)
    return figure


def _canvas(rows: int, columns: int, across: Axis, up: Axis, below: float) -> Figure:
    """An empty figure for so many panels, with `below` inches left free under them."""
    panel_width = max(_PANEL_INCHES, 0.5 * len(across.values))
    panel_height = 0.85 * max(_PANEL_INCHES, 0.4 * len(up.values))
    height = panel_height * rows + 1.0 + below
    figure = Figure(figsize=(panel_width * columns + 1.6, height))
    figure.set_layout_engine("constrained", rect=(0, below / height, 1, 1 - below / height))
    return figure


def _keys(panels: list[Panel]) -> list[Patch]:
    """The legend's entries: which kinds of points without a value there are."""
    missing = any((panel.cells == 0).any() for panel in panels)
    undefined = any((np.isnan(panel.values) & (panel.cells > 0)).any() for panel in panels)
    return [patch for patch, occurs in ((_MISSING, missing), (_UNDEFINED, undefined)) if occurs]


def _label_outer_axes(grid: np.ndarray, panels: int, x_label: str, y_label: str) -> None:
    """Label the left column and the lowest panel of each column; the last row may not be full."""
    columns = grid.shape[1]
    for column in range(columns):
        lowest = grid[(panels - 1 - column) // columns, column]
        lowest.set_xlabel(x_label)
        lowest.tick_params(labelbottom=True)
    for axes in grid[:, 0]:
        axes.set_ylabel(y_label)


def _draw_panel(axes: Axes, panel: Panel, shown: MapValue, norm: Normalize, across: Axis, up: Axis) -> None:
    axes.set_xscale("log" if across.scale == "log" else "linear")
    axes.set_yscale("log" if up.scale == "log" else "linear")
    within = np.clip(panel.values, norm.vmin, norm.vmax)  # also infinities, and zeros on a logarithmic scale
    axes.pcolormesh(across.edges, up.edges, within, norm=norm, cmap=shown.colour_map(), edgecolor="white", lw=0.3)
    labelled = panel.values.size <= _MAX_LABELLED
    for point in np.ndindex(panel.values.shape):
        row, column = point
        if np.isnan(panel.values[point]):
            look = _UNDEFINED if panel.cells[point] else _MISSING
            axes.add_patch(_hatched(across.edges[column : column + 2], up.edges[row : row + 2], look))
            continue
        text = f"{panel.lost[point]}/{panel.judged[point]}" if shown.judged and labelled else ""
        if panel.defined[point] < panel.cells[point]:
            text = f"{text}\n{panel.defined[point]} of {panel.cells[point]}".strip()
        if text:
            red, green, blue, _ = shown.colour_map()(norm(within[point]))
            ink = "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else "white"
            across_at, up_at = float(across.positions[column]), float(up.positions[row])
            # Within its axes, so that laying out need not measure it: there may be hundreds.
            axes.text(across_at, up_at, text, fontsize=6.5, ha="center", va="center", color=ink, in_layout=False)
    rotation = 45 if len(across.values) > 5 else 0
    axes.set_xticks(across.positions, [f"{tick:g}" for tick in across.values], rotation=rotation, fontsize="small")
    axes.set_yticks(up.positions, [f"{tick:g}" for tick in up.values], fontsize="small")
    axes.minorticks_off()
    axes.set(xlim=across.edges[[0, -1]], ylim=up.edges[[0, -1]])
    axes.set_title(panel.name, fontsize="medium")


def _axis_label(field: str, axis: Axis) -> str:
    return LABELS.get(field, field) + (", not to scale" if axis.scale == "index" else "")


def _hatched(x: np.ndarray, y: np.ndarray, look: Patch) -> Rectangle:
    area = Rectangle((x[0], y[0]), x[1] - x[0], y[1] - y[0])
    area.update_from(look)
    area.set_linewidth(0)
    return area


def _extend(finite: np.ndarray, norm: Normalize) -> str:
    if norm.vmin is None or norm.vmax is None or not finite.size:
        return "neither"
    below, above = bool(finite.min() < norm.vmin), bool(finite.max() > norm.vmax)
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")


def _caption(scored: pd.DataFrame, shown: MapValue, rule: Rule, panels: list[Panel]) -> list[str]:
    seeds = scored.groupby([field for field in FIELDS if field != "seed"]).size()
    phases = scored["phase"].value_counts()
    lines = [
        f"{seed_count(seeds)} seed{'s' if seeds.max() > 1 else ''} a point, averaged; {len(scored):,} cells: "
        + named(f"{phases[phase]:,} {phase}" for phase in PHASES if phase in phases),
    ]
    if shown.judged:
        lines.append(f"k/n: k of n seeds lost plasticity ({rule})")
    if any((panel.defined < panel.cells).any() for panel in panels):
        lines.append("k of n: mean over k of n seeds; the others have diverged, or fresh networks fail too")
    if shown.note:
        lines.append(shown.note)
    return lines
