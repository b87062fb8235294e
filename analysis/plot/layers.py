"""Layers over the task sequence: effective rank and duplicate features as heatmaps of task x layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from analysis.data import Block, by_configuration, seed_count, shared_configuration
from analysis.plot.variables import SEQUENTIAL
from lop_sweep.metrics import LAYERED

MAX_COLUMNS = 4

_LABELS = {"effective_rank": "effective rank", "duplicate_fraction": "duplicate features (share)"}


def plot_layers(blocks: Iterable[Block], title: str = "") -> Figure:
    """Draw each layer's measures against the task number, one column a configuration, mean over seeds.

    Saturation is not stored layer by layer: `plot_curves` has it for the whole network. Tasks at which any seed of a
    configuration has diverged are empty.

    Args:
        blocks: from `analysis.data.sequences.iter_blocks`, narrowed down by its `where`, with the layered measures.
        title: over the figure.

    Raises:
        AnalysisError: there are no cells, or more than `MAX_COLUMNS` configurations.
    """
    kept = list(blocks)
    cells = pd.concat([block.cells for block in kept], ignore_index=True) if kept else pd.DataFrame()
    groups = by_configuration(cells, MAX_COLUMNS)
    figure = Figure(figsize=(max(6.0, 3.4 * len(groups) + 1), 5), layout="constrained")
    grid: Any = figure.subplots(len(LAYERED), len(groups), squeeze=False)
    for row, metric in enumerate(LAYERED):
        means = [_mean(kept, set(group["cell"]), metric) for _, group in groups]
        finite = np.concatenate([mean[np.isfinite(mean)] for mean in means])
        norm = Normalize(0, 1) if metric == "duplicate_fraction" else Normalize(1, max(finite.max(initial=1), 1.01))
        for axes, mean in zip(grid[row], means, strict=True):
            tasks, depth = mean.shape
            axes.set_facecolor("0.85")
            axes.imshow(
                mean.T, norm=norm, cmap=SEQUENTIAL, aspect="auto", interpolation="nearest", origin="lower",
                extent=(0.5, tasks + 0.5, 0.5, depth + 0.5),
            )  # fmt: skip
            axes.set_yticks(range(1, depth + 1, max(1, depth // 6)))
        grid[row, 0].set_ylabel("hidden layer")
        figure.colorbar(ScalarMappable(norm, SEQUENTIAL), ax=list(grid[row]), label=_LABELS[metric])
    for axes, (key, _) in zip(grid[0], groups, strict=True):
        axes.set_title("\n".join(f"{field} = {part:g}" for field, part in key.items()), fontsize="small")
    for axes in grid[-1]:
        axes.set_xlabel("task")
    seeds = [len(group) for _, group in groups]
    spread = f"mean over {seed_count(seeds)} seeds" if max(seeds) > 1 else "one seed"
    figure.suptitle(f"{title or shared_configuration(cells)}\n{spread}; grey: a seed has diverged", fontsize="medium")
    return figure


def _mean(blocks: list[Block], cells: set[str], metric: str) -> np.ndarray:
    """Over cells of one shape: (T, L)."""
    return np.concatenate([block.metrics[metric][block.cells["cell"].isin(cells)] for block in blocks
                           if block.cells["cell"].isin(cells).any()]).mean(axis=0)  # fmt: skip
