"""Loss-of-plasticity analysis of sweep directories. Imports neither Ray nor PyTorch.

scored = score_sweep("DIR")
plot_map(scored, x="lr", y="depth", value="lost").savefig("map.png")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lop_sweep.lazy import attach

if TYPE_CHECKING:
    from analysis.data import iter_blocks as iter_blocks
    from analysis.data import load_cells as load_cells
    from analysis.data import load_layers as load_layers
    from analysis.data import load_requested as load_requested
    from analysis.data import load_tasks as load_tasks
    from analysis.data import select as select
    from analysis.plot import plot_curves as plot_curves
    from analysis.plot import plot_difference as plot_difference
    from analysis.plot import plot_layers as plot_layers
    from analysis.plot import plot_map as plot_map
    from analysis.plot import provenance as provenance
    from analysis.plot import save_figure as save_figure
    from analysis.report import write_report as write_report
    from analysis.scoring import LossCriterion as LossCriterion
    from analysis.scoring import score_cells as score_cells
    from analysis.scoring import score_sweep as score_sweep
    from analysis.scoring import symptom_table as symptom_table

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "data": ["iter_blocks", "load_cells", "load_layers", "load_requested", "load_tasks", "select"],
        "plot": ["plot_curves", "plot_difference", "plot_layers", "plot_map", "provenance", "save_figure"],
        "report": ["write_report"],
        "scoring": ["LossCriterion", "score_cells", "score_sweep", "symptom_table"],
    },
)
