"""Loss-of-plasticity analysis of sweep directories. Imports neither Ray nor PyTorch.

The names below are loaded when they are first used: the command must be able to see to its surroundings before.

scored = score_sweep("DIR")
draw_map(scored, x="lr", y="depth", value="lost").savefig("map.png")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_LOADED_ON_USE = {
    "Rule": "rule",
    "draw_curves": "curves",
    "draw_difference": "difference",
    "draw_layers": "layers",
    "draw_map": "maps",
    "how_made": "figures",
    "load_cells": "load",
    "load_layers": "load",
    "load_requested": "load",
    "load_tasks": "load",
    "save_figure": "figures",
    "score_cells": "scoring",
    "score_sweep": "scoring",
    "select": "load",
    "stream_blocks": "sequences",
    "symptom_table": "symptoms",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    if name in _LOADED_ON_USE:
        return getattr(importlib.import_module(f"analysis.{_LOADED_ON_USE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
