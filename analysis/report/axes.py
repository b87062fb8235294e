"""The fields in which the cells of a sweep differ, as axes of the report's map."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from analysis.data import varying_fields
from analysis.plot import MAX_VALUES, edges, lay_out
from lop_sweep.config import FIELDS

BINS = 20
"""Fields with more than `MAX_VALUES` values, drawn at random for example, are shown in so many bins."""

_MAIN = ("lr", "depth", "delta", "sigma")
_DRAWABLE = 1e100
_WIDE = 20.0


def map_fields(cells: pd.DataFrame) -> list[dict[str, Any]]:
    """What the page needs to know of each field that can be an axis.

    Args:
        cells: all cells that the report knows of, computed or not, with the configuration fields.

    Returns:
        One entry a field that varies, and as many of the main ones as it takes to have two: `name`, `label`, sorted
        `values`, `scale` ("linear", "log" or "index"), `positions` (one a value) and `edges` (one more) in the
        coordinates that are drawn (log10 of the value for "log"), and `binned`, whether the values are the middles of
        bins.
    """
    names = varying_fields(cells)
    names += [name for name in _MAIN if name not in names][: max(0, 2 - len(names))]
    return [_field(name, np.unique(cells[name].to_numpy())) for name in names]


def positions_of(cells: pd.DataFrame, field: dict[str, Any]) -> np.ndarray:
    """Which of a field's values, or bins, each cell has: (n,) indices."""
    values = cells[field["name"]].to_numpy(float)
    if not field["binned"]:
        return np.searchsorted(np.array(field["values"], float), values)
    drawn = np.log10(values) if field["scale"] == "log" else values
    return np.clip(np.searchsorted(field["edges"], drawn, side="right") - 1, 0, len(field["values"]) - 1)


def fixed_fields(cells: pd.DataFrame) -> dict[str, Any]:
    """The fields in which all cells agree, without the seed, and their value."""
    varying = {*varying_fields(cells), "seed"}
    return {name: cells[name].iloc[0].item() for name in FIELDS if name not in varying}


def _field(name: str, values: np.ndarray) -> dict[str, Any]:
    entry = {"name": name, "label": FIELDS[name].axis_label}
    if len(values) > MAX_VALUES:
        return entry | _bins(values.astype(float))
    axis = lay_out(values.astype(float))
    scale = axis.scale
    places = np.log10(axis.values) if scale == "log" else axis.positions
    if scale == "linear" and np.abs(places).max() > _DRAWABLE:
        scale, places = "index", np.arange(len(values), dtype=float)
    return entry | _axis(values.tolist(), scale, places, edges(places), binned=False)


def _bins(values: np.ndarray) -> dict[str, Any]:
    log = values[0] > 0 and values[-1] / values[0] > _WIDE
    drawn = np.log10(values) if log else values
    borders = np.linspace(drawn[0], drawn[-1], BINS + 1)
    middles = (borders[:-1] + borders[1:]) / 2
    return _axis(
        _short((10**middles if log else middles).tolist()), "log" if log else "linear", middles, borders, binned=True
    )


def _short(values: list[float]) -> list[float]:
    """Rounded to as few digits, of at least three, as keep them a tenth of a step from what they are."""
    step = min(abs(after - before) for before, after in pairwise(values))
    for digits in range(3, 17):
        rounded = [float(f"{value:.{digits}g}") for value in values]
        if all(abs(one - other) <= step / 10 for one, other in zip(rounded, values, strict=True)):
            return rounded
    return values


def _axis(
    values: Sequence[float], scale: str, positions: np.ndarray, borders: np.ndarray, binned: bool
) -> dict[str, Any]:
    return {
        "values": list(values),
        "scale": scale,
        "positions": positions.tolist(),
        "edges": borders.tolist(),
        "binned": binned,
    }
