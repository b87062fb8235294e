"""Loss-of-plasticity analysis of sweep directories. Imports neither Ray nor PyTorch.

scored = score_sweep("DIR")
draw_map(scored, x="lr", y="depth", value="lost").savefig("map.png")
"""

from __future__ import annotations

from analysis.curves import draw_curves
from analysis.difference import draw_difference
from analysis.figures import how_made, save_figure
from analysis.layers import draw_layers
from analysis.load import load_cells, load_layers, load_requested, load_tasks, select
from analysis.maps import draw_map
from analysis.report import write_report
from analysis.rule import Rule
from analysis.scoring import score_cells, score_sweep
from analysis.sequences import stream_blocks
from analysis.symptoms import symptom_table

__all__ = [
    "Rule",
    "draw_curves",
    "draw_difference",
    "draw_layers",
    "draw_map",
    "how_made",
    "load_cells",
    "load_layers",
    "load_requested",
    "load_tasks",
    "save_figure",
    "score_cells",
    "score_sweep",
    "select",
    "stream_blocks",
    "symptom_table",
    "write_report",
]
