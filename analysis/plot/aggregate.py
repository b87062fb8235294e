"""The numbers behind a map: scored cells on the points of two axes, panel by panel, summarised over seeds.

`map_table` has them as a tidy frame, from which every map is drawn. Its `attrs` carry the criterion, the directory and
conditions of the scores, and under `map` the axes and the fields that all cells share.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.data import (
    MAX_VALUES,
    check_fields,
    follows,
    format_fields,
    identifying_fields,
    levels,
    plain,
    sampled_fields,
    shared_fields,
    varying_fields,
)
from analysis.plot.axes import Grid, grid_of
from analysis.plot.edge import FITTED, LEVEL, MAX_FITTED_POINTS, SURFACES, Edge, check_level
from analysis.plot.variables import CategoryValue, MapValue, map_value
from analysis.scoring import VERDICTS, bootstrap, criterion_of, wilson
from lop_sweep.config import FIELDS, FIRST_RELEASE
from lop_sweep.errors import AnalysisError, comma_list
from lop_sweep.prefetch import prefetch

MAX_PANELS = 24

OTHERS: tuple[str, ...] = tuple(verdict for verdict in VERDICTS if verdict not in ("plastic", "lost"))
"""The verdicts that have a column of their own in a table, by name. The share of lost cells counts the undecided."""

_COLUMNS: Mapping[str, Any] = {
    "cells": 0, "n": 0, "lost": 0, "share": np.nan, **dict.fromkeys(OTHERS, 0), "value": np.nan, "low": np.nan,
    "high": np.nan, "defined": 0, "category": "", "matching": 0, "lead": np.nan, "fitted": np.nan,
    "fitted_low": np.nan, "fitted_high": np.nan,
}  # fmt: skip
"""The columns of a table besides the fields and `score`, and what they hold where there is nothing."""

_FITS = 2
"""Surfaces that are fitted at once."""

_FITTED_COLUMNS = ("fitted", "fitted_low", "fitted_high")

_ARRAYS: Mapping[str, str] = {
    "cells": "cells", "decidable": "n", "lost": "lost", "values": "value", "defined": "defined", "low": "low",
    "high": "high", "names": "category", "matching": "matching", "lead": "lead", "differs": "differs",
    "fitted_low": "fitted_low", "fitted_high": "fitted_high",
}  # fmt: skip
"""The arrays of a panel, and the columns of a table that they come from."""


@dataclass(frozen=True)
class Panel:
    """One panel of a map; all arrays have shape (values of y, values of x), or (points,) if they are scattered.

    Attributes:
        key: the panel's values of the other fields that vary.
        placed: whether the point belongs to the panel; only scattered points may not.
        cells: number of computed cells.
        decidable: number of cells for which loss of plasticity can be decided.
        lost: number of these that lost it.
        values: the score's mean or median over the cells for which it is defined; NaN where there are none.
        defined: number of these cells.
        low, high: 95% interval of `values`: Wilson's for a share, else bootstrapped; NaN for a single cell.
        names: the most common name of a category; "" where no cell has been computed.
        matching: number of cells with this name, of `defined`, which leaves out those in the background.
        lead: median lead of the cells with this name, in tasks; NaN where there is none.
        differs: points with a false discovery rate of at most 0.05, of a difference.
        fitted_low, fitted_high: pointwise 95% interval of the fitted rate; NaN where there is none.
        level: of P(lost), at which the boundary is.
        edge: the fitted boundary; None where the surface is not fitted.
    """

    key: Mapping[str, Any]
    placed: np.ndarray
    cells: np.ndarray
    decidable: np.ndarray
    lost: np.ndarray
    values: np.ndarray
    defined: np.ndarray
    low: np.ndarray
    high: np.ndarray
    names: np.ndarray
    matching: np.ndarray
    lead: np.ndarray
    differs: np.ndarray
    fitted_low: np.ndarray
    fitted_high: np.ndarray
    level: float = LEVEL
    edge: Edge | None = None

    @property
    def title(self) -> str:
        """The values of the other fields, "delta = 2.8"; empty if there are none."""
        return format_fields(self.key)

    @property
    def share(self) -> np.ndarray:
        """Share of the decidable cells that lost plasticity; NaN where there are none."""
        return _share(self.lost, self.decidable)


def map_table(
    scores: pd.DataFrame,
    x: str,
    y: str,
    value: str | Sequence[str] = "lost",
    *,
    requested: pd.DataFrame | None = None,
    surface: str = "gp",
    level: float = LEVEL,
    rng: np.random.Generator | None = None,
) -> pd.DataFrame:
    """Return the numbers behind a map as a tidy frame; `plot_map` draws it.

        table = map_table(scored, "lr", "depth")
        table[table["n"] >= 4].pivot(index="depth", columns="lr", values="share")

    Args:
        scores: from `score`.
        x: the field along the horizontal axis.
        y: the field along the vertical axis.
        value: a name in `VALUES` or `CATEGORIES`, or several.
        requested: from `load_requested`; its points are part of the map whether they are computed or not.
        surface: "gp" to fit P(lost) of each panel by a Gaussian process (`analysis.surface`), with a boundary and its
            simultaneous band; "counts" for shares of cells only, as in panels with more than `MAX_FITTED_POINTS`.
        level: of P(lost), at which the boundary is, between 0 and 1.
        rng: draws the bootstrap's resamples; None for a generator seeded with 0 per value.

    Returns:
        One row per value, panel and point of the grid; if an axis was drawn at random, one per point that occurs. Other
        fields that vary make panels, unless they only follow an axis, as `fresh_steps` follows `steps`, or were drawn
        at random too. `attrs["map"]` names these under `following` and `mixed`.

            <x>, <y>, other fields that vary
            score             name of the value
            cells             number of computed cells; 0 where none is computed
            n, lost, share    cells that can have lost plasticity, how many did, `lost / n`
            undecided         how many of these n have too few tasks to tell
            untrainable, diverged, no baseline, too short   numbers of the other cells, by verdict
            value, low, high  the score's mean or median over cells with its 95% interval (NaN for a category)
            defined           number of cells that `value` or `category` is taken over
            category          the most common name of a category ("" for a score)
            matching, lead    number of cells with that name; their median lead in tasks
            fitted, fitted_low, fitted_high   the rate of the fitted surface with its pointwise 95% interval: the
                              share of late tasks that fail for "failure_rate", P(lost) for all other values

    Raises:
        AnalysisError: a name is unknown, there are no cells, `scores` does not carry its criterion, or there would be
            too many panels or values on an axis, or the level is not between 0 and 1.
    """
    names = [value] if isinstance(value, str) else list(value)
    shown = {name: map_value(name) for name in names}
    check_axes(x, y)
    check_surface(surface)
    check_level(level)
    criterion_of(scores)
    cells = placed_cells(scores, requested)
    columns_of = {name: one.column if one.column in FITTED else "lost" for name, one in shown.items()}
    _check_counts(cells, columns_of.values())
    others = other_fields(cells, x, y)
    fields = list(others.panels)
    for axis in (x, y):
        if axis not in others.sampled_axes:
            _check_length(axis, levels(cells[axis]))
    _check_panels(cells, x, y, fields)
    grid, panels = panel_cells(cells, x, y, others)
    parts = []
    rates, edges = _fits(panels if surface == "gp" else [], grid, {"lost", *columns_of.values()}, level)
    for name, one in shown.items():
        generator = rng or np.random.default_rng(0)
        for number, panel in enumerate(panels):
            columns = _summarise(panel, one, generator)
            if (number, columns_of[name]) in rates:
                columns |= dict(zip(_FITTED_COLUMNS, rates[number, columns_of[name]], strict=True))
            parts.append(_rows(grid, panel.key, name, columns).iloc[_row_points(grid, panel)])
    table = pd.concat(parts, ignore_index=True).astype({field: cells[field].dtype for field in (x, y, *fields)})
    about = {
        "x": x,
        "y": y,
        "sampled": list(others.sampled_axes),
        "following": dict(others.following),
        "mixed": {field: [plain(one) for one in levels(cells[field])] for field in others.mixed},
        "level": level,
        "edges": [
            {"key": {field: plain(one) for field, one in panels[number].key.items()}, **edge.to_plain()}
            for number, edge in edges.items()
        ],
        "shared": {field: plain(one) for field, one in shared_fields(cells).items()},
    }
    table.attrs = {**scores.attrs, "map": about}
    return table


def map_samples(
    scores: pd.DataFrame, x: str, y: str, value: str, *, requested: pd.DataFrame | None = None
) -> list[np.ndarray]:
    """Return the defined values of a score at each point, one array per row of `map_table` of the same arguments.

    Args:
        scores: from `score`.
        x: the field along the horizontal axis.
        y: the field along the vertical axis.
        value: a name in `VALUES`.
        requested: as for `map_table`.

    Raises:
        AnalysisError: the value is unknown or a category, or `scores` lacks a column or has no cells.
    """
    shown = map_value(value)
    if not isinstance(shown, MapValue):
        raise AnalysisError(f"{value!r} is a category and has no numbers; choose a numeric score such as 'lost'")
    cells = placed_cells(scores, requested)
    grid, panels = panel_cells(cells, x, y, other_fields(cells, x, y))
    samples = []
    for panel in panels:
        of_point = _samples(panel, shown)
        samples += [of_point[point] for point in _row_points(grid, panel)]
    return samples


def _fits(
    panels: Sequence[PanelCells], grid: Grid, columns: Collection[str], level: float
) -> tuple[dict[tuple[int, str], np.ndarray], dict[int, Edge]]:
    """Fit surfaces to the panels that are small enough.

    Args:
        panels: of a map.
        grid: the map's axes.
        columns: the scores to fit, keys of `FITTED`.
        level: of P(lost).

    Returns:
        By the panel's number and the score, the fitted rate with the ends of its interval, (3, points); and by the
        panel's number the boundary of P(lost).
    """
    wanted = [
        (number, column) for number, panel in enumerate(panels) if panel.can_be_fitted for column in sorted(columns)
    ]

    def fit(key: tuple[int, str]) -> tuple[np.ndarray, list[Edge]]:
        number, column = key
        found = FITTED[column](panels[number].cells, panels[number].index, grid)
        return found.rates(), found.edges([level]) if column == "lost" else []

    found = dict(zip(wanted, prefetch(fit, wanted, _FITS), strict=True))
    edges = {number: edge for (number, _), (_, own) in found.items() for edge in own}
    return {key: rates for key, (rates, _) in found.items()}, edges


def panels_of(table: pd.DataFrame, grid: Grid) -> list[Panel]:
    """Return the panels of a map of one value, in the order of the other fields' values.

    Args:
        table: rows of `map_table` with one `score`; points without a row are not computed.
        grid: the map's axes.
    """
    fields = panel_fields(table)
    groups: Any = list(table.groupby(fields, observed=True)) if fields else [((), table)]
    panels = []
    for key, group in groups:
        point = grid.index_of(group)
        arrays = {"placed": np.full(grid.shape, not grid.scattered)}
        arrays["placed"].ravel()[point] = True
        for name, column in _ARRAYS.items():
            empty = _COLUMNS.get(column, False)
            arrays[name] = np.full(grid.shape, empty, object if empty == "" else type(empty))
            if column in group:
                arrays[name].ravel()[point] = group[column].to_numpy()
        names = dict(zip(fields, map(plain, key), strict=True))
        edge = next((one for one in table.attrs["map"]["edges"] if one["key"] == names), None)
        level = table.attrs["map"].get("level", LEVEL)  # tables of earlier builds have none
        panels.append(Panel(names, **arrays, level=level, edge=edge and Edge.from_plain(edge)))
    return panels


def panel_fields(table: pd.DataFrame) -> list[str]:
    """Return the fields of a map's panels, in the order of its columns."""
    axes = (table.attrs["map"]["x"], table.attrs["map"]["y"])
    return [name for name in table.columns if name in FIELDS and name not in axes]


