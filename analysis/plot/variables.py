"""What can be drawn on a map: each score's name, unit, colours, and how seeds are summarised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import cmcrameri.cm  # noqa: F401  (registers its colour maps)
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import Colormap, LogNorm, Normalize

from analysis.scoring import CHANCE_CE, FIRST, PHASES, LossCriterion
from lop_sweep.errors import AnalysisError, comma_list

DIVERGING, SEQUENTIAL = "cmc.vik", "viridis"
"""Perceptually uniform, and distinct to colour-blind readers."""

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


@dataclass(frozen=True)
class MapValue:
    """A score as a map shows it.

    Attributes:
        column: of the frame that `analysis.scoring.table` makes.
        label: what the colour bar says, with the unit.
        scale: how colours follow from values, a key of `SCALES`.
        colours: name of a matplotlib colour map.
        judged: whether it depends on the fresh baseline, and so is shown only where plasticity can be judged.
        statistic: over seeds, "mean" or "median".
        note: a line for the caption.
    """

    column: str
    label: str
    scale: str
    colours: str = SEQUENTIAL
    decidable: bool = False
    statistic: str = "mean"
    note: str = ""

    def norm(self, values: np.ndarray, criterion: LossCriterion) -> Normalize:
        """The colour scale for these finite values, of all panels of a map."""
        return SCALES[self.scale](values, criterion)

    def colour_map(self) -> Colormap:
        """The colour map; NaN is transparent."""
        return matplotlib.colormaps[self.colours].with_extremes(bad=(0, 0, 0, 0))

    def of_cells(self, scored: pd.DataFrame) -> pd.Series:
        """The score of each cell, NaN where it is not to be shown; onsets that were not reached are infinitely late."""
        values = scored[self.column].astype(float)
        if self.column == "onset":
            values = values.where(scored["onset_status"] != "censored", np.inf)
        return values.where(scored["lost"].notna()) if self.decidable else values


@dataclass(frozen=True)
class CategoryValue:
    """A property of cells that is one of a few names; a map shows the most common one of the seeds.

    Attributes:
        column: of the frame that `analysis.scoring.table` makes.
        label: what the legend says.
        colours: name to colour, in the order of the legend; other names are shown as undefined.
        hatches: name to hatch, so that they can be told apart without colour.
        background: a name that is shown only where all seeds have it.
        lead: whether a point also says by how many tasks (median of the column "lead").
    """

    column: str
    label: str
    colours: Mapping[str, str]
    hatches: Mapping[str, str] = field(default_factory=dict)
    background: str = ""
    lead: bool = False


def _linear(values: np.ndarray, criterion: LossCriterion) -> Normalize:
    low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
    return Normalize(low, high if high > low else low + 1)


def _log(values: np.ndarray, criterion: LossCriterion) -> Normalize:
    positive = values[values > 0]
    low, high = (positive.min(), positive.max()) if positive.size else (0.1, 1.0)
    return LogNorm(low, high if high > low else low * 10)


def _around_zero(values: np.ndarray, criterion: LossCriterion) -> Normalize:
    """Symmetric colours that end where nine tenths of the points do: a single one does not drown the others."""
    sizes = np.abs(values)
    largest = (np.quantile(sizes, 0.9) or sizes.max()) if sizes.size else 0
    return Normalize(-largest, largest) if largest > 0 else Normalize(-1, 1)


def _excess(values: np.ndarray, criterion: LossCriterion) -> Normalize:
    return Normalize(criterion.margin - CHANCE_CE, criterion.margin + CHANCE_CE)


def _log_ratio(values: np.ndarray, criterion: LossCriterion) -> Normalize:
    centre = np.log10(criterion.factor) if criterion.factor > 0 else 0.0
    return Normalize(centre - 2, centre + 2)


SCALES: dict[str, Callable[[np.ndarray, LossCriterion], Normalize]] = {
    "linear": _linear,
    "log": _log,
    "share": lambda values, criterion: Normalize(0, 1),
    "around zero": _around_zero,
    "excess": _excess,
    "log_ratio": _log_ratio,
}
"""From the finite values of a map and the rule to its colours."""

VALUES: dict[str, MapValue] = {
    "excess": MapValue(
        "excess",
        "excess: late CE - fresh CE (nats)",
        "excess",
        DIVERGING,
        decidable=True,
        note="white: where 'lost' begins by the margin, 0 is light blue; the colours end ln 2 = 0.69 nats from there",
    ),
    "log_ratio": MapValue(
        "log_ratio", "log10 of late CE / fresh CE", "log_ratio", DIVERGING, decidable=True,
        note="white: where 'lost' begins by the factor, 0 is light blue",
    ),
    "lost": MapValue("lost", "P(lost): share of seeds that lost plasticity", "share", DIVERGING, decidable=True),
    "onset": MapValue(
        "onset", "onset of the loss (task, median over seeds)", "linear", "viridis_r", decidable=True,
        statistic="median", note="seeds that do not lose plasticity within their tasks count as later than all others",
    ),
    "slope": MapValue("slope", "slope of the CE (nats a task, Theil-Sen)", "around zero", DIVERGING),
    "area_excess": MapValue("area_excess", "excess summed over tasks (nats)", "around zero", DIVERGING, decidable=True),
    "area_ce": MapValue("area_ce", "final CE summed over tasks (nats)", "log"),
    "late_ce": MapValue("late_final_ce", "final CE of the late tasks (nats)", "log"),
    "late_min_ce": MapValue("late_min_ce", "smallest CE of the late tasks (nats)", "log"),
    "fresh_ce": MapValue("fresh_ce", "final CE of fresh networks (nats)", "log"),
    "effective_rank": MapValue("late_effective_rank", "effective rank, late tasks, mean over layers", "linear"),
    "duplicate_fraction": MapValue(
        "late_duplicate_fraction", "duplicate features, late tasks, mean over layers (share)", "share"
    ),
    "saturation": MapValue("late_saturation", "saturated units, late tasks (share of |z| > 2)", "share"),
    "grad_norm": MapValue(
        "late_grad_norm", "hidden gradient norm at task start, median of late tasks", "log", statistic="median"
    ),
    "rank_collapse": MapValue(
        "rank_collapse", "share of the early effective rank that is gone late", "around zero", DIVERGING
    ),
    "duplicates_growth": MapValue(
        "duplicates_growth", "growth of duplicate features (share, late - early)", "around zero", DIVERGING
    ),
    "saturation_growth": MapValue(
        "saturation_growth", "growth of saturation (share, late - early)", "around zero", DIVERGING
    ),
}  # fmt: skip

_PHASE_COLOURS = dict(zip(PHASES, ("#56B4E9", "#D55E00", "#999999", "#333333", "#F0E442", "#EEEEEE"), strict=True))
_FIRST_COLOURS = dict(
    zip(FIRST[:-1], ("#E69F00", "#CC79A7", "#0072B2", "#009E73", "#D55E00", "#F0E442", "#EEEEEE"), strict=True)
)

CATEGORIES: dict[str, CategoryValue] = {
    "phase": CategoryValue(
        "phase", "phase (most common of the seeds)", _PHASE_COLOURS, {"untrainable": "///", "diverged": "xxx"}
    ),
    "first_symptom": CategoryValue(
        "first_symptom", "first symptom before the loss (most common of the seeds that lose plasticity)",
        _FIRST_COLOURS, {"rank": "///", "duplicates": "...", "several at once": "xxx"},
        background="no loss", lead=True,
    ),
}  # fmt: skip

EFFECTS: tuple[str, ...] = ("excess", "effective_rank", "duplicate_fraction", "saturation", "grad_norm")
"""The loss and what may have caused it, for maps side by side."""


def map_value(name: str) -> MapValue | CategoryValue:
    """The score of this name.

    Raises:
        AnalysisError: there is none.
    """
    found = VALUES.get(name) or CATEGORIES.get(name)
    if found is None:
        raise AnalysisError(f"value {name!r} is unknown; there are {comma_list([*VALUES, *CATEGORIES])}")
    return found
