"""Loss-of-plasticity analysis of sweep directories. Imports neither Ray nor PyTorch.

cells, tasks = load_cells("DIR"), load_tasks("DIR")
scored = score_cells(cells, tasks)
draw_map(scored, x="lr", y="depth", value="excess").savefig("map.png")
"""

from __future__ import annotations

from analysis.curves import draw_curves
from analysis.load import load_cells, load_layers, load_requested, load_tasks, select
from analysis.maps import draw_map
from analysis.rule import Rule
from analysis.scoring import score_cells, score_sweep

__all__ = [
    "Rule",
    "draw_curves",
    "draw_map",
    "load_cells",
    "load_layers",
    "load_requested",
    "load_tasks",
    "score_cells",
    "score_sweep",
    "select",
]
