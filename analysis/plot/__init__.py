"""Figures: maps, differences, curves and layers."""

from analysis.plot.aggregate import MAX_VALUES, check_axes
from analysis.plot.axes import edges, lay_out
from analysis.plot.curves import MANY, MAX_CURVES, plot_curves
from analysis.plot.difference import plot_difference
from analysis.plot.layers import MAX_COLUMNS, plot_layers
from analysis.plot.maps import plot_map
from analysis.plot.save import ENDINGS, check_ending, provenance, save_figure
from analysis.plot.variables import CATEGORIES, EFFECTS, LABELS, SEQUENTIAL, VALUES, map_value

__all__ = [
    "CATEGORIES",
    "EFFECTS",
    "ENDINGS",
    "LABELS",
    "MANY",
    "MAX_COLUMNS",
    "MAX_CURVES",
    "MAX_VALUES",
    "SEQUENTIAL",
    "VALUES",
    "check_axes",
    "check_ending",
    "edges",
    "lay_out",
    "map_value",
    "plot_curves",
    "plot_difference",
    "plot_layers",
    "plot_map",
    "provenance",
    "save_figure",
]
