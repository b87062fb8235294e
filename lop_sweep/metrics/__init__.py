"""The metrics of a task: one class each, with its function, range, label and unit, found by name.

Every cell measures those that are not `optional`. The others are measured in cells whose configuration names them in
its field `metrics`, and those of control networks in cells with `control_every`.

The schema, the audit, curves, layers, scores and the report derive from `METRICS`.
"""

# ruff: noqa: I001  (the order of these imports is the order of the columns)
from lop_sweep.metrics import protocol, losses, features, outputs, units, weights, gradients, control  # noqa: F401
from lop_sweep.metrics.choice import (
    LAYERED,
    METRICS,
    held_out_points,
    measured,
    measured_with,
    metric_table,
    needed,
    optional_metrics,
    stack_metrics,
    undefined_metrics,
    unstack_metrics,
)
from lop_sweep.metrics.correlations import duplicate_fraction, duplicate_fraction_any
from lop_sweep.metrics.gradients import gradient_variance
from lop_sweep.metrics.metric import (
    Control,
    Metric,
    Observation,
    OptionalMetric,
    ShareMetric,
    TaskMetric,
    TaskRow,
    feature_count,
)
from lop_sweep.metrics.outputs import root_mean_square
from lop_sweep.metrics.protocol import SATURATION_THRESHOLD, saturation
from lop_sweep.metrics.ranks import activation_effective_rank, effective_rank, srank, stable_rank
from lop_sweep.metrics.sharpness import PRODUCTS, largest_curvature, start_vector
from lop_sweep.metrics.units import dead_units, dormant_units, frozen_units

__all__ = [
    "LAYERED",
    "METRICS",
    "PRODUCTS",
    "SATURATION_THRESHOLD",
    "Control",
    "Metric",
    "Observation",
    "OptionalMetric",
    "ShareMetric",
    "TaskMetric",
    "TaskRow",
    "activation_effective_rank",
    "dead_units",
    "dormant_units",
    "duplicate_fraction",
    "duplicate_fraction_any",
    "effective_rank",
    "feature_count",
    "frozen_units",
    "gradient_variance",
    "held_out_points",
    "largest_curvature",
    "measured",
    "measured_with",
    "metric_table",
    "needed",
    "optional_metrics",
    "root_mean_square",
    "saturation",
    "srank",
    "stable_rank",
    "stack_metrics",
    "start_vector",
    "undefined_metrics",
    "unstack_metrics",
]
