"""The names, labels, defaults, thresholds and sentences that the report's page shows.

Each is declared once, in Python: in `FIELDS`, `METRICS`, `CRITERION_FIELDS`, `VALUES` and `CATEGORIES`. The page reads
them from this description, and its scripts repeat none of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

from analysis.data import in_words_of
from analysis.plot import (
    CATEGORIES,
    LOG_RATIO_DECADES,
    MIN_LOG_VALUE,
    PERCENTILES_FROM,
    SEQUENTIAL,
    SYMMETRIC_QUANTILE,
    VALUES,
    metric_label,
)
from analysis.report.sequences import MAIN_METRIC
from analysis.scoring import (
    CHANCE_CE,
    CRITERION_FIELDS,
    DEFINITIONS,
    FIRST,
    LEVEL,
    METRIC_OF,
    MIN_SEEDS,
    SYMPTOMS,
    TEMPLATES,
    VERDICTS,
    LossCriterion,
)
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.failures import LATE_SHARE
from lop_sweep.metrics import METRICS

PERCENTILES = (0.1, 0.9)
"""The ends of a band over many seeds or fresh networks."""

CONTROLS: tuple[str, ...] = tuple(
    name
    for name, info in CRITERION_FIELDS.items()
    if info.definitions and info.type is not str and name not in ("alpha", "difference")
)
"""The thresholds that the page can change. Those of symptoms and of the test stay as the report has them."""

SEED_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
"""Colours of curves with one line per seed, by Okabe and Ito; with more seeds there is a median and a band."""

_PALETTE_COLOURS = 33
_NEEDS_EVERY_TASK = ("onset", "paired", "excess_paired", "first_symptom", "last", "hold", "recover")
"""Definitions, columns of scores and thresholds that need the loss of every single task."""

_FITTED = {"lost": "lost", "failures": "failure_rate"}
"""The rates in `analysis.report.surfaces.RATES`, and the scores whose surfaces they are."""

_DEFAULTS_FROM = {"fresh_steps": "steps"}
"""Fields whose default is the value of another one."""


def describe(
    criterion: LossCriterion, metrics: Collection[str] = METRICS, streams: Collection[str] = ()
) -> dict[str, Any]:
    """Describe everything that the page names, as plain values.

    Args:
        criterion: the one that the page opens with.
        metrics: those that the sweep measured.
        streams: its task streams, whose losses texts are about; none for cross-entropy in nats.
    """
    return _told(_describe(criterion, metrics), lambda text: in_words_of(text, streams))


def _told(node: Any, tell: Callable[[str], str]) -> Any:
    """Return nested plain values with all texts told in other words."""
    if isinstance(node, str):
        return tell(node)
    if isinstance(node, dict):
        return {name: _told(value, tell) for name, value in node.items()}
    return [_told(value, tell) for value in node] if isinstance(node, list) else node


def _describe(criterion: LossCriterion, metrics: Collection[str]) -> dict[str, Any]:
    return {
        "criterion": asdict(criterion),
        "controls": [_control(name) for name in CONTROLS],
        "definitions": [_definition(name) for name in DEFINITIONS],
        "templates": dict(TEMPLATES),
        "late_share": LATE_SHARE,
        "verdicts": list(VERDICTS),
        "symptoms": list(SYMPTOMS),
        "first": list(FIRST),
        "metric_of": dict(METRIC_OF),
        "min_seeds": MIN_SEEDS,
        "interval": f"{LEVEL:.0%} interval",
        "percentiles": {"ends": list(PERCENTILES), "label": _percentiles(), "from": PERCENTILES_FROM},
        "config": [_config_field(name) for name in FIELDS],
        "metrics": [_metric(name) for name in METRICS if name in metrics],
        "min_log_value": MIN_LOG_VALUE,
        "scores": [_score(name) for name, value in VALUES.items() if value.is_measured(metrics)],
        "categories": [_category(name) for name in CATEGORIES],
        "fitted": [_fitted(name, value) for name, value in _FITTED.items()],
        "half_widths": {"excess": CHANCE_CE, "log_ratio": LOG_RATIO_DECADES},
        "symmetric_quantile": SYMMETRIC_QUANTILE,
        "palettes": {name: _palette(name) for name in sorted({SEQUENTIAL, *(v.colours for v in VALUES.values())})},
        "sequential": SEQUENTIAL,
        "seed_colours": list(SEED_COLOURS),
    }


def _definition(name: str) -> dict[str, Any]:
    return {"name": name, "label": DEFINITIONS[name], "needs_every_task": name in _NEEDS_EVERY_TASK}


def _control(name: str) -> dict[str, Any]:
    info = CRITERION_FIELDS[name]
    return {
        "name": name,
        "label": info.label.capitalize(),
        "unit": info.unit,
        "description": f"{info.description}; if empty: the {info.none}" if info.none else info.description,
        "step": info.step,
        "empty": info.none.partition(",")[0],  # there is little room in a field
        "is_count": info.type is int,
        "definitions": list(info.definitions),
        "needs_every_task": name in _NEEDS_EVERY_TASK,
    }


def _config_field(name: str) -> dict[str, Any]:
    info = FIELDS[name]
    known = {"name": name, "description": info.description, "default": info.default}
    return known | {"default_from": _DEFAULTS_FROM.get(name)}


def _metric(name: str) -> dict[str, Any]:
    metric = METRICS[name]
    lowest, highest = metric.bounds(CellConfig())
    return {
        "name": name,
        "label": metric_label(metric),
        "layer_label": metric.axis_label,
        "per_layer": metric.per_layer,
        "logarithmic": metric.logarithmic,
        "late_statistic": metric.late_statistic,
        "of_control": metric.of_control,
        "lowest": lowest if math.isfinite(lowest) else None,
        "is_share": lowest == 0 and highest <= 1,
    }


def _score(name: str) -> dict[str, Any]:
    value = VALUES[name]
    metric = MAIN_METRIC if value.column == "late_ce" else value.column.removeprefix("late_")
    is_late = metric != value.column and metric in METRICS
    return {
        "name": name,
        "column": value.column,
        "label": value.axis_label,
        "short": f"late {_short(value.label)}" if is_late else _short(value.label),
        "unit": value.unit if value.unit == "nats" else "",
        "whole": value.is_whole,
        "metric": metric if is_late else None,
        "is_fact": is_late or name == "fresh_ce",
        "decidable_only": value.decidable_only,
        "needs_every_task": value.column in _NEEDS_EVERY_TASK,
        "statistic": value.statistic,
        "note": value.note,
        "scale": value.scale,
        "palette": value.colours,
    }


def _category(name: str) -> dict[str, Any]:
    value = CATEGORIES[name]
    return {
        "name": name,
        "column": value.column,
        "label": value.label,
        "short": _short(value.label),
        "metric": None,
        "needs_every_task": value.column in _NEEDS_EVERY_TASK,
        "colours": dict(value.colours),
        "background": value.background,
        "lead": value.lead,
    }


def _fitted(rate: str, name: str) -> dict[str, Any]:
    value = VALUES[name]
    return {
        "name": f"fitted_{name}",
        "rate": rate,
        "label": f"fitted {_short(value.label)}",
        "short": f"fitted {_short(value.label)}",
        "metric": None,
        "decidable_only": True,
        "needs_every_task": False,
        "note": "fitted: rates of a smooth surface, to which neighbouring points and shared seeds contribute",
        "scale": value.scale,
        "palette": value.colours,
    }


def _short(label: str) -> str:
    """Return a label without its explanation."""
    return re.split(r": | \(|, (?!late)| before | at | of the (?:task|loss)", label)[0]


def _percentiles() -> str:
    low, high = (f"{100 * share:.0f}th" for share in PERCENTILES)
    return f"{low} to {high} percentile"


def _palette(name: str) -> list[str]:
    """Return evenly spaced colours of a matplotlib colour map."""
    return [to_hex(colour) for colour in matplotlib.colormaps[name](np.linspace(0, 1, _PALETTE_COLOURS))]
