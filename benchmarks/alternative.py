"""The obvious alternative to lop-sweep: a Ray Tune function trainable around a plain PyTorch loop, one trial per cell.

    python benchmarks/alternative.py --cells 64 --out DIR

It is written as its users would write it: Tune's defaults, a report after each task, results from Tune's own files. It
does all of the protocol (`lop_sweep/experiment/reference.py`), including fresh baseline and metrics. It prints a JSON
summary.
"""

from __future__ import annotations

import argparse
import json
import sys

import ray
from ray import tune

DEFAULT_TASKS = 100


def train_cell(config: dict[str, float]) -> None:
    """Run one cell: its tasks, then its fresh baseline."""
    from lop_sweep.config import CellConfig
    from lop_sweep.experiment.reference import ReferenceExperiment

    cell = CellConfig(**config)
    experiment = ReferenceExperiment(cell)
    for task in range(1, cell.tasks + 1):
        row = experiment.run_task()
        metrics = {
            "task": task,
            "min_CE": float(row["min_ce"][0]),
            "final_CE": float(row["final_ce"][0]),
            "sat": float(row["saturation"][0]),
            "grad_norm": float(row["grad_norm"][0]),
        }
        for layer in range(cell.depth):
            metrics[f"eff_rank_L{layer}"] = float(row["effective_rank"][0, layer])
            metrics[f"dup_frac_L{layer}"] = float(row["duplicate_fraction"][0, layer])
        if task == cell.tasks:
            metrics["fresh_mean_CE"] = float(experiment.run_fresh_baseline().mean())
        tune.report(metrics)


def main() -> int:
    """Run the cells and print a summary of their results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=64)
    parser.add_argument("--tasks", type=int, default=DEFAULT_TASKS)
    parser.add_argument("--lr", type=float, default=0.6)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    ray.init()
    space = {"seed": tune.grid_search(list(range(options.cells))), "tasks": options.tasks, "lr": options.lr}
    tuner = tune.Tuner(train_cell, param_space=space, run_config=tune.RunConfig(name="cells", storage_path=options.out))
    results = tuner.fit()
    late = [result.metrics_dataframe["final_CE"].tail(options.tasks // 4).mean() for result in results]
    rows = sum(len(result.metrics_dataframe) for result in results)
    print(json.dumps({"cells": len(results), "rows": rows, "late_final_ce": sum(late) / len(late)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
