"""Loss-of-plasticity maps: scores over two axes, other fields that vary as panels, summarised over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.data import describe_shared, format_value, in_words_of, seed_count
from analysis.plot.aggregate import OTHERS, map_table, panels_of
from analysis.plot.axes import Grid, grid_of, tick_labels
from analysis.plot.edge import LEVEL, edge_label, level_name
from analysis.plot.facets import Caption, Column, Sheet
from analysis.plot.text.typography import unbroken
from analysis.plot.variables import CategoryValue, MapValue, map_value
from analysis.scoring import VERDICTS, criterion_of
from lop_sweep.errors import AnalysisError, comma_list


def plot_map(
    scores: pd.DataFrame,
    x: str | None = None,
    y: str | None = None,
    value: str | Sequence[str] | None = None,
    *,
    requested: pd.DataFrame | None = None,
    surface: str = "gp",
    level: float | None = None,
    title: str = "",
    width: float | None = None,
) -> Figure:
    """Draw a map, or several values side by side.

        plot_map(score("results"), x="lr", y="depth", value="lost").savefig("map.png")

    A point's colour is the mean or median over its seeds, or the most common category. Text is only where a point has
    room for it. Points that were not computed have diagonal hatching, and points whose value is undefined for all seeds
    have crosses. Points with fewer than `MIN_SEEDS` seeds have a mark. Lines are the boundary P(lost) = `level` and its
    band; there are none between categories. Intervals on points are over seeds, of "failure_rate" those of the fitted
    rate.

    If an axis was drawn at random, points are dots in the same colours, without text. Fields that were drawn at random
    too are mixed, and the caption names them.

    The caption is short. The figure's label has all of it, with the criterion that the scores carry, and `save_figure`
    writes it to the metadata. Colours are centred where the criterion lets "lost" begin.

    Args:
        scores: from `score`, or a table from `map_table`.
        x: the field along the horizontal axis; None for that of the table.
        y: the field along the vertical axis; None for that of the table.
        value: a name in `VALUES` or `CATEGORIES`, or several, which become columns; None for those of the table, and
            for "excess" of scores.
        requested: from `load_requested`; points that no finished cell reaches are shown as not computed.
        surface: how the boundary is found, as for `map_table`; a table has it already.
        level: of P(lost), at which the boundary is; None for that of the table, and for 1/2 of scores.
        title: over the figure; by default the values and axes.
        width: of the figure in inches, in type for print; None for as much as it needs, in type for a screen.

    Raises:
        AnalysisError: a name is unknown or not part of the table, there are no cells, `scores` does not carry its
            criterion, or there would be too many panels.
    """
    table = _table(scores, (x, y), value, requested, surface, level)
    about = table.attrs["map"]
    x, y = about["x"], about["y"]
    grid, columns = columns_of(table)
    shared = describe_shared(about["shared"], without=(x, y))
    others = other_fields_line(table)
    caption = Caption(
        short=[others, cells_line(table), _without_boundary(table), *map(unbroken, shared.split(", "))],
        full=[shared, *filter(None, [others]), cells_line(table), *_rules(table, columns)],
    )
    names = table["score"].unique()
    heading = title or f"{', '.join(names)} over {x} and {y}"
    return Sheet(columns, grid, criterion_of(table), width).draw(heading, caption)


def columns_of(table: pd.DataFrame) -> tuple[Grid, list[Column]]:
    """Return the axes of a map and its values with their panels, in the order of the table."""
    about = table.attrs["map"]
    grid = grid_of(table, about["x"], about["y"], about["sampled"])
    columns = [
        Column(map_value(name).in_words_of(_streams(table)), panels_of(table[table["score"] == name], grid))
        for name in table["score"].unique()
    ]
    return grid, columns


def cells_line(table: pd.DataFrame) -> str:
    """Return the seeds per point and the cells of a map by verdict, for a caption."""
    points = table[table["score"] == table["score"].iloc[0]]
    computed = points["cells"][points["cells"] > 0]
    if computed.empty:
        return "no cell computed"
    counts = {name: int(points[name].sum()) for name in OTHERS}
    counts |= {
        "lost": int(points["lost"].sum()),
        "plastic": int((points["n"] - points["lost"] - points["undecided"]).sum()),
    }
    seeds, cells = "s" if computed.max() > 1 else "", "s" if computed.sum() > 1 else ""
    verdicts = comma_list(f"{counts[verdict]:,} {verdict}" for verdict in VERDICTS if counts[verdict])
    return f"{seed_count(computed)} seed{seeds} per point; {computed.sum():,} cell{cells}: {verdicts}"


def other_fields_line(table: pd.DataFrame) -> str:
    """Return which fields vary within a map without being axes or panels, for a caption; empty if there are none."""
    about = table.attrs["map"]
    mixed = [f"{field} ({_range(values)})" for field, values in about["mixed"].items()]
    following = [f"{field} follows {axis}" for field, axis in about["following"].items()]
    return "; ".join([*([f"mixed: {comma_list(mixed)}"] if mixed else []), *following])


def _range(values: Sequence[Any]) -> str:
    """Return the range of numbers, or all names, as text."""
    if isinstance(values[0], str):
        return comma_list(map(format_value, values))
    return " to ".join(tick_labels([values[0], values[-1]]))


def _table(
    scores: pd.DataFrame,
    axes: tuple[str | None, str | None],
    value: str | Sequence[str] | None,
    requested: pd.DataFrame | None,
    surface: str,
    level: float | None,
) -> pd.DataFrame:
    """Return the table of a map: made from scores, or given and narrowed down to some values."""
    x, y = axes
    about = scores.attrs.get("map")
    if about is None:
        if x is None or y is None:
            raise AnalysisError(
                "`x` and `y` must be configuration fields, got None; only a table from map_table has axes"
            )
        chosen = LEVEL if level is None else level
        return map_table(scores, x, y, value or "excess", requested=requested, surface=surface, level=chosen)
    if x not in (None, about["x"]) or y not in (None, about["y"]):
        raise AnalysisError(f"this table is over {about['x']} and {about['y']}, not {x} and {y}; call map_table again")
    if level not in (None, about.get("level", LEVEL)):
        found = level_name(about.get("level", LEVEL))
        raise AnalysisError(f"this table has the boundary P(lost) = {found}, not {level:g}; call map_table again")
    if requested is not None:
        raise AnalysisError("`requested` must be passed to map_table, which places its points")
    if scores.empty:
        raise AnalysisError("the table has no rows; there is nothing to draw")
    if value is None:
        return scores
    names = [value] if isinstance(value, str) else list(value)
    absent = [name for name in names if name not in set(scores["score"])]
    if absent:
        raise AnalysisError(f"this table has no {comma_list(absent)}; it has {comma_list(scores['score'].unique())}")
    return pd.concat([scores[scores["score"] == name] for name in names])


def _rules(table: pd.DataFrame, columns: Sequence[Column]) -> list[str]:
    """Return the definitions of the verdicts and symptoms that are shown."""
    criterion = criterion_of(table)
    lines = [str(criterion)]
    if table["untrainable"].any():
        level = "that of guessing" if criterion.chance is None else f"{criterion.chance:.3g} nats"
        lines.append(f"untrainable: median CE of the fresh networks is at least {level}")
    if any(isinstance(column.value, CategoryValue) and column.value.lead for column in columns):
        lines.append(criterion.of_symptoms)
    if missing := _without_boundary(table):
        lines.append(missing)
    decidable_only = {column.value.decidable_only for column in columns if isinstance(column.value, MapValue)}
    if len(decidable_only) > 1 and (table["n"] < table["cells"]).any():
        lines.append("late metrics are shown also where loss of plasticity cannot be decided")
    return [in_words_of(line, _streams(table)) for line in lines]


def _streams(table: pd.DataFrame) -> list[str]:
    """Return the task streams of a map's cells."""
    shared = table.attrs["map"]["shared"]
    return list(table["stream"].unique()) if "stream" in table else [shared["stream"]] if "stream" in shared else []


def _without_boundary(table: pd.DataFrame) -> str:
    """Return that a map has no boundary although a surface was fitted and some cells are lost; else nothing."""
    edges = table.attrs["map"]["edges"]
    if not edges or not table["lost"].any() or any(edge["lines"] for edge in edges):
        return ""
    level = table.attrs["map"].get("level", LEVEL)
    return edge_label("band only" if any(edge["band"] for edge in edges) else "none", level)
