"""Run the two sweeps behind the gallery's page on mitigations.

    python docs/gallery/mitigation_sweeps.py strengths strengths
    python docs/gallery/mitigation_sweeps.py chosen chosen --strengths strengths

The first one tries up to three strengths of each mitigation, at depth 8 and on seeds 100 to 103. The second one runs
the map at the best of them, on seeds 0 to 7. Both can be stopped and run again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product
from typing import Any

import pandas as pd

import analysis
from lop_sweep.config import CellConfig

Change = dict[str, Any]

CANDIDATES: dict[str, list[Change]] = {
    "none": [{}],
    "weight_decay": [{"weight_decay": strength} for strength in (1e-2, 1e-3, 1e-4)],
    "layer_norm": [{"norm": "layer_norm"}],
    "l2_init": [{"mitigation": "l2_init", "l2_init_strength": strength} for strength in (1e-2, 1e-3, 1e-4)],
    "shrink_perturb_per_task": [
        {"mitigation": "shrink_perturb_per_task", "task_shrink": step, "task_perturb": step} for step in (0.2, 0.4, 0.8)
    ],
    "shrink_perturb_per_step": [
        {"mitigation": "shrink_perturb_per_step", "step_shrink": shrink, "step_perturb": perturb}
        for shrink, perturb in ((1e-4, 1e-3), (1e-3, 1e-3), (1e-2, 1e-2))
    ],
    "continual_backprop": [
        {"mitigation": "continual_backprop", "replacement_rate": rate} for rate in (1e-4, 1e-3, 1e-2)
    ],
    "redo": [{"mitigation": "redo", "redo_threshold": threshold} for threshold in (0.01, 0.1, 0.5)],
    "swr": [
        {"mitigation": "swr", "swr_factor": factor, "swr_steps": steps}
        for factor, steps in ((1e-6, 2048), (1e-2, 40), (1e-1, 40))
    ],
    "fire": [{"mitigation": "fire"}],
    "parseval": [{"mitigation": "parseval", "parseval_strength": strength} for strength in (1e-2, 1e-3, 1e-4)],
    "spectral": [{"mitigation": "spectral", "spectral_strength": strength} for strength in (1e-2, 1e-3, 1e-4)],
}
"""The strengths that are tried: published values and their neighbours."""
FIXED = {"fresh_baseline": 10}
TRIED = {"depth": [8], "lr": [0.4, 0.8, 1.6], "seed": range(100, 104)}
MAPPED = {"depth": [6, 8], "lr": [0.2, 0.4, 0.8, 1.6], "seed": range(8)}


def cells(changes: Sequence[Change], axes: dict[str, Sequence[int | float]]) -> list[CellConfig]:
    """Return the cells of each change at every point of the axes."""
    points = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    return [CellConfig(**FIXED, **change, **point) for change in changes for point in points]


def best(scored: pd.DataFrame) -> dict[str, Change]:
    """Return the strength of each mitigation with the fewest failures of late tasks, summed over the points tried.

    A network that diverged, or that was never able to learn, counts as one that failed in every task.
    """
    worst = scored["verdict"].isin(("diverged", "untrainable"))
    failures = scored["late_failure_rate"].where(~worst, 1.0).set_axis(scored["cell"])

    def mean(change: Change) -> float:
        return float(failures[[cell.id for cell in cells([change], TRIED)]].mean())

    return {name: min(changes, key=mean) for name, changes in CANDIDATES.items()}


def main() -> None:
    """Run one of the two sweeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", choices=["strengths", "chosen"])
    parser.add_argument("directory", help="where its results go")
    parser.add_argument("--strengths", help="the first sweep's directory, from which the second one chooses")
    options = parser.parse_args()
    from lop_sweep import SearchSpace, run_sweep

    if options.sweep == "strengths":
        wanted = cells([change for changes in CANDIDATES.values() for change in changes], TRIED)
    else:
        wanted = cells(list(best(analysis.score(options.strengths)).values()), MAPPED)
    run_sweep(SearchSpace(cells=wanted, name=options.sweep), options.directory, dtype="float32")


if __name__ == "__main__":
    main()
