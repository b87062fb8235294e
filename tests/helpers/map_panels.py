"""The panels of a map as arrays, for tests of maps and of the report."""

from __future__ import annotations

import pandas as pd

from analysis.plot.aggregate import Panel, map_table
from analysis.plot.axes import Grid
from analysis.plot.maps import columns_of


def map_panels(
    scored: pd.DataFrame, value: str, x: str = "lr", y: str = "depth", requested: pd.DataFrame | None = None
) -> tuple[Grid, list[Panel]]:
    """Return the grid and the panels of a map of one value."""
    grid, (column,) = columns_of(map_table(scored, x, y, value, requested=requested))
    return grid, list(column.panels)
