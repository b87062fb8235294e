"""What maps can show: names, labels, colours."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import LogNorm

from analysis.plot.axes import tick_labels
from analysis.plot.variables import CATEGORIES, EFFECTS, SCALES, VALUES, map_value
from analysis.scoring.criterion import LossCriterion
from analysis.scoring.symptoms import METRIC_OF
from lop_sweep.errors import AnalysisError
from lop_sweep.metrics import METRICS

NAMES = {
    "excess", "log_ratio", "lost", "onset", "slope", "area_excess", "area_ce", "late_ce", "late_min_ce", "fresh_ce",
    "effective_rank", "duplicate_fraction", "saturation", "grad_norm", "rank_collapse", "duplicates_growth",
    "saturation_growth",
}  # fmt: skip
"""The values of `--value` in the first release."""


def test_names_of_the_first_release_stay() -> None:
    assert set(VALUES) >= NAMES
    assert set(CATEGORIES) == {"verdict", "first_symptom"}
    assert set(EFFECTS) <= set(VALUES)
    assert len(VALUES) == len(list(VALUES))


def test_every_metric_has_its_late_tasks_as_a_value() -> None:
    columns = {value.column: value for value in VALUES.values()}
    for name, metric in METRICS.items():
        value = columns[f"late_{name}"]
        assert value.label.startswith(metric.label)
        assert value.unit == metric.unit
        assert value.statistic == metric.late_statistic
        assert value.scale in SCALES
    assert VALUES["late_ce"].column == "late_ce"
    assert (VALUES["saturation"].scale, VALUES["effective_rank"].scale, VALUES["grad_norm"].scale) == (
        "share", "linear", "log",
    )  # fmt: skip
    assert set(METRIC_OF.values()) <= set(METRICS)


def test_unknown_values_are_refused() -> None:
    with pytest.raises(AnalysisError, match="unknown value 'loss'; choose from: excess"):
        map_value("loss")


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_has_colours_for_any_values(scale: str) -> None:
    for values in (np.empty(0), np.zeros(3), np.array([-1.0, 2.0, 5.0])):
        norm = SCALES[scale](values, LossCriterion(factor=0))
        assert norm.vmin < norm.vmax
        assert isinstance(norm, LogNorm) == (scale == "log")


def test_a_single_point_does_not_set_symmetric_colours() -> None:
    norm = SCALES["around zero"](np.array([*np.linspace(-1, 1, 99), 1e6]), LossCriterion())
    assert norm.vmax == -norm.vmin
    assert norm.vmax < 1


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.1, 0.1414, 0.2], ["0.1", "0.14", "0.2"]), ([0.141, 0.1414, 0.2], ["0.141", "0.1414", "0.2"]),
        ([0.141, 0.144], ["0.141", "0.144"]), ([64, 128, 1000], ["64", "128", "1000"]), ([0.0, 2.828], ["0", "2.8"]),
        ([1e-5, 3.3e-5], ["1e-5", "3.3e-5"]), ([1.7e308], ["1.7e308"]), ([150.4, 7.5], ["150", "7.5"]),
        ([-1.0, -0.25, 0.0], ["-1", "-0.25", "0"]),
    ],
)  # fmt: skip
def test_tick_labels_have_two_digits_unless_they_coincide(values: list[float], labels: list[str]) -> None:
    assert tick_labels(values) == labels
