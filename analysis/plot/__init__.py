"""Figures: maps, differences, curves and layers."""

from analysis.plot.aggregate import MAX_VALUES, check_axes, map_table
from analysis.plot.axes import edges, lay_out
from analysis.plot.curves import MAX_CURVES, MIN_LOG_VALUE, PERCENTILES_FROM, plot_curves
from analysis.plot.difference import check_difference, plot_difference
from analysis.plot.edge import SURFACES
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
    "EFFECTS",
    "ENDINGS",
    "LOG_RATIO_DECADES",
    "MAX_COLUMNS",
    "MAX_CURVES",
    "MAX_SURVIVAL_CURVES",
    "MAX_VALUES",
    "MIN_LOG_VALUE",
    "PERCENTILES_FROM",
    "SEQUENTIAL",
    "SURFACES",
    "SYMMETRIC_QUANTILE",
    "VALUES",
    "check_axes",
    "check_difference",
    "check_ending",
    "check_width",
    "edges",
    "lay_out",
    "map_table",
    "map_value",
    "metric_label",
    "plot_curves",
    "plot_difference",
    "plot_layers",
    "plot_map",
    "plot_specification",
    "plot_survival",
    "provenance",
    "save_figure",
]