def check_surface(surface: str) -> None:
    """Refuse what is not a name of a surface.

    Raises:
        AnalysisError: the name is unknown.
    """
    if surface not in SURFACES:
        raise AnalysisError(f"surface = {surface!r}: must be one of {comma_list(SURFACES)}")


def check_axes(x: str, y: str) -> None:
    """Refuse what cannot be the axes of a map, before anything is read.

    Raises:
        AnalysisError: a name is not a configuration field, or both are the same.
    """
    check_fields((x, y))
    if x == y:
        raise AnalysisError(f"x and y are both {x!r}; a map needs two different fields")


def placed_cells(scores: pd.DataFrame, requested: pd.DataFrame | None) -> pd.DataFrame:
    """Return the scored cells, `computed` 1, and the requested ones that are not among them, `computed` 0.

    Fields that are newer than the first release, and that `scores` lacks because it was written earlier, have their
    defaults.

    Raises:
        AnalysisError: there are no scored cells, or `scores` lacks a column.
    """
    scores = _with_newer_fields(scores)
    missing = [name for name in ("cell", *FIELDS, "verdict", "lost") if name not in scores]
    if missing:
        raise AnalysisError(f"`scores` must come from analysis.score; it lacks the columns {comma_list(missing)}")
    if scores.empty:
        raise AnalysisError("there is no finished cell to draw; run the sweep first")
    cells = scores.assign(computed=1)
    if requested is None:
        return cells
    unfinished = requested[~requested["cell"].isin(scores["cell"])]
    return cells if unfinished.empty else pd.concat([cells, unfinished.assign(computed=0)])


