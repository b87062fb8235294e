"""Figures: maps, differences, curves and layers."""

from analysis.plot.aggregate import (
    OtherFields,
    PanelCells,
    check_axes,
    map_table,
    other_fields,
    panel_cells,
    placed_cells,
)
from analysis.plot.axes import Grid, edges, lay_out
from analysis.plot.curves import MAX_CURVES, MIN_LOG_VALUE, PERCENTILES_FROM, plot_curves
from analysis.plot.difference import check_difference, difference_table, plot_difference
from analysis.plot.edge import (
    EDGE_LABELS,
    LEVEL,
    MAX_FITTED_POINTS,
    SURFACES,
    Edge,
    check_level,
    fit_failures,
    fit_lost,
    level_name,
)
from analysis.plot.layers import MAX_COLUMNS, plot_layers
from analysis.plot.maps import plot_map
from analysis.plot.save import ENDINGS, check_ending, check_width, provenance, save_figure
from analysis.plot.statistics import MAX_SURVIVAL_CURVES, plot_specification, plot_survival
from analysis.plot.variables import (
    CATEGORIES,
    EFFECTS,
    LOG_RATIO_DECADES,
    SEQUENTIAL,
    SYMMETRIC_QUANTILE,
    VALUES,
    map_value,
    metric_label,
)

__all__ = [
    "CATEGORIES",
    "EDGE_LABELS",
    "EFFECTS",
    "ENDINGS",
    "LEVEL",
    "LOG_RATIO_DECADES",
    "MAX_COLUMNS",
    "MAX_CURVES",
    "MAX_FITTED_POINTS",
    "MAX_SURVIVAL_CURVES",
    "MIN_LOG_VALUE",
    "PERCENTILES_FROM",
    "SEQUENTIAL",
    "SURFACES",
    "SYMMETRIC_QUANTILE",
    "VALUES",
    "Edge",
    "Grid",
    "OtherFields",
    "PanelCells",
    "check_axes",
    "check_difference",
    "check_ending",
    "check_level",
    "check_width",
    "edges",
    "fit_failures",
    "fit_lost",
    "lay_out",
    "level_name",
    "map_table",
    "map_value",
    "metric_label",
    "other_fields",
    "panel_cells",
    "placed_cells",
    "plot_curves",
    "difference_table",
    "plot_difference",
    "plot_layers",
    "plot_map",
    "plot_specification",
    "plot_survival",
    "provenance",
    "save_figure",
]
