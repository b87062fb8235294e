"""The single-file script's names for metrics: columns, plot files and summary keys, in the script's order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lop_sweep.metrics import METRICS, Metric


@dataclass(frozen=True)
class ScriptMetric:
    """A metric under the script's names.

    Attributes:
        name: of the metric.
        column: of the CSV; for metrics per layer, what `_L0`, `_L1`, ... are appended to.
        plot: file name of its plot.
        summary: keys of the summary, as statistic and key. Per layer, column names take the place of `{}`.
    """

    name: str
    column: str
    plot: str
    summary: tuple[tuple[str, str], ...]

    @property
    def metric(self) -> Metric:
        """The metric itself."""
        return METRICS[self.name]

    def columns(self, depth: int) -> list[str]:
        """Return the names of its columns for a network of this depth."""
        return [f"{self.column}_L{layer}" for layer in range(depth)] if self.metric.per_layer else [self.column]

    def columns_in(self, names: Iterable[str]) -> list[str]:
        """Return those of some column names that belong to it."""
        return [name for name in names if name == self.column or name.startswith(f"{self.column}_L")]


_BOTH = (("mean", "mean_{}"), ("median", "median_{}"))

SCRIPT_METRICS: tuple[ScriptMetric, ...] = (
    ScriptMetric("min_ce", "min_CE", "lop_minCE.png", _BOTH),
    ScriptMetric("final_ce", "final_CE", "lop_finalCE.png", _BOTH),
    ScriptMetric("saturation", "sat", "lop_sat.png", (("mean", "mean_saturation"),)),
    ScriptMetric("grad_norm", "grad_norm", "lop_grad.png", (("mean", "mean_hidden_grad_norm"),)),
    ScriptMetric("effective_rank", "eff_rank", "lop_effrank.png", _BOTH),
    ScriptMetric("duplicate_fraction", "dup_frac", "lop_dup_frac.png", _BOTH),
)
"""The metrics that the script has. Metrics that lop-sweep added do not appear in its files."""
