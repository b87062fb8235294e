"""Loss-of-plasticity maps: scores over two axes, the other axes that vary as panels, summarised over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.data import seed_count, shared_configuration
from analysis.plot.aggregate import arrange
from analysis.plot.facets import Column, draw_sheet
from analysis.plot.variables import CategoryValue, MapValue, map_value
from analysis.scoring import PHASES, LossCriterion
from lop_sweep.config import FIELDS
from lop_sweep.errors import comma_list


def plot_map(
    scored: pd.DataFrame,
    x: str,
    y: str,
    value: str | Sequence[str] = "excess",
    criterion: LossCriterion | None = None,
    title: str = "",
    requested: pd.DataFrame | None = None,
    rng: np.random.Generator | None = None,
    width: float | None = None,
) -> Figure:
    """Draw a map, or several values side by side.

    A grid point's colour is the mean or median over its seeds, or the most common category. Where the value depends on
    the fresh baseline, the point says how many of its seeds lost plasticity ("2/3"). If there is room, a second line
    has the 95% interval. Seeds for which the value is undefined (they have diverged, or fresh networks fail too, so
    that nothing can be judged) are left out, and the point says of how many seeds it is the mean ("1 of 3"). A point
    that was not computed is hatched, one whose value is undefined for all seeds is crossed, one with fewer than
    `analysis.scoring.intervals.FEW` seeds has a mark. Lines are the contour P(lost) = 1/2 and its interval.

    Args:
        scored: from `analysis.scoring.table.score_sweep`.
        x: the field along the horizontal axis.
        y: the field along the vertical axis.
        value: a name in `analysis.plot.variables.VALUES` or `CATEGORIES`, or several of them, which become columns.
        rule: the rule that `scored` was made with, for the caption and for where colours are centred.
        title: over the figure.
        requested: from `analysis.load_requested`; points that no finished cell reaches are shown as not computed.
        rng: draws the bootstrap's resamples; None for a generator seeded with 0.
        width: of the figure in inches, in type for print; None for as much as it needs, in type for a screen.

    Raises:
        AnalysisError: a name is unknown, there are no cells, or the other axes would give too many panels.
    """
    criterion = criterion or LossCriterion()
    names = [value] if isinstance(value, str) else list(value)
    columns = []
    for name in names:
        shown = map_value(name)
        xs, ys, panels = arrange(scored, shown, x, y, requested, rng)
        columns.append(Column(shown, panels))
    caption = [shared_configuration(scored, without=(x, y)), cells_line(scored), *_rules(scored, columns, criterion)]
    heading = title or f"{', '.join(names)} over {x} and {y}"
    return draw_sheet(columns, (x, xs), (y, ys), criterion, heading, caption, width)


def cells_line(scored: pd.DataFrame) -> str:
    """How many seeds a point and cells there are, and in which phases, for a caption."""
    seeds = scored.groupby([field for field in FIELDS if field != "seed"]).size()
    phases = scored["phase"].value_counts()
    counts = comma_list(f"{phases[phase]:,} {phase}" for phase in PHASES if phase in phases)
    return f"{seed_count(seeds)} seed{'s' if seeds.max() > 1 else ''} a point; {len(scored):,} cells: {counts}"


def _rules(scored: pd.DataFrame, columns: list[Column], criterion: LossCriterion) -> list[str]:
    """What the phases and symptoms that are shown mean."""
    lines = [str(criterion)]
    if (scored["phase"] == "untrainable").any():
        lines.append(f"untrainable: median CE of the fresh networks is at least {criterion.chance:.3g} nats")
    if any(isinstance(column.value, CategoryValue) and column.value.lead for column in columns):
        lines.append(criterion.of_symptoms)
    decidable = {column.value.decidable for column in columns if isinstance(column.value, MapValue)}
    if len(decidable) > 1 and scored["lost"].isna().any():
        lines.append("measures are shown also where plasticity cannot be judged")
    return lines