def _with_newer_fields(scores: pd.DataFrame) -> pd.DataFrame:
    """Return scores with the defaults of the newer fields that they lack."""
    lacking = [name for name, field in FIELDS.items() if name not in scores and field.since != FIRST_RELEASE]
    present = [name for name in FIELDS if name in scores]
    if not lacking or "cell" not in scores or len(present) + len(lacking) < len(FIELDS):
        return scores
    twice = scores.duplicated(present)
    if twice.any():
        raise AnalysisError(
            f"`scores` has cell {scores['cell'][twice].iloc[0]} and another one with the same configuration: it lacks "
            f"a field in which they differ, one of {comma_list(lacking)}"
        )
    defaults = pd.DataFrame({name: FIELDS[name].default for name in lacking}, index=scores.index)
    filled = pd.concat([scores, defaults], axis=1)
    filled.attrs = scores.attrs
    return filled


def _check_counts(cells: pd.DataFrame, columns: Collection[str]) -> None:
    missing = [name for name in ("late_failures", "late_tasks") if name not in cells]
    if "late_failure_rate" in columns and missing:
        raise AnalysisError(f"`scores` lacks {comma_list(missing)}, to which the failure rate is fitted; score again")


def _check_length(axis: str, values: np.ndarray) -> None:
    if len(values) > MAX_VALUES:
        raise AnalysisError(
            f"{axis} has {len(values)} values: a map shows at most {MAX_VALUES} on an axis; "
            "use another axis, or --where, or plot the table that `lop-analysis scores` writes"
        )


