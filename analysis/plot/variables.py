"""What a map can show: each score's label, unit and colours, and how seeds are summarised."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cmcrameri.cm  # noqa: F401  (registers its colour maps)
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import Colormap, LogNorm, Normalize

from analysis.data import in_words_of
from analysis.scoring import CHANCE_CE, FIRST, VERDICTS, LossCriterion
from lop_sweep.config import CellConfig, with_unit
from lop_sweep.errors import AnalysisError, comma_list
from lop_sweep.metrics import METRICS, Metric

DIVERGING, SEQUENTIAL = "cmc.vik", "viridis"
"""Perceptually uniform, and distinguishable by colour-blind readers."""

LOG_RATIO_DECADES = 2.0
"""Colours of a log ratio end this many powers of ten from their centre."""

SYMMETRIC_QUANTILE = 0.9
"""Symmetric colours end at this quantile of absolute values, so that single points do not drown the others."""


@dataclass(frozen=True)
class MapValue:
    """A score as a map shows it.

    Attributes:
        column: of the frame that `analysis.score` returns.
        label: what the colour bar says, without the unit.
        unit: of the values; empty for a pure number.
        scale: how colours follow from values, a key of `SCALES`.
        colours: name of a matplotlib colour map.
        decidable_only: whether it depends on the fresh baseline, and so is shown only for cells for which loss of
            plasticity can be decided.
        statistic: over seeds, "mean" or "median".
        note: an explanation of the colours, for the metadata and the report.
        short_note: the same in a few words, for the caption.
        infinite: what the colour bar calls infinite values.
        needs: the optional metric without which there is no such score; empty if there is none, or the column names it.
    """

    column: str
    label: str
    unit: str
    scale: str
    colours: str = SEQUENTIAL
    decidable_only: bool = False
    statistic: str = "mean"
    note: str = ""
    short_note: str = ""
    infinite: str = "∞"
    needs: str = ""

    @property
    def axis_label(self) -> str:
        """The label with the unit."""
        return with_unit(self.label, self.unit)

    @property
    def is_whole(self) -> bool:
        """Whether values are numbers of tasks, so that ticks are at whole numbers."""
        return self.unit == "task"

    def norm(self, values: np.ndarray, criterion: LossCriterion) -> Normalize:
        """Return the colour scale for these finite values, of all panels of a map."""
        return SCALES[self.scale](values, criterion)

    def colour_map(self) -> Colormap:
        """Return the colour map; NaN is transparent."""
        return matplotlib.colormaps[self.colours].with_extremes(bad=(0, 0, 0, 0))

    def of_cells(self, scored: pd.DataFrame) -> pd.Series:
        """Return the score of each cell, NaN where it is not shown; censored onsets are infinite.

        Raises:
            AnalysisError: it is of an optional metric that no cell measured.
        """
        if self.column not in scored and not self.is_measured(()):
            name = self._metric
            setting = "control_every = 1" if METRICS[name].of_control else f"metrics = [{name!r}]"
            raise AnalysisError(f"no cell measured {name}; run the sweep with {setting} in its search space")
        values = scored[self.column].astype(float)
        if self.column == "onset":
            values = values.where(scored["onset_status"] != "censored", np.inf)
        return values.where(scored["lost"].notna()) if self.decidable_only else values

    def is_measured(self, metrics: Collection[str]) -> bool:
        """Return whether cells that measure these metrics have the score."""
        name = self._metric
        return name not in METRICS or not METRICS[name].optional or name in metrics

    def in_words_of(self, streams: Collection[str]) -> MapValue:
        """Return the score with label, unit and notes in the words of the losses that these task streams have."""
        told: dict[str, Any] = {
            name: in_words_of(getattr(self, name), streams) for name in ("label", "note", "short_note")
        }
        return replace(self, **told, unit=in_words_of(f"({self.unit})", streams)[1:-1])

    @property
    def _metric(self) -> str:
        return self.needs or self.column.removeprefix("late_")

    def as_difference(self) -> MapValue:
        """Return how a map shows the difference of two sweeps in this score."""
        return replace(
            self, label=f"difference of {self.label}", scale="around zero", colours=DIVERGING, decidable_only=False,
            note="", short_note="",
        )  # fmt: skip


@dataclass(frozen=True)
class CategoryValue:
    """A property of cells with a few names as values; a map shows the most common one of the seeds.

    Attributes:
        column: of the frame that `analysis.score` returns.
        label: what the legend says.
        colours: name to colour, in the order of the legend; other names are shown as undefined.
        hatches: name to hatch, so that names can be distinguished without colour.
        background: a name that is shown only where all seeds have it.
        lead: whether a point also has the median of the column "lead", in tasks.
    """

    column: str
    label: str
    colours: Mapping[str, str]
    hatches: Mapping[str, str] = field(default_factory=dict)
    background: str = ""
    lead: bool = False

    def in_words_of(self, streams: Collection[str]) -> CategoryValue:
        """Return the property itself: its names do not depend on losses."""
        return self


def _linear(values: np.ndarray, criterion: LossCriterion) -> Normalize:
    low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
    around = 0.0 if high > low else max(0.5, abs(low) / 10)  # a single value is in the middle
    return Normalize(low - around, high + around)


def _log(values: np.ndarray, criterion: LossCriterion) -> Normalize:
    positive = values[values > 0]
    low, high = (positive.min(), positive.max()) if positive.size else (0.1, 1.0)
    around = 1.0 if high > low else np.sqrt(10)
    return LogNorm(low / around, high * around)


def _around_zero(values: np.ndarray, criterion: LossCriterion) -> Normalize:
    sizes = np.abs(values)
    largest = (np.quantile(sizes, SYMMETRIC_QUANTILE) or sizes.max()) if sizes.size else 0
    return Normalize(-largest, largest) if largest > 0 else Normalize(-1, 1)


def _excess(values: np.ndarray, criterion: LossCriterion) -> Normalize:
    return Normalize(criterion.margin - CHANCE_CE, criterion.margin + CHANCE_CE)


def _log_ratio(values: np.ndarray, criterion: LossCriterion) -> Normalize:
    centre = np.log10(criterion.factor) if criterion.factor > 0 else 0.0
    return Normalize(centre - LOG_RATIO_DECADES, centre + LOG_RATIO_DECADES)


SCALES: dict[str, Callable[[np.ndarray, LossCriterion], Normalize]] = {
    "linear": _linear,
    "log": _log,
    "share": lambda values, criterion: Normalize(0, 1),
    "around zero": _around_zero,
    "excess": _excess,
    "log_ratio": _log_ratio,
}
"""From the finite values of a map and the criterion to its colours."""

_SCORES: dict[str, MapValue] = {
    "excess": MapValue(
        "excess", "excess: late CE - fresh CE", "nats", "excess", DIVERGING, decidable_only=True,
        note="light blue: 0, as good as fresh networks; white: the margin of a loss; "
        "darkest red and blue: ln 2 = 0.69 nats or more from white",
        short_note="white: the margin of a loss; light blue: as a fresh network",
    ),
    "excess_paired": MapValue(
        "excess_paired", "excess over controls: late CE - CE of the control", "nats", "around zero", DIVERGING,
        needs="control_end_ce",
    ),
    "log_ratio": MapValue(
        "log_ratio", "log10 of late CE / fresh CE", "", "log_ratio", DIVERGING, decidable_only=True,
        note="light blue: 0, as good as fresh networks; white: the factor of a loss",
        short_note="white: the factor of a loss; light blue: as a fresh network",
    ),
    "failure_rate": MapValue(
        "late_failure_rate", "share of late tasks that fail", "", "share", "viridis_r", decidable_only=True
    ),
    "fresh_failure_rate": MapValue(
        "fresh_failure_rate", "failure rate of fresh networks", "", "share", "viridis_r"
    ),
    "lost": MapValue(
        "lost", "P(lost): share of seeds that lost plasticity", "", "share", DIVERGING, decidable_only=True
    ),
    "onset": MapValue(
        "onset", "onset of the loss, median over seeds", "task", "linear", "viridis_r", decidable_only=True,
        statistic="median", note="seeds that do not lose plasticity within their tasks count as later than all others",
        short_note="without an onset: latest", infinite="no onset",
    ),
    "slope": MapValue("slope", "Theil-Sen slope of the CE", "nats per task", "around zero", DIVERGING),
    "area_excess": MapValue(
        "area_excess", "excess summed over tasks", "nats", "around zero", DIVERGING, decidable_only=True
    ),
    "area_ce": MapValue("area_ce", "CE summed over tasks", "nats", "log"),
    "late_ce": MapValue("late_ce", "CE that tasks are judged by, mean of late tasks", "nats", "log"),
    "fresh_ce": MapValue("fresh_mean_ce", "CE of fresh networks", "nats", "log"),
}  # fmt: skip

_CHANGES: dict[str, MapValue] = {
    "rank_collapse": MapValue("rank_collapse", "lost share of the early effective rank", "", "around zero", DIVERGING),
    "duplicates_growth": MapValue(
        "duplicates_growth", "duplicate features, late - early", "share", "around zero", DIVERGING
    ),
    "saturation_growth": MapValue(
        "saturation_growth", "saturated units, late - early", "share", "around zero", DIVERGING
    ),
}  # fmt: skip


class _Values(Mapping[str, MapValue]):
    """All scores, with one entry for the late tasks of each registered metric."""

    def __getitem__(self, name: str) -> MapValue:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, MapValue]:
        metrics = {f"late_{name}" if name.endswith("_ce") else name: _late(metric) for name, metric in METRICS.items()}
        return {**_SCORES, **metrics, **_CHANGES}


def _late(metric: Metric) -> MapValue:
    layers = ", mean over layers" if metric.per_layer else ""
    lowest, highest = metric.bounds(CellConfig())
    shares = lowest == 0 and highest <= 1
    return MapValue(
        f"late_{metric.name}",
        f"{metric.label}, {metric.late_statistic} of late tasks{' with one' if metric.of_control else ''}{layers}",
        metric.unit,
        "log" if metric.logarithmic else "share" if shares else "linear",
        statistic=metric.late_statistic,
    )


VALUES: Mapping[str, MapValue] = _Values()
"""Scores by the name that `--value` has."""

_VERDICT_COLOURS = dict(
    zip(VERDICTS, ("#56B4E9", "#CC79A7", "#D55E00", "#999999", "#333333", "#F0E442", "#EEEEEE"), strict=True)
)
_FIRST_COLOURS = dict(
    zip(FIRST[:-1], ("#E69F00", "#CC79A7", "#0072B2", "#009E73", "#D55E00", "#F0E442", "#EEEEEE"), strict=True)
)

CATEGORIES: dict[str, CategoryValue] = {
    "verdict": CategoryValue(
        "verdict", "verdict (most common of the seeds)", _VERDICT_COLOURS, {"untrainable": "///", "diverged": "xxx"}
    ),
    "first_symptom": CategoryValue(
        "first_symptom", "first symptom before the loss (most common of the seeds that lost plasticity)",
        _FIRST_COLOURS, {"rank": "///", "duplicates": "...", "several at once": "xxx"},
        background="no loss", lead=True,
    ),
}  # fmt: skip

EFFECTS: tuple[str, ...] = ("excess", "effective_rank", "duplicate_fraction", "saturation", "grad_norm")
"""The loss and its possible causes, for maps side by side."""


def map_value(name: str) -> MapValue | CategoryValue:
    """Return the score of this name.

    Raises:
        AnalysisError: there is none.
    """
    found = VALUES.get(name) or CATEGORIES.get(name)
    if found is None:
        raise AnalysisError(f"unknown value {name!r}; choose from: {comma_list([*VALUES, *CATEGORIES])}")
    return found


def metric_label(metric: Metric) -> str:
    """Return the axis label of a metric of the whole network, task by task."""
    return f"{metric.axis_label}, mean over layers" if metric.per_layer else metric.axis_label
