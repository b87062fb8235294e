"""Cells that differ only in their seed, for figures with one curve or column per configuration."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.data.fields import varying_fields
from lop_sweep.errors import AnalysisError, comma_list


def by_configuration(cells: pd.DataFrame, most: int) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """Group cells by the fields in which they differ.

    Args:
        cells: one row per cell, with the configuration fields.
        most: the largest number of configurations allowed.

    Returns:
        For each configuration its values of these fields, and its cells.

    Raises:
        AnalysisError: there are no cells, or too many configurations.
    """
    if cells.empty:
        raise AnalysisError("there is no finished cell to draw; run the sweep first, or relax --where")
    fields = varying_fields(cells)
    groups: Any = list(cells.groupby(fields, observed=True)) if fields else [((), cells)]
    if len(groups) > most:
        raise AnalysisError(
            f"{len(groups)} configurations, at most {most} are drawn: "
            f"fix more of {comma_list(fields)} with --where FIELD=VALUE"
        )
    return [(dict(zip(fields, key, strict=True)), group) for key, group in groups]