@dataclass(frozen=True)
class OtherFields:
    """What becomes of the fields that vary and are not axes of a map.

    Attributes:
        panels: those that make panels.
        following: those with one value per value of an axis, and this axis.
        mixed: those whose values are drawn as one, because nearly every configuration has a value of its own.
        sampled_axes: axes that were drawn at random, so that the map is scattered.
    """

    panels: Sequence[str]
    following: Mapping[str, str]
    mixed: Sequence[str]
    sampled_axes: Sequence[str]


def other_fields(cells: pd.DataFrame, x: str, y: str) -> OtherFields:
    """Return what becomes of the fields that vary and are not axes of a map of x and y.

    A field that does not follow an axis is mixed if it was sampled, or if its values identify configurations as those
    of an axis do. Else it makes panels.
    """
    varying, sampled = varying_fields(cells), sampled_fields(cells)
    identifying = identifying_fields(cells, varying)
    panels, following, mixed = [], {}, []
    for field in varying:
        if field in (x, y):
            continue
        followed = [axis for axis in (x, y) if follows(cells, field, axis, identifying)]
        if followed:
            following[field] = followed[0]
        elif field in sampled or (field in identifying and not {x, y}.isdisjoint(identifying)):
            mixed.append(field)
        else:
            panels.append(field)
    return OtherFields(panels, following, mixed, [axis for axis in (x, y) if axis in sampled])


def panel_cells(cells: pd.DataFrame, x: str, y: str, others: OtherFields) -> tuple[Grid, list[PanelCells]]:
    """Return the axes of a map, and the cells of each panel in the order of the fields' values.

    Args:
        cells: from `placed_cells`.
        x: the field along the horizontal axis.
        y: the field along the vertical axis.
        others: from `other_fields`.
    """
    grid, fields = grid_of(cells, x, y, others.sampled_axes), list(others.panels)
    groups: Any = list(cells.groupby(fields, observed=True)) if fields else [((), cells)]
    return grid, [PanelCells.of(dict(zip(fields, key, strict=True)), group, grid) for key, group in groups]


def _check_panels(cells: pd.DataFrame, x: str, y: str, fields: list[str]) -> None:
    count = cells.groupby(fields, observed=True).ngroups if fields else 1
    if count > MAX_PANELS:
        constant = [f"{axis} has one value" for axis in (x, y) if cells[axis].nunique() == 1]
        raise AnalysisError(
            f"{count} panels over {comma_list(fields)}: at most {MAX_PANELS} are drawn; "
            + (f"{comma_list(constant)}, use another axis, or " if constant else "")
            + "fix a field with --where FIELD=VALUE, or make it an axis"
        )


@dataclass(frozen=True)
class PanelCells:
    """The cells of a panel.

    Attributes:
        key: the panel's values of the other fields that vary.
        cells: from `placed_cells`.
        index: the flat index of each cell's point.
        size: number of points.
    """

    key: Mapping[str, Any]
    cells: pd.DataFrame
    index: np.ndarray
    size: int

    @classmethod
    def of(cls, key: Mapping[str, Any], cells: pd.DataFrame, grid: Grid) -> PanelCells:
        """Place cells on a map's axes."""
        return cls(key, cells, grid.index_of(cells), grid.size)

    @property
    def points(self) -> int:
        """The number of points with a cell."""
        return len(np.unique(self.index))

    @property
    def can_be_fitted(self) -> bool:
        """Whether the panel is small enough for a surface."""
        return self.points <= MAX_FITTED_POINTS

    def count(self, chosen: np.ndarray) -> np.ndarray:
        """Count the chosen cells of each point."""
        return np.bincount(self.index[chosen], minlength=self.size)


def _summarise(points: PanelCells, value: MapValue | CategoryValue, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the columns of a panel's rows, one entry per point."""
    lost, verdict = points.cells["lost"].to_numpy(float), points.cells["verdict"].to_numpy(object)
    counts = {
        "cells": points.count(points.cells["computed"].to_numpy() == 1),
        "n": points.count(~np.isnan(lost)),
        "lost": points.count(lost == 1),
    }
    share = {"share": _share(counts["lost"], counts["n"])}
    others = {name: points.count(verdict == name) for name in OTHERS}
    if isinstance(value, MapValue):
        return counts | share | others | _statistics(points, value, counts, rng)
    return counts | share | others | _most_common(points, value)


def _statistics(
    points: PanelCells, value: MapValue, counts: Mapping[str, np.ndarray], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return the statistic and the interval of a score at each point; `counts` has the points' `lost` and `n`."""
    samples = _samples(points, value)
    defined = np.array([len(one) for one in samples])
    values, low, high = np.full((3, points.size), np.nan)
    for size in np.unique(defined[defined > 0]):
        some = np.flatnonzero(defined == size)
        stacked = np.stack([samples[index] for index in some])
        values[some] = (np.mean if value.statistic == "mean" else np.median)(stacked, axis=1)
        low[some], high[some] = bootstrap(stacked, rng, value.statistic)
    if value.column == "lost":
        low, high = wilson(counts["lost"], counts["n"])
    return {"value": values, "low": low, "high": high, "defined": defined}


def _samples(points: PanelCells, value: MapValue) -> list[np.ndarray]:
    """Return the defined values of a score at each point of a panel."""
    scores = value.of_cells(points.cells).to_numpy(float)
    known = ~np.isnan(scores)
    order = np.argsort(points.index[known], kind="stable")
    return np.split(scores[known][order], np.cumsum(points.count(known))[:-1])


def _most_common(points: PanelCells, value: CategoryValue) -> dict[str, np.ndarray]:
    """Return the most common name at each point, of those outside the background; in a tie the first in the legend."""
    computed = points.cells["computed"].to_numpy() == 1
    names = points.cells[value.column].to_numpy(object)
    order = [*(name for name in value.colours if name != value.background), value.background]
    counts = np.stack([points.count(computed & (names == name)) for name in order])
    foreground = counts[:-1].sum(axis=0)
    best = np.where(foreground > 0, counts[:-1].argmax(axis=0), len(order) - 1)
    matching = np.take_along_axis(counts, best[None], axis=0)[0]
    chosen = np.where(matching > 0, np.array(order, object)[best], "")
    lead = np.full(points.size, np.nan)
    if value.lead:
        for index in np.flatnonzero(matching):
            leads = points.cells["lead"].to_numpy(float)[(points.index == index) & (names == chosen[index])]
            lead[index] = np.median(leads) if len(leads) and not np.isnan(leads).any() else np.nan
    defined = np.where(foreground > 0, foreground, counts[-1])
    return {"defined": defined, "category": chosen, "matching": matching, "lead": lead}


def _row_points(grid: Grid, panel: PanelCells) -> np.ndarray:
    """Return the flat indices of the points with a row, in order: all, or those present if scattered."""
    return np.unique(panel.index) if grid.scattered else np.arange(panel.size)


def _rows(grid: Grid, key: Mapping[str, Any], name: str, panel: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return a panel's rows, point by point along x, then along y."""
    rows, columns = grid.places
    places = {grid.x.field: grid.x.values[columns], grid.y.field: grid.y.values[rows]}
    numbers = {column: panel.get(column, empty) for column, empty in _COLUMNS.items()}
    return pd.DataFrame({**places, **key, "score": name, **numbers})


def _share(lost: np.ndarray, decidable: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return lost / np.where(decidable > 0, decidable, np.nan)
